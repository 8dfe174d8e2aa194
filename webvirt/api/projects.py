"""Projects over REST: one's own to read, and for administrators to keep. What is in them is moved by verbs."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db.models import Q
from django.http import HttpRequest
from ninja import Query, Router, Schema, Status

from webvirt.api.auth import ADMINISTRATORS, access_for
from webvirt.api.lists import Page, one, ordered, page_of
from webvirt.api.rights import REFUSED
from webvirt.api.shapes import GrantOut, grant_out
from webvirt.models import Grant, Project
from webvirt.services import projects

router = Router(tags=["projects"])

ORDERS = {"name": "name", "created": "created_at"}


class ProjectSpec(Schema, extra="forbid"):
    name: str
    description: str = ""


class ProjectOut(Schema):
    id: int
    name: str
    description: str
    created_at: datetime


class ProjectDetail(ProjectOut):
    machines: int
    """Those in the recycle bin too."""
    volumes: int
    networks: int
    members: list[GrantOut]


class Projects(Schema):
    total: int
    items: list[ProjectOut]


def fields(project: Project) -> dict[str, Any]:
    same = ("name", "description", "created_at")
    return {name: getattr(project, name) for name in same} | {"id": project.pk}


@router.get("", response=Projects, summary="List projects")
def list_projects(request: HttpRequest, page: Query[Page], q: str = "", sort: str = "name") -> Projects:
    """Those that you may know of."""
    named = Q(name__icontains=q) | Q(description__icontains=q)
    total, rows = page_of(ordered(access_for(request).projects().filter(named), sort, ORDERS), page)
    return Projects(total=total, items=[ProjectOut(**fields(project)) for project in rows])


@router.post("", response={201: ProjectOut} | REFUSED, summary="Add a project", auth=ADMINISTRATORS)
def add_project(request: HttpRequest, spec: ProjectSpec) -> Status[ProjectOut]:
    """Administrators only."""
    return Status(201, ProjectOut(**fields(projects.add(spec.name, spec.description))))


@router.get("/{int:pk}", response={200: ProjectDetail} | REFUSED, summary="One project")
def project(request: HttpRequest, pk: int) -> ProjectDetail:
    """What is in it, and who. Its machines: /domains?project=ID."""
    found = one(access_for(request).projects(), pk)
    there = projects.contents(found)
    return ProjectDetail(
        **fields(found),
        machines=there.machines,
        volumes=there.volumes,
        networks=there.networks,
        members=[grant_out(grant) for grant in Grant.objects.filter(project=found).order_by("pk")],
    )


@router.put("/{int:pk}", response={200: ProjectOut} | REFUSED, summary="Change a project", auth=ADMINISTRATORS)
def change_project(request: HttpRequest, pk: int, spec: ProjectSpec) -> ProjectOut:
    """All of it. Administrators only."""
    access = access_for(request)
    changed = projects.change(one(access.projects(), pk), spec.name, spec.description)
    return ProjectOut(**fields(changed))


@router.delete("/{int:pk}", response={204: None} | REFUSED, summary="Close a project", auth=ADMINISTRATORS)
def close_project(request: HttpRequest, pk: int) -> Status[None]:
    """409 as long as anything is in it. Administrators only."""
    access = access_for(request)
    projects.close(one(access.projects(), pk))
    return Status(204, None)

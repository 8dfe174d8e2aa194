"""Projects over REST: one's own to read, and for administrators to keep; their owners keep who is in them.

What is in them is moved by verbs.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Any, Literal

from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext as _
from ninja import Query, Router, Schema, Status

from webvirt.api.auth import ADMINISTRATORS, access_for
from webvirt.api.lists import Page, one, ordered, page_of
from webvirt.api.rights import REFUSED
from webvirt.api.shapes import GrantOut, grant_out
from webvirt.api.verbs import body_of
from webvirt.models import CustomRole, Grant, MonthlyUse, Network, Pool, Project, Volume
from webvirt.services import grants, projects, quotas, showback
from webvirt.services.access import Access
from webvirt.services.catalogue import Spec
from webvirt.services.operations import Invalid, parsed
from webvirt.services.rights import in_order

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


class Share(Schema):
    """`used` with what is being made and what is in the recycle bin; `most` is null where there is no limit."""

    used: int
    most: int | None


class QuotaOut(Schema):
    """Memory in KiB, disk in bytes by the capacity of volumes."""

    machines: Share
    vcpus: Share
    memory_kib: Share
    disk: Share


class ProjectDetail(ProjectOut):
    machines: int
    """Those in the recycle bin too."""
    volumes: int
    networks: int
    members: list[GrantOut]
    quota: QuotaOut


class MemberSpec(Spec):
    """`who` and `custom_role` are exact names; one of `role` and `custom_role`."""

    kind: Literal["person", "group"] = "person"
    who: str
    role: str = ""
    custom_role: str = ""


class MemberOut(Schema):
    """The same with the id of the grant."""

    id: int
    kind: str
    who: str
    role: str
    custom_role: str


class Members(Schema):
    """Who is in it, and what you may give there, if anything."""

    total: int
    items: list[MemberOut]
    roles: list[str]
    custom_roles: list[str]


class Usable(Schema):
    id: int
    name: str
    host: int | None = None
    """Of pools, networks and images: the id of the host that they are on."""


class UsesOut(Schema):
    """What members make things of; of an image that is a volume."""

    hosts: list[Usable]
    pools: list[Usable]
    networks: list[Usable]
    images: list[Usable]
    cloud_images: list[Usable]
    flavours: list[Usable]
    of_flavours_only: bool


class UseOut(Schema):
    """What a project used in a month (UTC), looked at once a minute: a start or a stop counts up to a minute wrong.

    In `gap_hours` nobody looked, which is no use; in `partial_hours` a host with running machines did not answer, and
    these were not counted.
    """

    project: int
    name: str
    month: str
    vcpu_hours: float
    memory_gib_hours: float
    disk_gib_hours: float
    hours: float
    gap_hours: float
    partial_hours: float


class Uses(Schema):
    total: int
    items: list[UseOut]


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


@router.get("/usage", response={200: Uses} | REFUSED, summary="Use by month")
def usage(request: HttpRequest, page: Query[Page], month: str = "") -> Uses:
    """Of the projects that you may know of, of one `month` (2025-11) or of all, the last one first."""
    first = month_of(month) if month else None
    return uses_page(showback.uses_of(access_for(request).projects(), first), page)


def month_of(text: str) -> date:
    found = showback.month_named(text)
    if found is None:
        raise Invalid({"month": _("A month is written like 2025-11.")})
    return found


def uses_page(rows: QuerySet[MonthlyUse], page: Page) -> Uses:
    total, found = page_of(rows, page)
    return Uses(total=total, items=[use_out(row) for row in found])


def use_out(row: MonthlyUse) -> UseOut:
    return UseOut(
        project=row.project_id,
        name=row.project.name,
        month=f"{row.month:%Y-%m}",
        vcpu_hours=round(row.vcpu_hours, 3),
        memory_gib_hours=round(row.memory_gib_hours, 3),
        disk_gib_hours=round(row.disk_gib_hours, 3),
        hours=round(row.seconds / 3600, 3),
        gap_hours=round(row.gap_seconds / 3600, 3),
        partial_hours=round(row.partial_seconds / 3600, 3),
    )


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
        quota=quota_out(found),
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


def body(spec: type[Spec]) -> dict[str, Any]:
    content = {"application/json": {"schema": spec.model_json_schema()}}
    return {"requestBody": {"required": True, "content": content}}


# --- who is in it


@router.get("/{int:pk}/members", response={200: Members} | REFUSED, summary="Who is in a project")
def members(request: HttpRequest, pk: int, page: Query[Page]) -> Members:
    """The grants on it: not who holds something on everything."""
    access = access_for(request)
    found = one(access.projects(), pk)
    total, rows = page_of(in_order(Grant.objects.filter(project=found)), page)
    roles, custom_roles = grants.roles_to_give(access, found)
    return Members(
        total=total,
        items=[member_out(grant) for grant in rows],
        roles=[role.value for role in roles],
        custom_roles=[role.name for role in custom_roles],
    )


def member_out(grant: Grant) -> MemberOut:
    return MemberOut(
        id=grant.pk,
        kind="group" if grant.group else "person",
        who=grant.group.name if grant.group else str(grant.user),
        role=grant.role,
        custom_role=grant.custom_role.name if grant.custom_role else "",
    )


@router.post(
    "/{int:pk}/members",
    response={201: MemberOut} | REFUSED,
    summary="Give a role on a project",
    openapi_extra=body(MemberSpec),
)
def add_member(request: HttpRequest, pk: int) -> Status[MemberOut]:
    """An earlier one of the same holder there is replaced. Administrators give any, owners of the project what they may
    there themselves."""
    access = access_for(request)
    found = one(access.projects(), pk)
    grants.demand_keeper(access, found)
    spec = parsed(MemberSpec, body_of(request))
    role = role_named(access, found, spec)
    holder = grants.holder_named(spec.kind, spec.who, access)
    return Status(201, member_out(grants.give(holder, role, found, by=access)))


def role_named(access: Access, project: Project, spec: MemberSpec) -> str | CustomRole:
    if not spec.custom_role:
        return spec.role
    _roles, custom_roles = grants.roles_to_give(access, project)
    found = next((role for role in custom_roles if role.name == spec.custom_role), None)
    if found is None or spec.role:
        raise Invalid({"custom_role": _("Choose a role.")})
    return found


@router.delete(
    "/{int:pk}/members/{int:grant_pk}", response={204: None} | REFUSED, summary="Withdraw a role on a project"
)
def take_out(request: HttpRequest, pk: int, grant_pk: int) -> Status[None]:
    """By its owners and administrators. Owners do not take their own ownership away."""
    access = access_for(request)
    found = one(access.projects(), pk)
    grants.demand_keeper(access, found)
    grants.withdraw(one(found.grants.all(), grant_pk), by=access)
    return Status(204, None)


# --- what may be in it


@router.get("/{int:pk}/quota", response={200: QuotaOut} | REFUSED, summary="The quota of a project")
def quota(request: HttpRequest, pk: int) -> QuotaOut:
    """How much may be in it, and how much is."""
    return quota_out(one(access_for(request).projects(), pk))


def quota_out(found: Project) -> QuotaOut:
    used, limits = quotas.used_in(found.pk), quotas.limits_of(found)
    return QuotaOut(**{name: Share(used=getattr(used, name), most=most) for name, most in limits.items()})


@router.put(
    "/{int:pk}/quota",
    response={200: QuotaOut} | REFUSED,
    summary="Change the quota of a project",
    auth=ADMINISTRATORS,
    openapi_extra=body(projects.QuotaSpec),
)
def change_quota(request: HttpRequest, pk: int) -> QuotaOut:
    """All of it: what is left out has no limit. What is above it already stays as it is. Administrators only."""
    return quota_out(projects.set_quota(one(access_for(request).projects(), pk), body_of(request)))


@router.get("/{int:pk}/uses", response={200: UsesOut} | REFUSED, summary="What a project may use")
def uses(request: HttpRequest, pk: int) -> UsesOut:
    """What its members name when they make something in it, without any role there."""
    return uses_out(one(access_for(request).projects(), pk))


def uses_out(found: Project) -> UsesOut:
    lists = {name: [usable_out(row) for row in projects.used_by(found, name)] for name in projects.USABLE}
    return UsesOut(**lists, of_flavours_only=found.of_flavours_only)


def usable_out(row: Any) -> Usable:
    host = row.host.pk if isinstance(row, Pool | Network | Volume) else None
    return Usable(id=row.pk, name=row.name, host=host)


@router.put(
    "/{int:pk}/uses",
    response={200: UsesOut} | REFUSED,
    summary="Change what a project may use",
    auth=ADMINISTRATORS,
    openapi_extra=body(projects.UsesSpec),
)
def change_uses(request: HttpRequest, pk: int) -> UsesOut:
    """All of it: of what is left out, nothing. Administrators only."""
    return uses_out(projects.set_uses(one(access_for(request).projects(), pk), body_of(request)))


@router.get("/{int:pk}/usage", response={200: Uses} | REFUSED, summary="Use of a project by month")
def usage_of_one(request: HttpRequest, pk: int, page: Query[Page]) -> Uses:
    """The last month first."""
    found = one(access_for(request).projects(), pk)
    return uses_page(showback.uses_of(Project.objects.filter(pk=found.pk)), page)

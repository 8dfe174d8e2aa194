"""Projects: those that one is in, one with all that is in it, and what administrators do with them."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from webvirt.models import Domain, Grant, Network, Project, Volume
from webvirt.services import projects
from webvirt.services.access import Access
from webvirt.services.operations import Invalid, NotNow
from webvirt.services.rights import in_order
from webvirt.services.subjects import Subject
from webvirt.web.guards import administrators, signed_in
from webvirt.web.lists import query_of, slice_of
from webvirt.web.sharing import here_context

SHOWN = 200
"""So many machines, volumes and networks stand on a project's page; the rest is in their lists."""


@require_GET
@signed_in
def index(request: HttpRequest, access: Access) -> HttpResponse:
    query = query_of(request.GET, ("q",))
    found = access.projects()
    if text := query.get("q"):
        found = found.filter(Q(name__icontains=text) | Q(description__icontains=text))
    part = slice_of(query, found.count())
    rows = list(found[part.start : part.start + part.size])
    machines = machines_in(rows)
    context = {"query": query, "part": part, "lines": [(row, machines.get(row.pk, 0)) for row in rows]}
    return render(request, "projects/list.html", context)


def machines_in(rows: list[Project]) -> dict[int, int]:
    counted = Domain.objects.kept().filter(project__in=rows).order_by().values_list("project")
    return dict(counted.annotate(n=Count("pk")))


def project_of(access: Access, thing: Subject) -> Project | None:
    """The project that a thing is in, if it is in one that this person may know of."""
    pk = thing.project_id if isinstance(thing, Domain | Volume | Network) else None
    found: Project | None = access.one("project", pk) if pk else None
    return found


def find(access: Access, pk: int) -> Project:
    return get_object_or_404(access.projects(), pk=pk)


@require_GET
@signed_in
def detail(request: HttpRequest, access: Access, pk: int) -> HttpResponse:
    """Everybody in it sees what is in it, and who else is."""
    project = find(access, pk)
    machines = access.domains().filter(project=project).order_by("name", "pk")
    volumes = access.volumes().filter(project=project).order_by("name", "pk")
    networks = access.networks().filter(project=project).order_by("name", "pk")
    context: dict[str, Any] = {
        "project": project,
        "machines": part_of(machines),
        "volumes": part_of(volumes),
        "networks": part_of(networks),
        "members": in_order(Grant.objects.filter(project=project)),
    }
    return render(
        request, "projects/detail.html", context | here_context(request, f"project:{pk}", {}, f"/projects/{pk}/")
    )


def part_of(rows: QuerySet[Any]) -> dict[str, Any]:
    """The first rows, and how many there are."""
    return {"rows": list(rows[:SHOWN]), "total": rows.count()}


@require_http_methods(["GET", "POST"])
@administrators
def add(request: HttpRequest, access: Access) -> HttpResponse:
    return form_page(request, None, {}) if request.method == "GET" else kept(request, None)


@require_http_methods(["GET", "POST"])
@administrators
def edit(request: HttpRequest, access: Access, pk: int) -> HttpResponse:
    project = find(access, pk)
    return form_page(request, project, {}) if request.method == "GET" else kept(request, project)


def kept(request: HttpRequest, project: Project | None) -> HttpResponse:
    typed = (request.POST.get("name", ""), request.POST.get("description", ""))
    try:
        made = projects.change(project, *typed) if project else projects.add(*typed)
    except Invalid as error:
        if project:
            project.refresh_from_db()
        return form_page(request, project, error.fields, status=400)
    return redirect("project", made.pk)


def form_page(request: HttpRequest, project: Project | None, errors: dict[str, str], status: int = 200) -> HttpResponse:
    was_sent = request.method == "POST"
    typed = {
        key: request.POST.get(key, "") if was_sent else getattr(project, key, "") for key in ("name", "description")
    }
    context = {"project": project, "typed": typed, "errors": errors}
    return render(request, "projects/form.html", context, status=status)


@require_POST
@administrators
def close(request: HttpRequest, access: Access, pk: int) -> HttpResponse:
    project = find(access, pk)
    try:
        projects.close(project)
    except NotNow as error:
        messages.error(request, str(error))
        return redirect("project", pk)
    messages.success(request, _("The project %(name)s is closed.") % {"name": project})
    return redirect("projects")

"""Projects: those that one is in, one with all that is in it, and what administrators do with them."""

from __future__ import annotations

import csv
from typing import Any

from django.contrib import messages
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from webvirt.models import Domain, Grant, MonthlyUse, Network, Project, Volume
from webvirt.services import grants, projects, showback
from webvirt.services.access import Access
from webvirt.services.catalogue import BY_KIND
from webvirt.services.operations import Invalid, NotNow, Refused
from webvirt.services.rights import in_order
from webvirt.services.subjects import Subject
from webvirt.web.answers import refused
from webvirt.web.forms.form import number, text
from webvirt.web.forms.storage import UNITS, size_of, size_typed
from webvirt.web.guards import administrators, signed_in
from webvirt.web.lists import query_of, slice_of
from webvirt.web.quotas import lines_for
from webvirt.web.sharing import here_context, role_of

SHOWN = 200
"""So many machines, volumes and networks stand on a project's page; the rest is in their lists."""
MONTHS = 12
OFFERED = 1000
"""So many of each are offered to be used; more can be allowed over the API."""


@require_GET
@signed_in
def index(request: HttpRequest, access: Access) -> HttpResponse:
    query = query_of(request.GET, ("q",))
    found = access.projects()
    if text := query.get("q"):
        found = found.filter(Q(name__icontains=text) | Q(description__icontains=text))
    part = slice_of(query, found.count())
    rows = list(found[part.start : part.start + part.size])
    machines, shares = machines_in(rows), lines_for(rows)
    lines = [(row, machines.get(row.pk, 0), shares[row.pk]) for row in rows]
    context = {"query": query, "part": part, "lines": lines}
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
    return project_page(request, access, find(access, pk), {})


def project_page(
    request: HttpRequest, access: Access, project: Project, errors: dict[str, str], status: int = 200
) -> HttpResponse:
    machines = access.domains().filter(project=project).order_by("name", "pk")
    volumes = access.volumes().filter(project=project).order_by("name", "pk")
    networks = access.networks().filter(project=project).order_by("name", "pk")
    members = in_order(Grant.objects.filter(project=project))
    context: dict[str, Any] = {
        "project": project,
        "machines": part_of(machines),
        "volumes": part_of(volumes),
        "networks": part_of(networks),
        "members": [(grant, grants.may_give(access, grants.role_of(grant), project)) for grant in members],
        "keeps_members": grants.keeps_members(access, project),
        "quota": lines_for([project])[project.pk],
        "uses": [(label, part) for label, part in parts_used(project) if part["total"]],
        "may_create": access.may_freely(BY_KIND["domain.create"], project),
        "months": list(showback.uses_of(Project.objects.filter(pk=project.pk))[:MONTHS]),
    }
    if context["keeps_members"]:
        context |= here_context(request, access, project, errors)
    return render(request, "projects/detail.html", context, status=status)


def usable_labels() -> dict[str, str]:
    """Of what a project may use, in the order of its page."""
    return {
        "hosts": _("Hosts"),
        "pools": _("Pools"),
        "networks": _("Networks"),
        "images": _("Images"),
        "cloud_images": _("Cloud images"),
        "flavours": _("Flavours"),
    }


def parts_used(project: Project) -> list[tuple[str, dict[str, Any]]]:
    """What it may use, each with its label."""
    return [(label, part_of(projects.used_by(project, name))) for name, label in usable_labels().items()]


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


# --- who is in it


@require_POST
@signed_in
def add_member(request: HttpRequest, access: Access, pk: int) -> HttpResponse:
    project, given = find(access, pk), request.POST
    try:
        grants.demand_keeper(access, project)
        holder = grants.holder_named(given.get("kind", ""), given.get("who", ""), access)
        grants.give(holder, role_of(given.get("role", "")), project, by=access)
    except Invalid as error:
        return project_page(request, access, project, error.fields, status=400)
    except Refused as error:
        return refused(request, error, f"/projects/{pk}/")
    return redirect("project", pk)


@require_POST
@signed_in
def take_out(request: HttpRequest, access: Access, pk: int, grant_pk: int) -> HttpResponse:
    project = find(access, pk)
    try:
        grants.demand_keeper(access, project)
        grants.withdraw(get_object_or_404(project.grants, pk=grant_pk), by=access)
    except Refused as error:
        return refused(request, error, f"/projects/{pk}/")
    return redirect("project", pk)


# --- how much may be in it


@require_http_methods(["GET", "POST"])
@administrators
def quota(request: HttpRequest, access: Access, pk: int) -> HttpResponse:
    project = find(access, pk)
    if request.method == "GET":
        return quota_page(request, project, kept_quota(project), {})
    try:
        projects.set_quota(project, quota_typed(request.POST))
    except Invalid as error:
        errors = {name.removesuffix("_kib"): sentence for name, sentence in error.fields.items()}
        return quota_page(request, project, {name: request.POST.get(name, "") for name in TYPED}, errors, status=400)
    return redirect("project", pk)


TYPED = ("machines", "vcpus", "memory", "memory_unit", "disk", "disk_unit")


def quota_page(
    request: HttpRequest, project: Project, typed: dict[str, Any], errors: dict[str, str], status: int = 200
) -> HttpResponse:
    context = {
        "project": project,
        "typed": typed,
        "errors": errors,
        "units": list(UNITS),
        "quota": lines_for([project])[project.pk],
    }
    return render(request, "projects/quota.html", context, status=status)


def kept_quota(project: Project) -> dict[str, Any]:
    plain = {"machines": project.most_machines, "vcpus": project.most_vcpus}
    found = {name: "" if most is None else most for name, most in plain.items()}
    memory = None if project.most_memory_kib is None else project.most_memory_kib * 1024
    for name, most in (("memory", memory), ("disk", project.most_disk)):
        found[name], found[f"{name}_unit"] = ("", "GiB") if most is None else size_typed(most)
    return found


def quota_typed(given: QueryDict) -> dict[str, Any]:
    """What was typed; an empty field is no limit."""
    found: dict[str, Any] = {name: number(text(given, name)) for name in ("machines", "vcpus") if text(given, name)}
    if text(given, "memory"):
        memory = size_of(text(given, "memory"), given.get("memory_unit", ""))
        found["memory_kib"] = memory // 1024 if isinstance(memory, int) else memory
    if text(given, "disk"):
        found["disk"] = size_of(text(given, "disk"), given.get("disk_unit", ""))
    return found


# --- what it may use


@require_http_methods(["GET", "POST"])
@administrators
def uses(request: HttpRequest, access: Access, pk: int) -> HttpResponse:
    project = find(access, pk)
    if request.method == "GET":
        ids = {name: set(projects.used_by(project, name).values_list("pk", flat=True)) for name in projects.USABLE}
        return uses_page(request, project, ids, {}, of_flavours_only=project.of_flavours_only)
    typed = {name: [number(value) for value in request.POST.getlist(name)] for name in projects.USABLE}
    only = "of_flavours_only" in request.POST
    try:
        projects.set_uses(project, typed | {"of_flavours_only": only})
    except Invalid as error:
        ids = {name: set(values) for name, values in typed.items()}
        return uses_page(request, project, ids, error.fields, of_flavours_only=only, status=400)
    return redirect("project", pk)


def uses_page(
    request: HttpRequest,
    project: Project,
    ids: dict[str, set[Any]],
    errors: dict[str, str],
    *,
    of_flavours_only: bool,
    status: int = 200,
) -> HttpResponse:
    """Each host with what is on it; then what is on none."""
    rows = {name: offered(name, ids[name]) for name in projects.USABLE}
    on_hosts: dict[int, dict[str, list[Any]]] = {host.pk: {n: [] for n in projects.ON_HOSTS} for host in rows["hosts"]}
    for name in projects.ON_HOSTS:
        for row in rows[name]:
            if row.host.pk in on_hosts:
                on_hosts[row.host.pk][name].append(row)
    context = {
        "project": project,
        "rows": rows,
        "on_hosts": on_hosts,
        "ids": ids,
        "errors": errors,
        "labels": usable_labels(),
        "of_flavours_only": of_flavours_only,
    }
    return render(request, "projects/uses.html", context, status=status)


def offered(name: str, ids: set[Any]) -> list[Any]:
    """Those that can be chosen, the chosen ones whatever their number."""
    found = projects.in_order(name)
    some = list(found[:OFFERED])
    if len(some) < OFFERED:
        return some
    chosen = found.filter(pk__in=[pk for pk in ids if isinstance(pk, int)])
    return [*chosen, *(row for row in some if row.pk not in ids)]


# --- what it used


@require_GET
@signed_in
def usage(request: HttpRequest, access: Access) -> HttpResponse:
    """What one's projects used in a month, or all of them for an administrator."""
    months = showback.months_of(access.projects())
    month = showback.month_named(request.GET.get("month", "")) or next(iter(months), None)
    rows = list(showback.uses_of(access.projects(), month)) if month else []
    return render(request, "projects/usage.html", {"months": months, "month": month, "rows": rows})


@require_GET
@signed_in
def usage_csv(request: HttpRequest, access: Access) -> HttpResponse:
    """The same of one month, or of all, as a file."""
    month = showback.month_named(request.GET.get("month", ""))
    return csv_of(showback.uses_of(access.projects(), month), f"usage-{month:%Y-%m}" if month else "usage")


@require_GET
@signed_in
def usage_of_one(request: HttpRequest, access: Access, pk: int) -> HttpResponse:
    project = find(access, pk)
    return csv_of(showback.uses_of(Project.objects.filter(pk=project.pk)), f"usage-project-{pk}")


COLUMNS = (
    *("project", "month", "vcpu_hours", "memory_gib_hours", "disk_gib_hours"),
    *("hours", "gap_hours", "partial_hours"),
)


def csv_of(rows: QuerySet[MonthlyUse], name: str) -> HttpResponse:
    """Names and numbers for programs, the same in every language."""
    response = HttpResponse(content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{name}.csv"'
    writer = csv.writer(response)
    writer.writerow(COLUMNS)
    for row in rows:
        hours = (row.vcpu_hours, row.memory_gib_hours, row.disk_gib_hours)
        seconds = (row.seconds, row.gap_seconds, row.partial_seconds)
        figures = [*hours, *(value / 3600 for value in seconds)]
        writer.writerow([plain_cell(row.project.name), f"{row.month:%Y-%m}", *(f"{one:.3f}" for one in figures)])
    return response


def plain_cell(value: str) -> str:
    """A name that no spreadsheet takes for a formula."""
    return f"'{value}" if value[:1] in "=+-@" else value

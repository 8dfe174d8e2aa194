"""Virtual machines: the list over all hosts, one machine with its tabs, and the verbs on them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from django.core.exceptions import PermissionDenied
from django.db.models import F, Q
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, render
from django.utils import timezone
from django.utils.cache import get_conditional_response
from django.utils.http import http_date
from django.utils.translation import get_language
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods
from markupsafe import Markup

from webvirt.models import (
    ConsoleSession,
    Definition,
    Domain,
    DomainQuerySet,
    Host,
    HostState,
    Operation,
    Screen,
    Status,
)
from webvirt.models.domains import TEMPLATES
from webvirt.services import operations, recordings, templates
from webvirt.services.access import Access, Held
from webvirt.services.catalogue import BY_KIND
from webvirt.services.operations import SHARED
from webvirt.services.screens import PAGE_WIDTH, WIDTHS, is_old, kept
from webvirt.services.subjects import name_of
from webvirt.web.bulk import bulkbar, may_some
from webvirt.web.context import HOST_COLUMNS, HostRow, hosts_for, projects_for, under_way_for
from webvirt.web.creation import may_create_anywhere
from webvirt.web.domainrows import COLUMNS, Row, held_on_row
from webvirt.web.guards import signed_in
from webvirt.web.hardware import addresses_of, compare, facts_of
from webvirt.web.lists import Query, Slice, query_of, slice_of
from webvirt.web.offers import KEYS, LIKELY, as_json, changes_state, offers, verb_words
from webvirt.web.pieces import piece
from webvirt.web.projects import project_of
from webvirt.web.verbs import perform
from webvirt.web.wall import WALL, Shown, remember_view, shown_on_wall, view_of

KEYS_OF_LIST = ("q", "state", "host", "project", "tag")
ORDERS: dict[str, tuple[Any, ...]] = {
    "name": ("name", "pk"),
    "-name": ("-name", "-pk"),
    "state": ("status", "name"),
    "-state": ("-status", "-name"),
    "host": ("host__name", "name"),
    "-host": ("-host__name", "name"),
    "cpu": (F("cpu_percent").asc(nulls_first=True), "-pk"),
    "-cpu": (F("cpu_percent").desc(nulls_last=True), "pk"),
    "memory": ("memory_kib", "name"),
    "-memory": ("-memory_kib", "name"),
}
STATES = {
    "running": Q(status=Status.RUNNING),
    "off": Q(status__in=(Status.SHUTOFF, Status.SAVED, Status.CRASHED)),
    "paused": Q(status__in=(Status.PAUSED, Status.PMSUSPENDED)),
    "trouble": Q(status__in=(Status.CRASHED, Status.UNKNOWN, Status.MISSING))
    | Q(status=Status.PAUSED, status_reason__in=("I/O error", "watchdog", "guest crashed")),
    TEMPLATES: Q(is_template=True),
}


@require_GET
@signed_in
def index(request: HttpRequest, access: Access) -> HttpResponse:
    query = query_of(request.GET, (*KEYS_OF_LIST, "view"))
    view = view_of(request, query)
    found = filtered(access.domains().select_related(None), query)
    may = {"may_create": may_create_anywhere(access), "may_recordings": recordings.may_any(access)}
    context = list_context(request, access, query, found, wall=view == WALL)
    answer = render(request, "domains/list.html", context | may)
    remember_view(request, query, answer)
    return answer


def list_context(
    request: HttpRequest,
    access: Access,
    query: Query,
    found: DomainQuerySet,
    *,
    with_host: bool = True,
    wall: bool = False,
) -> dict[str, Any]:
    """Everything that a list of machines shows, for the list page (as rows or as a wall of screens) and a host's."""
    part = slice_of(query, found.count())
    rows = rows_of(found, query, part)
    hosts = hosts_for(request, access)
    choosable = tuple((host.pk, host.name) for host in hosts) if with_host else ()
    projects = projects_for(request, access)
    language = get_language() or "en"
    bar = bulkbar(language, "domain", access.anywhere("project", "host", "domain"))
    lines = lines_of(request, access, rows, with_host=with_host, wall=wall)
    if query.get("state") == TEMPLATES and not wall:
        lines = with_older(access, rows, lines)
    return {
        "query": query,
        "part": part,
        "filters": filters(language, query, choosable, projects),
        "wall": wall,
        "head": (wall_head if wall else table_head)(language, query, with_host, bool(bar)),
        "lines": Markup().join(lines),
        "knows_hosts": bool(hosts),
        "bulkbar": bar,
        "live": live_names(rows, wall=wall),
    }


@lru_cache(maxsize=256)
def filters(
    language: str, query: Query, hosts: tuple[tuple[int, str], ...], projects: tuple[tuple[int, str], ...]
) -> Markup:
    """The search line and the choices beside it: the same for everybody who looks at this list."""
    context = {"query": query, "hosts": hosts, "projects": projects, "state_choices": state_choices()}
    return piece("domains/filters.html", context)


@lru_cache(maxsize=256)
def table_head(language: str, query: Query, with_host: bool, tickable: bool) -> Markup:
    context = {"query": query, "with_host": with_host, "tickable": tickable}
    return piece("domains/head.html", context)


@lru_cache(maxsize=256)
def wall_head(language: str, query: Query, with_host: bool, tickable: bool) -> Markup:
    return piece("domains/wall_head.html", {"query": query, "with_host": with_host, "tickable": tickable})


def state_choices() -> list[tuple[str, str]]:
    return [
        ("", _("Any state")),
        ("running", _("Running")),
        ("off", _("Off")),
        ("paused", _("Paused")),
        ("trouble", _("In trouble")),
        (TEMPLATES, _("Templates")),
    ]


def filtered(found: DomainQuerySet, query: Query) -> DomainQuerySet:
    if text := query.get("q"):
        found = found.matching(text)
    if condition := STATES.get(query.get("state")):
        found = found.filter(condition)
    if query.get("state") == TEMPLATES:
        # The others are folded below these.
        found = templates.newest(found)
    if host := query.get("host"):
        found = found.filter(host_id=int(host)) if host.isdecimal() and len(host) < 18 else found.none()
    if project := query.get("project"):
        found = found.filter(project_id=int(project)) if project.isdecimal() and len(project) < 18 else found.none()
    if tag := query.get("tag"):
        found = found.filter(tag_line__contains=f" {tag} ")
    return found


def rows_of(found: DomainQuerySet, query: Query, part: Slice) -> list[Row]:
    order = ORDERS.get(query.get("sort"), ORDERS["name"])
    values = found.order_by(*order).values_list(*COLUMNS)[part.start : part.start + part.size]
    return [Row._make(line) for line in values]


class Look(NamedTuple):
    """How a machine is shown: as a row, or where `shown` says what stands for it as a tile."""

    with_host: bool
    shown: Shown | None


def lines_of(request: HttpRequest, access: Access, rows: Sequence[Row], *, with_host: bool, wall: bool) -> list[Markup]:
    """The rows as HTML, or where the wall shows them their tiles. Most are as they were when somebody else looked a
    moment ago."""
    busy = {one.domain_id: one for one in under_way_for(request, access) if one.domain_id and changes_state(one)}
    minute, language = int(time.time() // 60), get_language() or "en"
    hosts, projects = hosts_of(request, access, rows), dict(projects_for(request, access))
    shown = shown_on_wall(access, rows, hosts) if wall else {}
    lines = []
    for row in rows:
        work = busy.get(row.pk)
        state = (verb_words(work), work.percent) if work else None
        held = held_on_row(access, row)
        may = May(may_likely(row.likely, held), may_some("domain", held), may_watch(held))
        project = projects.get(row.project_id or 0, "")
        look = Look(with_host, shown.get(row.pk))
        lines.append(line_of(row, hosts[row.host_id], project, minute, language, may, look, state))
    return lines


def with_older(access: Access, rows: Sequence[Row], lines: Sequence[Markup]) -> list[Markup]:
    """Lines of templates, each that has older versions with these folded below it."""
    older = templates.older_than(access.domains(), [row.pk for row in rows if row.template_line])
    clones = templates.clones_of([one for versions in older.values() for one in versions])
    found = []
    for row, line in zip(rows, lines, strict=True):
        found.append(line)
        if versions := older.get(row.pk):
            folded = [(version, clones[version.pk]) for version in versions]
            found.append(piece("domains/older.html", {"pk": row.pk, "versions": folded}))
    return found


def hosts_of(request: HttpRequest, access: Access, rows: Sequence[Row]) -> dict[int, HostRow]:
    """The rows' hosts. Who knows a machine may read its host's name, also without a role on the host."""
    known = {host.pk: host for host in hosts_for(request, access)}
    if missing := {row.host_id for row in rows} - set(known):
        others = Host.objects.filter(pk__in=missing).values_list(*HOST_COLUMNS)
        known |= {values[0]: HostRow._make(values) for values in others}
    return known


class May(NamedTuple):
    """Whether somebody may use the verb offered beside a machine, any of those for many, and watch its console."""

    likely: bool
    tick: bool
    watch: bool


@lru_cache(maxsize=1024)
def line_of(
    row: Row,
    host: HostRow,
    project: str,
    minute: int,
    language: str,
    may: May,
    look: Look,
    work: tuple[str, int | None] | None,
) -> Markup:
    """One row or tile as HTML, kept for a minute: `minute` is in the key since ages are in words."""
    verb, percent = work or ("", None)
    context = {
        "row": row,
        "host": host,
        "project": project,
        "stale": host.state != HostState.UP,
        # Where we did not see it start: it has run at least since then.
        "known_since": max(row.first_seen_at, host.state_since),
        "may": may.likely,
        "ticks": may.tick,
        "may_watch": may.watch,
        "shown": look.shown,
        "with_host": look.with_host,
        "verb": verb,
        "percent": percent,
    }
    return piece("domains/tile.html" if look.shown else "domains/row.html", context)


@lru_cache(maxsize=256)
def may_likely(kind: str, held: Held | None) -> bool:
    """Whether the verb offered beside a machine is for who holds this on it."""
    return bool(kind) and held is not None and held.allows(BY_KIND[kind])


@lru_cache(maxsize=256)
def may_watch(held: Held | None) -> bool:
    """Whether who holds this on a machine may watch its console."""
    return held is not None and held.allows(BY_KIND["domain.view"])


def live_names(rows: Sequence[Row], *, wall: bool) -> str:
    """What the list watches: that lists changed, its rows' operations, and where it shows them its hosts' figures."""
    names = [f"domain:{row.pk}" for row in rows]
    figures = [] if wall else [f"use:{host}" for host in {row.host_id for row in rows}]
    return " ".join(["domains", "hosts", *names, *figures])


# --- one machine


def find(access: Access, pk: int) -> Domain:
    return get_object_or_404(access.domains(with_bin=True), pk=pk)


def header(request: HttpRequest, access: Access, domain: Domain, tab: str) -> dict[str, Any]:
    """What every tab of a machine shows above itself."""
    here = name_of(domain)
    under_way = [one for one in under_way_for(request, access) if here in (one.subject, f"domain:{one.domain_id}")]
    # A clone that is made of it holds it, and is about the clone.
    busy = next((one for one in under_way if one.exclusive or (one.subject == here and one.kind in SHARED)), None)
    found = offers(access, domain, busy)
    return {
        "domain": domain,
        "tab": tab,
        "busy": next((one for one in under_way if changes_state(one)), None),
        "offers": found,
        "likely": next((offer for offer in found if f"domain.{offer.name}" == LIKELY.get(Status(domain.status))), None),
        "may_console": access.may(BY_KIND["domain.view"], domain),
        "may_control": access.may(BY_KIND["domain.console"], domain),
        "may_recordings": access.may(BY_KIND["domain.recordings"], domain),
        "combinations": KEYS,
        "project": project_of(access, domain),
        "knows_host": access.knows_host(domain.host_id),
        "known_since": max(domain.first_seen_at, domain.host.state_since),
    }


@require_GET
@signed_in
def overview(request: HttpRequest, access: Access, pk: int) -> HttpResponse:
    domain = find(access, pk)
    definition = Definition.objects.filter(domain=domain).defer("inactive_xml", "live_xml").first()
    screen_at = Screen.objects.filter(domain=domain).values_list("taken_at", flat=True).first()
    context = header(request, access, domain, "overview") | {
        "facts": facts_of(definition.shown) if definition else [],
        "info": definition.shown if definition else {},
        "addresses": addresses_of(definition) if definition else [],
        "pending": len([part for part in compare(definition) if part.differs]) if definition else 0,
        "may_see": access.may(BY_KIND["domain.screenshot"], domain),
        "screen_at": screen_at,
        "screen_is_old": screen_at is not None and (domain.is_stale or is_old(screen_at)),
        "sessions": open_sessions(domain),
        "versions": versions_of(access, domain),
        "last": list(Operation.objects.filter(domain=domain).select_related(None)[:5]),
        "now": timezone.now(),
    }
    return render(request, "domains/overview.html", context)


def versions_of(access: Access, domain: Domain) -> list[tuple[Domain, int]]:
    """The versions of a template, the newest first, each with the number of clones over it; none where it stands
    alone."""
    versions = list(templates.versions_of(access.domains(), domain))
    clones = templates.clones_of(versions)
    return [(one, clones[one.pk]) for one in versions]


def open_sessions(domain: Domain) -> list[ConsoleSession]:
    found = ConsoleSession.objects.filter(
        domain=domain, ended_at=None, opened_at__isnull=False, leased_until__gt=timezone.now()
    )
    return list(found.select_related("user"))


@require_GET
@signed_in
def hardware(request: HttpRequest, access: Access, pk: int) -> HttpResponse:
    domain = find(access, pk)
    definition = Definition.objects.filter(domain=domain).defer("inactive_xml", "live_xml").first()
    context = header(request, access, domain, "hardware") | {
        "definition": definition,
        "parts": compare(definition) if definition else [],
        "unparsed": definition.shown.get("unparsed", ()) if definition else (),
    }
    return render(request, "domains/hardware.html", context)


@require_GET
@signed_in
def history(request: HttpRequest, access: Access, pk: int) -> HttpResponse:
    domain = find(access, pk)
    query = query_of(request.GET, ())
    found = Operation.objects.filter(domain=domain).select_related(None)
    part = slice_of(query, found.count())
    context = header(request, access, domain, "history") | {
        "query": query,
        "part": part,
        "operations": list(found[part.start : part.start + part.size]),
        "sessions": list(ConsoleSession.objects.filter(domain=domain).select_related("user")[:50]),
    }
    return render(request, "domains/history.html", context)


@require_GET
@signed_in
def xml(request: HttpRequest, access: Access, pk: int) -> HttpResponse:
    domain = find(access, pk)
    definition = Definition.objects.filter(domain=domain).only("inactive_xml", "live_xml", "read_at").first()
    which = "live" if request.GET.get("which") == "live" and definition and definition.live_xml else "inactive"
    context = header(request, access, domain, "xml") | {"definition": definition, "which": which}
    return render(request, "domains/xml.html", context)


@require_GET
@signed_in
def screen(request: HttpRequest, access: Access, pk: int) -> HttpResponse:
    """The last picture of the guest's screen, in one of a few widths; a script says which one it has already.

    Nothing, where there is none yet: pages ask before the first one was taken.
    """
    domain = find(access, pk)
    if not access.may(BY_KIND["domain.screenshot"], domain):
        raise PermissionDenied
    width = request.GET.get("width", str(PAGE_WIDTH))
    if width not in map(str, WIDTHS):
        raise Http404
    picture = kept(domain, int(width))
    if picture is None:
        return HttpResponse(status=204)
    answer = HttpResponse(picture.png, content_type="image/png")
    answer.headers["ETag"] = picture.etag
    answer.headers["Last-Modified"] = http_date(picture.taken_at.timestamp())
    return get_conditional_response(request, picture.etag, response=answer) or answer


@require_GET
@signed_in
def menu(request: HttpRequest, access: Access, pk: int) -> JsonResponse:
    """The verbs of one machine, for the menu of its row in a list."""
    domain = find(access, pk)
    busy = operations.holder_of(domain)
    return JsonResponse({"name": domain.name, "offers": [as_json(found) for found in offers(access, domain, busy)]})


@require_http_methods(["GET", "POST"])
@signed_in
def verb(request: HttpRequest, access: Access, pk: int, name: str) -> HttpResponse:
    answer = perform(request, access, find(access, pk), name)
    if name in ("delete", "purge") and answer.status_code == 302:
        answer.headers["Location"] = "/vms/"
    return answer

"""Storage: the pools of all hosts, one pool with its volumes, and one volume with who uses it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_GET, require_http_methods

from webvirt.models import Operation, Pool, Volume
from webvirt.services import uses
from webvirt.services.access import Access
from webvirt.services.catalogue import BY_KIND
from webvirt.services.disclosure import chain_for, uses_for
from webvirt.services.subjects import Subject, name_of
from webvirt.web.bulk import ticking
from webvirt.web.context import hosts_for, under_way_for
from webvirt.web.creation import link_to_begin
from webvirt.web.guards import signed_in
from webvirt.web.kinds import NEARLY_FULL, pool_type
from webvirt.web.lists import Query, query_of, slice_of
from webvirt.web.offers import offers
from webvirt.web.projects import project_of
from webvirt.web.verbs import perform, target_of

VOLUME_ORDERS = {
    "name": ("name", "pk"),
    "-name": ("-name", "-pk"),
    "size": ("capacity", "name"),
    "-size": ("-capacity", "name"),
    "used": ("allocation", "name"),
    "-used": ("-allocation", "name"),
    "changed": ("modified_at", "name"),
    "-changed": ("-modified_at", "name"),
}


@dataclass(frozen=True)
class PoolLine:
    """A pool with the number of its volumes."""

    pool: Pool
    volumes: int

    @property
    def kind(self) -> str:
        return pool_type(self.pool.type)

    @property
    def percent(self) -> float | None:
        return self.pool.used_percent

    @property
    def is_nearly_full(self) -> bool:
        return self.percent is not None and self.percent >= NEARLY_FULL


def lines_of(found: QuerySet[Pool]) -> list[PoolLine]:
    pools = list(found.order_by("host__name", "name"))
    counted = Volume.objects.filter(pool__in=pools, missing_since=None).order_by().values_list("pool")
    volumes = dict(counted.annotate(n=Count("pk")))
    return [PoolLine(pool, volumes.get(pool.pk, 0)) for pool in pools]


def list_context(access: Access, found: QuerySet[Pool]) -> dict[str, Any]:
    """What a table of pools shows, here and on a host's page."""
    lines = lines_of(found)
    return {"lines": lines} | ticking("pool", [(line.pool.pk, access.held_on(line.pool)) for line in lines])


@require_GET
@signed_in
def index(request: HttpRequest, access: Access) -> HttpResponse:
    query = query_of(request.GET, ("q", "host"))
    context = list_context(access, filtered(access.pools(), query)) | {
        "query": query,
        "hosts": hosts_for(request, access),
        "may_create": [host for host in access.hosts() if access.may(BY_KIND["pool.create"], host)],
    }
    return render(request, "pools/list.html", context)


def filtered(found: QuerySet[Pool], query: Query) -> QuerySet[Pool]:
    if text := query.get("q"):
        found = found.filter(name__icontains=text)
    if host := query.get("host"):
        found = found.filter(host_id=int(host)) if host.isdecimal() and len(host) < 18 else found.none()
    return found


def header(request: HttpRequest, access: Access, subject: Subject, tab: str, above: str) -> dict[str, Any]:
    """What every tab of a pool, a volume or a network shows above itself; `above` is where to go when it is gone."""
    name = name_of(subject)
    busy = next((one for one in under_way_for(request, access) if one.subject == name and one.exclusive), None)
    found = offers(access, subject, busy)
    return {
        "subject": subject,
        "name": name,
        "tab": tab,
        "above": above,
        "busy": busy,
        "offers": found,
        "project": project_of(access, subject),
    }


def find_pool(access: Access, pk: int) -> Pool:
    return get_object_or_404(access.pools(), pk=pk)


@require_GET
@signed_in
def pool(request: HttpRequest, access: Access, pk: int) -> HttpResponse:
    """A pool's volumes."""
    found = find_pool(access, pk)
    query = query_of(request.GET, ("q",))
    volumes = Volume.objects.filter(pool=found, missing_since=None).select_related("making", "pool")
    if text := query.get("q"):
        volumes = volumes.filter(Q(name__icontains=text) | Q(title__icontains=text))
    part = slice_of(query, volumes.count())
    rows = list(volumes.order_by(*VOLUME_ORDERS.get(query.get("sort"), ("name", "pk")))[part.start :][: part.size])
    context = header(request, access, found, "volumes", "/pools/")
    context |= ticking("volume", [(row.pk, access.held_on(row)) for row in rows])
    context |= {
        "pool": found,
        "kind": pool_type(found.type),
        "query": query,
        "part": part,
        "volumes": rows,
        "users": uses.names_of_users(rows),
        "nearly_full": (found.used_percent or 0) >= NEARLY_FULL,
    }
    return render(request, "pools/volumes.html", context)


@require_GET
@signed_in
def definition(request: HttpRequest, access: Access, pk: int) -> HttpResponse:
    found = find_pool(access, pk)
    context = header(request, access, found, "definition", "/pools/") | {"pool": found, "kind": pool_type(found.type)}
    return render(request, "pools/definition.html", context)


@require_GET
@signed_in
def log(request: HttpRequest, access: Access, pk: int) -> HttpResponse:
    found = find_pool(access, pk)
    context = header(request, access, found, "log", "/pools/") | {"pool": found, "kind": pool_type(found.type)}
    return render(request, "pools/log.html", context | operations_page(request, found))


def operations_page(request: HttpRequest, subject: Subject) -> dict[str, Any]:
    """The operations on an object, a page of them."""
    query = query_of(request.GET, ())
    found = Operation.objects.filter(subject=name_of(subject)).select_related(None)
    part = slice_of(query, found.count())
    return {"query": query, "part": part, "operations": list(found[part.start : part.start + part.size])}


@require_http_methods(["GET", "POST"])
@signed_in
def pool_verb(request: HttpRequest, access: Access, pk: int, name: str) -> HttpResponse:
    answer = perform(request, access, target_of(access, "pool", pk, name), name)
    if name in ("undefine", "delete") and answer.status_code == 302:
        answer.headers["Location"] = "/pools/"
    return answer


# --- volumes


def find_volume(access: Access, pk: int) -> Volume:
    return get_object_or_404(access.volumes(), pk=pk)


@require_GET
@signed_in
def volume(request: HttpRequest, access: Access, pk: int) -> HttpResponse:
    found = find_volume(access, pk)
    users = uses.uses_of(found)
    shown, hidden = uses_for(access, found)
    is_free = found.is_iso or all(use.noun == "volume" for use in users)
    context = header(request, access, found, "overview", f"/pools/{found.pool_id}/") | {
        "volume": found,
        "uses": shown,
        "hidden": hidden,
        "begin": link_to_begin(access, found) if is_free else "",
        "chain": chain_for(access, found),
        "secret": uses.secret_of(found) if access.knows_host(found.pool.host_id) else None,
        "known": {row.pk for row in access.domains().filter(host=found.pool.host_id).only("pk", "host")},
    }
    return render(request, "volumes/overview.html", context | operations_page(request, found))


@require_http_methods(["GET", "POST"])
@signed_in
def volume_verb(request: HttpRequest, access: Access, pk: int, name: str) -> HttpResponse:
    found = find_volume(access, pk)
    answer = perform(request, access, found, name)
    if name == "delete" and answer.status_code == 302:
        answer.headers["Location"] = f"/pools/{found.pool_id}/"
    return answer

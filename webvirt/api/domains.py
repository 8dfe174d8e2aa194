"""Machines over REST."""

from __future__ import annotations

from typing import Literal

from django.http import Http404, HttpRequest, HttpResponse
from django.utils.cache import get_conditional_response
from django.utils.http import http_date
from ninja import Query, Router, Schema

from webvirt.api.auth import access_for
from webvirt.api.lists import Page, one, ordered, page_of
from webvirt.api.shapes import DomainDetail, Domains, Sessions, domain_detail, domain_out, session_out
from webvirt.models import ConsoleSession, Definition, Role, Status
from webvirt.models.domains import search_condition
from webvirt.services.catalogue import BY_KIND
from webvirt.services.grounds import demand
from webvirt.services.screens import kept

router = Router(tags=["domains"])

ORDERS = {
    "name": "name",
    "status": "status",
    "since": "status_since",
    "host": "host__name",
    "cpu": "cpu_percent",
    "memory": "memory_kib",
    "vcpus": "vcpus",
}


class Filters(Schema):
    """`q` is a search line as on the pages; `state` may be `on`, `off` or `templates`, or `binned` for those in the
    recycle bin; `host` is an id or a name,
    `project` an id."""

    q: str = ""
    state: str = ""
    host: str = ""
    project: int | None = None
    sort: str = "name"


@router.get("", response=Domains, summary="List machines")
def domains(request: HttpRequest, page: Query[Page], filters: Query[Filters]) -> Domains:
    """The machines you may know of."""
    access = access_for(request)
    found = access.domains(with_bin=filters.state == Status.BINNED).matching(filters.q)
    if filters.state:
        found = found.filter(search_condition(f"state:{filters.state}"))
    if filters.host.isdecimal():
        found = found.filter(host=int(filters.host))
    elif filters.host:
        found = found.filter(search_condition(f"host:{filters.host}"))
    if filters.project is not None:
        found = found.filter(project=filters.project)
    total, rows = page_of(ordered(found, filters.sort, ORDERS), page)
    return Domains(total=total, items=[domain_out(domain) for domain in rows])


@router.get("/{int:pk}", response=DomainDetail, summary="One machine")
def domain(request: HttpRequest, pk: int) -> DomainDetail:
    """A machine with its hardware, live and at the next start, and what you may do with it now."""
    access = access_for(request)
    return domain_detail(access, one(access.domains(with_bin=True).select_related("host", "definition"), pk))


@router.get("/{int:pk}/xml", summary="Its XML")
def xml(request: HttpRequest, pk: int, live: bool = False) -> HttpResponse:
    """The definition without secrets: what it will start with, or with `live` that of the running machine."""
    found = Definition.objects.filter(domain=one(access_for(request).domains(with_bin=True), pk)).first()
    text = (found.live_xml if live else found.inactive_xml) if found else ""
    if not text:
        raise Http404
    return HttpResponse(text, content_type="application/xml; charset=utf-8")


@router.get("/{int:pk}/screen.png", summary="Its screen")
def screen(request: HttpRequest, pk: int, width: Literal["320", "800"] = "800") -> HttpResponse:
    """The last picture of its screen; `Last-Modified` says when it was last found to be true, and `ETag` tells it from
    others, so that `If-None-Match` is answered by 304. `screenshot` takes a new one.
    """
    access = access_for(request)
    domain = one(access.domains(with_bin=True), pk)
    demand(access, BY_KIND["domain.screenshot"], domain)
    found = kept(domain, int(width))
    if found is None:
        raise Http404
    response = HttpResponse(found.png, content_type="image/png")
    response["Last-Modified"] = http_date(found.taken_at.timestamp())
    response["ETag"] = found.etag
    return get_conditional_response(request, found.etag, response=response) or response


@router.get("/{int:pk}/sessions", response=Sessions, summary="Its console sessions")
def sessions(request: HttpRequest, pk: int, page: Query[Page]) -> Sessions:
    """Who opened its console and when, newest first."""
    access = access_for(request)
    domain = one(access.domains(with_bin=True), pk)
    role = access.role_on(domain)
    owns = role is not None and role.rank >= Role.OWNER.rank
    found = ConsoleSession.objects.filter(domain=domain).select_related("user")
    total, rows = page_of(found, page)
    return Sessions(total=total, items=[session_out(session, owns) for session in rows])

"""Open consoles over REST: who is at which machine, and ending one."""

from __future__ import annotations

from datetime import datetime

from django.http import Http404, HttpRequest
from ninja import Query, Router, Schema, Status

from webvirt.api.auth import access_for
from webvirt.api.lists import Page, page_of
from webvirt.api.shapes import Failure
from webvirt.models import ConsoleSession, ScreenConnection
from webvirt.services import oversight

router = Router(tags=["consoles"])


class Filters(Schema):
    """`q` is a part of the machine's or the person's name, `device` is `screen` or `serial`."""

    q: str = ""
    domain: int | None = None
    device: str = ""


class ConsoleOut(Schema):
    id: int
    domain: int
    name: str
    """The machine's."""
    person: str
    device: str
    mode: str
    """`control` of the one who types, `view` of all others."""
    may_type: bool
    """Whether they may ask for control."""
    asks: bool
    """Whether they do."""
    address: str | None
    opened_at: datetime
    is_recorded: bool


class Consoles(Schema):
    total: int
    items: list[ConsoleOut]


class StrangerOut(Schema):
    domain: int
    name: str
    address: str
    """Empty for a program on the host, which came by a socket without an address."""
    auth: str
    """How the display asked who they are, in libvirt's word."""
    since: datetime


def console_out(session: ConsoleSession) -> ConsoleOut:
    assert session.opened_at
    return ConsoleOut(
        id=session.pk,
        domain=session.domain_id,
        name=session.domain.name,
        person=session.person,
        device=session.device,
        mode=session.mode,
        may_type=session.may_type,
        asks=session.wants_control_at is not None,
        address=session.address,
        opened_at=session.opened_at,
        is_recorded=session.is_recorded,
    )


def stranger_out(row: ScreenConnection) -> StrangerOut:
    return StrangerOut(domain=row.domain_id, name=row.domain.name, address=row.address, auth=row.auth, since=row.since)


@router.get("", response=Consoles, summary="List open consoles")
def list_of_consoles(request: HttpRequest, page: Query[Page], filters: Query[Filters]) -> Consoles:
    """Your own, and all of the machines that you own, newest first."""
    wanted = {name: str(value) for name, value in filters.model_dump().items() if value not in (None, "")}
    total, rows = page_of(oversight.chosen(access_for(request), wanted), page)
    return Consoles(total=total, items=[console_out(row) for row in rows])


@router.get("/strangers", response=list[StrangerOut], summary="Who did not come by this site")
def list_of_strangers(request: HttpRequest) -> list[StrangerOut]:
    """Connections to the screens of the machines that you own that are none of our consoles', as their hosts tell."""
    return [stranger_out(row) for row in oversight.bypassing(access_for(request))]


@router.delete("/{int:pk}", response={204: None, (401, 403, 404): Failure}, summary="End a console")
def end(request: HttpRequest, pk: int) -> Status[None]:
    """Whose it is is told by whom; it closes within two seconds."""
    if not oversight.end(access_for(request), pk):
        raise Http404
    return Status(204, None)

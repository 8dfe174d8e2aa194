"""The wall of screens: another look at the list of machines, and what stands on it for each of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from webvirt.models import ACTIVE, Domain, HostState, Status
from webvirt.services.access import Access, Held
from webvirt.services.catalogue import BY_KIND
from webvirt.services.screens import is_old
from webvirt.web.context import HostRow
from webvirt.web.domainrows import Row, held_on_row
from webvirt.web.lists import Query

WALL = "wall"
VIEWS = ("list", WALL)
VIEW_COOKIE = "machines"
"""How this browser looked at the machines last."""
VIEW_SECONDS = 365 * 24 * 3600


def view_of(request: HttpRequest, query: Query) -> str:
    """How this page shall look: as its address says, else as this browser looked last."""
    wanted = query.get("view")
    return wanted if wanted in VIEWS else request.COOKIES.get(VIEW_COOKIE, "")


def remember_view(request: HttpRequest, query: Query, answer: HttpResponse) -> None:
    """Keep what the address says for addresses that say nothing."""
    wanted = query.get("view")
    if wanted not in VIEWS or request.COOKIES.get(VIEW_COOKIE) == wanted:
        return
    secure = settings.SESSION_COOKIE_SECURE
    answer.set_cookie(VIEW_COOKIE, wanted, VIEW_SECONDS, path="/vms/", secure=secure, httponly=True, samesite="Lax")


class Shown(NamedTuple):
    """What stands for a machine on the wall: `what` is "picture", or why there is none ("off", "none", "hidden")."""

    what: str
    as_of: datetime | None
    """When the picture was taken, where it is old."""


def shown_on_wall(access: Access, rows: Sequence[Row], hosts: Mapping[int, HostRow]) -> dict[int, Shown]:
    """What stands for each of the rows: one query for all of them."""
    columns = ("pk", "screen__taken_at", "definition__live__graphics", "definition__inactive__graphics")
    found = Domain.objects.filter(pk__in=[row.pk for row in rows]).order_by().values_list(*columns)
    known = {pk: (taken_at, has_display(live, inactive)) for pk, taken_at, live, inactive in found}
    return {
        row.pk: shown_for(row, hosts[row.host_id], *known.get(row.pk, (None, True)), held_on_row(access, row))
        for row in rows
    }


def has_display(live: list[object] | None, inactive: list[object] | None) -> bool:
    """Whether a machine's definition has one; of a machine whose definition we have not read, nothing is said."""
    graphics = inactive if live is None else live
    return graphics is None or bool(graphics)


def shown_for(row: Row, host: HostRow, taken_at: datetime | None, has_screen: bool, held: Held | None) -> Shown:
    if Status(row.status) not in ACTIVE:
        return Shown("off", None)
    if held is None or not held.allows(BY_KIND["domain.screenshot"]):
        return Shown("hidden", None)
    if not has_screen:
        return Shown("none", None)
    stands_still = host.state != HostState.UP or row.not_responding_since is not None
    return Shown("picture", taken_at if taken_at and (stands_still or is_old(taken_at)) else None)

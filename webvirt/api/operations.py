"""Operations over REST: what was asked for, by whom, and what became of it."""

from __future__ import annotations

from django.http import HttpRequest
from django.utils.translation import gettext as _
from ninja import Query, Router, Schema, Status

from webvirt.api.auth import access_for
from webvirt.api.lists import Page, one, page_of
from webvirt.api.shapes import OperationOut, Operations, operation_out
from webvirt.services import operations

router = Router(tags=["operations"])


class Filters(Schema):
    state: str = ""
    kind: str = ""
    domain: int | None = None
    host: int | None = None
    mine: bool = False


@router.get("", response=Operations, summary="List operations")
def operation_list(request: HttpRequest, page: Query[Page], filters: Query[Filters]) -> Operations:
    """Those on what you may know of and your own, newest first. `state` may be `active`."""
    access = access_for(request)
    found = access.operations()
    if filters.state == "active":
        found = found.active()
    elif filters.state:
        found = found.filter(state=filters.state)
    if filters.mine:
        found = found.filter(user=access.user)
    for name in ("kind", "domain", "host"):
        if value := getattr(filters, name):
            found = found.filter(**{name: value})
    total, rows = page_of(found, page)
    return Operations(total=total, items=[operation_out(access, operation) for operation in rows])


@router.get("/{int:pk}", response=OperationOut, summary="One operation", url_name="operation")
def operation(request: HttpRequest, pk: int) -> OperationOut:
    """Ask again until `finished_at` is set, or watch `operation:ID` on /ws/events/."""
    access = access_for(request)
    return operation_out(access, one(access.operations(), pk))


@router.post("/{int:pk}/cancel", response={202: OperationOut}, summary="Cancel an operation")
def cancel(request: HttpRequest, pk: int) -> Status[OperationOut]:
    """A queued one ends now, a running one at its next look, where it can; 409 where it cannot."""
    access = access_for(request)
    found = one(access.operations(), pk)
    if not operations.may_answer_for(access, found):
        raise operations.Denied(_("Only who asked for it, or may ask for the same, can cancel it."))
    if not operations.cancel(found):
        raise operations.NotNow(_("It has ended, or cannot be stopped any more."))
    found.refresh_from_db()
    return Status(202, operation_out(access, found))

"""Operations over REST: what was asked for, by whom, and what became of it."""

from __future__ import annotations

from django.http import Http404, HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from ninja import Query, Router, Schema, Status

from webvirt.api.auth import OF_VERBS, access_for, caller_of
from webvirt.api.lists import Page, one, page_of
from webvirt.api.shapes import OperationOut, Operations, operation_out
from webvirt.models import OperationState
from webvirt.services import operations
from webvirt.services.access import asked_by
from webvirt.services.subjects import join_subjects

router = Router(tags=["operations"], auth=OF_VERBS)


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
        found = found.filter(asked_by(access.user, access.limit))
    for name in ("kind", "domain", "host"):
        if value := getattr(filters, name):
            found = found.filter(**{name: value})
    total, rows = page_of(found, page)
    if not access.everywhere:
        join_subjects(rows)
    return Operations(total=total, items=[operation_out(access, operation) for operation in rows])


@router.get("/{int:pk}", response=OperationOut, summary="One operation", url_name="operation")
def operation(request: HttpRequest, pk: int) -> OperationOut:
    """Ask again until `finished_at` is set, or watch `operation:ID` on /ws/events/."""
    access = access_for(request)
    return operation_out(access, one(access.operations(), pk))


@router.get(
    "/{int:pk}/file",
    summary="Fetch what was asked for",
    openapi_extra={"responses": {200: {"description": "The bytes.", "content": {"application/octet-stream": {}}}}},
)
def file(request: HttpRequest, pk: int) -> HttpResponse:
    """The file of a download that you asked for and that still waits; once. How it went, the operation tells."""
    caller = caller_of(request)
    operation = operations.file_to_fetch(caller.user, caller.limit, pk)
    if operation is None:
        raise Http404
    if operation.state != OperationState.QUEUED:
        raise operations.NotNow(_("It was fetched before, or is not wanted any more: ask for the download again."))
    return HttpResponse(headers={"X-Accel-Redirect": operations.carrier_of(operation)})


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

"""Everything that was asked for: the list with its filters, one operation, and cancelling it."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import PermissionDenied
from django.db.models import Q
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from webvirt.models import ACTIVE_STATES, Operation, OperationQuerySet, OperationState, Origin, Volume
from webvirt.services import operations
from webvirt.services.access import Access
from webvirt.services.bulk import MOST
from webvirt.services.catalogue import BY_KIND, VERBS, Verb
from webvirt.services.disclosure import error_for, parameters_for, virsh_for
from webvirt.services.phrases import said
from webvirt.services.subjects import address_of
from webvirt.web import answers
from webvirt.web.guards import signed_in, wants_json
from webvirt.web.lists import Query, query_of, slice_of

KEYS_OF_LIST = ("state", "kind", "q", "who")
SHOWN_STATES = {"open": Q(state__in=ACTIVE_STATES)} | {state.value: Q(state=state) for state in OperationState}


@require_GET
@signed_in
def index(request: HttpRequest, access: Access) -> HttpResponse:
    if wants_json(request):
        return some(request, access)
    query = query_of(request.GET, KEYS_OF_LIST)
    found = filtered(access.operations().select_related(None), query, access)
    part = slice_of(query, found.count())
    context = {
        "query": query,
        "part": part,
        "operations": list(found.order_by("-id").defer("result", "virsh")[part.start : part.start + part.size]),
        "kinds": [(verb.kind, str(verb.label)) for verb in VERBS if not verb.session],
        "states": [("open", _("under way")), *OperationState.choices],
    }
    return render(request, "operations/list.html", context)


def some(request: HttpRequest, access: Access) -> JsonResponse:
    """The operations that a page's script follows, by their ids."""
    ids = [int(pk) for pk in request.GET.get("ids", "").split(",")[:MOST] if pk.isdecimal() and len(pk) < 18]
    found = access.operations().select_related("host", "domain").filter(pk__in=ids)
    return JsonResponse({"operations": [answers.operation_json(access, operation) for operation in found]})


def filtered(found: OperationQuerySet, query: Query, access: Access) -> OperationQuerySet:
    if condition := SHOWN_STATES.get(query.get("state")):
        found = found.filter(condition)
    if query.get("kind") in BY_KIND:
        found = found.filter(kind=query.get("kind"))
    if query.get("who") == "me":
        found = found.filter(user=access.user)
    if text := query.get("q"):
        found = found.filter(Q(target__icontains=text) | Q(actor__iexact=text))
    return found


@require_GET
@signed_in
def detail(request: HttpRequest, access: Access, pk: int) -> HttpResponse:
    operation = find(access, pk)
    if wants_json(request):
        return JsonResponse(answers.operation_json(access, operation))
    verb = BY_KIND.get(operation.kind)
    context = {
        "operation": operation,
        "verb": verb,
        "origin": Origin(operation.origin).label,
        "parameters": [(said(key), words(value)) for key, value in parameters_for(access, operation).items()],
        "virsh": virsh_for(access, operation),
        "error": error_for(access, operation),
        "remedy": said(operation.remedy),
        "phase": answers.phase_of(operation),
        "may_cancel": may_cancel(access, operation, verb),
        "knows_target": knows_target(access, operation),
        "again": may_repeat(access, operation, verb),
        "address": address_of(operation.subject),
        "made": volume_made_by(access, operation),
        "file": answers.file_of(operation) if access.asked_for(operation) else "",
    }
    return render(request, "operations/detail.html", context)


def find(access: Access, pk: int) -> Operation:
    return get_object_or_404(access.operations(), pk=pk)


def words(value: Any) -> str:
    if isinstance(value, bool):
        return _("yes") if value else _("no")
    if isinstance(value, dict):
        return " ".join(f"{said(key)} {words(part)}" for key, part in value.items() if part not in ("", [], None))
    return ", ".join(words(item) for item in value) if isinstance(value, list) else str(value)


def may_cancel(access: Access, operation: Operation, verb: Verb | None) -> bool:
    """Who asked may cancel it, and who may do the same to the object."""
    if not operation.is_active or verb is None or operation.cancel_asked_at:
        return False
    if not (verb.cancellable or operation.state == OperationState.QUEUED):
        return False
    return operations.may_answer_for(access, operation)


def may_repeat(access: Access, operation: Operation, verb: Verb | None) -> bool:
    """Whether "try again" makes sense: it failed, needs nothing typed, and is still allowed."""
    if verb is None or operation.state not in (OperationState.FAILED, OperationState.CANCELLED):
        return False
    if operation.parameters or not verb.on or verb.by_name or not knows_target(access, operation):
        return False
    return access.may(verb, access.object_of(operation))


def volume_made_by(access: Access, operation: Operation) -> Volume | None:
    """The volume that it made, if it is still there and this person may know of it."""
    name = (operation.result or {}).get("volume")
    noun, _colon, pk = operation.subject.partition(":")
    pool = operation.parameters.get("pool") or (int(pk) if noun == "pool" else None)
    there = access.volumes().filter(pool=pool, name=name, missing_since=None) if name and pool else None
    return there.first() if there is not None else None


def knows_target(access: Access, operation: Operation) -> bool:
    noun, _colon, pk = operation.subject.partition(":")
    return access.one(noun, int(pk)) is not None


@require_GET
@signed_in
def file(request: HttpRequest, access: Access, pk: int) -> HttpResponse:
    """What this person asked to download: the front has it carried to them, once."""
    operation = operations.file_to_fetch(access.user, access.limit, pk)
    if operation is None:
        raise Http404
    if not answers.file_of(operation):
        return redirect(f"/operations/{pk}/")
    return HttpResponse(headers={"X-Accel-Redirect": operations.carrier_of(operation)})


@require_POST
@signed_in
def cancel(request: HttpRequest, access: Access, pk: int) -> HttpResponse:
    operation = find(access, pk)
    if not operations.may_answer_for(access, operation):
        raise PermissionDenied
    if not operations.cancel(operation):
        error = operations.NotNow(_("It cannot be cancelled (any more)."))
        return answers.refused(request, error, f"/operations/{pk}/")
    operation.refresh_from_db()
    if wants_json(request):
        return JsonResponse(answers.operation_json(access, operation), status=202)
    return redirect(answers.way_back(request, f"/operations/{pk}/"))

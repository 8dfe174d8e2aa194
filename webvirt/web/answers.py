"""Answers to a verb: a page for a person's browser, JSON for our scripts; the same outcome either way."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect
from django.utils.translation import gettext as _

from webvirt.models import Operation, OperationState
from webvirt.services.access import Access
from webvirt.services.catalogue import BY_KIND, Queue
from webvirt.services.disclosure import error_for
from webvirt.services.operations import Denied, Invalid, Refused
from webvirt.services.phrases import said
from webvirt.services.subjects import address_of
from webvirt.web.accounts import is_own_path
from webvirt.web.checks import LABELS, check_label
from webvirt.web.guards import access_for, wants_json
from webvirt.web.offers import verb_words


def accepted(request: HttpRequest, operation: Operation, back: str) -> HttpResponse:
    """An operation was accepted."""
    if wants_json(request):
        return JsonResponse(operation_json(access_for(request), operation), status=202)
    if there := file_of(operation):
        return redirect(there)
    messages.success(request, asked_text(operation))
    return redirect(way_back(request, back))


def all_accepted(request: HttpRequest, asked: list[Operation]) -> HttpResponse:
    """Several operations were accepted."""
    if wants_json(request):
        access = access_for(request)
        return JsonResponse({"results": [operation_json(access, one) for one in asked]}, status=202)
    messages.success(request, _("%(verb)s: asked for %(n)s.") % {"verb": verb_words(asked[0]), "n": len(asked)})
    return redirect("/operations/")


def refused(request: HttpRequest, error: Refused, back: str) -> HttpResponse:
    """It was not. `Invalid` on a page is for the caller, who has the form with what was typed."""
    if wants_json(request):
        fields = error.fields if isinstance(error, Invalid) else {}
        return JsonResponse({"error": str(error), "fields": fields}, status=status_of(error))
    if isinstance(error, Denied):
        raise PermissionDenied(str(error))
    messages.error(request, str(error))
    return redirect(way_back(request, back))


def status_of(error: Refused) -> int:
    if isinstance(error, Denied):
        return 403
    return 400 if isinstance(error, Invalid) else 409


def asked_text(operation: Operation) -> str:
    return _("%(verb)s: asked for %(name)s.") % {"verb": verb_words(operation), "name": operation.target}


def way_back(request: HttpRequest, default: str) -> str:
    """Where the form says it came from, if that is a page of ours."""
    wanted = request.POST.get("next", "")
    return wanted if is_own_path(wanted) else default


def operation_json(access: Access, operation: Operation) -> dict[str, Any]:
    """What a toast shows of an operation."""
    verb = BY_KIND.get(operation.kind)
    return {
        "operation": operation.pk,
        "id": operation.pk,
        "url": f"/operations/{operation.pk}/",
        "label": verb_words(operation),
        "target": operation.target,
        "target_url": address_of(operation.subject),
        "state": operation.state,
        "state_label": str(OperationState(operation.state).label),
        "active": operation.is_active,
        "percent": operation.percent,
        "phase": phase_of(operation),
        "error": error_for(access, operation),
        "remedy": said(operation.remedy),
        "file": file_of(operation),
        "cancellable": bool(operation.is_active and verb and (verb.cancellable or operation.state == "queued")),
    }


def file_of(operation: Operation) -> str:
    """Where the file is fetched that was asked for; empty where there is none, or not any more."""
    waits = operation.queue == Queue.BYTES and operation.state == OperationState.QUEUED
    return f"/operations/{operation.pk}/file/" if waits else ""


def phase_of(operation: Operation) -> str:
    """What it is doing: a sentence, or the step of a connection trial by its name."""
    return check_label(operation.phase) if operation.phase in LABELS else said(operation.phase)

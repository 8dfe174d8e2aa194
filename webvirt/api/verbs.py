"""The verbs over REST: a path for each row of the catalogue, made from it, and the same on many at once."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.translation import gettext as _
from ninja import Router, Schema, Status
from ninja.errors import HttpError
from pydantic import Field

from webvirt.api.auth import OF_VERBS, access_for, actor_of
from webvirt.api.errors import status_of
from webvirt.api.lists import one
from webvirt.api.shapes import (
    BulkItem,
    BulkOut,
    Failure,
    NamedItem,
    NamedOut,
    OperationOut,
    VerbOut,
    operation_out,
    parameters_schema,
    verb_out,
)
from webvirt.models import Operation
from webvirt.services import bulk, operations
from webvirt.services.access import Access
from webvirt.services.catalogue import VERBS, VERBS_FOR_MANY, NoParameters, Queue, Verb
from webvirt.services.subjects import Subject

router = Router(tags=["verbs"], auth=OF_VERBS)

ACCEPTED = {202: OperationOut, (401, 403, 404, 409, 422): Failure}
KEY_HEADER = {
    "in": "header",
    "name": "Idempotency-Key",
    "required": False,
    "schema": {"type": "string", "maxLength": 150},
    "description": "Your name for this request: asking again under it gives the same operation and does nothing twice.",
}


def body_of(request: HttpRequest) -> dict[str, Any]:
    """A JSON object, or nothing at all."""
    if not request.body.strip():
        return {}
    try:
        found = json.loads(request.body)
    except (ValueError, RecursionError):
        raise HttpError(400, _("The body is not JSON.")) from None
    if not isinstance(found, dict):
        raise HttpError(400, _("The body must be a JSON object."))
    return found


def accepted(access: Access, operation: Operation, response: HttpResponse) -> Status[OperationOut]:
    """202 with the operation, and where to ask what became of it."""
    response["Location"] = reverse("api:operation", args=[operation.pk])
    return Status(202, operation_out(access, operation))


def documented(verb: Verb) -> dict[str, Any]:
    """What the OpenAPI document says of a verb beyond what ninja sees."""
    extra: dict[str, Any] = {"parameters": [KEY_HEADER]}
    if verb.spec is not NoParameters:
        content = {"application/json": {"schema": parameters_schema(verb)}}
        extra["requestBody"] = {"required": True, "content": content}
    return extra


def described(verb: Verb) -> str:
    lines = [f"Role needed: {verb.role}."]
    if verb.host_role:
        lines.append(f"On its host: {verb.host_role}.")
    if verb.states is not None:
        lines.append(f"In these states: {', '.join(sorted(verb.states))}.")
    if verb.danger:
        lines.append(str(verb.danger))
    if verb.queue == Queue.BYTES:
        lines.append("Then fetch the file, once, at /operations/{id}/file.")
    if not verb.exclusive:
        lines.append("Waits for no other operation.")
    return " ".join(lines)


def make_view(verb: Verb) -> Callable[..., Any]:
    """The view of one verb."""

    def view(request: HttpRequest, pk: int, response: HttpResponse) -> Status[OperationOut]:
        access = access_for(request)
        target: Subject = one(access.targets(verb), pk)
        operation = operations.submit(actor_of(request), verb, target, body_of(request))
        return accepted(access, operation, response)

    view.__name__ = verb.kind.replace(".", "_")
    return view


for _verb in VERBS:
    if _verb.session or not _verb.on:
        continue
    router.post(
        f"/{_verb.on}s/{{int:pk}}/{_verb.name}",
        response=ACCEPTED,
        operation_id=_verb.kind,
        summary=str(_verb.label),
        description=described(_verb),
        tags=[f"{_verb.on}s"],
        openapi_extra=documented(_verb),
    )(make_view(_verb))


class BulkSpec(Schema, extra="forbid"):
    """`verb` by name (`start`), the ids of what it is done to, and what the verb takes."""

    verb: str
    ids: list[int] = Field(min_length=1, max_length=bulk.MOST)
    parameters: dict[str, Any] = {}


def make_bulk_view(noun: str, verbs: dict[str, Verb]) -> Callable[..., BulkOut]:
    """The view of all verbs on many of one noun."""

    def view(request: HttpRequest, spec: BulkSpec) -> BulkOut:
        if spec.verb not in verbs:
            raise operations.Invalid({"verb": _("One of %(names)s.") % {"names": ", ".join(verbs)}})
        access = access_for(request)
        actor, verb = actor_of(request), verbs[spec.verb]
        outcomes = bulk.submit_to_each(actor, access, verb, spec.ids, spec.parameters)
        return BulkOut(items=[bulk_item(access, outcome) for outcome in outcomes])

    view.__name__ = f"{noun}s_bulk"
    return view


def bulk_item(access: Access, outcome: bulk.Outcome) -> BulkItem:
    if outcome.operation is not None:
        return BulkItem(id=outcome.id, status=202, operation=operation_out(access, outcome.operation))
    if outcome.refused is None:
        return BulkItem(id=outcome.id, status=404, error=_("Not found."))
    return BulkItem(id=outcome.id, status=status_of(outcome.refused), error=str(outcome.refused))


def make_named_view(verb: Verb) -> Callable[..., NamedOut]:
    """The view of one verb that makes several new things of one."""

    def view(request: HttpRequest, pk: int) -> NamedOut:
        access = access_for(request)
        target: Subject = one(access.targets(verb), pk)
        if not access.may(verb, target):
            raise operations.Denied(_("Your role here does not allow “%(verb)s”.") % {"verb": verb.label})
        outcomes = bulk.submit_each_name(actor_of(request), verb, target, body_of(request))
        return NamedOut(items=[named_item(access, outcome) for outcome in outcomes])

    view.__name__ = f"{verb.kind.replace('.', '_')}_bulk"
    return view


def named_item(access: Access, outcome: bulk.Named) -> NamedItem:
    if outcome.operation is not None:
        return NamedItem(name=outcome.name, status=202, operation=operation_out(access, outcome.operation))
    assert outcome.refused is not None
    fields = outcome.refused.fields if isinstance(outcome.refused, operations.Invalid) else None
    status = status_of(outcome.refused)
    return NamedItem(name=outcome.name, status=status, error=str(outcome.refused), fields=fields)


for _verb in VERBS:
    if _verb.kind not in bulk.BY_NAMES:
        continue
    router.post(
        f"/{_verb.on}s/{{int:pk}}/{_verb.name}/bulk",
        response={200: NamedOut, (401, 403, 404, 422): Failure},
        operation_id=f"{_verb.kind}.bulk",
        summary=f"{_verb.label}, several at once",
        description="As for one, with a name that stands for several: `web-{01..10}` is ten. One answer for each, in "
        "their order; a refusal stops no other.",
        tags=[f"{_verb.on}s"],
        openapi_extra=documented(_verb),
    )(make_named_view(_verb))


for _noun, _verbs in VERBS_FOR_MANY.items():
    router.post(
        f"/{_noun}s/bulk",
        response={200: BulkOut, (401, 422): Failure},
        operation_id=f"{_noun}s.bulk",
        summary=f"A verb on many {_noun}s",
        description=f"One of {', '.join(_verbs)}. One answer for each, in the order asked; a refusal stops no other.",
        tags=[f"{_noun}s"],
        openapi_extra={"parameters": [KEY_HEADER]},
    )(make_bulk_view(_noun, _verbs))


@router.get("/catalogue", response=list[VerbOut], summary="All verbs", tags=["catalogue"])
def catalogue(request: HttpRequest) -> list[VerbOut]:
    """The table that buttons, rights and these very paths are made from."""
    return [verb_out(verb) for verb in VERBS]

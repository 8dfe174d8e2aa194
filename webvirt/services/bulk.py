"""The same verb on many things of one noun at once, with an answer for each."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from django.db import transaction

from webvirt.models import Operation
from webvirt.services.access import Access
from webvirt.services.catalogue import Verb
from webvirt.services.operations import Actor, Refused, submit
from webvirt.services.subjects import Subject

MOST = 500
"""How many things one request may name."""


@dataclass(frozen=True)
class Outcome:
    """What became of one thing: exactly one of `operation` and `refused` is set, or neither if it is unknown."""

    id: int
    operation: Operation | None = None
    refused: Refused | None = None


def submit_to_each(
    actor: Actor, access: Access, verb: Verb, ids: Iterable[int], parameters: dict[str, Any] | None = None
) -> list[Outcome]:
    """Submit `verb` to each of its noun by id, in the order given, repeated ids once; one refusal stops no other."""
    wanted = list(dict.fromkeys(ids))
    found = access.rows(verb.on).in_bulk(wanted)
    outcomes = []
    for pk in wanted:
        if pk not in found:
            outcomes.append(Outcome(pk))
            continue
        one = replace(actor, request_key=f"{actor.request_key}/{pk}") if actor.request_key else actor
        try:
            outcomes.append(Outcome(pk, operation=submit(one, verb, found[pk], parameters)))
        except Refused as error:
            outcomes.append(Outcome(pk, refused=error))
    return outcomes


def submit_all(actor: Actor, verb: Verb, target: Subject, wanted: list[dict[str, Any]]) -> list[Operation]:
    """Submit `verb` to one thing once for each of several parameters: all of them, or none. Raises Refused."""
    several = len(wanted) > 1
    with transaction.atomic():
        return [
            submit(
                replace(actor, request_key=f"{actor.request_key}/{at}") if several and actor.request_key else actor,
                verb,
                target,
                parameters,
            )
            for at, parameters in enumerate(wanted)
        ]

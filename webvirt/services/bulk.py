"""The same verb on many things of one noun at once, or for many new ones, with an answer for each."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from django.utils.translation import gettext as _

from webvirt.models import Operation
from webvirt.services import audit
from webvirt.services.access import Access
from webvirt.services.catalogue import Verb
from webvirt.services.catalogue.wishes import names_of
from webvirt.services.operations import Actor, Invalid, Refused, accept, denials_noted, submit
from webvirt.services.phrases import said
from webvirt.services.subjects import Subject

MOST = 500
"""How many things one request may name."""
BY_NAMES = ("domain.create", "domain.clone")
"""The verbs that make a machine, and as many as a name stands for."""


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


@dataclass(frozen=True)
class Named:
    """What became of one new thing: one of `operation` and `refused` is set."""

    name: str
    operation: Operation | None = None
    refused: Refused | None = None


def for_each_name(parameters: dict[str, Any]) -> list[dict[str, Any]]:
    """The parameters of each machine that a name stands for: `web-{01..10}` is ten. Raises Invalid."""
    name, setup = parameters.get("name"), parameters.get("setup")
    try:
        names = names_of(name) if isinstance(name, str) else [name]
    except ValueError as error:
        raise Invalid({"name": said(str(error))}) from None
    if len(names) > 1 and isinstance(setup, dict) and setup.get("address"):
        raise Invalid({"address": _("Several machines cannot have the same address: let them ask by DHCP.")})
    return [parameters | {"name": one} for one in names]


def submit_each_name(actor: Actor, verb: Verb, target: Subject, parameters: dict[str, Any]) -> list[Named]:
    """Submit `verb` to one thing for each name that is asked for; one refusal stops no other. Raises Invalid."""
    outcomes = []
    for wanted in for_each_name(parameters):
        name = str(wanted["name"])
        one = replace(actor, request_key=f"{actor.request_key}/{name}") if actor.request_key else actor
        try:
            outcomes.append(Named(name, operation=submit(one, verb, target, wanted)))
        except Refused as error:
            outcomes.append(Named(name, refused=error))
    return outcomes


def submit_all(actor: Actor, verb: Verb, target: Subject, wanted: list[dict[str, Any]]) -> list[Operation]:
    """Submit `verb` to one thing once for each of several parameters: all of them, or none. Raises Refused."""
    several = len(wanted) > 1
    with denials_noted(actor, verb, target), audit.writing():
        return [
            accept(
                replace(actor, request_key=f"{actor.request_key}/{at}") if several and actor.request_key else actor,
                verb,
                target,
                parameters,
            )
            for at, parameters in enumerate(wanted)
        ]

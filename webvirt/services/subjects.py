"""What verbs are done to: of each noun its rows, the address of its pages, and its name in announcements."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.db.models import QuerySet

from webvirt.models import Domain, Filter, Host, Network, Operation, Pool, Secret, Volume

Subject = Domain | Host | Pool | Volume | Network | Filter | Secret


@dataclass(frozen=True)
class Noun:
    """One kind of object. `path` is the first part of its pages' addresses."""

    name: str
    model: type[Subject]
    path: str


NOUNS = {
    noun.name: noun
    for noun in (
        Noun("domain", Domain, "vms"),
        Noun("host", Host, "hosts"),
        Noun("pool", Pool, "pools"),
        Noun("volume", Volume, "volumes"),
        Noun("network", Network, "networks"),
        Noun("filter", Filter, "filters"),
        Noun("secret", Secret, "secrets"),
    )
}


def noun_of(subject: Subject) -> str:
    """`pool` of a pool."""
    return next(noun.name for noun in NOUNS.values() if isinstance(subject, noun.model))


def name_of(subject: Subject) -> str:
    """Its name in announcements and on operations: `pool:12`."""
    return f"{noun_of(subject)}:{subject.pk}"


def host_of(subject: Subject) -> Host:
    """The host that it is, or is on."""
    return subject if isinstance(subject, Host) else subject.host


def address_of(name: str) -> str:
    """The address of the page of an object or a project, from its name in announcements."""
    noun, _, pk = name.partition(":")
    return f"/{NOUNS[noun].path if noun in NOUNS else f'{noun}s'}/{pk}/"


def rows_of(noun: str) -> QuerySet[Any]:
    """All rows of a noun, hosts joined."""
    model = NOUNS[noun].model
    joined = {Host: [], Volume: ["pool__host"]}.get(model, ["host"])
    rows: QuerySet[Any] = model._default_manager.select_related(*joined)
    return rows


def found(name: str) -> Subject | None:
    """The row of this name, with its host; None when it is not there (any more)."""
    noun, _, pk = name.partition(":")
    row: Subject | None = rows_of(noun).filter(pk=int(pk)).first()
    return row


def subject_of(operation: Operation) -> Subject:
    """What an operation is done to, its host joined; where the row is gone, its host."""
    if operation.domain is not None:
        return operation.domain
    if not hasattr(operation, "_subject"):
        is_host = operation.subject.startswith("host:")
        operation._subject = (None if is_host else found(operation.subject)) or operation.host  # type: ignore[attr-defined]
    subject: Subject = operation._subject  # type: ignore[attr-defined]
    return subject


def join_subjects(operations: Iterable[Operation]) -> None:
    """Read what these are done to, by one query for each noun, so that `subject_of` asks for none."""
    of_nouns: dict[str, dict[int, list[Operation]]] = defaultdict(lambda: defaultdict(list))
    for operation in operations:
        noun, _, number = operation.subject.partition(":")
        if operation.domain is None and noun != "host":
            of_nouns[noun][int(number)].append(operation)
    for noun, asked in of_nouns.items():
        rows = rows_of(noun).in_bulk(list(asked))
        for pk, concerned in asked.items():
            for operation in concerned:
                operation._subject = rows.get(pk) or operation.host  # type: ignore[attr-defined]

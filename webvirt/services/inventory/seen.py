"""What all rows of things on a host have in common: they are matched with what the host lists, and marked missing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any, Protocol, TypeVar

from django.db import transaction
from django.utils import timezone

from webvirt import bus
from webvirt.models import Host, Seen


class Listed(Protocol):
    """A line of a host's list."""

    @property
    def uuid(self) -> str: ...


L = TypeVar("L", bound=Listed)
R = TypeVar("R", bound=Seen)


def reconcile_listed(
    model: type[R], host: Host, seen: Sequence[L], values: Callable[[L], dict[str, Any]], *, noun: str
) -> set[str]:
    """Bring the rows of one noun up to what a host lists; returns the uuids of those that are new or changed.

    `values` makes a row's fields of a line. What is not listed any more is missing from now on.
    """
    now = timezone.now()
    with transaction.atomic():
        # Locked, so that a project which it is given meanwhile is not written over.
        rows = model._default_manager.select_for_update().filter(host=host)
        known = {row.uuid: row for row in rows}  # type: ignore[attr-defined]
        changed: list[R] = []
        for line in seen:
            row = known.pop(line.uuid, None) or model(host=host, uuid=line.uuid)
            if bring_up(row, values(line) | {"missing_since": None}):
                changed.append(row)
        changed += [row for row in known.values() if bring_up(row, missing(row, now))]
        for row in changed:
            row.save()
        announce(host, noun, changed)
    return {row.uuid for row in changed}  # type: ignore[attr-defined]


def bring_up(row: Seen, values: dict[str, Any]) -> bool:
    """Set fields; True if that changed any, or the row is new."""
    before = {name: getattr(row, name) for name in values}
    for name, value in values.items():
        setattr(row, name, value)
    return row.pk is None or before != values


def missing(row: Seen, now: datetime) -> dict[str, Any]:
    since = {"missing_since": row.missing_since or now}
    return since | {"status": "missing"} if hasattr(row, "status") else since


def announce(host: Host, noun: str, rows: Iterable[Seen]) -> None:
    names = [f"{noun}:{row.pk}" for row in rows]
    if names:
        bus.announce([*names, f"{noun}s", f"host:{host.pk}"])

"""Whether a machine has what its console is best used with, now or from its next start on."""

from __future__ import annotations

from enum import StrEnum

from webvirt.models import Definition


class Has(StrEnum):
    """Whether a machine has something. `NEXT`: from its next start on, while it runs without it."""

    NOW = "now"
    NEXT = "next"
    NOT = ""


def tablet_of(definition: Definition | None) -> Has:
    """Of a pointer that is where the person's is."""
    return has(definition, "has_tablet")


def clipboard_of(definition: Definition | None) -> Has:
    """Of a channel that carries what is copied."""
    return has(definition, "has_clipboard")


def has(definition: Definition | None, name: str) -> Has:
    """What has not been read is taken not to be there."""
    if definition is None:
        return Has.NOT
    if definition.shown.get(name):
        return Has.NOW
    return Has.NEXT if definition.inactive.get(name) else Has.NOT

"""One form: its template, its first values, and the way from its fields to a verb's parameters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.http import QueryDict

from webvirt.services.access import Access
from webvirt.services.subjects import Subject

Values = dict[str, Any]


def nothing_more(access: Access, target: Subject | None) -> Values:
    return {}


def nothing_to_foresee(target: Any, spec: Any) -> Values:
    return {}


@dataclass(frozen=True)
class Form:
    """How a person fills in a verb.

    `start` gives the values that it begins with, for a target as it is now; `parameters` makes of what was typed what
    the verb takes. `more` is what the template wants besides, such as choices; `plan` what the page shows of a verb's
    parameters before it is done, besides the command.
    """

    template: str
    start: Callable[[Any], Values]
    parameters: Callable[[QueryDict], Values]
    more: Callable[[Access, Subject | None], Values] = nothing_more
    plan: Callable[[Any, Any], Values] = nothing_to_foresee

    def typed(self, given: QueryDict, target: Subject | None) -> Values:
        """What was typed, to be shown again; a box that was not ticked sends nothing."""
        return {key: given.get(key, "") for key in self.start(target)}


def text(given: QueryDict, key: str) -> str:
    """A field without the space around it. Browsers send line ends as CR LF; XML would keep the CR."""
    return given.get(key, "").replace("\r\n", "\n").strip()


def filled(given: QueryDict, *keys: str) -> Values:
    """Those of the fields that hold something."""
    return {key: value for key in keys if (value := text(given, key))}


def words(given: QueryDict, key: str) -> list[str]:
    """A field with several words, by spaces, commas or lines."""
    return text(given, key).replace(",", " ").split()


def number(value: str) -> int | str:
    """A whole number, or what was typed instead, for the verb to refuse."""
    return int(value) if value.isascii() and value.isdecimal() and len(value) < 19 else value

"""One form: its template, its first values, and the way from its fields to a verb's parameters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.http import QueryDict

from webvirt.services.access import Access
from webvirt.services.subjects import Subject
from webvirt.web.forms.within import Within

Values = dict[str, Any]


def nothing_more(access: Access, target: Subject | None) -> Values:
    return {}


def alone(parameters: Values) -> list[Values]:
    return [parameters]


def same_name(parameter: str) -> str:
    return parameter


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
    each: Callable[[Values], list[Values]] = alone
    """The parameters of each of several things that one form asks for."""
    named: Callable[[str], str] = same_name
    """The name of the field that a parameter comes from."""
    offers: Callable[[Within, Any, Values], Values] | None = None
    """In place of `more` for what is made inside projects: what there is to choose from there, by what was
    typed."""
    linked: tuple[str, ...] = ()
    """The fields that an address which leads to the form may fill in."""

    def begun(self, given: QueryDict, target: Subject) -> Values:
        """What it shows at first; `given` is the part of the address after `?`."""
        return self.start(target) | filled(given, *self.linked)

    def typed(self, given: QueryDict, target: Subject | None) -> Values:
        """What was typed, to be shown again; a box that was not ticked sends nothing, a list all its rows."""
        first = self.start(target)
        return {key: given.getlist(key) if isinstance(first[key], list) else given.get(key, "") for key in first}

    def wrong(self, fields: dict[str, str]) -> dict[str, str]:
        """A sentence for each field of the form that something is wrong with."""
        return {self.named(parameter): sentence for parameter, sentence in fields.items()}


NO_FORM = Form("", lambda target: {}, lambda given: {})
"""Of verbs that take nothing."""


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

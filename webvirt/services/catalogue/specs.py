"""What verbs take: the base of all parameters, and the checks that several share."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class Spec(BaseModel):
    """What a verb takes. Unknown fields are refused rather than ignored.

    A field that is a `SecretStr` is kept nowhere: see `services.hidden`.
    """

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


def printable(text: str) -> str:
    """Refuse what XML cannot hold: control characters but tab and line ends, and lone surrogates."""
    if re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]", text):
        raise ValueError("holds characters that cannot be kept (control characters)")
    return text


def one_line(text: str) -> str:
    if re.search(r"[\r\n\t]", text):
        raise ValueError("must be one line")
    return printable(text)


def domain_name(name: str) -> str:
    """libvirt takes nearly anything; these names are also safe as file names, which libvirt makes of them."""
    if name.strip() != name or "/" in name or name.startswith((".", "-")):
        raise ValueError("must not start with '.' or '-', nor hold '/', nor begin or end with a space")
    return one_line(name)


class InProject(Spec):
    """What is made belongs to the project of this id, 0 for none; what that is where it is left out, the verb says."""

    project: Annotated[int, Field(ge=0)] | None = None


class NoParameters(Spec):
    pass


class AutostartSpec(Spec):
    enabled: bool


class RecordSpec(Spec):
    enabled: bool


SWITCHES = (AutostartSpec, RecordSpec)
"""What turns something on or off: a button in place of a form."""

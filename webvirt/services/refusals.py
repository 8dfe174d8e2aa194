"""Why something that was asked for is not accepted, in sentences for the person."""

from __future__ import annotations


class Refused(Exception):
    """An operation that was not accepted; `str(error)` is a sentence for the person."""


class Denied(Refused):
    """The person may know of the object, but not do this to it."""


class NotNow(Refused):
    """It makes no sense in the state the object is in."""


class OverQuota(Refused):
    """There is not so much left of its project's quota."""


class Invalid(Refused):
    """The parameters are not what the verb takes; `fields` has a sentence for each wrong one."""

    def __init__(self, fields: dict[str, str]) -> None:
        self.fields = fields
        super().__init__("; ".join(f"{name}: {text}" if name else text for name, text in fields.items()))

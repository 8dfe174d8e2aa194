"""Keeping what people name: projects, groups and roles."""

from __future__ import annotations

from typing import TypeVar

from django.core.exceptions import ValidationError
from django.db.models import Model

from webvirt.services.catalogue.specs import one_line
from webvirt.services.operations import Invalid
from webvirt.services.phrases import said

M = TypeVar("M", bound=Model)


def cleaned(text: str, field: str = "name") -> str:
    """A line as it was typed, without the space around it. Raises Invalid."""
    try:
        return one_line(text.strip())
    except ValueError as error:
        raise Invalid({field: said(str(error))}) from None


def keep(row: M) -> M:
    """Save it if it is as it must be. Raises Invalid with a sentence for each wrong field."""
    try:
        row.full_clean()
    except ValidationError as error:
        fields = {name: " ".join(sentences) for name, sentences in error.message_dict.items()}
        # What concerns several fields is said of the name.
        fields["name"] = fields.pop("__all__", fields.get("name", ""))
        raise Invalid({name: sentence for name, sentence in fields.items() if sentence}) from None
    row.save()
    return row

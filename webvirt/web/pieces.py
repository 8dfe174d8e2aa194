"""Pieces of a page rendered by themselves, so that their makers can keep them."""

from __future__ import annotations

from typing import Any

from django.template.loader import get_template
from markupsafe import Markup


def piece(template: str, context: dict[str, Any]) -> Markup:
    """A template of ours as HTML; what it was given is escaped in it, as in every template."""
    return Markup(get_template(template).render(context))  # noqa: S704

"""The templates' environment: what every template can call."""

from __future__ import annotations

from functools import cache
from typing import Any

from django.contrib.staticfiles.storage import staticfiles_storage
from django.urls import reverse
from django.utils.translation import gettext, pgettext
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from webvirt.models import OperationState, Status
from webvirt.services.auditlog import label_of
from webvirt.services.catalogue import BY_KIND
from webvirt.services.phrases import said
from webvirt.web import words
from webvirt.web.marks import mark_of, os_mark


def environment(**options: Any) -> Environment:
    """Django calls this once. Misspelt names are errors rather than nothing."""
    ours = {"undefined": StrictUndefined, "trim_blocks": True, "lstrip_blocks": True}
    env = Environment(autoescape=options.pop("autoescape", True), **(options | ours))
    env.globals.update(
        _=gettext,
        pgettext=pgettext,
        static=static,
        url=url,
        icon=icon,
        state_label=state_label,
        operation_state=operation_state,
        verb_label=verb_label,
        mark_of=mark_of,
        os_mark=os_mark,
        event_label=label_of,
    )
    env.filters.update(words.FILTERS, said=said)
    return env


@cache
def static(path: str) -> str:
    return str(staticfiles_storage.url(path))


def url(name: str, *args: Any) -> str:
    return reverse(name, args=args)


@cache
def icon(name: str, extra: str = "") -> Markup:
    """An icon of the sprite; decoration, so it is hidden from readers."""
    return Markup('<svg class="icon {}" aria-hidden="true"><use href="{}#{}"/></svg>').format(
        extra, static("icons.svg"), name
    )


def state_label(status: str) -> str:
    return str(Status(status).label)


def operation_state(state: str) -> str:
    return str(OperationState(state).label)


def verb_label(kind: str) -> str:
    """An operation's verb in words; one that this version no longer knows keeps its name."""
    verb = BY_KIND.get(kind)
    return str(verb.label) if verb else kind

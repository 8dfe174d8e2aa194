"""Making API tokens as pages do: on the own profile, and on the page of a service account."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, QueryDict
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from webvirt.models import Project, User
from webvirt.services import tokens
from webvirt.services.access import Access
from webvirt.services.operations import Invalid
from webvirt.web.roles import verb_choices

DAYS = (7, 30, 90, 365)
EVERYTHING, READING, CHOSEN = "everything", "reading", "chosen"
MAY: dict[str, tuple[str | Promise, str | Promise]] = {
    EVERYTHING: (gettext_lazy("Everything"), gettext_lazy("whatever its account may, at any time")),
    READING: (
        gettext_lazy("Reading only"),
        gettext_lazy("sees what its account sees, but no screens, and changes nothing"),
    ),
    CHOSEN: (gettext_lazy("Chosen verbs"), gettext_lazy("reads, and does these where its account may")),
}
MOST_OFFERED = 200
"""Projects that are offered while one types; any other can be typed."""
ASKED = {"token": "", "days": "90", "may": EVERYTHING, "in": ""}
"""The fields of the form, as they are at first."""
FRESH: dict[str, Any] = {"token_typed": ASKED, "chosen": set(), "is_limiting": False}
"""What the form shows again when a token was made."""


def tokens_context(request: HttpRequest, access: Access, user: User) -> dict[str, Any]:
    """What the list of somebody's tokens and the form for another show; what was typed is kept."""
    given = request.POST if request.method == "POST" else QueryDict()
    typed = {name: given.get(name, first) for name, first in ASKED.items()}
    return {
        "tokens": tokens.tokens_of(user),
        "now": timezone.now(),
        "days": DAYS,
        "may": MAY,
        "choices": verb_choices(),
        "chosen": set(given.getlist("kinds")),
        "projects": list(access.projects().values_list("name", flat=True)[:MOST_OFFERED]),
        "token_typed": typed,
        "token_errors": {},
        "is_limiting": typed["may"] != EVERYTHING or bool(typed["in"]),
        "secret": None,
    }


def make_as_typed(access: Access, user: User, given: QueryDict) -> str:
    """The token that a form asks for. Raises Invalid with a sentence for each wrong field."""
    days, may = given.get("days", ""), given.get("may", EVERYTHING)
    kinds = {EVERYTHING: None, READING: [], CHOSEN: given.getlist("kinds")}.get(may, [])
    if may == CHOSEN and not kinds:
        raise Invalid({"kinds": _("Tick at least one verb, or choose that it only reads.")})
    project = project_named(access, given.get("in", "").strip())
    number = int(days) if days.isdecimal() and len(days) < 8 else 0
    try:
        return tokens.create_token(user, given.get("token", ""), number, kinds=kinds, project=project)
    except Invalid as error:
        fields = {{"name": "token", "project": "in"}.get(name, name): text for name, text in error.fields.items()}
        raise Invalid(fields) from None


def project_named(access: Access, name: str) -> Project | None:
    """The one in which alone a token may anything; None where no name was typed."""
    if not name:
        return None
    found: Project | None = access.projects().filter(name=name).first()
    if found is None:
        raise Invalid({"in": _("There is none of this name.")})
    return found

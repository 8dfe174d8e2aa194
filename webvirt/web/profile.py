"""The own profile: language, look, and the tokens with which programs act for one."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import translation
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from webvirt.models import AuditLine, Theme, User
from webvirt.services import auditlog, people, sessions, tokens
from webvirt.services.access import Access
from webvirt.services.operations import Invalid
from webvirt.services.rights import grants_for
from webvirt.services.sources import source_of
from webvirt.web.browsers import session_rows
from webvirt.web.enrolment import context_of
from webvirt.web.guards import signed_in
from webvirt.web.middleware import LANGUAGES
from webvirt.web.tokens import FRESH, make_as_typed, tokens_context

OWN_LINES = 15


@require_GET
@signed_in
def page(request: HttpRequest, access: Access) -> HttpResponse:
    return profile(request, access)


def profile(request: HttpRequest, access: Access, status: int = 200, **more: Any) -> HttpResponse:
    context: dict[str, Any] = {
        "languages": [(code, translation.get_language_info(code)["name_local"]) for code, name in settings.LANGUAGES],
        "themes": Theme.choices,
        "source": source_of(access.user),
        "grants": grants_for(access.user),
        "lines": own_lines(access.user),
        "ssh_keys": access.user.ssh_keys,
        "errors": {},
    }
    context |= tokens_context(request, access, access.user)
    context |= context_of(access.user) | {"sessions": session_rows(access.user, request.session.session_key)}
    return render(request, "me.html", context | more, status=status)


def own_lines(user: User) -> list[AuditLine]:
    """The last that the audit log says of what was done in this person's name."""
    mine = AuditLine.objects.filter(actor=user.get_username(), person=user.pk)
    return auditlog.page_of(mine, size=OWN_LINES).lines


@require_POST
@signed_in
def preferences(request: HttpRequest, access: Access) -> HttpResponse:
    language, theme = request.POST.get("language", ""), request.POST.get("theme", "")
    changes = {}
    if language in LANGUAGES or language == "":
        changes["language"] = language
    if theme in Theme.values:
        changes["theme"] = theme
    User.objects.filter(pk=access.user.pk).update(**changes)
    return redirect("me")


@require_POST
@signed_in
def ssh_keys(request: HttpRequest, access: Access) -> HttpResponse:
    typed = request.POST.get("ssh_keys", "")
    try:
        people.keep_ssh_keys(access.user, typed)
    except Invalid as error:
        return profile(request, access, status=400, errors=error.fields, ssh_keys=typed)
    messages.success(request, _("New machines are offered these keys."))
    return redirect("me")


@require_POST
@signed_in
def add_token(request: HttpRequest, access: Access) -> HttpResponse:
    """Make a token; the answer to this very request is the only one that shows it."""
    try:
        secret = make_as_typed(access, access.user, request.POST)
    except Invalid as error:
        return profile(request, access, status=400, token_errors=error.fields)
    return profile(request, access, secret=secret, **FRESH)


@require_POST
@signed_in
def revoke_token(request: HttpRequest, access: Access, pk: int) -> HttpResponse:
    if not tokens.revoke(access.user, pk):
        raise Http404
    messages.success(request, _("The token no longer works."))
    return redirect("me")


@require_POST
@signed_in
def end_session(request: HttpRequest, access: Access, handle: str) -> HttpResponse:
    """One of the own sessions; it may be this very one."""
    if not sessions.end_one(access.user, handle):
        raise Http404
    messages.success(request, _("That session is signed out."))
    return redirect("me")


@require_POST
@signed_in
def end_other_sessions(request: HttpRequest, access: Access) -> HttpResponse:
    sessions.end_all(access.user, but=request.session.session_key)
    messages.success(request, _("Your other sessions are signed out."))
    return redirect("me")


@require_POST
@signed_in
def here(request: HttpRequest, access: Access) -> HttpResponse:
    """Pages say that their person does something where nothing is asked for: typing, or working in a guest."""
    return HttpResponse(status=204)

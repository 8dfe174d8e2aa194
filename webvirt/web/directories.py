"""Signing in elsewhere: through the provider of OpenID Connect, or with a password of the LDAP directory.

What speaks with the provider is loaded when somebody goes there, and what speaks with the directory runs in a child:
where libraries are missing, accounts that are kept here sign in as ever, and where nothing is set, nothing is loaded.
"""

from __future__ import annotations

import logging
from typing import Any

from allauth.account.internal.flows.login import perform_login, record_authentication
from allauth.account.models import Login
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.backends import ModelBackend
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.module_loading import import_string
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from webvirt.models import Source, User
from webvirt.services import directories, guessing, ldapdirectory, people
from webvirt.services.directories import Found, StayOut
from webvirt.services.operations import NotNow, Refused
from webvirt.services.sources import source_of
from webvirt.services.spelling import folded
from webvirt.web.accounts import is_own_path
from webvirt.web.actor import client_address

NEXT = "oidc_next"

log = logging.getLogger(__name__)


def admitted(request: HttpRequest, found: Found) -> User:
    """Their account, after they showed elsewhere who they are. Raises StayOut."""
    user, stayed = directories.account_of(found)
    for name in stayed:
        sentence = _(
            "The directory has you no longer in the group %(name)s. You stay in it: you are the last administrator."
        )
        messages.error(request, sentence % {"name": name})
    return user


# --- LDAP, by the form that asks for name and password


class LdapBackend(ModelBackend):
    """Django asks here after the accounts that are kept here; `settings.AUTHENTICATION_BACKENDS` names it."""

    def authenticate(
        self, request: HttpRequest | None, username: str | None = None, password: str | None = None, **_more: Any
    ) -> User | None:
        """Raises ValidationError, which the form shows, where it is not about a wrong name or password."""
        name = User.normalize_username(username or "")
        if request is None or not password or not can_be_a_name(name) or is_kept_here(name):
            return None
        try:
            return shown_by_password(request, name, password)
        except StayOut as error:
            directories.note_denied(error, Source.LDAP)
            raise ValidationError(str(error)) from None
        except NotNow as error:
            raise ValidationError(str(error)) from None


def can_be_a_name(name: str) -> bool:
    """Whether an account could have it. Directories read past what ours never hold: limits would be got round."""
    try:
        User._meta.get_field("username").run_validators(name)
    except ValidationError:
        return False
    return bool(name)


def is_kept_here(name: str) -> bool:
    holder = people.namesake(name)
    return holder is not None and source_of(holder) is None


def shown_by_password(request: HttpRequest, name: str, password: str) -> User | None:
    """Whose name and password these are in the directory. Raises StayOut, and NotNow when a guess has to wait."""
    called, found = ldapdirectory.person(name, password)
    if called and folded(called) != folded(name):
        # What is found out is not told to who guesses at one account by several names.
        guess = guessing.also_at_account(called)
        if found:
            guess.was_right()
    return admitted(request, found) if found else None


# --- OpenID Connect


def provider(name: str) -> Any:
    """A function of `web.provider`, loaded only now. Raises StayOut where its library is missing or broken."""
    try:
        return import_string(f"webvirt.web.provider.{name}")
    except ImportError as error:
        log.error("OpenID Connect: %s", error)
        sentence = _("%(name)s does not work here at the moment. Accounts that are kept here do.")
        raise StayOut(sentence % {"name": settings.WEBVIRT_OIDC_NAME}) from None


@require_POST
def begin(request: HttpRequest) -> HttpResponse:
    """Sends the browser to the provider: by a page, since a form of ours may lead to nobody else (`form-action`)."""
    if not settings.WEBVIRT_OIDC_ISSUER:
        raise Http404
    if isinstance(request.user, User):
        return redirect("overview")
    back = settings.WEBVIRT_PUBLIC_URL + reverse("login_oidc_done")
    try:
        address = provider("address")(request, back)
    except StayOut as error:
        return not_in(request, error)
    going_to = request.POST.get("next")
    request.session[NEXT] = going_to if is_own_path(going_to) else ""
    return render(request, "account/going.html", {"address": address, "provider": settings.WEBVIRT_OIDC_NAME})


@require_GET
def done(request: HttpRequest) -> HttpResponse:
    """The provider sent the browser back."""
    if not settings.WEBVIRT_OIDC_ISSUER:
        raise Http404
    if isinstance(request.user, User):
        return redirect("overview")
    try:
        guess = guessing.from_address("provider", client_address(request))
        user = admitted(request, provider("person")(request))
    except StayOut as error:
        directories.note_denied(error, Source.OIDC)
        return not_in(request, error)
    except NotNow as error:
        return not_in(request, error)
    guess.was_right()
    going_to = request.session.pop(NEXT, "")
    record_authentication(request, user, Source.OIDC)
    response: HttpResponse = perform_login(request, Login(user=user, redirect_url=going_to or None))
    return response


def not_in(request: HttpRequest, error: Refused) -> HttpResponse:
    messages.error(request, str(error))
    return redirect("account_login")

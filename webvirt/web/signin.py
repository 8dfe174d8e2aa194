"""Ways in beside name and password: a passkey, a link to choose a password; and showing again that it is oneself."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import wraps
from typing import Any
from urllib.parse import urlencode

from allauth.account.adapter import get_adapter
from allauth.account.internal.flows.login import get_authentication_records, perform_login, record_authentication
from allauth.account.models import Login
from allauth.account.views import password_change
from allauth.mfa.webauthn.internal.flows import perform_passwordless_login
from django.contrib import messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST

from webvirt.models import Source, User
from webvirt.services import factors, links
from webvirt.services.access import Access
from webvirt.services.operations import Invalid, NotNow
from webvirt.services.sources import refuse_password, source_of
from webvirt.web.accounts import guess_at, guess_at_link, is_own_path
from webvirt.web.factorforms import PasskeyLoginForm, options_to_sign_in
from webvirt.web.guards import GuardedView, View, signed_in, wants_json

CONFIRMED_SECONDS = 600
"""So long after one showed who one is, one may change how one signs in."""


@require_POST
def passkey(request: HttpRequest) -> HttpResponse:
    """Sign in with a passkey alone: a script of ours asks how, then the browser's answer is sent as a form."""
    if isinstance(request.user, User):
        return redirect("overview")
    if wants_json(request):
        return JsonResponse(options_to_sign_in())
    form = PasskeyLoginForm(data=request.POST)
    if not form.is_valid():
        said = form.errors.get("credential", [_("This passkey is not known here.")])
        messages.error(request, said[0])
        return redirect("account_login")
    found = form.cleaned_data["credential"]
    going_to = request.POST.get("next")
    login = Login(user=found.user, redirect_url=going_to if is_own_path(going_to) else None)
    response: HttpResponse = perform_passwordless_login(request, found, login)
    return response


@require_http_methods(["GET", "POST"])
def password_link(request: HttpRequest, token: str) -> HttpResponse:
    """Choose a password by a link, and go on to sign in with it: a second factor is asked for as ever."""
    guess = guess_at_link(request, "link")
    user = links.user_of(token)
    if user is None:
        return render(request, "account/nolink.html", status=404)
    guess.was_right()
    if request.method == "GET":
        return render(request, "account/link.html", {"person": user, "errors": {}})
    try:
        if request.POST.get("password") != request.POST.get("again"):
            raise Invalid({"again": _("The two are not the same.")})
        chosen = links.use(token, request.POST.get("password", ""))
    except Invalid as error:
        return render(request, "account/link.html", {"person": user, "errors": error.fields}, status=400)
    if chosen is None:
        return render(request, "account/nolink.html", status=404)
    get_adapter().logout(request)
    record_authentication(request, chosen, "password")
    response: HttpResponse = perform_login(request, Login(user=chosen))
    return response


# --- showing again that it is oneself


def confirmed(view: GuardedView) -> View:
    """For people who showed a moment ago who they are; others are asked to, and come back."""

    @signed_in
    @wraps(view)
    def guarded(request: HttpRequest, access: Access, *args: Any, **kwargs: Any) -> HttpResponseBase:
        refuse(factors.refuse_of_provider, access.user)
        if not is_confirmed(request, access.user):
            if wants_json(request):
                return JsonResponse({"error": _("Confirm again that it is you: reload this page.")}, status=403)
            back = request.get_full_path() if request.method == "GET" else reverse("me_factors")
            return redirect(f"{reverse('me_confirm')}?{urlencode({'next': back})}")
        return view(request, access, *args, **kwargs)

    return guarded


def is_confirmed(request: HttpRequest, user: User) -> bool:
    since = time.time() - CONFIRMED_SECONDS
    return any(record["at"] > since for record in get_authentication_records(request, user))


@require_http_methods(["GET", "POST"])
@signed_in
def confirm(request: HttpRequest, access: Access) -> HttpResponse:
    """By the password, here or in the directory; who has none, by a code."""
    by_password = access.user.has_usable_password() or source_of(access.user) == Source.LDAP
    going_to = request.POST.get("next") or request.GET.get("next", "")
    going_to = going_to if is_own_path(going_to) else "/me/"
    context = {"by_password": by_password, "next": going_to}
    if request.method == "GET":
        return render(request, "account/confirm.html", context | {"errors": {}})
    check = right_password if by_password else right_code
    try:
        if not check(request, access.user):
            raise ValidationError(_("This is not right."))
    except ValidationError as error:
        errors = {"password" if by_password else "code": " ".join(error.messages)}
        return render(request, "account/confirm.html", context | {"errors": errors}, status=400)
    record_authentication(request, access.user, "password" if by_password else "mfa", reauthenticated=True)
    return redirect(going_to)


@signed_in
def change_password(request: HttpRequest, access: Access) -> HttpResponseBase:
    refuse(refuse_password, access.user)
    answer: HttpResponseBase = password_change(request)
    return answer


def refuse(check: Callable[[User], None], user: User) -> None:
    """Raises PermissionDenied, which the page shows, with what `check` finds against it."""
    try:
        check(user)
    except NotNow as error:
        raise PermissionDenied(str(error)) from None


def right_password(request: HttpRequest, user: User) -> bool:
    return bool(get_adapter().reauthenticate(user, request.POST.get("password", "")))


def right_code(request: HttpRequest, user: User) -> bool:
    guess = guess_at(request, user.get_username())
    if factors.check_code(user, request.POST.get("code", "")) is None:
        return False
    guess.was_right()
    return True

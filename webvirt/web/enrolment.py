"""Getting a second factor: from the profile, or while signing in where one is required.

Both show the same page. In the sign-in it is a stage of django-allauth's: nobody is signed in before it is passed.
"""

from __future__ import annotations

from base64 import b64encode
from typing import Any

from allauth.account.internal.decorators import login_stage_required
from allauth.account.internal.flows.login import record_authentication
from allauth.account.internal.stagekit import clear_login, stash_login
from allauth.account.stages import LoginStage
from allauth.core.internal.httpkit import headed_redirect_response
from allauth.mfa.adapter import get_adapter
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import clear_totp_secret, get_totp_secret
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from webvirt.models import User
from webvirt.services import factors
from webvirt.services.operations import NotNow
from webvirt.services.sources import source_of
from webvirt.web.factorforms import NewPasskeyForm, announce_added, options_to_add
from webvirt.web.guards import wants_json

STAGE = "enrolment"
DONE = "done"


class EnrolmentStage(LoginStage):  # type: ignore[misc]
    """Of a sign-in: who must have a second factor and has none gets one now."""

    key = STAGE
    urlname = "login_enrolment"

    def handle(self) -> tuple[HttpResponse | None, bool]:
        user = self.login.user
        if not factors.must_have_one(user) or factors.held_by(user).any:
            return None, True
        return headed_redirect_response(self.urlname), True


@login_stage_required(stage=STAGE, redirect_urlname="account_login")  # type: ignore[untyped-decorator]
@require_http_methods(["GET", "POST"])
def sign_in(request: HttpRequest) -> HttpResponse:
    stage: EnrolmentStage = request._login_stage  # type: ignore[attr-defined]
    user: User = stage.login.user
    if stage.state.get(DONE):
        if request.method == "POST":
            response: HttpResponse = stage.exit()
            return response
        return shown_before(request)
    if factors.held_by(user).any:
        # They got one elsewhere meanwhile: whoever is here has not shown it.
        clear_login(request)
        return redirect("account_login")
    if request.method == "GET":
        return ask(request, user, {})
    kept = take(request, user)
    if isinstance(kept, HttpResponse):
        return kept
    record_authentication(request, user, "mfa", id=kept.pk, type=kept.type)
    stage.state[DONE] = True
    stash_login(request, stage.login)
    return show_codes(request, factors.new_codes(user), "/login/enrolment/")


def ask(request: HttpRequest, user: User, errors: dict[str, str]) -> HttpResponse:
    """The page that offers an app and a passkey."""
    secret = get_totp_secret()
    adapter = get_adapter()
    svg = adapter.build_totp_svg(adapter.build_totp_url(user, secret))
    context = {
        "qr": "data:image/svg+xml;base64," + b64encode(svg.encode()).decode(),
        "secret": " ".join(secret[at : at + 4] for at in range(0, len(secret), 4)),
        "may_be_alone": source_of(user) is None,
        "has_app": factors.held_by(user).app is not None,
        "errors": errors,
    }
    return render(request, "account/enrolment.html", context, status=400 if errors else 200)


def take(request: HttpRequest, user: User) -> Authenticator | HttpResponse:
    """What was sent: a passkey (or the wish to make one) or a code of the app; kept, or the answer that it is not."""
    if wants_json(request):
        return JsonResponse(options_to_add(user))
    try:
        row = take_passkey(request, user) if "credential" in request.POST else take_app(request, user)
    except NotNow as error:
        messages.error(request, str(error))
        return redirect(request.path)
    if isinstance(row, Authenticator):
        announce_added(request, user, row)
    return row


def take_app(request: HttpRequest, user: User) -> Authenticator | HttpResponse:
    row = factors.add_app(user, get_totp_secret(), request.POST.get("code", ""))
    if row is None:
        return ask(request, user, {"code": _("This is not the code that the app shows now. Is its clock right?")})
    clear_totp_secret(request)
    return row


def take_passkey(request: HttpRequest, user: User) -> Authenticator | HttpResponse:
    form = NewPasskeyForm(user=user, data=request.POST)
    if not form.is_valid():
        return ask(request, user, {"credential": _("The browser's answer was not right. Try again.")})
    return factors.add_passkey(user, form.cleaned_data["name"], form.cleaned_data["credential"])


def show_codes(request: HttpRequest, codes: list[str], on: str) -> HttpResponse:
    """The recovery codes, in the answer to the very request that made them."""
    lines = [_("Recovery codes of webvirt"), request.get_host(), "", *codes, ""]
    file = "data:text/plain;charset=utf-8;base64," + b64encode("\n".join(lines).encode()).decode()
    return render(request, "account/codes.html", {"codes": codes, "file": file, "on": on})


def shown_before(request: HttpRequest) -> HttpResponse:
    """The page with the codes was loaded again."""
    return render(request, "account/codes.html", {"codes": [], "file": "", "on": "/login/enrolment/"})


def context_of(user: User) -> dict[str, Any]:
    """What the profile says of a person's factors."""
    held = factors.held_by(user)
    return {"held": held, "passkeys": [(row, row.wrap()) for row in held.passkeys]}

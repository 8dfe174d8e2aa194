"""Our terms for django-allauth: nobody signs up by themselves, and nobody is sent to another site."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.forms import ChangePasswordForm as AllauthChangePasswordForm
from allauth.account.signals import password_changed
from allauth.core import context
from allauth.mfa.adapter import DefaultMFAAdapter
from cryptography.fernet import Fernet
from django.contrib import messages
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.signals import user_logged_in
from django.core.exceptions import PermissionDenied, ValidationError
from django.dispatch import receiver
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.crypto import salted_hmac
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from webvirt.models import AuditResult, LoginSession, User
from webvirt.services import audit, guessing, people
from webvirt.services.guessing import Guess
from webvirt.services.operations import NotNow
from webvirt.services.sessions import ADDRESS, BROWSER
from webvirt.web import knowndevices
from webvirt.web.actor import client_address


class AccountAdapter(DefaultAccountAdapter):  # type: ignore[misc]
    """django-allauth asks here."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False

    def is_safe_url(self, url: str | None) -> bool:
        return is_own_path(url)

    def get_client_ip(self, request: HttpRequest) -> str:
        address = client_address(request)
        if address is None:
            raise PermissionDenied
        return address

    def authenticate(self, request: HttpRequest, **credentials: Any) -> AbstractBaseUser | None:
        """Whose name and password these are; as often as may be guessed, for names that nobody has as well."""
        guess = guess_at(request, str(credentials.get("username", "")))
        user: AbstractBaseUser | None = super().authenticate(request, **credentials)
        if user is not None:
            guess.was_right()
        return user

    def get_login_stages(self) -> list[str]:
        return [*super().get_login_stages(), "webvirt.web.enrolment.EnrolmentStage"]

    def post_login(self, request: HttpRequest, user: User, **more: Any) -> HttpResponse:
        response: HttpResponse = super().post_login(request, user, **more)
        knowndevices.remember(request, response, user.get_username())
        return response

    def pre_login(self, request: HttpRequest, user: User, **more: Any) -> HttpResponse | None:
        """Whichever way they come."""
        try:
            people.refuse_service(user)
        except NotNow as error:
            details = {"reason": "it is a service account"}
            audit.note("person.sign_in", user, result=AuditResult.DENIED, details=details)
            messages.error(request, str(error))
            return redirect("account_login")
        response: HttpResponse | None = super().pre_login(request, user, **more)
        return response

    def respond_user_inactive(self, request: HttpRequest, user: AbstractBaseUser) -> HttpResponse:
        audit.note("person.sign_in", user, result=AuditResult.DENIED, details={"reason": "the account is deactivated"})
        messages.error(request, _("This account is deactivated. An administrator can activate it again."))
        return redirect("account_login")

    def get_password_change_redirect_url(self, request: HttpRequest) -> str:
        return "/me/"

    def add_message(self, request: HttpRequest, level: int, *args: object, **kwargs: object) -> None:
        """Signing in and out shows by itself; only the change of a password deserves a word."""
        if "password_changed" in str(args) + str(kwargs):
            messages.success(request, _("Your password is changed. Your other sessions are signed out."))


class FactorAdapter(DefaultMFAAdapter):  # type: ignore[misc]
    """django-allauth's part for second factors asks here."""

    error_messages = DefaultMFAAdapter.error_messages | {
        "incorrect_code": gettext_lazy("This is not right, or was used already. Look again, and try the next one."),
    }

    def encrypt(self, text: str) -> str:
        return cipher().encrypt(text.encode()).decode()

    def decrypt(self, encrypted_text: str) -> str:
        return cipher().decrypt(encrypted_text.encode()).decode()

    def get_totp_label(self, user: User) -> str:
        return user.get_username()

    def get_public_key_credential_rp_entity(self) -> dict[str, str]:
        return {"id": context.request.get_host().partition(":")[0], "name": "webvirt"}

    def get_public_key_credential_user_entity(self, user: User) -> dict[str, Any]:
        entity: dict[str, Any] = super().get_public_key_credential_user_entity(user)
        return entity | {"name": user.get_username(), "display_name": user.get_username()}


class ChangePasswordForm(AllauthChangePasswordForm):  # type: ignore[misc]
    """Whoever sits down at somebody else's open browser has no more guesses than elsewhere."""

    def clean_oldpassword(self) -> str:
        guess = guess_at(context.request, self.user.get_username())
        password: str = super().clean_oldpassword()
        guess.was_right()
        return password


def guess_at(request: HttpRequest, name: str) -> Guess:
    """A guess at an account, by a form. Raises ValidationError when it has to wait."""
    try:
        return guessing.at_account(name, client_address(request), knowndevices.device_of(request, name))
    except NotNow as error:
        raise ValidationError(str(error)) from None


def guess_at_link(request: HttpRequest, kind: str) -> Guess:
    """A guess at the secret of a link. Raises PermissionDenied when it has to wait."""
    try:
        return guessing.from_address(kind, client_address(request))
    except NotNow as error:
        raise PermissionDenied(str(error)) from None


def cipher() -> Fernet:
    """Keeps secrets of second factors: with the database alone they cannot be read."""
    return Fernet(urlsafe_b64encode(salted_hmac("webvirt.factors", "", algorithm="sha256").digest()))


@receiver(user_logged_in)
def note_where(sender: object, request: HttpRequest, **more: object) -> None:
    """Keep with the session where its person signed in, and with which browser."""
    longest = LoginSession._meta.get_field("browser").max_length
    request.session[ADDRESS] = client_address(request)
    request.session[BROWSER] = request.headers.get("User-Agent", "")[:longest]


@receiver(password_changed)
def end_others(sender: object, request: HttpRequest, user: User, **more: object) -> None:
    """The own password was changed: what else is signed in with the old one ends."""
    people.password_changed(user, but=request.session.session_key)


def is_own_path(url: str | None) -> bool:
    """Whether it is a path of this site: never another host, however it is spelled."""
    return bool(url) and str(url).startswith("/") and url_has_allowed_host_and_scheme(str(url), allowed_hosts=None)

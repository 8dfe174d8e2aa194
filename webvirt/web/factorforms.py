"""Forms for codes and passkeys: django-allauth's, with our limits, and proof against what no browser would send."""

from __future__ import annotations

import json
from typing import Any

from allauth.core import context
from allauth.mfa import signals
from allauth.mfa.adapter import get_adapter
from allauth.mfa.base.forms import AuthenticateForm
from allauth.mfa.models import Authenticator
from allauth.mfa.webauthn.forms import AddWebAuthnForm, AuthenticateWebAuthnForm, LoginWebAuthnForm
from allauth.mfa.webauthn.internal import auth
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from webvirt.services import factors, guessing
from webvirt.services.operations import NotNow
from webvirt.services.sources import source_of
from webvirt.web.accounts import guess_at
from webvirt.web.actor import client_address

MALFORMED = (AttributeError, KeyError, TypeError, ValueError)
"""What the libraries raise on what no browser would send."""


class CodeForm(AuthenticateForm):  # type: ignore[misc]
    """A code of the app, or a recovery code, after the password."""

    def clean_code(self) -> str:
        guess = guess_at(context.request, self.user.get_username())
        code: str = self.cleaned_data["code"]
        found = factors.check_code(self.user, code)
        if found is None:
            held = factors.held_by(self.user)
            for each in [row for row in (held.app, *held.passkeys) if row][:1]:
                self._emit_authentication_failed(each)
            raise get_adapter().validation_error("incorrect_code")
        guess.was_right()
        found.user = self.user
        self.authenticator = found
        return code


class PasskeyForm(AuthenticateWebAuthnForm):  # type: ignore[misc]
    """A passkey after the password."""

    def clean_credential(self) -> Authenticator:
        guess = guess_at(context.request, self.user.get_username())
        found: Authenticator = checked(super().clean_credential)
        guess.was_right()
        return found


class PasskeyLoginForm(LoginWebAuthnForm):  # type: ignore[misc]
    """A passkey instead of name and password."""

    def clean_credential(self) -> Authenticator:
        try:
            guess = guessing.from_address("passkey", client_address(context.request))
        except NotNow as error:
            raise ValidationError(str(error)) from None
        found: Authenticator = checked(super().clean_credential)
        guess.was_right()
        if source := source_of(found.user):
            # It would go on working when the directory does not know them any more.
            raise ValidationError(_("Your account is from %(source)s: sign in there.") % {"source": source.label})
        return found


class NewPasskeyForm(AddWebAuthnForm):  # type: ignore[misc]
    """A passkey to be kept."""

    def clean_name(self) -> str:
        name: str = self.cleaned_data["name"].strip()[: factors.LONGEST_NAME]
        return name or _("Passkey")

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = checked(super().clean)
        return cleaned


def checked(check: Any) -> Any:
    try:
        return check()
    except MALFORMED:
        raise get_adapter().validation_error("incorrect_code") from None


def options_to_add(user: Any) -> dict[str, Any]:
    """What a browser needs to make a passkey of this person; kept in the session until it comes back."""
    return plain(auth.begin_registration(user, passwordless=False))


def options_to_sign_in() -> dict[str, Any]:
    """What a browser needs to ask for any passkey of this site."""
    return plain(auth.begin_authentication(user=None))


def plain(options: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json.dumps(options))
    return found


def announce_added(request: Any, user: Any, row: Authenticator) -> None:
    """For who keeps a record of it."""
    signals.authenticator_added.send(sender=Authenticator, request=request, user=user, authenticator=row)


def announce_removed(request: Any, user: Any, row: Authenticator) -> None:
    signals.authenticator_removed.send(sender=Authenticator, request=request, user=user, authenticator=row)

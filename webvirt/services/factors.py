"""Second factors: an authenticator app, passkeys, recovery codes. django-allauth keeps and checks them.

What we add: who must have one, and that no code is good twice, by whichever process it is looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from allauth.core.internal.cryptokit import compare_user_code
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value, yield_hotp_counters_from_time
from allauth.mfa.utils import decrypt, encrypt
from allauth.mfa.webauthn.internal.auth import WebAuthn
from cryptography.fernet import InvalidToken
from django.conf import settings
from django.db import transaction
from django.utils.translation import gettext as _

from webvirt.models import Source, User
from webvirt.services import audit, sessions
from webvirt.services.access import access_of
from webvirt.services.operations import NotNow
from webvirt.services.sources import source_of

APP, PASSKEY, CODES = Authenticator.Type.TOTP, Authenticator.Type.WEBAUTHN, Authenticator.Type.RECOVERY_CODES
FACTORS = (APP, PASSKEY)
"""What a second factor is; recovery codes stand in for one."""
MOST_PASSKEYS = 20
LONGEST_NAME = 60


@dataclass(frozen=True)
class Held:
    """What a person has to sign in with beside the password."""

    app: Authenticator | None = None
    passkeys: Sequence[Authenticator] = field(default=())
    codes: Authenticator | None = None

    @property
    def any(self) -> bool:
        return self.app is not None or bool(self.passkeys)

    @property
    def codes_left(self) -> int:
        return len(self.codes.wrap().get_unused_codes()) if self.codes else 0


def held_by(user: User) -> Held:
    rows = list(Authenticator.objects.filter(user=user).order_by("pk"))
    of = {row.type: row for row in rows}
    return Held(of.get(APP), [row for row in rows if row.type == PASSKEY], of.get(CODES))


def refuse_of_provider(user: User) -> None:
    """Raises NotNow where a provider answers for how somebody shows who they are."""
    if source_of(user) == Source.OIDC:
        raise NotNow(_("You sign in with OpenID Connect: the provider there asks for a second factor, not webvirt."))


def must_have_one(user: User) -> bool:
    """Whether this person may not sign in without."""
    if settings.WEBVIRT_SECOND_FACTOR != "nobody" and source_of(user) == Source.OIDC:
        return False
    if settings.WEBVIRT_SECOND_FACTOR == "administrators":
        return access_of(user).is_administrator
    return settings.WEBVIRT_SECOND_FACTOR == "everybody"


# --- codes


def step_of(secret: str, code: str, after: int = -1) -> int | None:
    """Which step of 30 s an app's code is of: the present one, the one before or the next, but none up to `after`."""
    for step in yield_hotp_counters_from_time():
        right = compare_user_code(actual=code, expected=format_hotp_value(hotp_value(secret, step)))
        if right and step > after:
            return int(step)
    return None


def check_code(user: User, code: str) -> Authenticator | None:
    """Whose code this is, of the person's app or recovery codes; from now on it is good no more."""
    held = held_by(user)
    try:
        if held.app and use_app_code(held.app.pk, code):
            return held.app
        if held.codes and held.codes.wrap().validate_code(code):
            return held.codes
    except InvalidToken:
        # The installation's key is another one than they were kept with: nobody can read them any more.
        return None
    return None


def use_app_code(pk: int, code: str) -> bool:
    """Whether the code is right and newer than any that was used. A second use at the same moment waits here."""
    with transaction.atomic():
        row = Authenticator.objects.select_for_update().get(pk=pk)
        step = step_of(decrypt(row.data["secret"]), code, after=row.data.get("last_step", -1))
        if step is None:
            return False
        row.data["last_step"] = step
        row.save(update_fields=["data"])
    return True


# --- getting and losing them


def add_app(user: User, secret: str, code: str) -> Authenticator | None:
    """Keep an app which shows that it knows the secret; None where the code is wrong. Raises NotNow."""
    refuse_of_provider(user)
    step = step_of(secret, code)
    if step is None:
        return None
    with audit.writing():
        User.objects.select_for_update().get(pk=user.pk)
        if held_by(user).app:
            raise NotNow(_("There is an authenticator app already: remove that one first."))
        data = {"secret": encrypt(secret), "last_step": step}
        row: Authenticator = Authenticator.objects.create(user=user, type=APP, data=data)
        audit.note("person.factor", user, details={"kind": APP.value})
    return row


def add_passkey(user: User, name: str, credential: dict[str, object]) -> Authenticator:
    """Keep a passkey whose answer was checked. Raises NotNow."""
    refuse_of_provider(user)
    with audit.writing():
        User.objects.select_for_update().get(pk=user.pk)
        if len(held_by(user).passkeys) >= MOST_PASSKEYS:
            raise NotNow(_("%(n)s passkeys are the most: remove one first.") % {"n": MOST_PASSKEYS})
        row: Authenticator = WebAuthn.add(user, name, credential).instance
        audit.note("person.factor", user, details={"kind": PASSKEY.value, "name": name})
    return row


def new_codes(user: User) -> list[str]:
    """Recovery codes, in place of those there were; the caller shows them now or never."""
    with audit.writing():
        User.objects.select_for_update().get(pk=user.pk)
        Authenticator.objects.filter(user=user, type=CODES).delete()
        codes: list[str] = RecoveryCodes.activate(user).generate_codes()
        audit.note("person.factor", user, details={"kind": CODES.value})
    return codes


def remove(user: User, pk: int) -> Authenticator | None:
    """Remove one of a person's own factors, and with the last one the recovery codes. None where there is none such.

    Raises NotNow where the person must keep it.
    """
    with audit.writing():
        User.objects.select_for_update().get(pk=user.pk)
        row: Authenticator | None = Authenticator.objects.filter(user=user, type__in=FACTORS, pk=pk).first()
        if row is None:
            return None
        others = Authenticator.objects.filter(user=user, type__in=FACTORS).exclude(pk=pk)
        if not others.exists():
            if must_have_one(user):
                raise NotNow(_("A second factor is required here: add another one first."))
            Authenticator.objects.filter(user=user, type=CODES).delete()
        row.delete()
        audit.note("person.factor_removed", user, details={"kind": row.type})
    return row


def forget(user: User) -> list[Authenticator]:
    """Remove all factors of a person who lost them; whoever is signed in as them is not any more."""
    with audit.writing():
        rows = Authenticator.objects.filter(user=user)
        removed = list(rows)
        rows.delete()
        audit.note("person.factor_removed", user, details={"kinds": [row.type for row in removed]})
        sessions.end_all(user)
    return removed

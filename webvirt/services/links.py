"""Links with which people choose a password: the first one, or another for one that was lost.

256 random bits, kept as their SHA-256. A link is good once and for a time; making another ends it.
"""

from __future__ import annotations

import secrets
from datetime import timedelta
from smtplib import SMTPException

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.mail import send_mail
from django.core.validators import EmailValidator
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import override

from webvirt.models import PasswordLink, User
from webvirt.services import audit, people
from webvirt.services.operations import Invalid, NotNow
from webvirt.services.sources import refuse_password
from webvirt.services.tokens import digest_of

INVITATION = timedelta(days=7)
RESET = timedelta(days=1)


def make(user: User) -> str:
    """The secret part of a new link of a person; the caller shows it now or never. Raises NotNow."""
    if not user.is_active:
        raise NotNow(_("This account is deactivated: activate it first."))
    people.refuse_service(user)
    refuse_password(user)
    raw = secrets.token_urlsafe(32)
    now = timezone.now()
    lasts = RESET if user.has_usable_password() else INVITATION
    values = {"digest": digest_of(raw), "created_at": now, "expires_at": now + lasts}
    with audit.writing():
        PasswordLink.objects.update_or_create(user=user, defaults=values)
        audit.note("person.link", user, details={"good_until": values["expires_at"]})
    return raw


def withdraw(user: User) -> None:
    """A person's link is of no use from now on, if there is one."""
    with audit.writing():
        if PasswordLink.objects.filter(user=user).delete()[0]:
            audit.note("person.link_withdrawn", user)


def user_of(raw: str) -> User | None:
    """Whose link this is, or None for one that is unknown, used, replaced or too old."""
    rows = PasswordLink.objects.select_related("user").filter(digest=digest_of(raw), expires_at__gt=timezone.now())
    row = rows.filter(user__is_active=True, user__is_service=False).first()
    return row.user if row else None


def use(raw: str, password: str) -> User | None:
    """Set the password by a link, once; None where it is good no more. Raises Invalid, and it stays good."""
    with audit.writing():
        user = user_of(raw)
        if user is None:
            return None
        people.refuse_bad_password(password, user)
        # Of two who use it at the same moment, one.
        deleted, _rows = PasswordLink.objects.filter(digest=digest_of(raw)).delete()
        if not deleted:
            return None
        people.reset_password(user, password)
    return user


def send(user: User, email: str, address: str) -> None:
    """Mail a person their link. Raises Invalid for no mail address, and NotNow where the server does not take it."""
    try:
        EmailValidator()(email)
    except ValidationError:
        raise Invalid({"email": _("This is no mail address.")}) from None
    User.objects.filter(pk=user.pk).update(email=email)
    with override(user.language or None):
        subject = _("Choose your password for webvirt")
        text = _(
            "With this link you choose the password with which you sign in as %(name)s. It is good once:\n\n%(address)s"
        ) % {"name": user.get_username(), "address": address}
    try:
        send_mail(subject, text, settings.DEFAULT_FROM_EMAIL, [email])
    except (OSError, SMTPException) as error:
        raise NotNow(_("The mail could not be sent: %(error)s") % {"error": error}) from None

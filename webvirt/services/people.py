"""Accounts, as administrators manage them. Nobody is deleted; the last administrator stays one."""

from __future__ import annotations

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.translation import gettext as _

from webvirt import bus
from webvirt.models import Grant, Role, User
from webvirt.services.grants import administrators_exist, keeping_an_administrator
from webvirt.services.operations import Invalid, NotNow
from webvirt.services.phrases import said
from webvirt.services.seeds.logins import check_ssh_key

MOST_KEYS = 50
SETUP_SALT = "webvirt.setup"
"""Binds the signature of the first administrator's link to that use."""


def create(name: str, password: str) -> User:
    """A person who may do nothing yet. Raises Invalid with a sentence for each wrong field."""
    user = User(username=User.normalize_username(name.strip()))
    fields: dict[str, str] = {}
    try:
        user.full_clean(exclude=["password"])
    except ValidationError as error:
        fields["name"] = " ".join(error.messages)
    fields |= password_problems(password, user)
    if fields:
        raise Invalid(fields)
    user.set_password(password)
    user.save()
    return user


def create_first_administrator(name: str, password: str) -> User:
    """The one that the setup link makes. Raises NotNow when somebody was quicker."""
    with transaction.atomic():
        if administrators_exist():
            raise NotNow(_("There is an administrator already: sign in."))
        user = create(name, password)
        Grant.objects.create(user=user, role=Role.ADMINISTRATOR)
    return user


def password_problems(password: str, user: User) -> dict[str, str]:
    try:
        validate_password(password, user)
    except ValidationError as error:
        return {"password": " ".join(error.messages)}
    return {}


def reset_password(user: User, password: str) -> None:
    """Give a new password; all sessions of that person end with the old one. Raises Invalid."""
    if fields := password_problems(password, user):
        raise Invalid(fields)
    user.set_password(password)
    user.save(update_fields=["password"])
    bus.announce([f"user:{user.pk}"])


def set_active(user: User, active: bool) -> None:
    """Let a person in or keep them out. Raises NotNow for the last administrator."""
    with keeping_an_administrator():
        User.objects.filter(pk=user.pk).update(is_active=active)
        bus.announce([f"user:{user.pk}"])


def keep_ssh_keys(user: User, text: str) -> None:
    """Keep the public keys that a person's new machines are offered, one on a line. Raises Invalid."""
    lines = [line for line in text.splitlines() if line.strip()]
    if len(lines) > MOST_KEYS:
        raise Invalid({"ssh_keys": _("At most %(n)s keys.") % {"n": MOST_KEYS}})
    try:
        keys = [check_ssh_key(line) for line in lines]
    except ValueError as error:
        raise Invalid({"ssh_keys": said(str(error))}) from None
    User.objects.filter(pk=user.pk).update(ssh_keys="\n".join(keys))

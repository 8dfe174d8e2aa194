"""Accounts and their grants, as administrators manage them. Nobody is deleted; the last administrator stays one."""

from __future__ import annotations

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.translation import gettext as _

from webvirt import bus
from webvirt.models import Domain, Grant, Host, Role, User
from webvirt.services.operations import Invalid, NotNow
from webvirt.services.phrases import said
from webvirt.services.seeds.logins import check_ssh_key

MOST_KEYS = 50
SETUP_SALT = "webvirt.setup"
"""Binds the signature of the first administrator's link to that use."""


def administrators_exist() -> bool:
    return Grant.objects.filter(role=Role.ADMINISTRATOR, user__is_active=True).exists()


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
    with transaction.atomic():
        if not active:
            refuse_last_administrator(user)
        User.objects.filter(pk=user.pk).update(is_active=active)
        bus.announce([f"user:{user.pk}"])


def give(user: User, role: str, *, host: Host | None = None, domain: Domain | None = None) -> Grant:
    """Give a role somewhere; an earlier one in the same place is replaced. Raises Invalid or NotNow."""
    if role not in Role.values:
        raise Invalid({"role": _("Choose a role.")})
    with transaction.atomic():
        earlier = Grant.objects.filter(user=user, host=host, domain=domain).first()
        grant = earlier or Grant(user=user, host=host, domain=domain)
        if earlier and earlier.role == Role.ADMINISTRATOR and role != Role.ADMINISTRATOR:
            refuse_last_administrator(user)
        grant.role = role
        try:
            grant.full_clean()
        except ValidationError as error:
            raise Invalid({"role": " ".join(error.messages)}) from None
        grant.save()
        bus.announce([f"user:{user.pk}"])
    return grant


def withdraw(grant: Grant) -> None:
    """Take a role away. Raises NotNow for the last administrator."""
    with transaction.atomic():
        if grant.role == Role.ADMINISTRATOR:
            refuse_last_administrator(grant.user)
        grant.delete()
        bus.announce([f"user:{grant.user_id}"])


def refuse_last_administrator(user: User) -> None:
    others = Grant.objects.filter(role=Role.ADMINISTRATOR, user__is_active=True).exclude(user=user)
    if Grant.objects.filter(role=Role.ADMINISTRATOR, user=user).exists() and not others.exists():
        raise NotNow(_("This is the last administrator: make somebody else one first."))


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

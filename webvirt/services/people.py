"""Accounts, as administrators manage them. Nobody is deleted; the last administrator stays one."""

from __future__ import annotations

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from webvirt.models import Grant, PasswordLink, Role, User
from webvirt.services import audit, sessions
from webvirt.services.grants import administrators_exist, keeping_an_administrator, note_grant
from webvirt.services.operations import Invalid, NotNow
from webvirt.services.phrases import said
from webvirt.services.seeds.logins import check_ssh_key
from webvirt.services.sources import identity_of, refuse_password
from webvirt.services.spelling import folded

MOST_KEYS = 50
SETUP_SALT = "webvirt.setup"
"""Binds the signature of the first administrator's link to that use."""


def create(name: str, password: str | None, *, is_service: bool = False) -> User:
    """A person who may do nothing yet; without a password, one who chooses it by a link.

    Raises Invalid with a sentence for each wrong field.
    """
    user = User(username=User.normalize_username(name.strip()), is_service=is_service)
    fields: dict[str, str] = {}
    try:
        user.full_clean(exclude=["password"])
    except ValidationError as error:
        fields["name"] = " ".join(error.messages)
    if password is not None:
        fields |= password_problems(password, user)
    if fields:
        raise Invalid(fields)
    user.set_password(password)
    with audit.writing():
        if holder := namesake(user.username):
            raise Invalid({"name": _("There is %(name)s already, in another spelling.") % {"name": holder.username}})
        user.save()
        audit.note("person.create", user, details={"service": True} if is_service else {})
    return user


def create_service(name: str) -> User:
    """An account for a program, which may do nothing yet. Raises Invalid."""
    return create(name, None, is_service=True)


def refuse_service(user: User) -> None:
    """Raises NotNow for an account that nobody signs in with."""
    if user.is_service:
        raise NotNow(_("This is a service account: nobody signs in with it, programs use its tokens."))


def namesake(name: str) -> User | None:
    """Who has this name, in whatever spelling: people must not be taken for each other."""
    wanted = folded(name)
    spelled = User.objects.values_list("pk", "username")
    found = next((pk for pk, username in spelled.iterator() if folded(username) == wanted), None)
    return User.objects.get(pk=found) if found else None


def create_first_administrator(name: str, password: str) -> User:
    """The one that the setup link makes. Raises NotNow when somebody was quicker."""
    with audit.writing():
        if administrators_exist():
            raise NotNow(_("There is an administrator already: sign in."))
        user = create(name, password)
        note_grant("grant.give", Grant.objects.create(user=user, role=Role.ADMINISTRATOR))
    return user


def password_problems(password: str, user: User) -> dict[str, str]:
    try:
        validate_password(password, user)
    except ValidationError as error:
        return {"password": " ".join(error.messages)}
    return {}


def refuse_bad_password(password: str, user: User) -> None:
    """Raises Invalid where it is too easy to guess."""
    if fields := password_problems(password, user):
        raise Invalid(fields)


def reset_password(user: User, password: str) -> None:
    """Give a new password; all sessions of that person end with the old one, and so does a link.

    Raises Invalid, or NotNow for a service account or one of a directory.
    """
    refuse_service(user)
    refuse_password(user)
    refuse_bad_password(password, user)
    user.set_password(password)
    with audit.writing():
        user.save(update_fields=["password"])
        audit.note("person.password", user)
        password_changed(user)


def password_changed(user: User, but: str | None = None) -> None:
    """What ends with an old password: a link to choose another, and all sessions but the one with this key."""
    PasswordLink.objects.filter(user=user).delete()
    sessions.end_all(user, but)


def set_active(user: User, active: bool) -> None:
    """Let a person in or keep them out. Raises NotNow for the last administrator."""
    with keeping_an_administrator():
        if User.objects.filter(pk=user.pk).exclude(is_active=active).update(is_active=active):
            audit.note("person.activate" if active else "person.deactivate", user)
        if not active:
            PasswordLink.objects.filter(user=user).delete()
            sessions.end_all(user)


def make_local(user: User) -> None:
    """Keep an account of a directory here from now on; nobody signs in to it there any more."""
    with audit.writing():
        if identity := identity_of(user):
            identity.delete()
            audit.note("person.local", user, details={"from": identity.get_source_display()})
            sessions.end_all(user)


def keep_ssh_keys(user: User, text: str) -> None:
    """Keep the public keys that a person's new machines are offered, one on a line. Raises Invalid."""
    lines = [line for line in text.splitlines() if line.strip()]
    if len(lines) > MOST_KEYS:
        raise Invalid({"ssh_keys": _("At most %(n)s keys.") % {"n": MOST_KEYS}})
    try:
        keys = [check_ssh_key(line) for line in lines]
    except ValueError as error:
        raise Invalid({"ssh_keys": said(str(error))}) from None
    with audit.writing():
        User.objects.filter(pk=user.pk).update(ssh_keys="\n".join(keys))
        audit.note("person.ssh_keys", user, details={"keys": [key[-60:] for key in keys]})

"""Accounts of people who sign in elsewhere: by OpenID Connect, or with their password of an LDAP directory.

A person is known by what never changes there, never by a name: an account that is kept here, or is from another
source, never becomes theirs. Into our groups that have names in the directory they are put, and taken out of them, at
each sign-in; what they may do comes from these groups alone. Of what they are in beside these nothing is touched.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from webvirt.models import AuditResult, DirectoryName, Identity, Source, User
from webvirt.services import audit, groups, people
from webvirt.services.actors import acting, current
from webvirt.services.operations import Invalid, NotNow, Refused
from webvirt.services.sources import source_of

MOST_NAMES = 200
LONGEST_NAME = 512


class StayOut(Refused):
    """Somebody does not get in. The sentence is for them; `reason` is for the audit log, if that is to say anything."""

    def __init__(self, sentence: str, reason: str = "", name: str = "") -> None:
        super().__init__(sentence)
        self.reason, self.name = reason, name


@dataclass(frozen=True)
class Found:
    """Somebody who showed elsewhere who they are.

    `name` is what they are called there at the moment, `groups` what they are in, spelled as in `DirectoryName`.
    """

    source: Source
    subject: str
    name: str
    groups: frozenset[str]
    issuer: str = ""


# --- signing in


def account_of(found: Found) -> tuple[User, list[str]]:
    """Their account, made at the first sign-in; and the groups that they had to stay in. Raises StayOut.

    One that is deactivated comes back as it is.
    """
    with acting(replace(current(), called=found.source.label)):
        with audit.writing():
            row = Identity.objects.select_related("user").filter(**columns_of(found)).first()
            user = row.user if row else first_time(found)
        return user, bring_into_step(user, found) if user.is_active else []


def columns_of(found: Found) -> dict[str, str]:
    return {"source": found.source, "issuer": found.issuer, "subject": found.subject}


def first_time(found: Found) -> User:
    """Make their account, in which nothing may be done yet. Raises StayOut where the name is somebody's."""
    user = User(username=User.normalize_username(found.name.strip()))
    user.set_unusable_password()
    holder = people.namesake(user.username)
    if holder is not None:
        whose = source_of(holder)
        sentence = _("The name %(name)s belongs to another account here, so you cannot sign in. Ask an administrator.")
        kind = f"another account from {whose.label}" if whose else "an account that is kept here"
        raise StayOut(sentence % {"name": holder.get_username()}, f"{kind} has this name", found.name)
    try:
        user.full_clean(exclude=["password"])
    except ValidationError:
        sentence = _("No account can be named %(name)s here. Ask an administrator.") % {"name": found.name}
        raise StayOut(sentence, "no account can have this name", found.name) from None
    user.save()
    Identity.objects.create(user=user, **columns_of(found))
    audit.note("person.create", user, details={"from": found.source.label, "subject": found.subject})
    return user


def note_denied(error: StayOut, source: Source) -> None:
    """Write a line about somebody who did not get in, if there is anything to say."""
    if error.reason:
        about = audit.Thing("user", name=error.name)
        details = {"reason": error.reason, "by": source.label}
        audit.note("person.sign_in", about, result=AuditResult.DENIED, details=details)


def bring_into_step(user: User, found: Found) -> list[str]:
    """Put somebody into the groups that the directory has them in, and take them out of the others that have names
    there. Returns the groups that they stay in all the same, since else there were no administrator."""
    present = set(user.groups.values_list("pk", flat=True))
    stayed = []
    for group in named_groups():
        belongs = not found.groups.isdisjoint(names_of(group))
        if belongs and group.pk not in present:
            groups.put_in(group, user)
        elif group.pk in present and not belongs:
            try:
                groups.take_out(group, user)
            except NotNow:
                details = {"group": group.name, "reason": "the last administrator"}
                audit.note("group.take_out", user, result=AuditResult.DENIED, details=details)
                stayed.append(group.name)
    return stayed


def named_groups() -> Iterable[Group]:
    named = Group.objects.filter(directory_names__isnull=False).distinct().order_by("pk")
    return named.prefetch_related("directory_names")


# --- what a group is called there


def names_of(group: Group) -> list[str]:
    return [row.name for row in group.directory_names.all()]


def keep_names(group: Group, names: Iterable[str]) -> None:
    """What a group is called in the directory: the values of a claim, or DN or cn. Raises Invalid."""
    wanted = list(dict.fromkeys(name.strip() for name in names if name.strip()))
    if len(wanted) > MOST_NAMES:
        raise Invalid({"directory_names": _("At most %(n)s names.") % {"n": MOST_NAMES}})
    for name in wanted:
        if len(name) > LONGEST_NAME or not name.isprintable():
            raise Invalid({"directory_names": _("This cannot be the name of a group: %(name)s") % {"name": name[:60]}})
    with audit.writing():
        before = names_of(group)
        if before == wanted:
            return
        DirectoryName.objects.filter(group=group).delete()
        DirectoryName.objects.bulk_create(DirectoryName(group=group, name=name) for name in wanted)
        audit.note("group.directory", group, details={"names": wanted, "before": before})

"""Groups of people, as administrators keep them: what a group is given, everybody in it holds."""

from __future__ import annotations

from collections.abc import Iterable

from django.contrib.auth.models import Group
from django.utils.translation import gettext as _

from webvirt.models import User
from webvirt.services import audit
from webvirt.services.grants import keeping_an_administrator, look_again, people_in
from webvirt.services.named import cleaned, keep
from webvirt.services.operations import Invalid


def add(name: str) -> Group:
    """A group with nobody in it. Raises Invalid."""
    return rename(Group(), name)


def rename(group: Group, name: str) -> Group:
    """Raises Invalid with a sentence."""
    name = cleaned(name)
    if Group.objects.filter(name=name).exclude(pk=group.pk).exists():
        raise Invalid({"name": _("There is a group of this name already.")})
    with audit.writing():
        before, group.name = group.name, name
        keep(group)
        audit.note("group.keep", group, details={"before": before} if before else {})
    return group


def change(group: Group, name: str, people: Iterable[User]) -> Group:
    """Its name, and all who are in it. Raises Invalid, or NotNow when that takes away the last administrator."""
    with keeping_an_administrator():
        rename(group, name)
        before, after = people_in([group.pk]), {user.pk for user in people}
        group.user_set.set(after)
        note_members(group, before, after)
        look_again(before ^ after)
    return group


def remove(group: Group) -> None:
    """With all that it was given. Raises NotNow when that takes away the last administrator."""
    with keeping_an_administrator():
        concerned = people_in([group.pk])
        audit.note("group.remove", group)
        group.delete()
        look_again(concerned)


def put_in(group: Group, user: User) -> None:
    with audit.writing():
        before = people_in([group.pk])
        group.user_set.add(user)
        note_members(group, before, before | {user.pk})
        look_again([user.pk])


def take_out(group: Group, user: User) -> None:
    """Raises NotNow when that takes away the last administrator."""
    with keeping_an_administrator():
        before = people_in([group.pk])
        group.user_set.remove(user)
        note_members(group, before, before - {user.pk})
        look_again([user.pk])


def note_members(group: Group, before: set[int], after: set[int]) -> None:
    """Write a line about everybody who has come or gone."""
    for person in User.objects.filter(pk__in=before ^ after).order_by("pk"):
        audit.note("group.put_in" if person.pk in after else "group.take_out", person, details={"group": group.name})

"""Groups of people, as administrators keep them: what a group is given, everybody in it holds."""

from __future__ import annotations

from collections.abc import Iterable

from django.contrib.auth.models import Group
from django.db import transaction
from django.utils.translation import gettext as _

from webvirt.models import User
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
    group.name = name
    return keep(group)


def change(group: Group, name: str, people: Iterable[User]) -> Group:
    """Its name, and all who are in it. Raises Invalid, or NotNow when that takes away the last administrator."""
    with keeping_an_administrator():
        rename(group, name)
        before, after = people_in([group.pk]), {user.pk for user in people}
        group.user_set.set(after)
        look_again(before ^ after)
    return group


def remove(group: Group) -> None:
    """With all that it was given. Raises NotNow when that takes away the last administrator."""
    with keeping_an_administrator():
        concerned = people_in([group.pk])
        group.delete()
        look_again(concerned)


def put_in(group: Group, user: User) -> None:
    with transaction.atomic():
        group.user_set.add(user)
        look_again([user.pk])


def take_out(group: Group, user: User) -> None:
    """Raises NotNow when that takes away the last administrator."""
    with keeping_an_administrator():
        group.user_set.remove(user)
        look_again([user.pk])

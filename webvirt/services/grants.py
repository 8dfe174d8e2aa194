"""Giving roles and taking them away, so that one administrator always stays and open pages hear of it at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from webvirt import bus
from webvirt.models import SCOPES, CustomRole, Domain, Grant, Host, Network, Pool, Project, Role, User
from webvirt.services import audit
from webvirt.services.operations import Invalid, NotNow

Holder = User | Group
Place = Project | Host | Pool | Network | Domain
"""What a grant can be on; None stands for everything."""
PLACES: dict[str, type[Place]] = {
    "project": Project,
    "host": Host,
    "pool": Pool,
    "network": Network,
    "domain": Domain,
}


def administrators_exist() -> bool:
    """Whether somebody who can sign in is an administrator, by themselves or by a group."""
    given = Grant.objects.filter(role=Role.ADMINISTRATOR)
    own, of_groups = ({f"{way}__is_active": True, f"{way}__is_service": False} for way in ("user", "group__user"))
    return given.filter(**own).exists() or given.filter(**of_groups).exists()


@contextmanager
def keeping_an_administrator() -> Iterator[None]:
    """A transaction that is undone if it takes away the last administrator. Raises NotNow then."""
    with audit.writing():
        # Locked, so that two who take each other's role away at once do not both see one left.
        list(Grant.objects.select_for_update().filter(role=Role.ADMINISTRATOR))
        before = administrators_exist()
        yield
        if before and not administrators_exist():
            raise NotNow(_("This is the last administrator: make somebody else one first."))


def give(holder: Holder, role: str | CustomRole, place: Place | None = None) -> Grant:
    """Give a role somewhere; an earlier one in the same place is replaced. Raises Invalid or NotNow."""
    if isinstance(role, str) and role not in Role.values:
        raise Invalid({"role": _("Choose a role.")})
    if isinstance(place, Project) and place.closed_at:
        raise Invalid({"name": _("This project is closed.")})
    parts = {"user" if isinstance(holder, User) else "group": holder, **column_of(place)}
    with keeping_an_administrator():
        grant = Grant.objects.filter(**{name: parts.get(name) for name in ("user", "group", *SCOPES)}).first()
        grant = grant or Grant(**parts)
        before = role_word(grant)
        grant.role, grant.custom_role = (role, None) if isinstance(role, str) else ("", role)
        try:
            grant.full_clean()
        except ValidationError as error:
            raise Invalid({"role": " ".join(error.messages)}) from None
        grant.save()
        note_grant("grant.give", grant, before)
        look_again(holders_of(grant))
    return grant


def withdraw(grant: Grant) -> None:
    """Take a role away. Raises NotNow for the last administrator."""
    with keeping_an_administrator():
        concerned = holders_of(grant)
        note_grant("grant.withdraw", grant)
        grant.delete()
        look_again(concerned)


def note_grant(event: str, grant: Grant, before: str = "") -> None:
    """Write a line about a role that somebody is given or loses; `before` is the one that it replaces."""
    place = next((getattr(grant, scope) for scope in SCOPES if getattr(grant, f"{scope}_id")), None)
    details = {"role": role_word(grant), "on": grant.scope or "everything"}
    details |= {"name": place.name} if place else {}
    audit.note(event, grant.user or grant.group, details=details | ({"before": before} if before else {}))


def role_word(grant: Grant) -> str:
    """The built-in role, or the name of the custom one; empty where none is set."""
    return grant.custom_role.name if grant.custom_role else grant.role


def column_of(place: Place | None) -> dict[str, Place]:
    """The column of a grant on it, set: `{"pool": pool}`."""
    return {name: place for name, model in PLACES.items() if isinstance(place, model)}


def holders_of(grant: Grant) -> set[int]:
    """The ids of the people who hold it, themselves or by their group."""
    return {grant.user_id} if grant.user_id else people_in([grant.group_id])


def people_in(groups: Iterable[int | None]) -> set[int]:
    return set(User.objects.filter(groups__in=list(groups)).order_by().values_list("pk", flat=True))


def look_again(people: Iterable[int]) -> None:
    """Have the open pages and consoles of these people look at their rights again."""
    bus.announce([f"user:{pk}" for pk in people])

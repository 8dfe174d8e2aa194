"""Giving roles and taking them away: by whom, so that one administrator always stays and open pages hear of it at once.

Administrators give any role anywhere. Who is an owner of a project gives, on it alone, what they may there themselves.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.utils.translation import gettext as _

from webvirt import bus
from webvirt.models import (
    SCOPES,
    AuditResult,
    CustomRole,
    Domain,
    Grant,
    Host,
    Network,
    Pool,
    Project,
    Role,
    User,
)
from webvirt.services import audit, guessing
from webvirt.services.access import Access, access_of, reaches
from webvirt.services.catalogue import BY_KIND
from webvirt.services.named import cleaned
from webvirt.services.operations import Denied, Invalid, NotNow

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


# --- who may


def may_give(access: Access, role: str | CustomRole, place: Place | None) -> bool:
    """Whether somebody may give this role there, and take it away."""
    if access.is_administrator:
        return True
    held = access.held_on(place) if isinstance(place, Project) else None
    if held is None or not reaches(held.role, Role.OWNER):
        return False
    if isinstance(role, CustomRole):
        return all(kind in BY_KIND and held.allows(BY_KIND[kind]) for kind in role.kinds)
    return role in Role.values and reaches(held.role, Role(role))


def keeps_members(access: Access, place: Place | None) -> bool:
    """Whether somebody may give roles there at all."""
    return may_give(access, Role.VIEWER, place)


def demand_keeper(access: Access, place: Place | None) -> None:
    """Raise Denied for whoever may give no role there."""
    if not keeps_members(access, place):
        raise Denied(_("Administrators alone, and on a project its owners, give roles and take them away."))


def roles_to_give(access: Access, place: Place) -> tuple[list[Role], list[CustomRole]]:
    """What somebody may give on one thing, to choose from."""
    below = (Role.VIEWER, Role.OPERATOR, Role.OWNER)
    roles: list[Role] = [role for role in below if may_give(access, role, place)]
    return roles, [role for role in CustomRole.objects.all() if may_give(access, role, place)] if roles else []


def holder_named(kind: str, name: str, by: Access) -> Holder:
    """Who gets a role: the person, or the `group`, of exactly this name. Raises Invalid.

    To whom no list of people is shown, a wrong name is a guess, of which there are not many. Raises NotNow then.
    """
    name = cleaned(name, "who")
    guess = None if by.is_administrator else guessing.at_names(by.user)
    rows: QuerySet[Any] = Group.objects.filter(name=name) if kind == "group" else User.objects.filter(username=name)
    found: Holder | None = rows.first()
    if found is None:
        sentence = _("There is no group of this name.") if kind == "group" else _("There is nobody of this name.")
        raise Invalid({"who": sentence})
    if guess:
        guess.was_right()
    return found


# --- giving and taking away


@contextmanager
def deciding(by: Access | None, place: Place | None) -> Iterator[tuple[Access, ...]]:
    """`keeping_an_administrator`, with the rights by which somebody decides there.

    They are read again, since they may just have been withdrawn; a token's may be less. It is undone where an owner
    would take from themselves what lets them decide. Raises Denied or NotNow.
    """
    with keeping_an_administrator():
        rights = (by, rights_now(by)) if by else ()
        for access in rights:
            demand_keeper(access, place)
        yield rights
        if by and not by.is_administrator and not keeps_members(rights_now(by), place):
            raise NotNow(
                _("You would not be an owner of this project any more: another owner or an administrator can do this.")
            )


def rights_now(by: Access) -> Access:
    return access_of(User.objects.get(pk=by.user.pk))


@contextmanager
def denials_noted(event: str, grant: Grant) -> Iterator[None]:
    """Write a line for what is denied meanwhile. Around the transaction, which a denial takes back."""
    try:
        yield
    except Denied as error:
        note_grant(event, grant, result=AuditResult.DENIED, reason=str(error))
        raise


def give(holder: Holder, role: str | CustomRole, place: Place | None = None, *, by: Access | None = None) -> Grant:
    """Give a role somewhere; an earlier one in the same place is replaced. `by` is who decides that, None: nobody.

    Raises Denied, Invalid or NotNow.
    """
    if isinstance(role, str) and role not in Role.values:
        raise Invalid({"role": _("Choose a role.")})
    wanted = Grant(**{"user" if isinstance(holder, User) else "group": holder}, **column_of(place))
    set_role(wanted, role)
    with denials_noted("grant.give", wanted), deciding(by, place) as rights:
        if isinstance(place, Project) and not Project.objects.open().filter(pk=place.pk).exists():
            raise Invalid({"name": _("This project is closed.")})
        same = {name: getattr(wanted, name) for name in ("user", "group", *SCOPES)}
        found = Grant.objects.filter(**same).first()
        if not all(may_give(access, role, place) for access in rights):
            raise Denied(_("You may not give this role: it allows what you may not do here yourself."))
        if found and not all(may_give(access, role_of(found), place) for access in rights):
            raise Denied(_("What they hold here allows more than you may give: an administrator can change it."))
        before = role_word(found) if found else ""
        grant = found or wanted
        set_role(grant, role)
        try:
            grant.full_clean()
        except ValidationError as error:
            raise Invalid({"role": " ".join(error.messages)}) from None
        grant.save()
        note_grant("grant.give", grant, before=before)
        announce(grant, holders_of(grant))
    return grant


def withdraw(grant: Grant, *, by: Access | None = None) -> None:
    """Take a role away, if it is still there. Raises Denied, or NotNow for the last administrator."""
    place = place_of(grant)
    with denials_noted("grant.withdraw", grant), deciding(by, place) as rights:
        found = Grant.objects.filter(pk=grant.pk).first()
        if found is None:
            return
        if not all(may_give(access, role_of(found), place) for access in rights):
            raise Denied(_("What they hold here allows more than you may give: an administrator can take it away."))
        concerned = holders_of(found)
        note_grant("grant.withdraw", found)
        found.delete()
        announce(grant, concerned)


def note_grant(event: str, grant: Grant, *, result: AuditResult = AuditResult.DONE, **more: str) -> None:
    """Write a line about a role that somebody is given or loses; `before` is the one that it replaces."""
    place = place_of(grant)
    details = {"role": role_word(grant), "on": grant.scope or "everything"} | ({"name": place.name} if place else {})
    details |= {name: value for name, value in more.items() if value}
    audit.note(event, grant.user or grant.group, result=result, details=details)


def set_role(grant: Grant, role: str | CustomRole) -> None:
    grant.role, grant.custom_role = (role, None) if isinstance(role, str) else ("", role)


def role_of(grant: Grant) -> str | CustomRole:
    return grant.custom_role or grant.role


def role_word(grant: Grant) -> str:
    """The built-in role, or the name of the custom one; empty where none is set."""
    return grant.custom_role.name if grant.custom_role else grant.role


def column_of(place: Place | None) -> dict[str, Place]:
    """The column of a grant on it, set: `{"pool": pool}`."""
    return {name: place for name, model in PLACES.items() if isinstance(place, model)}


def place_of(grant: Grant) -> Place | None:
    """What it is on."""
    return next((getattr(grant, scope) for scope in SCOPES if getattr(grant, f"{scope}_id")), None)


def holders_of(grant: Grant) -> set[int]:
    """The ids of the people who hold it, themselves or by their group."""
    return {grant.user_id} if grant.user_id else people_in([grant.group_id])


def people_in(groups: Iterable[int | None]) -> set[int]:
    return set(User.objects.filter(groups__in=list(groups)).order_by().values_list("pk", flat=True))


def look_again(people: Iterable[int]) -> None:
    """Have the open pages and consoles of these people look at their rights again."""
    bus.announce([f"user:{pk}" for pk in people])


def announce(grant: Grant, people: Iterable[int]) -> None:
    """The same, and have the open pages of its project show who is in it."""
    look_again(people)
    if grant.project_id:
        bus.announce([grant.scope])

"""Groups, custom roles and grants over REST, and who may do what and why: administrators alone."""

from __future__ import annotations

from typing import Any, cast

from django.contrib.auth.models import Group
from django.db.models import QuerySet
from django.http import Http404, HttpRequest
from django.utils.translation import gettext as _
from ninja import Query, Router, Schema, Status
from pydantic import Field

from webvirt.api.auth import ADMINISTRATORS, access_for
from webvirt.api.lists import Page, one, ordered, page_of
from webvirt.api.shapes import Failure, GrantOut, grant_out
from webvirt.models import CustomRole, Grant, Project, User
from webvirt.services import audit, directories, grants, groups, rights, roles
from webvirt.services.access import Access
from webvirt.services.operations import Invalid
from webvirt.services.subjects import NOUNS, Subject

MOST_PEOPLE = 1000
REFUSED = {(401, 403, 404, 409, 422): Failure}

group_router = Router(tags=["rights"], auth=ADMINISTRATORS)
role_router = Router(tags=["rights"], auth=ADMINISTRATORS)
grant_router = Router(tags=["rights"], auth=ADMINISTRATORS)
who_router = Router(tags=["rights"], auth=ADMINISTRATORS)


# --- groups


class GroupSpec(Schema, extra="forbid"):
    """`people` are the ids of all who are in it; `directory_names` what it is called in the directory, by the claim's
    values or by DN or cn. Without them, these stay as they are."""

    name: str
    people: list[int] = Field([], max_length=MOST_PEOPLE)
    directory_names: list[str] | None = Field(None, max_length=directories.MOST_NAMES)


class GroupOut(Schema):
    id: int
    name: str
    people: list[int]
    directory_names: list[str]


class Groups(Schema):
    total: int
    items: list[GroupOut]


def group_out(group: Group) -> GroupOut:
    people = sorted(user.pk for user in group.user_set.all())
    return GroupOut(id=group.pk, name=group.name, people=people, directory_names=directories.names_of(group))


def kept(group: Group, spec: GroupSpec) -> GroupOut:
    with audit.writing():
        groups.change(group, spec.name, people_of(spec.people))
        if spec.directory_names is not None:
            directories.keep_names(group, spec.directory_names)
    return group_out(group)


@group_router.get("", response={200: Groups} | REFUSED, summary="List groups")
def list_groups(request: HttpRequest, page: Query[Page], q: str = "") -> Groups:
    """Administrators only."""
    found = Group.objects.filter(name__icontains=q).prefetch_related("user_set", "directory_names")
    total, rows = page_of(ordered(found, "name", {"name": "name"}), page)
    return Groups(total=total, items=[group_out(group) for group in rows])


@group_router.post("", response={201: GroupOut} | REFUSED, summary="Add a group")
def add_group(request: HttpRequest, spec: GroupSpec) -> Status[GroupOut]:
    """Administrators only."""
    return Status(201, kept(Group(), spec))


@group_router.get("/{int:pk}", response={200: GroupOut} | REFUSED, summary="One group")
def group(request: HttpRequest, pk: int) -> GroupOut:
    """Administrators only."""
    return group_out(one(Group.objects.all(), pk))


@group_router.put("/{int:pk}", response={200: GroupOut} | REFUSED, summary="Change a group")
def change_group(request: HttpRequest, pk: int, spec: GroupSpec) -> GroupOut:
    """All of it: who is left out is taken out. Administrators only."""
    return kept(one(Group.objects.all(), pk), spec)


@group_router.delete("/{int:pk}", response={204: None} | REFUSED, summary="Remove a group")
def remove_group(request: HttpRequest, pk: int) -> Status[None]:
    """With all that it was given. Administrators only."""
    groups.remove(one(Group.objects.all(), pk))
    return Status(204, None)


def people_of(pks: list[int]) -> list[User]:
    found = User.objects.in_bulk(pks)
    if missing := [pk for pk in pks if pk not in found]:
        raise Invalid({"people": _("There is nobody of the id %(id)s.") % {"id": missing[0]}})
    return list(found.values())


# --- custom roles


class RoleSpec(Schema, extra="forbid"):
    """`kinds` are those of the catalogue (`domain.start`)."""

    name: str
    description: str = ""
    kinds: list[str] = Field([], max_length=500)


class RoleOut(Schema):
    id: int
    name: str
    description: str
    kinds: list[str]
    unknown: list[str]
    """Those of its kinds that the catalogue does not have (any more): they allow nothing."""


class Roles(Schema):
    total: int
    items: list[RoleOut]


def role_out(role: CustomRole) -> RoleOut:
    return RoleOut(
        id=role.pk,
        name=role.name,
        description=role.description,
        kinds=role.kinds,
        unknown=roles.unknown_kinds(role),
    )


@role_router.get("", response={200: Roles} | REFUSED, summary="List custom roles")
def list_roles(request: HttpRequest, page: Query[Page]) -> Roles:
    """Administrators only."""
    total, rows = page_of(CustomRole.objects.all(), page)
    return Roles(total=total, items=[role_out(role) for role in rows])


@role_router.post("", response={201: RoleOut} | REFUSED, summary="Add a custom role")
def add_role(request: HttpRequest, spec: RoleSpec) -> Status[RoleOut]:
    """Administrators only."""
    return Status(201, role_out(roles.add(spec.name, spec.description, spec.kinds)))


@role_router.get("/{int:pk}", response={200: RoleOut} | REFUSED, summary="One custom role")
def role(request: HttpRequest, pk: int) -> RoleOut:
    """Administrators only."""
    return role_out(one(CustomRole.objects.all(), pk))


@role_router.put("/{int:pk}", response={200: RoleOut} | REFUSED, summary="Change a custom role")
def change_role(request: HttpRequest, pk: int, spec: RoleSpec) -> RoleOut:
    """All of it, at once for everybody who holds it. Administrators only."""
    changed = roles.change(one(CustomRole.objects.all(), pk), spec.name, spec.description, spec.kinds)
    return role_out(changed)


@role_router.delete("/{int:pk}", response={204: None} | REFUSED, summary="Remove a custom role")
def remove_role(request: HttpRequest, pk: int) -> Status[None]:
    """From everybody who holds it, too. Administrators only."""
    roles.remove(one(CustomRole.objects.all(), pk))
    return Status(204, None)


# --- grants


class GrantSpec(Schema, extra="forbid"):
    """One of `person` and `group`, one of `role` and `custom_role`. `on` is what it is on, by noun and id (`project:3`,
    `host:1`, `pool:7`, `network:2`, `domain:12`); without it, everything."""

    person: int | None = None
    group: int | None = None
    role: str = ""
    custom_role: int | None = None
    on: str = ""


class Grants(Schema):
    total: int
    items: list[GrantOut]


@grant_router.get("", response={200: Grants} | REFUSED, summary="List grants")
def list_grants(request: HttpRequest, page: Query[Page], person: int | None = None, group: int | None = None) -> Grants:
    """Of a person or a group, or all. Administrators only."""
    found: QuerySet[Grant] = Grant.objects.order_by("pk")
    for column, pk in (("user", person), ("group", group)):
        if pk is not None:
            found = found.filter(**{column: pk})
    total, rows = page_of(found, page)
    return Grants(total=total, items=[grant_out(grant) for grant in rows])


@grant_router.post("", response={201: GrantOut} | REFUSED, summary="Give a role")
def give(request: HttpRequest, spec: GrantSpec) -> Status[GrantOut]:
    """An earlier one of the same holder in the same place is replaced. Administrators only."""
    access = access_for(request)
    place = target_of(access, spec.on) if spec.on else None
    if place is not None and not isinstance(place, tuple(grants.PLACES.values())):
        raise Invalid({"on": _("One of %(names)s.") % {"names": ", ".join(grants.PLACES)}})
    given = grants.give(holder_of(spec), given_role(spec), cast(grants.Place | None, place), by=access)
    return Status(201, grant_out(given))


def holder_of(spec: GrantSpec) -> grants.Holder:
    if (spec.person is None) == (spec.group is None):
        raise Invalid({"person": _("Name a person or a group, one of the two.")})
    by_pk: tuple[QuerySet[Any], int | None] = (User.objects.all(), spec.person)
    if spec.group is not None:
        by_pk = (Group.objects.all(), spec.group)
    rows, pk = by_pk
    found: grants.Holder | None = rows.filter(pk=pk).first()
    if found is None:
        raise Invalid({"person" if spec.group is None else "group": _("There is nothing of this number.")})
    return found


def given_role(spec: GrantSpec) -> str | CustomRole:
    if spec.custom_role is None:
        return spec.role
    found = CustomRole.objects.filter(pk=spec.custom_role).first()
    if found is None or spec.role:
        raise Invalid({"custom_role": _("Choose a role.")})
    return found


@grant_router.delete("/{int:pk}", response={204: None} | REFUSED, summary="Withdraw a role")
def withdraw(request: HttpRequest, pk: int) -> Status[None]:
    """Not that of the last administrator. Administrators only."""
    grants.withdraw(one(Grant.objects.select_related("user", "group"), pk), by=access_for(request))
    return Status(204, None)


# --- who may do what, and why


class MayOut(Schema):
    """What one person may do with an object, and the grants that this comes from."""

    person: int
    username: str
    role: str
    verbs: list[str]
    grants: list[GrantOut]


class Who(Schema):
    total: int
    items: list[MayOut]


@who_router.get("/on/{str:name}", response={200: Who} | REFUSED, summary="Who may do what with it, and why")
def who(request: HttpRequest, name: str, page: Query[Page]) -> Who:
    """Everybody who may know of an object, named by noun and id (`domain:12`). Administrators only."""
    target = target_of(access_for(request), name)
    total, people = page_of(rights.people_over(target), page)
    return Who(total=total, items=[may_out(line) for line in rights.lines_for(target, people)])


def may_out(line: rights.Line) -> MayOut:
    return MayOut(
        person=line.user.pk,
        username=line.user.get_username(),
        role=line.role or "",
        verbs=[verb.kind for verb in line.verbs],
        grants=[grant_out(grant) for grant in line.grants],
    )


@who_router.get("/of/{int:pk}", response={200: Grants} | REFUSED, summary="What somebody may do, and why")
def what(request: HttpRequest, pk: int, page: Query[Page]) -> Grants:
    """All that a person holds, themselves or by a group. Administrators only."""
    total, rows = page_of(rights.grants_for(one(User.objects.all(), pk)), page)
    return Grants(total=total, items=[grant_out(grant) for grant in rows])


def target_of(access: Access, name: str) -> Subject | Project:
    """The object of a name; Http404 where there is none."""
    noun, _colon, pk = name.partition(":")
    known = (noun in NOUNS or noun == "project") and pk.isdecimal() and len(pk) < 18
    found: Subject | Project | None = access.one(noun, int(pk)) if known else None
    if found is None:
        raise Http404
    return found

"""Giving a role as pages do: which role, and on what, by the names that people type."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import Group
from django.db.models import QuerySet
from django.http import HttpRequest, QueryDict
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from webvirt.models import SCOPES, CustomRole, Domain, Grant, Host, Network, Pool, Project, Role, User
from webvirt.services.grants import Holder, Place, give
from webvirt.services.operations import Invalid
from webvirt.services.rights import in_order

SCOPE_LABELS: dict[str, str | Promise] = {
    "": gettext_lazy("everything"),
    "project": gettext_lazy("the project"),
    "host": gettext_lazy("the host"),
    "pool": gettext_lazy("the pool"),
    "network": gettext_lazy("the network"),
    "domain": gettext_lazy("the machine"),
}
FIELDS = ("role", "scope", "name")


def grants_of(holder: Holder) -> QuerySet[Grant]:
    """What somebody holds themselves, the widest first."""
    return in_order(holder.grants.all())


def give_context(request: HttpRequest, errors: dict[str, str]) -> dict[str, Any]:
    """What the form that gives a role shows; what was typed is kept."""
    given = request.POST if request.method == "POST" else QueryDict()
    return {
        "roles": Role.choices,
        "custom_roles": CustomRole.objects.values_list("pk", "name"),
        "scopes": list(SCOPE_LABELS.items()),
        "errors": errors,
        "typed": {key: given.get(key, "") for key in FIELDS},
    }


def give_as_typed(holder: Holder, given: QueryDict) -> Grant:
    """Give what a form says. Raises Invalid, or NotNow for the last administrator."""
    return give(holder, role_of(given.get("role", "")), place_of(given.get("scope", ""), given.get("name", "").strip()))


def role_of(typed: str) -> str | CustomRole:
    """A role by its word, or a custom one by its id."""
    if not typed.isdecimal():
        return typed
    role = CustomRole.objects.filter(pk=int(typed)).first() if len(typed) < 18 else None
    if role is None:
        raise Invalid({"role": _("Choose a role.")})
    return role


def place_of(scope: str, name: str) -> Place | None:
    """What a role is given on: by its name, or where several hosts have one so named, by `host/name`."""
    if not scope:
        return None
    if scope not in SCOPES:
        raise Invalid({"scope": _("Choose on what.")})
    if not name:
        raise Invalid({"name": _("Say which: its name is missing.")})
    found: list[Place] = list(places_named(scope, name)[:2])
    if not found:
        raise Invalid({"name": _("There is none of this name.")})
    if len(found) > 1:
        raise Invalid({"name": _("There are several of this name: write the host before it, as in alpha/web-1.")})
    return found[0]


def places_named(scope: str, name: str) -> QuerySet[Any]:
    if scope == "project":
        return Project.objects.open().filter(name=name)
    if scope == "host":
        return Host.objects.kept().filter(name=name)
    kept: dict[str, QuerySet[Any]] = {
        "pool": Pool.objects.kept(),
        "network": Network.objects.kept(),
        "domain": Domain.objects.kept(),
    }
    here = kept[scope].filter(name=name)
    host, _slash, rest = name.partition("/")
    return here if here.exists() or not rest else kept[scope].filter(host__name=host, name=rest)


def holder_of(kind: str, name: str) -> Holder:
    """Who gets a role, by their name. Raises Invalid."""
    rows: QuerySet[Any] = Group.objects.filter(name=name) if kind == "group" else User.objects.filter(username=name)
    found: Holder | None = rows.first()
    if found is None:
        sentence = _("There is no group of this name.") if kind == "group" else _("There is nobody of this name.")
        raise Invalid({"who": sentence})
    return found


def here_context(request: HttpRequest, on: str, errors: dict[str, str], back: str = "") -> dict[str, Any]:
    """What the form shows that gives a role on one thing; `back` is where it leads, if not to who may do what there."""
    given = request.POST if request.method == "POST" else QueryDict()
    return {
        "on": on,
        "back": back,
        "roles": [role for role in Role.choices if not on or role[0] != Role.ADMINISTRATOR],
        "custom_roles": CustomRole.objects.values_list("pk", "name"),
        "errors": errors,
        "typed": {key: given.get(key, "") for key in ("kind", "who", "role")},
    }

"""Giving a role as pages do: which role, and on what, by the names that people type."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import get_object_or_404, redirect
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from webvirt.models import SCOPES, CustomRole, Domain, Grant, Host, Network, Pool, Project, Role, User
from webvirt.services.access import Access
from webvirt.services.grants import Holder, Place, give, roles_to_give, withdraw
from webvirt.services.operations import Invalid, NotNow
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


def give_on_page(
    request: HttpRequest, access: Access, holder: Holder, page: Callable[..., HttpResponse]
) -> HttpResponse:
    """Give a person or a group what the form on their page says; `page` shows that page again where it is wrong."""
    given = request.POST
    try:
        place = place_of(given.get("scope", ""), given.get("name", "").strip())
        give(holder, role_of(given.get("role", "")), place, by=access)
    except Invalid as error:
        return page(request, holder, error.fields, status=400)
    except NotNow as error:
        messages.error(request, str(error))
    return to_page_of(holder)


def withdraw_on_page(request: HttpRequest, access: Access, holder: Holder, pk: int) -> HttpResponse:
    """Take a role of theirs away from a person or a group."""
    try:
        withdraw(get_object_or_404(holder.grants, pk=pk), by=access)
    except NotNow as error:
        messages.error(request, str(error))
    return to_page_of(holder)


def to_page_of(holder: Holder) -> HttpResponse:
    return redirect("person" if isinstance(holder, User) else "group", holder.pk)


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


def here_context(request: HttpRequest, access: Access, place: Place, errors: dict[str, str]) -> dict[str, Any]:
    """What the form shows that gives somebody a role on one thing."""
    given = request.POST if request.method == "POST" else QueryDict()
    roles, custom_roles = roles_to_give(access, place)
    return {
        "roles": [(role.value, role.label) for role in roles],
        "custom_roles": [(role.pk, role.name) for role in custom_roles],
        "errors": errors,
        "typed": {key: given.get(key, "") for key in ("kind", "who", "role")},
    }

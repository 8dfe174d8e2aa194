"""Who may do what here, and why: of an object everybody, of a person everything."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from django.contrib import messages
from django.contrib.auth.models import Group
from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_GET, require_POST

from webvirt.models import Project, User
from webvirt.services import rights
from webvirt.services.access import Access
from webvirt.services.grants import PLACES, Place, give, holder_named
from webvirt.services.operations import Invalid, NotNow
from webvirt.services.subjects import NOUNS, Subject, address_of
from webvirt.web.guards import administrators
from webvirt.web.lists import Query, query_of, slice_of
from webvirt.web.sharing import here_context, role_of

FOUND = 10
LABELS: dict[str, Promise] = {
    "person": _("People"),
    "group": _("Groups"),
    "project": _("Projects"),
    "domain": _("Virtual machines"),
    "host": _("Hosts"),
    "pool": _("Storage"),
    "network": _("Networks"),
}


@dataclass(frozen=True)
class Hit:
    """Something that a search found: its name, where it is, and the address that tells about it."""

    name: str
    more: str
    url: str


@require_GET
@administrators
def page(request: HttpRequest, access: Access) -> HttpResponse:
    query = query_of(request.GET, ("on", "person", "q"))
    if query.get("on"):
        return object_page(request, access, query, {})
    if query.get("person"):
        return person_page(request, query)
    hits = search(access, query.get("q")) if query.get("q") else []
    return render(request, "people/who.html", {"query": query, "hits": hits})


def target_of(access: Access, name: str) -> Subject | Project:
    """The object of a name (`pool:12`); Http404 where there is none."""
    noun, _colon, pk = name.partition(":")
    found: Subject | Project | None = None
    if (noun in NOUNS or noun == "project") and pk.isdecimal() and len(pk) < 18:
        found = access.one(noun, int(pk))
    if found is None:
        raise Http404
    return found


def object_page(
    request: HttpRequest, access: Access, query: Query, errors: dict[str, str], status: int = 200
) -> HttpResponse:
    on = query.get("on")
    target = target_of(access, on)
    people = rights.people_over(target)
    if text := query.get("q"):
        people = people.filter(username__icontains=text)
    part = slice_of(query, people.count())
    context: dict[str, Any] = {
        "query": query,
        "part": part,
        "target": target,
        "lines": rights.lines_for(target, list(people[part.start : part.start + part.size])),
        "address": address_of(on),
        "on": on,
        "shareable": isinstance(target, tuple(PLACES.values())),
    }
    if context["shareable"]:
        context |= here_context(request, access, cast(Place, target), errors)
    return render(request, "people/who_object.html", context, status=status)


def person_page(request: HttpRequest, query: Query) -> HttpResponse:
    pk = query.get("person")
    person = User.objects.filter(pk=int(pk)).first() if pk.isdecimal() and len(pk) < 18 else None
    if person is None:
        raise Http404
    found = rights.grants_for(person)
    part = slice_of(query, found.count())
    grants = list(found[part.start : part.start + part.size])
    context = {
        "query": query,
        "part": part,
        "person": person,
        "grants": grants,
        "machines": rights.machines_in(grants),
    }
    return render(request, "people/who_person.html", context)


def search(access: Access, text: str) -> list[tuple[Promise, list[Hit]]]:
    """What has this in its name, a few of each kind."""
    found: list[tuple[Promise, list[Hit]]] = [
        (LABELS["person"], [Hit(row.username, "", f"?person={row.pk}") for row in people_named(text)]),
        (LABELS["group"], [Hit(row.name, "", f"/people/groups/{row.pk}/") for row in groups_named(text)]),
    ]
    for noun in ("project", "domain", "host", "pool", "network"):
        rows = access.rows(noun).filter(name__icontains=text).order_by("name", "pk")[:FOUND]
        hits = [Hit(row.name, row.host.name if hasattr(row, "host") else "", f"?on={noun}:{row.pk}") for row in rows]
        found.append((LABELS[noun], hits))
    return [(label, hits) for label, hits in found if hits]


def people_named(text: str) -> QuerySet[User]:
    named = Q(username__icontains=text) | Q(first_name__icontains=text) | Q(last_name__icontains=text)
    return User.objects.filter(named).order_by("username")[:FOUND]


def groups_named(text: str) -> QuerySet[Group]:
    return Group.objects.filter(name__icontains=text).order_by("name")[:FOUND]


@require_POST
@administrators
def give_here(request: HttpRequest, access: Access) -> HttpResponse:
    """Give somebody a role on one thing, from its own side."""
    on = request.POST.get("on", "")
    target = target_of(access, on)
    if not isinstance(target, tuple(PLACES.values())):
        raise Http404
    try:
        holder = holder_named(request.POST.get("kind", ""), request.POST.get("who", ""), access)
        give(holder, role_of(request.POST.get("role", "")), cast(Place, target), by=access)
    except Invalid as error:
        return object_page(request, access, query_of({"on": on}, ("on",)), error.fields, status=400)
    except NotNow as error:
        messages.error(request, str(error))
    return redirect(f"/people/who/?on={on}")

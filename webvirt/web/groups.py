"""The administrators' pages of groups: who is in each, and what everybody in it holds."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.models import Group
from django.db.models import Count, Prefetch
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from webvirt.models import Grant, User
from webvirt.services import directories, grants, groups
from webvirt.services.access import Access
from webvirt.services.operations import Invalid, NotNow
from webvirt.services.rights import JOINED
from webvirt.web.guards import administrators
from webvirt.web.lists import query_of, slice_of
from webvirt.web.sharing import give_context, give_on_page, grants_of, withdraw_on_page


@require_GET
@administrators
def index(request: HttpRequest, access: Access) -> HttpResponse:
    query = query_of(request.GET, ("q",))
    found = Group.objects.filter(name__icontains=query.get("q")).order_by("name")
    part = slice_of(query, found.count())
    given = Prefetch("grants", Grant.objects.select_related(*JOINED).order_by("pk"))
    rows = found.prefetch_related(given).annotate(people=Count("user"))[part.start : part.start + part.size]
    return render(request, "people/groups.html", {"query": query, "part": part, "groups": rows})


@require_http_methods(["GET", "POST"])
@administrators
def add(request: HttpRequest, access: Access) -> HttpResponse:
    typed = {"name": request.POST.get("name", "")}
    if request.method == "GET":
        return render(request, "people/group_add.html", {"typed": typed, "errors": {}})
    try:
        group = groups.add(typed["name"])
    except Invalid as error:
        return render(request, "people/group_add.html", {"typed": typed, "errors": error.fields}, status=400)
    return redirect("group", group.pk)


@require_GET
@administrators
def detail(request: HttpRequest, access: Access, pk: int) -> HttpResponse:
    return group_page(request, get_object_or_404(Group, pk=pk), {})


def group_page(request: HttpRequest, group: Group, errors: dict[str, str], status: int = 200) -> HttpResponse:
    query = query_of(request.GET, ())
    people = User.objects.filter(groups=group).order_by("username")
    part = slice_of(query, people.count())
    context: dict[str, Any] = {
        "group": group,
        "query": query,
        "part": part,
        "people": people[part.start : part.start + part.size],
        "grants": grants_of(group),
        "typed_who": request.POST.get("who", ""),
        "typed_names": request.POST.get("directory_names", "\n".join(directories.names_of(group))),
        "has_directory": bool(settings.WEBVIRT_OIDC_ISSUER or settings.WEBVIRT_LDAP_URL),
        "typed_title": request.POST.get("title", group.name),
    }
    return render(request, "people/group.html", context | give_context(request, errors), status=status)


@require_POST
@administrators
def rename(request: HttpRequest, access: Access, pk: int) -> HttpResponse:
    group = get_object_or_404(Group, pk=pk)
    try:
        groups.rename(group, request.POST.get("title", ""))
    except Invalid as error:
        group.refresh_from_db()
        return group_page(request, group, {"title": error.fields["name"]}, status=400)
    return redirect("group", pk)


@require_POST
@administrators
def directory(request: HttpRequest, access: Access, pk: int) -> HttpResponse:
    """What the group is called in the directory, one name on a line."""
    group = get_object_or_404(Group, pk=pk)
    try:
        directories.keep_names(group, request.POST.get("directory_names", "").splitlines())
    except Invalid as error:
        return group_page(request, group, error.fields, status=400)
    return redirect("group", pk)


@require_POST
@administrators
def remove(request: HttpRequest, access: Access, pk: int) -> HttpResponse:
    group = get_object_or_404(Group, pk=pk)
    name = group.name
    try:
        groups.remove(group)
    except NotNow as error:
        messages.error(request, str(error))
        return redirect("group", pk)
    messages.success(request, _("The group %(name)s is removed, and what it was given.") % {"name": name})
    return redirect("groups")


@require_POST
@administrators
def put_in(request: HttpRequest, access: Access, pk: int) -> HttpResponse:
    group = get_object_or_404(Group, pk=pk)
    try:
        person = grants.holder_named("person", request.POST.get("who", ""), access)
        assert isinstance(person, User)
        groups.put_in(group, person)
    except Invalid as error:
        return group_page(request, group, error.fields, status=400)
    return redirect("group", pk)


@require_POST
@administrators
def take_out(request: HttpRequest, access: Access, pk: int) -> HttpResponse:
    group = get_object_or_404(Group, pk=pk)
    person = request.POST.get("person", "")
    found = User.objects.filter(pk=int(person)).first() if person.isdecimal() and len(person) < 18 else None
    try:
        if found:
            groups.take_out(group, found)
    except NotNow as error:
        messages.error(request, str(error))
    return redirect("group", pk)


@require_POST
@administrators
def give(request: HttpRequest, access: Access, pk: int) -> HttpResponse:
    return give_on_page(request, access, get_object_or_404(Group, pk=pk), group_page)


@require_POST
@administrators
def withdraw(request: HttpRequest, access: Access, pk: int, grant_pk: int) -> HttpResponse:
    return withdraw_on_page(request, access, get_object_or_404(Group, pk=pk), grant_pk)

"""The administrators' page of people: accounts, and who has which role where."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.db.models import Count, Prefetch
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from webvirt.models import ApiToken, Domain, Grant, Host, Role, User
from webvirt.services import people
from webvirt.services.access import Access
from webvirt.services.operations import Invalid, NotNow
from webvirt.web.guards import administrators


@require_GET
@administrators
def index(request: HttpRequest, access: Access) -> HttpResponse:
    grants = Prefetch("grants", Grant.objects.select_related("host", "domain").order_by("pk"))
    users = User.objects.order_by("-is_active", "username").prefetch_related(grants)
    return render(request, "people/list.html", {"people": users.annotate(tokens=Count("api_tokens"))})


@require_http_methods(["GET", "POST"])
@administrators
def add(request: HttpRequest, access: Access) -> HttpResponse:
    typed = {"name": request.POST.get("name", "")}
    if request.method == "GET":
        return render(request, "people/add.html", {"typed": typed, "errors": {}})
    try:
        user = people.create(typed["name"], request.POST.get("password", ""))
    except Invalid as error:
        return render(request, "people/add.html", {"typed": typed, "errors": error.fields}, status=400)
    messages.success(request, _("%(name)s can sign in now. Give them a role, or they see nothing.") % {"name": user})
    return redirect("person", user.pk)


@require_GET
@administrators
def detail(request: HttpRequest, access: Access, pk: int) -> HttpResponse:
    return person_page(request, get_object_or_404(User, pk=pk), {})


def person_page(request: HttpRequest, user: User, errors: dict[str, str], status: int = 200) -> HttpResponse:
    given = request.POST if request.method == "POST" else QueryDict()
    context: dict[str, Any] = {
        "person": user,
        "grants": user.grants.select_related("host", "domain__host").order_by("pk"),
        "tokens": ApiToken.objects.filter(user=user).order_by("-created_at"),
        "roles": Role.choices,
        "hosts": Host.objects.kept().order_by("name"),
        "errors": errors,
        "typed": {key: given.get(key, "") for key in ("role", "host", "machine")},
    }
    return render(request, "people/detail.html", context, status=status)


@require_POST
@administrators
def password(request: HttpRequest, access: Access, pk: int) -> HttpResponse:
    user = get_object_or_404(User, pk=pk)
    try:
        people.reset_password(user, request.POST.get("password", ""))
    except Invalid as error:
        return person_page(request, user, error.fields, status=400)
    messages.success(request, _("%(name)s has a new password and is signed out everywhere.") % {"name": user})
    return redirect("person", pk)


@require_POST
@administrators
def active(request: HttpRequest, access: Access, pk: int) -> HttpResponse:
    user = get_object_or_404(User, pk=pk)
    try:
        people.set_active(user, request.POST.get("active") == "on")
    except NotNow as error:
        messages.error(request, str(error))
    return redirect("person", pk)


@require_POST
@administrators
def give(request: HttpRequest, access: Access, pk: int) -> HttpResponse:
    user = get_object_or_404(User, pk=pk)
    try:
        host, domain = scope_of(request.POST)
        people.give(user, request.POST.get("role", ""), host=host, domain=domain)
    except Invalid as error:
        return person_page(request, user, error.fields, status=400)
    except NotNow as error:
        messages.error(request, str(error))
    return redirect("person", pk)


def scope_of(given: QueryDict) -> tuple[Host | None, Domain | None]:
    """Where a role is given: on one machine by its name (and host), on one host, or everywhere."""
    host_pk, machine = given.get("host", ""), given.get("machine", "").strip()
    host = Host.objects.kept().filter(pk=int(host_pk)).first() if host_pk.isdecimal() and len(host_pk) < 18 else None
    if host_pk and host is None:
        raise Invalid({"host": _("There is no such host.")})
    if not machine:
        return host, None
    found = Domain.objects.kept().filter(name=machine)
    named = list((found.filter(host=host) if host else found)[:2])
    if not named:
        raise Invalid({"machine": _("There is no virtual machine of this name.")})
    if len(named) > 1:
        raise Invalid({"machine": _("There are several of this name: choose the host as well.")})
    return None, named[0]


@require_POST
@administrators
def withdraw(request: HttpRequest, access: Access, pk: int, grant_pk: int) -> HttpResponse:
    grant = get_object_or_404(Grant, pk=grant_pk, user=pk)
    try:
        people.withdraw(grant)
    except NotNow as error:
        messages.error(request, str(error))
    return redirect("person", pk)

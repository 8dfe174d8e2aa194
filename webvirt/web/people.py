"""The administrators' page of people: accounts, and who has which role where."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth.models import Group
from django.db.models import Count, Prefetch
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from webvirt.models import ApiToken, Grant, User
from webvirt.services import grants, people
from webvirt.services.access import Access
from webvirt.services.operations import Invalid, NotNow
from webvirt.services.rights import JOINED
from webvirt.web.answers import way_back
from webvirt.web.guards import administrators
from webvirt.web.sharing import give_as_typed, give_context, grants_of


@require_GET
@administrators
def index(request: HttpRequest, access: Access) -> HttpResponse:
    given = Prefetch("grants", Grant.objects.select_related(*JOINED).order_by("pk"))
    users = User.objects.order_by("-is_active", "username").prefetch_related(given)
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
    context: dict[str, Any] = {
        "person": user,
        "grants": grants_of(user),
        "groups": Group.objects.filter(user=user).prefetch_related(
            Prefetch("grants", Grant.objects.select_related(*JOINED))
        ),
        "tokens": ApiToken.objects.filter(user=user).order_by("-created_at"),
    }
    return render(request, "people/detail.html", context | give_context(request, errors), status=status)


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
        give_as_typed(user, request.POST)
    except Invalid as error:
        return person_page(request, user, error.fields, status=400)
    except NotNow as error:
        messages.error(request, str(error))
    return redirect("person", pk)


@require_POST
@administrators
def withdraw(request: HttpRequest, access: Access, pk: int, grant_pk: int) -> HttpResponse:
    grant = get_object_or_404(Grant, pk=grant_pk, user=pk)
    try:
        grants.withdraw(grant)
    except NotNow as error:
        messages.error(request, str(error))
    return redirect(way_back(request, f"/people/{pk}/"))

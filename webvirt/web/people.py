"""The administrators' page of people: accounts, and who has which role where."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.models import Group
from django.db.models import Count, Prefetch
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from webvirt.models import ApiToken, Grant, PasswordLink, User
from webvirt.services import factors, grants, links, people, sessions
from webvirt.services.access import Access
from webvirt.services.operations import Invalid, NotNow
from webvirt.services.rights import JOINED
from webvirt.services.sources import identity_of
from webvirt.web.answers import way_back
from webvirt.web.browsers import session_rows
from webvirt.web.factorforms import announce_removed
from webvirt.web.guards import administrators
from webvirt.web.sharing import give_as_typed, give_context, grants_of


@require_GET
@administrators
def index(request: HttpRequest, access: Access) -> HttpResponse:
    given = Prefetch("grants", Grant.objects.select_related(*JOINED).order_by("pk"))
    users = User.objects.select_related("identity").order_by("-is_active", "username").prefetch_related(given)
    return render(request, "people/list.html", {"people": users.annotate(tokens=Count("api_tokens"))})


@require_http_methods(["GET", "POST"])
@administrators
def add(request: HttpRequest, access: Access) -> HttpResponse:
    typed = {"name": request.POST.get("name", "")}
    if request.method == "GET":
        return render(request, "people/add.html", {"typed": typed, "errors": {}})
    try:
        user = people.create(typed["name"], request.POST.get("password") or None)
    except Invalid as error:
        return render(request, "people/add.html", {"typed": typed, "errors": error.fields}, status=400)
    if not user.has_usable_password():
        said = _("%(name)s is added. Make a link for them to sign in with, and give them a role, or they see nothing.")
    else:
        said = _("%(name)s can sign in now. Give them a role, or they see nothing.")
    messages.success(request, said % {"name": user})
    return redirect("person", user.pk)


@require_GET
@administrators
def detail(request: HttpRequest, access: Access, pk: int) -> HttpResponse:
    return person_page(request, get_object_or_404(User, pk=pk), {})


def person_page(
    request: HttpRequest, user: User, errors: dict[str, str], status: int = 200, **more: Any
) -> HttpResponse:
    context: dict[str, Any] = {
        "person": user,
        "identity": identity_of(user),
        "grants": grants_of(user),
        "groups": Group.objects.filter(user=user).prefetch_related(
            Prefetch("grants", Grant.objects.select_related(*JOINED))
        ),
        "tokens": ApiToken.objects.filter(user=user).order_by("-created_at"),
        "held": factors.held_by(user),
        "sessions": session_rows(user, request.session.session_key),
        "link": PasswordLink.objects.filter(user=user, expires_at__gt=timezone.now()).first(),
        "can_mail": bool(settings.WEBVIRT_SMTP),
        "new_link": "",
    }
    return render(request, "people/detail.html", context | give_context(request, errors) | more, status=status)


@require_POST
@administrators
def password(request: HttpRequest, access: Access, pk: int) -> HttpResponse:
    user = get_object_or_404(User, pk=pk)
    try:
        people.reset_password(user, request.POST.get("password", ""))
    except Invalid as error:
        return person_page(request, user, error.fields, status=400)
    except NotNow as error:
        messages.error(request, str(error))
        return redirect("person", pk)
    messages.success(request, _("%(name)s has a new password and is signed out everywhere.") % {"name": user})
    return redirect("person", pk)


@require_POST
@administrators
def make_link(request: HttpRequest, access: Access, pk: int) -> HttpResponse:
    """A link with which the person chooses a password; the answer to this very request is the only one with it."""
    user = get_object_or_404(User, pk=pk)
    email = request.POST.get("email", "").strip()
    try:
        address = settings.WEBVIRT_PUBLIC_URL + reverse("password_link", args=[links.make(user)])
    except NotNow as error:
        messages.error(request, str(error))
        return redirect("person", pk)
    if email and settings.WEBVIRT_SMTP:
        try:
            links.send(user, email, address)
        except Invalid as error:
            return person_page(request, user, error.fields, status=400, new_link=address)
        except NotNow as error:
            return person_page(request, user, {"email": str(error)}, status=502, new_link=address)
        messages.success(request, _("The link is on its way to %(email)s.") % {"email": email})
    return person_page(request, user, {}, new_link=address)


@require_POST
@administrators
def withdraw_link(request: HttpRequest, access: Access, pk: int) -> HttpResponse:
    PasswordLink.objects.filter(user=get_object_or_404(User, pk=pk)).delete()
    messages.success(request, _("The link no longer works."))
    return redirect("person", pk)


@require_POST
@administrators
def forget_factors(request: HttpRequest, access: Access, pk: int) -> HttpResponse:
    """The person lost them: from now on the password is enough, until they add others."""
    user = get_object_or_404(User, pk=pk)
    removed = factors.forget(user)
    for row in removed:
        announce_removed(request, user, row)
    messages.success(request, _("%(name)s signs in without a second factor now.") % {"name": user})
    return redirect("person", pk)


@require_POST
@administrators
def end_session(request: HttpRequest, access: Access, pk: int, handle: str) -> HttpResponse:
    if not sessions.end_one(get_object_or_404(User, pk=pk), handle):
        raise Http404
    messages.success(request, _("That session is signed out."))
    return redirect("person", pk)


@require_POST
@administrators
def end_sessions(request: HttpRequest, access: Access, pk: int) -> HttpResponse:
    """All of a person's, but for the one in which this is asked."""
    user = get_object_or_404(User, pk=pk)
    sessions.end_all(user, but=request.session.session_key)
    messages.success(request, _("%(name)s is signed out.") % {"name": user})
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

"""The administrators' page of people: accounts, and who has which role where."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.models import Group
from django.db.models import Count, Max, Prefetch, Q
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from webvirt.models import Grant, PasswordLink, User
from webvirt.services import factors, links, people, sessions, tokens
from webvirt.services.access import Access
from webvirt.services.operations import Invalid, NotNow
from webvirt.services.rights import JOINED
from webvirt.services.sources import identity_of
from webvirt.web.browsers import session_rows
from webvirt.web.factorforms import announce_removed
from webvirt.web.guards import access_for, administrators
from webvirt.web.lists import query_of, slice_of
from webvirt.web.sharing import give_context, give_on_page, grants_of, withdraw_on_page
from webvirt.web.tokens import FRESH, make_as_typed, tokens_context

SERVICES = "services"
KINDS = ("people", SERVICES)


@require_GET
@administrators
def index(request: HttpRequest, access: Access) -> HttpResponse:
    given = Prefetch("grants", Grant.objects.select_related(*JOINED).order_by("pk"))
    query = query_of(request.GET, ("q", "kind"))
    users = User.objects.select_related("identity").order_by("-is_active", "username").prefetch_related(given)
    if query.get("kind") in KINDS:
        users = users.filter(is_service=query.get("kind") == SERVICES)
    users = users.filter(username__icontains=query.get("q"))
    part = slice_of(query, users.count())
    good = Q(api_tokens__revoked_at=None, api_tokens__expires_at__gt=timezone.now())
    found = users.annotate(tokens=Count("api_tokens", filter=good), used_at=Max("api_tokens__last_used_at"))
    people_here = found[part.start : part.start + part.size]
    return render(request, "people/list.html", {"people": people_here, "query": query, "part": part})


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


@require_http_methods(["GET", "POST"])
@administrators
def add_service(request: HttpRequest, access: Access) -> HttpResponse:
    typed = {"name": request.POST.get("name", "")}
    if request.method == "GET":
        return render(request, "people/service_add.html", {"typed": typed, "errors": {}})
    try:
        user = people.create_service(typed["name"])
    except Invalid as error:
        return render(request, "people/service_add.html", {"typed": typed, "errors": error.fields}, status=400)
    messages.success(
        request, _("%(name)s is added. Give it a role, and make a token for its program.") % {"name": user}
    )
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
        "held": factors.held_by(user),
        "sessions": session_rows(user, request.session.session_key),
        "link": PasswordLink.objects.filter(user=user, expires_at__gt=timezone.now()).first(),
        "can_mail": bool(settings.WEBVIRT_SMTP),
        "new_link": "",
    }
    context |= tokens_context(request, access_for(request), user) | give_context(request, errors)
    return render(request, "people/detail.html", context | more, status=status)


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
    else:
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
    links.withdraw(get_object_or_404(User, pk=pk))
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
def add_token(request: HttpRequest, access: Access, pk: int) -> HttpResponse:
    """Make a token of a service account; the answer to this very request is the only one that shows it."""
    user = get_object_or_404(User, pk=pk)
    if not user.is_service:
        messages.error(request, _("People make their tokens themselves."))
        return redirect("person", pk)
    try:
        secret = make_as_typed(access, user, request.POST)
    except Invalid as error:
        return person_page(request, user, {}, status=400, token_errors=error.fields)
    return person_page(request, user, {}, secret=secret, **FRESH)


@require_POST
@administrators
def revoke_token(request: HttpRequest, access: Access, pk: int, token_pk: int) -> HttpResponse:
    if not tokens.revoke(get_object_or_404(User, pk=pk), token_pk):
        raise Http404
    messages.success(request, _("The token no longer works."))
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
    return give_on_page(request, access, get_object_or_404(User, pk=pk), person_page)


@require_POST
@administrators
def withdraw(request: HttpRequest, access: Access, pk: int, grant_pk: int) -> HttpResponse:
    return withdraw_on_page(request, access, get_object_or_404(User, pk=pk), grant_pk)

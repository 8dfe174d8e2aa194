"""How one signs in beside the password: the app, passkeys and recovery codes of the own account."""

from __future__ import annotations

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from webvirt.services import factors
from webvirt.services.access import Access
from webvirt.services.operations import NotNow
from webvirt.web.enrolment import ask, context_of, show_codes, take
from webvirt.web.factorforms import announce_removed
from webvirt.web.signin import confirmed


@require_GET
@confirmed
def page(request: HttpRequest, access: Access) -> HttpResponse:
    return render(request, "account/factors.html", context_of(access.user))


@require_http_methods(["GET", "POST"])
@confirmed
def add(request: HttpRequest, access: Access) -> HttpResponse:
    """An app or a passkey; with the first of them come recovery codes, shown in the answer."""
    if request.method == "GET":
        return ask(request, access.user, {})
    row = take(request, access.user)
    if isinstance(row, HttpResponse):
        return row
    if factors.held_by(access.user).codes is None:
        return show_codes(request, factors.new_codes(access.user), "/me/factors/")
    messages.success(request, _("From now on you can sign in with it."))
    return redirect("me_factors")


@require_POST
@confirmed
def remove(request: HttpRequest, access: Access, pk: int) -> HttpResponse:
    try:
        row = factors.remove(access.user, pk)
    except NotNow as error:
        messages.error(request, str(error))
        return redirect("me_factors")
    if row is None:
        raise Http404
    announce_removed(request, access.user, row)
    messages.success(request, _("Nobody signs in with it any more."))
    return redirect("me_factors")


@require_POST
@confirmed
def codes(request: HttpRequest, access: Access) -> HttpResponse:
    """New recovery codes; those until now are good no more."""
    if not factors.held_by(access.user).any:
        raise Http404
    return show_codes(request, factors.new_codes(access.user), "/me/factors/")

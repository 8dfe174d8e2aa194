"""Guests of a machine's console: the links that let them in, and the pages of who comes by one."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from webvirt.models import ConsoleMode, Domain
from webvirt.services import guestlinks
from webvirt.services.access import Access, access_of
from webvirt.services.refusals import Denied, Invalid
from webvirt.web.accounts import guess_at_link
from webvirt.web.actor import client_address
from webvirt.web.consoles import panel
from webvirt.web.domains import find, header
from webvirt.web.guards import signed_in

LASTING = (
    (60, gettext_lazy("1 hour")),
    (8 * 60, gettext_lazy("8 hours")),
    (24 * 60, gettext_lazy("1 day")),
    (7 * 24 * 60, gettext_lazy("7 days")),
)
"""Minutes for which a link can be good."""


# --- of who invites


@require_http_methods(["GET", "POST"])
@signed_in
def index(request: HttpRequest, access: Access, pk: int) -> HttpResponse:
    """The links of a machine; the answer to making one is the only one that shows it."""
    domain = find(access, pk)
    if request.method == "GET":
        return page(request, access, domain, {})
    minutes = request.POST.get("minutes", "")
    asked = (request.POST.get("name", ""), request.POST.get("mode", ""), int(minutes) if is_short(minutes) else 0)
    try:
        _link, raw = guestlinks.make(access, domain, *asked)
    except Denied as error:
        raise PermissionDenied(str(error)) from None
    except Invalid as error:
        return page(request, access, domain, error.fields, status=400)
    address = settings.WEBVIRT_PUBLIC_URL + reverse("guest_link", args=[raw])
    return page(request, access, domain, {}, new_link=address)


def is_short(number: str) -> bool:
    return number.isascii() and number.isdecimal() and len(number) < 8


def page(
    request: HttpRequest, access: Access, domain: Domain, errors: dict[str, str], new_link: str = "", status: int = 200
) -> HttpResponse:
    try:
        links = list(guestlinks.links_for(access, domain))
    except Denied as error:
        raise PermissionDenied(str(error)) from None
    context: dict[str, Any] = {
        "links": links,
        "new_link": new_link,
        "errors": errors,
        "typed": request.POST if errors else {},
        "modes": [mode for mode in ConsoleMode.choices if guestlinks.may_invite(access, domain, mode[0])],
        "lasting": LASTING,
    }
    context |= header(request, access, domain, "console")
    return render(request, "guests/list.html", context, status=status)


@require_POST
@signed_in
def revoke(request: HttpRequest, access: Access, pk: int, link_pk: int) -> HttpResponse:
    domain = find(access, pk)
    try:
        if not guestlinks.revoke(access, domain, link_pk):
            raise Http404
    except Denied as error:
        raise PermissionDenied(str(error)) from None
    messages.success(request, _("The link no longer works, and whoever came by it is shown out."))
    return redirect("vm_guests", pk)


# --- of who comes


@require_http_methods(["GET", "POST"])
def arrive(request: HttpRequest, token: str) -> HttpResponse:
    """Where a link leads. What fetches addresses by itself uses none up: it takes a press of the button."""
    guess = guess_at_link(request, "guest link")
    link = guestlinks.find(token)
    if link is None:
        return render(request, "guests/nolink.html", status=404)
    guess.was_right()
    if request.method == "GET":
        return render(request, "guests/arrive.html", {"link": link})
    used = guestlinks.use(token, client_address(request))
    if used is None:
        return render(request, "guests/nolink.html", status=404)
    guestlinks.hold(request.session, used)
    return redirect("guest_console", used.pk)


@require_GET
def console(request: HttpRequest, pk: int) -> HttpResponse:
    """The console alone, for a browser that used this link."""
    link = guestlinks.held(request.session, pk)
    if link is None:
        return render(request, "guests/nolink.html", status=404)
    shown = panel(request, access_of(link.made_by), link.domain)
    shown |= {"guest": link.pk, "may_control": link.mode == ConsoleMode.CONTROL, "may_record": False}
    # What whoever made the link may add to the machine, their guest may not.
    shown["may_add"] = dict.fromkeys(shown["may_add"], False)
    shown["may_add"] = dict.fromkeys(shown["may_add"], False)
    return render(request, "console/window.html", {"domain": link.domain} | shown)

"""The console of a machine: in its tab, and in a window of its own; and the list of all that are open."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from webvirt.models import ConsoleDevice, Definition, Domain, ScreenConnection
from webvirt.services import control, foreign, guestlinks, oversight
from webvirt.services.access import Access
from webvirt.services.catalogue import BY_KIND
from webvirt.web.domains import find, header
from webvirt.web.guards import signed_in
from webvirt.web.lists import query_of, slice_of


@require_GET
@signed_in
def tab(request: HttpRequest, access: Access, pk: int) -> HttpResponse:
    domain = watched(access, pk)
    shown = header(request, access, domain, "console") | panel(request, access, domain)
    strangers = foreign.strangers(ScreenConnection.objects.filter(domain=domain))
    around = {"strangers": strangers, "may_invite": guestlinks.may_invite(access, domain)}
    return render(request, "console/tab.html", shown | around)


@require_GET
@signed_in
def window(request: HttpRequest, access: Access, pk: int) -> HttpResponse:
    domain = watched(access, pk)
    return render(request, "console/window.html", {"domain": domain} | panel(request, access, domain))


def watched(access: Access, pk: int) -> Domain:
    """The machine, if this person may at least watch it; one it may not know of is not found."""
    domain = find(access, pk)
    if not access.may(BY_KIND["domain.view"], domain):
        raise PermissionDenied
    return domain


def panel(request: HttpRequest, access: Access, domain: Domain) -> dict[str, Any]:
    """What the console's own part of a page needs; of a machine without a screen, its serial line."""
    definition = Definition.objects.filter(domain=domain).only("inactive", "live").first()
    info = definition.shown if definition else {}
    devices = info.get("devices", ())
    has = {
        # Of a machine whose definition we have not read, nothing is said.
        ConsoleDevice.SCREEN: bool(info.get("graphics", True)),
        ConsoleDevice.SERIAL: any(device.get("kind") in ("serial", "console") for device in devices),
    }
    wanted = request.GET.get("device") == ConsoleDevice.SERIAL or not has[ConsoleDevice.SCREEN]
    device, other = list(ConsoleDevice)[::-1] if wanted else list(ConsoleDevice)
    return {
        "may_control": access.may(BY_KIND["domain.console"], domain),
        # Where each is recorded, there is nothing to choose.
        "may_record": access.may(BY_KIND["domain.record"], domain) and not domain.is_recorded,
        # The id of their link, of who has no account.
        "guest": None,
        "patience": round(control.PATIENCE.total_seconds()),
        "origins": settings.SOCKET_ORIGINS,
        "device": device.value,
        "other_device": other.value if has[other] else "",
        "has_tablet": bool(info.get("has_tablet", True)),
        "has_clipboard": any("vdagent" in device.get("description", "") for device in devices),
    }


# --- all that are open


@require_GET
@signed_in
def index(request: HttpRequest, access: Access) -> HttpResponse:
    query = query_of(request.GET, oversight.FILTERS)
    found = oversight.chosen(access, query.values)
    part = slice_of(query, found.count())
    context = {
        "query": query,
        "part": part,
        "consoles": list(found[part.start : part.start + part.size]),
        # Filters are of our own consoles.
        "strangers": [] if query.is_filtered else oversight.strangers(access),
        "devices": ConsoleDevice.choices,
    }
    return render(request, "console/list.html", context)


@require_POST
@signed_in
def end(request: HttpRequest, access: Access, pk: int) -> HttpResponse:
    if not oversight.end(access, pk):
        raise Http404
    messages.success(request, _("The console is ended."))
    return redirect("consoles")

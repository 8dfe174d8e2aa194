"""The console of a machine: in its tab, in a window of its own, and beside others; and all that are open."""

from __future__ import annotations

from typing import Any, NamedTuple

from django.conf import settings
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST
from markupsafe import Markup

from webvirt.models import ConsoleDevice, Definition, Domain, ScreenConnection
from webvirt.services import control, guestlinks, inputs, oversight, strangers
from webvirt.services.access import Access
from webvirt.services.catalogue import BY_KIND
from webvirt.services.consoles import most_side_by_side
from webvirt.services.hops import hops_of
from webvirt.services.inputs import Has
from webvirt.services.spice import displays_of, tunnel_to
from webvirt.web.bulk import chosen_ids
from webvirt.web.domains import find, header
from webvirt.web.guards import signed_in
from webvirt.web.lists import query_of, slice_of
from webvirt.web.pieces import piece


@require_GET
@signed_in
def tab(request: HttpRequest, access: Access, pk: int) -> HttpResponse:
    domain = watched(access, pk)
    shown = header(request, access, domain, "console") | panel(request, access, domain) | other_viewer(access, domain)
    others = strangers.among(ScreenConnection.objects.filter(domain=domain))
    around = {"strangers": others, "may_invite": guestlinks.may_invite(access, domain)}
    return render(request, "console/tab.html", shown | around)


@require_GET
@signed_in
def window(request: HttpRequest, access: Access, pk: int) -> HttpResponse:
    domain = watched(access, pk)
    return render(request, "console/window.html", {"domain": domain} | panel(request, access, domain))


@require_GET
@signed_in
def side_by_side(request: HttpRequest, access: Access) -> HttpResponse:
    """The consoles of several machines: `?ids=3,1,2`, in this order."""
    wanted = chosen_ids(request.GET.get("ids", "").split(","))
    found = access.domains().in_bulk(wanted)
    chosen = [found[pk] for pk in dict.fromkeys(wanted) if pk in found]
    most = most_side_by_side()
    shown = places(request, access, chosen[:most])
    devices = {place.device for place in shown}
    context = {"places": shown, "devices": devices, "chosen": len(chosen), "most": most}
    return render(request, "console/side_by_side.html", context)


class Place(NamedTuple):
    """What stands for one machine, and which device it is of; empty where it is not shown."""

    html: Markup
    device: str


def places(request: HttpRequest, access: Access, domains: list[Domain]) -> list[Place]:
    """The console of each machine, or where one may not watch it, words to say so."""
    definitions = Definition.objects.filter(domain__in=domains).only("domain", "inactive", "live")
    by_domain = {definition.domain_id: definition for definition in definitions}
    made = []
    for domain in domains:
        if access.may(BY_KIND["domain.view"], domain):
            shown = panel_of(request, access, domain, by_domain.get(domain.pk))
            context = shown | {"domain": domain, "embedded": True, "beside": True, "other_device": ""}
            made.append(Place(piece("console/panel.html", context), context["device"]))
        else:
            context = {"domain": domain, "verb": BY_KIND["domain.view"]}
            made.append(Place(piece("console/not_yours.html", context), ""))
    return made


def watched(access: Access, pk: int) -> Domain:
    """The machine, if this person may at least watch it; one it may not know of is not found."""
    domain = find(access, pk)
    if not access.may(BY_KIND["domain.view"], domain):
        raise PermissionDenied
    return domain


def other_viewer(access: Access, domain: Domain) -> dict[str, Any]:
    """What a page says of a machine whose display no browser shows: that it is SPICE, and what can be done."""
    displays = displays_of(domain)
    tunnel = tunnel_to(domain) if displays.now and access.is_administrator else ""
    return {"displays": displays, "tunnel": tunnel}


def panel(request: HttpRequest, access: Access, domain: Domain) -> dict[str, Any]:
    """What the console's own part of a page needs."""
    definition = Definition.objects.filter(domain=domain).only("inactive", "live").first()
    return panel_of(request, access, domain, definition)


def panel_of(request: HttpRequest, access: Access, domain: Domain, definition: Definition | None) -> dict[str, Any]:
    """The same with the machine's definition at hand; of one without a screen, its serial line."""
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
        "beside": False,
        "may_control": access.may(BY_KIND["domain.console"], domain),
        # Where each is recorded, there is nothing to choose.
        "may_record": access.may(BY_KIND["domain.record"], domain) and not domain.is_recorded,
        # The id of their link, of who has no account.
        "guest": None,
        "patience": round(control.PATIENCE.total_seconds()),
        "origins": settings.SOCKET_ORIGINS,
        "device": device.value,
        "other_device": other.value if has[other] else "",
        "hops": hops_of(device),
        "pointer": inputs.tablet_of(definition).value if definition else Has.NOW.value,
        "clipboard": inputs.clipboard_of(definition).value,
        "may_add": {what: access.may(BY_KIND[f"domain.add_{what}"], domain) for what in ("tablet", "clipboard")},
        "is_windows": "microsoft" in info.get("os_id", ""),
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
        "strangers": [] if query.is_filtered else oversight.bypassing(access),
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

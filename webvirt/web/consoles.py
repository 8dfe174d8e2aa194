"""The console of a machine: in its tab, and in a window of its own."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from webvirt.models import ConsoleDevice, Definition, Domain
from webvirt.services import control
from webvirt.services.access import Access
from webvirt.services.catalogue import BY_KIND
from webvirt.web.domains import find, header
from webvirt.web.guards import signed_in


@require_GET
@signed_in
def tab(request: HttpRequest, access: Access, pk: int) -> HttpResponse:
    domain = watched(access, pk)
    shown = header(request, access, domain, "console") | panel(request, access, domain)
    return render(request, "console/tab.html", shown)


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
        "patience": round(control.PATIENCE.total_seconds()),
        "origins": settings.SOCKET_ORIGINS,
        "device": device.value,
        "other_device": other.value if has[other] else "",
        "has_tablet": bool(info.get("has_tablet", True)),
        "has_clipboard": any("vdagent" in device.get("description", "") for device in devices),
    }

"""Where a new machine begins: on the host that fits best, or the only one that there is."""

from __future__ import annotations

from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET

from webvirt.models import CloudImage, Host, Volume
from webvirt.services.access import Access
from webvirt.services.catalogue import BY_KIND
from webvirt.services.catalogue.wishes import Begins
from webvirt.services.images import FORMATS
from webvirt.services.placement import may_make_on, places_for
from webvirt.web.forms.creation import CATALOGUE
from webvirt.web.guards import signed_in


@require_GET
@signed_in
def create(request: HttpRequest, access: Access) -> HttpResponse:
    """Lead to the form of the best host, with what the address brings along; say what is missing where none fits."""
    places = places_for(hosts_in(access, request.GET.get("project", "")))
    if places and not places[0].lacks:
        query = f"?{request.GET.urlencode()}" if request.GET else ""
        return redirect(f"/hosts/{places[0].host.pk}/create-domain/{query}")
    return render(
        request,
        "domains/nowhere.html",
        {"places": places, "may_add": access.is_administrator, "is_member": bool(access.on["project"])},
    )


def hosts_in(access: Access, project: str) -> list[Host]:
    """The hosts that one may make machines on, or those of them on which a project may have one."""
    hosts = may_make_on(access)
    if not (project.isdecimal() and len(project) < 18 and int(project)):
        return hosts
    verb, allowed = BY_KIND["domain.create"], access.allowances.ids("host", int(project))
    return [host for host in hosts if host.pk in allowed or access.may_freely(verb, host)]


def may_create_anywhere(access: Access) -> bool:
    """Whether there is a place where this person may make machines, as far as their roles tell."""
    return access.anywhere("host", "project").allows(BY_KIND["domain.create"])


def link_to_fetch(image: CloudImage, project: int | None) -> str:
    """The form of a machine that begins with an image of the catalogue, on the best host, or on that of a project."""
    asked = {"begins": Begins.IMAGE.value, "volume_image": f"{CATALOGUE}{image.pk}", "os": image.os}
    asked |= {"project": str(project)} if project else {}
    return f"/vms/create/?{urlencode(asked)}"


def link_to_begin(access: Access, volume: Volume) -> str:
    """The form of a machine that begins with an image; empty where it is none, or this person may make none there."""
    is_disk = volume.kind == "file" and volume.format in FORMATS
    if not volume.is_whole or not (volume.is_iso or is_disk) or not access.may(BY_KIND["domain.create"], volume.host):
        return ""
    begins = Begins.DISC if volume.is_iso else Begins.IMAGE
    asked = {"begins": begins.value, f"volume_{begins.value}": str(volume.pk), "os": volume.os}
    query = urlencode({key: value for key, value in asked.items() if value})
    return f"/hosts/{volume.pool.host_id}/create-domain/?{query}"

"""The image library: discs and disk images of all hosts, over all their pools, with the systems on them."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from webvirt.models import Volume
from webvirt.services import images, uses
from webvirt.services.access import Access
from webvirt.services.allowances import images_for
from webvirt.services.catalogue import BY_KIND
from webvirt.services.placement import pools_to_fill
from webvirt.web.context import hosts_for
from webvirt.web.creation import link_to_begin
from webvirt.web.guards import signed_in
from webvirt.web.lists import query_of, slice_of

MOST_USABLE = 100
ORDERS = {
    "name": ("name", "pk"),
    "-name": ("-name", "-pk"),
    "os": ("os_name", "name", "pk"),
    "-os": ("-os_name", "name", "pk"),
    "size": ("capacity", "name", "pk"),
    "-size": ("-capacity", "name", "pk"),
    "changed": ("modified_at", "name", "pk"),
    "-changed": ("-modified_at", "name", "pk"),
}


@require_GET
@signed_in
def index(request: HttpRequest, access: Access) -> HttpResponse:
    query = query_of(request.GET, ("q", "host", "kind", "os"))
    everything = images.images_of(access.volumes().select_related("making"))
    host, kind = query.get("host"), query.get("kind")
    found = images.chosen(
        everything,
        text=query.get("q"),
        # No host has the number 0.
        host=(int(host) if host.isdecimal() and len(host) < 18 else 0) if host else None,
        kind=kind if kind in images.KINDS else "",
        os=query.get("os"),
    )
    part = slice_of(query, found.count())
    rows = list(found.order_by(*ORDERS.get(query.get("sort"), ORDERS["name"]))[part.start :][: part.size])
    context = {
        "query": query,
        "part": part,
        "images": rows,
        "users": uses.names_of_users(rows),
        "hosts": hosts_for(request, access),
        "systems": images.systems_of(everything),
        "no_system": images.NO_SYSTEM,
        "usable": usable(access),
        "places": [
            pool for pool in pools_to_fill(access, "volume.upload") if query.get("host") in ("", str(pool.host_id))
        ],
    }
    return render(request, "images/list.html", context)


def usable(access: Access) -> list[tuple[Volume, str]]:
    """The images that one's projects may use and that are nobody's to see, each with the way to a machine of it."""
    within = access.projects_with(BY_KIND["domain.create"])
    if not within or access.everywhere:
        return []
    found = images.images_of(images_for(within)).exclude(pk__in=access.volumes().order_by().values("pk"))
    rows = found.order_by("name", "pk")[:MOST_USABLE]
    return [(volume, link_to_begin(access, volume)) for volume in rows]

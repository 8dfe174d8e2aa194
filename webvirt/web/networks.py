"""Virtual networks: the list over all hosts, and one network with its addresses, leases and who is connected."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db.models import Count, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_GET, require_http_methods

from webvirt.models import CardUse, Network
from webvirt.services import uses
from webvirt.services.access import Access
from webvirt.services.catalogue import BY_KIND
from webvirt.web.bulk import ticking
from webvirt.web.context import hosts_for
from webvirt.web.guards import signed_in
from webvirt.web.kinds import forward
from webvirt.web.lists import query_of
from webvirt.web.pools import header, operations_page
from webvirt.web.verbs import perform


@dataclass(frozen=True)
class NetworkLine:
    """A network with the number of cards plugged into it."""

    network: Network
    cards: int

    @property
    def kind(self) -> str:
        return forward(self.network.forward)

    @property
    def addresses(self) -> str:
        info = self.network.live or self.network.info
        return ", ".join(f"{one['address']}/{one['prefix']}" for one in info.get("addresses", ()))


def lines_of(found: QuerySet[Network]) -> list[NetworkLine]:
    networks = list(found.order_by("host__name", "name"))
    plugged = CardUse.objects.filter(type="network", domain__missing_since=None).order_by()
    counted = plugged.values_list("domain__host", "source").annotate(n=Count("mac", distinct=True))
    cards = {(host, name): number for host, name, number in counted}
    return [NetworkLine(network, cards.get((network.host_id, network.name), 0)) for network in networks]


def list_context(access: Access, found: QuerySet[Network]) -> dict[str, Any]:
    """What a table of networks shows, here and on a host's page."""
    lines = lines_of(found)
    return {"lines": lines} | ticking("network", [(line.network.pk, access.held_on(line.network)) for line in lines])


@require_GET
@signed_in
def index(request: HttpRequest, access: Access) -> HttpResponse:
    query = query_of(request.GET, ("q", "host"))
    found = access.networks()
    if text := query.get("q"):
        found = found.filter(name__icontains=text)
    if host := query.get("host"):
        found = found.filter(host_id=int(host)) if host.isdecimal() and len(host) < 18 else found.none()
    context = list_context(access, found) | {
        "query": query,
        "hosts": hosts_for(request, access),
        "may_create": [host for host in access.hosts() if access.may(BY_KIND["network.create"], host)],
    }
    return render(request, "networks/list.html", context)


def find(access: Access, pk: int) -> Network:
    return get_object_or_404(access.networks(), pk=pk)


@require_GET
@signed_in
def network(request: HttpRequest, access: Access, pk: int) -> HttpResponse:
    found = find(access, pk)
    cards = uses.cards_on(found)
    known = {row.pk for row in access.domains().filter(host=found.host_id).only("pk", "host")}
    shown = [card for card in cards if card.domain_id in known]
    context = header(request, access, found, "overview", "/networks/") | {
        "network": found,
        "kind": forward(found.forward),
        "info": found.live or found.info,
        "waits": found.live is not None and found.live != found.info,
        "cards": shown,
        "hidden": len(cards) - len(shown),
        "leases": leases_of(found, shown),
        "kept": kept_addresses(found),
    }
    return render(request, "networks/overview.html", context)


def leases_of(network: Network, cards: list[CardUse]) -> list[dict[str, Any]]:
    """What the network has given out, each with the machine whose card that is, and whether it is kept for it."""
    owners = {card.mac: card.domain for card in cards}
    kept = {one["mac"] for one in kept_addresses(network)}
    return [lease | {"domain": owners.get(lease["mac"]), "kept": lease["mac"] in kept} for lease in network.leases]


def kept_addresses(network: Network) -> list[dict[str, Any]]:
    return [lease for one in network.info.get("addresses", ()) for lease in one["leases"]]


@require_GET
@signed_in
def definition(request: HttpRequest, access: Access, pk: int) -> HttpResponse:
    found = find(access, pk)
    which = "live" if request.GET.get("which") == "live" and found.live_xml else "inactive"
    context = header(request, access, found, "definition", "/networks/") | {
        "network": found,
        "kind": forward(found.forward),
    }
    return render(request, "networks/definition.html", context | {"which": which})


@require_GET
@signed_in
def log(request: HttpRequest, access: Access, pk: int) -> HttpResponse:
    found = find(access, pk)
    context = header(request, access, found, "log", "/networks/") | {"network": found, "kind": forward(found.forward)}
    return render(request, "networks/log.html", context | operations_page(request, found))


@require_http_methods(["GET", "POST"])
@signed_in
def verb(request: HttpRequest, access: Access, pk: int, name: str) -> HttpResponse:
    answer = perform(request, access, find(access, pk), name)
    if name == "undefine" and answer.status_code == 302:
        answer.headers["Location"] = "/networks/"
    return answer

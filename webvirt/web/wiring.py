"""A drawing of one host's wires: by which interfaces it goes out, its networks and bridges, and whose cards are there.

Three columns; everything has its place worked out here, and the page only draws it. Lengths are in the drawing's own
units.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET

from webvirt.hypervisor.types import Forward
from webvirt.models import CardUse, Host, Network
from webvirt.services.access import Access
from webvirt.web.context import hosts_for
from webvirt.web.guards import signed_in
from webvirt.web.kinds import forward
from webvirt.web.lists import query_of

WIDTH, TOP, ROW, GAP = 900, 44, 34, 16
BOX = 48
"""The height of a network's box."""
WAYS, NETWORKS, MACHINES = (0, 170), (330, 570), (690, 900)
"""Where each column begins and ends."""
MOST_ON_ONE = 20
"""So many machines of a network are drawn; the rest is a number."""
ANYWHERE = "*"


@dataclass
class Spot:
    """Something in the drawing; `y` is its middle."""

    label: str
    href: str = ""
    status: str = ""
    note: str = ""
    y: float = 0.0


@dataclass
class Switch(Spot):
    """A network or a bridge: the ways out by name, and the machines on it with whether each runs."""

    ways: list[str] = field(default_factory=list)
    machines: dict[int, bool] = field(default_factory=dict)
    hidden: set[int] = field(default_factory=set)
    """Machines that are not drawn."""


@dataclass(frozen=True)
class Wire:
    """A line from one spot to another; `live` when something can pass."""

    x1: float
    y1: float
    x2: float
    y2: float
    live: bool

    @property
    def path(self) -> str:
        bend = (self.x2 - self.x1) / 2
        return f"M{self.x1} {self.y1}C{self.x1 + bend} {self.y1} {self.x2 - bend} {self.y2} {self.x2} {self.y2}"


@dataclass
class Drawing:
    ways: list[Spot]
    switches: list[Switch]
    machines: list[Spot]
    wires: list[Wire]
    height: float
    width: int = WIDTH


def drawing_of(host: Host, networks: Sequence[Network], cards: Iterable[CardUse], known: set[int]) -> Drawing:
    """Everything in its place; of machines that are not `known` only how many they are."""
    switches = switches_of(host, networks)
    names: dict[int, Spot] = {}
    for card in cards:
        switch = switches.setdefault(*switch_of(card, networks, host))
        if card.domain_id not in known:
            switch.hidden.add(card.domain_id)
        elif card.domain_id in switch.machines or len(switch.machines) < MOST_ON_ONE:
            domain = card.domain
            switch.machines[domain.pk] = switch.machines.get(domain.pk, False) or (card.live and domain.is_active)
            names[domain.pk] = Spot(domain.name, f"/vms/{domain.pk}/", domain.status)
        else:
            switch.hidden.add(card.domain_id)
    return placed(list(switches.values()), names)


def switches_of(host: Host, networks: Sequence[Network]) -> dict[tuple[str, str], Switch]:
    return {
        ("network", network.name): Switch(
            network.name,
            f"/networks/{network.pk}/",
            f"n-{network.status}",
            forward(network.forward),
            ways=ways_of(host, network),
        )
        for network in networks
    }


def ways_of(host: Host, network: Network) -> list[str]:
    """By which of the host's interfaces a network goes out; ANYWHERE for whichever leads there."""
    named = list((network.live or network.info).get("devices", ()))
    if network.forward == Forward.BRIDGE:
        return named or ports_of(host, network.bridge)
    if network.forward == Forward.ISOLATED:
        return []
    return named or [ANYWHERE]


def ports_of(host: Host, bridge: str) -> list[str]:
    """The host's own interfaces in a bridge; guests' are machines already."""
    return [one["name"] for one in host.interfaces if one["parent"] == bridge and one["kind"] != "tap"]


def switch_of(card: CardUse, networks: Sequence[Network], host: Host) -> tuple[tuple[str, str], Switch]:
    """Where a card is plugged in: a network, also where its bridge is named instead, or something of the host's own."""
    if card.type == "network":
        return ("network", card.source), Switch(card.source, note=_("not there"))
    if card.type == "bridge":
        owner = next((network for network in networks if card.source and network.bridge == card.source), None)
        if owner is not None:
            return ("network", owner.name), Switch(owner.name)
        return ("bridge", card.source), Switch(
            card.source, note=_("Bridge of the host"), ways=ports_of(host, card.source), status="n-active"
        )
    note = {"direct": "macvtap", "user": _("by QEMU itself"), "hostdev": _("a device of its own")}.get(card.type, "")
    ways = {"direct": [card.source], "user": [ANYWHERE]}.get(card.type, [])
    return (card.type, card.source), Switch(card.source or card.type, note=note, ways=ways, status="n-active")


def placed(switches: list[Switch], names: dict[int, Spot]) -> Drawing:
    """Machines beside the first of their networks, networks beside their machines, ways out beside their networks."""
    machines: dict[int, Spot] = {}
    y = float(TOP)
    for switch in switches:
        new = [pk for pk in sorted(switch.machines, key=lambda pk: names[pk].label) if pk not in machines]
        rows = max(BOX, ROW * len(new))
        for number, pk in enumerate(new):
            machines[pk] = names[pk]
            machines[pk].y = y + ROW * (number + 0.5)
        switch.y = y + rows / 2
        y += rows + GAP
    ways = places_of_ways(switches)
    wires = [
        *(
            Wire(NETWORKS[1], switch.y, MACHINES[0], machines[pk].y, live)
            for switch in switches
            for pk, live in switch.machines.items()
        ),
        *(
            Wire(WAYS[1], ways[name].y, NETWORKS[0], switch.y, switch.status == "n-active")
            for switch in switches
            for name in switch.ways
        ),
    ]
    lowest = max([y, *(way.y + BOX for way in ways.values())])
    return Drawing(list(ways.values()), switches, list(machines.values()), wires, lowest)


def places_of_ways(switches: list[Switch]) -> dict[str, Spot]:
    """Each way out in the middle of the networks that take it, and none over another."""
    taken: dict[str, list[float]] = {}
    for switch in switches:
        for name in switch.ways:
            taken.setdefault(name, []).append(switch.y)
    found: dict[str, Spot] = {}
    lowest = 0.0
    for name, ys in sorted(taken.items(), key=lambda item: sum(item[1]) / len(item[1])):
        lowest = max(sum(ys) / len(ys), lowest + ROW)
        found[name] = Spot(_("any way out") if name == ANYWHERE else name, y=lowest)
    return found


@require_GET
@signed_in
def page(request: HttpRequest, access: Access) -> HttpResponse:
    """The drawing of the host that is asked for, or of the first that has networks."""
    query = query_of(request.GET, ("host",))
    networks = access.networks().order_by("name")
    asked = query.get("host")
    hosts = access.hosts().filter(pk__in=networks.order_by().values("host")).order_by("name")
    chosen = hosts.filter(pk=int(asked)) if asked.isdecimal() and len(asked) < 18 else hosts
    host = chosen.first()
    context: dict[str, Any] = {"query": query, "hosts": hosts_for(request, access), "host": host}
    if host is not None:
        cards = CardUse.objects.filter(domain__host=host, domain__missing_since=None).select_related("domain")
        known = {row.pk for row in access.domains().filter(host=host).only("pk", "host")}
        context["drawing"] = drawing_of(
            host, list(networks.filter(host=host)), cards.order_by("domain__name", "mac"), known
        )
    return render(request, "networks/drawing.html", context)

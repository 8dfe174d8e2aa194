"""Virtual networks over REST."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from ninja import Query, Router, Schema

from webvirt.api.auth import access_for
from webvirt.api.lists import Page, one, ordered, page_of
from webvirt.api.shapes import HostName, VerbNow, host_name, verbs_now
from webvirt.models import Network
from webvirt.services import uses

router = Router(tags=["networks"])

ORDERS = {"name": "name", "status": "status", "host": "host__name", "forward": "forward"}


class NetworkOut(Schema):
    id: int
    uuid: str
    name: str
    host: HostName
    project: int | None
    """The id of the project that it is in."""
    stale: bool
    """The host does not answer: this is how it last was."""
    status: str
    forward: str
    bridge: str
    persistent: bool
    autostart: bool


class CardOut(Schema):
    """A machine's card on the network; those of machines that you may not know of are left out."""

    domain: int
    name: str
    mac: str


class NetworkDetail(NetworkOut):
    info: dict[str, Any]
    """As it is at its next start."""
    live: dict[str, Any] | None
    xml: str
    live_xml: str
    leases: list[dict[str, Any]]
    cards: list[CardOut]
    verbs: list[VerbNow]


class Networks(Schema):
    total: int
    items: list[NetworkOut]


SAME = tuple(NetworkOut.model_fields.keys() - {"id", "host", "project", "stale"})


def fields(network: Network) -> dict[str, Any]:
    same = {name: getattr(network, name) for name in SAME}
    return same | {
        "id": network.pk,
        "host": host_name(network.host),
        "project": network.project_id,
        "stale": network.is_stale,
    }


@router.get("", response=Networks, summary="List networks")
def networks(
    request: HttpRequest, page: Query[Page], host: int | None = None, q: str = "", sort: str = "name"
) -> Networks:
    """The networks of the hosts you may know of; `q` is a part of the name."""
    found = access_for(request).networks().filter(name__icontains=q)
    if host is not None:
        found = found.filter(host=host)
    total, rows = page_of(ordered(found, sort, ORDERS), page)
    return Networks(total=total, items=[NetworkOut(**fields(network)) for network in rows])


@router.get("/{int:pk}", response=NetworkDetail, summary="One network")
def network(request: HttpRequest, pk: int) -> NetworkDetail:
    """A network with its definitions, what it has given out, who is connected, and what you may do with it now."""
    access = access_for(request)
    found = one(access.networks(), pk)
    known = set(access.domains().filter(host=found.host_id).order_by().values_list("pk", flat=True))
    cards = [
        CardOut(domain=card.domain_id, name=card.domain.name, mac=card.mac)
        for card in uses.cards_on(found)
        if card.domain_id in known
    ]
    same = {name: getattr(found, name) for name in ("info", "live", "xml", "live_xml", "leases")}
    return NetworkDetail(**fields(found), **same, cards=cards, verbs=verbs_now(access, found))

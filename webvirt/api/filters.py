"""Network filters over REST."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from ninja import Query, Router, Schema

from webvirt.api.auth import access_for
from webvirt.api.lists import Page, one, ordered, page_of
from webvirt.api.networks import CardOut
from webvirt.api.shapes import HostName, VerbNow, host_name, verbs_now
from webvirt.models import Filter
from webvirt.services import uses

router = Router(tags=["filters"])

ORDERS = {"name": "name", "host": "host__name", "chain": "chain", "rules": "rules"}


class FilterOut(Schema):
    id: int
    uuid: str
    name: str
    host: HostName
    stale: bool
    """The host does not answer: this is how it last was."""
    chain: str
    priority: int | None
    rules: int
    references: list[str]
    """The names of the filters that it takes in."""


class FilterDetail(FilterOut):
    xml: str
    cards: list[CardOut]
    """The cards that go through it."""
    taken_in_by: list[str]
    """The names of the filters that take this one in."""
    verbs: list[VerbNow]


class Filters(Schema):
    total: int
    items: list[FilterOut]


SAME = tuple(FilterOut.model_fields.keys() - {"id", "host", "stale"})


def fields(found: Filter) -> dict[str, Any]:
    same = {name: getattr(found, name) for name in SAME}
    return same | {"id": found.pk, "host": host_name(found.host), "stale": found.is_stale}


@router.get("", response=Filters, summary="List network filters")
def filters(
    request: HttpRequest, page: Query[Page], host: int | None = None, q: str = "", sort: str = "name"
) -> Filters:
    """The network filters of the hosts you may know of; `q` is a part of the name."""
    found = access_for(request).filters().filter(name__icontains=q)
    if host is not None:
        found = found.filter(host=host)
    total, rows = page_of(ordered(found, sort, ORDERS), page)
    return Filters(total=total, items=[FilterOut(**fields(row)) for row in rows])


@router.get("/{int:pk}", response=FilterDetail, summary="One network filter")
def one_filter(request: HttpRequest, pk: int) -> FilterDetail:
    """A filter with its definition, who goes through it, and what you may do with it now."""
    access = access_for(request)
    found = one(access.filters(), pk)
    cards = [CardOut(domain=card.domain_id, name=card.domain.name, mac=card.mac) for card in uses.cards_through(found)]
    users = [row.name for row in uses.filters_with(found)]
    return FilterDetail(**fields(found), xml=found.xml, cards=cards, taken_in_by=users, verbs=verbs_now(access, found))

"""What all lists have in common: an order from a short list of orders, and a page with the total."""

from __future__ import annotations

from typing import Any, TypeVar

from django.db.models import F, Model, QuerySet
from django.http import Http404
from django.utils.translation import gettext as _
from ninja import Schema
from pydantic import Field

from webvirt.services.operations import Invalid

LARGEST_PAGE = 200
M = TypeVar("M", bound=Model)


class Page(Schema):
    """Which part of a list."""

    limit: int = Field(50, ge=1, le=LARGEST_PAGE)
    offset: int = Field(0, ge=0, le=10_000_000)


def ordered(rows: QuerySet[M], sort: str, orders: dict[str, str]) -> QuerySet[M]:
    """Rows in the order `sort` names (`-` first: descending), unknown values last, equal ones by id."""
    name = sort.removeprefix("-")
    if name not in orders:
        names = ", ".join(sorted(orders))
        raise Invalid({"sort": _("One of %(names)s, with '-' in front for descending.") % {"names": names}})
    column = F(orders[name])
    by = column.desc(nulls_last=True) if sort.startswith("-") else column.asc(nulls_last=True)
    return rows.order_by(by, "pk")


def page_of(rows: QuerySet[M], page: Page) -> tuple[int, list[M]]:
    """How many there are, and the page asked for."""
    return rows.count(), list(rows[page.offset : page.offset + page.limit])


def one(rows: QuerySet[M], pk: int, **more: Any) -> M:
    """The row of this id among those that may be known, or Http404."""
    found = rows.filter(pk=pk, **more).first()
    if found is None:
        raise Http404
    return found

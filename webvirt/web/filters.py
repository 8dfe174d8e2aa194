"""Network filters: the lines of a host's list, and one filter with its definition and who goes through it."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import Count, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_GET, require_http_methods

from webvirt.models import CardUse, Filter
from webvirt.services import uses
from webvirt.services.access import Access
from webvirt.web.guards import signed_in
from webvirt.web.pools import header, operations_page
from webvirt.web.verbs import perform


@dataclass(frozen=True)
class FilterLine:
    """A filter with the number of cards that go through it."""

    filter: Filter
    cards: int


def lines_of(found: QuerySet[Filter]) -> list[FilterLine]:
    filters = list(found.order_by("host__name", "name"))
    through = CardUse.objects.filter(domain__missing_since=None).exclude(filter="").order_by()
    counted = through.values_list("domain__host", "filter").annotate(n=Count("mac", distinct=True))
    cards = {(host, name): number for host, name, number in counted}
    return [FilterLine(row, cards.get((row.host_id, row.name), 0)) for row in filters]


def find(access: Access, pk: int) -> Filter:
    return get_object_or_404(access.filters(), pk=pk)


@require_GET
@signed_in
def one(request: HttpRequest, access: Access, pk: int) -> HttpResponse:
    found = find(access, pk)
    others = dict(access.filters().filter(host=found.host_id).values_list("name", "pk"))
    context = header(request, access, found, "overview", f"/hosts/{found.host_id}/networks/") | {
        "filter": found,
        "references": [(name, others.get(name)) for name in dict.fromkeys(found.references)],
        "cards": uses.cards_through(found),
        "taken_in_by": uses.filters_with(found),
    }
    return render(request, "filters/overview.html", context | operations_page(request, found))


@require_http_methods(["GET", "POST"])
@signed_in
def verb(request: HttpRequest, access: Access, pk: int, name: str) -> HttpResponse:
    found = find(access, pk)
    answer = perform(request, access, found, name)
    if name == "undefine" and answer.status_code == 302:
        answer.headers["Location"] = f"/hosts/{found.host_id}/networks/"
    return answer

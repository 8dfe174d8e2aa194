"""The recycle bin: machines that were deleted and can still be restored."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from webvirt.models import Domain, Status, Volume
from webvirt.services.access import Access
from webvirt.services.machines import bin_ends
from webvirt.web.guards import signed_in
from webvirt.web.lists import query_of, slice_of
from webvirt.web.offers import Offer, offers


@dataclass(frozen=True)
class Line:
    """A deleted machine, with the bytes of what goes with it."""

    domain: Domain
    size: int
    ends: datetime | None
    offers: list[Offer]

    @property
    def name(self) -> str:
        """As it was called."""
        return str(self.domain.before_bin.get("name", self.domain.name))


@require_GET
@signed_in
def index(request: HttpRequest, access: Access) -> HttpResponse:
    query = query_of(request.GET, ())
    found = access.domains(with_bin=True).filter(status=Status.BINNED)
    part = slice_of(query, found.count())
    rows = list(found.order_by("-binned_at", "pk")[part.start :][: part.size])
    wanted = {pk for row in rows for pk in row.before_bin.get("volumes", ())}
    sizes = dict(Volume.objects.filter(pk__in=wanted, missing_since=None).values_list("pk", "allocation"))
    lines = [
        Line(
            row,
            sum(sizes.get(pk, 0) for pk in row.before_bin.get("volumes", ())),
            bin_ends(row),
            offers(access, row),
        )
        for row in rows
    ]
    context = {"query": query, "part": part, "lines": lines, "days": settings.WEBVIRT_BIN_DAYS}
    return render(request, "domains/bin.html", context)

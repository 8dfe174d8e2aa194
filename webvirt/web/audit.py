"""The administrators' page of the audit log: its lines with their filters, and one line with all it says."""

from __future__ import annotations

import json

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_GET

from webvirt.models import AuditLine, AuditResult, Origin
from webvirt.services import auditlog
from webvirt.services.access import Access
from webvirt.services.audit import plain_character
from webvirt.services.operations import Invalid
from webvirt.services.subjects import NOUNS
from webvirt.web.guards import administrators
from webvirt.web.lists import Query, query_of

OWN_PAGES = {"user": "people", "operation": "operations", "recording": "recordings"}
"""Where what is no noun of the catalogue has its pages."""


@require_GET
@administrators
def index(request: HttpRequest, access: Access) -> HttpResponse:
    query = query_of(request.GET, (*auditlog.FILTERS, "before", "after"))
    errors: dict[str, str] = {}
    try:
        found = auditlog.chosen(query.values)
    except Invalid as error:
        found, errors = AuditLine.objects.none(), error.fields
    page = auditlog.page_of(found, number_in(query, "before"), number_in(query, "after"))
    filters = {name: value for name, value in query.pairs if name in auditlog.FILTERS}
    context = {
        "query": query,
        "page": page,
        "errors": errors,
        "filtered": bool(filters),
        "export": Query(tuple(filters.items())).link(),
        "kinds": auditlog.kinds(),
        "results": AuditResult.choices,
    }
    return render(request, "audit/list.html", context)


def number_in(query: Query, key: str) -> int | None:
    """A line's number, or None for anything else."""
    text = query.get(key)
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 18 else None


@require_GET
@administrators
def detail(request: HttpRequest, access: Access, pk: int) -> HttpResponse:
    line = get_object_or_404(AuditLine, number=pk)
    context = {
        "line": line,
        "origin": Origin(line.origin).label,
        "details": legible(line.details),
        "address": address_of_object(line),
        "next": AuditLine.objects.filter(number=pk + 1).exists(),
    }
    return render(request, "audit/line.html", context)


def address_of_object(line: AuditLine) -> str:
    """The page of what a line is about; empty where it has none."""
    path = NOUNS[line.noun].path if line.noun in NOUNS else OWN_PAGES.get(line.noun, "")
    return f"/{path}/{line.object_id}/" if path and line.object_id else ""


def legible(details: str) -> str:
    """A line's details as people read them; empty where there are none, and as they stand where that is no JSON."""
    try:
        found = json.loads(details)
    except ValueError:
        return details
    text = json.dumps(found, ensure_ascii=False, indent=2) if found else ""
    return "".join(one if one in "\n\\" else plain_character(one) for one in text)

"""Recordings of consoles: the list of those that one may watch, and one played in the browser."""

from __future__ import annotations

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from webvirt.models import ConsoleDevice, Domain, Recording
from webvirt.services import recordings
from webvirt.services.access import Access
from webvirt.services.refusals import NotNow
from webvirt.web import answers
from webvirt.web.guards import signed_in
from webvirt.web.lists import query_of, slice_of


@require_GET
@signed_in
def index(request: HttpRequest, access: Access) -> HttpResponse:
    query = query_of(request.GET, recordings.FILTERS)
    found = recordings.chosen(access, query.values)
    part = slice_of(query, found.count())
    rows = list(found[part.start : part.start + part.size])
    context = {
        "query": query,
        "part": part,
        "recordings": rows,
        "machine": machine_of(access, query.get("domain"), rows),
        "devices": ConsoleDevice.choices,
        "days": settings.WEBVIRT_RECORDINGS_DAYS,
    }
    return render(request, "recordings/list.html", context)


def machine_of(access: Access, pk: str, rows: list[Recording]) -> str:
    """The name of the machine that the list is narrowed to, as far as this person may know it."""
    if not pk:
        return ""
    known = access.domains(with_bin=True).filter(pk=int(pk)).first() if pk.isdecimal() and len(pk) < 18 else None
    return known.name if isinstance(known, Domain) else rows[0].name if rows else _("a machine that is not there")


@require_GET
@signed_in
def detail(request: HttpRequest, access: Access, pk: int) -> HttpResponse:
    recording = find(access, pk)
    recordings.watch(recording)
    context = {
        "recording": recording,
        "milliseconds": recordings.length_of(recording, timezone.now()),
        "may_delete": recordings.may_delete(access, recording),
        "knows_domain": access.knows(recording.domain) and not recording.domain.forgotten_at,
    }
    return render(request, "recordings/detail.html", context)


def find(access: Access, pk: int) -> Recording:
    return get_object_or_404(access.recordings(), pk=pk)


@require_GET
@signed_in
def content(request: HttpRequest, access: Access, pk: int) -> HttpResponse:
    """The bytes, in ranges: the front hands them out."""
    return carried(recordings.fetch(find(access, pk)))


def carried(place: str) -> HttpResponse:
    headers = {"X-Accel-Redirect": place, "Cache-Control": "private, no-store"}
    return HttpResponse(content_type="application/octet-stream", headers=headers)


@require_POST
@signed_in
def delete(request: HttpRequest, access: Access, pk: int) -> HttpResponse:
    recording = find(access, pk)
    try:
        recordings.delete(access, recording)
    except NotNow as error:
        return answers.refused(request, error, f"/recordings/{pk}/")
    messages.success(request, _("The recording is deleted."))
    return redirect("recordings")

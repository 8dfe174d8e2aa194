"""Recordings of consoles over REST: which there are, their bytes, and deleting them."""

from __future__ import annotations

from datetime import datetime

from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from ninja import Query, Router, Schema, Status

from webvirt.api.auth import OF_RECORDINGS, access_for
from webvirt.api.lists import Page, one, page_of
from webvirt.api.shapes import Failure
from webvirt.models import Recording
from webvirt.services import recordings

router = Router(tags=["recordings"], auth=OF_RECORDINGS)


class Filters(Schema):
    """`q` is a part of the machine's or the person's name, `person` a whole one, `device` is `screen` or `serial`."""

    q: str = ""
    domain: int | None = None
    person: str = ""
    device: str = ""


class RecordingOut(Schema):
    id: int
    domain: int
    name: str
    """The machine's, as it was called then; so `person`."""
    person: str
    session: int
    device: str
    started_at: datetime
    ended_at: datetime | None
    """Null while it is being recorded."""
    end_reason: str
    size: int
    """Bytes; 0 until its end."""
    milliseconds: int
    kept_until: datetime | None
    """When it is deleted by itself; null for never, or not known yet."""


class Recordings(Schema):
    total: int
    items: list[RecordingOut]


def recording_out(recording: Recording) -> RecordingOut:
    same = RecordingOut.model_fields.keys() - {"id", "domain", "session", "milliseconds"}
    return RecordingOut(
        **{name: getattr(recording, name) for name in same},
        id=recording.pk,
        domain=recording.domain_id,
        session=recording.session_id,
        milliseconds=recordings.length_of(recording, timezone.now()),
    )


@router.get("", response=Recordings, summary="List recordings")
def list_of_recordings(request: HttpRequest, page: Query[Page], filters: Query[Filters]) -> Recordings:
    """Those that you may watch, newest first."""
    wanted = {name: str(value) for name, value in filters.model_dump().items() if value not in (None, "")}
    total, rows = page_of(recordings.chosen(access_for(request), wanted), page)
    return Recordings(total=total, items=[recording_out(row) for row in rows])


@router.get("/{int:pk}", response=RecordingOut, summary="One recording")
def recording(request: HttpRequest, pk: int) -> RecordingOut:
    return recording_out(one(access_for(request).recordings(), pk))


@router.get(
    "/{int:pk}/bytes",
    summary="Its bytes",
    openapi_extra={"responses": {200: {"description": "The file.", "content": {"application/octet-stream": {}}}}},
)
def content(request: HttpRequest, pk: int) -> HttpResponse:
    """What the guest said, with times, in whole or in ranges. That you fetch it is noted in the audit log.

    The file is `wvrec\\0\\0\\1`, then frames: milliseconds and length (four bytes each, big-endian), and so many
    bytes of the RFB stream or of the serial line.
    """
    place = recordings.fetch(one(access_for(request).recordings(), pk))
    headers = {"X-Accel-Redirect": place, "Cache-Control": "private, no-store"}
    return HttpResponse(content_type="application/octet-stream", headers=headers)


@router.delete("/{int:pk}", response={204: None, (401, 403, 404, 409): Failure}, summary="Delete a recording")
def delete(request: HttpRequest, pk: int) -> Status[None]:
    """For good, before its time; 409 while it is being recorded."""
    access = access_for(request)
    recordings.delete(access, one(access.recordings(), pk))
    return Status(204, None)

"""The audit log over REST, for administrators: its lines, and all of them as JSON lines."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

from channels.db import database_sync_to_async
from django.http import HttpRequest, HttpResponseBase, StreamingHttpResponse
from django.utils.translation import gettext as _
from ninja import Query, Router, Schema
from pydantic import Field

from webvirt.api.auth import access_for, actor_of
from webvirt.api.lists import LARGEST_PAGE, one
from webvirt.models import AuditLine, AuditQuerySet, AuditResult
from webvirt.services import audit, auditlog
from webvirt.services.actors import Actor
from webvirt.services.operations import Denied

router = Router(tags=["audit"])

MOST_EXPORTED = 500_000
"""Lines of one answer, some 300 MB: it lies with the front until whoever asked has taken it."""


class Filters(Schema):
    """Whole names, as they were written. `since` and `until` are dates or times, in UTC unless they say otherwise."""

    person: str = ""
    object: str = ""
    """A name, a uuid, or noun and id (`pool:12`)."""
    kind: str = ""
    result: str = ""
    since: str = ""
    until: str = ""
    address: str = ""


class Place(Schema):
    """The next older lines than `before`, or the next newer than `after`; the newest without either."""

    before: int | None = Field(None, ge=0, le=2**62)
    after: int | None = Field(None, ge=0, le=2**62)
    limit: int = Field(auditlog.PAGE, ge=1, le=LARGEST_PAGE)


class LineOut(Schema):
    """A line as it went into its hash, and that."""

    number: int
    at: datetime
    event: str
    result: str
    person: int | None
    actor: str
    """Empty for somebody who was not signed in."""
    origin: str
    address: str
    token: str
    noun: str
    object: int | None
    name: str
    uuid: str
    operation: int | None
    details: dict[str, Any]
    previous: str
    hash: str


class Lines(Schema):
    """Newest first; `newer` and `older` are what `after` and `before` have to be for the next ones (null: no more)."""

    newer: int | None
    older: int | None
    items: list[LineOut]


def line_out(line: AuditLine) -> LineOut:
    return LineOut(**json.loads(audit.exported(line)))


def demand_administrator(request: HttpRequest) -> None:
    if not access_for(request).is_administrator:
        raise Denied(_("Administrators alone read the audit log."))


@router.get("", response=Lines, summary="List lines of the audit log")
def audit_lines(request: HttpRequest, filters: Query[Filters], place: Query[Place]) -> Lines:
    """What happened, newest first. Administrators only."""
    demand_administrator(request)
    page = auditlog.page_of(auditlog.chosen(filters.model_dump()), place.before, place.after, place.limit)
    return Lines(newer=page.newer, older=page.older, items=[line_out(line) for line in page.lines])


@router.get("/{int:pk}", response=LineOut, summary="One line of the audit log")
def audit_line(request: HttpRequest, pk: int) -> LineOut:
    demand_administrator(request)
    return line_out(one(AuditLine.objects.all(), pk))


@router.get(
    "/export",
    summary="The audit log as JSON lines",
    openapi_extra={"responses": {200: {"description": "A line each.", "content": {"application/x-ndjson": {}}}}},
)
def export(request: HttpRequest, filters: Query[Filters], after: int = 0) -> HttpResponseBase:
    """The lines, oldest first, from behind the number `after` on; half a million at most, so ask on from the last.

    Each is the line as it went into its hash, with that as its last member. The export is itself noted.
    """
    demand_administrator(request)
    wanted = {name: value for name, value in filters.model_dump().items() if value}
    found = auditlog.chosen(wanted)
    actor = actor_of(request)
    audit.note("audit.export", actor=actor, result=AuditResult.BEGUN, details=wanted | {"after": after})
    response = StreamingHttpResponse(written(found, after, actor, wanted), content_type="application/x-ndjson")
    response["Content-Disposition"] = 'attachment; filename="webvirt-audit.jsonl"'
    return response


async def written(found: AuditQuerySet, after: int, actor: Actor, wanted: dict[str, Any]) -> AsyncIterator[bytes]:
    """The lines, a chunk at a time; in the end that is noted, however it came."""
    count, result = 0, AuditResult.CANCELLED
    try:
        while count < MOST_EXPORTED:
            chunk = await database_sync_to_async(auditlog.chunk_after)(found, after)
            if not chunk:
                break
            count, after = count + len(chunk), chunk[-1].number
            yield "".join(f"{audit.exported(line)}\n" for line in chunk).encode()
        result = AuditResult.DONE
    finally:
        details = wanted | {"lines": count}
        await database_sync_to_async(audit.note)("audit.export", actor=actor, result=result, details=details)

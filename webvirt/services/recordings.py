"""Recordings of consoles: begun with their console, ended with it or before, watched by some, kept for a time.

Their bytes are in files (`recordingfile`), which the front hands out after a page or the API has looked at rights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

from django.conf import settings
from django.db.models import Q, QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from webvirt import bus
from webvirt.models import AuditLine, AuditResult, ConsoleDevice, ConsoleSession, Recording, RecordingEnd
from webvirt.services import actors, audit
from webvirt.services.access import Access
from webvirt.services.catalogue import BY_KIND
from webvirt.services.recordingfile import extent_of, path_of
from webvirt.services.refusals import Denied, NotNow

M = TypeVar("M", ConsoleSession, Recording)
FILTERS = ("q", "domain", "person", "device")
SILENT_SECONDS = 10
"""So long after its console ended nobody will say any more how a recording did."""
ONE_VIEWING = timedelta(hours=1)
"""Bytes that somebody fetches so soon after they were noted to watch belong to the same."""


# --- their life


def begin(session: ConsoleSession) -> Recording:
    """The row of what is to be recorded of a console."""
    return Recording.objects.create(
        session=session,
        domain=session.domain,
        name=session.domain.name,
        person=session.person,
        device=session.device,
    )


def finish(pk: int, reason: RecordingEnd, size: int, milliseconds: int, ended_at: datetime | None = None) -> None:
    """Write the end of a recording, unless it was written."""
    ended_at = ended_at or timezone.now()
    kept = timedelta(days=settings.WEBVIRT_RECORDINGS_DAYS)
    Recording.objects.filter(pk=pk, ended_at=None).update(
        ended_at=ended_at,
        end_reason=reason,
        size=size,
        milliseconds=milliseconds,
        kept_until=ended_at + kept if kept else None,
    )
    bus.announce(["recordings"])


def sweep(now: datetime) -> None:
    """End those whose console ended without a word of them, and delete those whose time is over."""
    long_ago = now - timedelta(seconds=SILENT_SECONDS)
    for recording in Recording.objects.filter(ended_at=None, session__ended_at__lt=long_ago).select_related("session"):
        extent = extent_of(path_of(recording.pk))
        finish(recording.pk, RecordingEnd.CUT, extent.size, extent.milliseconds, recording.session.ended_at)
    for recording in Recording.objects.filter(kept_until__lt=now):
        discard(recording, why="kept_until")


def discard(recording: Recording, **details: str) -> None:
    """Delete the file and then the row: of what went wrong in between, the row is left, which can be deleted again."""
    with audit.writing():
        path_of(recording.pk).unlink(missing_ok=True)
        told = {"person": recording.person, "device": recording.device, "console": recording.session_id}
        audit.note("recording.delete", recording, details=told | details)
        recording.delete()
        bus.announce(["recordings"])


# --- who watches


def may_any(access: Access) -> bool:
    """Whether there may be any that this person may watch."""
    return access.anywhere("project", "host", "domain").allows(BY_KIND["domain.recordings"])


def chosen(access: Access, filters: Mapping[str, str]) -> QuerySet[Recording]:
    """Those that somebody may watch and that all of the filters fit, by `FILTERS`; empty ones are none."""
    found = access.recordings()
    if text := filters.get("q", ""):
        found = found.filter(Q(name__icontains=text) | Q(person__icontains=text))
    if person := filters.get("person", ""):
        found = found.filter(person=person)
    return at_device(found, filters)


def at_device(found: QuerySet[M], filters: Mapping[str, str]) -> QuerySet[M]:
    """Those consoles or recordings that are of this `domain` (its id) and `device`; empty ones are no filters."""
    if domain := filters.get("domain", ""):
        is_number = domain.isascii() and domain.isdecimal() and len(domain) < 18
        found = found.filter(domain=int(domain)) if is_number else found.none()
    if device := filters.get("device", ""):
        found = found.filter(device=device) if device in ConsoleDevice.values else found.none()
    return found


def length_of(recording: Recording, now: datetime) -> int:
    """Milliseconds; of one that is being written, as far as it can be by now."""
    if recording.ended_at is None:
        return int((now - recording.started_at).total_seconds() * 1000)
    return recording.milliseconds


def watch(recording: Recording) -> None:
    """Note that somebody watches it."""
    audit.note("recording.watch", recording, details={"person": recording.person, "device": recording.device})


def fetch(recording: Recording) -> str:
    """Note that somebody fetches its bytes, unless it was noted that they watch it; where the front has these."""
    who = actors.current()
    noted = AuditLine.objects.filter(
        noun="recording",
        object_id=recording.pk,
        event="recording.watch",
        person=who.user.pk if who.user else None,
        token_name=who.token_name,
        at__gt=timezone.now() - ONE_VIEWING,
    )
    if not noted.exists():
        watch(recording)
    return f"/recorded/{recording.pk}.rec"


def may_delete(access: Access, recording: Recording) -> bool:
    return access.may(BY_KIND["domain.delete_recordings"], recording.domain)


def delete(access: Access, recording: Recording) -> None:
    """Raises Denied or NotNow."""
    if not may_delete(access, recording):
        verb = BY_KIND["domain.delete_recordings"]
        audit.note("recording.delete", recording, result=AuditResult.DENIED)
        raise Denied(_("Your role here does not allow “%(verb)s”.") % {"verb": verb.label})
    if recording.ended_at is None:
        raise NotNow(_("It is still being recorded: close its console first."))
    discard(recording)


@dataclass(frozen=True)
class Recorded:
    """Whether the guest's screen or line is being recorded: by whom, and why one's own recording is over."""

    by: tuple[str, ...] = ()
    over: str = ""


def recorded(session: ConsoleSession) -> Recorded:
    """What whoever looks at a console is told of recordings, their own and others' of the same."""
    here = Recording.objects.filter(domain=session.domain_id, device=session.device, session__ended_at=None)
    rows = list(here.order_by("pk").values_list("session", "person", "end_reason"))
    by = dict.fromkeys(person for _pk, person, reason in rows if not reason)
    return Recorded(tuple(by), next((reason for pk, _person, reason in rows if pk == session.pk), ""))

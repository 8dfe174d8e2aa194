"""The runner of uploads: hands on what has come, lies still while nothing does, and looks at the whole at the end."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from typing import cast

from django.utils.translation import gettext_noop

from webvirt.hypervisor.streams import CHUNK
from webvirt.models import Upload
from webvirt.services import uploads
from webvirt.services.catalogue.volumes import UploadSpec
from webvirt.services.runners.arrivals import SEGMENT, Arrival
from webvirt.services.runners.context import Context, Failed, Result, Still

WAIT_SECONDS = 5.0
"""So long a worker waits for the next piece before it lets go."""
PAUSE_SECONDS = 0.3
"""So long a stream to the host stays open without anything to send."""
LOOK_SECONDS = 0.01


def upload(context: Context) -> Result:
    """Make the volume, fill it with what comes, and look at the whole before anybody gets to use it."""
    spec = cast(UploadSpec, context.spec)
    row = uploads.upload_of(context.operation)
    arrival = Arrival(context, context.connection.storage, context.pool, row, spec.shown, is_counted=True)
    arrival.place()
    # It costs as much as all else that is done here: only where there is something to compare it to.
    whole = hashlib.sha256() if spec.sha256 and row.carried == 0 else None
    while row.carried < row.size:
        hand_on(arrival, whole)
    context.progress(gettext_noop("checking"), row.size, row.size)
    if spec.sha256:
        compare(arrival, spec.sha256, whole.hexdigest() if whole else "")
    arrival.look_into(spec.sha256)
    arrival.is_whole()
    return {"volume": spec.name, "bytes": spec.size}


def hand_on(arrival: Arrival, whole: hashlib._Hash | None) -> None:
    """Hand what has come to the host, waiting a little for it. Raises Still when nothing does."""
    row = arrival.row
    arrival.context.progress(gettext_noop("writing to the host"), row.carried, row.size)
    if not next_pieces(row, row.carried, WAIT_SECONDS):
        if uploads.is_lost(row):
            uploads.ask_again(row, row.carried)
        raise Still
    handed: list[uploads.Piece] = []
    arrival.send(coming(arrival, handed, whole))
    uploads.take_off(handed)


def coming(arrival: Arrival, handed: list[uploads.Piece], whole: hashlib._Hash | None) -> Iterator[bytes]:
    """What the pieces hold, for as long as sound ones keep coming, up to a segment; `whole` takes note of it.

    They stay until the host has said that it has all of it.
    """
    row = arrival.row
    at, end = row.carried, row.carried + SEGMENT
    while at < end and (pieces := next_pieces(row, at, PAUSE_SECONDS)):
        for piece in pieces:
            with uploads.sound(piece) as data:
                if data is None:
                    uploads.ask_again(row, piece.begins)
                    return
                if whole is not None:
                    whole.update(data)
                for start in range(0, len(data), CHUNK):
                    yield data[start : start + CHUNK]
            at = piece.ends
            handed.append(piece)
            arrival.context.progress(gettext_noop("writing to the host"), at, row.size)


def next_pieces(row: Upload, at: int, seconds: float) -> list[uploads.Piece]:
    """The pieces from byte `at` on, waiting so long for the first of them; none at the end of the file."""
    deadline = time.monotonic() + seconds
    while at < row.size and not (found := uploads.waiting(row, at)):
        if time.monotonic() > deadline:
            return []
        time.sleep(LOOK_SECONDS)
    return found if at < row.size else []


def compare(arrival: Arrival, wanted: str, digest: str) -> None:
    """Raise Failed when the checksum of the whole is not what it was said to be; an empty `digest` is not known yet."""
    if not digest:
        # Some of it went through another worker's hands: the host has all of it.
        back = hashlib.sha256()
        arrival.calls.download(arrival.pool.uuid, arrival.row.name, 0, arrival.row.size, back.update)
        digest = back.hexdigest()
    if digest != wanted:
        raise Failed(
            gettext_noop("The file is not what it should be: its SHA-256 is %(digest)s.") % {"digest": digest},
            gettext_noop("Upload it again, or correct the checksum."),
        )


RUNNERS = {"volume.upload": upload}

"""The runner of uploads: hands on what has come, lies still while nothing does, and looks at the whole at the end."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import cast

from django.utils.translation import gettext_noop

from webvirt.hypervisor.storage import CHUNK
from webvirt.services import uploads
from webvirt.services.catalogue.storage import UploadSpec
from webvirt.services.runners.arrivals import Arrival
from webvirt.services.runners.context import Context, Failed, Result, Still

WAIT_SECONDS = 5.0
"""So long a worker waits for the next piece before it lets go."""
LOOK_SECONDS = 0.05
AT_ONCE = 4
"""Pieces handed on in one stream; between two streams somebody may cancel."""


def upload(context: Context) -> Result:
    """Make the volume, fill it with what comes, and look at the whole before anybody gets to use it."""
    spec = cast(UploadSpec, context.spec)
    row = uploads.upload_of(context.operation)
    arrival = Arrival(context, context.connection.storage, context.pool, row)
    arrival.place()
    whole = hashlib.sha256() if row.carried == 0 else None
    while row.carried < row.size:
        hand_on(arrival, whole)
    context.progress(gettext_noop("checking"), row.size, row.size)
    if spec.sha256:
        compare(arrival, spec.sha256, whole.hexdigest() if whole else "")
    arrival.look_into()
    arrival.is_whole()
    return {"volume": spec.name, "bytes": spec.size}


def hand_on(arrival: Arrival, whole: hashlib._Hash | None) -> None:
    """Hand the next pieces to the host, waiting a little for them. Raises Still when none come."""
    row = arrival.row
    arrival.context.progress(gettext_noop("writing to the host"), row.carried, row.size)
    deadline = time.monotonic() + WAIT_SECONDS
    while not (pieces := uploads.waiting(row)[:AT_ONCE]):
        if time.monotonic() > deadline:
            raise Still
        time.sleep(LOOK_SECONDS)
        row.refresh_from_db(fields=["received"])
    length = sum(path.stat().st_size for path in pieces)
    arrival.calls.upload(arrival.pool.uuid, row.name, row.carried, length, noted(pieces, whole))
    uploads.carried(row, length)
    uploads.take_off(pieces)


def noted(pieces: list[Path], whole: hashlib._Hash | None) -> Iterator[bytes]:
    """What the pieces hold; `whole` takes note of it."""
    for data in uploads.content(pieces, CHUNK):
        if whole is not None:
            whole.update(data)
        yield data


def compare(arrival: Arrival, wanted: str, digest: str) -> None:
    """Compare the whole with what was said of it. Raises Failed."""
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

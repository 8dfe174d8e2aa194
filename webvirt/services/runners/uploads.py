"""The runner of uploads: hands on what has come, lies still while nothing does, and looks at the whole at the end."""

from __future__ import annotations

import hashlib
import time
from typing import cast

from django.utils.translation import gettext_noop

from webvirt.hypervisor.errors import WrongState
from webvirt.hypervisor.types import VolumeSpec
from webvirt.models import Pool, Upload
from webvirt.services import inventory, operations, uploads
from webvirt.services.catalogue.storage import UploadSpec
from webvirt.services.runners.context import Context, Failed, Result, Still
from webvirt.services.runners.storage import look_at_volumes

WAIT_SECONDS = 5.0
"""So long a worker waits for the next piece before it lets go."""
LOOK_SECONDS = 0.05
AT_ONCE = 4
"""Pieces handed on in one stream; between two streams somebody may cancel."""
GIB = 2**30
MOST_VIRTUAL = 64 * 2**40
"""An image that claims to be larger as a disk is a trap, or damaged."""


def upload(context: Context) -> Result:
    """Make the volume, fill it with what comes, and look at the whole before anybody gets to use it."""
    spec, pool = cast(UploadSpec, context.spec), context.pool
    row = uploads.upload_of(context.operation)
    if not row.placed:
        place(context, pool, row)
    whole = hashlib.sha256() if row.carried == 0 else None
    while row.carried < row.size:
        hand_on(context, row, whole)
    context.progress(gettext_noop("checking"), row.size, row.size)
    check(context, pool, spec, whole.hexdigest() if whole else "")
    inventory.volume_is_whole(pool, spec.name, context.operation)
    look_at_volumes(context, pool, spec.name)
    return {"volume": spec.name, "bytes": spec.size}


def place(context: Context, pool: Pool, row: Upload) -> None:
    """See that there is room, and make the volume that is to be filled."""
    calls = context.connection.storage
    if row.name in calls.volumes(pool.uuid) and not made_by_us(pool, row):
        raise Failed(gettext_noop("There is a volume of this name already."), gettext_noop("Choose another name."))
    (summary,) = calls.summaries([pool.uuid])
    if missing := uploads.place(row, summary.available):
        raise Failed(
            gettext_noop("The pool has not enough room: %(gib)s GiB are missing.") % {"gib": f"{missing / GIB:.1f}"},
            gettext_noop("Delete what is not needed, or choose another pool."),
        )
    inventory.expect_volume(pool, row.name, context.operation)
    try:
        calls.create_volume(pool.uuid, VolumeSpec(name=row.name, capacity=row.size, format="raw"))
    except WrongState:
        if not made_by_us(pool, row):
            inventory.volume_is_whole(pool, row.name, context.operation)
            raise


def made_by_us(pool: Pool, row: Upload) -> bool:
    """Whether another worker had made the volume for this upload before it died."""
    return pool.volumes.filter(name=row.name, making=row.operation_id, missing_since=None).exists()


def hand_on(context: Context, row: Upload, whole: hashlib._Hash | None) -> None:
    """Hand the next pieces to the host, waiting a little for them. Raises Still when none come."""
    context.progress(gettext_noop("writing to the host"), row.carried, row.size)
    deadline = time.monotonic() + WAIT_SECONDS
    while not (pieces := uploads.waiting(row)[:AT_ONCE]):
        if time.monotonic() > deadline:
            raise Still
        time.sleep(LOOK_SECONDS)
        row.refresh_from_db(fields=["received"])
    source = uploads.Pieces(pieces, whole)
    context.connection.storage.upload(context.pool.uuid, row.name, row.carried, source.length, source.read)
    uploads.carried(row, pieces)


def check(context: Context, pool: Pool, spec: UploadSpec, digest: str) -> None:
    """Compare the whole with what was said of it, and look for what an image must not hold. Raises Failed."""
    calls = context.connection.storage
    if spec.sha256:
        if not digest:
            # Some of it went through another worker's hands: the host has all of it.
            back = hashlib.sha256()
            calls.download(pool.uuid, spec.name, 0, spec.size, back.update)
            digest = back.hexdigest()
        if digest != spec.sha256:
            raise Failed(
                gettext_noop("The file is not what it should be: its SHA-256 is %(digest)s.") % {"digest": digest},
                gettext_noop("Upload it again, or correct the checksum."),
            )
    calls.refresh(pool.uuid)
    info = calls.inspect(pool.uuid, spec.name)
    if info.backing_path:
        raise Failed(
            gettext_noop("The image is based on another file, and that is refused in an upload."),
            gettext_noop("Make it stand alone (qemu-img convert), and upload that."),
        )
    if info.capacity > MOST_VIRTUAL:
        raise Failed(gettext_noop("The image says that it is larger than any disk."))
    if digest:
        inventory.remember_checksum(pool, info, digest)
    operations.beat(context.operation)


RUNNERS = {"volume.upload": upload}

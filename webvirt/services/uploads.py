"""Uploads: pieces of a file come from the browser to us, and from us to the host, each at its own speed.

A piece is checked, laid on disk and only then said to be received; a worker hands it on and takes it off again. Either
side may die at any moment: the browser asks how far we are and goes on there, and so does the next worker. Nothing is
held in memory but the piece in hand, and on disk no more than `SPOOL_MOST` for an upload.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

from django.conf import settings
from django.db import transaction
from django.db.models import F, Q, Sum
from django.db.models.functions import Greatest
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from webvirt.models import ACTIVE_STATES, Operation, OperationState, Pool, Upload
from webvirt.services import operations

PIECE_MOST = 8 * 2**20
SPOOL_MOST = 24 * PIECE_MOST
IDLE_FOR = timedelta(days=1)
"""An upload that nobody sends anything for so long is given up."""


class Misplaced(operations.Refused):
    """A piece that does not begin where the last one ended; `received` says where that is."""

    def __init__(self, received: int) -> None:
        super().__init__(_("The next piece begins at byte %(at)s.") % {"at": received})
        self.received = received


class NotNow(operations.Refused):
    """The host is slower than the browser: the same piece again in a moment."""


def folder(pk: int) -> Path:
    """Where the pieces of an upload wait."""
    path: Path = settings.WEBVIRT_HOME / "uploads" / str(pk)
    return path


def upload_of(operation: Operation) -> Upload:
    """The upload that an accepted operation is about; its row is made by whoever asks first."""
    pool = int(operation.subject.partition(":")[2])
    return arrival_of(operation, pool, operation.parameters["name"], operation.parameters["size"])


def arrival_of(operation: Operation, pool: int, name: str, size: int) -> Upload:
    """The row of whatever fills a volume with `size` bytes from elsewhere, made or found again."""
    upload, _created = Upload.objects.select_related("operation").get_or_create(
        operation=operation, defaults={"pool_id": pool, "name": name, "size": size}
    )
    return upload


def take(upload: Upload, offset: int, piece: Path, digest: str) -> int:
    """Take a piece in, from the file that the front wrote it to; returns up to where we have the upload now.

    Raises Misplaced, NotNow or Invalid. `digest` is the piece's SHA-256 in hexadecimal as the sender reckoned it;
    empty where their browser cannot.
    """
    if not upload.operation.is_active or upload.operation.cancel_asked_at:
        raise operations.NotNow(_("This upload has ended."))
    if offset != upload.received:
        raise Misplaced(upload.received)
    length = piece.stat().st_size
    if not 0 < length <= min(PIECE_MOST, upload.size - offset):
        raise operations.Invalid({"length": _("A piece is at most 8 MiB, and ends with the file.")})
    if offset + length - upload.carried > SPOOL_MOST:
        raise NotNow(_("The host takes it more slowly than it comes. Send this piece again in a moment."))
    path = folder(upload.pk) / f"{offset:020d}"
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if digest and checksum_of(piece) != digest.lower():
        raise operations.Invalid({"digest": _("The piece is not what was sent: its checksum differs.")})
    with transaction.atomic():
        moved = Upload.objects.filter(pk=upload.pk, received=offset).update(
            received=offset + length, touched_at=timezone.now()
        )
        if not moved:
            upload.refresh_from_db()
            raise Misplaced(upload.received)
        # One that died between here and the end of the transaction left it; its bytes may be another try's.
        path.unlink(missing_ok=True)
        # The front lets go of its own name when it has our answer.
        path.hardlink_to(piece)
    operations.wake(upload.operation)
    return offset + length


def checksum_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# --- in the worker


def waiting(upload: Upload, at: int) -> list[Path]:
    """The pieces that wait to be handed on from byte `at`, in order and without a gap."""
    found = []
    for path in sorted(folder(upload.pk).glob("[0-9]" * 20)):
        begins, length = int(path.name), path.stat().st_size
        if begins + length <= upload.carried:
            # A worker died between handing it on and taking it off.
            path.unlink()
        elif begins == at and at + length <= upload.received:
            found.append(path)
            at += length
    return found


def content(paths: list[Path], most: int) -> Iterator[bytes]:
    """What some pieces hold, at most so many bytes at a time."""
    for path in paths:
        with path.open("rb") as file:
            while data := file.read(most):
                yield data


def carried(upload: Upload, length: int) -> None:
    """Note that the host has so many bytes more."""
    upload.carried += length
    # What somebody sends has been received before; of what we get ourselves nothing waits.
    received = Greatest(F("received"), upload.carried)
    Upload.objects.filter(pk=upload.pk).update(carried=upload.carried, received=received)


def take_off(paths: list[Path]) -> None:
    """Let go of pieces that the host has."""
    for path in paths:
        path.unlink(missing_ok=True)


def place(upload: Upload, available: int) -> int:
    """Take an upload's room in the pool into account; returns how many bytes are missing (0: there is room).

    `available` is what the pool says; what other uploads will still write there is not in that yet.
    """
    with transaction.atomic():
        Pool.objects.select_for_update().get(pk=upload.pool_id)
        others = Upload.objects.filter(pool=upload.pool_id, placed=True, operation__state__in=ACTIVE_STATES)
        promised = others.exclude(pk=upload.pk).aggregate(left=Sum(F("size") - F("carried")))["left"] or 0
        missing = upload.size - (available - promised)
        if missing <= 0:
            Upload.objects.filter(pk=upload.pk).update(placed=True)
            upload.placed = True
    return max(0, missing)


# --- from the clerk


def look_after(now: datetime) -> None:
    """Wake those for which something waits, give up those that nobody sends, and clear away after those that ended."""
    parked = Upload.objects.filter(operation__state=OperationState.RUNNING, operation__worker="")
    # A fetch or a copy waits for nobody: its worker died.
    with_work = Q(received__gt=F("carried")) | ~Q(operation__kind="volume.upload")
    for upload in parked.filter(with_work).select_related("operation")[:100]:
        operations.wake(upload.operation)
    for upload in parked.filter(touched_at__lt=now - IDLE_FOR).select_related("operation")[:100]:
        operations.give_up(upload.operation, gettext_noop("Nothing more came for a day."))
    spool = settings.WEBVIRT_HOME / "uploads"
    if not spool.exists():
        return
    here = {int(path.name) for path in spool.iterdir() if path.name.isdecimal()}
    active = set(Operation.objects.active().filter(pk__in=here).values_list("pk", flat=True))
    for pk in here - active:
        shutil.rmtree(folder(pk), ignore_errors=True)

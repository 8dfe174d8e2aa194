"""Uploads: pieces of a file come from the browser to us, and from us to the host, each at its own speed.

A piece is laid on disk and only then said to be received; a worker sees whether it is what was sent, hands it on and
takes it off again. One that is not goes no further: what was received ends before it again, and is sent again from
there. Either side may die at any moment: the browser asks how far we are and goes on there, and so does the next
worker. Nothing is held in memory but a part of the piece in hand, and on disk no more than `SPOOL_MOST` for an upload.
"""

from __future__ import annotations

import hashlib
import logging
import mmap
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from django.conf import settings
from django.db import transaction
from django.db.models import F, Q, Sum
from django.db.models.functions import Greatest
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from webvirt.models import ACTIVE_STATES, Operation, OperationState, Pool, Upload, User
from webvirt.services import operations
from webvirt.services.access import Limit, asked_by

log = logging.getLogger(__name__)

PIECE_MOST = 8 * 2**20
SPOOL_MOST = 24 * PIECE_MOST
ASKED_OF_EACH_PIECE = (
    *("pool", "name", "size", "received", "carried"),
    *("operation__state", "operation__worker", "operation__cancel_asked_at", "operation__queue"),
)
"""Columns; reading all of them would double what a lookup costs."""
IDLE_FOR = timedelta(days=1)
"""An upload that nobody sends anything for so long is given up."""


class Misplaced(operations.Refused):
    """A piece that does not begin where the last one ended; `received` says where that is."""

    def __init__(self, received: int) -> None:
        super().__init__(_("The next piece begins at byte %(at)s.") % {"at": received})
        self.received = received


class NotNow(operations.Refused):
    """The host is slower than the browser: the same piece again in a moment."""


@dataclass(frozen=True)
class Piece:
    """A piece that waits: the bytes from `begins` to `ends`; `digest` is their SHA-256 as its sender reckoned it."""

    path: Path
    begins: int
    ends: int
    digest: str


def folder(pk: int) -> Path:
    """Where the pieces of an upload wait, each under its place and checksum."""
    path: Path = settings.WEBVIRT_HOME / "uploads" / str(pk)
    return path


def names(pk: int) -> list[str]:
    """Of all pieces that wait of an upload, in the order of their places."""
    try:
        return sorted(os.listdir(folder(pk)))
    except FileNotFoundError:
        return []


def pieces(pk: int) -> list[Piece]:
    """All that wait of an upload, in order."""
    here = folder(pk)
    named = [(name, *name.split("-")) for name in names(pk)]
    return [Piece(here / name, int(begins), int(ends), digest) for name, begins, ends, digest in named]


def upload_of(operation: Operation) -> Upload:
    """The upload that an accepted operation is about; its row is made by whoever asks first."""
    pool = int(operation.subject.partition(":")[2])
    return arrival_of(operation, pool, operation.parameters["name"], operation.parameters["size"])


def upload_by(user: User, limit: Limit | None, pk: int) -> Upload | None:
    """An upload that this person asked for; nobody else's is there, for anybody."""
    begun = Upload.objects.select_related("operation").only(*ASKED_OF_EACH_PIECE)
    own = asked_by(user, limit, of="operation__")
    if upload := begun.filter(own, pk=pk, operation__kind="volume.upload").first():
        return upload
    operation = Operation.objects.filter(asked_by(user, limit), pk=pk, kind="volume.upload").first()
    return upload_of(operation) if operation else None


def arrival_of(operation: Operation, pool: int, name: str, size: int) -> Upload:
    """The row of whatever fills a volume with `size` bytes from elsewhere, made or found again."""
    upload, _created = Upload.objects.select_related("operation").get_or_create(
        operation=operation, defaults={"pool_id": pool, "name": name, "size": size}
    )
    return upload


def arrival_anew(operation: Operation, pool: int, name: str, size: int) -> Upload:
    """The row of the next of several files that an operation brings one after the other, from its beginning."""
    begun = {"pool_id": pool, "name": name, "size": size, "received": 0, "carried": 0, "placed": False}
    upload, _created = Upload.objects.select_related("operation").update_or_create(operation=operation, defaults=begun)
    return upload


def take(upload: Upload, offset: int, piece: Path, digest: str) -> None:
    """Take a piece in, from the file that the front wrote it to; `upload` says then how far we are.

    Raises Misplaced, NotNow or Invalid. `digest` is the piece's SHA-256 in hexadecimal as the sender reckoned it,
    which is compared before any of it goes to the host; empty where their browser cannot.
    """
    if not upload.operation.is_active or upload.operation.cancel_asked_at:
        raise operations.NotNow(_("This upload has ended."))
    if offset != upload.received:
        raise Misplaced(upload.received)
    length = piece.stat().st_size
    if not 0 < length <= min(PIECE_MOST, upload.size - offset):
        raise operations.Invalid({"length": _("A piece is at most 8 MiB, and ends with the file.")})
    if not re.fullmatch(r"([0-9a-fA-F]{64})?", digest, re.ASCII):
        raise operations.Invalid({"digest": _("is 64 hexadecimal digits")})
    if offset + length - upload.carried > SPOOL_MOST:
        raise NotNow(_("The host takes it more slowly than it comes. Send this piece again in a moment."))
    path = folder(upload.pk) / f"{offset:020d}-{offset + length:020d}-{digest.lower()}"
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with transaction.atomic():
        moved = Upload.objects.filter(pk=upload.pk, received=offset).update(
            received=offset + length, touched_at=timezone.now()
        )
        if not moved:
            upload.refresh_from_db()
            raise Misplaced(upload.received)
        # One that died between here and the end of the transaction left it; its bytes may be another try's.
        drop(upload, offset)
        # The front lets go of its own name when it has our answer.
        path.hardlink_to(piece)
    upload.received = offset + length
    if not upload.operation.worker:
        operations.wake(upload.operation)


def drop(upload: Upload, at: int) -> None:
    """Let go of what waits from byte `at` on."""
    here = folder(upload.pk)
    for name in names(upload.pk):
        # Its place alone: this is done for each piece that comes.
        if int(name.partition("-")[0]) >= at:
            (here / name).unlink(missing_ok=True)


# --- in the worker


def waiting(upload: Upload, at: int) -> list[Piece]:
    """The pieces that wait to be handed on from byte `at`, in order and without a gap."""
    here = pieces(upload.pk)
    if here and here[-1].ends > upload.received:
        # Of what lies there that counts which was there when its sender was told so.
        upload.refresh_from_db(fields=["received"])
        here = pieces(upload.pk)
    found = []
    for piece in here:
        if piece.ends <= upload.carried:
            # A worker died between handing it on and taking it off.
            piece.path.unlink(missing_ok=True)
        elif piece.begins == at and piece.ends <= upload.received:
            found.append(piece)
            at = piece.ends
    return found


@contextmanager
def sound(piece: Piece) -> Iterator[mmap.mmap | None]:
    """What a piece holds; None unless that is what was sent: all of it, and with its checksum where it has one.

    It is mapped: so it can be summed up as it lies, and is copied once on its way to the host instead of twice. A disk
    that fails under it ends the worker's process, which is one way more for a worker to die: another goes on.
    """
    length = piece.ends - piece.begins
    with piece.path.open("rb") as file:
        if os.fstat(file.fileno()).st_size != length:
            yield None
            return
        with mmap.mmap(file.fileno(), length, prot=mmap.PROT_READ) as data:
            is_so = not piece.digest or hashlib.sha256(data).hexdigest() == piece.digest
            yield data if is_so else None


def ask_again(upload: Upload, at: int) -> None:
    """Have what begins at byte `at` sent again, and all that was received after it."""
    with transaction.atomic():
        # Whoever takes a piece in has the row in hand, too.
        row = Upload.objects.select_for_update().filter(pk=upload.pk)
        row.get()
        row.update(received=at)
        drop(upload, at)
    upload.received = at
    log.warning("upload %s: what begins at byte %s is damaged or lost, and is asked for again", upload.pk, at)


def is_lost(upload: Upload) -> bool:
    """Whether the host waits for what we have received and do not have: a machine that died may forget files."""
    upload.refresh_from_db(fields=["received"])
    return upload.received > upload.carried and not waiting(upload, upload.carried)


def carried(upload: Upload, length: int) -> None:
    """Note that the host has so many bytes more."""
    upload.carried += length
    # What somebody sends has been received before; of what we get ourselves nothing waits.
    received = Greatest(F("received"), upload.carried)
    Upload.objects.filter(pk=upload.pk).update(carried=upload.carried, received=received)


def take_off(handed: list[Piece]) -> None:
    """Let go of pieces that the host has."""
    for piece in handed:
        piece.path.unlink(missing_ok=True)


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

"""A volume that is filled from elsewhere: a browser, the web, another host. What all of them have in common.

Room is looked for first; the volume is known as half made before it is there; it is filled in order, and what a host
has is written down, so that another worker can go on; the whole is looked into before anybody gets to use it.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from django.utils.translation import gettext_noop

from webvirt.hypervisor.errors import HypervisorError, WrongState
from webvirt.hypervisor.images import BEGINNINGS, HEAD
from webvirt.hypervisor.storage import StorageCalls
from webvirt.hypervisor.streams import ZEROS, length_of
from webvirt.hypervisor.types import Extent, PoolType, VolumeSpec
from webvirt.models import Pool, Upload
from webvirt.services import inventory, operations, uploads
from webvirt.services.quotas import Amounts
from webvirt.services.runners.context import Context, Failed
from webvirt.services.runners.storage import LOOK_SECONDS, beginning, demand_free_name, look_at_volumes

GIB = 2**30
SEGMENT = 128 * 2**20
"""Bytes in one stream to the host, which looks at the whole pool again after each, and so do we; what a stream carried
that was not finished is carried again."""
FILES = (PoolType.DIR, PoolType.FS, PoolType.NETFS, PoolType.GLUSTER)
"""Where a volume is a file, which may be an image of any format."""
BUSY_SECONDS = 600.0
BUSY = "asynchronous jobs"
"""In libvirt's words: something is made or copied in the pool."""
MOST_VIRTUAL = 64 * 2**40
"""An image that claims to be larger as a disk is a trap, or damaged."""


@dataclass
class Arrival:
    """One volume on its way: `calls` are those of the host it goes to, `row` says how far it is."""

    context: Context
    calls: StorageCalls
    pool: Pool
    row: Upload
    title: str = ""
    """What people call it, where the volume cannot be called so."""
    is_counted: bool = False
    """Whether the room that it takes is its own operation's to reserve; else it is reserved with something else."""

    def place(self) -> None:
        """See that there is room, and make the volume that is to be filled."""
        self.reserve(self.row.size)
        if self.row.placed:
            return
        name = self.row.name
        if not self.made_by_us():
            demand_free_name(self.context, self.calls, self.pool, name)
        (summary,) = self.calls.summaries([self.pool.uuid])
        refuse_for_room(uploads.place(self.row, summary.available))
        inventory.expect_volume(self.pool, name, self.context.operation, self.title, self.row.size)
        try:
            self.calls.create_volume(self.pool.uuid, VolumeSpec(name=name, capacity=self.row.size, format="raw"))
        except WrongState:
            if not self.made_by_us():
                inventory.volume_is_anothers(self.pool, name, self.context.operation)
                raise

    def reserve(self, capacity: int) -> None:
        """See that it has room in its project as a volume of so many bytes. Raises Failed."""
        if self.is_counted:
            self.context.reserve(Amounts(disk=capacity))

    def made_by_us(self) -> bool:
        """Whether another worker had made the volume for this operation before it died."""
        mine = self.pool.volumes.filter(name=self.row.name, making=self.row.operation_id, missing_since=None)
        return mine.exists()

    def fill(self, source: Iterable[Extent], phase: str) -> None:
        """Send all that is still missing from `source`, which goes on where the row says that we are."""
        rest = Rest(iter(source))
        while self.row.carried < self.row.size:
            length = min(SEGMENT, self.row.size - self.row.carried)
            if not self.send(self.reported(rest.take(length), phase)):
                raise Failed(gettext_noop("It is shorter than was said."))

    def send(self, extents: Iterable[Extent]) -> int:
        """Send what comes, from where we are, in one stream; returns how much that was once the host has it."""
        sent = self.calls.upload(self.pool.uuid, self.row.name, self.row.carried, extents)
        uploads.carried(self.row, sent)
        return sent

    def reported(self, extents: Iterable[Extent], phase: str) -> Iterator[Extent]:
        """What passes, with word of it; here somebody may cancel."""
        at = self.row.carried
        for extent in extents:
            self.context.progress(phase, at, self.row.size)
            yield extent
            at += length_of(extent)

    def look_into(self, sha256: str, source_url: str = "") -> None:
        """Look for what an image must not hold, and keep its checksum and where it came from. Raises Failed.

        Either may be empty where it is not known.
        """
        self.calls.refresh(self.pool.uuid)
        if self.pool.type not in FILES:
            self.demand_a_disk()
        info = self.calls.inspect(self.pool.uuid, self.row.name)
        if info.backing_path:
            raise Failed(
                gettext_noop("The image is based on another file, and that is refused in an upload."),
                gettext_noop("Make it stand alone (qemu-img convert), and upload that."),
            )
        if info.capacity > MOST_VIRTUAL:
            raise Failed(gettext_noop("The image says that it is larger than any disk."))
        # As a disk it may be far larger than its file.
        self.reserve(info.capacity)
        inventory.remember_volumes(self.pool, [info])
        if sha256:
            inventory.remember_checksum(self.pool, info, sha256)
        if source_url:
            inventory.remember_source(self.pool, info, source_url)
        operations.beat(self.context.operation)

    def demand_a_disk(self) -> None:
        """Raise Failed for an image where a volume is the disk itself: a guest would see the image's own tables."""
        head = bytearray()
        self.calls.download(self.pool.uuid, self.row.name, 0, min(HEAD, self.row.size), head.extend)
        if head.startswith(BEGINNINGS):
            raise Failed(
                gettext_noop("In this pool a volume is the disk itself, and this is an image of another format."),
                gettext_noop("Convert it to raw first (qemu-img convert -O raw)."),
            )

    def is_whole(self) -> None:
        """From now on it is a volume like any other."""
        inventory.volume_is_whole(self.pool, self.row.name, self.context.operation)
        look_at_volumes(self.calls, self.pool, self.row.name)


def refuse_for_room(missing: int) -> None:
    """Raise Failed where bytes are missing in a pool."""
    if missing > 0:
        raise Failed(
            gettext_noop("The pool has not enough room: %(gib)s GiB are missing.") % {"gib": f"{missing / GIB:.1f}"},
            gettext_noop("Delete what is not needed, or choose another pool."),
        )


def fill_new(
    context: Context, pool: Pool, name: str, size: int, extents: Iterable[Extent], phase: str, *, capacity: int
) -> None:
    """Make a volume of so many bytes and fill it with what comes, in one go: it stays half made. Raises Failed.

    `capacity` is how many bytes it has as a disk, which is what counts in a quota.
    """
    calls = context.connection.storage
    with beginning(context, pool, name, capacity):
        calls.create_volume(pool.uuid, VolumeSpec(name, size, "raw"))
    if calls.upload(pool.uuid, name, 0, reported(context, extents, size, phase)) != size:
        raise Failed(gettext_noop("It is shorter than was said."))


def reported(context: Context, extents: Iterable[Extent], size: int, phase: str) -> Iterator[Extent]:
    """What comes, while it is told how many of so many bytes have come."""
    done = 0
    for extent in extents:
        context.progress(phase, done, size)
        yield extent
        done += length_of(extent)


def demand_format(context: Context, pool: Pool, name: str, kind: str) -> None:
    """Have the host look at the volume, and see that it takes it for what it is, and that it stands alone."""
    refresh_when_quiet(context, pool)
    info = context.connection.storage.inspect(pool.uuid, name)
    if info.format != kind:
        raise Failed(
            gettext_noop("The host takes the image for %(format)s, and it is %(kind)s.")
            % {"format": info.format, "kind": kind}
        )
    if info.backing_path or info.encrypted:
        raise Failed(gettext_noop("The image is encrypted or based on another file: make it stand alone first."))
    if info.capacity > MOST_VIRTUAL:
        raise Failed(gettext_noop("The image says that it is larger than any disk."))


def refresh_when_quiet(context: Context, pool: Pool) -> None:
    """Have the host look again at a pool as soon as nothing is made in it: until then libvirt does not look."""
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            context.connection.storage.refresh(pool.uuid)
        except HypervisorError as error:
            if BUSY not in str(error) or time.monotonic() > deadline:
                raise
            context.progress(gettext_noop("waiting until nothing else is made in the pool"))
            time.sleep(LOOK_SECONDS)
        else:
            return


@dataclass
class Rest:
    """What has not been taken of a source yet."""

    source: Iterator[Extent]
    left: Extent = 0

    def take(self, length: int) -> Iterator[Extent]:
        """The next `length` bytes; fewer when the source has no more."""
        while length:
            extent = self.left or next(self.source, 0)
            size = length_of(extent)
            if not size:
                return
            if size <= length:
                self.left = 0
            elif isinstance(extent, int):
                extent, self.left = length, extent - length
            else:
                extent, self.left = extent[:length], extent[length:]
            length -= length_of(extent)
            yield extent


def or_hole(data: bytes) -> Extent:
    """Data, or a hole where it is nothing but zeros: those take no room on the host then."""
    zeros = ZEROS if len(data) == len(ZEROS) else bytes(len(data))
    return len(data) if data == zeros else data

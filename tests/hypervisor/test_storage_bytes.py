"""What is in volumes: uploads, downloads and copies, how they fail and what they leave; real filesystems and guests."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import libvirt
import pytest

from tests.guests import Guest, virsh
from tests.hypervisor.stores import MIB, Store, close_store, here, ignore, on, open_store, with_bytes
from tests.hypervisor.subjects import HERE, PREFIX, SUBJECTS, THERE
from tests.lab.lab import LAB, SecondHost, run
from tests.until import until
from webvirt.hypervisor import streams
from webvirt.hypervisor.calls import Handle
from webvirt.hypervisor.connection import Connection, connect
from webvirt.hypervisor.errors import HostUnreachable, HypervisorError, InvalidSpec, NotFound, WrongState
from webvirt.hypervisor.storage import StorageCalls
from webvirt.hypervisor.streams import AT_HOLE, CHUNK, length_of
from webvirt.hypervisor.types import DomainState, Extent, Preallocation, VolumeSpec

FAKE, _, QEMU, QEMU_TCP = SUBJECTS
LARGE = 512 * MIB
"""Long enough to copy that the copier can be caught at it."""


class Cancelled(Exception):
    """What somebody raises out of progress."""


@contextmanager
def in_memory(connection: Connection, name: str, size: int) -> Iterator[Store]:
    """A pool on this host with so many MiB of memory for its disk."""
    folder = LAB / name
    folder.mkdir(parents=True)
    run("mount", "-t", "tmpfs", "-o", f"size={size}m", "tmpfs", str(folder))
    store = open_store(QEMU, connection, name)
    try:
        yield store
    finally:
        store.calls.stop(store.uuid)
        run("umount", str(folder))
        close_store(store)


@pytest.fixture
def quick(opened: Callable[[Any], Connection]) -> Iterator[Store]:
    """A pool with room for large volumes that no disk slows down."""
    with in_memory(opened(QEMU), f"{PREFIX}quick", 1536) as store:
        yield store


@pytest.fixture
def small(opened: Callable[[Any], Connection]) -> Iterator[Store]:
    """A pool with room for 8 MiB."""
    with in_memory(opened(QEMU), f"{PREFIX}small", 8) as store:
        yield store


# --- uploads and downloads


@with_bytes
def test_what_is_sent_comes_back(store: Store) -> None:
    data = secrets.token_bytes(3 * MIB + 7)
    store.put("v", data)
    assert store.bytes_of("v") == data
    part = bytearray()
    store.calls.download(store.uuid, "v", 11, MIB, part.extend)
    assert part == data[11 : 11 + MIB]


@with_bytes
def test_bytes_go_in_small_pieces(store: Store) -> None:
    store.make("v", 4 * MIB, format="raw")
    # However large what it is given.
    store.calls.upload(store.uuid, "v", 0, [bytes(700_000), bytes(MIB - 700_000)])
    pieces: list[bytes] = []
    store.calls.download(store.uuid, "v", 0, 0, pieces.append)
    assert sum(map(len, pieces)) == 4 * MIB
    assert max(map(len, pieces)) <= CHUNK


@with_bytes
@pytest.mark.parametrize("size", [1, 99_999, 100_000, 100_001, 300_000])
def test_a_download_in_slices_is_whole(store: Store, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "SLICE", 100_000)
    data = secrets.token_bytes(size)
    store.put("v", data)
    # A host may round a size up to whole sectors.
    assert store.bytes_of("v")[:size] == data
    part = bytearray()
    store.calls.download(store.uuid, "v", size // 3, size - size // 3, part.extend)
    assert part == data[size // 3 :]


@with_bytes
def test_an_upload_goes_on_where_it_was(store: Store) -> None:
    data = secrets.token_bytes(MIB)
    store.make("v", MIB, format="raw")
    assert store.calls.upload(store.uuid, "v", 0, [data[:300_000]]) == 300_000
    assert store.calls.upload(store.uuid, "v", 300_000, []) == 0
    for start, end in ((700_000, MIB), (300_000, 600_000), (500_000, 700_000)):
        assert store.calls.upload(store.uuid, "v", start, [data[start:end]]) == end - start
    assert store.bytes_of("v") == data


@with_bytes
def test_an_upload_that_its_reader_ends_leaves_the_volume(store: Store) -> None:
    store.make("v", MIB, format="raw")

    def given_up() -> Iterator[bytes]:
        yield bytes(1000)
        raise Cancelled

    with pytest.raises(Cancelled):
        store.calls.upload(store.uuid, "v", 0, given_up())
    assert store.names() == ["v"]
    assert store.bytes_of("v") == bytes(MIB)
    store.calls.delete_volume(store.uuid, "v")
    assert store.names() == []


class SlowStream:
    """A stream that takes a little at once, and may fail at the end."""

    def __init__(self, finish: Exception | None = None) -> None:
        self.taken = b""
        self.failure = finish
        self.aborted = False

    def send(self, data: bytes) -> int:
        self.taken += data[:1000]
        return min(1000, len(data))

    def finish(self) -> None:
        if self.failure:
            raise self.failure

    def abort(self) -> None:
        self.aborted = True


class OneVolume:
    """As much of a libvirt connection as an upload needs."""

    def __init__(self, stream: SlowStream) -> None:
        self.stream = stream

    def newStream(self, _flags: int) -> SlowStream:  # noqa: N802
        return self.stream

    def storagePoolLookupByUUIDString(self, _uuid: str) -> OneVolume:  # noqa: N802
        return self

    def storageVolLookupByName(self, _name: str) -> OneVolume:  # noqa: N802
        return self

    def upload(self, *_arguments: Any) -> None:
        """Begins."""


def test_a_host_that_takes_little_at_once() -> None:
    stream, data = SlowStream(), secrets.token_bytes(2500)
    StorageCalls(Handle(OneVolume(stream))).upload("u", "v", 0, [data])
    assert stream.taken == data
    assert not stream.aborted


def test_an_upload_that_fails_at_its_very_end() -> None:
    stream = SlowStream(libvirt.libvirtError("no space"))
    with pytest.raises(HypervisorError, match="no space"):
        StorageCalls(Handle(OneVolume(stream))).upload("u", "v", 0, [bytes(10)])
    assert stream.aborted


class EndlessVolume(OneVolume):
    """One that has as much as is asked for: a hole of `hole` bytes, and then data."""

    def __init__(self, hole: int) -> None:
        super().__init__(SlowStream())
        self.hole = hole
        self.asked: list[tuple[int, int]] = []
        self.at = self.end = 0

    def newStream(self, _flags: int) -> Any:  # noqa: N802
        return self

    def download(self, _stream: object, offset: int, length: int, _flags: int) -> None:
        self.asked.append((offset // MIB, length // MIB))
        self.at, self.end = offset, offset + length

    def recvFlags(self, most: int, _flags: int) -> bytes | int:  # noqa: N802
        if self.at < min(self.hole, self.end):
            return AT_HOLE
        size = min(most, self.end - self.at)
        self.at += size
        return bytes(size)

    def recvHole(self) -> int:  # noqa: N802
        size = min(self.hole, self.end) - self.at
        self.at += size
        return size

    def finish(self) -> None:
        """All of it was taken."""

    def abort(self) -> None:
        """No more of it is wanted."""


def test_no_more_is_on_its_way_than_a_slice() -> None:
    volume = EndlessVolume(hole=0)
    found = list(StorageCalls(Handle(volume)).extents("u", "v", MIB, 40 * MIB))
    assert sum(map(length_of, found)) == 40 * MIB
    assert volume.asked == [(1, 16), (17, 16), (33, 8)]


def test_a_large_hole_takes_few_streams_and_what_follows_is_sliced_again() -> None:
    volume = EndlessVolume(hole=100 * MIB)
    found = list(StorageCalls(Handle(volume)).extents("u", "v", 0, 140 * MIB))
    assert sum(length for length in found if isinstance(length, int)) == 100 * MIB
    assert sum(map(length_of, found)) == 140 * MIB
    assert volume.asked == [(0, 16), (16, 32), (48, 64), (100, 16), (116, 16), (132, 8)]


def test_a_host_that_freezes_in_the_middle(second: SecondHost) -> None:
    def freezing() -> Iterator[bytes]:
        for number in range(LARGE // CHUNK):
            if number == 8:
                second.freeze()
            yield bytes(CHUNK)

    with connect(THERE, keepalive=(1, 2)) as connection:
        store = open_store(QEMU_TCP, connection, f"{PREFIX}frozen")
        store.make("v", LARGE, format="raw")
        try:
            with pytest.raises(HostUnreachable):
                store.calls.upload(store.uuid, "v", 0, freezing())
        finally:
            second.thaw()
    with connect(THERE) as store.connection:
        close_store(store)


# --- copies


@with_bytes
def test_a_copy_in_another_format(store: Store) -> None:
    data = secrets.token_bytes(2 * MIB)
    store.put("source.img", data)
    store.calls.clone_volume(store.uuid, store.uuid, "source.img", VolumeSpec("copy.qcow2", 0), ignore)
    copy = store.calls.volume(store.uuid, "copy.qcow2")
    assert (copy.format, copy.capacity, copy.backing_path) == ("qcow2", 2 * MIB, "")
    store.calls.clone_volume(store.uuid, store.uuid, "copy.qcow2", VolumeSpec("back.img", 0, "raw"), ignore)
    assert store.bytes_of("back.img") == data


@with_bytes
def test_a_copy_may_be_larger_and_never_smaller(store: Store) -> None:
    store.put("source.img", b"x" * MIB)
    for format_ in ("raw", "qcow2"):
        spec = VolumeSpec(f"copy.{format_}", 3 * MIB, format_)
        store.calls.clone_volume(store.uuid, store.uuid, "source.img", spec, ignore)
        assert store.calls.volume(store.uuid, spec.name).capacity == 3 * MIB
    with pytest.raises(WrongState):
        store.calls.clone_volume(store.uuid, store.uuid, "source.img", VolumeSpec("small", 1024, "raw"), ignore)
    assert store.names() == ["copy.qcow2", "copy.raw", "source.img"]


@with_bytes
def test_a_copy_holds_what_its_source_builds_on(store: Store) -> None:
    base = str(store.folder / store.put("base.img", b"base" * (MIB // 4)))
    store.make("over.qcow2", 0, backing_path=base, backing_format="raw")
    store.calls.clone_volume(store.uuid, store.uuid, "over.qcow2", VolumeSpec("copy.img", 0, "raw"), ignore)
    if store.subject.name != "fake":
        assert store.bytes_of("copy.img") == b"base" * (MIB // 4)
    assert store.calls.volume(store.uuid, "copy.img").backing_path == ""


@on("fake")
def test_a_cancelled_copy_leaves_nothing(store: Store) -> None:
    store.put("source.img", b"x" * MIB)

    def cancel(done: int, total: int) -> None:
        assert 0 <= done <= total == MIB
        raise Cancelled

    with pytest.raises(Cancelled):
        store.calls.clone_volume(store.uuid, store.uuid, "source.img", VolumeSpec("copy", 0), cancel)
    assert store.names() == ["source.img"]


def copier_of(path: Path) -> int:
    """The process that writes this file for libvirt, once it has written some of it; 0 before."""
    if not path.exists() or path.stat().st_size < MIB:
        return 0
    for line in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            words = line.read_bytes().split(b"\0")
            if words[0].endswith(b"qemu-img") and str(path).encode() in words:
                return int(line.parent.name)
    return 0


@contextmanager
def frozen_copy(store: Store, progress: Callable[[int, int], None]) -> Iterator[tuple[Future[None], int]]:
    """A copy of a large volume to `copy.qcow2` that stands still in the middle, and goes on at the end."""
    piece = secrets.token_bytes(MIB)
    with (store.folder / "source.img").open("wb") as file:
        file.writelines(piece for _ in range(LARGE // MIB))
    store.calls.refresh(store.uuid)
    with ThreadPoolExecutor() as threads:
        spec = VolumeSpec("copy.qcow2", 0)
        future = threads.submit(store.calls.clone_volume, store.uuid, store.uuid, "source.img", spec, progress)
        pid = until(lambda: copier_of(store.folder / "copy.qcow2"), every=0.001, what="the copier")
        os.kill(pid, signal.SIGSTOP)
        try:
            yield future, pid
        finally:
            os.kill(pid, signal.SIGCONT)
    until(lambda: not Path(f"/proc/{pid}").exists(), what="the copier ended")


def test_a_copy_tells_how_far_it_is(quick: Store) -> None:
    seen: list[tuple[int, int]] = []
    with frozen_copy(quick, lambda done, total: seen.append((done, total))) as (future, _pid):
        until(lambda: seen and seen[-1][0], what="something is written")
        assert not future.done()
    future.result(10)
    assert all(0 <= done <= total and abs(total - LARGE) < MIB for done, total in seen)
    assert quick.names() == ["copy.qcow2", "source.img"]


def test_a_cancelled_copy_is_removed_once_libvirt_lets_go(quick: Store) -> None:
    asked = threading.Event()

    def cancel(_done: int, _total: int) -> None:
        asked.set()
        raise Cancelled

    with frozen_copy(quick, cancel) as (future, _pid), connect(HERE) as other:
        assert asked.wait(5)
        # libvirt neither stops a copy nor deletes what it still writes.
        with pytest.raises(WrongState, match="still being allocated"):
            other.storage.delete_volume(quick.uuid, "copy.qcow2")
        with pytest.raises(WrongState, match="still in use"):
            other.storage.delete_volume(quick.uuid, "source.img")
        with pytest.raises(HypervisorError, match="asynchronous jobs"):
            other.storage.refresh(quick.uuid)
    with pytest.raises(Cancelled):
        future.result(30)
    assert quick.names() == ["source.img"]


def test_a_copy_whose_connection_breaks_goes_on_without_us(second: SecondHost) -> None:
    with connect(THERE) as connection:
        store = open_store(QEMU_TCP, connection, f"{PREFIX}broken")
        with frozen_copy(store, ignore) as (future, pid):
            second.kill()
            with pytest.raises(HostUnreachable):
                future.result(20)
            second.up()
            assert Path(f"/proc/{pid}").exists(), "libvirt's death is not the copier's"
    with connect(THERE) as connection:
        store.connection = connection
        assert store.names() == ["copy.qcow2", "source.img"], "and it looks like any other"
        store.calls.delete_volume(store.uuid, "copy.qcow2")
        assert store.names() == ["source.img"]
        close_store(store)


# --- encryption


@pytest.fixture
def passphrase(tmp_path: Path) -> Iterator[str]:
    """The uuid of a secret on the host."""
    secret = str(uuid.uuid4())
    xml = tmp_path / "secret.xml"
    xml.write_text(f"<secret ephemeral='no' private='yes'><uuid>{secret}</uuid></secret>")
    virsh("secret-define", str(xml))
    value = tmp_path / "value"
    value.write_text("a passphrase")
    virsh("secret-set-value", secret, "--file", str(value), "--plain")
    yield secret
    virsh("secret-undefine", secret)


@pytest.fixture
def theirs(store: Store, tmp_path: Path) -> Iterator[Callable[[str], str]]:
    """Makes a secret of the same value that is for a volume of this name; returns its uuid."""
    made = []

    def make(name: str) -> str:
        made.append(str(uuid.uuid4()))
        xml, value = tmp_path / "theirs.xml", tmp_path / "value"
        usage = f"<usage type='volume'><volume>{store.folder / name}</volume></usage>"
        xml.write_text(f"<secret ephemeral='no' private='yes'><uuid>{made[-1]}</uuid>{usage}</secret>")
        virsh("secret-define", str(xml))
        virsh("secret-set-value", made[-1], "--file", str(value), "--plain")
        return made[-1]

    yield make
    for secret in made:
        virsh("secret-undefine", secret)


@here
def test_an_encrypted_volume(store: Store, passphrase: str, theirs: Callable[[str], str]) -> None:
    store.make("v", 2 * MIB, format="raw", secret=passphrase)
    info = store.calls.volume(store.uuid, "v")
    assert (info.encrypted, info.secret, info.capacity) == (True, passphrase, 2 * MIB)
    store.calls.refresh(store.uuid)
    info = store.calls.volume(store.uuid, "v")
    assert (info.encrypted, info.secret, info.capacity) == (True, "", 2 * MIB)
    # Its secret is forgotten, so what has to open it is refused before anything is touched.
    before = (store.folder / "v").read_bytes()
    copy = VolumeSpec("copy.qcow2", 0)
    with pytest.raises(WrongState, match="with which secret"):
        store.calls.clone_volume(store.uuid, store.uuid, "v", copy, ignore)
    with pytest.raises(WrongState, match="with which secret"):
        store.calls.resize_volume(store.uuid, "v", 3 * MIB)
    assert ((store.folder / "v").read_bytes(), store.names()) == (before, ["v"])
    # A secret that is for it by its path is found again, now and after each refresh.
    secret = theirs("v")
    store.calls.refresh(store.uuid)
    assert store.calls.volume(store.uuid, "v").secret == secret
    store.calls.resize_volume(store.uuid, "v", 3 * MIB)
    # Its copy is encrypted as well, in whatever format.
    store.calls.clone_volume(store.uuid, store.uuid, "v", copy, ignore)
    info = store.calls.volume(store.uuid, "copy.qcow2")
    assert (info.encrypted, info.secret, info.format, info.capacity) == (True, secret, "qcow2", 3 * MIB)
    assert is_luks(store, "copy.qcow2")


@here
def test_what_cannot_be_encrypted_makes_nothing(store: Store, passphrase: str) -> None:
    with pytest.raises(NotFound):
        store.make("stranger", MIB, secret=str(uuid.uuid4()))
    for space in (Preallocation.METADATA, Preallocation.FULL):
        with pytest.raises(InvalidSpec):
            store.make("space", MIB, format="raw", preallocation=space, secret=passphrase)
    assert store.names() == []


@here
def test_on_what_is_encrypted_nothing_is_built(store: Store, passphrase: str) -> None:
    store.make("base.qcow2", MIB)
    base = str(store.folder / "base.qcow2")
    # The other way round is well: what a guest writes is encrypted, what was there before is not.
    store.make("top.qcow2", 0, backing_path=base, backing_format="qcow2", secret=passphrase)
    assert store.calls.volume(store.uuid, "top.qcow2").backing_path == base
    top = str(store.folder / "top.qcow2")
    with pytest.raises(InvalidSpec, match=r"encrypted.*top\.qcow2"):
        store.make("more.qcow2", 0, backing_path=top, backing_format="qcow2")
    assert store.names() == ["base.qcow2", "top.qcow2"]


def is_luks(store: Store, name: str) -> bool:
    """Whether QEMU itself, who knows no secret, finds it encrypted."""
    return json.loads(run("qemu-img", "info", "-U", "--output", "json", str(store.folder / name)))["encrypted"] is True


# --- holes


@with_bytes
def test_holes_are_told_and_not_carried(store: Store) -> None:
    data = secrets.token_bytes(2 * MIB)
    store.make("v", 64 * MIB, format="raw")
    parts: list[tuple[int, list[Extent]]] = [
        (0, [data[:MIB], 31 * MIB]),
        (32 * MIB, [16 * MIB, data[MIB:], 15 * MIB]),
    ]
    for offset, extents in parts:
        assert store.calls.upload(store.uuid, "v", offset, extents) == 32 * MIB
    found = list(store.calls.extents(store.uuid, "v"))
    assert sum(len(part) for part in found if isinstance(part, bytes)) < 3 * MIB
    assert sum(length_of(part) for part in found) == 64 * MIB
    assert store.bytes_of("v") == data[:MIB] + bytes(47 * MIB) + data[MIB:] + bytes(15 * MIB)
    assert sum(map(length_of, store.calls.extents(store.uuid, "v", 40 * MIB, 9 * MIB))) == 9 * MIB


@here
def test_what_was_sent_with_holes_takes_no_more_room(store: Store) -> None:
    store.make("v", 64 * MIB, format="raw")
    store.calls.upload(store.uuid, "v", 0, [32 * MIB, b"x" * MIB, 31 * MIB])
    store.calls.refresh(store.uuid)
    info = store.calls.volume(store.uuid, "v")
    assert (info.capacity, info.physical) == (64 * MIB, 64 * MIB)
    assert info.allocation < 2 * MIB


# --- a full disk


def test_an_upload_that_fills_the_pool_leaves_a_volume(small: Store) -> None:
    small.make("v", 16 * MIB, format="raw")
    with pytest.raises(HypervisorError, match="No space left") as failure:
        small.calls.upload(small.uuid, "v", 0, [bytes([1]) * 16 * MIB])
    assert not isinstance(failure.value, HostUnreachable), "the connection is well"
    left = small.calls.volume(small.uuid, "v")
    assert left.capacity == 16 * MIB, "nothing tells that it is half made"
    small.calls.delete_volume(small.uuid, "v")
    small.put("w", b"x" * MIB)
    assert small.names() == ["w"]


def test_what_does_not_fit_is_not_half_made(small: Store) -> None:
    small.put("source.img", b"x" * 5 * MIB)
    with pytest.raises(HypervisorError, match="No space left"):
        small.calls.clone_volume(small.uuid, small.uuid, "source.img", VolumeSpec("copy", 0), ignore)
    with pytest.raises(HypervisorError):
        small.make("whole", 16 * MIB, format="raw", preallocation="full")
    assert small.names() == ["source.img"]


def test_a_fake_pool_is_full_in_the_same_way() -> None:
    store = open_store(FAKE, FAKE.open(), f"{PREFIX}small")
    store.calls.known[store.uuid].capacity = 8 * MIB  # type: ignore[attr-defined]
    store.make("v", 16 * MIB, format="raw")
    with pytest.raises(HypervisorError, match="No space left"):
        store.calls.upload(store.uuid, "v", 0, [bytes(16 * MIB)])
    assert store.calls.volume(store.uuid, "v").capacity == 16 * MIB
    with pytest.raises(HypervisorError, match="No space left"):
        store.calls.clone_volume(store.uuid, store.uuid, "v", VolumeSpec("copy", 0), ignore)
    assert store.names() == ["v"]


# --- a running guest's disk


@here
def test_a_running_guests_disk_grows(store: Store) -> None:
    path = store.folder / store.make("disk.qcow2", 4 * MIB)
    guest = Guest(f"{PREFIX}disk")
    disk = f"<disk type='file'><driver name='qemu' type='qcow2'/><source file='{path}'/><target dev='vda'/></disk>"
    xml = guest.xml().replace("<devices>", f"<devices>{disk}")
    subprocess.run(["virsh", "-q", "define", "/dev/stdin"], input=xml, text=True, check=True, timeout=60)
    try:
        with pytest.raises(WrongState):
            store.calls.resize_disk(guest.uuid, "vda", 8 * MIB)
        guest.virsh("start")
        for disk_name, size in (("vda", 8 * MIB), (str(path), 12 * MIB)):
            store.calls.resize_disk(guest.uuid, disk_name, size)
            assert store.calls.volume(store.uuid, "disk.qcow2").capacity == size
        with pytest.raises(WrongState, match=f"{12 * MIB} bytes.*{MIB}:"):
            store.calls.resize_disk(guest.uuid, "vda", MIB)
        with pytest.raises(InvalidSpec):
            store.calls.resize_disk(guest.uuid, "vdz", MIB)
        with pytest.raises(NotFound):
            store.calls.resize_disk(str(uuid.uuid4()), "vda", 16 * MIB)
    finally:
        guest.remove()


@on("fake")
def test_a_fake_guests_disk_grows_in_the_same_way(store: Store) -> None:
    domain = store.connection.define("d", disks={"vda": 4 * MIB})  # type: ignore[union-attr]
    with pytest.raises(WrongState):
        store.calls.resize_disk(domain.uuid, "vda", 8 * MIB)
    domain.state = DomainState.RUNNING
    store.calls.resize_disk(domain.uuid, "vda", 8 * MIB)
    assert domain.disks == {"vda": 8 * MIB}
    with pytest.raises(WrongState):
        store.calls.resize_disk(domain.uuid, "vda", MIB)
    with pytest.raises(InvalidSpec):
        store.calls.resize_disk(domain.uuid, "vdz", MIB)

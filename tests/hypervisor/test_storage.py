"""Storage pools and volumes: one contract, held against every kind of host."""

from __future__ import annotations

import queue
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import islice

import libvirt
import pytest

from tests.fakes import FakeConnection
from tests.hypervisor.stores import IMAGINED, MIB, Store, here, ignore, with_bytes
from tests.hypervisor.subjects import PREFIX, TEST_HOST
from tests.hypervisor.test_small_parts import libvirt_error
from webvirt.hypervisor.calls import Handle
from webvirt.hypervisor.connection import connect
from webvirt.hypervisor.errors import HypervisorError, InvalidSpec, NotFound, WrongState
from webvirt.hypervisor.storage import StorageCalls
from webvirt.hypervisor.types import ObjectEvent, PoolSpec, PoolState, PoolType, Preallocation, VolumeSpec

STRANGER = str(uuid.uuid4())


# --- pools


def test_a_pool_is_listed(store: Store) -> None:
    (listed,) = [each for each in store.calls.list() if each.uuid == store.uuid]
    assert (listed.name, listed.state) == (store.name, PoolState.RUNNING)
    assert (listed.persistent, listed.autostart) == (True, False)
    assert 0 < listed.available <= listed.capacity
    assert listed == store.look()
    assert listed in store.calls.summaries([store.uuid, STRANGER])
    assert listed == store.calls.read(store.uuid).summary


def test_strangers_are_left_out(store: Store) -> None:
    assert store.calls.summaries([STRANGER]) == []
    assert store.calls.summaries([]) == []


def test_a_pool_is_read(store: Store) -> None:
    reading = store.calls.read(store.uuid)
    assert (reading.info.uuid, reading.info.name, reading.info.type) == (store.uuid, store.name, "dir")
    assert reading.info.target_path == str(store.folder)
    assert store.uuid in reading.xml


@with_bytes
def test_what_the_host_can_run(store: Store) -> None:
    support = {each.type: each for each in store.connection.host.info().pools}
    assert support["dir"].supported
    assert "qcow2" in support["dir"].volume_formats


def test_stop_and_start(store: Store) -> None:
    store.calls.stop(store.uuid)
    stopped = store.look()
    assert (stopped.state, stopped.capacity, stopped.allocation, stopped.available) == (PoolState.INACTIVE, 0, 0, 0)
    store.calls.start(store.uuid)
    started = store.look()
    assert (started.state, started.capacity > 0) == (PoolState.RUNNING, True)


def test_autostart(store: Store) -> None:
    for enabled in (True, False):
        store.calls.set_autostart(store.uuid, enabled)
        assert store.look().autostart is enabled
        (listed,) = [each for each in store.calls.list() if each.uuid == store.uuid]
        assert listed.autostart is enabled


def test_a_pool_is_deleted_and_forgotten(store: Store) -> None:
    store.calls.stop(store.uuid)
    store.calls.delete(store.uuid)
    assert not store.folder.exists()
    assert store.look().state == PoolState.INACTIVE
    store.calls.undefine(store.uuid)
    assert store.calls.summaries([store.uuid]) == []


@with_bytes
def test_what_is_not_empty_is_not_deleted(store: Store) -> None:
    store.make("kept")
    store.calls.stop(store.uuid)
    with pytest.raises(HypervisorError):
        store.calls.delete(store.uuid)
    store.calls.start(store.uuid)
    assert store.names() == ["kept"]


@with_bytes
def test_a_start_makes_the_folder_when_asked(store: Store) -> None:
    store.calls.stop(store.uuid)
    store.calls.delete(store.uuid)
    with pytest.raises(HypervisorError):
        store.calls.start(store.uuid)
    assert store.look().state == PoolState.INACTIVE
    store.calls.start(store.uuid, build=True)
    assert store.look().state == PoolState.RUNNING


def test_a_pools_name_is_taken_once(store: Store) -> None:
    with pytest.raises(HypervisorError, match="already exists"):
        store.calls.define(PoolSpec(store.name, PoolType.DIR, f"{store.folder}-2"))
    assert store.calls.read(store.uuid).info.target_path == str(store.folder)


def calls_of_a_pool(uuid: str) -> Iterator[tuple[str, Callable[[StorageCalls], object]]]:
    spec = VolumeSpec("v", MIB)
    for verb in ("read", "build", "start", "stop", "refresh", "undefine", "delete", "volumes"):
        yield verb, lambda calls, verb=verb: getattr(calls, verb)(uuid)  # type: ignore[misc]
    yield "set_autostart", lambda calls: calls.set_autostart(uuid, True)
    yield "volume", lambda calls: calls.volume(uuid, "v")
    yield "volumes_info", lambda calls: list(calls.volumes_info(uuid, ["v"]))
    yield "create_volume", lambda calls: calls.create_volume(uuid, spec)
    yield "delete_volume", lambda calls: calls.delete_volume(uuid, "v")
    yield "resize_volume", lambda calls: calls.resize_volume(uuid, "v", MIB)
    yield "wipe_volume", lambda calls: calls.wipe_volume(uuid, "v")
    yield "clone_volume", lambda calls: calls.clone_volume(uuid, uuid, "v", spec, ignore)
    yield "upload", lambda calls: calls.upload(uuid, "v", 0, [b"x"])
    yield "extents", lambda calls: list(calls.extents(uuid, "v"))
    yield "download", lambda calls: calls.download(uuid, "v", 0, 1, lambda _data: None)


POOL_CALLS = dict(calls_of_a_pool(STRANGER))


@pytest.mark.parametrize("verb", POOL_CALLS)
def test_a_stranger_is_not_found(store: Store, verb: str) -> None:
    with pytest.raises(NotFound):
        POOL_CALLS[verb](store.calls)


def test_what_the_state_forbids(store: Store) -> None:
    # The test driver knows what is wrong, though not that it is the state.
    kind = HypervisorError if store.subject.name == IMAGINED else WrongState
    for verb in ("start", "undefine", "delete"):
        with pytest.raises(kind):
            getattr(store.calls, verb)(store.uuid)
    store.calls.stop(store.uuid)
    for verb in ("stop", "refresh", "volumes"):
        with pytest.raises(kind):
            getattr(store.calls, verb)(store.uuid)


def test_what_happens_is_heard(store: Store) -> None:
    heard: queue.SimpleQueue[object] = queue.SimpleQueue()
    # A connection is listened to once, and the tests share theirs.
    listener = store.connection if isinstance(store.connection, FakeConnection) else store.subject.open()
    listener.listen(heard.put, lambda _why: None)

    def hears(key: str, *words: str) -> None:
        for word in words:
            while (event := heard.get(timeout=5)) != ObjectEvent("pool", key, word):
                # Others have pools as well.
                assert not isinstance(event, ObjectEvent) or event.key != key, event

    calls, uuid = store.calls, store.uuid
    calls.refresh(uuid)
    hears(uuid, "refreshed")
    calls.stop(uuid)
    hears(uuid, "stopped")
    calls.delete(uuid)
    hears(uuid, "deleted")
    calls.build(uuid)
    hears(uuid, "created")
    calls.start(uuid)
    hears(uuid, "started")
    calls.stop(uuid)
    calls.undefine(uuid)
    hears(uuid, "stopped", "undefined")
    again = calls.define(PoolSpec(store.name, PoolType.DIR, str(store.folder)))
    hears(again, "defined")
    calls.undefine(again)
    hears(again, "undefined")
    if listener is not store.connection:
        listener.close()


def test_the_list_takes_four_calls_and_one_for_each_that_runs(count: Counter[str]) -> None:
    with connect(TEST_HOST) as connection:
        calls = connection.storage
        uuids = [calls.define(PoolSpec(f"{PREFIX}{n}", PoolType.DIR, f"/srv/{n}")) for n in range(20)]
        try:
            calls.start(uuids[0])
            count.clear()
            listed = calls.list()
            running = sum(summary.state == PoolState.RUNNING for summary in listed)
            assert sum(count.values()) == 4 + running, count
            assert {summary.uuid for summary in listed} >= set(uuids)
            count.clear()
            calls.summaries(uuids[:1])
            assert sum(count.values()) <= 4, count
        finally:
            calls.stop(uuids[0])
            for each in uuids:
                calls.undefine(each)


class Vanishing:
    """A libvirt connection whose only pool goes away between two calls."""

    def __init__(self, code: int) -> None:
        self.code = code

    def listAllStoragePools(self, _flags: int) -> list[Vanishing]:  # noqa: N802
        return [self]

    def UUIDString(self) -> str:  # noqa: N802
        return STRANGER

    def info(self) -> None:
        raise libvirt_error(self.code, libvirt.VIR_FROM_STORAGE)


def test_a_pool_that_goes_while_they_are_listed_is_left_out() -> None:
    assert StorageCalls(Handle(Vanishing(libvirt.VIR_ERR_NO_STORAGE_POOL))).list() == []
    with pytest.raises(HypervisorError):
        StorageCalls(Handle(Vanishing(libvirt.VIR_ERR_INTERNAL_ERROR))).list()


def test_closing_lets_go_of_every_callback(monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[int] = []
    close = libvirt.virConnect.close
    monkeypatch.setattr(libvirt.virConnect, "close", lambda raw: held.append(close(raw)))
    connection = connect(TEST_HOST)
    connection.listen(lambda _event: None, lambda _why: None)
    connection.close()
    assert held == [0]


# --- volumes


def test_a_volume_comes_and_goes(store: Store) -> None:
    store.make("web.qcow2", 8 * MIB)
    store.make("db.img", 4 * MIB, format="raw")
    assert store.names() == ["db.img", "web.qcow2"]
    info = store.calls.volume(store.uuid, "web.qcow2")
    assert (info.name, info.kind, info.capacity, info.encrypted) == ("web.qcow2", "file", 8 * MIB, False)
    assert info.path == info.key == str(store.folder / "web.qcow2")
    store.calls.delete_volume(store.uuid, "web.qcow2")
    assert store.names() == ["db.img"]
    with pytest.raises(NotFound):
        store.calls.volume(store.uuid, "web.qcow2")


@with_bytes
def test_formats_and_allocation(store: Store) -> None:
    store.make("thin.qcow2", 8 * MIB)
    store.make("thin.img", 8 * MIB, format="raw")
    store.make("whole.img", 8 * MIB, format="raw", preallocation=Preallocation.FULL)
    store.make("whole.qcow2", 8 * MIB, preallocation=Preallocation.FULL)
    store.make("tables.qcow2", 8 * MIB, preallocation=Preallocation.METADATA)
    infos = {info.name: info for info in store.calls.volumes_info(store.uuid, store.names())}
    assert {info.capacity for info in infos.values()} == {8 * MIB}
    assert {name for name, info in infos.items() if info.allocation >= 8 * MIB} == {"whole.img", "whole.qcow2"}
    assert all(info.format == ("qcow2" if name.endswith("qcow2") else "raw") for name, info in infos.items())
    assert all(info.modified_at for info in infos.values())


def test_a_volumes_name_is_taken_once(store: Store) -> None:
    store.make("v", MIB)
    with pytest.raises(HypervisorError if store.subject.name == IMAGINED else WrongState, match="exists"):
        store.make("v", 2 * MIB)
    with pytest.raises(WrongState):
        store.calls.clone_volume(store.uuid, store.uuid, "v", VolumeSpec("v", 0), ignore)
    assert store.calls.volume(store.uuid, "v").capacity == MIB


def test_a_name_that_is_none_is_refused(store: Store) -> None:
    for name in ("../x", "-rf", "a\nb", "", "x/y"):
        with pytest.raises(InvalidSpec):
            store.make(name)
    assert store.names() == []


def test_many_volumes_are_read_in_slices(store: Store) -> None:
    names = [store.make(f"v{n:02}") for n in range(12)]
    infos = store.calls.volumes_info(store.uuid, [*names, "stranger"])
    assert [info.name for info in islice(infos, 5)] == names[:5]
    store.calls.delete_volume(store.uuid, "v07")
    assert [info.name for info in infos] == [name for name in names[5:] if name != "v07"]


@here
def test_reading_volumes_holds_no_turn_on_the_connection(store: Store, count: Counter[str]) -> None:
    names = [store.make(f"v{n}") for n in range(3)]
    count.clear()
    readers = [store.calls.volumes_info(store.uuid, names) for _ in range(6)]
    assert [next(reader).name for reader in readers] == ["v0"] * 6
    assert store.names() == names
    assert count["virStorageVol.XMLDesc"] == 6


@with_bytes
def test_what_a_volume_builds_on(store: Store) -> None:
    base = str(store.folder / store.put("base.img", b"base" * 1024 * 256))
    store.make("over.qcow2", 0, backing_path=base, backing_format="raw")
    info = store.calls.volume(store.uuid, "over.qcow2")
    assert (info.backing_path, info.backing_format, info.capacity) == (base, "raw", MIB)
    with pytest.raises(NotFound, match="no running pool"):
        store.make("other.qcow2", MIB, backing_path="/var/tmp/stranger", backing_format="raw")
    assert store.names() == ["base.img", "over.qcow2"]


@with_bytes
def test_a_volume_grows_and_never_shrinks(store: Store) -> None:
    for format_ in ("raw", "qcow2"):
        store.make(format_, MIB, format=format_)
        store.calls.resize_volume(store.uuid, format_, 2 * MIB)
        store.calls.resize_volume(store.uuid, format_, 2 * MIB)
        with pytest.raises(WrongState, match=f"{2 * MIB} bytes.*{MIB}:"):
            store.calls.resize_volume(store.uuid, format_, MIB)
        assert store.calls.volume(store.uuid, format_).capacity == 2 * MIB


@with_bytes
def test_a_wiped_volume_is_zeros(store: Store) -> None:
    store.make("v", 8192, format="raw")
    if store.subject.name == "fake":
        store.calls.upload(store.uuid, "v", 0, [b"x" * 8192])
    else:
        # Behind libvirt's back, as a guest would: it does not know how much there is to wipe.
        (store.folder / "v").write_bytes(b"x" * 8192)
    store.calls.wipe_volume(store.uuid, "v")
    assert store.bytes_of("v") == bytes(8192)
    store.make("q.qcow2")
    store.calls.wipe_volume(store.uuid, "q.qcow2")
    assert store.calls.volume(store.uuid, "q.qcow2").format == "raw", "nothing tells that it was one"

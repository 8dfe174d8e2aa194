"""What can be asked of and done to storage pools and their volumes. Each is looked up for each call."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

import libvirt

from webvirt.hypervisor.calls import Handle, watched
from webvirt.hypervisor.errors import HypervisorError, InvalidSpec, NotFound, WrongState
from webvirt.hypervisor.images import HEAD, check_image
from webvirt.hypervisor.streams import CHUNK, flowing, received, send_all, written_out
from webvirt.hypervisor.types import (
    Extent,
    PoolReading,
    PoolSpec,
    PoolState,
    PoolSummary,
    PoolType,
    Preallocation,
    VolumeInfo,
    VolumeSpec,
)
from webvirt.hypervisor.xml.storage import build_pool, build_volume, parse_pool, parse_volume

STATES = {
    libvirt.VIR_STORAGE_POOL_INACTIVE: PoolState.INACTIVE,
    libvirt.VIR_STORAGE_POOL_BUILDING: PoolState.BUILDING,
    libvirt.VIR_STORAGE_POOL_RUNNING: PoolState.RUNNING,
    libvirt.VIR_STORAGE_POOL_DEGRADED: PoolState.DEGRADED,
    libvirt.VIR_STORAGE_POOL_INACCESSIBLE: PoolState.INACCESSIBLE,
}
STOPPED = (libvirt.VIR_STORAGE_POOL_INACTIVE, 0, 0, 0)
FORMATTED = (PoolType.FS, PoolType.LOGICAL, PoolType.DISK)
"""Types whose building writes on a device, and may have to overwrite what is there."""
KEY_TRIES = 8
"""Some seconds each; about one in eight fails where QEMU cannot see how fast keys are computed."""
LONGEST_CHAIN = 64
"""Backing volumes under one another; QEMU itself gives up far below."""


class StorageCalls:
    """The pools of one host, by uuid, and their volumes, by pool and name.

    Every method raises a HypervisorError of the kind that fits: NotFound for what is not there, WrongState for a volume
    of a pool that does not run.
    """

    def __init__(self, handle: Handle) -> None:
        self._handle = handle

    # --- reading pools

    def list(self) -> builtins.list[PoolSummary]:
        """Every pool of the host: four calls, and one more for each that runs. None of them touches a disk.

        Sizes are as of the pool's last refresh, or of what libvirt itself did in it since.
        """
        with self._handle.call() as raw:
            everything = raw.listAllStoragePools(0)
            active = uuids_of(raw.listAllStoragePools(libvirt.VIR_CONNECT_LIST_STORAGE_POOLS_ACTIVE))
            autostart = uuids_of(raw.listAllStoragePools(libvirt.VIR_CONNECT_LIST_STORAGE_POOLS_AUTOSTART))
            transient = uuids_of(raw.listAllStoragePools(libvirt.VIR_CONNECT_LIST_STORAGE_POOLS_TRANSIENT))
            found = []
            for pool in everything:
                uuid = pool.UUIDString()
                with suppress_gone():
                    info = pool.info() if uuid in active else STOPPED
                    found.append(summary_of(pool, info, persistent=uuid not in transient, autostart=uuid in autostart))
        return found

    def summaries(self, uuids: Iterable[str]) -> builtins.list[PoolSummary]:
        """The lines of a few; those that are not there (any more) are left out. Several are read as the whole list."""
        wanted = set(uuids)
        if len(wanted) > 1:
            return [summary for summary in self.list() if summary.uuid in wanted]
        found = []
        for uuid in wanted:
            with suppress(NotFound), self._handle.pool(uuid) as pool:
                found.append(look_at(pool))
        return found

    def read(self, uuid: str) -> PoolReading:
        """Everything one look at a pool brings."""
        with self._handle.pool(uuid) as pool:
            summary, xml = look_at(pool), pool.XMLDesc(0)
        return PoolReading(summary, parse_pool(xml), xml)

    # --- pools

    def define(self, spec: PoolSpec) -> str:
        """Make a pool known, stopped and without autostart; returns its uuid. Nothing on the host is touched yet."""
        xml = build_pool(spec)
        with self._handle.call() as raw:
            return str(raw.storagePoolDefineXML(xml, 0).UUIDString())

    def build(self, uuid: str, *, overwrite: bool = False) -> None:
        """Make what a stopped pool is to be made of: its folder, a filesystem, a volume group, a partition table.

        A device that holds something already is only written on with `overwrite`: all of it is lost.
        """
        with self._handle.pool(uuid) as pool:
            flags = libvirt.VIR_STORAGE_POOL_BUILD_NEW
            if parse_pool(pool.XMLDesc(0)).type in FORMATTED:
                flags = (
                    libvirt.VIR_STORAGE_POOL_BUILD_OVERWRITE
                    if overwrite
                    else libvirt.VIR_STORAGE_POOL_BUILD_NO_OVERWRITE
                )
            pool.build(flags)

    def start(self, uuid: str, *, build: bool = False) -> None:
        """Start it: mount or sign in, and list its volumes.

        With `build` its folder is made before, and a volume group or partition table: WrongState if the device has one.
        """
        with self._handle.pool(uuid) as pool:
            pool.create(libvirt.VIR_STORAGE_POOL_CREATE_WITH_BUILD if build else libvirt.VIR_STORAGE_POOL_CREATE_NORMAL)

    def stop(self, uuid: str) -> None:
        """Stop it, which unmounts or signs out; what is in it stays. A transient pool is gone then."""
        with self._handle.pool(uuid) as pool:
            pool.destroy()

    def refresh(self, uuid: str) -> None:
        """Have the host look again at what is in it. Fails while a volume of it is being made or copied."""
        with self._handle.pool(uuid) as pool:
            pool.refresh(0)

    def set_autostart(self, uuid: str, enabled: bool) -> None:
        """Whether it starts with its host's libvirt."""
        with self._handle.pool(uuid) as pool:
            pool.setAutostart(int(enabled))

    def undefine(self, uuid: str) -> None:
        """Forget a stopped pool; what is in it stays."""
        with self._handle.pool(uuid) as pool:
            pool.undefine()

    def delete(self, uuid: str) -> None:
        """Remove what a stopped pool is made of, such as its folder if that is empty, or its volume group.

        The definition stays: see `undefine`.
        """
        with self._handle.pool(uuid) as pool:
            pool.delete(libvirt.VIR_STORAGE_POOL_DELETE_NORMAL)

    # --- reading volumes

    def volumes(self, uuid: str) -> builtins.list[str]:
        """The names of all volumes, sorted: two calls however many there are. The host does not look again for it."""
        with self._handle.pool(uuid) as pool:
            return sorted(volume.name() for volume in pool.listAllVolumes(0))

    def volume(self, uuid: str, name: str) -> VolumeInfo:
        """A volume as it is now."""
        with self._handle.volume(uuid, name) as volume:
            return parse_volume(volume.XMLDesc(0))

    def volumes_info(self, uuid: str, names: Iterable[str]) -> Iterator[VolumeInfo]:
        """Those volumes of a pool in that order, each as it is asked for: two calls, and one for each.

        No turn on the connection is held in between. Those that are not there (any more) are left out.
        """
        with self._handle.pool(uuid) as pool:
            by_name = {volume.name(): volume for volume in pool.listAllVolumes(0)}
        for volume in [by_name[name] for name in names if name in by_name]:
            try:
                with self._handle.call():
                    xml = volume.XMLDesc(0)
            except NotFound:
                continue
            yield parse_volume(xml)

    def inspect(self, uuid: str, name: str) -> VolumeInfo:
        """A volume as it is, its own first bytes checked against what libvirt says of it: see `check_image`."""
        with self._handle.call() as raw:
            return look_into(raw, raw.storagePoolLookupByUUIDString(uuid).storageVolLookupByName(name))

    def demand_own(self, uuid: str, name: str) -> None:
        """Raise NotFound unless all that a volume builds on are volumes of running pools, and what `check_image` does.

        What a guest wrote at the beginning of its disk may name any file of the host.
        """
        with self._handle.call() as raw:
            chain_of(raw, raw.storagePoolLookupByUUIDString(uuid).storageVolLookupByName(name))

    # --- volumes

    def create_volume(self, uuid: str, spec: VolumeSpec) -> None:
        """Make a volume. What it is to build on, and all that this builds on, must be volumes of running pools.

        None of that may be encrypted, which a volume on it could not be told. With Preallocation.FULL it takes as long
        as the disk does, with a secret some seconds for its keys. A failure leaves nothing behind.
        """
        with self._handle.call() as raw:
            pool = raw.storagePoolLookupByUUIDString(uuid)
            xml = build_volume(spec, parse_pool(pool.XMLDesc(0)).type)
            if spec.backing_path:
                demand_plain(chain_of(raw, volume_at(raw, spec.backing_path)))
            with_keys(lambda: pool.createXML(xml, creation_flags(spec)))

    def delete_volume(self, uuid: str, name: str) -> None:
        """Delete a volume. WrongState while libvirt still makes it or copies from it; whether a guest uses it, it
        does not ask."""
        with self._handle.volume(uuid, name) as volume:
            volume.delete(0)

    def resize_volume(self, uuid: str, name: str, size: int) -> None:
        """Grow a volume to `size` bytes. WrongState when it would become smaller, or its secret is not known.

        Never one that a running guest uses, which QEMU refuses of some formats only: that is `resize_disk`.
        """
        with self._handle.call() as raw:
            volume = raw.storagePoolLookupByUUIDString(uuid).storageVolLookupByName(name)
            info = look_into(raw, volume)
            demand_growth(info.capacity, size)
            if size > info.capacity:
                demand_secret(info)
                volume.resize(size, 0)

    def resize_disk(self, domain_uuid: str, disk: str, size: int) -> None:
        """Grow a running domain's disk, named by its target or its path, to `size` bytes, under the guest's eyes.

        WrongState when it does not run, or the disk would become smaller.
        """
        with self._handle.domain(domain_uuid) as domain:
            demand_growth(domain.blockInfo(disk, 0)[0], size)
            domain.blockResize(disk, size, libvirt.VIR_DOMAIN_BLOCK_RESIZE_BYTES)

    def wipe_volume(self, uuid: str, name: str) -> None:
        """Overwrite a volume with zeros, however long that takes; a sparse file is emptied instead.

        All of it: a qcow2 is none any more afterwards, and only good to be deleted.
        """
        with self._handle.volume(uuid, name) as volume:
            # libvirt overwrites as much as it remembers that there is: none of a volume it has not looked at since.
            volume.info()
            volume.wipe(0)

    def clone_volume(
        self,
        uuid: str,
        source_uuid: str,
        source_name: str,
        spec: VolumeSpec,
        progress: Callable[[int, int], None],
    ) -> None:
        """Copy a volume of any pool into a new one, of another format if `spec` says so; a capacity of 0 is its own.

        The copy of an encrypted one is encrypted, with the same secret unless `spec` has another: WrongState where the
        host does not know the source's. Whatever it builds on is copied along, so all of it must be volumes of running
        pools, none of them encrypted. One that a running guest writes is not for copying: QEMU refuses it, but from raw
        to raw it would be torn. A failure leaves nothing behind. `progress(done, total)` gets bytes about twice a
        second: libvirt does not tell, so they are what the new volume takes up and what the old one does.

        Nor can libvirt stop a copy, or delete a volume before it is whole. What `progress` raises is raised here only
        once the copy has run its course and is deleted again. If the connection breaks meanwhile the copy goes on
        without us: HostUnreachable means that a volume of that name may come to be, whole or not, to be deleted.
        """
        with self._handle.call() as raw:
            pool = raw.storagePoolLookupByUUIDString(uuid)
            source = raw.storagePoolLookupByUUIDString(source_uuid).storageVolLookupByName(source_name)
            demand_free_name(pool, spec.name)
            whole, total = copy_of(raw, source, spec)
            xml = build_volume(whole, parse_pool(pool.XMLDesc(0)).type)

        def work() -> None:
            with self._handle.call():
                with_keys(lambda: pool.createXMLFrom(xml, source, creation_flags(spec)))

        done = 0
        copy: Any = None

        def look() -> None:
            nonlocal done, copy
            # One call for each look: beside a long call the second of two in a row may wait for the next ping.
            # The copy may not be there yet; how it fares is for libvirt to say.
            with suppress(HypervisorError), self._handle.call():
                if copy is None:
                    copy = pool.storageVolLookupByName(spec.name)
                else:
                    done = min(copy.info()[2], total)
            progress(done, total)

        failure, stopped = watched(work, look)
        if failure is not None:
            raise failure
        try:
            if stopped is not None:
                raise stopped
            # A qcow2 is made as large as its source, whatever was asked for.
            self.resize_volume(uuid, spec.name, whole.capacity)
        except BaseException:
            self.delete_volume(uuid, spec.name)
            raise

    # --- their bytes

    def upload(self, uuid: str, name: str, offset: int, extents: Iterable[Extent]) -> int:
        """Write what `extents` brings into a volume, from `offset` on; returns how many bytes that were, with holes.

        A call that fails leaves the volume with any part of what it sent: only what a call that returned had sent is
        there, so go on from its end, or delete the volume. Nothing tells a half made one from others. After a hole a
        file ends, until more is written: holes are for filling a new volume in order. The host looks at the pool again
        after an upload, in its own time.
        """
        with self._handle.call() as raw:
            volume = raw.storagePoolLookupByUUIDString(uuid).storageVolLookupByName(name)
            stream = raw.newStream(0)
            volume.upload(stream, offset, 0, libvirt.VIR_STORAGE_VOL_UPLOAD_SPARSE_STREAM)
        return send_all(stream, extents)

    def extents(self, uuid: str, name: str, offset: int = 0, length: int = 0) -> Generator[Extent, None, None]:
        """What a volume holds, from `offset` on, piece by piece; a `length` of 0 is all that follows.

        Holes are told, not carried. Nothing keeps a running guest from changing it meanwhile. No more than `SLICE` of
        data is on its way, so that memory stays flat however slowly it is taken.
        """

        def opened(at: int, most: int) -> Any:
            with self._handle.call() as raw:
                volume = raw.storagePoolLookupByUUIDString(uuid).storageVolLookupByName(name)
                stream = raw.newStream(0)
                volume.download(stream, at, most, libvirt.VIR_STORAGE_VOL_DOWNLOAD_SPARSE_STREAM)
            return stream

        return received(opened, offset, length)

    def download(self, uuid: str, name: str, offset: int, length: int, write: Callable[[bytes], object]) -> None:
        """Hand `length` bytes of a volume, from `offset` on, to `write` piece by piece; 0 is all that follows."""
        for extent in self.extents(uuid, name, offset, length):
            for piece in written_out(extent):
                write(piece)


def uuids_of(pools: Iterable[Any]) -> set[str]:
    return {pool.UUIDString() for pool in pools}


@contextmanager
def suppress_gone() -> Iterator[None]:
    """Pass over a pool that went while we asked."""
    try:
        yield
    except libvirt.libvirtError as error:
        if error.get_error_code() != libvirt.VIR_ERR_NO_STORAGE_POOL:
            raise


def summary_of(pool: Any, info: Sequence[int], *, persistent: bool, autostart: bool) -> PoolSummary:
    """A pool's line; `info` is libvirt's: state, capacity, allocation, available. A stopped one may tell old sizes."""
    state = STATES.get(info[0], PoolState.INACCESSIBLE)
    capacity, allocation, available = (0, 0, 0) if state == PoolState.INACTIVE else info[1:]
    return PoolSummary(
        uuid=pool.UUIDString(),
        name=pool.name(),
        state=state,
        persistent=persistent,
        autostart=autostart,
        capacity=capacity,
        allocation=allocation,
        available=available,
    )


def look_at(pool: Any) -> PoolSummary:
    """One pool's line, in three calls."""
    return summary_of(pool, pool.info(), persistent=bool(pool.isPersistent()), autostart=bool(pool.autostart()))


def creation_flags(spec: VolumeSpec) -> int:
    """libvirt allocates tables by a flag; with it and an allocation as large as the volume, a qcow2's data as well."""
    if spec.preallocation == Preallocation.METADATA or (
        spec.preallocation == Preallocation.FULL and spec.format == "qcow2"
    ):
        return int(libvirt.VIR_STORAGE_VOL_CREATE_PREALLOC_METADATA)
    return 0


def chain_of(raw: Any, volume: Any) -> builtins.list[VolumeInfo]:
    """A volume and all that it builds on, from above.

    Raises NotFound unless every one is a volume, and what `check_image` does: an image may name any file of the host,
    and a copy of it or a guest on it would show what is in that file.
    """
    chain = [look_into(raw, volume)]
    while path := chain[-1].backing_path:
        if len(chain) == LONGEST_CHAIN:
            raise InvalidSpec("The backing volumes build on one another without end.")
        chain.append(look_into(raw, volume_at(raw, path)))
    return chain


def copy_of(raw: Any, source: Any, spec: VolumeSpec) -> tuple[VolumeSpec, int]:
    """What the copy of a volume is to be, and of how many bytes it is made; raises where there can be none."""
    chain = chain_of(raw, source)
    demand_secret(chain[0])
    demand_plain(chain[1:])
    capacity = spec.capacity or chain[0].capacity
    demand_growth(chain[0].capacity, capacity)
    whole = replace(spec, capacity=capacity, secret=spec.secret or chain[0].secret)
    return whole, sum(info.allocation for info in chain)


def look_into(raw: Any, volume: Any) -> VolumeInfo:
    """A volume as it is, its own first bytes checked against what libvirt says of it."""
    info = parse_volume(volume.XMLDesc(0))
    head = bytearray()
    if info.kind == "file":
        stream = raw.newStream(0)
        volume.download(stream, 0, HEAD, 0)
        with flowing(stream):
            while data := stream.recv(CHUNK):
                head += data
    check_image(info, bytes(head))
    return info


def volume_at(raw: Any, path: str) -> Any:
    try:
        return raw.storageVolLookupByPath(path)
    except libvirt.libvirtError as error:
        if error.get_error_code() != libvirt.VIR_ERR_NO_STORAGE_VOL:
            raise
        raise NotFound(f"The backing file is in no running pool of the host: {path}") from None


def demand_growth(size: int, wanted: int) -> None:
    if wanted < size:
        raise WrongState(f"It has {size} bytes and cannot be cut to {wanted}: what is at its end would be lost.")


def demand_secret(info: VolumeInfo) -> None:
    """libvirt has to open an encrypted volume for this, and can be told its secret by nobody but itself."""
    if info.encrypted and not info.secret:
        raise WrongState("The host does not know any more with which secret this volume is encrypted.")


def demand_plain(chain: builtins.list[VolumeInfo]) -> None:
    """No volume can be told the secret of what it builds on: it would be taken for the bytes that it shows."""
    for info in chain:
        if info.encrypted:
            raise InvalidSpec(f"This volume is encrypted, so nothing can be built on it: {info.name}")


def with_keys(make: Callable[[], object]) -> None:
    """Make a volume that may be encrypted. QEMU weighs how fast keys are computed, which some virtual machines do not
    let it see each time: then it fails before there is anything, and is asked again."""
    for tries_left in reversed(range(KEY_TRIES)):
        try:
            make()
        except libvirt.libvirtError as error:
            if not tries_left or "accurate CPU usage" not in str(error):
                raise
        else:
            return


def demand_free_name(pool: Any, name: str) -> None:
    """libvirt itself calls it an internal error when a copy meets a volume of its name."""
    if any(volume.name() == name for volume in pool.listAllVolumes(0)):
        raise WrongState(f"There is a volume of that name already: {name}")

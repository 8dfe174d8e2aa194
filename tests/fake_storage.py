"""The fake's pools and volumes, with the same methods as the real ones; their bytes are kept in memory."""

from __future__ import annotations

import builtins
import time
import uuid
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from lxml import etree

from webvirt.hypervisor.errors import HypervisorError, InvalidSpec, NotFound, WrongState
from webvirt.hypervisor.images import HEAD, check_image
from webvirt.hypervisor.storage import demand_growth, demand_plain, demand_secret
from webvirt.hypervisor.streams import CHUNK, length_of, written_out
from webvirt.hypervisor.types import (
    DomainState,
    Extent,
    PoolInfo,
    PoolReading,
    PoolSpec,
    PoolState,
    PoolSummary,
    PoolType,
    Preallocation,
    VolumeInfo,
    VolumeSpec,
)
from webvirt.hypervisor.xml.storage import build_pool, build_volume, parse_pool

if TYPE_CHECKING:
    from tests.fakes import FakeConnection

GIB = 1024**3
TABLES = 196_624
"""What a new qcow2 takes up."""


@dataclass
class FakeVolume:
    info: VolumeInfo
    data: bytearray = field(default_factory=bytearray)


MAGICS = {b"QFI\xfb": "qcow2", b"KDMV": "vmdk", b"conectix": "vpc"}
"""By which libvirt knows some formats."""


def probed(volume: FakeVolume) -> str:
    """The format that libvirt takes a volume for when it looks again; of one without bytes what it was."""
    if not volume.data:
        return volume.info.format
    return next((kind for magic, kind in MAGICS.items() if volume.data.startswith(magic)), "raw")


@dataclass
class FakePool:
    """One pool of the fake. `work` is how many steps a copy into it takes."""

    spec: PoolSpec
    uuid: str = field(default_factory=lambda: str(uuid.uuid4()))
    state: PoolState = PoolState.INACTIVE
    persistent: bool = True
    autostart: bool = False
    built: bool = False
    capacity: int = 100 * GIB
    volumes: dict[str, FakeVolume] = field(default_factory=dict)
    work: int = 3

    @property
    def is_on(self) -> bool:
        return self.state != PoolState.INACTIVE

    @property
    def allocation(self) -> int:
        return sum(volume.info.allocation for volume in self.volumes.values())

    def summary(self) -> PoolSummary:
        capacity, allocation = (self.capacity, self.allocation) if self.is_on else (0, 0)
        return PoolSummary(
            self.uuid,
            self.spec.name,
            self.state,
            self.persistent,
            self.autostart,
            capacity,
            allocation,
            capacity - allocation,
        )

    def xml(self) -> str:
        root = etree.fromstring(build_pool(self.spec))
        etree.SubElement(root, "uuid").text = self.uuid
        return etree.tostring(root, encoding="unicode", pretty_print=True)

    def info(self) -> PoolInfo:
        return parse_pool(self.xml())


class FakeStorageCalls:
    """As `hypervisor.storage.StorageCalls`, over `known`. `put` lays a pool out."""

    def __init__(self, connection: FakeConnection) -> None:
        self._connection = connection
        self.known: dict[str, FakePool] = {}

    def put(self, name: str, *volumes: VolumeInfo) -> FakePool:
        """A running dir pool with these volumes."""
        pool = FakePool(PoolSpec(name, PoolType.DIR, f"/srv/{name}"), state=PoolState.RUNNING, built=True)
        pool.volumes = {info.name: FakeVolume(info) for info in volumes}
        self.known[pool.uuid] = pool
        return pool

    def _get(self, uuid: str) -> FakePool:
        self._connection.check()
        if uuid not in self.known:
            raise NotFound(f"Storage pool not found: no storage pool with matching uuid '{uuid}'")
        return self.known[uuid]

    def _in(self, uuid: str, on: bool) -> FakePool:
        pool = self._get(uuid)
        if pool.is_on != on:
            raise WrongState(f"Requested operation is not valid: storage pool '{pool.spec.name}' is {pool.state}")
        return pool

    def _volume(self, uuid: str, name: str) -> FakeVolume:
        pool = self._in(uuid, True)
        if name not in pool.volumes:
            raise NotFound(f"Storage volume not found: no storage vol with matching name '{name}'")
        return pool.volumes[name]

    def _tell(self, pool: FakePool, what: str) -> None:
        self._connection.tell_object("pool", pool.uuid, what)

    # --- reading pools

    def list(self) -> builtins.list[PoolSummary]:
        self._connection.check()
        return [pool.summary() for pool in self.known.values()]

    def summaries(self, uuids: Iterable[str]) -> builtins.list[PoolSummary]:
        self._connection.check()
        return [self.known[uuid].summary() for uuid in set(uuids) if uuid in self.known]

    def read(self, uuid: str) -> PoolReading:
        pool = self._get(uuid)
        return PoolReading(pool.summary(), pool.info(), pool.xml())

    # --- pools

    def define(self, spec: PoolSpec) -> str:
        build_pool(spec)
        self._connection.check()
        if any(pool.spec.name == spec.name for pool in self.known.values()):
            raise HypervisorError(f"operation failed: pool '{spec.name}' already exists")
        pool = FakePool(spec)
        self.known[pool.uuid] = pool
        self._tell(pool, "defined")
        return pool.uuid

    def build(self, uuid: str, *, overwrite: bool = False) -> None:
        pool = self._in(uuid, False)
        pool.built = True
        self._tell(pool, "created")

    def start(self, uuid: str, *, build: bool = False) -> None:
        pool = self._in(uuid, False)
        pool.built = pool.built or build
        if not pool.built:
            raise HypervisorError(f"cannot open directory '{pool.spec.target_path}': No such file or directory")
        pool.state = PoolState.RUNNING
        self._tell(pool, "started")

    def stop(self, uuid: str) -> None:
        pool = self._in(uuid, True)
        pool.state = PoolState.INACTIVE
        self._tell(pool, "stopped")

    def refresh(self, uuid: str) -> None:
        pool = self._in(uuid, True)
        for volume in pool.volumes.values():
            volume.info = replace(volume.info, format=probed(volume))
            # Nothing in a volume tells its secret: only one that is for this very path is found again.
            theirs = [
                each.uuid for each in self._connection.secrets.known.values() if each.usage_id == volume.info.path
            ]
            if volume.info.encrypted:
                volume.info = replace(volume.info, secret="".join(theirs[:1]))
        self._tell(pool, "refreshed")

    def set_autostart(self, uuid: str, enabled: bool) -> None:
        self._get(uuid).autostart = enabled

    def undefine(self, uuid: str) -> None:
        pool = self._in(uuid, False)
        del self.known[uuid]
        self._tell(pool, "undefined")

    def delete(self, uuid: str) -> None:
        pool = self._in(uuid, False)
        if pool.volumes:
            raise HypervisorError(f"failed to remove pool '{pool.spec.target_path}': Directory not empty")
        pool.built = False
        self._tell(pool, "deleted")

    # --- reading volumes

    def volumes(self, uuid: str) -> builtins.list[str]:
        return sorted(self._in(uuid, True).volumes)

    def volume(self, uuid: str, name: str) -> VolumeInfo:
        return self._volume(uuid, name).info

    def volumes_info(self, uuid: str, names: Iterable[str]) -> Iterator[VolumeInfo]:
        found = self._in(uuid, True).volumes
        yield from (found[name].info for name in names if name in found)

    def inspect(self, uuid: str, name: str) -> VolumeInfo:
        volume = self._volume(uuid, name)
        check_image(volume.info, bytes(volume.data[:HEAD]))
        return volume.info

    # --- volumes

    def create_volume(self, uuid: str, spec: VolumeSpec) -> None:
        pool = self._get(uuid)
        build_volume(spec, pool.spec.type)
        self._in(uuid, True)
        chain = self._chain(spec.backing_path)
        demand_plain([volume.info for volume in chain])
        self._add(pool, spec, chain)

    def _add(self, pool: FakePool, spec: VolumeSpec, chain: builtins.list[FakeVolume]) -> FakeVolume:
        if spec.name in pool.volumes:
            raise WrongState(f"storage volume exists already: '{spec.name}'")
        path = f"{pool.spec.target_path}/{spec.name}"
        small = TABLES if spec.format == "qcow2" else 0
        info = VolumeInfo(
            name=spec.name,
            key=path,
            path=path,
            format=spec.format,
            capacity=spec.capacity or chain[0].info.capacity,
            allocation=spec.capacity if spec.preallocation == Preallocation.FULL else small,
            backing_path=spec.backing_path,
            backing_format=spec.backing_format,
            encrypted=bool(spec.secret),
            secret=spec.secret,
            modified_at=time.time(),
        )
        self._demand_space(pool, info.allocation)
        pool.volumes[spec.name] = FakeVolume(info)
        return pool.volumes[spec.name]

    def _chain(self, path: str) -> builtins.list[FakeVolume]:
        chain: builtins.list[FakeVolume] = []
        volumes = [each for pool in self.known.values() if pool.is_on for each in pool.volumes.values()]
        while path:
            found = [each for each in volumes if each.info.path == path]
            if not found:
                raise NotFound(f"The backing file is in no running pool of the host: {path}")
            chain.append(found[0])
            path = found[0].info.backing_path
        return chain

    def _demand_space(self, pool: FakePool, more: int) -> None:
        if pool.allocation + more > pool.capacity:
            raise HypervisorError("cannot write: No space left on device")

    def delete_volume(self, uuid: str, name: str) -> None:
        self._volume(uuid, name)
        del self.known[uuid].volumes[name]

    def resize_volume(self, uuid: str, name: str, size: int) -> None:
        volume = self._volume(uuid, name)
        demand_growth(volume.info.capacity, size)
        if size > volume.info.capacity:
            demand_secret(volume.info)
        volume.info = replace(volume.info, capacity=size)

    def resize_disk(self, domain_uuid: str, disk: str, size: int) -> None:
        self._connection.check()
        domain = self._connection.domains.known.get(domain_uuid)
        if domain is None:
            raise NotFound(f"Domain not found: no domain with matching uuid '{domain_uuid}'")
        if disk not in domain.disks:
            raise InvalidSpec(f"invalid argument: invalid path: {disk}")
        demand_growth(domain.disks[disk], size)
        if domain.state not in (DomainState.RUNNING, DomainState.PAUSED):
            raise WrongState("Requested operation is not valid: domain is not running")
        domain.disks[disk] = size

    def wipe_volume(self, uuid: str, name: str) -> None:
        volume = self._volume(uuid, name)
        volume.data = bytearray(len(volume.data))
        volume.info = replace(volume.info, format="raw")

    def demand_own(self, uuid: str, name: str) -> None:
        self._chain(self._volume(uuid, name).info.backing_path)

    def clone_volume(
        self,
        uuid: str,
        source_uuid: str,
        source_name: str,
        spec: VolumeSpec,
        progress: Callable[[int, int], None],
    ) -> None:
        pool, source = self._in(uuid, True), self._volume(source_uuid, source_name)
        demand_growth(source.info.capacity, spec.capacity or source.info.capacity)
        chain = self._chain(source.info.backing_path)
        demand_secret(source.info)
        demand_plain([volume.info for volume in chain])
        spec = replace(spec, capacity=spec.capacity or source.info.capacity, secret=spec.secret or source.info.secret)
        build_volume(spec, pool.spec.type)
        total = sum(each.info.allocation for each in [source, *chain])
        copy = self._add(pool, spec, [])
        try:
            self._demand_space(pool, total)
            for step in range(pool.work):
                progress(step * total // pool.work, total)
        except BaseException:
            del pool.volumes[spec.name]
            raise
        copy.data = bytearray(source.data)
        copy.info = replace(copy.info, allocation=max(copy.info.allocation, total))

    # --- their bytes

    def upload(self, uuid: str, name: str, offset: int, extents: Iterable[Extent]) -> int:
        pool, volume = self._get(uuid), self._volume(uuid, name)
        sent = 0
        for extent in extents:
            self._write(pool, volume, offset + sent, extent)
            sent += length_of(extent)
        return sent

    def _write(self, pool: FakePool, volume: FakeVolume, start: int, extent: Extent) -> None:
        volume.data.extend(bytes(max(0, start - len(volume.data))))
        if isinstance(extent, int):
            volume.data[start:] = bytes(extent)
            extent = b""
        for at in range(0, len(extent), CHUNK):
            piece = extent[at : at + CHUNK]
            self._demand_space(pool, max(0, start + at + len(piece) - volume.info.allocation))
            volume.data[start + at : start + at + len(piece)] = piece
            volume.info = replace(volume.info, allocation=max(len(volume.data), volume.info.allocation))
        size = max(len(volume.data), volume.info.capacity)
        volume.info = replace(volume.info, capacity=size, physical=size)

    def extents(self, uuid: str, name: str, offset: int = 0, length: int = 0) -> Generator[Extent, None, None]:
        volume = self._volume(uuid, name)
        padded = volume.data if volume.info.format != "raw" else volume.data.ljust(volume.info.capacity, b"\0")
        end = offset + length if length else len(padded)
        for start in range(offset, end, CHUNK):
            data = bytes(padded[start : min(start + CHUNK, end)])
            yield data if any(data) else len(data)

    def download(self, uuid: str, name: str, offset: int, length: int, write: Callable[[bytes], object]) -> None:
        for extent in self.extents(uuid, name, offset, length):
            for piece in written_out(extent):
                write(piece)

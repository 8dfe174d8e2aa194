"""Pools that are made on a device: a filesystem, a volume group, a partition table."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.hypervisor.stores import MIB
from tests.hypervisor.subjects import PREFIX, SUBJECTS
from tests.lab.lab import LAB, run
from webvirt.hypervisor.connection import Connection
from webvirt.hypervisor.errors import HypervisorError, InvalidSpec, Unsupported, WrongState
from webvirt.hypervisor.storage import StorageCalls
from webvirt.hypervisor.types import PoolSpec, PoolState, PoolType, VolumeSpec

QEMU = SUBJECTS[2]
FOLDER = LAB / f"{PREFIX}fs"
HAS_DEVICE_MAPPER = Path("/sys/class/misc/device-mapper").exists()
"""Whether this kernel can carry logical volumes; it needs nothing to make their groups."""


@pytest.fixture
def device() -> Iterator[str]:
    """An empty disk of 64 MiB."""
    LAB.mkdir(exist_ok=True)
    image = LAB / f"{PREFIX}disk.img"
    with image.open("wb") as file:
        file.truncate(64 * MIB)
    device = run("losetup", "--partscan", "--find", "--show", str(image)).strip()
    yield device
    run("losetup", "--detach", device)
    image.unlink()


@pytest.fixture
def calls(opened: Callable[[Any], Connection]) -> StorageCalls:
    return opened(QEMU).storage


@pytest.fixture
def define(calls: StorageCalls) -> Iterator[Callable[[PoolSpec], str]]:
    """Defines pools that are gone after the test."""
    uuids: list[str] = []

    def define(spec: PoolSpec) -> str:
        uuids.append(calls.define(spec))
        return uuids[-1]

    yield define
    for summary in calls.summaries(uuids):
        if summary.state != PoolState.INACTIVE:
            calls.stop(summary.uuid)
        calls.undefine(summary.uuid)


def filesystem(device: str) -> PoolSpec:
    return PoolSpec(FOLDER.name, PoolType.FS, str(FOLDER), source_devices=(device,), source_format="ext4")


def group(device: str) -> PoolSpec:
    return PoolSpec(f"{PREFIX}vg", PoolType.LOGICAL, source_name=f"{PREFIX}vg", source_devices=(device,))


def partitions(device: str) -> PoolSpec:
    return PoolSpec(f"{PREFIX}disk", PoolType.DISK, "/dev", source_devices=(device,), source_format="gpt")


@pytest.mark.parametrize("spec_of", [filesystem, group, partitions])
def test_a_device_is_made_a_pool_once(
    spec_of: Callable[[str], PoolSpec], device: str, calls: StorageCalls, define: Callable[[PoolSpec], str]
) -> None:
    uuid = define(spec_of(device))
    with pytest.raises(HypervisorError):
        calls.start(uuid)
    calls.build(uuid)
    calls.start(uuid)
    (summary,) = calls.summaries([uuid])
    assert summary.state == PoolState.RUNNING
    assert 32 * MIB < summary.available <= summary.capacity <= 64 * MIB
    calls.stop(uuid)
    with pytest.raises(WrongState, match=r"already (built|formatted)"):
        calls.build(uuid)
    calls.build(uuid, overwrite=True)
    calls.start(uuid)
    assert calls.read(uuid).info.source_devices == (device,)


def test_a_filesystem_is_mounted_and_formatted_only_when_built(
    device: str, calls: StorageCalls, define: Callable[[PoolSpec], str]
) -> None:
    uuid = define(filesystem(device))
    calls.build(uuid)
    calls.start(uuid)
    assert FOLDER.is_mount()
    calls.create_volume(uuid, VolumeSpec("v", MIB))
    calls.stop(uuid)
    assert not FOLDER.is_mount()
    calls.delete(uuid)
    assert not FOLDER.exists()
    calls.start(uuid, build=True)
    assert "v" in calls.volumes(uuid)
    calls.stop(uuid)
    calls.build(uuid, overwrite=True)
    calls.start(uuid)
    assert "v" not in calls.volumes(uuid)
    calls.stop(uuid)
    calls.delete(uuid)


def test_a_volume_group_comes_and_goes(device: str, calls: StorageCalls, define: Callable[[PoolSpec], str]) -> None:
    uuid = define(group(device))
    calls.start(uuid, build=True)
    calls.stop(uuid)
    with pytest.raises(WrongState):
        calls.start(uuid, build=True)
    calls.start(uuid)
    assert calls.read(uuid).info.target_path == f"/dev/{PREFIX}vg"
    assert PREFIX in run("vgs", "--noheadings", "-o", "vg_name")
    if HAS_DEVICE_MAPPER:
        calls.create_volume(uuid, VolumeSpec("v", 8 * MIB, "raw"))
        info = calls.volume(uuid, "v")
        assert (info.kind, info.capacity, info.allocation) == ("block", 8 * MIB, 8 * MIB)
        calls.delete_volume(uuid, "v")
    else:
        with pytest.raises(HypervisorError, match="device-mapper"):
            calls.create_volume(uuid, VolumeSpec("v", 8 * MIB, "raw"))
    assert calls.volumes(uuid) == []
    calls.stop(uuid)
    calls.delete(uuid)
    assert PREFIX not in run("vgs", "--noheadings", "-o", "vg_name")


def test_partitions(device: str, calls: StorageCalls, define: Callable[[PoolSpec], str]) -> None:
    uuid = define(partitions(device))
    calls.build(uuid)
    calls.start(uuid)
    name = f"{Path(device).name}p1"
    calls.create_volume(uuid, VolumeSpec(name, 32 * MIB, "linux"))
    info = calls.volume(uuid, name)
    assert (info.kind, info.format, info.path, info.capacity) == ("block", "linux", f"/dev/{name}", 32 * MIB)
    with pytest.raises(InvalidSpec, match=f"expected '{Path(device).name}p2'"):
        calls.create_volume(uuid, VolumeSpec("web", MIB, "linux"))
    with pytest.raises(Unsupported):
        calls.create_volume(uuid, VolumeSpec("web", MIB))
    assert calls.volumes(uuid) == [name]

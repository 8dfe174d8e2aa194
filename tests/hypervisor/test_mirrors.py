"""Disks of machines that run, copied while they write to them: all of one instant, and the machine goes on."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import libvirt
import pytest

from tests.guests import virsh
from tests.hypervisor.test_making import MEMORY_KIB, folder, here, image, make, raw
from tests.lab.lab import tiny_guest
from tests.until import until
from webvirt.hypervisor.connection import Connection
from webvirt.hypervisor.errors import WrongState
from webvirt.hypervisor.mirrors import FLAGS, MirrorCalls
from webvirt.hypervisor.types import DiskMirror, DiskSpec, DomainSpec, Kernel, Source
from webvirt.hypervisor.xml.disks import mirror_to

__all__ = ["folder", "here", "make", "raw"]

BLOCK = 512
COUNTS = (
    "i=0; while :; do i=$((i+1)); for disk in vda vdb; do "
    "printf '%511d\\n' $i | dd of=/dev/$disk bs=512 conv=fsync 2>/dev/null; done; done &\n"
)
"""A guest that writes a number on its first disk, then on its second, then the next one."""


def writes(spec: DomainSpec, pattern: int, start: int, length: int) -> None:
    """Have QEMU write to the first disk of a running machine, as a guest would; in MiB."""
    words = f'qemu-io -d /machine/peripheral/virtio-disk0/virtio-backend "write -P {pattern} {start}M {length}M"'
    assert "rror" not in virsh("qemu-monitor-command", "--hmp", spec.uuid, words)


def same(folder: Path, *names: str) -> bool:
    command = ["qemu-img", "compare", "-q", *(str(folder / name) for name in names)]
    return subprocess.run(command, check=False).returncode == 0


def nothing() -> None:
    """Nobody has to be told that a machine stands still."""


def test_a_running_disk_is_copied_as_it_is_at_the_end(
    here: Connection, make: Callable[..., DomainSpec], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = make(disks=(DiskSpec(image(folder, "a.qcow2")),))
    mirror = DiskMirror("vda", f"{folder}/a.qcow2", image(folder, "b.qcow2"), "qcow2")
    seen: list[tuple[int, int]] = []
    here.domains.start(spec.uuid)
    writes(spec, 7, 0, 2)
    before = here.domains.read(spec.uuid)
    whole = MirrorCalls._are_whole

    def written(calls: MirrorCalls, *args: Any) -> bool:
        # It is written to until the very end.
        are_whole = whole(calls, *args)
        writes(spec, 9, 1, 6)
        return are_whole

    monkeypatch.setattr(MirrorCalls, "_are_whole", written)
    here.domains.copy_disks(spec.uuid, [mirror], lambda *figures: seen.append(figures), nothing)
    assert seen[-1][0] == seen[-1][1] > 0
    assert here.domains.read(spec.uuid) == before
    here.domains.destroy(spec.uuid)
    assert same(folder, "a.qcow2", "b.qcow2")
    assert not same(folder, "a.qcow2", image(folder, "c.qcow2").path)


class Stop(BaseException):
    """Raised by whoever looks on."""


def test_copying_that_is_ended_leaves_the_machine_as_it_was(
    here: Connection, raw: Any, make: Callable[..., DomainSpec], folder: Path
) -> None:
    spec = make(disks=(DiskSpec(image(folder, "a.qcow2")),))
    copy = image(folder, "b.qcow2")
    mirror = DiskMirror("vda", f"{folder}/a.qcow2", copy, "qcow2")
    with pytest.raises(WrongState, match="not running"):
        here.domains.copy_disks(spec.uuid, [mirror], lambda _done, _total: None, nothing)
    here.domains.start(spec.uuid)
    before, domain = here.domains.read(spec.uuid), raw.lookupByUUIDString(spec.uuid)

    def stop(_done: int, _total: int) -> None:
        raise Stop

    with pytest.raises(Stop):
        here.domains.copy_disks(spec.uuid, [mirror], stop, nothing)
    assert here.domains.read(spec.uuid) == before
    with pytest.raises(WrongState, match="changed meanwhile"):
        here.domains.copy_disks(spec.uuid, [replace(mirror, was="/somewhere/else")], stop, nothing)
    # As a worker leaves it that is killed.
    domain.blockCopy("vda", mirror_to(copy, "qcow2"), {}, FLAGS)
    here.domains.end_copies(spec.uuid, ["/somebody/elses"])
    assert domain.blockJobInfo("vda", 0)
    here.domains.end_copies(spec.uuid, [copy.path])
    assert not domain.blockJobInfo("vda", 0)
    assert here.domains.read(spec.uuid) == before
    here.domains.destroy(spec.uuid)
    here.domains.end_copies(spec.uuid, [copy.path])
    here.domains.go_on(spec.uuid)


def blank(folder: Path, name: str) -> Source:
    (folder / name).write_bytes(bytes(2**20))
    return Source(str(folder / name))


def count(source: Source) -> int:
    """The number that is on a disk; 0 before there is one."""
    with open(source.path, "rb") as file:
        return int(file.read(BLOCK).strip(b"\0 \n") or 0)


def test_several_disks_of_a_guest_that_writes_are_of_one_instant(
    here: Connection, raw: Any, make: Callable[..., DomainSpec], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    guest = tiny_guest()
    kernel = Kernel(str(guest / "vmlinuz"), str(guest / "initrd.gz"), "console=ttyS0 quiet")
    disks = [blank(folder, name) for name in ("a.raw", "b.raw")]
    copies = [blank(folder, name) for name in ("a-copy.raw", "b-copy.raw")]
    spec = make(memory_kib=2 * MEMORY_KIB, disks=tuple(DiskSpec(disk, "raw") for disk in disks))
    here.domains.start_once(spec.uuid, kernel)
    said, stream = bytearray(), raw.newStream(libvirt.VIR_STREAM_NONBLOCK)
    raw.lookupByUUIDString(spec.uuid).openConsole(None, stream, 0)

    def is_up() -> bool:
        got = stream.recv(4096)
        said.extend(got if isinstance(got, bytes) else b"")
        return b"guest is up" in said

    until(is_up, 60, what="the guest is up")
    stream.send(COUNTS.encode())
    until(lambda: count(disks[1]) > 2, 60, what="the guest writes")
    stream.abort()
    abort = libvirt.virDomain.blockJobAbort

    def slowly(*given: Any) -> int:
        # Long enough for a guest that runs to write on between the end of one copy and that of the next.
        ended = abort(*given)
        time.sleep(0.5)
        return int(ended)

    monkeypatch.setattr(libvirt.virDomain, "blockJobAbort", slowly)
    mirrors = [DiskMirror(*names, copy, "raw") for names, copy in zip(names_of(disks), copies, strict=True)]
    still: list[int] = []
    here.domains.copy_disks(spec.uuid, mirrors, lambda *_figures: None, lambda: still.append(count(disks[0])))
    first, second = map(count, copies)
    assert (first - second) in (0, 1), (first, second)
    assert first >= still[0] > 0
    assert here.domains.summaries([spec.uuid])[0].state == "running"
    until(lambda: count(disks[1]) > first, 60, what="the guest goes on")


def names_of(disks: list[Source]) -> list[tuple[str, str]]:
    return [(f"vd{letter}", disk.path) for letter, disk in zip("ab", disks, strict=True)]

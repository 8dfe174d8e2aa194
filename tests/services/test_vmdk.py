"""VMDK as it is written: qemu-img reads from it what was put in, however it came."""

from __future__ import annotations

import os
import struct
import subprocess
import tracemalloc
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webvirt.services import vmdk
from webvirt.services.ovf import NotUnderstood
from webvirt.services.vmdk import GRAIN, SECTOR

MIB = 2**20
pieces = st.lists(st.one_of(st.integers(0, 5 * GRAIN), st.binary(max_size=700), st.sampled_from([b"x" * 70_000])))


@given(pieces)
def test_grains_are_the_contents_without_what_is_empty(contents: list[bytes | int]) -> None:
    plain = b"".join(bytes(piece) if isinstance(piece, int) else piece for piece in contents)
    found = bytearray(len(plain) + GRAIN)
    for number, grain in vmdk.grains_of(contents):
        assert (len(grain), any(grain)) == (GRAIN, True)
        found[number * GRAIN : (number + 1) * GRAIN] = grain
    assert found[: len(plain)] == plain
    assert not any(found[len(plain) :])


def qemu_img(*words: str | Path) -> str:
    return subprocess.run(["qemu-img", *words], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("size", [SECTOR, GRAIN + 3 * SECTOR, 40 * MIB + SECTOR], ids=["sector", "grains", "tables"])
def test_qemu_reads_what_was_written(tmp_path: Path, size: int) -> None:
    """At the beginning, over the border of a table, and at the end; holes elsewhere."""
    plain = bytearray(size)
    for at in (0, min(32 * MIB, size) - SECTOR, size - SECTOR):
        plain[at : at + 2 * SECTOR] = os.urandom(min(2 * SECTOR, size - at))
    step = 70_001
    contents = (bytes(plain[at : at + step]) for at in range(0, size, step))
    source, target = tmp_path / "a.raw", tmp_path / "a.vmdk"
    source.write_bytes(plain)
    target.write_bytes(b"".join(vmdk.written((data if any(data) else len(data) for data in contents), size, "a.vmdk")))
    assert "No errors were found" in qemu_img("check", "-f", "vmdk", target)
    assert "Images are identical" in qemu_img("compare", "-f", "raw", "-F", "vmdk", source, target)
    assert "create type: streamOptimized" in qemu_img("info", target)
    assert target.stat().st_size < MIB


def test_it_is_laid_out_as_the_format_says() -> None:
    data = b"".join(vmdk.written([b"a" * GRAIN, 600 * GRAIN, b"b"], 700 * GRAIN, "a.vmdk"))
    assert len(data) % SECTOR == 0
    first, last = (vmdk.HEADER.unpack_from(data, at) for at in (0, len(data) - 2 * SECTOR))
    assert first[:4] == last[:4] == (b"KDMV", 3, 0x30001, 700 * GRAIN // SECTOR)
    assert first[9] == 2**64 - 1
    kinds = [vmdk.MARKER.unpack_from(data, len(data) - at * SECTOR) for at in (3, 1)]
    assert kinds == [(1, 0, vmdk.FOOTER), (0, 0, vmdk.END)]
    tables = struct.unpack_from("<2I", data, last[9] * SECTOR)
    places = [struct.unpack_from("<512I", data, table * SECTOR) for table in tables]
    assert [sum(map(bool, table)) for table in places] == [1, 1]
    sector, length = vmdk.GRAIN_MARKER.unpack_from(data, places[1][601 - 512] * SECTOR)
    assert sector == 601 * GRAIN // SECTOR
    begins = places[1][601 - 512] * SECTOR + vmdk.GRAIN_MARKER.size
    assert zlib.decompress(data[begins : begins + length]) == b"b".ljust(GRAIN, b"\0")


def test_memory_stays_flat_and_holes_cost_nothing() -> None:
    """A disk of 512 GiB with little on it."""

    def contents() -> Iterator[bytes | int]:
        for _turn in range(64):
            yield b"x" * GRAIN
            yield 8 * 2**30 - GRAIN

    tracemalloc.start()
    length = sum(len(data) for data in vmdk.written(contents(), 512 * 2**30, "a.vmdk"))
    _now, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert length < 2 * MIB
    assert most < 4 * MIB


@pytest.mark.parametrize("size", [0, 2 * 2**40])
def test_what_no_vmdk_holds_is_refused(size: int) -> None:
    with pytest.raises(NotUnderstood):
        vmdk.demand_possible(size)

"""VHDX, the disks of Hyper-V: what is in them, read piece by piece. libvirt does not know the format.

A disk of fixed or growing size; one that is based on another, or was not closed properly, is refused. As Microsoft's
"VHDX Format Specification" (MS-VHDX) has it; all numbers are little-endian.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from uuid import UUID

from webvirt.services.ovf import NotUnderstood

Read = Callable[[int, int], bytes]
KIB, MIB = 2**10, 2**20
HEADERS = (64 * KIB, 128 * KIB)
HEADER = struct.Struct("<4s4xQ16x16x16s")
"""Signature, sequence number, and the identity of the log: nothing but zeros where there is nothing in it."""
REGIONS_AT = 192 * KIB
MOST_ENTRIES = 2047
BAT = UUID("2dc27766-f623-4200-9d64-115e9bfd4a08")
METADATA = UUID("8b7ca206-4790-4b9a-b8fe-575f050f886e")
PARAMETERS = UUID("caa16737-fa36-4d43-b3b6-33f0aa44e76b")
SIZE = UUID("2fa54224-cd1b-4876-b211-5dbed83bf4b8")
SECTOR = UUID("8141bf1d-a96f-4709-ba47-f233a8faab5f")
HAS_PARENT = 1 << 1
BLOCKS = range(MIB, 256 * MIB + 1)
MOST_SIZE = 64 * 2**40
SECTORS_OF_A_CHUNK = 2**23
ENTRY = struct.Struct("<Q")
AT_ONCE = 1024
"""Entries of the table of blocks that are read together."""
STATE, PRESENT = 0b111, 6
PIECE = 4 * MIB


@dataclass(frozen=True)
class Layout:
    """Where everything is: sizes and places in bytes."""

    size: int
    block: int
    sector: int
    table: int
    entries: int


def layout_of(read: Read) -> Layout:
    """Read what a disk says of itself. Raises NotUnderstood."""
    headers = [HEADER.unpack(exactly(read, at, HEADER.size)) for at in HEADERS]
    valid = [(sequence, log) for signature, sequence, log in headers if signature == b"head"]
    if not valid:
        raise damaged()
    if any(max(valid)[1]):
        raise NotUnderstood("This VHDX was not closed properly: shut its machine down, and export it again.")
    regions = table_of(read, REGIONS_AT, b"regi", struct.Struct("<4s4xI4x"), struct.Struct("<16sQII"))
    if BAT not in regions or METADATA not in regions:
        raise damaged()
    (table, length), (metadata, _length) = regions[BAT][:2], regions[METADATA][:2]
    items = table_of(read, metadata, b"metadata", struct.Struct("<8s2xH20x"), struct.Struct("<16sIII4x"))
    block, flags = struct.unpack("<II", item(read, metadata, items, PARAMETERS, 8))
    if flags & HAS_PARENT:
        raise NotUnderstood("This VHDX is based on another one, and cannot stand alone.")
    (size,) = struct.unpack("<Q", item(read, metadata, items, SIZE, 8))
    (sector,) = struct.unpack("<I", item(read, metadata, items, SECTOR, 4))
    layout = Layout(size, block, sector, table, length // ENTRY.size)
    demand_sense(layout)
    return layout


def demand_sense(layout: Layout) -> None:
    is_possible = layout.block in BLOCKS and layout.block & layout.block - 1 == 0 and layout.sector in (512, 4096)
    if not is_possible or not 0 < layout.size <= MOST_SIZE:
        raise damaged()
    blocks = -(-layout.size // layout.block)
    if place_of(blocks - 1, layout) >= layout.entries:
        raise damaged()


def place_of(block: int, layout: Layout) -> int:
    """Which entry of the table is a block's: after each chunk there is one that tells of sectors."""
    return block + block // (SECTORS_OF_A_CHUNK * layout.sector // layout.block)


def contents_of(read: Read, layout: Layout) -> Iterator[bytes | int]:
    """What is on the disk, in order: bytes, and the lengths of holes."""
    blocks = -(-layout.size // layout.block)
    for first in range(0, blocks, AT_ONCE):
        last = min(first + AT_ONCE, blocks) - 1
        begins, ends = place_of(first, layout), place_of(last, layout) + 1
        entries = exactly(read, layout.table + begins * ENTRY.size, (ends - begins) * ENTRY.size)
        for block in range(first, last + 1):
            (entry,) = ENTRY.unpack_from(entries, (place_of(block, layout) - begins) * ENTRY.size)
            length = min(layout.block, layout.size - block * layout.block)
            yield from block_of(read, entry, length)


def block_of(read: Read, entry: int, length: int) -> Iterator[bytes | int]:
    """The upper bits of an entry are where its block is, in MiB."""
    if entry & STATE != PRESENT:
        yield length
        return
    begins = (entry >> 20) * MIB
    for at in range(begins, begins + length, PIECE):
        yield exactly(read, at, min(PIECE, begins + length - at))


def table_of(
    read: Read, at: int, signature: bytes, head: struct.Struct, entry: struct.Struct
) -> dict[UUID, tuple[int, int]]:
    """Of regions or metadata: where each is and how long, by its identity."""
    found, count = head.unpack(exactly(read, at, head.size))
    if found != signature or count > MOST_ENTRIES:
        raise damaged()
    rows = exactly(read, at + head.size, count * entry.size) if count else b""
    return {UUID(bytes_le=identity): (place, length) for identity, place, length, *_rest in entry.iter_unpack(rows)}


def item(read: Read, metadata: int, items: dict[UUID, tuple[int, int]], which: UUID, length: int) -> bytes:
    if which not in items:
        raise damaged()
    return exactly(read, metadata + items[which][0], length)


def exactly(read: Read, at: int, length: int) -> bytes:
    found = read(at, length)
    if len(found) != length:
        raise damaged()
    return found


def damaged() -> NotUnderstood:
    return NotUnderstood("This VHDX is damaged, or not a whole one.")

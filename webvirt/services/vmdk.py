"""VMDK as it travels (streamOptimized): a disk written in one go, deflated, its holes left out.

As VMware's "Virtual Disk Format 5.0" has it; all numbers are little-endian, places are in sectors. Grains of 64 KiB
come in order, each behind a marker; a table follows every 512 of them; where the tables are stands at the end.
"""

from __future__ import annotations

import secrets
import struct
import zlib
from collections.abc import Iterable, Iterator

from webvirt.services.ovf import NotUnderstood

SECTOR = 512
GRAIN = 64 * 1024
GRAIN_SECTORS = GRAIN // SECTOR
TABLE = 512
"""Grains of one table."""
EMPTY = bytes(GRAIN)
MOST = 2 * 2**40 - 2**36
"""Bytes of a disk: places are numbers of 32 bits, and what cannot be deflated takes up a little more than it is."""
LEVEL = 3
"""Of deflating: what zlib does above it costs far more time than it saves room."""
HEADER = struct.Struct("<4sIIQQQQIQQQB4sH433x")
MAGIC, VERSION = b"KDMV", 3
FLAGS = 0x30001
"""Lines end as they should, grains are deflated, and there are markers."""
AT_THE_END = 2**64 - 1
DEFLATE = 1
OVERHEAD = 128
"""Sectors before the first grain: the header, and the descriptor."""
DESCRIPTOR_SECTORS = 20
MARKER = struct.Struct("<QII496x")
GRAIN_MARKER = struct.Struct("<QI")
END, TABLE_MARKER, DIRECTORY_MARKER, FOOTER = 0, 1, 2, 3
HEADS, TRACK, MOST_CYLINDERS = 255, 63, 65_535


def sectors_of(size: int) -> int:
    return -(-size // SECTOR)


def demand_possible(size: int) -> None:
    """Raise NotUnderstood for a disk of so many bytes that no VMDK can hold."""
    if not 0 < size <= MOST:
        raise NotUnderstood("A disk is larger than a VMDK can be: about 2 TiB.")


def written(contents: Iterable[bytes | int], size: int, name: str) -> Iterator[bytes]:
    """A disk of `size` bytes as a VMDK called `name`, piece by piece.

    `contents` are the disk's bytes in order, in pieces of any length, an int where so many are zeros. What they do not
    reach is zeros as well. Memory stays the same however large the disk is.
    """
    capacity = sectors_of(size)
    yield header(capacity, AT_THE_END)
    yield descriptor(capacity, name).ljust(DESCRIPTOR_SECTORS * SECTOR, b"\0")
    yield bytes((OVERHEAD - 1 - DESCRIPTOR_SECTORS) * SECTOR)
    tables = Tables(OVERHEAD)
    for number, grain in grains_of(contents):
        yield from tables.upto(number)
        yield tables.take(number, grain)
    yield from tables.closed()
    directory = tables.directory(-(-capacity // (TABLE * GRAIN_SECTORS)))
    yield marker(sectors_of(len(directory)), DIRECTORY_MARKER)
    at = tables.at + 1
    yield padded(directory)
    yield marker(1, FOOTER)
    yield header(capacity, at)
    yield marker(0, END)


class Tables:
    """Where each grain is; `at` is the sector that comes next."""

    def __init__(self, at: int) -> None:
        self.at = at
        self.places: dict[int, int] = {}
        """Of each table that is written where it is; one without grains is not."""
        self.number = 0
        self.entries: list[int] = [0] * TABLE

    def upto(self, grain: int) -> Iterator[bytes]:
        """Write the table in hand where the grain is of another one."""
        if grain // TABLE != self.number:
            yield from self.closed()
            self.number = grain // TABLE

    def take(self, number: int, grain: bytes) -> bytes:
        """A grain as it is written."""
        deflated = zlib.compress(grain, LEVEL)
        data = padded(GRAIN_MARKER.pack(number * GRAIN_SECTORS, len(deflated)) + deflated)
        self.entries[number % TABLE] = self.at
        self.at += len(data) // SECTOR
        return data

    def closed(self) -> Iterator[bytes]:
        if not any(self.entries):
            return
        table = struct.pack(f"<{TABLE}I", *self.entries)
        yield marker(sectors_of(len(table)), TABLE_MARKER)
        self.places[self.number] = self.at + 1
        yield table
        self.at += 1 + sectors_of(len(table))
        self.entries = [0] * TABLE

    def directory(self, tables: int) -> bytes:
        return struct.pack(f"<{tables}I", *(self.places.get(number, 0) for number in range(tables)))


def grains_of(contents: Iterable[bytes | int]) -> Iterator[tuple[int, bytes]]:
    """The grains that hold anything, with their numbers; the last one is filled up."""
    at, held = 0, bytearray()
    for piece in contents:
        if isinstance(piece, int):
            # A hole fills up the grain in hand, passes over others, and begins one.
            fill = min(piece, -at % GRAIN)
            held += bytes(fill)
            at += fill
            yield from grain_up_to(at, held)
            at += piece - fill
            held += bytes((piece - fill) % GRAIN)
            continue
        rest = memoryview(piece)
        while rest:
            taken, rest = rest[: GRAIN - len(held)], rest[GRAIN - len(held) :]
            held += taken
            at += len(taken)
            yield from grain_up_to(at, held)
    if any(held):
        yield at // GRAIN, bytes(held).ljust(GRAIN, b"\0")


def grain_up_to(at: int, held: bytearray) -> Iterator[tuple[int, bytes]]:
    """The grain in hand once it is full, unless it is empty."""
    if len(held) == GRAIN:
        if held != EMPTY:
            yield at // GRAIN - 1, bytes(held)
        held.clear()


def header(capacity: int, directory: int) -> bytes:
    return HEADER.pack(
        MAGIC,
        VERSION,
        FLAGS,
        capacity,
        GRAIN_SECTORS,
        1,
        DESCRIPTOR_SECTORS,
        TABLE,
        0,
        directory,
        OVERHEAD,
        0,
        b"\n \r\n",
        DEFLATE,
    )


def descriptor(capacity: int, name: str) -> bytes:
    """What is told of the disk in words; its number changes with every writing."""
    cylinders = max(1, min(capacity // (HEADS * TRACK), MOST_CYLINDERS))
    return f"""# Disk DescriptorFile
version=1
CID={secrets.randbelow(2**32 - 2):08x}
parentCID=ffffffff
createType="streamOptimized"

# Extent description
RW {capacity} SPARSE "{name}"

# The Disk Data Base
#DDB

ddb.virtualHWVersion = "13"
ddb.geometry.cylinders = "{cylinders}"
ddb.geometry.heads = "{HEADS}"
ddb.geometry.sectors = "{TRACK}"
ddb.adapterType = "lsilogic"
""".encode()


def marker(sectors: int, kind: int) -> bytes:
    return MARKER.pack(sectors, 0, kind)


def padded(data: bytes) -> bytes:
    return data.ljust(-(-len(data) // SECTOR) * SECTOR, b"\0")

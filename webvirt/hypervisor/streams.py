"""The bytes of volumes on their way: libvirt's streams, with their holes, and never much of them in memory."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any

import libvirt

from webvirt.hypervisor.calls import translating
from webvirt.hypervisor.types import Extent

CHUNK = 262_120
"""Bytes in one message of a stream: the most that every libvirt takes."""
ZEROS = bytes(CHUNK)
AT_HOLE = -3
"""What libvirt's Python gives instead of bytes where a hole begins."""
SLICE = 16 * 1024**2
"""Bytes asked for in one stream: libvirt holds whatever of a stream has come and was not taken yet, however much."""


class Enough(Exception):
    """Ends a stream before its end."""


def send_all(stream: Any, extents: Iterable[Extent]) -> int:
    """Send what comes over a stream that is open, and end it; returns how many bytes that were, with holes."""
    with flowing(stream):
        sent = 0
        for extent in extents:
            send(stream, extent)
            sent += length_of(extent)
    return sent


def received(opened: Callable[[int, int], Any], offset: int, length: int) -> Generator[Extent, None, None]:
    """What comes from `offset` on, piece by piece; a `length` of 0 is all that follows.

    `opened` gives a stream of so many bytes from there on. No more than `SLICE` of data is on its way.
    """
    at, end, step = offset, offset + length if length else None, SLICE
    while end is None or at < end:
        most = step if end is None else min(step, end - at)
        before, data_came = at, False
        with suppress(Enough), closing(part_of(opened(at, most))) as part:
            for extent in part:
                if isinstance(extent, bytes):
                    if step > SLICE:
                        # A slice so long is for holes alone: the data is asked for anew.
                        raise Enough
                    data_came = True
                at += length_of(extent)
                yield extent
            if at - before < most:
                return
        step = SLICE if data_came or at - before < most else 2 * step


def part_of(stream: Any) -> Generator[Extent, None, None]:
    """What one stream brings."""
    with flowing(stream):
        while data := stream.recvFlags(CHUNK, libvirt.VIR_STREAM_RECV_STOP_AT_HOLE):
            if data != AT_HOLE:
                yield data
            elif hole := stream.recvHole():
                yield hole


def length_of(extent: Extent) -> int:
    return extent if isinstance(extent, int) else len(extent)


def written_out(extent: Extent) -> Iterator[bytes]:
    """The bytes of an extent, those of a hole as zeros."""
    if isinstance(extent, bytes):
        yield extent
        return
    for start in range(0, extent, CHUNK):
        yield ZEROS if extent - start >= CHUNK else bytes(extent - start)


def send(stream: Any, extent: Extent) -> None:
    """Send all of an extent; a host may take little at once."""
    if isinstance(extent, int):
        stream.sendHole(extent)
        return
    for start in range(0, len(extent), CHUNK):
        data = extent[start : start + CHUNK]
        while data:
            data = data[stream.send(data) :]


@contextmanager
def flowing(stream: Any) -> Iterator[None]:
    """Use a stream: finished at the end, which may be where its errors appear, aborted when anything fails."""
    try:
        with translating():
            yield
            stream.finish()
    except BaseException:
        with suppress(libvirt.libvirtError):
            stream.abort()
        raise

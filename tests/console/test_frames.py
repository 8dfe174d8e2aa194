"""Frames from the browser: strict, bounded, and the same however the bytes are cut."""

from __future__ import annotations

import itertools
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.console.wsclient import frame
from webvirt.consoleproxy.frames import MAX_FRAME, FrameReader, Malformed, Opcode, close_frame, header


def read(data: bytes, size: int) -> list[tuple[int, bytes]]:
    reader = FrameReader()
    found: list[tuple[int, bytes]] = []
    for at in range(0, len(data), size):
        found += reader.feed(data[at : at + size])
    return found


@given(st.lists(st.binary(max_size=70_000), max_size=5), st.integers(1, 100_000))
def test_messages_arrive_whole_however_they_are_cut(payloads: list[bytes], size: int) -> None:
    data = b"".join(frame(payload) for payload in payloads)
    size = max(size, len(data) // 200 + 1)
    assert read(data, size) == [(2, payload) for payload in payloads]


def test_fragments_are_handed_on_one_by_one_with_a_ping_between() -> None:
    data = frame(b"a", fin=False) + frame(b"?", 9) + frame(b"b", 0, fin=False) + frame(b"c", 0)
    assert read(data, 3) == [(2, b"a"), (9, b"?"), (0, b"b"), (0, b"c")]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (frame(b"x", masked=False), 1002),
        (frame(b"x", 3), 1002),
        (frame(b"x", 11), 1002),
        (frame(b"x", rsv=4), 1002),
        (frame(b"x", 1), 1003),
        (frame(b"x", 0), 1002),
        (frame(b"x" * 126, 9), 1002),
        (frame(b"", 9, fin=False), 1002),
        (frame(b"a", fin=False) + frame(b"b"), 1002),
        (struct.pack(">BBQ", 0x82, 0xFF, MAX_FRAME + 1) + b"mask", 1009),
        (struct.pack(">BBQ", 0x82, 0xFF, 2**63) + b"mask", 1009),
    ],
    # The frames have random masks, which would give their tests another name each time.
    ids=itertools.count(),
)
def test_what_no_browser_sends_is_refused_before_it_is_held(data: bytes, code: int) -> None:
    with pytest.raises(Malformed) as refused:
        read(data, len(data))
    assert refused.value.code == code


def test_the_largest_frame_is_taken() -> None:
    assert read(frame(b"x" * MAX_FRAME), 65536) == [(2, b"x" * MAX_FRAME)]


@pytest.mark.parametrize(("length", "size"), [(0, 2), (125, 2), (126, 4), (65535, 4), (65536, 10)])
def test_headers_are_as_short_as_they_can_be(length: int, size: int) -> None:
    assert len(header(Opcode.BINARY, length)) == size


def test_a_long_reason_is_cut_at_a_whole_character() -> None:
    closing = close_frame(4403, "界" * 100)
    assert len(closing) <= 127
    assert closing[4:].decode() == "界" * 41

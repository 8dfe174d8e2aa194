"""The filter of what a browser may say: whole messages, judged the same however the bytes are cut."""

from __future__ import annotations

import itertools
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.console.wsclient import VERSION, key_event, qemu_key_event, update_request
from webvirt.consoleproxy.rfb import ClientFilter, NotRfb

NONE = VERSION + b"\x01\x00"
VNC = VERSION + b"\x02" + b"r" * 16 + b"\x00"

words = st.binary(max_size=300)
harmless = st.one_of(
    st.binary(min_size=19, max_size=19).map(lambda rest: b"\x00" + rest),
    st.lists(st.integers(-(2**31), 2**31 - 1), max_size=40).map(
        lambda wanted: struct.pack(f">BBH{len(wanted)}i", 2, 0, len(wanted), *wanted)
    ),
    st.just(update_request(800, 600)),
    st.binary(min_size=9, max_size=9).map(lambda rest: b"\x96" + rest),
    st.binary(max_size=64).map(lambda text: struct.pack(">BxxxIB", 248, 1, len(text)) + text),
    st.just(struct.pack(">BBH", 255, 1, 0)),
    st.just(struct.pack(">BBHBBI", 255, 1, 2, 0, 2, 44100)),
)
touching = st.one_of(
    st.builds(key_event, st.integers(0, 2**32 - 1), down=st.booleans()),
    st.builds(qemu_key_event, st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), down=st.booleans()),
    st.builds(lambda mask: struct.pack(">BBHH", 5, mask, 10, 20), st.integers(0, 127)),
    st.builds(lambda mask: struct.pack(">BBHHB", 5, mask | 128, 10, 20, 1), st.integers(0, 127)),
    words.map(lambda text: struct.pack(">Bxxxi", 6, len(text)) + text),
    words.map(lambda text: struct.pack(">Bxxxi", 6, -len(text)) + text),
    st.just(struct.pack(">BxBB", 250, 1, 4)),
    st.lists(st.binary(min_size=16, max_size=16), max_size=4).map(
        lambda screens: struct.pack(">BxHHBx", 251, 800, 600, len(screens)) + b"".join(screens)
    ),
)
conversations = st.lists(
    st.one_of(harmless.map(lambda said: (said, True)), touching.map(lambda said: (said, False))), max_size=30
)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(edges)]


def fed(pieces: list[bytes], *, view_only: bool) -> bytes:
    judge = ClientFilter(view_only=view_only)
    return b"".join(judge.feed(piece) for piece in pieces)


@given(conversations, st.sampled_from([NONE, VNC]), st.lists(st.integers(0, 10_000), max_size=60))
def test_a_viewer_passes_whole_harmless_messages_however_they_are_cut(
    said: list[tuple[bytes, bool]], start: bytes, places: list[int]
) -> None:
    stream = start + b"".join(message for message, _ in said)
    shared = start[:-1] + b"\x01"
    assert fed(cut(stream, places), view_only=True) == shared + b"".join(message for message, passes in said if passes)


@given(st.binary(max_size=500), st.sampled_from([NONE, VNC]), st.lists(st.integers(0, 10_000), max_size=30))
def test_in_control_everything_passes_but_the_wish_to_be_alone(rest: bytes, start: bytes, places: list[int]) -> None:
    assert fed(cut(start + rest, places), view_only=False) == start[:-1] + b"\x01" + rest


@given(st.binary(max_size=500), st.lists(st.integers(0, 10_000), max_size=30))
def test_whatever_a_viewer_sends_the_display_reads_only_harmless_messages(rest: bytes, places: list[int]) -> None:
    judge = ClientFilter(view_only=True)
    passed = bytearray()
    try:
        for piece in cut(NONE + rest, places):
            passed += judge.feed(piece)
    except NotRfb:
        pass
    if len(passed) > len(NONE):
        # Judged once more, nothing of it may be dropped: all of it is what a viewer may say.
        assert fed([bytes(passed)], view_only=True) == bytes(passed)


def test_a_viewer_is_shared_and_so_is_somebody_in_control() -> None:
    for view_only in (True, False):
        assert fed([NONE], view_only=view_only)[-1] == 1


@pytest.mark.parametrize(
    "said",
    [
        b"RFB 003.003\n",
        b"RFB 005.000\n",
        b"GET / HTTP/1",
        VERSION + b"\x13",
        VERSION + b"\x00",
        NONE + b"\x07",
        NONE + b"\xff\x05",
        NONE + struct.pack(">BBH", 255, 1, 9),
        NONE + struct.pack(">Bxxxi", 6, -(2**31)),
        NONE + struct.pack(">Bxxxi", 6, 2**30),
    ],
)
def test_what_no_viewer_says_ends_the_console(said: bytes) -> None:
    with pytest.raises(NotRfb):
        fed([said], view_only=True)


def test_an_unknown_message_passes_in_control() -> None:
    """The display itself judges those: newer ones must not need a newer proxy."""
    assert fed([NONE + b"\x63news"], view_only=False).endswith(b"\x63news")

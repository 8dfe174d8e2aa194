"""The filter of what a browser may say: whole messages, judged the same however the bytes are cut."""

from __future__ import annotations

import itertools
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.console.wsclient import VERSION, key_event, qemu_key_event, update_request
from webvirt.consoleproxy.rfb import MESSAGES, MOST_HELD, QEMU_MESSAGES, ClientFilter, NotRfb

NONE = VERSION + b"\x01\x00"
LONGEST_HEAD = max(message.head for message in [*MESSAGES.values(), *QEMU_MESSAGES.values()])
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
    passed = fed(cut(start + rest, places), view_only=False)
    everything = start[:-1] + b"\x01" + rest
    assert everything.startswith(passed)
    # What is held back is the beginning of a message.
    assert len(everything) - len(passed) < LONGEST_HEAD


# --- told to watch, or to type, in the middle of it


def head_size(message: bytes) -> int:
    """How many bytes of a message say what it is."""
    known = QEMU_MESSAGES[message[1]] if message[0] == 255 else MESSAGES[message[0]]
    return known.head


def let_go(held: dict[bytes, bytes], message: bytes) -> None:
    """Keep in mind what lets go of the key or the buttons that this message presses."""
    if message[0] == 4:
        key, down, release = message[:1] + message[4:], message[1], b"\x04\0\0\0" + message[4:]
    elif message[0] == 5:
        key, down, release = b"buttons", message[1], b"\x05\0" + message[2:6]
    elif message[:2] == b"\xff\0":
        key, down, release = message[8:], message[3], b"\xff\0\0\0" + message[4:]
    else:
        return
    held.pop(key, None)
    if down:
        held[key] = release


def passing(said: list[tuple[bytes, bool]], at: int, first: bool, then: bool) -> bytes:
    """What should pass where `first` says whether to watch only up to that byte, and `then` afterwards."""
    out, offset = b"", 0
    held: dict[bytes, bytes] = {}
    for message, is_harmless in said:
        view_only = first if offset + head_size(message) <= at else then
        if offset + head_size(message) > at and then:
            out, held = out + b"".join(held.values()), {}
        if is_harmless or not view_only:
            out += message
            let_go(held, message)
        offset += len(message)
    return out + (b"".join(held.values()) if then else b"")


@given(conversations, st.booleans(), st.data())
def test_a_switch_falls_between_two_messages(said: list[tuple[bytes, bool]], first: bool, data: st.DataObject) -> None:
    stream = b"".join(message for message, _ in said)
    at = data.draw(st.integers(0, len(stream)))
    judge = ClientFilter(view_only=first)
    judge.feed(NONE)
    passed = judge.feed(stream[:at]) + judge.switch(view_only=not first)
    passed += b"".join(judge.feed(stream[place : place + 1]) for place in range(at, len(stream)))
    assert passed == passing(said, at, first, not first)


@pytest.mark.parametrize("first", [True, False])
def test_a_switch_at_every_byte_of_a_conversation(first: bool) -> None:
    said = [
        (update_request(8, 8), True),
        (key_event(0x41, down=True), False),
        (struct.pack(">Bxxxi", 6, 5) + b"hello", False),
        (struct.pack(">BBHHB", 5, 0x81, 10, 20, 1), False),
        (qemu_key_event(0x61, 0x1E, down=True), False),
        (struct.pack(">BBHi", 2, 0, 1, 7), True),
        (key_event(0x41, down=False), False),
    ]
    stream = b"".join(message for message, _ in said)
    for at in range(len(stream) + 1):
        judge = ClientFilter(view_only=first)
        judge.feed(NONE)
        passed = judge.feed(stream[:at]) + judge.switch(view_only=not first) + judge.feed(stream[at:])
        assert passed == passing(said, at, first, not first)


def test_a_switch_during_the_handshake() -> None:
    for at in range(len(VNC) + 1):
        judge = ClientFilter(view_only=False)
        passed = judge.feed(VNC[:at]) + judge.switch(view_only=True) + judge.feed(VNC[at:] + key_event(1, down=True))
        assert passed == VNC[:-1] + b"\x01"


def test_nobody_watches_after_what_no_client_says() -> None:
    judge = ClientFilter(view_only=False)
    judge.feed(NONE + b"\x63news")
    with pytest.raises(NotRfb):
        judge.switch(view_only=True)


def test_no_more_keys_are_let_go_of_than_anybody_has() -> None:
    judge = ClientFilter(view_only=False)
    judge.feed(NONE + b"".join(key_event(key, down=True) for key in range(10_000)))
    assert len(judge.switch(view_only=True)) == 8 * MOST_HELD
    assert judge.switch(view_only=True) == b""


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

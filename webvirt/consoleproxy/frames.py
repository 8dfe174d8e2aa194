"""WebSocket frames (RFC 6455), the server's side, as a stream with bounded memory.

websockify does the handshake; its frame decoder takes frames and messages of any size, and its sender loses its place
when a ping meets a frame that is half sent. So the frames are ours.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import NamedTuple

MAX_FRAME = 1024 * 1024
MAX_CONTROL = 125
FIN = 0x80
RESERVED = 0x70
MASKED = 0x80


class Opcode(IntEnum):
    CONTINUATION = 0x0
    TEXT = 0x1
    BINARY = 0x2
    CLOSE = 0x8
    PING = 0x9
    PONG = 0xA


class Malformed(Exception):
    """The browser broke the protocol; `code` is the WebSocket close code that says how."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code


USUAL = FIN | Opcode.BINARY
"""The first byte of nearly every frame."""
KNOWN = frozenset(opcode.value for opcode in Opcode)
LONGER = {126: 2, 127: 8}
"""How many bytes more the length takes, by its short form."""


class Frame(NamedTuple):
    opcode: int
    payload: bytes


def header(opcode: Opcode, length: int) -> bytes:
    """The bytes before the payload of an unfragmented, unmasked frame."""
    if length <= MAX_CONTROL:
        return struct.pack(">BB", FIN | opcode, length)
    if length < 65536:
        return struct.pack(">BBH", FIN | opcode, 126, length)
    return struct.pack(">BBQ", FIN | opcode, 127, length)


def close_frame(code: int, reason: str) -> bytes:
    """A close frame; a reason too long for one is cut at a whole character."""
    words = reason.encode()[: MAX_CONTROL - 2].decode(errors="ignore").encode()
    return header(Opcode.CLOSE, 2 + len(words)) + struct.pack(">H", code) + words


def unmask(payload: bytes, mask: bytes) -> bytes:
    """The payload XORed with the repeated mask, as two big integers: fast without a library."""
    size = len(payload)
    key = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, "little") ^ int.from_bytes(key, "little")).to_bytes(size, "little")


class FrameReader:
    """Takes bytes as they come and gives whole frames; holds one frame at most.

    A message in fragments is handed on piece by piece: a console is a stream of bytes, and what is not gathered
    cannot pile up.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._in_message = False

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that these bytes complete. Raises Malformed."""
        self._buffer += data
        frames = []
        at = 0
        while (end := self._end_of_frame(at)) is not None:
            frames.append(self._frame(at, end))
            at = end
        del self._buffer[:at]
        return frames

    def _end_of_frame(self, at: int) -> int | None:
        """Where the frame that starts at `at` ends, or None while it is not all here; checks its head first."""
        there = len(self._buffer) - at
        if there < 2:
            return None
        first, second = self._buffer[at], self._buffer[at + 1]
        size = second & 0x7F
        if first != USUAL or not second & MASKED or self._in_message:
            self._check(first, second, size)
        start = 6 + LONGER.get(size, 0)
        if there < start:
            return None
        if size == 126:
            (size,) = struct.unpack_from(">H", self._buffer, at + 2)
        elif size == 127:
            (size,) = struct.unpack_from(">Q", self._buffer, at + 2)
        if size > MAX_FRAME:
            raise Malformed(1009, f"a frame of more than {MAX_FRAME} bytes")
        end = at + start + size
        return end if len(self._buffer) >= end else None

    def _check(self, first: int, second: int, size: int) -> None:
        opcode = first & 0x0F
        if first & RESERVED:
            raise Malformed(1002, "reserved bits are set")
        if opcode not in KNOWN:
            raise Malformed(1002, f"unknown opcode {opcode}")
        if not second & MASKED:
            raise Malformed(1002, "a frame without mask")
        if opcode >= Opcode.CLOSE and (size > MAX_CONTROL or not first & FIN):
            raise Malformed(1002, "a control frame too long or in fragments")
        if opcode == Opcode.TEXT:
            raise Malformed(1003, "a console carries bytes, not text")
        if opcode == Opcode.CONTINUATION and not self._in_message:
            raise Malformed(1002, "a continuation of nothing")
        if opcode == Opcode.BINARY and self._in_message:
            raise Malformed(1002, "a new message inside another")

    def _frame(self, at: int, end: int) -> Frame:
        first = self._buffer[at]
        if first != USUAL and first & 0x0F < Opcode.CLOSE:
            self._in_message = not first & FIN
        start = at + 2 + LONGER.get(self._buffer[at + 1] & 0x7F, 0)
        mask = bytes(self._buffer[start : start + 4])
        return Frame(first & 0x0F, unmask(bytes(self._buffer[start + 4 : end]), mask))

"""A small WebSocket client by hand, which can also say what no browser would."""

from __future__ import annotations

import base64
import os
import socket
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from webvirt import publicurl

ORIGIN = "http://127.0.0.1:8120"
COOKIE = f"{publicurl.read(ORIGIN).jar}-session"
VERSION = b"RFB 003.008\n"
SCANCODES = {
    **{letter: code for code, letter in enumerate("qwertyuiop", 0x10)},
    **{letter: code for code, letter in enumerate("asdfghjkl", 0x1E)},
    **{letter: code for code, letter in enumerate("zxcvbnm", 0x2C)},
    **{digit: code for code, digit in enumerate("1234567890", 0x02)},
    " ": 0x39,
    "\n": 0x1C,
    "/": 0x35,
    ".": 0x34,
}
SHIFT = 0x2A


class Closed(Exception):
    """The other side closed; `code` is 0 where it did so without a close frame."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{code} {reason}")
        self.code = code
        self.reason = reason


class Rejected(Exception):
    """The handshake was answered with something else than 101."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"{status} {text[:200]}")
        self.status = status


@dataclass(frozen=True)
class Visitor:
    """What a page sends along with its handshake."""

    ticket: str = ""
    session_key: str = ""
    origins: tuple[str, ...] = (ORIGIN,)
    protocols: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    cookie: str = COOKIE
    """The name of the cookie with the session's key."""

    def handshake(self, path: str) -> bytes:
        protocols = self.protocols if self.protocols is not None else f"binary, ticket.{self.ticket}"
        lines = [
            f"GET {path} HTTP/1.1",
            "Host: 127.0.0.1:8120",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}",
            "Sec-WebSocket-Version: 13",
            *(f"Origin: {origin}" for origin in self.origins),
            *([f"Sec-WebSocket-Protocol: {protocols}"] if protocols else []),
            *([f"Cookie: theme=dark; {self.cookie}={self.session_key}"] if self.session_key else []),
            *(f"{name}: {value}" for name, value in self.headers),
        ]
        return "\r\n".join([*lines, "", ""]).encode()


class Client:
    """One connection. `recv` gives the bytes of the next message and answers pings on the way."""

    def __init__(self, where: Path | tuple[str, int], visitor: Visitor, path: str = "/ws/console/bytes/") -> None:
        self.sock = socket.socket(socket.AF_UNIX if isinstance(where, Path) else socket.AF_INET)
        self.sock.settimeout(15)
        self.sock.connect(str(where) if isinstance(where, Path) else where)
        self.answers_pings = True
        self.pings = 0
        self._buffer = bytearray()
        self._message = bytearray()
        try:
            self.sock.sendall(visitor.handshake(path))
            self.response = self._response()
        except (OSError, Rejected):
            self.sock.close()
            raise

    def _response(self) -> str:
        while b"\r\n\r\n" not in self._buffer:
            data = self.sock.recv(65536)
            if not data:
                raise Rejected(0, self._buffer.decode(errors="replace"))
            self._buffer += data
        head, _, rest = self._buffer.partition(b"\r\n\r\n")
        self._buffer = bytearray(rest)
        text = head.decode()
        status = int(text.split(" ", 2)[1])
        if status != 101:
            raise Rejected(status, text)
        return text

    # --- saying

    def send(self, payload: bytes, opcode: int = 2, *, fin: bool = True, masked: bool = True, rsv: int = 0) -> None:
        self.sock.sendall(frame(payload, opcode, fin=fin, masked=masked, rsv=rsv))

    # --- hearing

    def recv(self) -> bytes:
        """The payload of the next data frame. Raises Closed."""
        while True:
            opcode, payload = self._frame()
            if opcode in (0, 1, 2):
                return payload
            if opcode == 9:
                self.pings += 1
                if self.answers_pings:
                    self.send(payload, 10)
            elif opcode == 8:
                code = struct.unpack(">H", payload[:2])[0] if len(payload) >= 2 else 1005
                raise Closed(code, payload[2:].decode())

    def read(self, size: int) -> bytes:
        """So many bytes of the stream."""
        while len(self._message) < size:
            self._message += self.recv()
        taken = bytes(self._message[:size])
        del self._message[:size]
        return taken

    def closed(self, within: float = 15) -> Closed:
        """How it was closed; whatever comes before that is thrown away. Raises TimeoutError."""
        until = time.monotonic() + within
        while True:
            self.sock.settimeout(max(0.01, until - time.monotonic()))
            try:
                self.recv()
            except Closed as closed:
                self.sock.close()
                return closed
            except ConnectionError:
                self.sock.close()
                return Closed(0, "connection reset")

    def _frame(self) -> tuple[int, bytes]:
        first, second = self._take(2)
        size = second & 0x7F
        if size == 126:
            (size,) = struct.unpack(">H", self._take(2))
        elif size == 127:
            (size,) = struct.unpack(">Q", self._take(8))
        return first & 0x0F, self._take(size)

    def _take(self, size: int) -> bytes:
        while len(self._buffer) < size:
            data = self.sock.recv(262144)
            if not data:
                raise Closed(0, "no close frame")
            self._buffer += data
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        return taken

    def close(self) -> None:
        self.sock.close()

    # --- speaking RFB

    def handshake(self) -> tuple[int, int]:
        """Become a viewer of a display without password; returns its width and height."""
        assert self.read(12) == VERSION
        self.send(VERSION)
        count = self.read(1)[0]
        assert 1 in self.read(count)
        self.send(b"\x01")
        assert self.read(4) == bytes(4)
        self.send(b"\x00")
        width, height, _, size = struct.unpack(">HH16sI", self.read(24))
        self.read(size)
        return width, height


def frame(payload: bytes, opcode: int = 2, *, fin: bool = True, masked: bool = True, rsv: int = 0) -> bytes:
    first = (0x80 if fin else 0) | rsv << 4 | opcode
    flag = 0x80 if masked else 0
    size = len(payload)
    if size < 126:
        head = struct.pack(">BB", first, flag | size)
    elif size < 65536:
        head = struct.pack(">BBH", first, flag | 126, size)
    else:
        head = struct.pack(">BBQ", first, flag | 127, size)
    if not masked:
        return head + payload
    mask = os.urandom(4)
    key = (mask * (size // 4 + 1))[:size]
    body = (int.from_bytes(payload, "little") ^ int.from_bytes(key, "little")).to_bytes(size, "little")
    return head + mask + body


def key_event(keysym: int, *, down: bool) -> bytes:
    return struct.pack(">BBHI", 4, down, 0, keysym)


def qemu_key_event(keysym: int, scancode: int, *, down: bool) -> bytes:
    return struct.pack(">BBHII", 255, 0, down, keysym, scancode)


def update_request(width: int, height: int, *, incremental: bool = False) -> bytes:
    return struct.pack(">BBHHHH", 3, incremental, 0, 0, width, height)


def strokes(text: str, *, extended: bool = True) -> Iterator[bytes]:
    """Messages that press the keys of small letters, digits and `>`, one after the other."""
    for letter in text:
        plain = "." if letter == ">" else letter
        keysym = 0xFF0D if letter == "\n" else ord(letter)
        for down in (True, False):
            if letter == ">" and down:
                yield qemu_key_event(0xFFE1, SHIFT, down=True)
            yield qemu_key_event(keysym, SCANCODES[plain], down=down) if extended else key_event(keysym, down=down)
            if letter == ">" and not down:
                yield qemu_key_event(0xFFE1, SHIFT, down=False)

"""`python tlschild.py HOST PORT NAME FOLDER`: ends the TLS of a display for one console.

It is handed the console's socket as its standard input, speaks VeNCrypt and TLS with the display, and lets the console
see a display without TLS. What goes wrong before that is a line on its standard error: `tls` or `display`, the part
that failed, and a sentence. It ends with either side. A process for each console: so nothing of ours is imported.
"""

from __future__ import annotations

import select
import socket
import ssl
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

SECONDS = 5.0
GREETING = b"RFB 003.008\n"
VENCRYPT = 19
VERSION = b"\x00\x02"
X509_NONE = 260
X509_VNC = 261
INSIDE = {X509_NONE: b"\x01", X509_VNC: b"\x02"}
"""What the display asks for inside the TLS, as RFB numbers it without. Only kinds that show a certificate: anybody may
answer in place of a display by the others."""
PIECE = 64 * 1024


class NotGood(Exception):
    """The display cannot be taken for the host's own, or speaks no TLS that we know; `str(error)` is why."""


def main(host: str, port: str, name: str, folder: str) -> None:
    console = socket.socket(fileno=sys.stdin.fileno())
    try:
        guest, kind = secured(host, int(port), name, Path(folder))
        console.settimeout(SECONDS)
        introduce(console, kind)
    except NotGood as error:
        sys.stderr.write(f"tls {error}\n")
    except OSError as error:
        sys.stderr.write(f"display {error}\n")
    else:
        carry(console, guest)


def secured(host: str, port: int, name: str, folder: Path) -> tuple[ssl.SSLSocket, int]:
    """The display behind its TLS, and which of X509_NONE and X509_VNC it speaks. Raises NotGood or OSError."""
    guest = socket.create_connection((host, port), timeout=SECONDS)
    guest.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if VENCRYPT not in offered(guest):
        raise NotGood("the display offers no TLS any more")
    kind = chosen(guest)
    return handshaken(guest, name, folder), kind


def offered(guest: socket.socket) -> bytes:
    """The kinds of security that a display offers, when it has greeted and we have. Raises OSError."""
    take(guest, len(GREETING))
    guest.sendall(GREETING)
    return take(guest, take(guest, 1)[0])


def chosen(guest: socket.socket) -> int:
    """Agree with a display on a kind of VeNCrypt. Raises NotGood or OSError."""
    guest.sendall(bytes([VENCRYPT]))
    version = take(guest, 2)
    guest.sendall(VERSION)
    if version < VERSION or take(guest, 1) != b"\x00":
        raise NotGood("the display speaks another version of VeNCrypt than 0.2")
    count = take(guest, 1)[0]
    kinds = [int.from_bytes(take(guest, 4), "big") for _ in range(count)]
    kind = next((kind for kind in INSIDE if kind in kinds), None)
    if kind is None:
        known = ", ".join(map(str, kinds))
        raise NotGood(f"the display shows no certificate, or asks for a user (VeNCrypt {known})")
    guest.sendall(kind.to_bytes(4, "big"))
    if take(guest, 1) != b"\x01":
        raise NotGood("the display does not want to speak TLS with us")
    return kind


def handshaken(guest: socket.socket, name: str, folder: Path) -> ssl.SSLSocket:
    """TLS with a display whose certificate is signed by our authority for hosts and names this one. Raises NotGood."""
    try:
        context = ssl.create_default_context(cafile=str(folder / "cacert.pem"))
        if (folder / "clientcert.pem").exists():
            context.load_cert_chain(folder / "clientcert.pem", folder / "clientkey.pem")
    except OSError as error:
        raise NotGood(f"the certificates for TLS cannot be read: {error}") from None
    try:
        return context.wrap_socket(guest, server_hostname=name)
    except ssl.SSLCertVerificationError as error:
        words = error.verify_message.rstrip(".")
        raise NotGood(f"the display's certificate is not good for {name}: {words}") from None
    except ssl.SSLError as error:
        raise NotGood(f"the display ends the TLS: {error.reason}") from None


def take(end: socket.socket, size: int) -> bytes:
    """So many bytes. Raises OSError."""
    data = b""
    while len(data) < size:
        piece = end.recv(size - len(data))
        if not piece:
            raise ConnectionError("it hung up")
        data += piece
    return data


def introduce(console: socket.socket, kind: int) -> None:
    """Greet the console as a display without TLS; what follows is the display's own. Raises NotGood or OSError."""
    console.sendall(GREETING)
    if take(console, len(GREETING)) != GREETING:
        raise NotGood("only version 3.8 of the protocol is spoken with a display that has TLS")
    console.sendall(b"\x01" + INSIDE[kind])
    if take(console, 1) != INSIDE[kind]:
        raise NotGood("the browser chose what was not offered")


class Way:
    """One of the two directions: holds what was read until it is written, and reads no more meanwhile."""

    def __init__(self, source: socket.socket, sink: socket.socket) -> None:
        self.source, self.sink = source, sink
        self.held = b""

    def moved(self) -> bool:
        """Move what can be moved now; whether it was anything. Raises OSError or EOFError where a side is gone."""
        if self.held:
            sent = tried(lambda: self.sink.send(self.held)) or 0
            self.held = self.held[sent:]
            return sent > 0
        got = tried(lambda: self.source.recv(PIECE))
        if got == b"":
            raise EOFError
        self.held = got or b""
        return bool(got)

    def wants(self, end: socket.socket) -> int:
        """What it waits for at one of its ends."""
        if end is self.sink:
            return select.POLLOUT if self.held else 0
        return 0 if self.held else select.POLLIN


def carry(console: socket.socket, guest: ssl.SSLSocket) -> None:
    """Carry bytes until either side ends it, reading from one only while the other keeps up."""
    ways = Way(guest, console), Way(console, guest)
    poll = select.poll()
    for end in (console, guest):
        end.setblocking(False)
    try:
        while True:
            # The TLS may hold bytes that the kernel knows nothing of: so first everything is tried.
            if not sum(way.moved() for way in ways):
                for end in (console, guest):
                    poll.register(end, ways[0].wants(end) | ways[1].wants(end))
                poll.poll()
    except (OSError, EOFError):
        return


def tried(call: Callable[[], T]) -> T | None:
    """What came of it; None where it would have to wait. Raises OSError where the side is gone."""
    try:
        return call()
    except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
        return None


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Stand-ins for a guest's display where a test needs what no guest does: a flood, or an echo of every byte."""

from __future__ import annotations

import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.console.wsclient import VERSION, Client

SERVER_INIT = b"\x02\x80\x01\xe0" + bytes(16) + b"\x00\x00\x00\x05blank"


class Display(socketserver.BaseRequestHandler):
    """Speaks the handshake of RFB, then does as its subclass says."""

    request: socket.socket
    server: Any

    def handle(self) -> None:
        self.server.taken += 1
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            self.request.sendall(VERSION)
            self.read(12)
            self.request.sendall(b"\x01\x01")
            self.read(1)
            self.request.sendall(bytes(4))
            self.read(1)
            self.request.sendall(SERVER_INIT)
            self.serve()
        except OSError:
            return

    def read(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            piece = self.request.recv(size - len(data))
            if not piece:
                raise ConnectionError
            data += piece
        return data

    def serve(self) -> None:
        raise NotImplementedError


class Echo(Display):
    def serve(self) -> None:
        while data := self.request.recv(65536):
            self.server.heard += data
            self.request.sendall(data)


class Flood(Display):
    """Sends without end, and keeps count of what was taken from it."""

    def serve(self) -> None:
        piece = bytes(256 * 1024)
        while True:
            sent = self.request.send(piece)
            # Not in one: what others have added meanwhile would be lost.
            self.server.sent += sent


WISH = b"\x03" + bytes(9)
"""For a picture, which those who watch may have, too."""


class Either(Echo, Flood):
    """Sends without end to whoever wishes for a picture, and echoes what anybody else says after their first byte."""

    def serve(self) -> None:
        kind: type[Display] = Flood if self.read(1) == WISH[:1] else Echo
        kind.serve(self)


class Deaf(Display):
    """Reads nothing after the handshake."""

    def serve(self) -> None:
        self.server.ends.wait()


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True

    def __init__(self, kind: type[Display]) -> None:
        super().__init__(("127.0.0.1", 0), kind)
        self.heard = bytearray()
        self.sent = 0
        self.taken = 0
        self.ends = threading.Event()

    @property
    def address(self) -> tuple[str, int]:
        host, port = self.server_address[:2]
        return str(host), int(port)


@contextmanager
def display(kind: type[Display]) -> Iterator[Server]:
    """A display of this kind on a port of loopback."""
    server = Server(kind)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.ends.set()
        server.shutdown()
        server.server_close()


def echoed(client: Client, payload: bytes) -> bytes:
    client.send(payload)
    return client.read(len(payload))

"""Carries a volume to who fetches it, in the visitor's own process: as fast as they take it, and never faster.

Only the front's internal redirect leads here, after a page or the API has seen whose operation it is.
"""

from __future__ import annotations

import contextlib
import select
import socket
from collections.abc import Callable

from django.utils.http import content_disposition_header

from webvirt.services import operations, runners

LOOK_SECONDS = 1.0


class Visitor:
    """The connection of who waits for the file."""

    def __init__(self, line: socket.socket) -> None:
        self._line = line
        self.begun = False

    def begin(self, name: str, size: int) -> None:
        disposition = content_disposition_header(as_attachment=True, filename=name)
        self.answer(
            "200 OK",
            f"Content-Length: {size}",
            "Content-Type: application/octet-stream",
            f"Content-Disposition: {disposition}",
            "Cache-Control: no-store",
            "X-Content-Type-Options: nosniff",
        )
        self.begun = True

    def write(self, data: bytes, meanwhile: Callable[[], None]) -> None:
        rest = memoryview(data)
        while rest:
            if select.select([], [self._line], [], LOOK_SECONDS)[1]:
                rest = rest[self.send(rest) :]
            else:
                meanwhile()

    def send(self, data: memoryview) -> int:
        try:
            return self._line.send(data)
        except OSError:
            raise operations.Cancelled from None

    def answer(self, status: str, *headers: str) -> None:
        lines = [f"HTTP/1.1 {status}", *headers, "Connection: close", "", ""]
        self.send(memoryview("\r\n".join(lines).encode()))


def carry(line: socket.socket, operation: int) -> None:
    """Run the operation with this visitor as its end; where nothing can be sent, show them to its page."""
    # However long they pause: the front decides when that is too long.
    line.setblocking(False)
    visitor = Visitor(line)
    runners.run(operation, to=visitor)
    if not visitor.begun:
        # Who has gone away meanwhile needs no answer, and that is no failure of ours.
        with contextlib.suppress(operations.Cancelled):
            visitor.answer("303 See Other", f"Location: /operations/{operation}/", "Content-Length: 0")

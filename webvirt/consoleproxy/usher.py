"""Finds out whether a visitor is let in, and whereto, in a process of its own that can be killed.

A dead host can hold libvirt for minutes, and its client library leaves threads and memory behind: neither may cost the
console's process. What is found comes back over a socket, the open display as a file descriptor.
"""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from webvirt.services import consoles
from webvirt.services.consoles import Admission, Close, Refusal

DEADLINE_SECONDS = 20.0


@dataclass(frozen=True)
class Knock:
    """What a visitor brings: the ticket and the key of the login session."""

    ticket: str
    session_key: str


Admit = Callable[[Knock], Admission]
"""Says whose console it is, or raises Refusal."""
Dial = Callable[[Admission, socket.socket], list[socket.socket]]
"""Opens the display: its socket, then any that must stay open as long; what it starts besides ends when the second
parameter breaks. Raises Refusal."""


def admit(knock: Knock) -> Admission:
    """Whose console it is, by the ticket and the login."""
    return consoles.redeem(knock.ticket, knock.session_key)


class Usher:
    """The process that decides on one visitor."""

    def __init__(self, line: socket.socket) -> None:
        self._line = line

    def admission(self) -> Admission:
        """Who was let in, or Refusal."""
        message, _ = self._hear()
        return Admission(**message)

    def display(self) -> list[socket.socket]:
        """The open display, or Refusal."""
        _, fds = self._hear()
        return [socket.socket(fileno=fd) for fd in fds]

    def _hear(self) -> tuple[dict[str, Any], list[int]]:
        try:
            said, fds, _, _ = socket.recv_fds(self._line, 65536, 4)
        except TimeoutError:
            raise Refusal(Close.HOST, f"the host did not answer within {DEADLINE_SECONDS:.0f} s") from None
        message = json.loads(said or b'{"refused": 4421, "words": "the console proxy failed; see its log"}')
        if "refused" in message:
            raise Refusal(Close(message["refused"]), message["words"])
        return message, fds


@contextmanager
def ushered(admit: Admit, dial: Dial, knock: Knock, life: socket.socket) -> Iterator[Usher]:
    """An usher at work on this visitor; its process does not outlive the block."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    pid = os.fork()
    if not pid:
        try:
            ours.close()
            work(theirs, admit, dial, knock, life)
        finally:
            os._exit(0)
    theirs.close()
    ours.settimeout(DEADLINE_SECONDS)
    try:
        yield Usher(ours)
    finally:
        ours.close()
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def work(line: socket.socket, admit: Admit, dial: Dial, knock: Knock, life: socket.socket) -> None:
    """In the usher's process: say who it is, then hand over the display."""
    try:
        admission = admit(knock)
        line.send(json.dumps(vars(admission)).encode())
        display = dial(admission, life)
        socket.send_fds(line, [b"{}"], [end.fileno() for end in display])
    except Refusal as refusal:
        line.send(json.dumps({"refused": refusal.code, "words": str(refusal)}).encode())

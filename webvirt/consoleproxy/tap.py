"""Reads a guest's serial line, once, for however many watch it: libvirt lets one alone have it.

A process of its own for each guest. What the guest said is kept, and every viewer takes it from there at their own
speed: the fastest sets the pace, who is too slow misses a piece and is told, and who comes late sees what was before.
It goes on for a while when nobody watches any more, and what it has is kept in a file for the next one.
"""

from __future__ import annotations

import os
import queue
import select
import socket
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from webvirt.hypervisor.errors import HypervisorError
from webvirt.hypervisor.serial import SerialLine

KEPT = 1024 * 1024
"""Bytes of what the guest said last."""
AT_ONCE = 64 * 1024
TYPED = 4096
MOST_TYPED = 64
"""Pieces that wait for a guest that does not read: more is not taken from anybody."""
BROKEN = select.POLLERR | select.POLLHUP | select.POLLNVAL
LINGER_SECONDS = 60.0
SAVE_SECONDS = 10.0
PATIENCE_SECONDS = 0.5
"""So long the fastest viewer may take nothing before the guest is read on all the same."""


@dataclass
class Scrollback:
    """What was said last, counted in bytes since the beginning: `begin` is the first that is still here."""

    begin: int = 0
    data: bytearray = field(default_factory=bytearray)

    @property
    def end(self) -> int:
        return self.begin + len(self.data)

    def add(self, data: bytes) -> None:
        self.data += data
        # Not at each piece: it moves all that is kept.
        if len(self.data) > 2 * KEPT:
            self.begin += len(self.data) - KEPT
            del self.data[:-KEPT]

    def since(self, at: int) -> bytes:
        """What follows, a piece of it."""
        start = at - self.begin
        return bytes(self.data[start : start + AT_ONCE])

    def last(self) -> bytes:
        return bytes(self.data[-KEPT:])


@dataclass
class Viewer:
    """Somebody who watches: how far they have got, and what is to be said to them before they go on."""

    end: socket.socket
    at: int
    notice: bytes = b""


class Tap:
    """One guest's line. `listener` brings viewers, `life` breaks when the console proxy is gone."""

    def __init__(self, line: SerialLine, listener: socket.socket, life: socket.socket, file: Path) -> None:
        self.line = line
        self.listener = listener
        self.life = life
        self.file = file
        self.kept = Scrollback(data=bytearray(before(file)))
        self.viewers: dict[int, Viewer] = {}
        self._moved = threading.Condition()
        """Guards what is kept and who watches; notified when a viewer got on."""
        self._typed: queue.Queue[bytes] = queue.Queue(MOST_TYPED)
        self._is_over = False
        self._woken, self._waker = os.pipe()
        self._poll = select.poll()
        self._alone_since = self._saved_at = time.monotonic()
        self._saved_to = self.kept.end

    def run(self) -> None:
        """Until the guest stops, the proxy is gone, or nobody has watched for a while."""
        for end in (self._woken, self._waker):
            os.set_blocking(end, False)
        self.listener.setblocking(False)
        for part in (self.listener, self.life, self._woken):
            self._poll.register(part, select.POLLIN)
        for work in (self._read, self._write):
            threading.Thread(target=work, daemon=True).start()
        try:
            while not self._ends():
                self._turn()
        finally:
            self.listener.close()
            self._say_all()
            self._save()

    def _ends(self) -> bool:
        alone = not self.viewers and time.monotonic() - self._alone_since > LINGER_SECONDS
        return self._is_over or alone

    def _turn(self) -> None:
        """Wait for what can be done now, and do it."""
        for viewer in self.viewers.values():
            behind = viewer.notice or viewer.at < self.kept.end
            takes = 0 if self._typed.full() else select.POLLIN
            self._poll.register(viewer.end, takes | (select.POLLOUT if behind else 0))
        for number, events in self._poll.poll(1000):
            if number == self.listener.fileno():
                self._welcome()
            elif number == self.life.fileno():
                self._is_over = True
            elif number == self._woken:
                os.read(self._woken, 65536)
            elif number in self.viewers:
                self._serve(self.viewers[number], gone=bool(events & BROKEN))
        if time.monotonic() - self._saved_at > SAVE_SECONDS:
            self._save()

    # --- viewers

    def _welcome(self) -> None:
        with suppress(BlockingIOError):
            end, _address = self.listener.accept()
            end.setblocking(False)
            with self._moved:
                self.viewers[end.fileno()] = Viewer(end, self.kept.begin)

    def _serve(self, viewer: Viewer, *, gone: bool) -> None:
        """Take what they type, and tell them more."""
        try:
            if gone or not (self._typed.full() or self._hear(viewer)):
                raise ConnectionError
            self._tell(viewer)
        except BlockingIOError:
            return
        except OSError:
            with self._moved:
                del self.viewers[viewer.end.fileno()]
            self._poll.unregister(viewer.end)
            viewer.end.close()
            self._alone_since = time.monotonic()

    def _hear(self, viewer: Viewer) -> bool:
        """Whether they are still there."""
        with suppress(BlockingIOError):
            typed = viewer.end.recv(TYPED)
            if typed:
                self._typed.put_nowait(typed)
            return bool(typed)
        return True

    def _tell(self, viewer: Viewer) -> None:
        if viewer.notice:
            viewer.notice = viewer.notice[viewer.end.send(viewer.notice) :]
            return
        with self._moved:
            if missed := max(0, self.kept.begin - viewer.at):
                viewer.at = self.kept.begin
                viewer.notice = f"\r\n\x1b[0m[… {missed} B …]\r\n".encode()
                return
            piece = self.kept.since(viewer.at)
        if piece:
            viewer.at += viewer.end.send(piece)
            with self._moved:
                self._moved.notify()

    def _say_all(self) -> None:
        """What the guest said at its end goes to whoever takes it at once."""
        for viewer in self.viewers.values():
            with suppress(OSError):
                while viewer.at < self.kept.end:
                    self._tell(viewer)
            viewer.end.close()

    # --- the guest, in threads of their own: libvirt's calls wait

    def _read(self) -> None:
        with suppress(HypervisorError):
            while data := self.line.receive():
                with self._moved:
                    self.kept.add(data)
                    self._wake()
                    while self._is_ahead() and self._moved.wait(PATIENCE_SECONDS):
                        continue
        self._is_over = True
        self._wake()

    def _is_ahead(self) -> bool:
        """Whether even the fastest viewer is so far behind that they would soon miss something."""
        return bool(self.viewers) and self.kept.end - max(each.at for each in self.viewers.values()) > KEPT // 2

    def _write(self) -> None:
        with suppress(HypervisorError):
            while True:
                self.line.send(self._typed.get())
                # Whoever waited until there was room may go on.
                self._wake()

    def _wake(self) -> None:
        # Where the pipe is full, there is enough in it to wake anybody; and nobody may wait here, with the guard held.
        with suppress(BlockingIOError):
            os.write(self._waker, b"w")

    # --- the file

    def _save(self) -> None:
        self._saved_at = time.monotonic()
        if self._saved_to == self.kept.end:
            return
        with self._moved:
            data, self._saved_to = self.kept.last(), self.kept.end
        # A disk that is full costs what was said before, not the console.
        with suppress(OSError):
            self.file.parent.mkdir(mode=0o700, exist_ok=True)
            made = self.file.with_suffix(".new")
            made.touch(mode=0o600)
            made.write_bytes(data)
            made.replace(self.file)


def before(file: Path) -> bytes:
    """What an earlier one kept, and from when that is."""
    try:
        data, at = file.read_bytes()[-KEPT:], file.stat().st_mtime
    except OSError:
        return b""
    gap = f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M} … {datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    return data + f"\r\n\x1b[0m[{gap}]\r\n".encode()

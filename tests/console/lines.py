"""A stand-in for a guest's serial line where a test needs what no guest does, and a tap that reads it."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

from tests.until import until
from webvirt.consoleproxy.tap import Tap


class Line:
    """A guest's line in place of libvirt's: it hears what is `said` to it, and says what it is told to."""

    def __init__(self) -> None:
        self.here, self._there = socket.socketpair()
        self.takes = threading.Event()
        self.takes.set()

    def receive(self) -> bytes:
        return self._there.recv(65536)

    def send(self, data: bytes) -> None:
        self.takes.wait()
        self._there.sendall(data)

    def close(self) -> None:
        self._there.close()

    def heard(self) -> bytes:
        self.here.settimeout(5)
        return self.here.recv(65536)


class Tapped:
    """A tap at work in a thread, for who connects to `path`."""

    def __init__(self, path: Path, line: Line | None = None) -> None:
        self.line = line or Line()
        self.path, self.file = path, path.parent / "serial" / "guest.log"
        listener = socket.socket(socket.AF_UNIX)
        self.path.unlink(missing_ok=True)
        listener.bind(str(self.path))
        listener.listen()
        self.proxy, life = socket.socketpair()
        self.tap = Tap(self.line, listener, life, self.file)  # type: ignore[arg-type]
        self.thread = threading.Thread(target=self.tap.run)
        self.thread.start()

    def viewer(self) -> socket.socket:
        end = socket.socket(socket.AF_UNIX)
        end.settimeout(5)
        end.connect(str(self.path))
        return end

    def has_ended(self) -> None:
        until(lambda: not self.thread.is_alive(), what="the tap has ended")

    def end(self) -> None:
        self.line.here.close()
        self.line.takes.set()
        self.proxy.close()
        self.has_ended()

"""The way to a guest's serial line: to the process that reads it, which is started where there is none yet."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from django.conf import settings

from webvirt.consoleproxy.hops import refusal_of
from webvirt.consoleproxy.tap import Tap
from webvirt.hypervisor.connection import connect
from webvirt.hypervisor.errors import HypervisorError
from webvirt.hypervisor.types import HostAddress
from webvirt.services.consoles import Admission, Close, Refusal, log_of

log = logging.getLogger(__name__)

CONNECT_SECONDS = 5.0


class LineFilter:
    """What a browser may say to a serial line: anything, or nothing where it may only watch."""

    def __init__(self, *, view_only: bool) -> None:
        self._view_only = view_only
        self._last = b""
        self._owed = 0
        """Bytes of a character that was begun before the mode changed."""

    def feed(self, data: bytes) -> bytes:
        """What of these bytes goes to the line."""
        begun = 0
        while begun < min(self._owed, len(data)) and is_within(data[begun]):
            begun += 1
        self._owed = self._owed - begun if begun == len(data) else 0
        self._last = (self._last + data)[-3:]
        # What was begun is ended as it was begun.
        return data[:begun] if self._view_only else data[begun:]

    def switch(self, *, view_only: bool) -> bytes:
        """From the next character on, judge by this."""
        if view_only != self._view_only:
            self._view_only = view_only
            self._owed = 0 if self._owed else missing(self._last)
        return b""


def is_within(byte: int) -> bool:
    """Whether a byte of UTF-8 goes on with a character."""
    return byte & 0xC0 == 0x80


def missing(last: bytes) -> int:
    """How many bytes the last character of this lacks, in UTF-8."""
    for there in range(1, len(last) + 1):
        lead = last[-there]
        if not is_within(lead):
            size = 4 if lead >= 0xF0 else 3 if lead >= 0xE0 else 2 if lead >= 0xC0 else 1
            return max(0, size - there)
    return 0


def reach(address: HostAddress, admission: Admission, life: socket.socket) -> socket.socket:
    """Connected to who reads the guest's line. Raises Refusal that names the hop that failed."""
    path = settings.WEBVIRT_HOME / "run" / f"serial-{admission.host}-{admission.domain_uuid}.sock"
    with held(path.with_suffix(".lock")):
        with suppress(FileNotFoundError, ConnectionRefusedError):
            return connected(path)
        start(address, admission, life, path)
        return connected(path)


def connected(path: Path) -> socket.socket:
    end = socket.socket(socket.AF_UNIX)
    end.settimeout(CONNECT_SECONDS)
    end.connect(str(path))
    return end


@contextmanager
def held(lock: Path) -> Iterator[None]:
    """Of two who come at once, one starts it."""
    handle = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        # What was forked meanwhile has it as well: closing alone would not let go of it.
        fcntl.flock(handle, fcntl.LOCK_UN)
        os.close(handle)


def start(address: HostAddress, admission: Admission, life: socket.socket, path: Path) -> None:
    """Start the process that reads the line, and wait until it does. Raises Refusal."""
    heard, said = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            # Nobody's child, so that it outlives whoever came first.
            os.setsid()
            if not os.fork():
                read_line(address, admission, life, path, said)
        finally:
            os._exit(0)
    os.close(said)
    os.waitpid(pid, 0)
    with os.fdopen(heard, "rb") as answer:
        message = answer.read()
    if message != b"{}":
        refused = json.loads(message or b'{"refused": 4421, "words": "the console proxy failed; see its log"}')
        raise Refusal(Close(refused["refused"]), refused["words"])


def read_line(address: HostAddress, admission: Admission, life: socket.socket, path: Path, said: int) -> None:
    """In the process of its own: open the line, say so, and be there for who watches."""
    let_go_but(said, life.fileno())
    try:
        with connect(address) as connection, socket.socket(socket.AF_UNIX) as listener:
            line = connection.domains.serial(admission.domain_uuid)
            path.unlink(missing_ok=True)
            listener.bind(str(path))
            listener.listen()
            os.write(said, b"{}")
            os.close(said)
            try:
                Tap(line, listener, life, log_of(admission.domain_uuid)).run()
            finally:
                path.unlink(missing_ok=True)
                line.close()
    except HypervisorError as error:
        refuse(said, refusal_of(error))
    except Exception:
        log.exception("the process that reads a serial line failed")


def let_go_but(*kept: int) -> None:
    """Close all that came along with the fork: the browser above all, which would never be hung up on."""
    before = 3
    for number in [*sorted(kept), os.sysconf("SC_OPEN_MAX")]:
        os.closerange(before, number)
        before = number + 1


def refuse(said: int, refusal: Refusal) -> None:
    with suppress(OSError):
        os.write(said, json.dumps({"refused": refusal.code, "words": str(refusal)}).encode())

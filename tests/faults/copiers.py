"""The processes that copy volumes for a libvirt, to be held in the middle of it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.until import until

MIB = 2**20


def copier(file: Path) -> int:
    """The process that writes this file for the second host's libvirt, once it has written some of it; 0 before."""
    if not file.exists() or file.stat().st_size < MIB:
        return 0
    for line in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            words = line.read_bytes().split(b"\0")
            if words[0].endswith(b"qemu-img") and any(word.endswith(f"/images/{file.name}".encode()) for word in words):
                return int(line.parent.name)
    return 0


@contextmanager
def held(file: Path) -> Iterator[int]:
    """Hold whoever copies to this file for as long; gives its number."""
    pid = until(lambda: copier(file), 30, every=0.02, what="the copier at work")
    os.kill(pid, signal.SIGSTOP)
    try:
        yield pid
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)
    until(lambda: not Path(f"/proc/{pid}").exists(), what="the copier ended")

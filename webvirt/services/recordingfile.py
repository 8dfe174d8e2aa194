"""The file of a recording: what a guest said to one console, and when; never what was typed.

    8 bytes   "wvrec\\x00\\x00\\x01", the last of which is the version
    then frames, in the order in which they were said:
      4 bytes   milliseconds since the recording began, big-endian
      4 bytes   how many bytes follow, big-endian
      n bytes   what the guest said: a piece of its RFB stream (from the handshake on), or of its serial line

Nothing is written but at the end, each frame by one call, so whatever ends the writer leaves a file that is good up to
its last whole frame; what is left of a torn one is passed over by readers.
"""

from __future__ import annotations

import errno
import os
import struct
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from django.conf import settings

from webvirt.models import RecordingEnd

MAGIC = b"wvrec\x00\x00\x01"
FRAME = struct.Struct(">II")
LOOK_BYTES = 1024 * 1024
"""So much is written between two looks at what is left free on the disk."""
LATEST = 2**32 - 1
NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def path_of(pk: int) -> Path:
    """Where a recording lies."""
    path: Path = settings.WEBVIRT_HOME / "recordings" / f"{pk}.rec"
    return path


@dataclass(frozen=True)
class Extent:
    """How much of a recording there is: whole frames alone."""

    size: int
    milliseconds: int


class CannotRecord(Exception):
    """The recording goes no further; `str(error)` is a RecordingEnd."""

    def __init__(self, reason: RecordingEnd) -> None:
        super().__init__(reason.value)
        self.reason = reason


class Recorder:
    """Writes one. Raises CannotRecord as soon as it can be written no further, from the constructor too.

    Appended to the kernel's cache and never waited for; nothing is held in our own memory.
    """

    def __init__(self, path: Path) -> None:
        self.size = self.milliseconds = self._looked_at = 0
        self._most = settings.WEBVIRT_RECORDING_MIB * 2**20
        self._free = settings.WEBVIRT_RECORDINGS_FREE_MIB * 2**20
        self._began = time.monotonic()
        try:
            path.parent.mkdir(mode=0o700, exist_ok=True)
            self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise CannotRecord(why(error)) from None
        try:
            self._look()
            self._append([MAGIC])
        except CannotRecord:
            self.close()
            raise

    def add(self, data: memoryview) -> None:
        """Keep what the guest said just now."""
        if self.size + FRAME.size + len(data) > self._most:
            raise CannotRecord(RecordingEnd.SIZE)
        if self.size - self._looked_at >= LOOK_BYTES:
            self._look()
        now = min(int((time.monotonic() - self._began) * 1000), LATEST)
        self._append([FRAME.pack(now, len(data)), data])
        self.milliseconds = now

    def close(self) -> None:
        os.close(self._file)

    def _append(self, parts: list[bytes | memoryview]) -> None:
        wanted = sum(len(part) for part in parts)
        try:
            written = os.writev(self._file, parts)
        except OSError as error:
            raise CannotRecord(why(error)) from None
        if written < wanted:
            # There was room for a part of it, which makes room again.
            with suppress(OSError):
                os.ftruncate(self._file, self.size)
            raise CannotRecord(RecordingEnd.FULL)
        self.size += wanted

    def _look(self) -> None:
        self._looked_at = self.size
        disk = os.fstatvfs(self._file)
        if disk.f_bavail * disk.f_frsize < self._free:
            raise CannotRecord(RecordingEnd.FULL)


def why(error: OSError) -> RecordingEnd:
    return RecordingEnd.FULL if error.errno in NO_ROOM else RecordingEnd.FAILED


def frames(file: BinaryIO) -> Iterator[tuple[int, int]]:
    """Of each whole frame its milliseconds and its length, the file standing where its bytes begin.

    Nothing of a file that is no recording.
    """
    end = file.seek(0, os.SEEK_END)
    file.seek(0)
    if file.read(len(MAGIC)) != MAGIC:
        return
    at = len(MAGIC)
    while at + FRAME.size <= end:
        milliseconds, length = FRAME.unpack(file.read(FRAME.size))
        at += FRAME.size + length
        if at > end:
            return
        yield milliseconds, length
        file.seek(at)


def extent_of(path: Path) -> Extent:
    """What is there of a recording whose writer did not say; nothing where there is no file."""
    size, last = 0, 0
    with suppress(FileNotFoundError), path.open("rb") as file:
        for milliseconds, length in frames(file):
            size, last = size + FRAME.size + length, milliseconds
    return Extent(len(MAGIC) + size, last) if size else Extent(0, 0)

"""A guest's serial line, as libvirt's own stream carries it: over every way to a host, with nothing beside it."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import libvirt

from webvirt.hypervisor.calls import translating

PIECE = 64 * 1024


class SerialLine:
    """Bytes both ways. One thread may receive while another sends."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def receive(self) -> bytes:
        """What the guest says, as soon as it says anything; empty when it has stopped. Raises HypervisorError."""
        with translating():
            data: bytes = self._stream.recv(PIECE)
        return data

    def send(self, data: bytes) -> None:
        """Say all of it to the guest, which may take its time. Raises HypervisorError."""
        with translating():
            while data:
                data = data[self._stream.send(data) :]

    def close(self) -> None:
        """Leave the line to others."""
        with suppress(libvirt.libvirtError):
            self._stream.abort()

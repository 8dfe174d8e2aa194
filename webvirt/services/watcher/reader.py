"""Reads by the clock, or when asked to, what can hold a call for long: the whole list, and definitions.

While libvirt kills a guest's process that does not heed, which takes it ten seconds and more, it answers nobody who
asks for the list, though single other domains answer at once. So events are followed elsewhere, one domain at a time.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from webvirt.hypervisor.connection import Connection
from webvirt.hypervisor.errors import NotFound
from webvirt.hypervisor.types import DomainSummary
from webvirt.models import Host
from webvirt.services import inventory

RESYNC_SECONDS = 10.0
"""Events get lost; the whole list costs five calls however long it is."""


@dataclass(frozen=True)
class Listing:
    """All domains of a host, and when (monotonic) the asking began."""

    begun: float
    seen: list[DomainSummary]


@dataclass
class Reader:
    """`tell` gets each list. What is wanted may be said from any thread."""

    host: Host
    tell: Callable[[Listing], None]
    unread: dict[str, None] = field(default_factory=dict)
    """Domains whose definition waits to be read, in order."""
    list_due: float = field(default_factory=lambda: time.monotonic() + RESYNC_SECONDS)
    _wake: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def want_list(self) -> None:
        """Have the list read as soon as can be."""
        self.list_due = 0.0
        self._wake.set()

    def want_definitions(self, uuids: Iterable[str]) -> None:
        """Have the definitions of these domains read after those that wait already."""
        wanted = dict.fromkeys(uuids)
        with self._lock:
            self.unread.update(wanted)
        self._wake.set()

    def run(self, connection: Connection) -> None:
        """Read what is wanted, for as long as the host answers."""
        while True:
            if not self.unread:
                self._wake.wait(max(0.0, self.list_due - time.monotonic()))
            self._wake.clear()
            if time.monotonic() >= self.list_due:
                begun = time.monotonic()
                self.list_due = begun + RESYNC_SECONDS
                self.tell(Listing(begun, connection.domains.list()))
            self.read_one(connection)

    def read_one(self, connection: Connection) -> None:
        """Read the definition that has waited longest."""
        with self._lock:
            uuid = next(iter(self.unread), None)
            if uuid is None:
                return
            # Taken off first: what happens to it from now on has it read once more.
            del self.unread[uuid]
        try:
            reading = connection.domains.read(uuid)
        except NotFound:
            # It went meanwhile; the list says so.
            return
        inventory.remember_definition(self.host, reading)

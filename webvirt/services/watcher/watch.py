"""Watching one host: its events, its list, its use and its screens, in a process that can be killed from outside.

Whatever goes wrong with the host ends this process with a word of why; `manage.py watch` starts it again. A frozen
daemon can hang any call for ever, so liveness is a thread of its own (`Pulse`), and whoever holds the other end of the
pipe kills us when the pulse stops.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from webvirt.hypervisor.connection import Connection, connect
from webvirt.hypervisor.errors import HostRefused, HostUnreachable, HypervisorError, NotFound
from webvirt.hypervisor.types import DomainEvent, DomainState, DomainSummary, ObjectEvent, Touch
from webvirt.models import Definition, Domain, Host, HostState
from webvirt.services import inventory
from webvirt.services.watcher.usage import UsageReader
from webvirt.services.watcher.vignettes import Vignettes

log = logging.getLogger(__name__)

PULSE_SECONDS = 2.0
RESYNC_SECONDS = 10.0
"""Events get lost; the whole list costs five calls however long it is."""
REREAD_PER_RESYNC = 10
"""Definitions read again at each resync, the oldest first, for the changes that send no event."""
HOLD_STOPPED_SECONDS = 0.2
"""A reboot can look like STOPPED + STARTED: a stop is believed after so long."""
GATHER_SECONDS = 0.1
"""The first event is looked at at once, those of a burst together."""
FEW = 40
"""Up to so many domains are looked at one by one; beyond, the whole list is cheaper."""
READ_PER_TURN = 10

INACTIVE = (DomainState.SHUTOFF, DomainState.CRASHED)


@dataclass
class HostWatch:
    """The watch over one host. `pulse` is called about every two seconds while the host answers."""

    host: Host
    pulse: Callable[[], None]
    events: queue.SimpleQueue[DomainEvent | ObjectEvent | str] = field(default_factory=queue.SimpleQueue)
    due: dict[str, float] = field(default_factory=dict)
    """When (monotonic) to look at a domain that something happened to."""
    unread: dict[str, None] = field(default_factory=dict)
    """Domains whose definition waits to be read, in order."""
    active: set[str] = field(default_factory=set)
    """uuids of the domains that run; read by the threads that measure."""
    not_before: float = 0.0
    """Until when (monotonic) what follows in a burst is gathered."""

    def run(self) -> None:
        """Watch until the host fails; the failure is written to its row and raised."""
        try:
            with connect(self.host.address) as connection:
                self._watch(connection)
        except HostRefused as error:
            inventory.host_is(self.host.pk, HostState.REFUSED, str(error))
            raise
        except HypervisorError as error:
            inventory.host_is(self.host.pk, HostState.DOWN, str(error))
            raise

    def _watch(self, connection: Connection) -> None:
        # Listen first, then read: what happens in between waits in the queue, so there is no gap.
        connection.listen(self.events.put, self.events.put)
        threading.Thread(target=self._keep_pulse, args=[connection], name="pulse", daemon=True).start()
        self.resync(connection, watched=False)
        inventory.host_is(self.host.pk, HostState.UP)
        inventory.remember_host(self.host.pk, connection.host.info(), connection.host.capability_checks())
        for helper in (UsageReader(self.host, self.active), Vignettes(self.host, self.active)):
            threading.Thread(target=self._lend, args=[helper.run], daemon=True).start()
        next_resync = time.monotonic() + RESYNC_SECONDS
        while True:
            self.wait(min(next_resync, self._next_due()))
            self.look(connection)
            self.read_some(connection)
            if time.monotonic() >= next_resync:
                self.resync(connection)
                next_resync = time.monotonic() + RESYNC_SECONDS

    def _lend(self, run: Callable[[], None]) -> None:
        """Run a measuring thread; if the host fails under it, the whole watch ends and is started afresh."""
        try:
            run()
        except Exception as error:
            log.exception("measuring %s", self.host.name)
            self.events.put(f"measuring failed: {error}")

    def _keep_pulse(self, connection: Connection) -> None:
        while True:
            try:
                connection.host.ping()
            except HypervisorError as error:
                self.events.put(str(error))
                return
            self.pulse()
            time.sleep(PULSE_SECONDS)

    # --- events

    def _next_due(self) -> float:
        if self.unread:
            return 0.0
        return max(self.not_before, min(self.due.values(), default=float("inf")))

    def wait(self, until: float) -> None:
        """Take what has happened, waiting for it up to `until` (monotonic). Raises when the connection is gone."""
        try:
            self.note(self.events.get(timeout=max(0.0, until - time.monotonic())))
            while True:
                self.note(self.events.get_nowait())
        except queue.Empty:
            return

    def note(self, event: DomainEvent | ObjectEvent | str) -> None:
        if isinstance(event, str):
            raise HostUnreachable(event)
        if isinstance(event, ObjectEvent):
            # Nothing is remembered of what is no domain.
            return
        hold = HOLD_STOPPED_SECONDS if event.what.startswith("stopped") else 0.0
        self.due[event.uuid] = time.monotonic() + hold
        if event.touch == Touch.DEFINITION:
            self.unread[event.uuid] = None

    def look(self, connection: Connection) -> None:
        """Look again at the domains that are due and write what they are now."""
        now = time.monotonic()
        asked = [uuid for uuid, due in self.due.items() if due <= now]
        if not asked or now < self.not_before:
            return
        if len(asked) > FEW:
            self.resync(connection)
        else:
            seen = connection.domains.summaries(asked)
            self.digest(seen, inventory.reconcile(self.host, seen, asked=asked))
        for uuid in asked:
            self.due.pop(uuid, None)
        self.not_before = time.monotonic() + GATHER_SECONDS

    def resync(self, connection: Connection, *, watched: bool = True) -> None:
        """Read the whole list and write it: five calls."""
        seen = connection.domains.list()
        changed = inventory.reconcile(self.host, seen, watched=watched)
        self.active.intersection_update(summary.uuid for summary in seen)
        self.digest(seen, changed)
        if changed and watched:
            log.info("%s: resync found %d changed", self.host.name, len(changed))
        self._queue_definitions()

    def digest(self, seen: list[DomainSummary], changed: set[int]) -> None:
        """Keep track of who runs; the definition of whatever changed waits to be read (it holds ports and the like)."""
        for summary in seen:
            if summary.state in INACTIVE:
                self.active.discard(summary.uuid)
            else:
                self.active.add(summary.uuid)
        if changed:
            rows = Domain.objects.filter(pk__in=changed, missing_since=None).values_list("uuid", flat=True)
            self.unread.update(dict.fromkeys(rows))

    def _queue_definitions(self) -> None:
        here = Domain.objects.filter(host=self.host, missing_since=None)
        self.unread.update(dict.fromkeys(here.filter(definition=None).values_list("uuid", flat=True)))
        oldest = Definition.objects.filter(domain__in=here).order_by("read_at")
        self.unread.update(dict.fromkeys(oldest.values_list("domain__uuid", flat=True)[:REREAD_PER_RESYNC]))

    def read_some(self, connection: Connection) -> None:
        """Read some of the definitions that wait, leaving time for events in between."""
        for uuid in list(self.unread)[:READ_PER_TURN]:
            del self.unread[uuid]
            try:
                reading = connection.domains.read(uuid)
            except NotFound:
                # It went meanwhile; the list says so.
                continue
            inventory.remember_definition(self.host, reading)

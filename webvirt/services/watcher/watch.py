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
from functools import partial

from webvirt.hypervisor.connection import Connection, connect
from webvirt.hypervisor.errors import (
    CredentialsUnavailable,
    HostRefused,
    HostUnreachable,
    HypervisorError,
    IdentityChanged,
    IdentityUnknown,
)
from webvirt.hypervisor.events import HostEvent
from webvirt.hypervisor.identity import shows_known_key, verify
from webvirt.hypervisor.types import DomainState, DomainSummary, ObjectEvent, Touch, Transport, ViewerEvent
from webvirt.models import Definition, Domain, Host, HostState
from webvirt.services import inventory, strangers
from webvirt.services.unsealing import way_to
from webvirt.services.watcher.reader import Listing, Reader
from webvirt.services.watcher.stock import Stock
from webvirt.services.watcher.usage import UsageReader
from webvirt.services.watcher.vignettes import Vignettes

log = logging.getLogger(__name__)

PULSE_SECONDS = 2.0
VERIFY_SECONDS = 6.0
"""How often the host is asked for its key: one that changed shows in new connections alone, and ours is old."""
REREAD_PER_RESYNC = 10
"""Definitions read again with each list, the oldest first, for the changes that send no event."""
HOLD_STOPPED_SECONDS = 0.2
"""A reboot can look like STOPPED + STARTED: a stop is believed after so long."""
GATHER_SECONDS = 0.1
"""The first event is looked at at once, those of a burst together."""
FEW = 5
"""Up to so many domains are looked at one by one; beyond, the whole list is cheaper."""
IDLE_SECONDS = 60.0

STATES: tuple[tuple[type[HypervisorError], HostState], ...] = (
    (IdentityChanged, HostState.CHANGED),
    (IdentityUnknown, HostState.UNCONFIRMED),
    (CredentialsUnavailable, HostState.LOCKED),
    (HostRefused, HostState.REFUSED),
    (HypervisorError, HostState.DOWN),
)
"""What a host is when we fail at it, the first that fits."""
INACTIVE = (DomainState.SHUTOFF, DomainState.CRASHED)


@dataclass
class HostWatch:
    """The watch over one host. `pulse` is called about every two seconds while the host answers."""

    host: Host
    pulse: Callable[[], None]
    events: queue.SimpleQueue[HostEvent | Listing | IdentityUnknown | str] = field(default_factory=queue.SimpleQueue)
    due: dict[str, float] = field(default_factory=dict)
    """When (monotonic) to look at a domain that something happened to."""
    touched: dict[str, float] = field(default_factory=dict)
    """When (monotonic) something last happened to a domain: a list begun before that is too old for it."""
    active: set[str] = field(default_factory=set)
    """uuids of the domains that run; read by the threads that measure."""
    stock: Stock = field(init=False)
    reader: Reader = field(init=False)
    not_before: float = 0.0
    """Until when (monotonic) what follows in a burst is gathered."""

    def __post_init__(self) -> None:
        self.stock = Stock(self.host)
        self.reader = Reader(self.host, self.events.put)

    def run(self) -> None:
        """Watch until the host fails; the failure is written to its row and raised."""
        try:
            verify(self.host.address)
            with connect(way_to(self.host)) as connection:
                self._watch(connection)
        except HypervisorError as error:
            self._fail(error)
            raise

    def _fail(self, error: HypervisorError) -> None:
        state = self._state_after(error)
        offered = error.offered if isinstance(error, IdentityUnknown) else ()
        if state == HostState.CHANGED:
            inventory.host_is_another(self.host.pk, offered, str(error))
            return
        if offered:
            inventory.remember_offered(self.host.pk, offered)
        inventory.host_is(self.host.pk, state, str(error))

    def _state_after(self, error: HypervisorError) -> HostState:
        if isinstance(error, IdentityChanged) and not (self.host.keys or self.host.uuid):
            # By a certificate that was never good.
            return HostState.REFUSED
        return next(state for kind, state in STATES if isinstance(error, kind))

    def _watch(self, connection: Connection) -> None:
        # Listen first, then read: what happens in between waits in the queue, so there is no gap.
        strangers.begin(self.host)
        connection.listen(self.events.put, self.events.put)
        threading.Thread(target=self._keep_pulse, args=[connection], name="pulse", daemon=True).start()
        self.take_in(Listing(time.monotonic(), connection.domains.list()), watched=False)
        inventory.host_is(self.host.pk, HostState.UP)
        inventory.remember_offered(self.host.pk, ())
        inventory.remember_host(self.host.pk, connection.host.info(), connection.host.capability_checks())
        helpers = (UsageReader(self.host, self.active), Vignettes(self.host, self.active), self.stock)
        for run in (*(helper.run for helper in helpers), partial(self.reader.run, connection), self._keep_verifying):
            threading.Thread(target=self._lend, args=[run], daemon=True).start()
        while True:
            self.wait(self._next_due())
            self.look(connection)

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

    def _keep_verifying(self) -> None:
        while self.host.transport == Transport.SSH:
            time.sleep(VERIFY_SECONDS)
            if shows_known_key(self.host.address):
                continue
            try:
                verify(self.host.address)
            except IdentityUnknown as error:
                self.events.put(error)
                return

    # --- events

    def _next_due(self) -> float:
        return max(self.not_before, min(self.due.values(), default=time.monotonic() + IDLE_SECONDS))

    def wait(self, until: float) -> None:
        """Take what has happened, waiting for it up to `until` (monotonic). Raises when the connection is gone."""
        try:
            self.note(self.events.get(timeout=max(0.0, until - time.monotonic())))
            while True:
                self.note(self.events.get_nowait())
        except queue.Empty:
            return

    def note(self, event: HostEvent | Listing | IdentityUnknown | str) -> None:
        if isinstance(event, IdentityUnknown):
            raise event
        if isinstance(event, str):
            raise HostUnreachable(event)
        if isinstance(event, ObjectEvent):
            self.stock.events.put(event)
        elif isinstance(event, ViewerEvent):
            strangers.hear(self.host, event)
        elif isinstance(event, Listing):
            self.take_in(event)
        else:
            has_stopped = event.what.startswith("stopped")
            hold = HOLD_STOPPED_SECONDS if has_stopped else 0.0
            if has_stopped:
                strangers.stop(self.host, event.uuid)
            now = time.monotonic()
            self.touched[event.uuid] = now
            self.due[event.uuid] = now + hold
            if event.touch == Touch.DEFINITION:
                self.reader.want_definitions([event.uuid])

    def look(self, connection: Connection) -> None:
        """Look again at the domains that are due and write what they are now."""
        now = time.monotonic()
        asked = [uuid for uuid, due in self.due.items() if due <= now]
        if not asked or now < self.not_before:
            return
        if len(asked) > FEW:
            self.reader.want_list()
        else:
            seen = connection.domains.summaries(asked)
            self.digest(seen, inventory.reconcile(self.host, seen, asked=asked))
        for uuid in asked:
            self.due.pop(uuid, None)
        self.not_before = time.monotonic() + GATHER_SECONDS

    def take_in(self, listing: Listing, *, watched: bool = True) -> None:
        """Write what a whole list says, but of the domains that something happened to since it was begun."""
        newer = {uuid for uuid, when in self.touched.items() if when >= listing.begun}
        self.touched = {uuid: self.touched[uuid] for uuid in newer}
        seen = [summary for summary in listing.seen if summary.uuid not in newer]
        changed = inventory.reconcile(self.host, seen, passed_over=newer, watched=watched)
        self.active.intersection_update({*newer, *(summary.uuid for summary in seen)})
        self.digest(seen, changed)
        if changed and watched:
            log.info("%s: the list had %d changed", self.host.name, len(changed))
        here = Domain.objects.filter(host=self.host, missing_since=None)
        self.reader.want_definitions(here.filter(definition=None).values_list("uuid", flat=True))
        oldest = Definition.objects.filter(domain__in=here).order_by("read_at")
        self.reader.want_definitions(oldest.values_list("domain__uuid", flat=True)[:REREAD_PER_RESYNC])

    def digest(self, seen: list[DomainSummary], changed: set[int]) -> None:
        """Keep track of who runs; the definition of whatever changed waits to be read (it holds ports and the like)."""
        for summary in seen:
            if summary.state in INACTIVE:
                self.active.discard(summary.uuid)
            else:
                self.active.add(summary.uuid)
        if changed:
            rows = Domain.objects.filter(pk__in=changed, missing_since=None).values_list("uuid", flat=True)
            self.reader.want_definitions(rows)

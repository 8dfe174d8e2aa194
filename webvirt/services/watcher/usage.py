"""Measuring the use of a host and its running domains, without one hung guest spoiling the others.

One hung QEMU holds libvirt's bulk statistics for half a minute and more, whatever flags are given. So every question
has a deadline, a guest that misses its own is left out for a while, and its thread is abandoned to libvirt, which ends
it after 30 s.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as TooLate
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from webvirt.hypervisor.connection import Connection, connect
from webvirt.hypervisor.errors import HypervisorError, NotFound
from webvirt.hypervisor.types import DomainUsage, HostUsage
from webvirt.models import Host
from webvirt.services import inventory
from webvirt.services.unsealing import way_to

log = logging.getLogger(__name__)

USAGE_SECONDS = 5.0
DEADLINE_SECONDS = 2.0
LEFT_OUT_SECONDS = 30.0
PROBES_AT_ONCE = 3

T = TypeVar("T")


def begun(call: Callable[[], T]) -> Future[T]:
    """The call under way; one that hangs keeps its thread and nothing else."""
    future: Future[T] = Future()

    def work() -> None:
        try:
            future.set_result(call())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=work, daemon=True).start()
    return future


def in_time(call: Callable[[], T], seconds: float = DEADLINE_SECONDS) -> T:
    """The call's result, or TooLate."""
    return begun(call).result(timeout=seconds)


@dataclass
class UsageReader:
    """Reads counters every few seconds over a handle of its own and writes rates."""

    host: Host
    active: set[str]
    before: dict[str, tuple[float, DomainUsage]] = field(default_factory=dict)
    host_before: HostUsage | None = None
    left_out: dict[str, float] = field(default_factory=dict)
    """Guests that did not answer, and until when (monotonic) they are not asked."""
    _connection: Connection | None = None

    def run(self) -> None:
        """Measure for as long as the process lives. A host that fails is the pulse's business, not ours."""
        while True:
            started = time.monotonic()
            try:
                self.measure()
            except (HypervisorError, TooLate) as error:
                log.debug("%s: %s", self.host.name, error)
                self._connection = None
            time.sleep(max(0.5, USAGE_SECONDS - (time.monotonic() - started)))

    @property
    def connection(self) -> Connection:
        if self._connection is None:
            self._connection = connect(way_to(self.host))
        return self._connection

    def measure(self) -> None:
        """One round: the host, then its running guests."""
        self.measure_host(in_time(self.connection.host.usage))
        now = time.monotonic()
        self.left_out = {uuid: until for uuid, until in self.left_out.items() if until > now}
        wanted = sorted(self.active - set(self.left_out))
        try:
            readings = self.read(wanted)
        except TooLate:
            readings = self.read_one_by_one(wanted)
        self.write(readings)

    def read(self, uuids: list[str]) -> list[DomainUsage]:
        if not uuids:
            return []
        connection = self.connection
        return in_time(lambda: connection.domains.usage(uuids))

    def read_one_by_one(self, uuids: Iterable[str]) -> list[DomainUsage]:
        """Ask each guest alone, a few at a time, over a fresh handle: the old one's call still hangs."""
        self._connection = None
        connection = self.connection
        waiting = list(uuids)
        found: list[DomainUsage] = []
        lock = threading.Lock()

        def probe() -> None:
            while True:
                with lock:
                    if not waiting:
                        return
                    uuid = waiting.pop()
                try:
                    reading = in_time(partial(connection.domains.usage, [uuid]))
                except TooLate:
                    self.left_out[uuid] = time.monotonic() + LEFT_OUT_SECONDS
                except NotFound:
                    continue
                else:
                    found.extend(reading)

        probes = [threading.Thread(target=probe, daemon=True) for _ in range(PROBES_AT_ONCE)]
        for thread in probes:
            thread.start()
        for thread in probes:
            thread.join()
        self._connection = None
        return found

    def write(self, readings: list[DomainUsage]) -> None:
        now = time.monotonic()
        rates = {}
        for reading in readings:
            earlier = self.before.get(reading.uuid)
            if earlier is not None:
                rates[reading.uuid] = inventory.rates_between(earlier[1], reading, now - earlier[0])
        self.before = {reading.uuid: (now, reading) for reading in readings}
        if rates or self.left_out:
            inventory.remember_usage(self.host, rates, self.left_out)

    def measure_host(self, usage: HostUsage) -> None:
        before, self.host_before = self.host_before, usage
        percent = None
        if before is not None and usage.cpu_total_ns > before.cpu_total_ns:
            busy = usage.cpu_busy_ns - before.cpu_busy_ns
            percent = round(100 * busy / (usage.cpu_total_ns - before.cpu_total_ns), 1)
        inventory.remember_host_usage(self.host.pk, percent, usage.memory_used_kib)

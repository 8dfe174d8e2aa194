"""What a host has besides its domains: pools, volumes, networks, leases, filters, secrets, interfaces and devices.

A handle of its own, since a pool whose server is away can hold a call for minutes. Pools, networks, secrets and devices
tell of changes by events; the others have none, so they are read again every now and then, figures of volumes a few at
a time, and so are those, since events get lost. While nothing else is to be done, it looks which operating systems are
on volumes.
"""

from __future__ import annotations

import logging
import queue
import time
from collections.abc import Callable, Iterator
from concurrent.futures import TimeoutError as TooLate
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

from webvirt.hypervisor.connection import Connection, connect
from webvirt.hypervisor.discs import LABEL_AT, LABEL_BYTES, label_of
from webvirt.hypervisor.errors import (
    HostRefused,
    HostUnreachable,
    HypervisorError,
    NotFound,
    NotResponding,
    Unsupported,
    WrongState,
)
from webvirt.hypervisor.types import DiscLabel, ObjectEvent, VolumeInfo
from webvirt.models import Domain, Host, Network, NetworkStatus, Pool, PoolStatus, Volume
from webvirt.services import inventory, osinfo
from webvirt.services.catalogue.building import path_in
from webvirt.services.subjects import found
from webvirt.services.unsealing import way_to
from webvirt.services.watcher.usage import in_time

log = logging.getLogger(__name__)

RESYNC_SECONDS = 20.0
DEVICES_SECONDS = 60.0
"""Each of hundreds is a call."""
APART_SECONDS = 5.0
"""Devices and interfaces come in droves, with every card of a guest: they are not read more often for it."""
POOLS_APART_SECONDS = 1.0
"""Every stream into a volume ends with an event of its pool, and each reading is of all pools."""
GATHER_SECONDS = 0.1
DROVE_SECONDS = 1.0
DEADLINE_SECONDS = 20.0
LEFT_OUT_SECONDS = 120.0
CLOCKS_APART_SECONDS = 60.0
"""So much may a host's clock be behind ours."""
SLICE = 50
"""Volumes read at a time, with a look at events in between."""
REREAD = 50
"""Figures of volumes that are read again at each resync, the oldest first."""
LABELS = 20
"""Labels of discs that are read at each resync; the systems of other volumes are told by their names."""
LOOKS = 400
"""Volumes of a pool that are looked into at each resync."""
OPEN = (PoolStatus.RUNNING, PoolStatus.DEGRADED)


@dataclass
class Turn:
    """When something is read that costs many calls: every so many seconds, and soon after events of it.

    Events are gathered for `drove` seconds, and two readings for them are at least `apart` seconds from each other.
    """

    every: float
    drove: float = DROVE_SECONDS
    apart: float = APART_SECONDS
    due: float = 0.0
    """Monotonic, as is `read_at`."""
    read_at: float = float("-inf")

    def hurry(self) -> None:
        """Something happened to it."""
        self.due = min(self.due, max(time.monotonic() + self.drove, self.read_at + self.apart))

    def is_due(self) -> bool:
        return time.monotonic() >= self.due

    def over(self) -> None:
        """It has been read."""
        self.read_at = time.monotonic()
        self.due = self.read_at + self.every


@dataclass
class Stock:
    """Keeps known what a host has."""

    host: Host
    events: queue.SimpleQueue[ObjectEvent] = field(default_factory=queue.SimpleQueue)
    left_out: dict[int, float] = field(default_factory=dict)
    """Pools that did not answer, and until when (monotonic) they are not asked."""
    devices_turn: Turn = field(default_factory=lambda: Turn(DEVICES_SECONDS))
    pools_turn: Turn = field(default_factory=lambda: Turn(RESYNC_SECONDS, 0.0, POOLS_APART_SECONDS))
    interfaces_turn: Turn = field(default_factory=lambda: Turn(RESYNC_SECONDS))
    _connection: Connection | None = None

    def run(self) -> None:
        """Look at everything now and then, and at what changed at once, for as long as the process lives."""
        while True:
            try:
                self.resync()
                self.wait(time.monotonic() + RESYNC_SECONDS)
            except (HypervisorError, TooLate) as error:
                log.debug("%s: %s", self.host.name, error)
                self._connection = None
                time.sleep(GATHER_SECONDS * 10)

    @property
    def connection(self) -> Connection:
        if self._connection is None:
            self._connection = connect(way_to(self.host))
        return self._connection

    def resync(self) -> None:
        self.let_go()
        self.half_made()
        self.pools_turn.due = 0.0
        self.networks()
        self.optional(self.filters)
        self.optional(self.secrets)
        self.whose_turn_it_is()
        self.systems()

    def whose_turn_it_is(self) -> None:
        """Read what costs many calls where it is due."""
        for turn, step in (
            (self.pools_turn, self.pools),
            (self.interfaces_turn, self.interfaces),
            (self.devices_turn, self.devices),
        ):
            if turn.is_due():
                self.optional(step)
                turn.over()

    def wait(self, until: float) -> None:
        """Follow events up to `until` (monotonic), a burst of them together."""
        while time.monotonic() < until:
            self.whose_turn_it_is()
            next_due = min(until, self.pools_turn.due, self.devices_turn.due, self.interfaces_turn.due)
            try:
                nouns = {self.events.get(timeout=max(0.0, next_due - time.monotonic())).noun}
            except queue.Empty:
                continue
            time.sleep(GATHER_SECONDS)
            while not self.events.empty():
                nouns.add(self.events.get_nowait().noun)
            self.follow(nouns)

    def follow(self, nouns: set[str]) -> None:
        """Look at what something happened to, at once or soon."""
        if "pool" in nouns:
            self.pools_turn.hurry()
        if "network" in nouns:
            self.networks()
        if "secret" in nouns:
            self.optional(self.secrets)
        if "device" in nouns:
            self.devices_turn.hurry()
        if "interface" in nouns:
            self.interfaces_turn.hurry()

    def optional(self, step: Callable[[], None]) -> None:
        """Do what not every driver can."""
        try:
            step()
        except Unsupported as error:
            log.debug("%s: %s", self.host.name, error)

    # --- domains

    def let_go(self) -> None:
        """Have the domains go on that an operation left standing still."""
        for domain in inventory.left_still(self.host):
            log.info("%s: %s goes on, which was left standing still", self.host.name, domain.name)
            try:
                in_time(partial(self.connection.domains.go_on, domain.uuid), DEADLINE_SECONDS)
            except NotFound:
                pass
            except NotResponding as error:
                # Its agent may still have it write nothing: the next look asks again.
                log.warning("%s: %s: %s", self.host.name, domain.name, error)
                continue
            inventory.goes_on(domain)

    def half_made(self) -> None:
        """Remove the domains that an operation left half made, before their volumes."""
        calls = self.connection.domains
        for domain in inventory.domains_left_half_made(self.host):
            log.info("%s: removing %s, left half made", self.host.name, domain.name)
            try:
                self.end_copies(domain)
                with suppress(WrongState):
                    in_time(partial(calls.destroy, domain.uuid), DEADLINE_SECONDS)
                calls.undefine(domain.uuid)
            except NotFound:
                pass
            except (HostUnreachable, HostRefused):
                raise
            except HypervisorError as error:
                # The next look tries again; its volumes stay until then.
                log.warning("%s: %s cannot be removed yet: %s", self.host.name, domain.name, error)
                continue
            inventory.domain_is_removed(domain)

    def end_copies(self, domain: Domain) -> None:
        """It may have been to be the clone of one that runs, whose disk is still copied then."""
        source = found(domain.making.subject) if domain.making else None
        if isinstance(source, Domain) and source.pk != domain.pk and source.host_id == self.host.pk:
            made = Volume.objects.filter(making=domain.making).select_related("pool")
            paths = {path_in(volume.pool, volume.name) for volume in made}
            with suppress(NotFound):
                in_time(partial(self.connection.domains.end_copies, source.uuid, paths), DEADLINE_SECONDS)

    # --- storage

    def pools(self) -> None:
        calls = self.connection.storage
        lines = in_time(calls.list, DEADLINE_SECONDS)
        changed = inventory.reconcile_pools(self.host, lines) & {line.uuid for line in lines}
        unread = Pool.objects.filter(host=self.host, missing_since=None, xml="").values_list("uuid", flat=True)
        for uuid in {*changed, *unread}:
            self.while_it_is_there(partial(self.definition, uuid))
        for pool in self.open_pools():
            self.while_it_is_there(partial(self.volumes, pool))

    def open_pools(self) -> Iterator[Pool]:
        """The pools whose volumes can be asked for."""
        for pool in Pool.objects.filter(host=self.host, missing_since=None, status__in=OPEN):
            if self.left_out.get(pool.pk, 0.0) <= time.monotonic():
                yield pool

    def definition(self, uuid: str) -> None:
        inventory.remember_pool(self.host, self.connection.storage.read(uuid))

    def volumes(self, pool: Pool) -> None:
        """Which volumes a pool has, and the figures of the new ones and of those read longest ago."""
        calls = self.connection.storage
        try:
            unread = inventory.reconcile_volumes(pool, in_time(partial(calls.volumes, pool.uuid), DEADLINE_SECONDS))
            self.tidy(pool)
            here = Volume.objects.filter(pool=pool, missing_since=None, read_at__isnull=False)
            oldest = list(here.order_by("read_at").values_list("name", flat=True)[:REREAD])
            names = [*unread, *oldest]
            for start in range(0, len(names), SLICE):
                some = names[start : start + SLICE]
                inventory.remember_volumes(pool, in_time(partial(self.figures, pool, some), DEADLINE_SECONDS))
        except TooLate:
            self.leave_out(pool)

    def leave_out(self, pool: Pool) -> None:
        """Its server is away: ask it no more for a while."""
        self.left_out[pool.pk] = time.monotonic() + LEFT_OUT_SECONDS
        log.warning("%s: pool %s does not answer", self.host.name, pool.name)
        self._connection = None

    def figures(self, pool: Pool, names: list[str]) -> list[VolumeInfo]:
        return list(self.connection.storage.volumes_info(pool.uuid, names))

    def tidy(self, pool: Pool) -> None:
        """Remove what an operation left half made, whoever or whatever ended it.

        libvirt may have died under it and left a copier behind that still writes: what such a one makes whole is
        removed all the same, since nobody could tell when that is.
        """
        for volume in inventory.left_half_made(pool):
            if Domain.objects.filter(making=volume.making).exists():
                # Its machine goes first.
                continue
            try:
                self.remove(pool, volume)
            except WrongState as error:
                # libvirt still makes it: the next look finds it whole, and removes it.
                log.debug("%s: %s", self.host.name, error)
            except (HostUnreachable, HostRefused):
                raise
            except HypervisorError as error:
                # Such as a device that a copier has open. It is not forgotten, and keeps nothing else waiting.
                log.warning("%s: %s cannot be removed yet: %s", self.host.name, volume.name, error)

    def remove(self, pool: Pool, volume: Volume) -> None:
        """Remove a volume that was left half made.

        One that was there before the operation began is somebody else's of the same name, and stays.
        """
        assert volume.making is not None
        calls, begun = self.connection.storage, (volume.making.started_at or volume.making.created_at).timestamp()
        try:
            changed = self.look_for(pool, volume.name).modified_at
            if changed is not None and changed < begun - CLOCKS_APART_SECONDS:
                inventory.volume_is_anothers(pool, volume.name, volume.making)
                return
            # Somebody may have been quicker, and another operation make it anew.
            if inventory.left_half_made(pool).filter(pk=volume.pk, making=volume.making).exists():
                log.info("%s: removing %s, left half made", self.host.name, volume.name)
                calls.delete_volume(pool.uuid, volume.name)
        except NotFound:
            pass
        inventory.volume_is_removed(volume)

    def look_for(self, pool: Pool, name: str) -> VolumeInfo:
        """A volume of a pool. What is not listed may be there: libvirt looks at a pool when it starts, and a copier may
        have been left behind that made it a moment later."""
        calls = self.connection.storage
        with suppress(NotFound):
            return calls.volume(pool.uuid, name)
        in_time(partial(calls.refresh, pool.uuid), DEADLINE_SECONDS)
        return calls.volume(pool.uuid, name)

    def systems(self) -> None:
        """Tell which operating systems are on volumes not looked into yet, until an event has something better."""
        labels = LABELS
        for pool in self.open_pools():
            for volume in inventory.not_looked_into(pool, LOOKS):
                if not self.events.empty():
                    return
                reads = may_be_disc(volume)
                if reads and not labels:
                    continue
                labels -= reads
                try:
                    label = in_time(partial(self.label, pool, volume), DEADLINE_SECONDS) if reads else None
                except TooLate:
                    self.leave_out(pool)
                    break
                inventory.remember_system(volume, osinfo.system_of(volume.name, label), has_label=label is not None)

    def label(self, pool: Pool, volume: Volume) -> DiscLabel | None:
        """What a disc says of itself; None for what is none, or cannot be read."""
        head = bytearray()
        try:
            self.connection.storage.download(pool.uuid, volume.name, LABEL_AT, LABEL_BYTES, head.extend)
        except HostUnreachable:
            raise
        except HypervisorError as error:
            log.debug("%s: %s: %s", self.host.name, volume.name, error)
        return label_of(bytes(head))

    def while_it_is_there(self, step: Callable[[], None]) -> None:
        """Do something with one object; that it went or was stopped meanwhile, the list says."""
        try:
            step()
        except (NotFound, WrongState) as error:
            log.debug("%s: %s", self.host.name, error)

    def secrets(self) -> None:
        inventory.reconcile_secrets(self.host, in_time(self.connection.secrets.list, DEADLINE_SECONDS))

    # --- devices

    def devices(self) -> None:
        inventory.remember_devices(self.host.pk, in_time(self.connection.devices.list, DEADLINE_SECONDS))

    # --- networks

    def interfaces(self) -> None:
        inventory.remember_interfaces(self.host.pk, self.connection.devices.interfaces())

    def filters(self) -> None:
        inventory.reconcile_filters(self.host, in_time(self.connection.filters.list, DEADLINE_SECONDS))

    def networks(self) -> None:
        inventory.reconcile_networks(self.host, in_time(self.connection.networks.list, DEADLINE_SECONDS))
        here = Network.objects.filter(host=self.host, missing_since=None)
        # What is edited in place sends no event before libvirt 9.8, so each is read again: there are few.
        for uuid in here.values_list("uuid", flat=True):
            self.while_it_is_there(partial(self.network, uuid))
        for uuid in here.filter(status=NetworkStatus.ACTIVE).values_list("uuid", flat=True):
            self.while_it_is_there(partial(self.optional, partial(self.leases, uuid)))

    def network(self, uuid: str) -> None:
        inventory.remember_network(self.host, self.connection.networks.read(uuid))

    def leases(self, uuid: str) -> None:
        inventory.remember_leases(self.host, uuid, self.connection.networks.leases(uuid))


def may_be_disc(volume: Volume) -> bool:
    """Whether it is worth a look for a disc's label. libvirt itself knows discs in files once it has looked at them."""
    if volume.format == "iso":
        return True
    return volume.format == "raw" and (volume.kind == "file" or volume.name.lower().endswith(".iso"))

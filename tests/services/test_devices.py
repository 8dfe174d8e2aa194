"""A host's devices: kept as listed, and who is given them."""

from __future__ import annotations

import queue
import time
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NoReturn

import pytest

from tests.fakes import FakeConnection
from tests.people import Cast, make_domain, make_host
from webvirt.hypervisor.errors import Unsupported
from webvirt.hypervisor.types import (
    DomainInfo,
    DomainReading,
    DomainState,
    DomainSummary,
    HandedDevice,
    HostDevice,
    ObjectEvent,
    SecretSpec,
    SecretUsage,
)
from webvirt.models import DeviceList, DeviceUse, Domain, Secret
from webvirt.services import inventory, uses
from webvirt.services.watcher import stock as watch
from webvirt.services.watcher.stock import APART_SECONDS, DEVICES_SECONDS, DROVE_SECONDS, GATHER_SECONDS, Stock

CARD = HostDevice("pci_0000_01_00_0", "pci", "A card", "0000:01:00.0", "8086:1572", iommu_group=1, mdev_types=("m",))
KINDS = ("device", "interface")
KEYS = [HostDevice(f"usb_1_{n}", "usb", "A key", f"001:00{n}", "046d:c52b") for n in (1, 2)]


def give(domain: Domain, *devices: HandedDevice, live: tuple[HandedDevice, ...] | None = None) -> None:
    """Make it the machine's definition that it is given these; `live` are those of the running machine."""
    plain = DomainInfo(domain.uuid, domain.name, handed=devices)
    running = None if live is None else DomainInfo(domain.uuid, domain.name, handed=live)
    summary = DomainSummary(domain.uuid, domain.name, DomainState.SHUTOFF)
    reading = DomainReading(summary, plain, f"<domain>{devices}</domain>", running, f"<domain>{live}</domain>")
    assert inventory.remember_definition(domain.host, reading)


def users(cast: Cast) -> dict[str, list[str]]:
    return {device["address"]: [user.name for user in found] for device, found in uses.devices_with_users(cast.host)}


def test_the_list_is_kept_and_read_again_after_a_while(cast: Cast) -> None:
    host = FakeConnection()
    host.devices.known = [CARD]
    stock = Stock(cast.host, _connection=host)  # type: ignore[arg-type]
    stock.resync()
    (kept,) = DeviceList.objects.get(host=cast.host).devices
    assert (kept["address"], kept["iommu_group"], kept["mdev_types"]) == ("0000:01:00.0", 1, ["m"])
    host.devices.known = []
    stock.resync()
    assert DeviceList.objects.get(host=cast.host).devices == [kept]
    stock.devices_turn.due = time.monotonic()
    stock.resync()
    assert DeviceList.objects.get(host=cast.host).devices == []
    assert stock.devices_turn.due > time.monotonic() + DEVICES_SECONDS / 2


@dataclass
class Clock:
    """A clock that only goes on while somebody waits."""

    now: float = 1000.0
    waited: list[float] = field(default_factory=list)

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@dataclass
class Script:
    """A queue of events that come at their time by the clock."""

    clock: Clock
    at: list[tuple[float, ObjectEvent]]

    def get(self, timeout: float) -> ObjectEvent:
        if self.at and self.at[0][0] <= self.clock.now + timeout:
            moment, event = self.at.pop(0)
            self.clock.now = max(self.clock.now, moment)
            return event
        self.clock.now += timeout
        raise queue.Empty

    def get_nowait(self) -> ObjectEvent:
        return self.get(0)

    def empty(self) -> bool:
        return not self.at or self.at[0][0] > self.clock.now


def test_droves_of_devices_are_read_soon_and_not_too_often(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred events in ten seconds, of devices and of guests' cards, with nothing before and nothing after."""
    clock, read = Clock(), dict[str, list[float]](devices=[], interfaces=[])
    monkeypatch.setattr(watch, "time", clock)
    stock = Stock(cast.host, _connection=FakeConnection())  # type: ignore[arg-type]
    for name, moments in read.items():
        monkeypatch.setattr(stock, name, lambda moments=moments: moments.append(clock.now))
    stock.whose_turn_it_is()
    start = clock.now + 10
    happens = [(start + n / 10, ObjectEvent(noun, "x", "created")) for n in range(100) for noun in KINDS]
    stock.events = Script(clock, happens)  # type: ignore[assignment]
    stock.wait(start + 19)
    first, *rest = [moment - start for moment in read["devices"]]
    assert first == -10
    assert 0 < rest[0] <= DROVE_SECONDS + 2 * GATHER_SECONDS
    assert all(later - sooner >= APART_SECONDS for sooner, later in pairwise(rest))
    # What came last is read as well, and then no more.
    assert 10 <= rest[-1] <= 10 + APART_SECONDS
    assert len(rest) <= 4
    assert len(read["interfaces"]) <= len(read["devices"]) + 1


def test_a_secret_is_read_at_once_and_costs_no_reading_of_devices(cast: Cast) -> None:
    host = FakeConnection()
    stock = Stock(cast.host, _connection=host)  # type: ignore[arg-type]
    host.listen(stock.events.put, lambda _why: None)  # type: ignore[arg-type]
    stock.resync()
    due = stock.devices_turn.due
    uuid = host.secrets.create(SecretSpec(SecretUsage.CEPH, "client.new"), b"x")
    stock.wait(time.monotonic() + 2 * GATHER_SECONDS)
    assert Secret.objects.get(host=cast.host, uuid=uuid).missing_since is None
    host.secrets.undefine(uuid)
    stock.wait(time.monotonic() + 2 * GATHER_SECONDS)
    assert Secret.objects.get(host=cast.host, uuid=uuid).missing_since is not None
    assert stock.devices_turn.due == due


def test_a_driver_without_devices_or_secrets_is_followed_all_the_same(cast: Cast) -> None:
    def unsupported() -> NoReturn:
        raise Unsupported("not by this driver")

    stock = Stock(cast.host, _connection=FakeConnection())  # type: ignore[arg-type]
    stock.connection.secrets.list = stock.connection.devices.list = unsupported  # type: ignore[method-assign]
    stock.resync()
    stock.follow({"secret", "device", "interface", "network", "pool"})
    assert stock.devices_turn.due < time.monotonic() + APART_SECONDS + DROVE_SECONDS


def test_a_device_has_the_machines_whose_definitions_name_it(cast: Cast) -> None:
    inventory.remember_devices(cast.host.pk, [*KEYS, CARD])
    give(cast.domain, HandedDevice("pci", CARD.address))
    give(cast.other, HandedDevice("usb", KEYS[0].address))
    assert users(cast) == {CARD.address: ["web-1"], KEYS[0].address: ["db-1"], KEYS[1].address: []}


def test_a_usb_device_named_by_its_ids_may_be_any_of_these(cast: Cast) -> None:
    inventory.remember_devices(cast.host.pk, KEYS)
    give(cast.domain, HandedDevice("usb", ids="046d:c52b"))
    assert users(cast) == {key.address: ["web-1"] for key in KEYS}


def test_one_that_waits_for_the_next_start_counts_too_and_each_once(cast: Cast) -> None:
    inventory.remember_devices(cast.host.pk, [CARD])
    device = HandedDevice("pci", CARD.address)
    give(cast.domain, device, live=(device,))
    assert [use.live for use in DeviceUse.objects.all()] == [True]
    give(cast.domain, device, live=())
    assert users(cast) == {CARD.address: ["web-1"]}
    give(cast.domain)
    assert users(cast) == {CARD.address: []}


def test_another_hosts_machine_has_another_device_of_that_address(cast: Cast) -> None:
    inventory.remember_devices(cast.host.pk, [CARD])
    give(make_domain(make_host("beta", hostname="beta")), HandedDevice("pci", CARD.address))
    assert users(cast) == {CARD.address: []}

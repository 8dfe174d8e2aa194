"""A host's devices: kept as listed, and who is given them."""

from __future__ import annotations

import time

from tests.fakes import FakeConnection
from tests.people import Cast, make_domain, make_host
from webvirt.hypervisor.types import (
    DomainInfo,
    DomainReading,
    DomainState,
    DomainSummary,
    HandedDevice,
    HostDevice,
)
from webvirt.models import DeviceList, DeviceUse, Domain
from webvirt.services import inventory, uses
from webvirt.services.watcher.stock import DEVICES_SECONDS, Stock

CARD = HostDevice("pci_0000_01_00_0", "pci", "A card", "0000:01:00.0", "8086:1572", iommu_group=1, mdev_types=("m",))
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
    stock.devices_due = time.monotonic()
    stock.resync()
    assert DeviceList.objects.get(host=cast.host).devices == []
    assert stock.devices_due > time.monotonic() + DEVICES_SECONDS / 2


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

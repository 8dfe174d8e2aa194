"""Filters, secrets, devices and images on a real libvirt: asked for, carried out, and found again as it tells them."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import libvirt
import pytest
import redis

from tests.discs import disc
from tests.lab.lab import LAB
from tests.people import Cast, make_domain, make_host
from tests.services.carrying import Worker
from tests.until import until
from webvirt.hypervisor.connection import connect
from webvirt.hypervisor.events import HostEvent
from webvirt.hypervisor.types import ObjectEvent, Transport
from webvirt.models import CardUse, DeviceList, Filter, Host, OperationState, Pool, Secret
from webvirt.services import operations
from webvirt.services.watcher.stock import Stock

NAME = "wvh-things"
MAC = "52:54:00:77:00:01"
FILTER = (
    f"<filter name='{NAME}' chain='root'><rule action='drop' direction='out'><tcp dstportstart='25'/></rule></filter>"
)
DOMAIN = f"""
<domain type='qemu'>
  <name>{NAME}</name><uuid>00000000-0000-4000-8000-000000000077</uuid><memory>65536</memory>
  <os><type arch='x86_64'>hvm</type></os>
  <devices><interface type='network'><mac address='{MAC}'/><source network='default'/></interface></devices>
</domain>
"""


def clear(raw: libvirt.virConnect) -> None:
    for domain in raw.listAllDomains():
        if domain.name() == NAME:
            domain.undefine()
    for rules in raw.listAllNWFilters():
        if rules.name() == NAME:
            rules.undefine()
    for secret in raw.listAllSecrets():
        if secret.usageID() == NAME:
            secret.undefine()
    for pool in raw.listAllStoragePools():
        if pool.name() == NAME:
            pool.destroy()


@pytest.fixture
def raw() -> Iterator[libvirt.virConnect]:
    raw = libvirt.open("qemu:///system")
    clear(raw)
    yield raw
    clear(raw)
    raw.close()


@pytest.fixture
def here(db: None) -> Host:
    return make_host("here", transport=Transport.LOCAL)


@pytest.fixture
def worker(cast: Cast, raw: libvirt.virConnect, monkeypatch: pytest.MonkeyPatch) -> Worker:
    monkeypatch.setattr(operations, "send", lambda operation: None)
    return Worker(cast.administrator)


def test_a_filter_is_made_changed_put_before_a_card_and_deleted(
    worker: Worker, here: Host, raw: libvirt.virConnect
) -> None:
    assert worker.do("filter.create", here, xml=FILTER).state == OperationState.SUCCEEDED
    row = Filter.objects.get(host=here, name=NAME)
    assert (row.rules, row.chain) == (1, "root")
    # libvirt's own are there as well.
    assert Filter.objects.filter(host=here, name="clean-traffic").exists()
    raw.defineXML(DOMAIN)
    domain = make_domain(here, NAME, 77)
    operation = worker.do("domain.set_filter", domain, mac=MAC, filter=NAME)
    assert operation.state == OperationState.SUCCEEDED, operation.error
    assert CardUse.objects.get(domain=domain).filter == NAME
    assert f"<filterref filter='{NAME}'/>" in raw.lookupByName(NAME).XMLDesc()
    edit = worker.do("filter.edit", row, xml=row.xml.replace("='25'", "='26'"))
    assert edit.state == OperationState.SUCCEEDED, edit.error
    row.refresh_from_db()
    assert "='26'" in row.xml
    with pytest.raises(operations.NotNow):
        worker.ask("filter.undefine", row)
    assert worker.do("domain.set_filter", domain, mac=MAC).state == OperationState.SUCCEEDED
    assert worker.do("filter.undefine", row).state == OperationState.SUCCEEDED
    row.refresh_from_db()
    assert row.missing_since


def test_a_secret_is_made_changed_and_deleted(
    worker: Worker, here: Host, raw: libvirt.virConnect, store: redis.Redis
) -> None:
    operation = worker.do("secret.create", here, usage="ceph", usage_id=NAME, value="one")
    assert operation.state == OperationState.SUCCEEDED, operation.error
    row = Secret.objects.get(host=here, usage_id=NAME)
    assert (row.usage, row.private) == ("ceph", True)
    assert worker.do("secret.set_value", row, value="two").state == OperationState.SUCCEEDED
    with pytest.raises(libvirt.libvirtError, match="private"):
        raw.secretLookupByUUIDString(row.uuid).value()
    assert worker.do("secret.undefine", row).state == OperationState.SUCCEEDED
    row.refresh_from_db()
    assert row.missing_since


def test_a_secret_that_somebody_makes_or_deletes_shows_by_its_event(here: Host, raw: libvirt.virConnect) -> None:
    stock = Stock(here)
    with connect(here.address) as ears:
        ears.listen(heard_by(stock), lambda _why: None)
        stock.optional(stock.secrets)
        # Well before the list would be read again.
        secret = raw.secretDefineXML(f"<secret><usage type='ceph'><name>{NAME}</name></usage></secret>")
        rows = Secret.objects.filter(host=here, usage_id=NAME, uuid=secret.UUIDString())
        follow(stock, rows.filter(missing_since=None).exists)
        secret.undefine()
        follow(stock, rows.exclude(missing_since=None).exists)
    stock.connection.close()


def follow(stock: Stock, condition: Callable[[], bool]) -> None:
    """Follow events, which read no list by the clock, until this holds."""

    def followed() -> bool:
        stock.wait(time.monotonic() + 0.2)
        return condition()

    until(followed, 20, what="the event followed")


def heard_by(stock: Stock) -> Callable[[HostEvent], None]:
    """Hands the stock what is for it, as the watch does."""
    return lambda event: stock.events.put(event) if isinstance(event, ObjectEvent) else None


def test_the_watcher_finds_all_of_them(here: Host, raw: libvirt.virConnect) -> None:
    raw.nwfilterDefineXML(FILTER)
    raw.secretDefineXML(f"<secret><usage type='ceph'><name>{NAME}</name></usage></secret>")
    stock = Stock(here)
    for step in (stock.filters, stock.secrets, stock.devices):
        stock.optional(step)
    stock.connection.close()
    assert Filter.objects.get(host=here, name=NAME).references == []
    assert Secret.objects.get(host=here, name=NAME).usage == "ceph"
    listed = {device["name"] for device in DeviceList.objects.get(host=here).devices}
    pci = raw.listAllDevices(libvirt.VIR_CONNECT_LIST_NODE_DEVICES_CAP_PCI_DEV)
    assert {device.name() for device in pci} <= listed


@pytest.fixture
def folder(raw: libvirt.virConnect) -> Iterator[Path]:
    """The folder of a running pool."""
    folder = LAB / NAME
    folder.mkdir(parents=True, exist_ok=True)
    raw.storagePoolCreateXML(f"<pool type='dir'><name>{NAME}</name><target><path>{folder}</path></target></pool>")
    yield folder
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()


def test_images_are_recognized_and_their_checksums_hold_until_they_change(
    worker: Worker, here: Host, raw: libvirt.virConnect, folder: Path
) -> None:
    data = os.urandom(2**20 + 17)
    (folder / "cd.iso").write_bytes(disc("Debian 11.5.0 amd64 n"))
    (folder / "debian-12-generic-amd64.img").write_bytes(data)
    raw.storagePoolLookupByName(NAME).refresh()
    stock = Stock(here)
    stock.pools()
    stock.systems()
    found = {row.name: row for row in Pool.objects.get(host=here, name=NAME).volumes.all()}
    assert {name: (row.format, row.os) for name, row in found.items()} == {
        "cd.iso": ("iso", "debian11"),
        "debian-12-generic-amd64.img": ("raw", "debian12"),
    }
    image = found["debian-12-generic-amd64.img"]
    done = worker.do("volume.checksum", image)
    assert done.state == OperationState.SUCCEEDED, done.error
    stock.pools()
    image.refresh_from_db()
    assert image.sha256 == hashlib.sha256(data).hexdigest()
    (folder / image.name).write_bytes(data[::-1])
    stock.pools()
    image.refresh_from_db()
    assert image.sha256 == ""
    stock.connection.close()

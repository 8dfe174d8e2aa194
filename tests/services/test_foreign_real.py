"""A machine of another host that is none of ours, by its own sshd and libvirtd, brought to this one."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import libvirt
import pytest

from tests.lab.lab import LAB, SecondHost, run
from tests.lab.sshd import Sshd, running_sshd
from tests.people import Cast, make_host
from tests.services.carrying import Worker, demand_nothing_left
from webvirt.hypervisor import credentials
from webvirt.hypervisor.addresses import fingerprint
from webvirt.hypervisor.connection import connect
from webvirt.hypervisor.identity import offered_keys
from webvirt.hypervisor.storage import StorageCalls
from webvirt.hypervisor.trial import install_line
from webvirt.hypervisor.types import Transport
from webvirt.hypervisor.xml.parse import parse_domain
from webvirt.models import Host, Operation, OperationState, Pool
from webvirt.services import foreign, operations
from webvirt.services.foreign import Offer
from webvirt.services.watcher.stock import Stock

S = OperationState
NUMBER = 71
NAME = "wvimp-foreign"
MIB = 2**20
SIZE = 24 * MIB
MAC = "52:54:00:71:00:01"
THERE = """
<domain type='qemu'><name>{name}</name><memory unit='MiB'>64</memory><vcpu>2</vcpu>
  <os><type arch='x86_64' machine='q35'>hvm</type></os>
  <devices>
    <disk type='file'><driver name='qemu' type='qcow2'/><source file='/var/lib/libvirt/images/a.qcow2'/>
      <target dev='vda' bus='virtio'/></disk>
    <disk type='volume'><driver name='qemu' type='raw'/><source pool='default' volume='b.img'/>
      <target dev='sda' bus='sata'/></disk>
    <interface type='network'><mac address='{mac}'/><source network='lan'/></interface>
  </devices>
</domain>"""


@pytest.fixture(scope="module")
def second() -> Iterator[SecondHost]:
    host = SecondHost(NUMBER).up()
    yield host
    host.down()


@pytest.fixture
def sshd(second: SecondHost, tmp_path: Path) -> Iterator[Sshd]:
    with running_sshd(tmp_path / "sshd", second) as sshd:
        credentials.make_our_key()
        sshd.type(install_line())
        yield sshd


@pytest.fixture
def machine(second: SecondHost, tmp_path: Path) -> Iterator[str]:
    """A machine there with a qcow2 and a raw disk; returns its UUID."""
    images = second.home / "lib/images"
    for name in ("a", "b"):
        content = bytearray(SIZE)
        content[:MIB], content[9 * MIB : 10 * MIB], content[-512:] = os.urandom(MIB), os.urandom(MIB), os.urandom(512)
        (tmp_path / f"{name}.raw").write_bytes(content)
    run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(tmp_path / "a.raw"), str(images / "a.qcow2"))
    run("cp", str(tmp_path / "b.raw"), str(images / "b.img"))
    virsh = ("virsh", "-q", "-c", second.uri)
    run(*virsh, "pool-refresh", "default")
    (tmp_path / "there.xml").write_text(THERE.format(name=NAME, mac=MAC))
    run(*virsh, "define", str(tmp_path / "there.xml"))
    yield run(*virsh, "domuuid", NAME).strip()
    run(*virsh, "destroy", NAME, check=False)
    run(*virsh, "undefine", NAME)


def clear(raw: libvirt.virConnect) -> None:
    for domain in raw.listAllDomains():
        if domain.name().startswith(NAME):
            domain.undefine()
    for pool in raw.listAllStoragePools():
        if pool.name() == NAME:
            pool.destroy()


@pytest.fixture
def folder() -> Iterator[Path]:
    """The folder of a running pool of this machine."""
    raw = libvirt.open("qemu:///system")
    clear(raw)
    folder = LAB / NAME
    folder.mkdir(parents=True, exist_ok=True)
    raw.storagePoolCreateXML(f"<pool type='dir'><name>{NAME}</name><target><path>{folder}</path></target></pool>")
    yield folder
    clear(raw)
    raw.close()
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()


@dataclass
class Importing:
    """Who imports from the second host to this one."""

    worker: Worker
    host: Host
    stock: Stock
    sshd: Sshd
    machine: str

    def look(self, **more: object) -> Operation:
        keys = [fingerprint(key) for key in offered_keys(self.sshd.address())]
        place = {"kind": "qemu", "hostname": self.sshd.listen, "port": self.sshd.port, "user": "root"}
        return self.worker.do("host.look_elsewhere", self.host, **(place | {"fingerprints": keys} | more))

    def offer(self, looked: Operation) -> Offer:
        found = foreign.offer_in(foreign.source_of(looked.pk), self.machine)
        assert found
        return found

    def ask(self, looked: Operation) -> Operation:
        pool = Pool.objects.get(host=self.host, name=NAME)
        parts = {"source": looked.pk, "machine": self.machine, "pool": pool.pk, "name": f"{NAME}-1"}
        return self.worker.ask("domain.import", self.host, **parts, start=False)

    def look_again(self) -> None:
        """What the host's watcher does."""
        self.stock.let_go()
        self.stock.half_made()
        self.stock.pools()


@pytest.fixture
def importing(
    cast: Cast, folder: Path, sshd: Sshd, machine: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Importing]:
    monkeypatch.setattr(operations, "send", lambda operation: None)
    host = make_host("here", transport=Transport.LOCAL)
    with connect(host.address) as connection:
        info = asdict(connection.host.info())
    # Never KVM: where these tests run, guests may hang under it.
    info["machines"] = [one for one in info["machines"] if one["type"] == "qemu"]
    Host.objects.filter(pk=host.pk).update(info=info)
    host.refresh_from_db()
    stock = Stock(host)
    stock.pools()
    yield Importing(Worker(cast.administrator), host, stock, sshd, machine)
    stock.connection.close()


def same(raw: Path, image: Path) -> bool:
    words: list[str | Path] = ["qemu-img", "compare", "-f", "raw", "-F", "qcow2", raw, image]
    return subprocess.run(words, capture_output=True, check=False).returncode == 0


def test_a_machine_is_brought_with_its_disks(importing: Importing, folder: Path, tmp_path: Path) -> None:
    looked = importing.look()
    assert looked.state == S.SUCCEEDED, looked.error
    offer = importing.offer(looked)
    assert (offer.name, offer.state, offer.why) == (NAME, "shutoff", "")
    assert [(disk.file, disk.format, disk.capacity) for disk in offer.appliance.disks] == [
        ("vda", "qcow2", SIZE),
        ("sda", "raw", SIZE),
    ]
    done = importing.worker.carry_out(importing.ask(looked))
    assert done.state == S.SUCCEEDED, done.error
    assert sorted(file.name for file in folder.iterdir()) == [f"{NAME}-1-2.qcow2", f"{NAME}-1.qcow2"]
    assert same(tmp_path / "a.raw", folder / f"{NAME}-1.qcow2")
    assert same(tmp_path / "b.raw", folder / f"{NAME}-1-2.qcow2")
    with connect(importing.host.address) as connection:
        (uuid,) = [one.uuid for one in connection.domains.list() if one.name == f"{NAME}-1"]
        info = parse_domain(connection.domains.read(uuid).inactive_xml)
    assert uuid != importing.machine
    assert (info.memory_kib, info.vcpus, info.firmware) == (64 * 1024, 2, "bios")


def test_a_killed_worker_leaves_nothing(importing: Importing, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    demand_nothing_left(
        importing.worker,
        importing.ask(importing.look()),
        (StorageCalls, "clone_volume"),
        monkeypatch,
        after=True,
        traces=lambda: sorted(file.name for file in folder.iterdir()),
        look=importing.look_again,
    )


def test_a_machine_that_runs_is_refused(importing: Importing, second: SecondHost, folder: Path) -> None:
    looked = importing.look()
    # There is no such network there, which matters to who starts it alone.
    run("virsh", "-q", "-c", second.uri, "detach-interface", NAME, "network", "--mac", MAC, "--config")
    run("virsh", "-q", "-c", second.uri, "start", NAME)
    done = importing.worker.carry_out(importing.ask(looked))
    assert (done.state, done.error[:18]) == (S.FAILED, "It is not shut off")
    assert "It is not shut off" in importing.offer(importing.look()).why
    assert list(folder.iterdir()) == []


def test_whoever_does_not_let_us_in_is_told_apart(importing: Importing) -> None:
    done = importing.look(fingerprints=[])
    assert (done.state, done.error) == (S.FAILED, "Nobody has confirmed its key yet, so we have not signed in.")
    assert done.source.offered
    looked = importing.look()
    importing.sshd.new_host_key()
    done = importing.worker.carry_out(importing.ask(looked))
    assert (done.state, done.error[:26]) == (S.FAILED, "ssh refuses the host: its "), done.error
    importing.sshd.forget(credentials.public_key().read_text())
    done = importing.look()
    assert done.state == S.FAILED
    assert "Permission denied" in done.error
    assert done.remedy == "See that the account there lets our key in, and may use libvirt."


def test_a_hypervisor_that_its_libvirt_has_no_driver_for(importing: Importing) -> None:
    done = importing.look(kind="xen")
    assert (done.state, done.error[:41]) == (S.FAILED, "The libvirt there has no driver for this:"), done.error

"""Machines of other hypervisors: what their definitions become, what is refused, and how their disks come."""

from __future__ import annotations

import base64
import os
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

import pytest
import redis
from django.utils import timezone

from tests.api.conftest import Caller
from tests.fake_storage import FakeVolume
from tests.fakes import FakeConnection
from tests.people import make_network
from tests.services.carrying import Step, Taken, demand_nothing_left, dying, is_lost
from tests.services.conftest import FakeHost
from tests.services.shop import make_shop, really_there
from webvirt.hypervisor.addresses import fingerprint
from webvirt.hypervisor.connection import connect_source, source_uri
from webvirt.hypervisor.errors import HostRefused, HypervisorError, InvalidSpec, NotFound, Unsupported
from webvirt.hypervisor.sources import in_words
from webvirt.hypervisor.types import DomainState, SourceAddress, SourceKind, SourceMachine, VolumeInfo
from webvirt.hypervisor.xml.parse import parse_domain
from webvirt.models import (
    AuditLine,
    CustomRole,
    Domain,
    Grant,
    Host,
    Network,
    Operation,
    OperationState,
    Origin,
    Project,
    Role,
    SourceHost,
)
from webvirt.services import foreign, operations
from webvirt.services.catalogue import BY_KIND
from webvirt.services.foreign import Offer, datastore_url, flat_of
from webvirt.services.ovf import Card, Disk, NotUnderstood
from webvirt.services.quotas import Amounts, used_in
from webvirt.services.runners import foreign as runner
from webvirt.services.runners import moving
from webvirt.services.runners.context import Context
from webvirt.services.runners.foreign import MOST_MACHINES, told_by
from webvirt.services.unsealing import Keys

S = OperationState
GOLDEN = Path(__file__).with_name("sources")
MIB = 2**20
UUID = "6d0a5b59-0d42-4d3b-9a24-0f3f2e1c7b5a"
PASSWORD = "hunter2 & <больше>"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGvAMvhDDWWGSt5QaOzbECuFMiDqyVOF0qKNxTzpY3jD"


def golden(name: str, state: DomainState = DomainState.SHUTOFF) -> SourceMachine:
    xml = (GOLDEN / f"{name}.xml").read_text()
    info = parse_domain(xml)
    return SourceMachine(info.uuid, info.name, state, xml)


def one_disk(xml: str, **more: Any) -> SourceMachine:
    return SourceMachine(UUID, "one", DomainState.SHUTOFF, f"<domain type='kvm'><name>one</name>{xml}</domain>", **more)


# --- what definitions become


def test_a_machine_of_vmware() -> None:
    offer = told_by(golden("esx"), SourceKind.ESX)
    found = offer.appliance
    assert (found.name, found.memory_mib, found.vcpus, found.firmware) == ("win2k19-files", 4096, 2, "efi")
    assert found.disks == (Disk("sda", "raw", 0, "scsi"), Disk("sdb", "raw", 0, "scsi"))
    assert found.cards == (Card("VM Network", "vmxnet3", "00:0c:29:10:35:15"),)
    assert offer.places == ("[datastore 1] files/files.vmdk", "[ssd] files/files_1.vmdk")
    assert found.notes == ("The variables of its firmware and the state of its TPM do not come along: it begins anew.",)
    assert offer.why == ""


def test_a_machine_of_xen() -> None:
    offer = told_by(golden("xen"), SourceKind.XEN)
    found = offer.appliance
    assert (found.memory_mib, found.vcpus, found.firmware) == (1024, 1, "bios")
    assert found.disks == (Disk("hda", "qcow2", 0, "ide"), Disk("xvdb", "raw", 0, ""))
    assert found.cards == (Card("xenbr0", "netfront", "00:16:3e:12:34:56"),)
    assert offer.places == ("/srv/xen/mail.qcow2", "/dev/vg0/mail-spool")
    assert found.notes == ("It comes without this part: pci 0000:03:00.0.",)
    assert offer.why == ""


def test_a_paravirtualised_machine_of_xen() -> None:
    offer = told_by(golden("xenpv"), SourceKind.XEN)
    assert offer.appliance.disks == (Disk("xvda", "raw", 0, ""),)
    assert offer.appliance.os == "debian12"
    assert "paravirtualised" in offer.appliance.notes[0]


def test_a_machine_of_virtualbox_is_shown_and_refused_with_what_to_do() -> None:
    offer = told_by(golden("vbox"), SourceKind.VBOX)
    assert offer.appliance.disks == (Disk("sda", "raw", 0, "sata"),)
    assert offer.appliance.notes == ("It comes without this part: floppy.",)
    assert "export the machine there as OVA" in offer.why


def test_a_machine_of_another_libvirt() -> None:
    offer = told_by(golden("qemu"), SourceKind.QEMU)
    found = offer.appliance
    assert (found.os, found.memory_mib, found.vcpus, found.firmware) == ("debian12", 3072, 3, "efi")
    assert (found.disks, offer.places) == ((Disk("vda", "raw", 0, "virtio"),), ("vms/shop.img",))


@pytest.mark.parametrize(
    ("machine", "words"),
    [
        (golden("qemu", DomainState.RUNNING), "It is not shut off"),
        (golden("qemu", DomainState.PAUSED), "It is not shut off"),
        (one_disk("<devices/>", saved=True), "Its memory lies saved"),
        (one_disk("<devices><disk type='network'><source protocol='nbd' name='/etc/shadow'><host name='h'/></source>"
                  "<target dev='vda'/></disk></devices>"), "Its disk vda is in no file"),
        (one_disk("<devices><disk><source file='/a'/><driver type='dmg'/><target dev='vda'/></disk></devices>"),
         "is of the format dmg"),
        (one_disk("<devices>" + "<disk><source file='/a'/><target dev='vda'/></disk>" * 2 + "</devices>"),
         "not understood"),
        (one_disk("<devices>" + "".join(f"<disk><source file='/a'/><target dev='v{n}'/></disk>" for n in range(17))
                  + "</devices>"), "It has 17 disks: 16 at most."),
        (SourceMachine(UUID, "x", DomainState.SHUTOFF, "<domain"), "not understood"),
        (SourceMachine(UUID, "x", DomainState.SHUTOFF, "<!DOCTYPE d [<!ENTITY a 'b'>]><domain>&a;</domain>"),
         "not understood"),
        (SourceMachine(UUID, "x", DomainState.SHUTOFF,
                       "<!DOCTYPE d [<!ENTITY a SYSTEM 'file:///etc/shadow'>]><domain><name>&a;</name></domain>"),
         "not understood"),
        (SourceMachine(UUID, "x", DomainState.SHUTOFF, "<pool/>"), "not understood"),
    ],
)  # fmt: skip
def test_what_cannot_be_imported_says_why(machine: SourceMachine, words: str) -> None:
    assert words in told_by(machine, SourceKind.QEMU).why


HOSTILE = "<b>&\"'" + "\u202e\x07" + "x" * 400


def test_what_was_written_to_harm_is_but_a_line() -> None:
    machine = one_disk(
        "<memory unit='KiB'>-5</memory><vcpu>-3</vcpu><devices>"
        "<disk><source file='/a'/><target dev='vda' bus='&lt;script>'/></disk>"
        "<interface><mac address='&lt;i>'/><source bridge='a&#10;b'/></interface></devices>"
    )
    offer = told_by(SourceMachine(UUID, HOSTILE, machine.state, machine.xml), SourceKind.QEMU)
    assert (offer.appliance.memory_mib, offer.appliance.vcpus) == (0, 0)
    assert offer.appliance.disks[0].bus == ""
    assert offer.appliance.cards[0].network == "a b"
    assert offer.name.isprintable()
    assert len(offer.name) == 200
    assert foreign.from_json(foreign.as_json(offer)) == offer


# --- addresses


@pytest.mark.parametrize(
    ("address", "uri"),
    [
        (SourceAddress(SourceKind.ESX, "esx1", None, "root", "p"), "esx://esx1/?transport=https&auto_answer=0&no_verify=0"),
        (SourceAddress(SourceKind.VPX, "2001:db8::1", 8443, "a@vsphere.local", "p", "DC 1/Cl/esx1", True),
         "vpx://[2001:db8::1]:8443/DC%201/Cl/esx1?transport=https&auto_answer=0&no_verify=1"),
    ],
)  # fmt: skip
def test_the_uri_of_vmware_holds_neither_user_nor_password(address: SourceAddress, uri: str) -> None:
    assert source_uri(address) == uri


@pytest.mark.parametrize(("kind", "path"), [("xen", "system"), ("qemu", "system"), ("vbox", "session")])
def test_the_uri_by_ssh(kind: str, path: str) -> None:
    uri = source_uri(SourceAddress(SourceKind(kind), "h.example", 2222, "root"))
    assert uri.startswith(f"{kind}+ssh://root@h.example:2222/{path}?no_tty=1&command=/")


ESX: dict[str, Any] = {"kind": SourceKind.ESX, "hostname": "esx1", "user": "root", "password": "p"}
WRONG: tuple[dict[str, Any], ...] = (
    ESX | {"hostname": "esx1/?command=x"},
    ESX | {"hostname": "a@b"},
    ESX | {"hostname": "2130706433"},
    ESX | {"hostname": "-oProxyCommand=x"},
    ESX | {"password": ""},
    ESX | {"password": "a\nb"},
    ESX | {"user": "a:b"},
    ESX | {"user": ""},
    ESX | {"path": "DC/esx1"},
    ESX | {"port": 70_000},
    ESX | {"kind": SourceKind.VPX},
    ESX | {"kind": SourceKind.VPX, "path": "DC"},
    ESX | {"kind": SourceKind.VPX, "path": "DC/../esx1"},
    ESX | {"kind": SourceKind.VPX, "path": "DC/a?no_verify=1"},
    ESX | {"kind": SourceKind.XEN},
    {"kind": SourceKind.XEN, "hostname": "h", "user": "-oProxyCommand=x"},
    {"kind": SourceKind.QEMU, "hostname": "h", "unverified": True},
)


@pytest.mark.parametrize("parts", WRONG)
def test_an_address_that_is_none_is_refused(parts: dict[str, Any]) -> None:
    with pytest.raises(InvalidSpec):
        source_uri(SourceAddress(**parts))


def test_what_libvirt_lacks_is_said_in_words() -> None:
    """libvirt's own sentences, where it was built without a driver."""
    esx, xen = SourceAddress(**ESX), SourceAddress(SourceKind.XEN, "h")
    with pytest.raises(Unsupported, match="this installation was built without"), in_words(esx):
        raise InvalidSpec("libvirt was built without the 'esx' driver")
    with pytest.raises(Unsupported, match="libvirt there has no driver"), in_words(xen):
        raise InvalidSpec("no connection driver available for xen:///system")
    with pytest.raises(HostRefused, match="password is not right"), in_words(esx):
        raise InvalidSpec("Cannot complete login due to an incorrect user name or password.")


# --- datastores


def described(
    name: str = "files-flat.vmdk", sectors: int = 4096, parent: str = "ffffffff", kind: str = "VMFS"
) -> bytes:
    return (
        f'# Disk DescriptorFile\nversion=1\nCID=fb183c20\nparentCID={parent}\ncreateType="vmfs"\n\n'
        f'# Extent description\nRW {sectors} {kind} "{name}"\n\nddb.adapterType = "lsilogic"\n'
    ).encode()


def test_where_the_bytes_of_a_disk_are() -> None:
    address = SourceAddress(**ESX)
    url = datastore_url(address, "Offices/DC 1", "[datastore 1] my files/a&b.vmdk")
    assert url == "https://esx1/folder/my%20files/a%26b.vmdk?dcPath=Offices%2FDC%201&dsName=datastore%201"
    flat = flat_of(described(), url)
    assert flat.url == "https://esx1/folder/my%20files/files-flat.vmdk?dcPath=Offices%2FDC%201&dsName=datastore%201"
    assert flat.size == 2 * MIB


@pytest.mark.parametrize(
    "place",
    ["", "/etc/shadow", "[a] ../x.vmdk", "[a] /x.vmdk", "[a] x.vmx", "[a/b] x.vmdk", "[a] a\nb.vmdk", "[a] a//b.vmdk"],
)
def test_what_is_no_file_of_a_datastore_is_not_asked_for(place: str) -> None:
    with pytest.raises(NotUnderstood, match="no file of a datastore"):
        datastore_url(SourceAddress(**ESX), "ha-datacenter", place)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (described(parent="fb183c20"), "has snapshots"),
        (described(kind="VMFSSPARSE"), "not one plain file"),
        (described(name="../../etc/shadow"), "not one plain file"),
        (described(name="/etc/shadow"), "not one plain file"),
        (described(sectors=0), "larger than any disk"),
        (described(sectors=2**50), "larger than any disk"),
        (described() + b'RW 1 VMFS "two-flat.vmdk"\n', "not one plain file"),
        (b"<html>", "something else"),
        (bytes(100), "something else"),
    ],
)
def test_a_disk_that_is_described_otherwise_is_refused(text: bytes, words: str) -> None:
    with pytest.raises(NotUnderstood, match=words):
        flat_of(text, "https://esx1/folder/a/a.vmdk?x")


# --- a look, and an import, on an imagined one


@dataclass
class Elsewhere:
    """Another hypervisor in memory: its machines, and a pool `vms` with their volumes."""

    known: dict[str, SourceMachine] = field(default_factory=dict)
    connection: FakeConnection = field(default_factory=FakeConnection)
    opened: list[SourceAddress] = field(default_factory=list)
    pool: str = ""

    def __post_init__(self) -> None:
        self.pool = self.connection.storage.put("vms").uuid

    @property
    def machines(self) -> Self:
        return self

    @property
    def storage(self) -> Any:
        return self.connection.storage

    def names(self) -> dict[str, str]:
        return {uuid: machine.name for uuid, machine in self.known.items()}

    def read(self, uuid: str) -> SourceMachine:
        if uuid not in self.known:
            raise NotFound("no such machine")
        return self.known[uuid]

    def volume(self, path: str, pool: str = "", name: str = "") -> tuple[str, VolumeInfo]:
        for volume in self.storage.known[self.pool].volumes.values():
            if path == volume.info.path or (pool, name) == ("vms", volume.info.name):
                return self.pool, volume.info
        raise NotFound("no such volume")

    def put(self, name: str, data: bytes, kind: str = "raw", **more: Any) -> None:
        path = f"/vms/{name}"
        size = len(data)
        parts: dict[str, Any] = {"capacity": size, "allocation": size, "physical": size} | more
        self.storage.known[self.pool].volumes[name] = FakeVolume(
            VolumeInfo(name, path, path, "file", kind, **parts), bytearray(data)
        )

    def open(self, address: SourceAddress, **_more: Any) -> Self:
        self.opened.append(address)
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return


@pytest.fixture
def there(monkeypatch: pytest.MonkeyPatch) -> Elsewhere:
    """One with the machine of `qemu.xml`, which is shut off."""
    there = Elsewhere()
    machine = golden("qemu")
    there.known[machine.uuid] = machine
    there.put("shop.img", os.urandom(MIB) + bytes(MIB))
    monkeypatch.setattr(runner, "connect_source", there.open)
    monkeypatch.setattr(runner, "offered_keys", lambda _address: (KEY,))
    return there


@pytest.fixture
def host(alpha: FakeHost) -> Host:
    Host.objects.filter(pk=alpha.cast.host.pk).update(info=asdict(alpha.connection.host.info()))
    Network.objects.filter(host=alpha.cast.host).delete()
    make_network(alpha.cast.host, "lan", 7)
    return Host.objects.get(pk=alpha.cast.host.pk)


PLACE = {"kind": "qemu", "hostname": "h.example", "user": "root"}


def known_by() -> list[str]:
    return [fingerprint(KEY)]


def look(alpha: FakeHost, host: Host) -> Operation:
    return alpha.do("host.look_elsewhere", host, **PLACE, fingerprints=known_by())


def wish(alpha: FakeHost, looked: Operation, **more: Any) -> dict[str, Any]:
    return {"source": looked.pk, "machine": UUID, "pool": alpha.pool.pk, "name": "new-1", "firmware": "bios"} | more


def test_a_key_that_nobody_has_compared_is_told_and_nothing_sent(alpha: FakeHost, host: Host, there: Elsewhere) -> None:
    done = alpha.do("host.look_elsewhere", host, **PLACE)
    assert (done.state, done.error[:33]) == (S.FAILED, "Nobody has confirmed its key yet,")
    assert (done.source.offered, there.opened) == ([KEY], [])
    done = alpha.do("host.look_elsewhere", host, **PLACE, fingerprints=[f"SHA256:{'A' * 43}"])
    assert (done.state, done.error[:31], there.opened) == (S.FAILED, "The host shows other keys by no", [])


def test_its_machines_are_listed(alpha: FakeHost, host: Host, there: Elsewhere) -> None:
    done = look(alpha, host)
    assert (done.state, done.result) == (S.SUCCEEDED, {"machines": 1}), done.error
    assert there.opened == [SourceAddress(SourceKind.QEMU, "h.example", None, "root", keys=(KEY,))]
    (offer,) = foreign.offers_of(done.source)
    assert (offer.name, offer.state, offer.why) == ("shop", "shutoff", "")
    assert offer.appliance.disks == (Disk("vda", "raw", 2 * MIB, "virtio"),)
    assert done.virsh == "virsh -c qemu+ssh://root@h.example/system list --all"


def test_of_very_many_machines_the_first_are_listed(alpha: FakeHost, host: Host, there: Elsewhere) -> None:
    there.known = {str(n): SourceMachine(str(n), f"m{n}", DomainState.SHUTOFF, "<domain/>") for n in range(520)}
    source = look(alpha, host).source
    assert (len(source.machines), source.more) == (MOST_MACHINES, 520 - MOST_MACHINES)


def test_one_that_libvirt_does_not_understand_spoils_no_list(
    alpha: FakeHost, host: Host, there: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, odd = there.read, f"{UUID[:-1]}0"
    there.known[odd] = SourceMachine(odd, "odd", DomainState.SHUTOFF, "")

    def read(uuid: str) -> SourceMachine:
        if uuid == odd:
            raise HypervisorError("Unexpected VMX entry")
        return real(uuid)

    monkeypatch.setattr(there, "read", read)
    offers = foreign.offers_of(look(alpha, host).source)
    assert [(offer.name, offer.why) for offer in offers] == [("odd", "Unexpected VMX entry"), ("shop", "")]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"backing_path": "/etc/shadow", "kind": "qcow2"}, "is a layer over another image"),
        ({"encrypted": True}, "is encrypted"),
        ({"capacity": 2**63}, "larger than any disk"),
    ],
)
def test_a_disk_that_cannot_be_brought_says_why(
    alpha: FakeHost, host: Host, there: Elsewhere, change: dict[str, Any], words: str
) -> None:
    machine = there.known[UUID]
    kind = change.get("kind", "raw")
    there.known[UUID] = SourceMachine(UUID, "shop", machine.state, machine.xml.replace("'raw'", f"'{kind}'"))
    there.put("shop.img", bytes(MIB), **change)
    assert words in foreign.offers_of(look(alpha, host).source)[0].why


def test_a_disk_in_no_pool_says_what_to_do(alpha: FakeHost, host: Host, there: Elsewhere) -> None:
    del there.storage.known[there.pool].volumes["shop.img"]
    assert "virsh pool-define-as" in foreign.offers_of(look(alpha, host).source)[0].why


def test_a_machine_is_imported(alpha: FakeHost, host: Host, there: Elsewhere) -> None:
    lan = Network.objects.get(name="lan")
    cards = [{"network": lan.pk, "mac": "52:54:00:aa:bb:cc"}]
    looked = look(alpha, host)
    done = alpha.do("domain.import", host, **wish(alpha, looked, cards=cards))
    assert done.state == S.SUCCEEDED, done.error
    made = next(domain for domain in alpha.connection.domains.known.values() if domain.name == "new-1")
    info = parse_domain(made.xml())
    assert (info.vcpus, info.memory_kib, made.state) == (3, 3 * 2**20, DomainState.RUNNING)
    assert [(card.source, card.mac) for card in info.interfaces] == [("lan", "52:54:00:aa:bb:cc")]
    volumes = alpha.connection.storage.known[alpha.uuid].volumes
    assert volumes["new-1.qcow2"].data == there.storage.known[there.pool].volumes["shop.img"].data
    # What it came by is gone, and nothing was changed there.
    assert sorted(alpha.names()) == ["new-1.qcow2", "web-1.qcow2"]
    assert list(there.storage.known[there.pool].volumes) == ["shop.img"]
    assert "vol-download --sparse shop.img --pool vms vda.img" in done.virsh


STEPS: dict[str, Callable[[FakeHost], Step]] = {
    "volume": lambda alpha: (alpha.connection.storage, "create_volume"),
    "copy": lambda alpha: (alpha.connection.storage, "upload"),
    "last look": lambda alpha: (runner, "demand_rest"),
    "conversion": lambda alpha: (alpha.connection.storage, "clone_volume"),
    "clearing": lambda alpha: (alpha.connection.storage, "delete_volume"),
    "definition": lambda alpha: (alpha.connection.domains, "define"),
}
SHOP = Amounts(machines=1, vcpus=3, memory_kib=3 * 2**20, disk=2 * MIB)
"""What the machine of `qemu.xml` takes."""


def room_for(amounts: Amounts) -> Project:
    """A project with room for just so much."""
    return make_shop(
        most_machines=amounts.machines,
        most_vcpus=amounts.vcpus,
        most_memory_kib=amounts.memory_kib,
        most_disk=amounts.disk,
    )


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", STEPS)
def test_a_worker_that_dies_leaves_nothing(
    alpha: FakeHost, host: Host, there: Elsewhere, monkeypatch: pytest.MonkeyPatch, step: str, after: bool
) -> None:
    shop = room_for(SHOP)
    asked = wish(alpha, look(alpha, host), project=shop.pk)
    takes = Taken(shop.pk, SHOP, lambda: really_there(alpha, shop))
    demand_nothing_left(
        alpha,
        alpha.ask("domain.import", host, **asked),
        STEPS[step](alpha),
        monkeypatch,
        after=after,
        traces=alpha.traces,
        look=alpha.look_again,
        takes=takes,
    )
    # And its name is free again, and its quota; nothing was changed there.
    assert alpha.do("domain.import", host, **asked).state == S.SUCCEEDED
    assert used_in(shop.pk) == takes.there() == SHOP
    assert list(there.storage.known[there.pool].volumes) == ["shop.img"]


@pytest.mark.parametrize("step", ["connect_source", "demand_same"])
def test_a_worker_that_dies_before_it_makes_anything_keeps_no_room(
    alpha: FakeHost, host: Host, there: Elsewhere, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    shop = room_for(SHOP)
    operation = alpha.ask("domain.import", host, **wish(alpha, look(alpha, host), project=shop.pk))
    before = alpha.traces()
    with dying(monkeypatch, (runner, step), after=False):
        alpha.carry_out(operation)
    assert used_in(shop.pk) == SHOP
    is_lost(operation)
    assert (used_in(shop.pk), alpha.traces()) == (Amounts(), before)


def test_a_look_that_dies_leaves_nothing(
    alpha: FakeHost, host: Host, there: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    operation = alpha.ask("host.look_elsewhere", host, **PLACE, fingerprints=known_by())
    with dying(monkeypatch, (there, "names"), after=True):
        alpha.carry_out(operation)
    is_lost(operation)
    assert not SourceHost.objects.exists()
    assert look(alpha, host).state == S.SUCCEEDED


def test_cancelled_while_its_disks_come_nothing_stays(
    alpha: FakeHost, host: Host, there: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    operation = alpha.ask("domain.import", host, **wish(alpha, look(alpha, host)))

    def cancel(context: Any, now: str, *figures: int) -> None:
        if now == "copying the disks":
            operations.cancel(operation)
            operations.report(context.operation, now, *figures)

    monkeypatch.setattr(Context, "progress", cancel)
    assert alpha.carry_out(operation).state == S.CANCELLED
    alpha.look_again()
    assert alpha.names() == ["web-1.qcow2"]


def start(there: Elsewhere) -> None:
    there.known[UUID] = golden("qemu", DomainState.RUNNING)


def test_one_that_runs_by_now_is_refused(alpha: FakeHost, host: Host, there: Elsewhere) -> None:
    looked = look(alpha, host)
    start(there)
    done = alpha.do("domain.import", host, **wish(alpha, looked))
    assert (done.state, done.error[:18]) == (S.FAILED, "It is not shut off")
    assert alpha.names() == ["web-1.qcow2"]
    # And where that was seen, it is not even asked for.
    with pytest.raises(operations.Invalid):
        alpha.ask("domain.import", host, **wish(alpha, look(alpha, host)))


def test_one_that_is_started_meanwhile_is_not_kept(
    alpha: FakeHost, host: Host, there: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked, real = look(alpha, host), there.storage.extents

    def extents(*args: Any) -> Iterator[Any]:
        yield from real(*args)
        start(there)

    monkeypatch.setattr(there.storage, "extents", extents)
    done = alpha.do("domain.import", host, **wish(alpha, looked))
    assert (done.state, done.error[:36]) == (S.FAILED, "Somebody has started the machine the")
    alpha.look_again()
    assert alpha.names() == ["web-1.qcow2"]


def test_one_that_has_changed_since_it_was_shown_is_refused(alpha: FakeHost, host: Host, there: Elsewhere) -> None:
    looked, machine = look(alpha, host), there.known[UUID]
    there.put("other.img", bytes(MIB))
    there.known[UUID] = SourceMachine(UUID, "shop", machine.state, machine.xml.replace("shop.img", "other.img"))
    done = alpha.do("domain.import", host, **wish(alpha, looked))
    assert (done.state, done.error) == (S.FAILED, "The machine has changed there since it was shown.")


def test_an_image_in_what_is_said_to_be_raw_is_refused(alpha: FakeHost, host: Host, there: Elsewhere) -> None:
    """Its guest wrote it, and it may name any file."""
    there.put("shop.img", b"QFI\xfb\0\0\0\3" + bytes(MIB), capacity=MIB)
    looked = look(alpha, host)
    done = alpha.do("domain.import", host, **wish(alpha, looked))
    assert done.state == S.FAILED
    alpha.look_again()
    assert alpha.names() == ["web-1.qcow2"]


# --- whose it is, and for how long


def test_a_look_is_its_askers_alone_and_is_forgotten_after_a_day(alpha: FakeHost, host: Host, there: Elsewhere) -> None:
    looked, other = look(alpha, host), alpha.cast.stranger
    path = f"/hosts/{host.pk}/sources/{looked.pk}"
    told = Caller(alpha.cast.administrator).call("GET", path)
    assert (told.status_code, [one["name"] for one in told.json()["machines"]]) == (200, ["shop"])
    Grant.objects.create(user=other, role=Role.ADMINISTRATOR)
    assert Caller(other).call("GET", path).status_code == 404
    asked = operations.submit(operations.Actor(other, Origin.PAGE), BY_KIND["domain.import"], host, wish(alpha, looked))
    assert alpha.carry_out(asked).error == "Who looked there may import from there, for a day."
    foreign.look_after(timezone.now())
    assert SourceHost.objects.exists()
    foreign.look_after(timezone.now() + timedelta(days=1, minutes=1))
    assert not SourceHost.objects.exists()
    with pytest.raises(operations.Invalid, match="look there again"):
        alpha.ask("domain.import", host, **wish(alpha, looked))


def test_a_role_on_one_host_does_not_lead_elsewhere(alpha: FakeHost, host: Host, there: Elsewhere) -> None:
    """Else it would open the whole of our network to who may use one host of it."""
    looked, who = look(alpha, host), alpha.cast.stranger
    role = CustomRole.objects.create(name="Importer", kinds=["host.look_elsewhere", "domain.import"])
    grant = Grant.objects.create(user=who, custom_role=role, host=host)
    actor = operations.Actor(who, Origin.PAGE)
    for kind, asked in (("host.look_elsewhere", PLACE), ("domain.import", wish(alpha, looked))):
        with pytest.raises(operations.Denied):
            operations.submit(actor, BY_KIND[kind], host, asked)
    grant.host = None
    grant.save()
    assert operations.submit(actor, BY_KIND["host.look_elsewhere"], host, PLACE).pk


# --- VMware's datastores


DISKS = {"files": os.urandom(MIB) + bytes(2 * MIB), "files_1": os.urandom(MIB // 2)}


class Datastores(ThreadingHTTPServer):
    """The part of an ESXi that hands out files, with a certificate of its own making and its key."""

    def __init__(self, certificate: Path, key: Path) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = {f"/folder/files/{name}-flat.vmdk": data for name, data in DISKS.items()}
        for name, data in DISKS.items():
            self.files[f"/folder/files/{name}.vmdk"] = described(f"{name}-flat.vmdk", len(data) // 512)
        self.asked: list[str] = []
        self.breaks_at = 0
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self.socket = context.wrap_socket(self.socket, server_side=True)


ABOUT = "".join(
    f"<{name}>{value}</{name}>"
    for name, value in {
        "name": "VMware ESXi", "fullName": "VMware ESXi 7.0.3", "vendor": "VMware, Inc.", "version": "7.0.3",
        "build": "1", "osType": "vmnix-x86", "productLineId": "embeddedEsx", "apiType": "HostAgent",
        "apiVersion": "7.0.3.0",
    }.items()
)  # fmt: skip
SERVICE = (
    '<RetrieveServiceContentResponse xmlns="urn:vim25"><returnval><rootFolder type="Folder">ha-folder-root</rootFolder>'
    '<propertyCollector type="PropertyCollector">ha-property-collector</propertyCollector>'
    f'<about>{ABOUT}</about><sessionManager type="SessionManager">ha-sessionmgr</sessionManager>'
    "</returnval></RetrieveServiceContentResponse>"
)
NOT_LET_IN = (
    "<soapenv:Fault><faultcode>ServerFaultCode</faultcode><faultstring>"
    "Cannot complete login due to an incorrect user name or password.</faultstring></soapenv:Fault>"
)


class Handler(BaseHTTPRequestHandler):
    server: Datastores

    def do_POST(self) -> None:
        """As far as its SOAP goes: it says what it is, and lets nobody in."""
        asked = self.rfile.read(int(self.headers["Content-Length"]))
        is_first = b"RetrieveServiceContent" in asked
        envelope = "http://schemas.xmlsoap.org/soap/envelope/"
        body = (
            f'<soapenv:Envelope xmlns:soapenv="{envelope}">'
            f"<soapenv:Body>{SERVICE if is_first else NOT_LET_IN}</soapenv:Body></soapenv:Envelope>"
        ).encode()
        self.send_response(200 if is_first else 500)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        path, _mark, query = self.path.partition("?")
        self.server.asked.append(query)
        wanted = f"Basic {base64.b64encode(f'root:{PASSWORD}'.encode()).decode()}"
        data = self.server.files.get(path)
        if self.headers.get("Authorization") != wanted or data is None:
            self.send_response(404 if data is None else 401)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")[0])
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(data) - start))
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Last-Modified", "Sat, 28 Nov 2026 10:00:00 GMT")
        self.end_headers()
        most, self.server.breaks_at = self.server.breaks_at or len(data), 0
        self.wfile.write(data[start : start + most])

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate and its key."""
    folder = tmp_path_factory.mktemp("esx")
    key, certificate = folder / "key", folder / "certificate"
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=esx.example"]
    subprocess.run([*make, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    return certificate, key


@pytest.fixture
def datastores(certificate: tuple[Path, Path]) -> Iterator[Datastores]:
    server = Datastores(*certificate)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@dataclass
class Vmware:
    """A look at an ESXi that has the machine of `esx.xml`, and an import of it."""

    alpha: FakeHost
    host: Host
    there: Elsewhere
    place: dict[str, Any]

    def look(self, **more: Any) -> Operation:
        return self.alpha.do("host.look_elsewhere", self.host, **(self.place | more))

    def wish(self, looked: Operation) -> dict[str, Any]:
        return wish(self.alpha, looked, machine=golden("esx").uuid)

    def bring(self, looked: Operation) -> Operation:
        return self.alpha.do("domain.import", self.host, **self.wish(looked))


@pytest.fixture
def vmware(alpha: FakeHost, host: Host, there: Elsewhere, datastores: Datastores, store: redis.Redis) -> Vmware:
    Keys().make()
    machine = golden("esx")
    there.known = {machine.uuid: machine}
    place = {"kind": "esx", "hostname": "127.0.0.1", "port": datastores.server_port, "user": "root"}
    return Vmware(alpha, host, there, place | {"password": PASSWORD, "unverified": True})


def test_disks_come_from_datastores(vmware: Vmware, datastores: Datastores) -> None:
    looked = vmware.look()
    assert looked.state == S.SUCCEEDED, looked.error
    assert looked.source.sealed_password
    done = vmware.bring(looked)
    assert done.state == S.SUCCEEDED, done.error
    volumes = vmware.alpha.connection.storage.known[vmware.alpha.uuid].volumes
    assert [bytes(volumes[name].data) for name in ("new-1.qcow2", "new-1-2.qcow2")] == list(DISKS.values())
    assert set(datastores.asked) == {f"dcPath=Offices%2FDC%201&dsName={name}" for name in ("datastore%201", "ssd")}
    # And another one, without the password having to be told again.
    again = vmware.alpha.do("domain.import", vmware.host, **vmware.wish(looked) | {"name": "new-2"})
    assert again.state == S.SUCCEEDED, again.error
    # Where it cannot be opened, that is said.
    SourceHost.objects.update(hostname="localhost")
    lost = vmware.alpha.do("domain.import", vmware.host, **vmware.wish(looked) | {"name": "new-3"})
    assert (lost.state, lost.error[:44]) == (S.FAILED, "The password for the other hypervisor is not")


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", ["by_way_of", "convert"])
def test_a_worker_that_dies_between_disks_of_a_datastore_leaves_nothing(
    vmware: Vmware, monkeypatch: pytest.MonkeyPatch, step: str, after: bool
) -> None:
    amounts = Amounts(machines=1, vcpus=2, memory_kib=4 * 2**20, disk=sum(map(len, DISKS.values())))
    shop, alpha = room_for(amounts), vmware.alpha
    asked = vmware.wish(vmware.look()) | {"project": shop.pk}
    operation = alpha.ask("domain.import", vmware.host, **asked)
    # How large they are is told by the datastore alone.
    takes = Taken(shop.pk, amounts, lambda: really_there(alpha, shop))
    demand_nothing_left(
        alpha, operation, (moving.Bringing, step), monkeypatch,
        after=after, traces=alpha.traces, look=alpha.look_again, takes=takes,
    )  # fmt: skip
    assert alpha.do("domain.import", vmware.host, **asked).state == S.SUCCEEDED
    assert used_in(shop.pk) == takes.there() == amounts


def test_the_password_is_nowhere(vmware: Vmware, caplog: pytest.LogCaptureFixture) -> None:
    looked = vmware.look()
    done = vmware.bring(looked)
    rows = [str(vars(one)) for model in (Operation, SourceHost, AuditLine, Domain) for one in model.objects.all()]
    assert done.state == S.SUCCEEDED
    assert not any("hunter2" in text for text in [*rows, caplog.text])


def test_a_connection_that_breaks_is_taken_up(
    vmware: Vmware, datastores: Datastores, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("webvirt.services.fetching.PAUSE_SECONDS", 0.0)
    looked = vmware.look()
    real = runner.OnDatastore.extents

    def extents(part: Any, length: int) -> Iterator[Any]:
        datastores.breaks_at = 300_000
        yield from real(part, length)

    monkeypatch.setattr(runner.OnDatastore, "extents", extents)
    done = vmware.bring(looked)
    assert done.state == S.SUCCEEDED, done.error
    volumes = vmware.alpha.connection.storage.known[vmware.alpha.uuid].volumes
    assert bytes(volumes["new-1.qcow2"].data) == DISKS["files"]


def other_size(datastores: Datastores) -> None:
    datastores.files["/folder/files/files-flat.vmdk"] += bytes(512)


def with_snapshot(datastores: Datastores) -> None:
    datastores.files["/folder/files/files.vmdk"] = described("files-delta.vmdk", parent="12345678")


def gone(datastores: Datastores) -> None:
    del datastores.files["/folder/files/files_1-flat.vmdk"]


def huge_description(datastores: Datastores) -> None:
    datastores.files["/folder/files/files.vmdk"] = bytes(MIB)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (other_size, "not as large as its description says"),
        (with_snapshot, "has snapshots"),
        (gone, "The server answers 404"),
        (huge_description, "something else than the description"),
    ],
)
def test_a_datastore_that_says_otherwise_is_refused(
    vmware: Vmware, datastores: Datastores, change: Callable[[Datastores], None], words: str
) -> None:
    looked = vmware.look()
    change(datastores)
    done = vmware.bring(looked)
    assert done.state == S.FAILED
    assert words in done.error
    vmware.alpha.look_again()
    assert vmware.alpha.names() == ["web-1.qcow2"]


def test_a_wrong_password_and_a_certificate_that_is_not_good(vmware: Vmware) -> None:
    done = vmware.bring(vmware.look(password="wrong"))
    assert (done.state, done.error[:33]) == (S.FAILED, "The user or the password is not r")
    done = vmware.bring(vmware.look(unverified=False))
    assert (done.state, done.error[:37]) == (S.FAILED, "The server's certificate is not good:")


def test_the_real_driver_says_what_is_wrong(datastores: Datastores) -> None:
    """libvirt's own driver for VMware, as far as it comes with a server that is none."""
    with pytest.raises(HostRefused, match="Its certificate is not good"):
        connect_source(SourceAddress(SourceKind.ESX, "127.0.0.1", datastores.server_port, "root", PASSWORD))
    for kind, path in ((SourceKind.ESX, ""), (SourceKind.VPX, "DC/Cluster/esx1")):
        address = SourceAddress(kind, "127.0.0.1", datastores.server_port, "root", PASSWORD, path, unverified=True)
        with pytest.raises(HostRefused, match="The user or the password is not right there"):
            connect_source(address)


def test_offers_are_read_as_they_were_kept() -> None:
    offer = Offer(UUID, "a", "shutoff", told_by(golden("esx"), SourceKind.ESX).appliance, ("p", "q"), "why")
    assert foreign.from_json(foreign.as_json(offer)) == offer

"""Machines from files and into files on a host in memory: what is made, what is refused, and that nothing stays."""

from __future__ import annotations

import io
import os
import struct
import tarfile
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

import pytest
from django.utils import timezone

from tests.appliances import VMWARE, manifest_of, small_envelope, tar_of
from tests.fake_storage import FakeVolume
from tests.fakes import FakeDomain
from tests.people import make_network
from tests.services.carrying import File, Step, Taken, demand_nothing_left, dying, is_lost
from tests.services.conftest import GIB, FakeHost
from tests.services.shop import make_shop, really_there
from webvirt.hypervisor.types import DomainState, VolumeInfo
from webvirt.hypervisor.xml.parse import parse_domain
from webvirt.models import DiskUse, Domain, Host, Network, OperationState, Status, Volume
from webvirt.services import operations
from webvirt.services.quotas import Amounts, used_in
from webvirt.services.runners.context import Context

S = OperationState
MIB = 2**20
KIND = "domain.import"
VMDK = struct.pack("<4sIIQ", b"KDMV", 1, 0, 2048) + bytes(1000) + os.urandom(2 * MIB)
PARTS = {"small.ovf": small_envelope("small.vmdk", 5 * GIB), "small.vmdk": VMDK}
OVA = tar_of(PARTS | {"small.mf": manifest_of(PARTS)})
QCOW2 = struct.pack(">4sIQI", b"QFI\xfb", 3, 0, 0) + bytes(100) + os.urandom(MIB)


@pytest.fixture
def host(alpha: FakeHost) -> Host:
    """The cast's host as it tells of itself, with a network."""
    Host.objects.filter(pk=alpha.cast.host.pk).update(info=asdict(alpha.connection.host.info()))
    Network.objects.filter(host=alpha.cast.host).delete()
    make_network(alpha.cast.host, "lan", 7)
    return Host.objects.get(pk=alpha.cast.host.pk)


def put(alpha: FakeHost, name: str, data: bytes, **more: Any) -> Volume:
    path = f"/srv/images/{name}"
    info = VolumeInfo(name, path, path, "file", "raw", len(data), len(data), len(data), modified_at=1.0)
    kept = FakeVolume(replace(info, **more), bytearray(data))
    alpha.connection.storage.known[alpha.uuid].volumes[name] = kept
    alpha.stock.pools()
    return alpha.volume(name)


def wish(alpha: FakeHost, volume: Volume, **more: Any) -> dict[str, Any]:
    return {"volume": volume.pk, "pool": alpha.pool.pk, "name": "new-1"} | more


def made(alpha: FakeHost, name: str = "new-1") -> FakeDomain:
    return next(domain for domain in alpha.connection.domains.known.values() if domain.name == name)


def content(alpha: FakeHost, name: str) -> bytes:
    return bytes(alpha.connection.storage.known[alpha.uuid].volumes[name].data)


# --- looking


def test_what_is_in_an_appliance_is_kept_until_its_bytes_are_others(alpha: FakeHost, host: Host) -> None:
    volume = put(alpha, "small.ova", OVA)
    done = alpha.do("volume.look_into", volume)
    assert (done.state, done.result) == (S.SUCCEEDED, {"disks": 1})
    kept = alpha.volume("small.ova").appliance
    assert (kept["name"], kept["memory_mib"], kept["vcpus"]) == ("small", 64, 1)
    assert kept["disks"] == [{"file": "small.vmdk", "format": "vmdk", "capacity": 5 * GIB, "bus": "sata"}]
    put(alpha, "small.ova", OVA[:-512], modified_at=2.0)
    assert alpha.volume("small.ova").appliance == {}


def test_an_image_tells_its_system_by_its_name(alpha: FakeHost, host: Host) -> None:
    volume = put(alpha, "debian-12-generic-amd64.img", bytes(MIB))
    assert alpha.do("volume.look_into", volume).state == S.SUCCEEDED
    kept = alpha.volume(volume.name).appliance
    assert (kept["os"], kept["disks"]) == ("debian12", [{"file": "", "format": "raw", "capacity": MIB, "bus": ""}])


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (OVA[:4096], "The appliance is cut off: bring the whole of it."),
        (b"PK\x03\x04" + bytes(600), "It is compressed: unpack it first."),
        (tar_of({"machine.xml": b"<domain>"}), "The definition in the export is damaged."),
    ],
)
def test_what_cannot_be_understood_fails_in_words(alpha: FakeHost, host: Host, data: bytes, words: str) -> None:
    done = alpha.do("volume.look_into", put(alpha, "bad.ova", data))
    assert (done.state, done.error) == (S.FAILED, words)


# --- import


def test_an_appliance_becomes_a_machine(alpha: FakeHost, host: Host) -> None:
    lan = Network.objects.get(name="lan")
    done = alpha.do(KIND, host, **wish(alpha, put(alpha, "small.ova", OVA), cards=[{"network": lan.pk}]))
    assert done.state == S.SUCCEEDED, done.error
    there, row = made(alpha), Domain.objects.get(name="new-1")
    info = parse_domain(there.xml())
    assert (info.vcpus, info.memory_kib, info.firmware) == (1, 64 * 1024, "bios")
    disks = [disk for disk in info.disks if disk.device == "disk"]
    assert [(disk.source, disk.format, disk.bus, disk.boot_order) for disk in disks] == [
        ("/srv/images/new-1.qcow2", "qcow2", "sata", 1)
    ]
    assert [card.source for card in info.interfaces] == ["lan"]
    assert (there.state, row.status, row.making, done.domain) == (DomainState.RUNNING, Status.RUNNING, None, row)
    assert content(alpha, "new-1.qcow2") == VMDK
    # What the disk came by is gone.
    assert alpha.names() == ["new-1.qcow2", "small.ova", "web-1.qcow2"]


def test_corrections_have_their_way(alpha: FakeHost, host: Host) -> None:
    volume = put(alpha, "small.ova", OVA)
    more = {"os": "debian12", "vcpus": 3, "memory_mib": 512, "firmware": "efi", "start": False}
    assert alpha.do(KIND, host, **wish(alpha, volume, **more)).state == S.SUCCEEDED
    info = parse_domain(made(alpha).xml())
    assert (info.vcpus, info.memory_kib, info.firmware) == (3, 512 * 1024, "efi")
    # It brings virtio's drivers.
    assert [disk.bus for disk in info.disks if disk.device == "disk"] == ["virtio"]
    assert made(alpha).state == DomainState.SHUTOFF


def test_several_disks_come_in_their_order_and_the_empty_one_is_made(alpha: FakeHost, host: Host) -> None:
    disks = {f"shop-disk{n}.vmdk": VMDK + bytes([n]) for n in (1, 2)}
    # Their order in the file is not that of the machine.
    tar = tar_of({"shop-disk2.vmdk": disks["shop-disk2.vmdk"], "shop.ovf": VMWARE.encode(), **disks})
    volume = put(alpha, "shop.ova", tar)
    done = alpha.do(KIND, host, **wish(alpha, volume, memory_mib=512))
    assert done.state == S.SUCCEEDED, done.error
    assert [content(alpha, name)[-1:] for name in ("new-1.qcow2", "new-1-2.qcow2")] == [b"\x01", b"\x02"]
    assert alpha.volume("new-1-3.qcow2").capacity == GIB
    assert parse_domain(made(alpha).xml()).firmware == "efi"


def test_an_image_that_libvirt_knows_is_converted_where_it_is(alpha: FakeHost, host: Host) -> None:
    done = alpha.do(KIND, host, **wish(alpha, put(alpha, "a.qcow2", QCOW2, format="qcow2"), start=False))
    assert done.state == S.SUCCEEDED, done.error
    assert "vol-create-from images new-1.qcow2.xml a.qcow2 --inputpool images" in done.virsh
    assert content(alpha, "new-1.qcow2") == QCOW2


def test_a_disk_that_is_not_what_the_manifest_says_is_refused(alpha: FakeHost, host: Host) -> None:
    wrong = OVA.replace(VMDK[-100:], bytes(100))
    assert len(wrong) == len(OVA)
    done = alpha.do(KIND, host, **wish(alpha, put(alpha, "small.ova", wrong)))
    assert done.state == S.FAILED
    assert done.error == "A file of the appliance is damaged: the manifest has another checksum for small.vmdk."
    alpha.look_again()
    assert alpha.names() == ["small.ova", "web-1.qcow2"]
    assert alpha.connection.domains.known == {}


def backed() -> bytes:
    name = b"/etc/shadow"
    return struct.pack(">4sIQI", b"QFI\xfb", 3, 64, len(name)).ljust(64, b"\0") + name + bytes(1000)


@pytest.mark.parametrize(
    "disk",
    [
        backed(),
        struct.pack("<4sIIQ", b"KDMV", 1, 0, 2048).ljust(512, b"\0") + b'parentFileNameHint="/etc/shadow"\n',
        struct.pack("<4sIIQ", b"KDMV", 1, 0, 0).ljust(512, b"\0") + b'RW 1 FLAT "/etc/shadow" 0\n',
    ],
    ids=["a qcow2 over a file", "a vmdk over a file", "a vmdk of a file"],
)
def test_a_disk_that_names_files_of_the_host_is_never_opened(
    alpha: FakeHost, host: Host, disk: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alpha.connection.storage, "clone_volume", None)
    tar = tar_of({"small.ovf": small_envelope("small.vmdk", GIB), "small.vmdk": disk})
    done = alpha.do(KIND, host, **wish(alpha, put(alpha, "small.ova", tar)))
    assert done.state == S.FAILED
    assert "TypeError" not in done.error
    alpha.look_again()
    assert alpha.names() == ["small.ova", "web-1.qcow2"]


# --- what goes wrong half way


STEPS: dict[str, Callable[[FakeHost], Step]] = {
    "volume": lambda alpha: (alpha.connection.storage, "create_volume"),
    "copy": lambda alpha: (alpha.connection.storage, "upload"),
    "conversion": lambda alpha: (alpha.connection.storage, "clone_volume"),
    "clearing": lambda alpha: (alpha.connection.storage, "delete_volume"),
    "definition": lambda alpha: (alpha.connection.domains, "define"),
}


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", STEPS)
def test_a_worker_that_dies_leaves_nothing(
    alpha: FakeHost, host: Host, monkeypatch: pytest.MonkeyPatch, step: str, after: bool
) -> None:
    volume = put(alpha, "small.ova", OVA)
    # With room for one such machine.
    shop = make_shop(most_machines=1, most_disk=5 * GIB)
    asked = wish(alpha, volume, project=shop.pk)
    all_of_it = Amounts(1, 1, 2 * 2**20, 5 * GIB)
    takes = Taken(shop.pk, all_of_it, lambda: really_there(alpha, shop))
    demand_nothing_left(
        alpha,
        alpha.ask(KIND, host, **asked),
        STEPS[step](alpha),
        monkeypatch,
        after=after,
        traces=alpha.traces,
        look=alpha.look_again,
        takes=takes,
    )
    # And its name is free again, and its quota.
    assert alpha.do(KIND, host, **asked).state == S.SUCCEEDED
    assert used_in(shop.pk) == takes.there()


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", ["upload", "define_moved"])
def test_a_worker_that_dies_with_an_export_leaves_nothing(
    alpha: FakeHost, host: Host, exported: File, monkeypatch: pytest.MonkeyPatch, step: str, after: bool
) -> None:
    volume = put(alpha, "back.tar", bytes(exported.data))
    operation = alpha.ask(KIND, host, **wish(alpha, volume, name="new-2"))
    where: Any = alpha.connection.storage if step == "upload" else alpha.connection.domains
    demand_nothing_left(
        alpha, operation, (where, step), monkeypatch, after=after, traces=alpha.traces, look=alpha.look_again
    )


@pytest.mark.parametrize("phase", ["copying the disks", "converting the disks"])
def test_cancelled_at_any_step_nothing_stays(
    alpha: FakeHost, host: Host, monkeypatch: pytest.MonkeyPatch, phase: str
) -> None:
    operation = alpha.ask(KIND, host, **wish(alpha, put(alpha, "small.ova", OVA)))

    def cancel(context: Any, now: str, *figures: int) -> None:
        if now == phase:
            operations.cancel(operation)
            operations.report(context.operation, now, *figures)

    monkeypatch.setattr(Context, "progress", cancel)
    assert alpha.carry_out(operation).state == S.CANCELLED
    alpha.look_again()
    assert alpha.names() == ["small.ova", "web-1.qcow2"]
    assert not Domain.objects.kept().filter(name="new-1").exists()


# --- what is refused


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "a volume of nobody": ({"volume": 4711}, "volume"),
    "a pool of nobody": ({"pool": 4711}, "pool"),
    "a network of nobody": ({"cards": [{"network": 4711}]}, "cards.0.network"),
    "more memory than the host has": ({"memory_mib": 9 * 1024}, "memory_mib"),
    "a name that is taken": ({"name": "web-1"}, "name"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_does_not_fit_the_host_is_refused_with_the_field(alpha: FakeHost, host: Host, wrong: str) -> None:
    more, field = WRONG[wrong]
    with pytest.raises(operations.Invalid) as refused:
        alpha.ask(KIND, host, **(wish(alpha, put(alpha, "small.ova", OVA)) | more))
    assert list(refused.value.fields) == [field]


def test_an_encrypted_volume_is_refused(alpha: FakeHost, host: Host) -> None:
    volume = put(alpha, "secret.img", bytes(MIB), encrypted=True)
    with pytest.raises(operations.Invalid, match="it is encrypted"):
        alpha.ask(KIND, host, **wish(alpha, volume))
    with pytest.raises(operations.NotNow, match="it is encrypted"):
        alpha.ask("volume.look_into", volume)


# --- a description beside its disks


LOOSE = {"shop.ovf": small_envelope("shop-disk1.vmdk", 5 * GIB, "shop"), "shop-disk1.vmdk": VMDK}


def beside(alpha: FakeHost, **parts: bytes) -> Volume:
    """The description as a volume; its files are beside it, the manifest too."""
    for name, data in (LOOSE | {"shop.mf": manifest_of(LOOSE)} | parts).items():
        put(alpha, name, data, format="vmdk" if name.endswith(".vmdk") else "raw")
    return alpha.volume("shop.ovf")


def test_a_description_beside_its_disks_becomes_a_machine(alpha: FakeHost, host: Host) -> None:
    done = alpha.do(KIND, host, **wish(alpha, beside(alpha)))
    assert done.state == S.SUCCEEDED, done.error
    assert content(alpha, "new-1.qcow2") == VMDK
    assert alpha.names() == ["new-1.qcow2", "shop-disk1.vmdk", "shop.mf", "shop.ovf", "web-1.qcow2"]
    kept = alpha.volume("shop.ovf").appliance
    assert (kept["is_loose"], kept["name"], kept["disks"][0]["capacity"]) == (True, "shop", 5 * GIB)
    line = "vol-create-from images new-2.qcow2.xml shop-disk1.vmdk --inputpool images"
    assert line in alpha.do(KIND, host, **wish(alpha, alpha.volume("shop.ovf"), name="new-2")).virsh


def test_a_disk_is_found_by_what_people_called_it(alpha: FakeHost, host: Host) -> None:
    odd = small_envelope("shop disk (1).vmdk", 5 * GIB)
    put(alpha, "shop-disk-1.vmdk", VMDK, format="vmdk")
    Volume.objects.filter(name="shop-disk-1.vmdk").update(title="shop disk (1).vmdk")
    assert alpha.do("volume.look_into", put(alpha, "odd.ovf", odd)).state == S.SUCCEEDED


def test_disks_that_are_missing_beside_a_description_are_named(alpha: FakeHost, host: Host) -> None:
    done = alpha.do("volume.look_into", put(alpha, "shop.ovf", LOOSE["shop.ovf"]))
    assert (done.state, done.error) == (
        S.FAILED,
        "These files of the appliance are not beside its description: shop-disk1.vmdk",
    )


@pytest.mark.parametrize("name", ["shop.ovf", "shop-disk1.vmdk"])
def test_files_beside_one_another_are_what_the_manifest_says(alpha: FakeHost, host: Host, name: str) -> None:
    done = alpha.do(KIND, host, **wish(alpha, beside(alpha, **{name: LOOSE[name] + b" "})))
    assert done.state == S.FAILED
    assert done.error == f"A file of the appliance is damaged: the manifest has another checksum for {name}."
    alpha.look_again()
    assert "new-1.qcow2" not in alpha.names()


def test_a_disk_beside_a_description_that_a_machine_runs_on_is_refused(alpha: FakeHost, host: Host) -> None:
    volume = beside(alpha)
    row = alpha.volume("shop-disk1.vmdk")
    other = Domain.objects.get(name="web-1")
    Domain.objects.filter(pk=other.pk).update(status=Status.RUNNING)
    DiskUse.objects.create(domain=other, slot="vdx", path=row.path, device="disk", live=True)
    done = alpha.do("volume.look_into", volume)
    assert (done.state, "web-1 runs on it" in done.error) == (S.FAILED, True)


# --- export, and back


@pytest.fixture
def exported(alpha: FakeHost, host: Host) -> File:
    """A machine of ours, imported once, and exported; its own network is there."""
    lan = Network.objects.get(name="lan")
    volume = put(alpha, "a.qcow2", QCOW2, format="qcow2")
    more = {"os": "debian12", "vcpus": 2, "memory_mib": 256, "cards": [{"network": lan.pk}], "start": False}
    assert alpha.do(KIND, host, **wish(alpha, volume, **more)).state == S.SUCCEEDED
    kept = alpha.connection.storage.known[alpha.uuid].volumes["new-1.qcow2"]
    kept.info = replace(kept.info, physical=len(kept.data))
    file = File()
    done = alpha.carry_out(alpha.ask("domain.export", Domain.objects.get(name="new-1")), file)
    assert (done.state, done.result) == (S.SUCCEEDED, {"bytes": len(file.data)})
    return file


def test_an_export_is_a_tar_of_the_definition_and_the_disks(exported: File) -> None:
    assert (exported.name, exported.size) == ("new-1.tar", len(exported.data))
    with tarfile.open(fileobj=io.BytesIO(bytes(exported.data))) as tar:
        assert tar.getnames() == ["machine.ovf", "machine.xml", "disk1.qcow2"]
        found = {name: tar.extractfile(name) for name in tar.getnames()}
        texts = {name: file.read() for name, file in found.items() if file}
    assert texts["disk1.qcow2"] == QCOW2
    assert b"/srv/images" not in texts["machine.xml"]


def test_an_export_comes_back_as_it_was(alpha: FakeHost, host: Host, exported: File) -> None:
    volume = put(alpha, "back.tar", bytes(exported.data))
    assert alpha.do("volume.look_into", volume).state == S.SUCCEEDED
    kept = alpha.volume("back.tar").appliance
    assert (kept["is_own"], kept["name"], kept["memory_mib"], kept["notes"]) == (True, "new-1", 256, [])
    done = alpha.do(KIND, host, **wish(alpha, volume, name="new-2", start=False))
    assert done.state == S.SUCCEEDED, done.error
    assert content(alpha, "new-2.qcow2") == QCOW2
    first, second = parse_domain(made(alpha).xml()), parse_domain(made(alpha, "new-2").xml())
    assert first.uuid != second.uuid
    assert first.interfaces[0].mac != second.interfaces[0].mac
    disks = (replace(second.disks[0], source=first.disks[0].source), *second.disks[1:])
    cards = (replace(second.interfaces[0], mac=first.interfaces[0].mac),)
    assert replace(second, name=first.name, uuid=first.uuid, disks=disks, interfaces=cards) == first


def test_an_export_takes_no_corrections(alpha: FakeHost, host: Host, exported: File) -> None:
    volume = put(alpha, "back.tar", bytes(exported.data))
    # Not known yet, so it is the worker who refuses it.
    done = alpha.do(KIND, host, **wish(alpha, volume, name="new-2", memory_mib=512))
    assert (done.state, done.error) == (S.FAILED, "An export of ours comes back as it was: change this afterwards.")
    with pytest.raises(operations.Invalid) as refused:
        alpha.ask(KIND, host, **wish(alpha, volume, name="new-2", memory_mib=512))
    assert list(refused.value.fields) == ["memory_mib"]


def test_a_machine_that_runs_is_not_exported(alpha: FakeHost, host: Host, exported: File) -> None:
    domain = Domain.objects.get(name="new-1")
    operation = alpha.ask("domain.export", domain)
    alpha.connection.domains.start(domain.uuid)
    done = alpha.carry_out(operation, File())
    assert (done.state, done.error) == (S.FAILED, "It is running: shut it down first.")


@pytest.mark.parametrize(
    ("figures", "words"),
    [
        ({"backing_path": "/srv/images/web-1.qcow2"}, "is a layer over another image"),
        ({"encrypted": True}, "is encrypted"),
        ({"missing_since": timezone.now()}, "is in no pool"),
    ],
)
def test_what_cannot_stand_alone_is_not_exported(
    alpha: FakeHost, host: Host, exported: File, figures: dict[str, Any], words: str
) -> None:
    Volume.objects.filter(name="new-1.qcow2").update(**figures)
    with pytest.raises(operations.NotNow, match=words):
        alpha.ask("domain.export", Domain.objects.get(name="new-1"))


# --- an appliance for others


def test_an_appliance_is_made_in_the_pool_and_comes_back(alpha: FakeHost, host: Host, exported: File) -> None:
    kept = alpha.connection.storage.known[alpha.uuid].volumes["new-1.qcow2"]
    kept.info = replace(kept.info, capacity=len(QCOW2))
    domain = Domain.objects.get(name="new-1")
    done = alpha.do("domain.export_ova", domain, pool=alpha.pool.pk, name="new-1.ova")
    assert done.state == S.SUCCEEDED, done.error
    data = content(alpha, "new-1.ova")
    assert done.result == {"volume": "new-1.ova", "bytes": len(data)}
    # The raw copy on the way is gone.
    assert alpha.names() == ["a.qcow2", "new-1.ova", "new-1.qcow2", "web-1.qcow2"]
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        assert tar.getnames() == ["new-1.ovf", "new-1.mf", "new-1-disk1.vmdk"]
        found = {name: tar.extractfile(name) for name in tar.getnames()}
        texts = {name: file.read() for name, file in found.items() if file}
    digests = {name: texts[name] for name in ("new-1.ovf", "new-1-disk1.vmdk")}
    assert texts["new-1.mf"] == manifest_of(digests)
    assert f'ovf:size="{len(texts["new-1-disk1.vmdk"])}"'.encode() in texts["new-1.ovf"]
    row = alpha.volume("new-1.ova")
    assert (row.making, row.appliance["name"], row.appliance["os"]) == (None, "new-1", "debian12")
    assert row.appliance["disks"][0] | {"bus": "scsi", "format": "vmdk"} == row.appliance["disks"][0]


OVA_STEPS: dict[str, Callable[[FakeHost], tuple[Any, str]]] = {
    "volume": STEPS["volume"],
    "copy": STEPS["conversion"],
    "packing": STEPS["copy"],
    "clearing": STEPS["clearing"],
}


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", OVA_STEPS)
def test_a_worker_that_dies_with_an_appliance_leaves_nothing(
    alpha: FakeHost, host: Host, exported: File, monkeypatch: pytest.MonkeyPatch, step: str, after: bool
) -> None:
    before = set(alpha.names())
    # With room for what the machine's disk takes up, and what is around it.
    taken = alpha.connection.storage.known[alpha.uuid].volumes["new-1.qcow2"].info.allocation
    shop = make_shop(most_disk=taken + MIB)
    wanted = {"pool": alpha.pool.pk, "name": "new-1.ova", "project": shop.pk}
    operation = alpha.ask("domain.export_ova", Domain.objects.get(name="new-1"), **wanted)
    assert used_in(shop.pk) == Amounts(disk=taken)
    with dying(monkeypatch, OVA_STEPS[step](alpha), after=after):
        alpha.carry_out(operation)
    is_lost(operation)
    alpha.look_again()
    assert set(alpha.names()) == before
    assert used_in(shop.pk) == Amounts()
    done = alpha.do("domain.export_ova", Domain.objects.get(name="new-1"), **wanted)
    assert done.state == S.SUCCEEDED, done.error
    assert used_in(shop.pk) == really_there(alpha, shop) == Amounts(disk=done.result["bytes"])


@pytest.mark.parametrize("phase", ["converting the disks", "packing the disks"])
def test_an_appliance_that_is_cancelled_stays_nowhere(
    alpha: FakeHost, host: Host, exported: File, monkeypatch: pytest.MonkeyPatch, phase: str
) -> None:
    before = set(alpha.names())
    operation = alpha.ask("domain.export_ova", Domain.objects.get(name="new-1"), pool=alpha.pool.pk, name="new-1.ova")

    def cancel(context: Any, now: str, *figures: int) -> None:
        if now == phase:
            operations.cancel(operation)
            operations.report(context.operation, now, *figures)

    monkeypatch.setattr(Context, "progress", cancel)
    assert alpha.carry_out(operation).state == S.CANCELLED
    alpha.look_again()
    assert set(alpha.names()) == before


def test_an_appliance_needs_room_for_its_disks_and_a_copy(alpha: FakeHost, host: Host, exported: File) -> None:
    kept = alpha.connection.storage.known[alpha.uuid].volumes["new-1.qcow2"]
    kept.info = replace(kept.info, allocation=45 * GIB)
    alpha.connection.storage.known[alpha.uuid].capacity = 100 * GIB
    wanted = {"pool": alpha.pool.pk, "name": "new-1.ova"}
    done = alpha.do("domain.export_ova", Domain.objects.get(name="new-1"), **wanted)
    assert (done.state, done.error.startswith("The pool has not enough room: 3")) == (S.FAILED, True), done.error
    assert "new-1.ova" not in alpha.names()


def test_a_layer_becomes_an_appliance_and_no_bundle(alpha: FakeHost, host: Host, exported: File) -> None:
    Volume.objects.filter(name="new-1.qcow2").update(backing_path="/srv/images/web-1.qcow2")
    domain = Domain.objects.get(name="new-1")
    with pytest.raises(operations.NotNow, match="is a layer"):
        alpha.ask("domain.export", domain)
    assert alpha.ask("domain.export_ova", domain, pool=alpha.pool.pk, name="new-1.ova").state == S.QUEUED

"""A machine's definition made of another's: what is new, what is kept, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from lxml import etree

from tests.hypervisor.domain_specs import SPECS
from tests.hypervisor.test_domain_xml import at, canonical
from webvirt.hypervisor.errors import InvalidSpec, WrongState
from webvirt.hypervisor.types import Bus, CardSpec, DiskCopy, DiskSpec, DomainCopy, DomainSpec, Source
from webvirt.hypervisor.xml.domain_copies import copy_of, moved_copy, preview_of_copy, wants_secure_boot
from webvirt.hypervisor.xml.domains import build_domain
from webvirt.hypervisor.xml.moving import placed
from webvirt.hypervisor.xml.parse import parse_domain

FOLDER = Path(__file__).with_name("xml") / "copies"
UUID = "9f1c5bb2-9f5d-4a3e-8a55-0b9a6f3c0099"
SECRET = "2a5c2f5e-8d5f-4a43-9c0c-0f4b2e9d9c11"
SEED = Source("/srv/images/desk-08-setup.iso")
FULL = (FOLDER / "full.xml").read_text()
COPY = DomainCopy(
    uuid=UUID,
    name="desk-08",
    title="The <new> one",
    macs=("52:54:00:BB:00:01", "52:54:00:bb:00:02"),
    disks=(
        DiskCopy("sda", "/dev/disk/by-id/scsi-36000", source=Source("/srv/images/desk-08.qcow2"), format="qcow2"),
        DiskCopy(
            "vda", "/srv/images/data.qcow2", source=Source("/dev/vg/desk", is_block=True), format="raw", luks=SECRET
        ),
        DiskCopy("vdb", "fast/scratch"),
        DiskCopy("sdb", "/srv/isos/tools.iso", keep=True),
        DiskCopy("sdc", "/srv/images/desk-07-setup.iso"),
    ),
    seed=SEED,
)


def test_a_copy_is_as_its_golden_is() -> None:
    assert canonical(copy_of(FULL, COPY)) == canonical((FOLDER / "full-copy.xml").read_text())


def test_nothing_of_the_old_machine_alone_is_in_it() -> None:
    text = copy_of(FULL, COPY)
    for word in ("desk-07", "3f0c5bb2", "43dc0cf8", "52:54:00:aa", "4555", "5907", "09b11c53", "desk07"):
        assert word not in text, word
    for kept in ("0b2d64da", "flux", "teleporter", "qemu:commandline", "broker.sock", "s3cret", "DESK07", "kept"):
        assert kept in text, kept


def test_without_a_title_it_has_the_old_ones_and_with_an_empty_one_none() -> None:
    assert parse_domain(copy_of(FULL, replace(COPY, title=None))).title == "Accounting's <old> desktop"
    assert parse_domain(copy_of(FULL, replace(COPY, title=""))).title == ""


def test_a_person_reads_it_without_what_is_only_chosen_then() -> None:
    preview = preview_of_copy(FULL, COPY)
    assert "<uuid>" not in preview
    assert "<mac " not in preview
    assert "desk-08.qcow2" in preview


def elsewhere(*cards: CardSpec | None, **more: Any) -> str:
    disks = tuple(replace(disk, keep=False) for disk in COPY.disks)
    return placed(*moved_copy(FULL, replace(COPY, disks=disks, **more), cards))


HERE, THERE = (
    CardSpec(network="dmz", mac="52:54:00:bb:00:01", filter="no-mail"),
    CardSpec(bridge="br7", mac="52:54:00:bb:00:02"),
)


def test_on_another_host_nothing_is_of_the_old_one() -> None:
    text = elsewhere(HERE, THERE, None)
    info = parse_domain(text)
    assert (info.name, info.uuid, info.title) == ("desk-08", UUID, "The <new> one")
    assert {disk.target: disk.source for disk in info.disks if disk.source} == {
        "sda": "/srv/images/desk-08.qcow2",
        "vda": "/dev/vg/desk",
        "sdb": SEED.path,
    }
    cards = [(card.type, card.source, card.mac, card.filter) for card in info.interfaces]
    assert cards == [("network", "dmz", HERE.mac, "no-mail"), ("bridge", "br7", THERE.mac, "")]
    for word in ("desk-07", "3f0c5bb2", "/srv/isos", "<emulator", "<nvram", "OVMF"):
        assert word not in text, word


def test_a_card_may_be_left_out_there() -> None:
    assert [card.source for card in parse_domain(elsewhere(None, THERE, None)).interfaces] == ["br7"]
    with pytest.raises(WrongState, match="network cards were changed meanwhile"):
        elsewhere(HERE)


def test_what_only_the_old_host_has_is_named() -> None:
    disks = tuple(replace(disk, keep=False) for disk in COPY.disks)
    tagged = FULL.replace("<interface type='network'>", "<interface type='network'><vlan><tag id='7'/></vlan>", 1)
    left_out = moved_copy(tagged, replace(COPY, disks=disks), (HERE, THERE, None))[1].left_out
    assert {"interface/vlan", "qemu:commandline"} <= set(left_out)
    with pytest.raises(InvalidSpec, match="stays on its host"):
        moved_copy(FULL, COPY, (HERE, THERE, None))


def test_secure_boot_is_noticed() -> None:
    plain = "<domain><os><loader type='pflash'>/x</loader></os></domain>"
    assert not wants_secure_boot(plain)
    assert wants_secure_boot(plain.replace("<loader ", "<loader secure='yes' "))
    feature = "<firmware><feature enabled='yes' name='secure-boot'/></firmware>"
    assert wants_secure_boot(plain.replace("<os>", f"<os>{feature}"))
    assert not wants_secure_boot(plain.replace("<os>", f"<os>{feature.replace('yes', 'no')}"))


CHANGED = {
    "another disc": DiskCopy("sdb", "/srv/isos/other.iso", keep=True),
    "no disk of that name": DiskCopy("vdz", "/srv/x"),
}


@pytest.mark.parametrize("disk", CHANGED.values(), ids=CHANGED)
def test_what_was_changed_meanwhile_is_no_copy(disk: DiskCopy) -> None:
    disks = (*(one for one in COPY.disks if one.target != disk.target), disk)
    with pytest.raises(WrongState, match="changed meanwhile"):
        copy_of(FULL, replace(COPY, disks=disks))


def test_a_disk_that_nobody_spoke_of_is_never_shared() -> None:
    for place in range(len(COPY.disks)):
        with pytest.raises(WrongState, match="changed meanwhile"):
            copy_of(FULL, replace(COPY, disks=COPY.disks[:place] + COPY.disks[place + 1 :]))


def test_what_is_kept_in_a_file_cannot_be_copied() -> None:
    memory = "<memory model='nvdimm'><source><path>/srv/nv</path></source></memory></devices>"
    with pytest.raises(InvalidSpec, match="kept in a file"):
        copy_of(FULL.replace("</devices>", memory), COPY)


@pytest.mark.parametrize("wrong", [{"name": "../x"}, {"uuid": "x"}, {"title": "a\0b"}, {"seed": Source("x")}])
def test_what_no_machine_can_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidSpec):
        copy_of(FULL, replace(COPY, **wrong))


def spec_with(*disks: DiskSpec, machine: str = "q35", name: str = "bare") -> DomainSpec:
    return replace(SPECS[name], machine=machine, disks=disks)


def kept(spec: DomainSpec) -> tuple[DiskCopy, ...]:
    found = parse_domain(build_domain(spec)).disks
    return tuple(DiskCopy(disk.target, disk.source, keep=True) for disk in found if disk.source)


def drive(bus: Bus, path: str = "/srv/a.iso") -> DiskSpec:
    return DiskSpec(Source(path), "raw", "cdrom", bus)


DRIVES: dict[str, tuple[DomainSpec, str, dict[str, str]]] = {
    "none yet": (spec_with(), "sda", {"controller": "0", "bus": "0", "unit": "0"}),
    "behind others": (
        spec_with(drive(Bus.SATA), drive(Bus.SATA)),
        "sdc",
        {"controller": "0", "bus": "0", "unit": "2"},
    ),
    "on another controller": (
        spec_with(*[drive(Bus.SATA)] * 6),
        "sdg",
        {"controller": "1", "bus": "0", "unit": "0"},
    ),
    "of another bus": (spec_with(drive(Bus.SCSI)), "sdb", {"controller": "0", "bus": "0", "unit": "0"}),
    "on IDE": (spec_with(machine="pc"), "hda", {"controller": "0", "bus": "0", "unit": "0"}),
    "on SCSI": (spec_with(name="arm", machine="virt"), "sda", {"controller": "0", "bus": "0", "unit": "0"}),
}


@pytest.mark.parametrize("case", DRIVES)
def test_a_disc_gets_a_drive_where_none_is_empty(case: str) -> None:
    spec, target, address = DRIVES[case]
    text = copy_of(build_domain(spec), DomainCopy(UUID, "new", disks=kept(spec), seed=SEED))
    info = parse_domain(text)
    (added,) = [disk for disk in info.disks if disk.source == SEED.path]
    assert (added.target, added.device, added.readonly) == (target, "cdrom", True)
    place = at(etree.fromstring(text), f"devices/disk[@device='cdrom']/target[@dev='{target}']/../address")
    assert {name: place.get(name) for name in address} == address
    if spec.arch == "aarch64":
        assert "virtio-scsi" in text


def test_an_empty_drive_takes_the_disc() -> None:
    spec = spec_with(drive(Bus.SATA), DiskSpec(None, device="cdrom", bus=Bus.SATA))
    info = parse_domain(copy_of(build_domain(spec), DomainCopy(UUID, "new", disks=kept(spec), seed=SEED)))
    assert [(disk.target, disk.source) for disk in info.disks] == [("sda", "/srv/a.iso"), ("sdb", SEED.path)]


def test_there_is_no_room_for_a_fifth_drive_on_ide() -> None:
    root = etree.fromstring(build_domain(spec_with(*[drive(Bus.IDE)] * 4, machine="pc")))
    for number, disk in enumerate(root.iterfind("devices/disk")):
        # As libvirt places them.
        etree.SubElement(disk, "address", type="drive", controller="0", bus=str(number // 2), unit=str(number % 2))
    disks = tuple(DiskCopy(f"hd{letter}", "/srv/a.iso", keep=True) for letter in "abcd")
    with pytest.raises(InvalidSpec, match="There is room for 4 drives on ide"):
        copy_of(etree.tostring(root, encoding="unicode"), DomainCopy(UUID, "new", disks=disks, seed=SEED))

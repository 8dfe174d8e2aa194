"""Machines in libvirt's XML: goldens of every kind, what is refused, and that no text becomes structure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import MISSING, fields, replace
from typing import Any

import libvirt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from tests.hypervisor.domain_specs import FOLDER, QEMU, SECRET, SPECS
from tests.hypervisor.subjects import HERE
from webvirt.hypervisor.connection import uri_of
from webvirt.hypervisor.domain_rules import MODES
from webvirt.hypervisor.errors import InvalidSpec, NotFound
from webvirt.hypervisor.types import (
    Bus,
    CardSpec,
    DiskSpec,
    DomainInfo,
    DomainSpec,
    Firmware,
    Kernel,
    Source,
)
from webvirt.hypervisor.xml.disks import drive_with, letters
from webvirt.hypervisor.xml.domains import HYPERV, SPARE_PORTS, build_domain, with_kernel
from webvirt.hypervisor.xml.parse import parse_domain

BARE, LINUX, WINDOWS, OLD = SPECS["bare"], SPECS["linux"], SPECS["windows"], SPECS["old"]
FILE = Source("/srv/x")
NETWORK = Source(protocol="rbd", name="images/web", hosts=("mon1",), user="libvirt", secret=SECRET)


def canonical(xml: str) -> str:
    return str(etree.canonicalize(xml, strip_text=True))


def shape(xml: str) -> list[tuple[str, Any]]:
    """The elements of a text and the names of their attributes."""
    return [(element.tag, element.keys()) for element in etree.fromstring(xml).iter()]


def at(root: etree._Element, path: str) -> etree._Element:
    found = root.find(path)
    assert found is not None, path
    return found


def count(spec: DomainSpec, path: str) -> int:
    return len(etree.fromstring(build_domain(spec)).findall(path))


# --- goldens


@pytest.mark.parametrize("name", SPECS)
def test_a_machine_is_made(name: str) -> None:
    assert canonical(build_domain(SPECS[name])) == canonical((FOLDER / f"{name}.xml").read_text())


@pytest.mark.parametrize("kind", [DomainSpec, DiskSpec, CardSpec, Source])
def test_every_field_is_set_in_some_golden(kind: type) -> None:
    """A field that no golden sets could be left out of the XML without anybody noticing."""
    seen = {
        field.name
        for spec in SPECS.values()
        for part in parts_of(spec, kind)
        for field in fields(kind)
        if getattr(part, field.name) not in ("", None, field.default if field.default is not MISSING else "")
    }
    assert seen == {field.name for field in fields(kind)}


def parts_of(spec: DomainSpec, kind: type) -> Iterator[Any]:
    sources = (disk.source for disk in spec.disks)
    for part in (spec, *spec.disks, *spec.cards, *sources):
        if isinstance(part, kind):
            yield part


def check_is_what_was_asked_for(info: DomainInfo, spec: DomainSpec) -> None:
    """What a reader of the definition sees is what the spec said."""
    assert (info.uuid, info.name, info.domain_type, info.arch) == (spec.uuid, spec.name, spec.type, spec.arch)
    assert (info.title, info.description, info.os_id) == (spec.title, spec.description, spec.os_url)
    assert (info.vcpus, info.vcpus_max) == (spec.vcpus, spec.vcpus_max or spec.vcpus)
    assert (info.memory_kib, info.memory_max_kib) == (spec.memory_kib, spec.memory_max_kib or spec.memory_kib)
    assert info.firmware == ("bios" if spec.firmware == Firmware.BIOS else "efi")
    if spec.cpu in MODES:
        assert info.cpu_mode == spec.cpu
    elif spec.cpu:
        assert (info.cpu_mode, info.cpu_model) == ("custom", spec.cpu)
    assert (info.video, info.has_tablet, info.has_agent) == (spec.video, True, spec.virtio_devices)
    assert [graphics.type for graphics in info.graphics] == ["vnc"]
    assert info.unparsed == ()
    # libvirt lists them by their buses; their names are ours.
    named = {disk.target: disk for disk in info.disks}
    targets = [disk.target for disk in parse_domain(build_domain(spec)).disks]
    assert len(info.disks) == len(named) == len(spec.disks)
    for disk, asked in zip(map(named.__getitem__, targets), spec.disks, strict=True):
        assert (disk.device, disk.bus, disk.boot_order or 0) == (asked.device, asked.bus, asked.boot)
        assert disk.readonly == (asked.device == "cdrom")
        if asked.source is None:
            assert disk.source == ""
        else:
            assert disk.format == asked.format
            assert disk.source.endswith(asked.source.path or asked.source.name)
            assert disk.type == ("network" if asked.source.protocol else "block" if asked.source.is_block else "file")
    kinds = [device.kind for device in info.devices]
    assert ("tpm" in kinds, "rng" in kinds) == (spec.tpm, spec.virtio_devices)


@pytest.mark.parametrize("name", SPECS)
def test_what_is_made_reads_as_what_was_asked_for(name: str) -> None:
    # An address of its own is given to a card by libvirt.
    cards = tuple(replace(card, mac=card.mac or "52:54:00:00:00:01") for card in SPECS[name].cards)
    spec = replace(SPECS[name], cards=cards)
    info = parse_domain(build_domain(spec))
    check_is_what_was_asked_for(info, spec)
    assert [(card.mac, card.source, card.model, card.filter) for card in info.interfaces] == [
        (card.mac.lower(), card.network or card.bridge, card.model, card.filter) for card in spec.cards
    ]
    assert info.machine == spec.machine


DRIVERS = {"test-driver": "test:///default", "qemu": uri_of(HERE)}
TAKEN = [(driver, name) for driver in DRIVERS for name in SPECS if driver != "qemu" or SPECS[name].arch == "x86_64"]
"""Of other processors there is no emulator here."""


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest) -> Iterator[Any]:
    connection = libvirt.open(DRIVERS[request.param])
    yield connection
    connection.close()


@pytest.mark.parametrize(("host", "name"), TAKEN, indirect=["host"])
def test_libvirt_takes_the_machine_and_gives_it_back(name: str, host: Any) -> None:
    spec = SPECS[name]
    domain = host.defineXMLFlags(build_domain(spec), libvirt.VIR_DOMAIN_DEFINE_VALIDATE)
    try:
        info = parse_domain(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))
    finally:
        domain.undefineFlags(0 if host.getType() == "TEST" else libvirt.VIR_DOMAIN_UNDEFINE_NVRAM)
    check_is_what_was_asked_for(info, spec)
    assert spec.machine in info.machine or "i440fx" in info.machine
    assert [(card.source, card.model, card.filter) for card in info.interfaces] == [
        (card.network or card.bridge, card.model, card.filter) for card in spec.cards
    ]
    assert len({card.mac for card in info.interfaces}) == len(spec.cards)


# --- the parts that depend on each other


def test_drives_have_names_and_places_of_their_own() -> None:
    buses = [Bus.SCSI] * 9 + [Bus.SATA] * 7 + [Bus.USB, Bus.VIRTIO] + [Bus.SATA]
    spec = replace(BARE, disks=tuple(DiskSpec(Source(f"/srv/{place}"), bus=bus) for place, bus in enumerate(buses)))
    root = etree.fromstring(build_domain(spec))
    names = [disk.target for disk in parse_domain(build_domain(spec)).disks]
    assert names[:3] + names[8:10] + names[-3:] == ["sda", "sdb", "sdc", "sdi", "sdj", "sdq", "vda", "sdr"]
    assert len(set(names)) == len(buses)
    places = [
        (at(disk, "target").get("bus"), *(at(disk, "address").get(word) for word in ("controller", "unit")))
        for disk in root.iterfind("devices/disk[address]")
    ]
    assert len(set(places)) == len(places) == 17
    assert ("scsi", "0", "8") in places
    assert [place for place in places if place[0] == "sata"][-2:] == [("sata", "1", "0"), ("sata", "1", "1")]
    assert [letters(number) for number in (0, 25, 26, 27, 701, 702)] == ["a", "z", "aa", "ab", "zz", "aaa"]


def test_there_are_ports_for_what_is_there_and_some_to_spare() -> None:
    ports = "devices/controller[@model='pcie-root-port']"
    assert count(replace(BARE, virtio_devices=False), ports) == 1 + SPARE_PORTS
    busy = replace(
        BARE, disks=(DiskSpec(FILE), DiskSpec(FILE, bus=Bus.SCSI), DiskSpec(FILE, bus=Bus.SATA)), cards=(CardSpec("x"),)
    )
    assert count(busy, ports) == count(BARE, ports) + 3
    assert count(OLD, ports) == 0


def test_emulation_is_told_nothing_of_hyperv() -> None:
    assert count(WINDOWS, "features/hyperv/*") == len(HYPERV) + 1
    assert count(WINDOWS, "clock/timer[@name='hypervclock']") == 1
    emulated = replace(WINDOWS, type="qemu")
    assert count(emulated, "features/hyperv") == count(emulated, "clock/timer[@name='hypervclock']") == 0


def test_room_for_memory_only_where_it_can_grow() -> None:
    for most in (0, BARE.memory_kib):
        spec = replace(BARE, memory_max_kib=most)
        assert count(spec, "maxMemory") == count(spec, "cpu/numa") == 0


def test_an_empty_part_is_left_out() -> None:
    paths = ("title", "description", "metadata", "os/kernel", "os/boot", "devices/emulator")
    assert [count(BARE, path) for path in paths] == [0] * len(paths)


def test_line_ends_are_of_one_kind() -> None:
    spec = replace(BARE, description="a\r\nb\rc")
    assert parse_domain(build_domain(spec)).description == "a\nb\nc"


# --- what is refused

REFUSED: list[tuple[DomainSpec, dict[str, Any], str]] = [
    *[(BARE, {"name": name}, "The name is") for name in ("", "a/b", "-x", ".x", " x", "x ", "a\nb", "x" * 101, "a\0")],
    *[(BARE, {"uuid": uuid}, "UUID") for uuid in ("", "x", "{3f0c5bb2-9f5d-4a3e-8a55-0b9a6f3c0001}")],
    (BARE, {"title": "a\nb"}, "one line"),
    (BARE, {"title": "\a"}, "U\\+0007"),
    (BARE, {"description": "\0"}, "U\\+0000"),
    (BARE, {"os_url": "debian"}, "address"),
    (BARE, {"os_url": "http://x y"}, "address"),
    (BARE, {"type": "xen"}, "kvm, qemu"),
    (BARE, {"arch": ""}, "architecture"),
    (BARE, {"arch": "x86 64"}, "architecture"),
    (BARE, {"machine": ""}, "type of machine"),
    (BARE, {"machine": "isapc"}, "q35, pc"),
    (BARE, {"machine": "virt"}, "q35, pc"),
    (BARE, {"arch": "aarch64"}, "virt"),
    (BARE, {"emulator": "qemu"}, "begins with one '/'"),
    (BARE, {"cpu": "a,b"}, "Name the CPU"),
    (BARE, {"cpu": "host-passthrough"}, "Only KVM hands"),
    (BARE, {"video": ""}, "screen"),
    (SPECS["arm"], {"hyperv": True}, "Windows"),
    (SPECS["arm"], {"firmware": Firmware.BIOS}, "no BIOS"),
    (BARE, {"vcpus": 0}, "needs a processor"),
    (BARE, {"vcpus": 4, "vcpus_max": 2}, "more processors"),
    (BARE, {"vcpus": 256}, "255"),
    (BARE, {"vcpus_max": 256}, "255"),
    (BARE, {"memory_kib": 0}, "16 MiB"),
    (BARE, {"memory_kib": 2**34}, "8 TiB"),
    (BARE, {"memory_kib": 65537}, "whole MiB"),
    (BARE, {"memory_max_kib": 1024}, "more memory"),
    (BARE, {"memory_max_kib": 2**34}, "8 TiB"),
    (BARE, {"memory_max_kib": BARE.memory_kib + 1}, "whole MiB"),
    (OLD, {"firmware": Firmware.SECURE}, "q35"),
    (SPECS["arm"], {"firmware": Firmware.SECURE}, "q35"),
]
NO_KERNELS = [
    (Kernel("vmlinuz"), "begins with one '/'"),
    (Kernel("/srv/vmlinuz", "../initrd"), "begins with one '/'"),
    (Kernel("/srv/vmlinuz", arguments="a\nb"), "one line"),
    (Kernel("/srv/vmlinuz", arguments="\0"), "U\\+0000"),
]


@pytest.mark.parametrize(("kernel", "says"), NO_KERNELS)
def test_a_kernel_that_is_refused(kernel: Kernel, says: str) -> None:
    with pytest.raises(InvalidSpec, match=says):
        with_kernel(build_domain(BARE), kernel)


@pytest.mark.parametrize("kernel", [Kernel("/srv/vmlinuz"), Kernel("/srv/vmlinuz", "/srv/initrd", "<quiet/>&")])
def test_a_definition_for_one_start_has_the_kernel_and_goes_off_instead_of_again(kernel: Kernel) -> None:
    before, made = etree.fromstring(build_domain(BARE)), etree.fromstring(with_kernel(build_domain(BARE), kernel))
    found = {tag: made.findtext(f"os/{tag}") for tag in ("kernel", "initrd", "cmdline")}
    assert found == {"kernel": kernel.path, "initrd": kernel.initrd or None, "cmdline": kernel.arguments or None}
    assert (made.findtext("on_reboot"), before.findtext("on_reboot")) == ("destroy", "restart")
    system, event = at(made, "os"), at(made, "on_reboot")
    for element in [element for element in system if element.tag in found]:
        system.remove(element)
    event.text = "restart"
    assert canonical(etree.tostring(made, encoding="unicode")) == canonical(build_domain(BARE))


@pytest.mark.parametrize(("spec", "changes", "says"), REFUSED)
def test_a_machine_that_is_refused(spec: DomainSpec, changes: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidSpec, match=says):
        build_domain(replace(spec, **changes))


@pytest.mark.parametrize(
    ("disk", "says"),
    [
        (DiskSpec(None), "only a drive for discs can be empty"),
        (DiskSpec(FILE, device="floppy"), "disk, cdrom"),
        (DiskSpec(FILE, device="cdrom"), "scsi, sata, ide"),
        (DiskSpec(FILE, device="cdrom", bus=Bus.USB), "scsi, sata, ide"),
        (DiskSpec(FILE, format=""), "format"),
        (DiskSpec(FILE, format="qcow2,file=x"), "format"),
        (DiskSpec(FILE, serial="a b"), "serial"),
        (DiskSpec(FILE, serial="x" * 21), "serial"),
        (DiskSpec(FILE, luks="x"), "secret"),
        (DiskSpec(FILE, "vmdk", luks=SECRET), "encrypted"),
        (DiskSpec(None, device="cdrom", bus=Bus.SATA, luks=SECRET), "empty drive"),
        (DiskSpec(FILE, boot=-1), "order of boot"),
        (DiskSpec(FILE, bus=Bus.IDE), "IDE"),
        (DiskSpec(Source()), "begins with one '/'"),
        (DiskSpec(Source("x")), "begins with one '/'"),
        (DiskSpec(Source("/srv/../x")), "no '..'"),
        (DiskSpec(Source("nbd://x")), "begins with one '/'"),
        (DiskSpec(Source('json:{"driver":"raw"}')), "begins with one '/'"),
        (DiskSpec(Source("/srv/x", name="a/b")), "with its protocol"),
        (DiskSpec(Source("/srv/x", hosts=("a",))), "with its protocol"),
        (DiskSpec(replace(NETWORK, protocol="nbd")), "rbd, gluster"),
        (DiskSpec(replace(NETWORK, path="/srv/x")), "either"),
        (DiskSpec(replace(NETWORK, is_block=True)), "either"),
        (DiskSpec(replace(NETWORK, name="web")), "its pool and its name"),
        (DiskSpec(replace(NETWORK, name="a/b:id=x")), "its pool and its name"),
        (DiskSpec(replace(NETWORK, name="a/../b")), "its pool and its name"),
        (DiskSpec(replace(NETWORK, hosts=())), "needs a host"),
        (DiskSpec(replace(NETWORK, hosts=("a b",))), "host name"),
        (DiskSpec(replace(NETWORK, hosts=("a:0",))), "port"),
        (DiskSpec(replace(NETWORK, user="")), "both a user and a secret"),
        (DiskSpec(replace(NETWORK, secret="")), "both a user and a secret"),
        (DiskSpec(replace(NETWORK, user="a:b")), "Only Ceph"),
        (DiskSpec(replace(NETWORK, protocol="gluster")), "Only Ceph"),
        (DiskSpec(replace(NETWORK, secret="x")), "secret"),
    ],
)
def test_a_disk_that_is_refused(disk: DiskSpec, says: str) -> None:
    with pytest.raises(InvalidSpec, match=says):
        build_domain(replace(BARE, disks=(disk,)))


@pytest.mark.parametrize(
    ("cards", "says"),
    [
        ((CardSpec(),), "name one"),
        ((CardSpec("office", "br0"),), "name one"),
        ((CardSpec(bridge="a bridge"),), "bridge"),
        ((CardSpec("a\nb"),), "printable"),
        ((CardSpec("x" * 256),), "printable"),
        ((CardSpec("office", filter="a\0"),), "printable"),
        ((CardSpec("office", mac="52:54:00"),), "MAC"),
        ((CardSpec("office", mac="01:00:5e:00:00:01"),), "MAC"),
        ((CardSpec("office", mac="52-54-00-00-00-01"),), "MAC"),
        ((CardSpec("office", model=""),), "model"),
        ((CardSpec("a", mac="52:54:00:aa:00:01"), CardSpec("b", mac="52:54:00:AA:00:01")), "of its own"),
        ((CardSpec("a", boot=1), CardSpec("b", boot=1)), "order of boot"),
    ],
)
def test_a_card_that_is_refused(cards: tuple[CardSpec, ...], says: str) -> None:
    with pytest.raises(InvalidSpec, match=says):
        build_domain(replace(BARE, cards=cards))


def test_a_bus_that_is_full_is_refused() -> None:
    disks = tuple(DiskSpec(FILE, bus=Bus.IDE) for _ in range(5))
    build_domain(replace(OLD, disks=disks[:4]))
    with pytest.raises(InvalidSpec, match="room for 4"):
        build_domain(replace(OLD, disks=disks))


def test_a_disk_and_a_card_share_no_place_in_the_order_of_boot() -> None:
    with pytest.raises(InvalidSpec, match="order of boot"):
        build_domain(replace(BARE, disks=(DiskSpec(FILE, boot=1),), cards=(CardSpec("office", boot=1),)))


@pytest.mark.parametrize("machine", ["q35", "pc", "pc-q35-7.2", "pc-i440fx-7.2", "pc-q35-rhel9.2.0"])
def test_machines_of_every_version_are_taken(machine: str) -> None:
    assert parse_domain(build_domain(replace(BARE, machine=machine, emulator=QEMU))).machine == machine


# --- discs

DRIVE = """<domain><devices>
  <disk type='file' device='disk'><target dev='vda' bus='virtio'/></disk>
  <disk type='network' device='cdrom'><driver name='qemu' type='qcow2'/>
    <source protocol='rbd' name='images/cd' index='3'><host name='mon1'/><privateData/></source><backingStore/>
    <target dev='sda' bus='sata' tray='open'/><readonly/><boot order='1'/><alias name='sata0-0-0'/>
    <address type='drive' controller='0' bus='0' target='0' unit='0'/></disk></devices></domain>"""


def test_a_disc_goes_into_the_drive_that_is_there() -> None:
    disk = etree.fromstring(drive_with(DRIVE, "sda", Source("/srv/x.iso")))
    assert (disk.get("type"), at(disk, "source").items()) == ("file", [("file", "/srv/x.iso")])
    assert [part.tag for part in disk] == ["driver", "source", "target", "readonly", "boot", "address"]
    assert at(disk, "driver").items() == [("name", "qemu"), ("type", "raw")]
    other = etree.fromstring(drive_with(DRIVE, "sda", replace(NETWORK, hosts=("mon1:6789",)), "qcow2"))
    assert (other.get("type"), at(other, "driver").get("type")) == ("network", "qcow2")
    assert at(other, "source/host").items() == [("name", "mon1"), ("port", "6789")]
    block = etree.fromstring(drive_with(DRIVE, "sda", Source("/dev/sr0", is_block=True)))
    assert (block.get("type"), at(block, "source").items()) == ("block", [("dev", "/dev/sr0")])


def test_nothing_of_the_disc_stays_in_an_empty_drive() -> None:
    disk = etree.fromstring(drive_with(DRIVE, "sda", None))
    assert disk.get("type") == "file"
    assert [part.tag for part in disk] == ["target", "readonly", "boot", "address"]


def test_only_a_drive_for_discs_is_changed() -> None:
    with pytest.raises(InvalidSpec, match="no drive for discs"):
        drive_with(DRIVE, "vda", None)
    with pytest.raises(NotFound):
        drive_with(DRIVE, "sdb", None)
    with pytest.raises(InvalidSpec):
        drive_with(DRIVE, "sda", Source("x.iso"))
    with pytest.raises(InvalidSpec):
        drive_with(DRIVE, "sda", FILE, "raw,x")


# --- no text becomes structure

HOSTILE = st.one_of(
    st.text(max_size=40),
    st.text(st.characters(categories=["Cc", "Cf", "Cs", "Zl", "Zs"]), max_size=5),
    st.text("ab/.-:%\\ <>&\"'[]", min_size=1, max_size=20),
    st.sampled_from(["x</name><devices/><name>y", "]]>", "<![CDATA[x]]>", "&lt;&#0;", "<!-- -->", "a\0b", "'/><x a='"]),
    st.text("abz09.-_", min_size=1, max_size=20),
    st.text("ab/", min_size=1, max_size=9).map(lambda text: f"/srv/{text}"),
)
OWN_TEXTS = ("name", "uuid", "type", "arch", "machine", "emulator", "cpu", "title", "description", "os_url", "video")


def with_text(spec: DomainSpec, where: str, text: str) -> DomainSpec:
    """The spec with a text at `field`, or at `disks.field`, `source.field` or `cards.field`."""
    part, _, field = where.rpartition(".")
    change: dict[str, Any] = {field: (text,) if field == "hosts" else text}
    if part == "cards":
        return replace(spec, cards=(replace(spec.cards[0], **change), *spec.cards[1:]))
    if part == "disks":
        return replace(spec, disks=(replace(spec.disks[0], **change), *spec.disks[1:]))
    if part == "source":
        network = spec.disks[4]
        assert network.source is not None
        changed = replace(network, source=replace(network.source, **change))
        return replace(spec, disks=(*spec.disks[:4], changed, *spec.disks[5:]))
    return replace(spec, **change)


PARTS = (
    *OWN_TEXTS,
    *(f"cards.{name}" for name in ("network", "mac", "model", "filter")),
    *(f"disks.{name}" for name in ("format", "serial", "device")),
    *(f"source.{name}" for name in ("protocol", "name", "hosts", "user", "secret")),
)


@given(st.sampled_from(PARTS), HOSTILE)
def test_no_text_becomes_structure(where: str, text: str) -> None:
    if not text:
        return
    spec = with_text(LINUX, where, text)
    try:
        built = build_domain(spec)
    except InvalidSpec:
        return
    if where not in ("cpu", "machine", "disks.device", "source.hosts"):
        assert shape(built) == shape(build_domain(LINUX))
    kept = text.replace("\r\n", "\n").replace("\r", "\n") if where == "description" else text
    values = [value for element in etree.fromstring(built).iter() for value in (element.text, *element.attrib.values())]
    assert any(value in (kept, kept.lower()) for value in values) or where == "source.hosts"


@given(st.sampled_from(["title", "description", "cards.network"]), HOSTILE)
def test_libvirt_reads_the_text_that_was_meant(where: str, text: str) -> None:
    spec = with_text(LINUX, where, text)
    try:
        built = build_domain(spec)
    except InvalidSpec:
        return
    imagined = libvirt.open("test:///default")
    domain = imagined.defineXML(built)
    back = etree.fromstring(domain.XMLDesc(0))
    domain.undefine()
    imagined.close()
    found = at(back, "devices/interface/source").get("network") if where == "cards.network" else back.findtext(where)
    assert (found or "") == text.replace("\r\n", "\n").replace("\r", "\n")

"""Definitions that come from elsewhere: what is taken of them, and that nothing of the host's is named by it."""

from __future__ import annotations

import re
from pathlib import Path

import libvirt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from tests.hypervisor.domain_specs import SPECS
from webvirt.hypervisor.errors import InvalidSpec
from webvirt.hypervisor.types import CardSpec, Source
from webvirt.hypervisor.xml.domains import build_domain
from webvirt.hypervisor.xml.moving import Moved, MovedDisk, Place, placed, taken_in, taken_out
from webvirt.hypervisor.xml.parse import parse_domain

LINUX = SPECS["linux"]
UUID = "00000000-0000-4000-8000-00000000aaaa"
CARD = CardSpec("lan", mac="52:54:00:00:00:99")
EVIL = "/evil"
HOSTILE = f"""
<domain type='kvm' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0' id='7'>
  <name>x</name><uuid>00000000-0000-4000-8000-000000000001</uuid><memory>65536</memory><vcpu>1</vcpu>
  <os firmware='efi'><type arch='x86_64' machine='q35'>hvm</type><loader type='pflash'>{EVIL}</loader>
    <nvram template='{EVIL}'>{EVIL}</nvram><kernel>{EVIL}</kernel><initrd>{EVIL}</initrd><acpi><table>{EVIL}</table>
    </acpi></os>
  <sysinfo type='fwcfg'><entry name='opt/x' file='{EVIL}'/></sysinfo>
  <seclabel type='none'/>
  <memoryBacking><source type='file'/></memoryBacking>
  <metadata><evil xmlns='urn:evil'>{EVIL}</evil></metadata>
  <devices>
    <emulator>{EVIL}</emulator>
    <disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='disk1.raw'/>
      <backingStore type='file'><format type='raw'/><source file='{EVIL}'/></backingStore>
      <mirror type='file' file='{EVIL}'/><target dev='vda' bus='virtio'/></disk>
    <disk type='block' device='lun'><source dev='{EVIL}'/><target dev='sda' bus='scsi'/></disk>
    <disk type='dir' device='floppy'><source dir='{EVIL}'/><target dev='fda' bus='fdc'/></disk>
    <disk type='file' device='cdrom'><source file='{EVIL}'/><target dev='sdb' bus='sata'/></disk>
    <interface type='ethernet'><script path='{EVIL}'/><downscript path='{EVIL}'/><source network='lan'/>
      <rom file='{EVIL}'/><backend tap='{EVIL}'/><target dev='tap0'/><model type='virtio'/></interface>
    <filesystem type='mount'><source dir='/'/><target dir='root'/></filesystem>
    <hostdev mode='subsystem' type='pci'><source><address domain='0' bus='0' slot='2' function='0'/></source></hostdev>
    <serial type='file'><source path='{EVIL}'/><target port='0'/></serial>
    <serial type='pty'><source path='{EVIL}'/><log file='{EVIL}'/><target port='1'/></serial>
    <console type='pipe'><source path='{EVIL}'/></console>
    <channel type='unix'><source mode='connect' path='{EVIL}'/><target type='virtio' name='a.b'/></channel>
    <graphics type='vnc' passwd='{EVIL}' socket='{EVIL}' port='5900'><listen type='socket' socket='{EVIL}'/></graphics>
    <graphics type='egl-headless'><gl rendernode='{EVIL}'/></graphics>
    <input type='evdev'><source dev='{EVIL}'/></input>
    <input type='passthrough' bus='virtio'><source evdev='{EVIL}'/></input>
    <video><driver name='vhostuser'/><source path='{EVIL}'/>
      <model type='virtio'><acceleration accel3d='yes' rendernode='{EVIL}'/></model></video>
    <audio id='1' type='file' path='{EVIL}'/>
    <rng model='virtio'><backend model='random'>{EVIL}</backend></rng>
    <rng model='virtio'><backend model='egd' type='unix'>/dev/urandom<source path='{EVIL}'/></backend></rng>
    <tpm model='tpm-crb'><backend type='passthrough'><device path='{EVIL}'/></backend></tpm>
    <tpm model='tpm-crb'><backend type='emulator'><source type='file' path='{EVIL}'/></backend></tpm>
    <shmem name='x'/><memory model='nvdimm'><source><path>{EVIL}</path></source></memory>
    <smartcard mode='passthrough' type='unix'><source path='{EVIL}'/></smartcard>
  </devices>
  <qemu:commandline><qemu:arg value='{EVIL}'/></qemu:commandline>
</domain>
"""


def place(moved: Moved, **more: object) -> str:
    disks = {disk.target: (Source(f"/srv/{disk.file.rpartition('/')[2]}"), "raw") for disk in moved.disks if disk.file}
    plain: dict[str, object] = {"name": "new", "uuid": UUID, "type": "qemu", "disks": disks, "cards": [CARD]}
    return placed(Place(**(plain | more)), moved)  # type: ignore[arg-type]


def test_nothing_of_the_host_is_named() -> None:
    moved = taken_in(HOSTILE)
    xml = place(moved)
    assert EVIL not in xml
    assert moved.disks == (MovedDisk("vda", "disk1.raw"),)
    assert moved.networks == ("lan",)
    assert moved.left_out == (
        "os/kernel",
        "os/initrd",
        "os/acpi",
        "sysinfo",
        "memoryBacking",
        "qemu:commandline",
        "disk",
        "filesystem",
        "hostdev",
        "serial",
        "console",
        "graphics",
        "input",
        "audio",
        "rng",
        "tpm",
        "shmem",
        "memory",
        "smartcard",
    )
    paths = re.findall(r"(?:file|path|dev|dir|socket)=['\"](/[^'\"]*)", xml)
    assert paths == ["/srv/disk1.raw"]


@given(st.data())
def test_a_path_anywhere_else_does_not_come_through(data: st.DataObject) -> None:
    """An attribute or an element with a path, put in at any place of a machine of ours."""
    root = etree.fromstring(taken_out(build_domain(LINUX), {"vda": "disk1.raw"}))
    element = data.draw(st.sampled_from(list(root.iter())))
    name = data.draw(st.sampled_from(["file", "path", "dev", "dir", "socket", "rendernode", "tap", "evdev", "script"]))
    if data.draw(st.booleans()):
        element.set(name, EVIL)
    else:
        source = etree.SubElement(element, data.draw(st.sampled_from(["source", "log", "script", "rom"])))
        source.set(name, EVIL)
    found = etree.fromstring(place(taken_in(etree.tostring(root, encoding="unicode"))))
    # In the other parts that are taken, libvirt knows of no paths.
    parts = [part for tag in ("source", "log", "script", "rom") for part in found.iter(tag)]
    assert not [each.tag for each in (found, *found.iterfind("devices/*"), *parts) if EVIL in each.attrib.values()]


def test_what_goes_out_comes_back_the_same() -> None:
    before = build_domain(LINUX)
    info = parse_domain(before)
    targets = [disk.target for disk in info.disks if disk.device == "disk"]
    files = {target: f"{target}.qcow2" for target in targets}
    out = taken_out(before, files)
    assert "/srv" not in out
    moved = taken_in(out)
    assert moved.left_out == ()
    disks = {target: (Source(f"/srv/{file}"), "qcow2") for target, file in files.items()}
    cards = [CardSpec("lan", mac=f"52:54:00:00:00:0{at}") for at in range(len(info.interfaces))]
    back = parse_domain(place(moved, type=LINUX.type, disks=disks, cards=cards))
    assert (back.vcpus_max, back.memory_kib, back.firmware, back.cpu_mode) == (
        info.vcpus_max,
        info.memory_kib,
        info.firmware,
        info.cpu_mode,
    )
    assert [(disk.target, disk.bus, disk.boot_order) for disk in back.disks] == [
        (disk.target, disk.bus, disk.boot_order) for disk in info.disks
    ]
    assert [disk.source for disk in back.disks if disk.device == "disk"] == [f"/srv/{file}" for file in files.values()]
    assert back.devices == info.devices
    assert (back.uuid, back.name) == (UUID, "new")


@pytest.mark.parametrize("xml", ["", "<network/>", "<domain/>", "<!DOCTYPE x><domain><devices/></domain>"])
def test_what_is_no_definition_is_refused(xml: str) -> None:
    with pytest.raises(InvalidSpec):
        taken_in(xml)


def test_a_card_without_a_place_is_left_out_and_emulation_has_a_cpu() -> None:
    xml = HOSTILE.replace("<vcpu>", "<cpu mode='host-passthrough'/><vcpu>")
    root = etree.fromstring(place(taken_in(xml), cards=[]))
    assert root.find("devices/interface") is None
    assert root.find("cpu[@mode='maximum']") is not None


def test_libvirt_takes_what_is_left(tmp_path: Path) -> None:
    with libvirt.open("test:///default") as raw:
        domain = raw.defineXML(place(taken_in(HOSTILE), cards=[CardSpec("default", mac="52:54:00:00:00:98")]))
        assert domain.UUIDString() == UUID

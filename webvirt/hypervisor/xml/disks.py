"""Disks and drives of a domain's definition: made from what a person asks for, and discs put in and taken out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from lxml import etree

from webvirt.hypervisor.domain_rules import check_format, check_source
from webvirt.hypervisor.errors import InvalidSpec, NotFound
from webvirt.hypervisor.pool_rules import host_parts
from webvirt.hypervisor.types import Bus, DiskSpec, Source
from webvirt.hypervisor.xml.build import as_text
from webvirt.hypervisor.xml.parse import Element, attribute, root_of

PREFIXES = {Bus.VIRTIO: "vd", Bus.IDE: "hd"}
"""Of the names of drives; all other buses have `sd`."""
PLACES = {Bus.SCSI: 256, Bus.SATA: 6}
"""How many drives a controller has room for, on buses where a drive has a place."""
CHANGES_WITH_THE_DISC = ("source", "driver", "backingStore", "encryption", "alias")


def add_disks(devices: Element, disks: Iterable[DiskSpec]) -> None:
    """A `<disk>` for each, named by its bus and its place on it.

    <disk type='file' device='disk'><driver name='qemu' type='qcow2' discard='unmap' detect_zeroes='unmap'/>
      <source file='/srv/web.qcow2'><encryption format='luks'><secret type='passphrase' uuid='…'/></encryption></source>
      <target dev='vda' bus='virtio'/><serial>web-1</serial><boot order='1'/></disk>
    """
    named: Counter[str] = Counter()
    placed: Counter[Bus] = Counter()
    for disk in disks:
        prefix = PREFIXES.get(disk.bus, "sd")
        element = etree.SubElement(devices, "disk", type=kind_of(disk.source), device=disk.device)
        if disk.source is not None:
            put_source(element, disk.source, disk.format, disk.luks)
        etree.SubElement(element, "target", dev=f"{prefix}{letters(named[prefix])}", bus=disk.bus)
        if disk.bus in PLACES:
            add_place(element, *divmod(placed[disk.bus], PLACES[disk.bus]))
        if disk.device == "cdrom":
            etree.SubElement(element, "readonly")
        else:
            # What a guest deletes is given back to the storage.
            element[0].attrib.update({"discard": "unmap", "detect_zeroes": "unmap"})
        if disk.serial:
            etree.SubElement(element, "serial").text = disk.serial
        if disk.boot:
            etree.SubElement(element, "boot", order=str(disk.boot))
        named[prefix] += 1
        placed[disk.bus] += 1


def add_place(disk: Element, controller: int, unit: int) -> None:
    """Where on its bus. By the name alone libvirt would leave gaps, and fill up with controllers of old kinds."""
    etree.SubElement(disk, "address", type="drive", controller=str(controller), bus="0", target="0", unit=str(unit))


def letters(number: int) -> str:
    """`a` for 0, `z` for 25, `aa` for 26, as Linux goes on."""
    rest, letter = divmod(number, 26)
    return (letters(rest - 1) if rest else "") + chr(ord("a") + letter)


def kind_of(source: Source | None) -> str:
    """libvirt's word for where a disk's bytes are."""
    if source is None:
        return "file"
    if source.protocol:
        return "network"
    return "block" if source.is_block else "file"


def put_source(disk: Element, source: Source, disk_format: str, luks: str = "") -> None:
    """The format is always told, so that nobody goes by what a guest wrote at the beginning of its disk."""
    disk.insert(0, etree.Element("driver", name="qemu", type=disk_format))
    disk.insert(1, source_element(source, luks))


def source_element(source: Source, luks: str) -> Element:
    """`<source>`, with who signs in and what it is encrypted with.

    <source protocol='rbd' name='images/web'><host name='mon1' port='6789'/>
      <auth username='admin'><secret type='ceph' uuid='…'/></auth></source>
    """
    if source.protocol:
        element = etree.Element("source", protocol=source.protocol, name=source.name)
        for name, port in map(host_parts, source.hosts):
            host = etree.SubElement(element, "host", name=name)
            if port:
                host.set("port", str(port))
        if source.user:
            auth = etree.SubElement(element, "auth", username=source.user)
            etree.SubElement(auth, "secret", type="ceph", uuid=source.secret)
    else:
        element = etree.Element("source", {"dev" if source.is_block else "file": source.path})
    if luks:
        encryption = etree.SubElement(element, "encryption", format="luks")
        etree.SubElement(encryption, "secret", type="passphrase", uuid=luks)
    return element


# --- copies of what is written to


def mirror_to(source: Source, disk_format: str) -> str:
    """What a disk is copied into, for libvirt. Raises InvalidSpec."""
    check_source(source)
    check_format(disk_format)
    disk = etree.Element("disk", type=kind_of(source))
    put_source(disk, source, disk_format)
    return as_text(disk)


def mirrors_in(xml: str) -> dict[str, tuple[str, bool]]:
    """The files that a running machine's disks are copied into, by target, and whether each is whole."""
    found = {}
    for disk in root_of(xml, "domain").iterfind("devices/disk"):
        for mirror in disk.iterfind("mirror[source]"):
            path = attribute(mirror, "source", "file") or attribute(mirror, "source", "dev")
            found[attribute(disk, "target", "dev")] = (path, mirror.get("ready") == "yes")
    return found


# --- discs


def drive_with(xml: str, target: str, source: Source | None, disk_format: str = "raw") -> str:
    """The drive of a domain with that disc in it, or with none, for libvirt to change.

    Raises NotFound where there is no such drive, and InvalidSpec for what is no drive for discs.
    """
    if source is not None:
        check_source(source)
        check_format(disk_format)
    disk = drive_of(xml, target)
    for part in [part for part in disk if part.tag in CHANGES_WITH_THE_DISC]:
        disk.remove(part)
    disk.set("type", kind_of(source))
    if source is not None:
        put_source(disk, source, disk_format)
    return as_text(disk)


def drive_of(xml: str, target: str) -> Element:
    for disk in root_of(xml, "domain").iterfind("devices/disk"):
        if attribute(disk, "target", "dev") == target:
            if disk.get("device") != "cdrom":
                raise InvalidSpec(f"{target} is no drive for discs.")
            return disk
    raise NotFound(f"The machine has no drive {target}.")

"""A machine's definition made of another's: edited in place, so that what we know nothing of stays as it is.

What can be only one machine's is made anew or left to libvirt: identity, addresses, ports, sockets and files.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count, product

from lxml import etree

from webvirt.hypervisor.domain_rules import X86, check_domain_name, check_format, check_source, is_q35
from webvirt.hypervisor.errors import InvalidSpec, WrongState
from webvirt.hypervisor.pool_rules import is_uuid
from webvirt.hypervisor.types import Bus, CardSpec, DiskCopy, DomainCopy, Source
from webvirt.hypervisor.xml.build import as_text, check_text
from webvirt.hypervisor.xml.disks import (
    CHANGES_WITH_THE_DISC,
    PLACES,
    PREFIXES,
    kind_of,
    letters,
    put_source,
    source_element,
)
from webvirt.hypervisor.xml.moving import Moved, Place, placed, taken_in
from webvirt.hypervisor.xml.parse import Element, attribute, disk_source, parse_domain, root_of

DRIVES = ("cdrom", "floppy")
OF_THE_OLD_DISK = ("source", "backingStore", "encryption", "mirror", "auth")
OF_THE_FIRMWARE = ("template", "templateFormat", "format")
"""What of a machine's own variables says how they begin, and not where they are."""
ENDS = ("serial", "parallel", "console", "channel")
"""Devices whose other end is something on the host."""
PORTS = ("port", "tlsPort", "websocket")
KEPT_IN_FILES = ("nvdimm", "virtio-pmem")
"""Memory that outlives the machine."""
IDE_PLACES = ((0, 0, 0), (0, 0, 1), (0, 1, 0), (0, 1, 1))


def copy_of(xml: str, copy: DomainCopy) -> str:
    """The definition of a copy of a machine.

    Its firmware's variables and its TPM begin anew. Raises WrongState where the disks are not those that `copy` names
    (any more), so that none is ever shared by mistake, and InvalidSpec for what no machine can be.
    """
    check_domain_name(copy.name)
    if not is_uuid(copy.uuid):
        raise InvalidSpec("A machine is known by its UUID.")
    domain = root_of(xml, "domain")
    name_it(domain, copy)
    for nvram in domain.iterfind("os/nvram"):
        begin_anew(nvram)
    change_disks(domain, copy.disks)
    if copy.seed:
        put_seed(domain, copy.seed)
    change_cards(domain, copy.macs)
    for device in domain.findall("devices/*"):
        part_with_its_place(device)
    return as_text(domain)


def moved_copy(xml: str, copy: DomainCopy, cards: Sequence[CardSpec | None]) -> tuple[Place, Moved]:
    """The same for another host, which has the disks of `copy` where these say.

    Each card goes where `cards` has it, in their order, and one that is None is left out. So is what only the old host
    has: `Moved.left_out` names it. The new one chooses its own emulator and files of firmware. Raises as `copy_of`
    does, and InvalidSpec for a disk that both would have.
    """
    if any(disk.keep for disk in copy.disks):
        raise InvalidSpec("A disk that stays on its host is none of a machine on another.")
    domain = root_of(copy_of(xml, copy), "domain")
    there = domain.findall("devices/interface")
    if len(there) != len(cards):
        raise WrongState("The machine's network cards were changed meanwhile: look at them and try again.")
    for card, place in zip(there, cards, strict=True):
        if place is None:
            leave_out(card)
    text = as_text(domain)
    disks = {disk.target: (disk.source, disk.format) for disk in copy.disks if disk.source}
    if copy.seed:
        (target,) = {disk.target for disk in parse_domain(text).disks if disk.source} - disks.keys()
        disks[target] = copy.seed, "raw"
    kept = [place for place in cards if place]
    return Place(copy.name, copy.uuid, domain.get("type", ""), disks, kept), taken_in(text)


def wants_secure_boot(xml: str) -> bool:
    """Whether a machine is to start nothing but what is signed."""
    domain = root_of(xml, "domain")
    feature = domain.find("os/firmware/feature[@name='secure-boot']")
    return attribute(domain, "os/loader", "secure") == "yes" or (
        feature is not None and feature.get("enabled") == "yes"
    )


def preview_of_copy(xml: str, copy: DomainCopy, cards: Sequence[CardSpec | None] | None = None) -> str:
    """The same for a person to read before it is made: without what is only chosen then.

    With `cards`, as it is on another host.
    """
    domain = root_of(copy_of(xml, copy) if cards is None else placed(*moved_copy(xml, copy, cards)), "domain")
    for parent, tag in ((domain, "uuid"), *((card, "mac") for card in domain.iterfind("devices/interface"))):
        drop(parent, tag)
    etree.indent(domain)
    return as_text(domain)


def drop(parent: Element, *tags: str) -> None:
    for element in [element for element in parent if element.tag in tags]:
        parent.remove(element)


def name_it(domain: Element, copy: DomainCopy) -> None:
    """Its own identity: name, UUID, and the number by which a guest notices that it is another now."""
    for path, text in (("name", copy.name), ("uuid", copy.uuid), ("sysinfo/system/entry[@name='uuid']", copy.uuid)):
        for element in domain.iterfind(path):
            element.text = text
    for genid in domain.iterfind("genid"):
        # An empty one libvirt fills.
        genid.text = None
    if copy.title is None:
        return
    check_text(copy.title)
    drop(domain, "title")
    if copy.title:
        title = etree.Element("title")
        title.text = copy.title
        domain.insert(0, title)


def begin_anew(nvram: Element) -> None:
    for name in [name for name in nvram.attrib if name not in OF_THE_FIRMWARE]:
        del nvram.attrib[name]
    drop(nvram, "source")
    nvram.text = None


# --- disks


def change_disks(domain: Element, disks: tuple[DiskCopy, ...]) -> None:
    found = {attribute(element, "target", "dev"): element for element in domain.iterfind("devices/disk")}
    there = {name: disk_source(each.get("type", "file"), each.find("source")) for name, each in found.items()}
    if {name: source for name, source in there.items() if source} != {disk.target: disk.was for disk in disks}:
        raise WrongState("The machine's disks were changed meanwhile: look at them and try again.")
    for disk in disks:
        if not disk.keep:
            change_disk(found[disk.target], disk)


def change_disk(element: Element, disk: DiskCopy) -> None:
    """Something else in its place: how the guest sees it stays, down to its address and serial number."""
    if disk.source is None:
        leave_out(element)
        return
    check_source(disk.source)
    check_format(disk.format)
    drop(element, *OF_THE_OLD_DISK)
    driver = element.find("driver")
    if driver is None:
        driver = etree.Element("driver", name="qemu")
        element.insert(0, driver)
    driver.set("type", disk.format)
    if disk.format != "qcow2":
        drop(driver, "metadata_cache")
    driver.addnext(source_element(disk.source, disk.luks))
    element.set("type", kind_of(disk.source))
    if element.get("device") == "lun":
        # Commands to a disk array go nowhere in a file.
        element.set("device", "disk")
        for name in ("sgio", "rawio"):
            element.attrib.pop(name, "")


def leave_out(element: Element) -> None:
    """Take a disk out; of a drive, what is in it."""
    if element.get("device") in DRIVES:
        drop(element, *CHANGES_WITH_THE_DISC)
        element.set("type", kind_of(None))
    else:
        parent = element.getparent()
        assert parent is not None
        parent.remove(element)


def put_seed(domain: Element, source: Source) -> None:
    """A disc into the first drive that is empty, or into a new one."""
    check_source(source)
    drives = domain.iterfind("devices/disk[@device='cdrom']")
    drive = next((drive for drive in drives if drive.find("source") is None), None)
    if drive is None:
        drive = new_drive(domain)
    drop(drive, *CHANGES_WITH_THE_DISC)
    drive.set("type", kind_of(source))
    put_source(drive, source, "raw")


def new_drive(domain: Element) -> Element:
    """One more drive, on the bus that such a machine has for it. Raises InvalidSpec where that is full."""
    devices = domain.find("devices")
    if devices is None:
        raise InvalidSpec("This is no definition of a machine.")
    disks = devices.findall("disk")
    bus = bus_of_drives(domain)
    if bus == Bus.SCSI and devices.find("controller[@type='scsi']") is None:
        etree.SubElement(devices, "controller", type="scsi", model="virtio-scsi")
    taken = {place_of(disk) for disk in disks if attribute(disk, "target", "bus") == bus}
    place = next((place for place in places_on(bus) if place not in taken), None)
    if place is None:
        raise InvalidSpec(f"There is room for {len(IDE_PLACES)} drives on {bus}: put others on another bus.")
    names = {attribute(disk, "target", "dev") for disk in disks}
    prefix = PREFIXES.get(bus, "sd")
    drive = etree.Element("disk", type="file", device="cdrom")
    name = next(name for number in count() if (name := f"{prefix}{letters(number)}") not in names)
    etree.SubElement(drive, "target", dev=name, bus=bus)
    etree.SubElement(drive, "readonly")
    address = etree.SubElement(drive, "address", type="drive", target="0")
    for part, number in zip(ADDRESS, place, strict=True):
        address.set(part, str(number))
    devices.insert(devices.index(disks[-1]) + 1 if disks else 0, drive)
    return drive


ADDRESS = ("controller", "bus", "unit")


def bus_of_drives(domain: Element) -> Bus:
    if attribute(domain, "os/type", "arch") not in X86:
        return Bus.SCSI
    return Bus.SATA if is_q35(attribute(domain, "os/type", "machine")) else Bus.IDE


def place_of(disk: Element) -> tuple[int, ...]:
    """Where a disk is on its bus: controller, bus and unit."""
    return tuple(int(attribute(disk, "address", name) or 0) for name in ADDRESS)


def places_on(bus: Bus) -> Iterator[tuple[int, ...]]:
    return iter(IDE_PLACES) if bus == Bus.IDE else product(range(256), (0,), range(PLACES[bus]))


# --- everything else


def change_cards(domain: Element, macs: tuple[str, ...]) -> None:
    for place, card in enumerate(domain.iterfind("devices/interface")):
        # The name of its other end, which libvirt chooses where nobody else has.
        drop(card, "target")
        if place < len(macs):
            mac = card.find("mac")
            if mac is None:
                mac = etree.Element("mac")
                card.insert(0, mac)
            mac.set("address", macs[place].lower())
        else:
            drop(card, "mac")
        for port in card.iterfind("virtualport"):
            # By which a switch knows it; libvirt makes them, but for Midonet.
            for parameters in port.iterfind("parameters") if port.get("type") != "midonet" else ():
                for name in ("interfaceid", "instanceid"):
                    parameters.attrib.pop(name, "")


def part_with_its_place(device: Element) -> None:
    """Free a device of what on the host only one machine can have. Raises InvalidSpec where there can be no copy."""
    if device.tag in ENDS:
        free_end(device)
    elif device.tag == "graphics":
        free_display(device)
    elif device.tag == "vsock":
        for cid in device.iterfind("cid"):
            cid.attrib.pop("address", "")
            cid.set("auto", "yes")
    elif device.tag == "tpm":
        for backend in device.iterfind("backend"):
            drop(backend, "source")
    elif device.tag == "pstore":
        drop(device, "path")
    elif device.tag == "memory" and device.get("model") in KEPT_IN_FILES:
        raise InvalidSpec(
            "It has memory that is kept in a file, and two machines would write to it: take it out first."
        )


def free_end(device: Element) -> None:
    """Files and sockets of a serial port or a channel: no two machines can write to one."""
    drop(device, "log")
    binds = any(source.get("mode") == "bind" for source in device.iterfind("source"))
    if device.get("type") in ("file", "pipe") or (device.get("type") in ("tcp", "udp", "unix") and binds):
        drop(device, "source", "protocol")
        device.set("type", "unix" if device.tag == "channel" else "pty")


def free_display(graphics: Element) -> None:
    """A port or a socket of its own, chosen at each start."""
    if any(graphics.get(name, "-1") != "-1" for name in PORTS):
        for name in PORTS:
            graphics.attrib.pop(name, "")
        graphics.set("autoport", "yes")
    listens = graphics.findall("listen[@type='socket']")
    if graphics.attrib.pop("socket", "") and not listens:
        etree.SubElement(graphics, "listen", type="socket")
    for listen in listens:
        listen.attrib.pop("socket", "")

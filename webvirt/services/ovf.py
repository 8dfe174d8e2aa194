"""OVF: what other systems' exports say of a machine, read into types, and written. Nothing but the text is touched.

An envelope is whatever somebody uploaded: it is bounded, names no file but plain ones, and what of it has no place in a
machine of ours is told in words (`notes`), never guessed.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any
from xml.etree import ElementTree as ET

LARGEST = 4 * 2**20
"""Bytes of an envelope; those of large machines have some ten thousand."""
DEEPEST = 32
MOST_ELEMENTS = 20_000
MOST_DISKS = 16
MOST_CARDS = 8
LONGEST = 200
"""Characters of a name."""
MIB = 2**20
OVF = "http://schemas.dmtf.org/ovf/envelope/1"
RASD = "http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData"
VSSD = "http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_VirtualSystemSettingData"
VMW = "http://www.vmware.com/schema/ovf"
CPU, MEMORY, IDE, SCSI, ETHERNET, FLOPPY, CD, DVD, DISK, STORAGE = 3, 4, 5, 6, 10, 14, 15, 16, 17, 20
"""CIM's types of resources, as items have them."""
SILENT = {1, 23, 24, 35}
"""What any machine of ours has anyway, or nobody misses: others of the maker, USB, a screen, sound."""
UNITS = {
    "": 1,
    "byte": 1,
    "bytes": 1,
    "kilobytes": 2**10,
    "kb": 2**10,
    "megabytes": 2**20,
    "mb": 2**20,
    "gigabytes": 2**30,
    "gb": 2**30,
    "terabytes": 2**40,
}
URIS = {
    "vmdk": "http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized",
    "qcow2": "http://www.gnome.org/~markmc/qcow-image-format.html",
    "raw": "",
}
"""How formats are named where we write them."""
FORMATS = {
    "vmdk": "vmdk",
    "vhdx": "vhdx",
    "vhd": "vpc",
    "vdi": "vdi",
    "qcow": "qcow2",
    "raw": "raw",
    "iso": "iso",
}
"""Words in the addresses and names by which formats are told, the longer before the shorter, and libvirt's."""
CONTROLLERS = {IDE: "ide", SCSI: "scsi"}
BUSES = (("sata", "sata"), ("ahci", "sata"), ("nvme", "nvme"), ("virtio", "virtio"), ("scsi", "scsi"), ("lsi", "scsi"))
"""Words in a controller's own name."""
SYSTEMS = (
    (r"windows11\w*", "win11"),
    (r"windows(9|10)(_?64)?", "win10"),
    (r"windows(2022srvnext|2025)\w*", "win2k25"),
    (r"windows(2019srvnext|2022)\w*", "win2k22"),
    (r"windows2019\w*", "win2k19"),
    (r"windows(9srv|9server|2016)\w*", "win2k16"),
    (r"windows(8srv|8server|2012)\w*", "win2k12"),
    (r"windows(7srv|7server)\w*", "win2k8r2"),
    (r"windows8\w*", "win8"),
    (r"windows7\w*", "win7"),
    (r"debian(\d{1,2})(_64)?", "debian{}"),
    (r"rhel(\d{1,2})(_64)?", "rhel{}.0"),
    (r"centos([5-7])(_64)?", "centos{}.0"),
    (r"ubuntu(\d\d)_lts(_64)?", "ubuntu{}.04"),
    (r"sles15\w*", "sles15"),
    (r"sles12\w*", "sles12"),
    (r"freebsd(1\d)(_64)?", "freebsd{}.0"),
)
"""The names that VMware and VirtualBox have for systems, and osinfo's."""
GUESTS = (
    (r"win11", 120, "windows11_64Guest"),
    (r"win10", 120, "windows9_64Guest"),
    (r"win8(\.1)?", 114, "windows8_64Guest"),
    (r"win7", 105, "windows7_64Guest"),
    (r"win2k25", 116, "windows2022srvNext_64Guest"),
    (r"win2k22", 116, "windows2019srvNext_64Guest"),
    (r"win2k19", 116, "windows2019srv_64Guest"),
    (r"win2k16", 116, "windows9Server64Guest"),
    (r"win2k12(r2)?", 115, "windows8Server64Guest"),
    (r"win2k8r2", 103, "windows7Server64Guest"),
    (r"debian(\d{1,2})", 96, "debian{}_64Guest"),
    (r"ubuntu\d.*", 94, "ubuntu64Guest"),
    (r"rhel(\d{1,2})\b.*", 80, "rhel{}_64Guest"),
    (r"centos(?:-stream)?(\d{1,2})\b.*", 107, "centos{}_64Guest"),
    (r"sles(\d{1,2}).*", 85, "sles{}_64Guest"),
    (r"freebsd(\d{1,2})\b.*", 78, "freebsd{}_64Guest"),
)
"""osinfo's names of systems, and what OVF (by CIM's numbers) and VMware call them."""
ANY_GUEST = (102, "otherGuest64")
CIM_SYSTEMS = {67: "winxp", 69: "win2k3", 73: "winvista", 76: "win2k8", 77: "win2k8", 103: "win2k8r2", 105: "win7"}
"""Of CIM's numbers those that mean one version."""


class NotUnderstood(ValueError):
    """What was looked into is not what it should be: a sentence for the person."""


@dataclass(frozen=True)
class Disk:
    """A disk of an appliance. `file` is a plain file's name, empty for a disk that begins empty; `capacity` in bytes, 0
    where it is not told; `bus` is one of libvirt's words or `nvme`, empty where it is not told."""

    file: str = ""
    format: str = ""
    capacity: int = 0
    bus: str = ""


@dataclass(frozen=True)
class Card:
    """A network card: the network's name where it comes from, and the model and the address of its card there."""

    network: str = ""
    model: str = ""
    mac: str = ""


@dataclass(frozen=True)
class Appliance:
    """A machine as somebody's export tells it. Figures are 0 where they are not told; `os` is osinfo's short id."""

    name: str = ""
    memory_mib: int = 0
    vcpus: int = 0
    firmware: str = "bios"
    os: str = ""
    disks: tuple[Disk, ...] = ()
    cards: tuple[Card, ...] = ()
    notes: tuple[str, ...] = ()
    """What of it does not come along, in sentences."""
    is_own: bool = False
    """Whether it is an export of ours, which comes back as it was."""
    is_loose: bool = False
    """Whether its files lie beside its description, rather than with it in one."""


# --- reading


class Bounded(ET.TreeBuilder):
    """Builds no tree that is larger or deeper than anybody's envelope."""

    def __init__(self) -> None:
        super().__init__()
        self.elements = self.depth = 0

    def start(self, tag: Any, attrs: Any, /) -> Any:
        self.elements += 1
        self.depth += 1
        if self.elements > MOST_ELEMENTS or self.depth > DEEPEST:
            raise NotUnderstood("The description of the appliance is larger than any that is right.")
        return super().start(tag, attrs)

    def end(self, tag: Any, /) -> Any:
        self.depth -= 1
        return super().end(tag)


def tree_of(text: bytes) -> ET.Element:
    """The tree of an envelope. Entities, the one way for a small text to become a large one, are refused."""
    if len(text) > LARGEST:
        raise NotUnderstood("The description of the appliance is larger than any that is right.")
    try:
        written = text.decode("utf-8-sig")
        if "<!DOCTYPE" in written or "<!ENTITY" in written:
            raise NotUnderstood("The description of the appliance defines words of its own, and that is refused.")
        parser = ET.XMLParser(target=Bounded())  # noqa: S314
        parser.feed(written)
        root: ET.Element = parser.close()
    except (UnicodeDecodeError, ET.ParseError):
        raise NotUnderstood("The description of the appliance is no XML in UTF-8.") from None
    return root


def machine_of(text: bytes) -> Appliance:
    """The machine of an envelope, the first where it has several. Raises NotUnderstood."""
    root = tree_of(text)
    if local(root.tag) != "Envelope":
        raise NotUnderstood("The description of the appliance is no OVF envelope.")
    systems = [each for each in root.iter() if local(each.tag) == "VirtualSystem"]
    if not systems:
        raise NotUnderstood("The appliance describes no machine.")
    return Reading(root, systems[0], len(systems)).machine()


class Reading:
    """One look at a machine of an envelope; `notes` grows as parts are met that have no place."""

    def __init__(self, root: ET.Element, system: ET.Element, machines: int) -> None:
        self.root, self.system = root, system
        self.notes: list[str] = []
        self.name = line(told(system, "Name") or attribute(system, "id"))
        if machines > 1:
            self.notes.append(f"It holds {machines} machines: only the first, {self.name}, is read.")
        self.items = [each for each in system.iter() if local(each.tag) in ("Item", "StorageItem", "EthernetPortItem")]

    def machine(self) -> Appliance:
        disks, cards = tuple(self.disks()), tuple(self.cards())
        if len(disks) > MOST_DISKS:
            raise NotUnderstood(f"The appliance has {len(disks)} disks: {MOST_DISKS} at most.")
        if len(cards) > MOST_CARDS:
            self.notes.append(f"Of its network cards only the first {MOST_CARDS} are read.")
        for item in self.items:
            if kind_of(item) not in (CPU, MEMORY, IDE, SCSI, ETHERNET, DISK, STORAGE, *SILENT):
                self.notes.append(f"It comes without this part: {title_of(item)}.")
        return Appliance(
            name=self.name,
            memory_mib=sum(memory_of(item) for item in self.items if kind_of(item) == MEMORY) // MIB,
            vcpus=sum(number(told(item, "VirtualQuantity")) for item in self.items if kind_of(item) == CPU),
            firmware=self.firmware(),
            os=self.system_id(),
            disks=disks,
            cards=cards[:MOST_CARDS],
            notes=tuple(dict.fromkeys(self.notes))[:50],
        )

    def disks(self) -> Iterator[Disk]:
        """In the order of their places on each controller, which is the order that a guest counts them in."""
        controllers = {told(item, "InstanceID"): item for item in self.items}
        files = {attribute(each, "id"): each for each in self.all("File")}
        known = {attribute(each, "diskId"): each for each in self.all("Disk")}
        place = {id(item): at for at, item in enumerate(self.items)}
        wanted = [item for item in self.items if kind_of(item) == DISK]
        wanted.sort(key=lambda item: (place_of(controllers, place, item), number(told(item, "AddressOnParent"))))
        for item in wanted:
            kind, _slash, name = told(item, "HostResource").removeprefix("ovf:").removeprefix("/").partition("/")
            disk = known.get(name) if kind == "disk" else None
            file = files.get(name if kind == "file" else attribute(disk, "fileRef"))
            if disk is None and file is None:
                self.notes.append(f"It comes without this part: {title_of(item)}.")
                continue
            if attribute(disk, "parentRef"):
                raise NotUnderstood("A disk of the appliance is based on another one, and cannot stand alone.")
            if attribute(file, "compression") not in ("", "identity"):
                raise NotUnderstood("The files of the appliance are compressed: unpack them first.")
            href = plain_name(attribute(file, "href")) if file is not None else ""
            yield Disk(href, format_of(attribute(disk, "format"), href), capacity_of(disk), bus_of(controllers, item))

    def cards(self) -> Iterator[Card]:
        for item in self.items:
            if kind_of(item) == ETHERNET:
                yield Card(line(told(item, "Connection")), line(told(item, "ResourceSubType")).lower())

    def firmware(self) -> str:
        settings = {attribute(each, "key"): attribute(each, "value").lower() for each in self.system.iter()}
        if settings.get("bootOptions.efiSecureBootEnabled") == "true":
            return "secure"
        kinds = " ".join(told(each, "VirtualSystemType") for each in self.system.iter() if local(each.tag) == "System")
        by_maker = [attribute(each, "type") for each in self.system.iter() if local(each.tag) == "Firmware"]
        is_efi = settings.get("firmware") == "efi" or "hyper-v:subtype:2" in kinds.lower()
        return "efi" if is_efi or any(each.upper().startswith("EFI") for each in by_maker) else "bios"

    def system_id(self) -> str:
        for section in self.system.iter():
            if local(section.tag) != "OperatingSystemSection":
                continue
            words = [attribute(section, "osType"), *(child.text or "" for child in section)]
            found = [one for one in map(system_named, words) if one]
            return found[0] if found else CIM_SYSTEMS.get(number(attribute(section, "id")), "")
        return ""

    def all(self, tag: str) -> list[ET.Element]:
        return [each for each in self.root.iter() if local(each.tag) == tag]


def place_of(controllers: dict[str, ET.Element], place: dict[int, int], item: ET.Element) -> int:
    """Where its controller stands among the items; a disk without one where it stands itself."""
    return place[id(controllers.get(told(item, "Parent"), item))]


def local(tag: str) -> str:
    """A name without its namespace, of which makers use several."""
    return tag.rpartition("}")[2]


def attribute(element: ET.Element | None, name: str) -> str:
    """An attribute by its local name; empty where there is none."""
    found = (value for key, value in element.attrib.items() if local(key) == name) if element is not None else ()
    return next(iter(found), "").strip()


def told(element: ET.Element, name: str) -> str:
    """The text of a child by its local name; empty where there is none."""
    return next((each.text or "" for each in element if local(each.tag) == name), "").strip()


def line(text: str) -> str:
    """One line that can be kept, of whatever was written."""
    plain = "".join(character if character.isprintable() else " " for character in text)
    return " ".join(plain.split())[:LONGEST]


def title_of(item: ET.Element) -> str:
    return line(told(item, "ElementName") or told(item, "Description")) or f"{kind_of(item)}"


def number(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else 0


def kind_of(item: ET.Element) -> int:
    return number(told(item, "ResourceType"))


def plain_name(href: str) -> str:
    """The name of a file beside the envelope. Raises NotUnderstood for any other address."""
    name = href.removeprefix("./")
    if not is_plain(name):
        raise NotUnderstood(f"The appliance names a file that is no plain one beside it: {line(href)}")
    return name


def is_plain(name: str) -> bool:
    return 0 < len(name) <= 255 and name.isprintable() and name not in (".", "..") and not set(name) & set("/\\:\0")


def unit_of(text: str) -> int:
    """The bytes of a unit: `byte * 2^20`, or an old word such as MegaBytes. Raises NotUnderstood."""
    plain = text.strip().lower()
    if power := re.fullmatch(r"bytes?\s*\*\s*(2|10)\s*\^\s*(\d{1,2})", plain, re.ASCII):
        return math.prod([int(power[1])] * int(power[2]))
    if plain not in UNITS:
        raise NotUnderstood(f"The appliance tells a size in units that nobody knows: {line(text)}")
    return UNITS[plain]


def memory_of(item: ET.Element) -> int:
    """Bytes; what has no unit is in MiB."""
    return number(told(item, "VirtualQuantity")) * unit_of(told(item, "AllocationUnits") or "byte * 2^20")


def capacity_of(disk: ET.Element | None) -> int:
    return number(attribute(disk, "capacity")) * unit_of(attribute(disk, "capacityAllocationUnits"))


def format_of(uri: str, name: str) -> str:
    """By the format's address, else by the file's ending."""
    for text in (uri.lower(), name.lower().rpartition(".")[2]):
        if found := next((kind for word, kind in FORMATS.items() if word in text), ""):
            return found
    return ""


def bus_of(controllers: dict[str, ET.Element], item: ET.Element) -> str:
    parent = controllers.get(told(item, "Parent"))
    if parent is None:
        return ""
    words = f"{told(parent, 'ResourceSubType')} {told(parent, 'ElementName')}".lower()
    return CONTROLLERS.get(kind_of(parent)) or next((bus for word, bus in BUSES if word in words), "")


def system_named(name: str) -> str:
    """osinfo's id of a system as VMware or VirtualBox call it; empty where it tells no version."""
    plain = name.strip().lower().removesuffix("guest")
    for pattern, found in SYSTEMS:
        if match := re.fullmatch(pattern, plain, re.ASCII):
            return found.format(*match.groups())
    return ""


# --- writing


def envelope_of(appliance: Appliance, sizes: dict[str, int], family: str = "kvm") -> bytes:
    """An envelope that tells of a machine; `sizes` are those of its files in bytes, `family` the hardware it is for.

    <Envelope><References><File ovf:id='file1' ovf:href='…' ovf:size='…'/></References>
      <DiskSection><Info/><Disk ovf:diskId='disk1' ovf:fileRef='file1' ovf:capacity='…' ovf:format='…'/></DiskSection>
      <NetworkSection><Info/><Network ovf:name='…'/></NetworkSection>
      <VirtualSystem ovf:id='…'><Info/><Name>…</Name><OperatingSystemSection ovf:id='96' vmw:osType='…'><Info/></…>
        <VirtualHardwareSection><Info/><System>…</System><Item>…</Item>…<vmw:Config vmw:key='firmware'/></…>
      </VirtualSystem></Envelope>
    """
    for prefix, uri in (("ovf", OVF), ("rasd", RASD), ("vssd", VSSD), ("vmw", VMW)):
        ET.register_namespace(prefix, uri)
    root = ET.Element(f"{{{OVF}}}Envelope")
    add_files(root, appliance, sizes)
    networks = section(root, "NetworkSection", "Networks")
    for name in dict.fromkeys(card.network for card in appliance.cards):
        grow(networks, "Network", name=name)
    system = grow(root, "VirtualSystem", id=appliance.name)
    grow(system, "Info").text = "A virtual machine"
    grow(system, "Name").text = appliance.name
    number_of_it, name_of_it = guest_of(appliance.os)
    about_it = section(system, "OperatingSystemSection", "The operating system", id=str(number_of_it))
    about_it.set(f"{{{VMW}}}osType", name_of_it)
    hardware = section(system, "VirtualHardwareSection", "Virtual hardware")
    about = grow(hardware, "System")
    for tag, text in (("ElementName", "Virtual Hardware Family"), ("InstanceID", "0"), ("VirtualSystemType", family)):
        ET.SubElement(about, f"{{{VSSD}}}{tag}").text = text
    add_items(hardware, appliance)
    if appliance.firmware != "bios":
        setting = ET.SubElement(hardware, f"{{{VMW}}}Config")
        setting.attrib.update({f"{{{OVF}}}required": "false", f"{{{VMW}}}key": "firmware", f"{{{VMW}}}value": "efi"})
    ET.indent(root)
    written: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return written


def guest_of(os: str) -> tuple[int, str]:
    """CIM's number and VMware's name of a system by osinfo's id."""
    for pattern, cim, name in GUESTS:
        if match := re.fullmatch(pattern, os, re.ASCII):
            return cim, name.format(*match.groups())
    return ANY_GUEST


def grow(parent: ET.Element, tag: str, **attributes: str) -> ET.Element:
    return ET.SubElement(parent, f"{{{OVF}}}{tag}", {f"{{{OVF}}}{name}": value for name, value in attributes.items()})


def section(parent: ET.Element, tag: str, info: str, **attributes: str) -> ET.Element:
    element = grow(parent, tag, **attributes)
    grow(element, "Info").text = info
    return element


def add_files(root: ET.Element, appliance: Appliance, sizes: dict[str, int]) -> None:
    references = grow(root, "References")
    for at, disk in enumerate(appliance.disks, 1):
        grow(references, "File", id=f"file{at}", href=disk.file, size=str(sizes[disk.file]))
    disks = section(root, "DiskSection", "Virtual disks")
    for at, disk in enumerate(appliance.disks, 1):
        fields = {"diskId": f"disk{at}", "fileRef": f"file{at}", "capacity": str(disk.capacity)}
        grow(disks, "Disk", **fields, capacityAllocationUnits="byte", format=URIS.get(disk.format, ""))


def add_items(hardware: ET.Element, appliance: Appliance) -> None:
    rows: list[dict[str, object]] = [
        {"ElementName": "Processors", "ResourceType": CPU, "VirtualQuantity": appliance.vcpus},
        {
            "AllocationUnits": "byte * 2^20",
            "ElementName": "Memory",
            "ResourceType": MEMORY,
            "VirtualQuantity": appliance.memory_mib,
        },
    ]
    buses = list(dict.fromkeys(disk.bus for disk in appliance.disks))
    rows += [controller_row(bus) for bus in buses]
    for at, disk in enumerate(appliance.disks, 1):
        place = sum(each.bus == disk.bus for each in appliance.disks[: at - 1])
        rows.append(
            {
                "AddressOnParent": place,
                "ElementName": f"Disk {at}",
                "HostResource": f"ovf:/disk/disk{at}",
                "Parent": 3 + buses.index(disk.bus),
                "ResourceType": DISK,
            }
        )
    rows += [
        {
            "AutomaticAllocation": "true",
            "Connection": card.network,
            "ElementName": "Network card",
            "ResourceSubType": card.model,
            "ResourceType": ETHERNET,
        }
        for card in appliance.cards
    ]
    for at, row in enumerate(rows, 1):
        item = grow(hardware, "Item")
        # VirtualBox knows them by their captions.
        for name, value in sorted((row | {"Caption": row["ElementName"], "InstanceID": at}).items()):
            ET.SubElement(item, f"{{{RASD}}}{name}").text = str(value)


def controller_row(bus: str) -> dict[str, object]:
    kind = {"ide": IDE, "scsi": SCSI}.get(bus, STORAGE)
    return {
        "Address": 0,
        "ElementName": f"{bus} controller",
        "ResourceSubType": "lsilogicsas" if bus == "scsi" else bus,
        "ResourceType": kind,
    }


def for_others(appliance: Appliance) -> Appliance:
    """The same machine of parts that VMware and VirtualBox both have, and systems of today drivers for.

    They know no virtio disks, and each calls SATA by a name that the other does not take. IDE is for two disks at most.
    """
    is_ide = all(disk.bus == "ide" for disk in appliance.disks) and len(appliance.disks) <= 2
    disks = tuple(replace(disk, bus="ide" if is_ide else "scsi") for disk in appliance.disks)
    cards = tuple(Card(card.network or "network", "E1000") for card in appliance.cards)
    return replace(appliance, disks=disks, cards=cards)

"""Definitions that leave a host in a file, and come into one from it.

What comes in is whatever somebody brought. A definition can name any file, device and program of its host, and run as
root there; so only what is known to do none of that is taken, and the rest is left out and named.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from lxml import etree

from webvirt.hypervisor.domain_rules import check_card, check_domain_name, check_format, check_source
from webvirt.hypervisor.errors import InvalidSpec
from webvirt.hypervisor.types import METADATA_URI, CardSpec, Source
from webvirt.hypervisor.xml.build import as_text
from webvirt.hypervisor.xml.disks import kind_of, put_source
from webvirt.hypervisor.xml.parse import OSINFO_URI, Element, attribute, name_of, text, tree_of, words

TAKEN = words(
    "name title description memory currentMemory maxMemory vcpu vcpus iothreads features cpu clock pm on_poweroff "
    "on_reboot on_crash"
)
"""Of a definition what names nothing of its host."""
OF_THE_HOST = words("uuid seclabel resource emulator alias")
"""What each host has its own of: nobody misses it."""
OF_THE_SYSTEM = words("type boot bootmenu bios firmware loader")
NAMESPACES = (OSINFO_URI, METADATA_URI)
ATTRIBUTES = words("type model bus index ports vectors device action keymap autoport sharePolicy id primary")
DEVICES = {
    "disk": "driver target boot serial wwn vendor product readonly address iotune blockio geometry",
    "interface": "mac model driver boot link mtu bandwidth address",
    "controller": "model target address master driver",
    "graphics": "",
    "video": "model address",
    "input": "driver address",
    "sound": "codec audio address",
    "audio": "",
    "serial": "target address",
    "parallel": "target address",
    "console": "target address",
    "channel": "target address",
    "rng": "backend rate address",
    "memballoon": "stats driver address",
    "watchdog": "address",
    "panic": "address",
    "hub": "address",
    "tpm": "backend",
    "vsock": "cid address",
    "iommu": "driver",
    "redirdev": "address",
}
"""The devices that are taken, and which of their parts."""
NEVER = ("source", "backingStore", "mirror", "script", "downscript", "rom", "log", "acceleration")
"""What names something of its host, wherever it stands."""
MISSED = ("vlan", "virtualport")
"""Parts of a card's network without which it may be in another."""
LINES = ("serial", "parallel", "console", "channel")


def is_tpm_of_software(tpm: Element) -> bool:
    backend = tpm.find("backend")
    if backend is None or len(backend):
        return False
    return backend.get("type") == "emulator" and set(backend.attrib) <= {"type", "version"}


def is_chance_of_the_kernel(rng: Element) -> bool:
    backend = rng.find("backend")
    if backend is None or len(backend) or len(backend.attrib) != 1:
        return False
    return backend.get("model") == "random" and text(rng, "backend") in ("/dev/urandom", "/dev/random")


def is_line_of_libvirt(line: Element) -> bool:
    return line.get("type") in ("pty", "unix", "spicevmc")


FIT: dict[str, Callable[[Element], bool]] = {
    "disk": lambda disk: disk.get("device", "disk") in ("disk", "cdrom"),
    "graphics": lambda graphics: graphics.get("type") in ("vnc", "spice"),
    "input": lambda device: device.get("type") in ("tablet", "mouse", "keyboard"),
    "audio": lambda audio: audio.get("type") in ("none", "spice"),
    "rng": is_chance_of_the_kernel,
    "tpm": is_tpm_of_software,
    "redirdev": lambda device: device.get("type") == "spicevmc",
    **dict.fromkeys(LINES, is_line_of_libvirt),
}
"""Of those devices that can be of the host's, which are not."""


@dataclass(frozen=True)
class MovedDisk:
    """A disk of a definition in a file, by its target; `file` is the name that its bytes have beside it."""

    target: str
    file: str


@dataclass(frozen=True)
class Moved:
    """A definition from a file with what is taken of it; `networks` says for each card where it was."""

    xml: str
    disks: tuple[MovedDisk, ...]
    networks: tuple[str, ...]
    left_out: tuple[str, ...]


@dataclass(frozen=True)
class Place:
    """Where a definition comes to: as what and how it runs there, its disks by target, each with its format, and its
    cards in their order, each with its MAC address."""

    name: str
    uuid: str
    type: str
    disks: Mapping[str, tuple[Source, str]]
    cards: Sequence[CardSpec]


def taken_out(xml: str, files: Mapping[str, str]) -> str:
    """A definition as it goes into a file: each disk is the file that `files` has for its target, drives are empty."""
    domain = tree_of(xml)
    for disk in domain.iterfind("devices/disk"):
        for part in ("source", "backingStore", "mirror", "encryption", "auth"):
            for element in disk.findall(part):
                disk.remove(element)
        disk.set("type", "file")
        if file := files.get(attribute(disk, "target", "dev")):
            disk.insert(0, etree.Element("source", file=file))
    return as_text(domain)


def taken_in(xml: str) -> Moved:
    """What is taken of a definition from a file. Raises InvalidSpec for what is none."""
    domain = tree_of(xml)
    devices = domain.find("devices")
    if domain.tag != "domain" or devices is None:
        raise InvalidSpec("This is no definition of a machine.")
    disks = tuple(
        MovedDisk(attribute(disk, "target", "dev"), attribute(disk, "source", "file"))
        for disk in devices.iterfind("disk")
        if disk.get("device", "disk") == "disk"
    )
    left_out = [*take_parts(domain), *take_devices(devices)]
    cards = [attribute(card, "source", "network") or attribute(card, "source", "bridge") for card in cards_of(domain)]
    etree.strip_elements(domain, *NEVER, with_tail=False)
    named = tuple(name for name in dict.fromkeys(left_out) if name not in OF_THE_HOST)
    return Moved(as_text(domain), disks, tuple(cards), named)


def placed(place: Place, moved: Moved) -> str:
    """The definition on its new host: a card for which there is no place is left out. Raises InvalidSpec."""
    check_domain_name(place.name)
    domain = tree_of(moved.xml)
    for element in domain.findall("name"):
        domain.remove(element)
    for tag, value in (("uuid", place.uuid), ("name", place.name)):
        domain.insert(0, etree.Element(tag))
        domain[0].text = value
    become(domain, place.type)
    for disk in domain.iterfind("devices/disk"):
        if found := place.disks.get(attribute(disk, "target", "dev")):
            put(disk, *found)
    for at, card in enumerate(cards_of(domain)):
        if at < len(place.cards):
            connect(card, place.cards[at])
        elif (devices := card.getparent()) is not None:
            devices.remove(card)
    return as_text(domain)


def become(domain: Element, domain_type: str) -> None:
    """Run it as its host can: emulation has no CPU of the host's to hand on."""
    domain.set("type", domain_type)
    cpu = domain.find("cpu")
    if domain_type != "kvm" and cpu is not None and cpu.get("mode") == "host-passthrough":
        cpu.set("mode", "maximum")


def cards_of(domain: Element) -> list[Element]:
    return domain.findall("devices/interface")


def put(disk: Element, source: Source, disk_format: str) -> None:
    """Keep how the disk is driven; the format is what the bytes are, whatever the definition said."""
    check_source(source)
    check_format(disk_format)
    before = disk.find("driver")
    kept = {} if before is None else {str(key): value for key, value in before.attrib.items()}
    if before is not None:
        disk.remove(before)
    disk.set("type", kind_of(source))
    put_source(disk, source, disk_format)
    disk[0].attrib.update({key: value for key, value in kept.items() if key not in ("name", "type")})


def connect(interface: Element, card: CardSpec) -> None:
    check_card(card)
    kind = "network" if card.network else "bridge"
    interface.set("type", kind)
    for mac in interface.findall("mac"):
        interface.remove(mac)
    interface.insert(0, etree.Element("mac", address=card.mac))
    interface.insert(1, etree.Element("source", {kind: card.network or card.bridge}))
    if card.filter:
        etree.SubElement(interface, "filterref", filter=card.filter)


# --- what is taken


def take_parts(domain: Element) -> list[str]:
    """Leave out what is not known to be safe beside the devices; returns its names."""
    left_out = []
    for element in list(domain):
        if element.tag == "os":
            left_out += take_system(element)
        elif element.tag == "metadata":
            for part in list(element):
                if part.tag.rpartition("}")[0].removeprefix("{") not in NAMESPACES:
                    element.remove(part)
        elif element.tag == "genid":
            # To the guest it is another machine from now on.
            element.text = None
        elif element.tag not in TAKEN and element.tag != "devices":
            left_out.append(name_of(element))
            domain.remove(element)
    for key in set(domain.attrib) - {"type"}:
        del domain.attrib[key]
    return left_out


def take_system(system: Element) -> list[str]:
    """What it boots with: the host chooses the file of its firmware, by what it must be able to do."""
    left_out = []
    for loader in system.findall("loader"):
        if loader.get("type") == "pflash" and not system.get("firmware"):
            system.set("firmware", "efi")
        for key in set(loader.attrib) - {"secure"}:
            del loader.attrib[key]
        loader.text = None
        if not loader.attrib:
            system.remove(loader)
    for element in list(system):
        if element.tag not in OF_THE_SYSTEM:
            left_out += [] if element.tag == "nvram" else [f"os/{name_of(element)}"]
            system.remove(element)
    return left_out


def take_devices(devices: Element) -> list[str]:
    left_out = []
    for device in list(devices):
        kind = str(device.tag)
        if kind not in DEVICES or (kind in FIT and not FIT[kind](device)):
            left_out.append(name_of(device))
            devices.remove(device)
        else:
            left_out += [f"{kind}/{part.tag}" for part in device if part.tag in MISSED]
            take_device(device)
    return left_out


def take_device(device: Element) -> None:
    # Where a card was is asked for before it is placed anew.
    parts = words(DEVICES[str(device.tag)]) | ({"source"} if device.tag == "interface" else frozenset())
    for part in list(device):
        if part.tag not in parts:
            device.remove(part)
    for key in set(device.attrib) - ATTRIBUTES:
        del device.attrib[key]
    if device.tag == "disk":
        device.set("type", "file")
    if device.tag == "graphics":
        etree.SubElement(device, "listen", type="socket")

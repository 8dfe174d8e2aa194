"""libvirt's XML, read into types. An odd part never costs the rest: it is named in `unparsed`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TypeVar

from lxml import etree

from webvirt.hypervisor.errors import InvalidSpec
from webvirt.hypervisor.types import (
    METADATA_URI,
    DeviceInfo,
    DiskInfo,
    DomainInfo,
    GraphicsInfo,
    InterfaceInfo,
)
from webvirt.hypervisor.xml.handed import handed_devices

T = TypeVar("T")
Element = etree._Element

BYTES = {"b": 1, "bytes": 1}
BYTES |= {f"{letter}B": 1000**power for power, letter in enumerate("KMGTPE", 1)}
BYTES |= {f"{letter}iB": 1024**power for power, letter in enumerate("KMGTPE", 1)}
BYTES |= {"k": 1024, **{letter: 1024**power for power, letter in enumerate("KMGTPE", 1)}}
"""The units of libvirt's sizes."""
OSINFO_URI = "http://libosinfo.org/xmlns/libvirt/domain/1.0"
AGENT_CHANNEL = "org.qemu.guest_agent.0"
DESKTOP_CHANNEL = "com.redhat.spice.0"
"""By which the agent of a desktop finds whoever is at the other end: SPICE, or QEMU itself."""


def words(text: str) -> frozenset[str]:
    return frozenset(text.split())


TOP_LEVEL = words(
    "name uuid genid title description metadata memory currentMemory maxMemory vcpu vcpus iothreads iothreadids "
    "defaultiothread cputune numatune blkiotune memtune memoryBacking resource sysinfo os bootloader "
    "bootloader_args idmap features cpu clock pm perf keywrap launchSecurity seclabel devices on_poweroff "
    "on_reboot on_crash on_lockfailure throttlegroups"
)
DEVICES = words(
    "audio channel console controller crypto disk emulator filesystem graphics hostdev hub input interface iommu "
    "lease memballoon memory nvram panic parallel pstore redirdev redirfilter rng serial shmem smartcard sound "
    "tpm video vsock watchdog acpi"
)
OWN_FIELDS = words("disk interface graphics video emulator acpi")
"""Elements under <devices> that have a field of their own, or are nothing a person would call a device."""
SOURCE_NAMES = ("network", "bridge", "dev", "path", "address", "name")
"""Where a network interface says what it hangs on, by its type."""
MAIN_WORDS = ("type", "model", "mode", "bus")
PARTS = ("model", "target", "source", "backend")
PART_WORDS = ("type", "name", "model", "path", "file", "dir", "dev", "version", "address", "auto", "startport")


def tree_of(xml: str) -> Element:
    """The root of an XML text. Raises InvalidSpec for anything with a DOCTYPE, or that is not XML."""
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False, remove_comments=True, remove_pis=True
    )
    try:
        root = etree.fromstring(xml.encode(), parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise InvalidSpec(f"Not understood as XML: {error}") from None
    if root.getroottree().docinfo.internalDTD is not None:
        raise InvalidSpec("XML with a DOCTYPE is refused.")
    return root


def root_of(xml: str, tag: str) -> Element:
    """The root of an XML text that has to be a `<tag>`. Raises InvalidSpec."""
    root = tree_of(xml)
    if root.tag != tag:
        raise InvalidSpec(f"Not a {tag}: the XML begins with <{root.tag}>.")
    return root


def parse_domain(xml: str) -> DomainInfo:
    """A domain's definition. Raises InvalidSpec only when it is no XML, has a DOCTYPE or is no domain at all."""
    return DomainReader(root_of(xml, "domain")).read()


class Reader:
    """Reads a definition whose parts may fail alone; their names are left in `odd`."""

    def __init__(self, root: Element) -> None:
        self.root = root
        self.odd: list[str] = []

    def part(self, name: str, read: Callable[[], T], otherwise: T) -> T:
        try:
            return read()
        except (ValueError, KeyError):
            self.odd.append(name)
            return otherwise

    def each(self, path: str, read: Callable[[Element], T]) -> tuple[T, ...]:
        """Every element at a path, read; one that cannot be is left out and named."""
        found = [self.part(path, partial(read, element), None) for element in self.root.iterfind(path)]
        return tuple(item for item in found if item is not None)


class DomainReader(Reader):
    """Reads one domain."""

    def read(self) -> DomainInfo:
        root = self.root
        memory_max = self.part("memory", partial(kib_of, root.find("memory")), 0)
        vcpus_max = self.part("vcpu", lambda: int(text(root, "vcpu") or 1), 1)
        agent = root.find(f"devices/channel/target[@name='{AGENT_CHANNEL}']")
        info = DomainInfo(
            uuid=text(root, "uuid"),
            name=text(root, "name"),
            domain_type=root.get("type", ""),
            title=text(root, "title"),
            description=text(root, "description"),
            tags=tags_of(root),
            arch=attribute(root, "os/type", "arch"),
            machine=attribute(root, "os/type", "machine"),
            firmware=firmware_of(root),
            boot=tuple(element.get("dev", "") for element in root.iterfind("os/boot")),
            kernel=text(root, "os/kernel"),
            initrd=text(root, "os/initrd"),
            vcpus=self.part("vcpu", lambda: int(attribute(root, "vcpu", "current") or vcpus_max), vcpus_max),
            vcpus_max=vcpus_max,
            cpu_mode=attribute(root, "cpu", "mode"),
            cpu_model=text(root, "cpu/model"),
            memory_kib=self.part("currentMemory", partial(kib_of, root.find("currentMemory")), 0) or memory_max,
            memory_max_kib=self.part("maxMemory", partial(kib_of, root.find("maxMemory")), 0) or memory_max,
            disks=self.each("devices/disk", disk_of),
            interfaces=self.each("devices/interface", interface_of),
            graphics=self.each("devices/graphics", graphics_of),
            devices=tuple(device_of(element) for element in root.iterfind("devices/*") if is_listed(element)),
            handed=handed_devices(root),
            video=attribute(root, "devices/video/model", "type"),
            has_tablet=has_tablet(root),
            has_clipboard=has_clipboard(root),
            has_agent=agent is not None,
            agent_connected=agent is not None and agent.get("state") == "connected",
            os_id=attribute(root, f"metadata/{{{OSINFO_URI}}}libosinfo/{{{OSINFO_URI}}}os", "id"),
        )
        return replace(info, unparsed=tuple(dict.fromkeys([*self.odd, *unknown_parts(root)])))


def names_disk(xml: str, path: str, pool: str, volume: str) -> bool:
    """Whether a domain's disks, what they are based on, or what it boots directly, are this file or volume."""
    root = tree_of(xml)
    if path and path in (text(root, "os/kernel"), text(root, "os/initrd")):
        return True
    for source in root.iterfind("devices/disk//source"):
        if path and path in (source.get("file"), source.get("dev")):
            return True
        if volume and (source.get("pool"), source.get("volume")) == (pool, volume):
            return True
    return False


def text(root: Element, path: str) -> str:
    return (root.findtext(path) or "").strip()


def attribute(root: Element, path: str, name: str) -> str:
    element = root.find(path)
    return "" if element is None else element.get(name, "")


def required(element: Element, path: str, name: str) -> str:
    """An attribute without which the element makes no sense. Raises ValueError."""
    value = attribute(element, path, name)
    if not value:
        raise ValueError(f"{path}/@{name}")
    return value


def kib_of(element: Element | None) -> int:
    """A memory element in KiB, whatever its unit; 0 where there is none. Raises ValueError or KeyError."""
    if element is None:
        return 0
    return int(element.text or "") * BYTES[element.get("unit", "KiB")] // 1024


def unknown_parts(root: Element) -> list[str]:
    """Names of the elements that we know nothing of; they stay as they are."""
    strange = [name_of(element) for element in root if element.tag not in TOP_LEVEL]
    strange += [f"devices/{name_of(each)}" for each in root.iterfind("devices/*") if each.tag not in DEVICES]
    return strange


def name_of(element: Element) -> str:
    """The element's name as written, `prefix:name` where it has a namespace."""
    name = etree.QName(element).localname
    return f"{element.prefix}:{name}" if element.prefix else name


def tags_of(root: Element) -> tuple[str, ...]:
    tags = root.iterfind(f"metadata/{{{METADATA_URI}}}tags/{{*}}tag")
    return tuple(dict.fromkeys(tag.text.strip() for tag in tags if tag.text and tag.text.strip()))


def firmware_of(root: Element) -> str:
    is_efi = attribute(root, "os", "firmware") == "efi" or attribute(root, "os/loader", "type") == "pflash"
    return "efi" if is_efi else "bios"


def has_tablet(root: Element) -> bool:
    return root.find("devices/input[@type='tablet']") is not None


def has_clipboard(root: Element) -> bool:
    """Whether QEMU itself talks to the guest's agent and passes on what is copied, so that VNC carries it."""
    channels = root.iterfind("devices/channel[@type='qemu-vdagent']")
    return any(attribute(channel, "source/clipboard", "copypaste") == "yes" for channel in channels)


def disk_of(disk: Element) -> DiskInfo:
    kind = disk.get("type", "file")
    order = attribute(disk, "boot", "order")
    return DiskInfo(
        target=required(disk, "target", "dev"),
        device=disk.get("device", "disk"),
        bus=attribute(disk, "target", "bus"),
        type=kind,
        format=attribute(disk, "driver", "type"),
        source=disk_source(kind, disk.find("source")),
        readonly=disk.find("readonly") is not None,
        boot_order=int(order) if order.isdecimal() else None,
    )


def disk_source(kind: str, source: Element | None) -> str:
    """A path, a `pool/volume`, or a network address in words; "" where nothing is in the drive."""
    if source is None:
        return ""
    if kind == "volume":
        return f"{source.get('pool', '')}/{source.get('volume', '')}"
    if kind == "network":
        servers = ",".join(host.get("name", "") or host.get("socket", "") for host in source.iterfind("host"))
        return f"{source.get('protocol', '')}://{servers}/{source.get('name', '').lstrip('/')}"
    if kind == "nvme":
        address = source.find("address")
        return "" if address is None else f"nvme {pci_address(address)}"
    names = ("file", "dev", "dir", "path", "name")
    return next((source.get(name, "") for name in names if source.get(name)), "")


def interface_of(interface: Element) -> InterfaceInfo:
    source = interface.find("source")
    return InterfaceInfo(
        mac=required(interface, "mac", "address").lower(),
        type=interface.get("type", ""),
        source="" if source is None else interface_source(source),
        model=attribute(interface, "model", "type"),
        target=attribute(interface, "target", "dev"),
        link_up=attribute(interface, "link", "state") != "down",
        filter=attribute(interface, "filterref", "filter"),
    )


def interface_source(source: Element) -> str:
    address = source.find("address")
    if address is not None:
        return pci_address(address)
    return next((source.get(name, "") for name in SOURCE_NAMES if source.get(name)), "")


def graphics_of(graphics: Element) -> GraphicsInfo:
    port = graphics.get("port", "")
    return GraphicsInfo(
        type=required(graphics, ".", "type"),
        listen=graphics.get("listen") or attribute(graphics, "listen", "address"),
        port=int(port) if port.isdecimal() else None,
        socket=graphics.get("socket") or attribute(graphics, "listen", "socket"),
        has_password=graphics.get("passwd") is not None,
    )


def is_listed(device: Element) -> bool:
    """Whether it is a line in a list of hardware: the PCI topology is not."""
    return device.tag not in OWN_FIELDS and not (device.tag == "controller" and device.get("type") == "pci")


def device_of(device: Element) -> DeviceInfo:
    """A device in a few words: its type, model and bus, and what its parts name."""
    found = [device.get(name, "") for name in MAIN_WORDS]
    # Where libvirt itself puts the host's end at each start is no property of the device.
    of_the_moment = device.tag == "channel" or device.get("type") == "pty"
    for part in device.iterfind("*"):
        if part.tag in PARTS and not (of_the_moment and part.tag == "source"):
            found += part_words(part)
    return DeviceInfo(name_of(device), " ".join(dict.fromkeys(word for word in found if word)))


def part_words(part: Element) -> list[str]:
    """What a part of a device names: a path, an address, a size."""
    found = [part.get(name, "") for name in PART_WORDS]
    found += [pci_address(address) for address in part.iterfind("address")]
    found += [f"{(size.text or '').strip()} {size.get('unit', 'KiB')}" for size in part.iterfind("size")]
    return [*found, usb_id(part)]


def pci_address(address: Element) -> str:
    """A PCI address as `lspci` writes it; "" for an address of another kind."""
    parts = [address.get(name, "").removeprefix("0x") for name in ("domain", "bus", "slot", "function")]
    return f"{parts[0] or '0000'}:{parts[1]}:{parts[2]}.{parts[3]}" if parts[1] and parts[2] else ""


def usb_id(source: Element) -> str:
    """A USB device as `lsusb` writes it."""
    vendor, product = attribute(source, "vendor", "id"), attribute(source, "product", "id")
    return f"{vendor.removeprefix('0x')}:{product.removeprefix('0x')}" if vendor else ""

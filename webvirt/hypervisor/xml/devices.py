"""A host's devices and its own network interfaces, as libvirt tells them."""

from __future__ import annotations

from dataclasses import dataclass

from webvirt.hypervisor.types import HostDevice
from webvirt.hypervisor.xml.parse import Element, attribute, root_of, text

KINDS = {"pci": "pci", "usb_device": "usb", "mdev": "mdev", "scsi": "scsi"}
"""libvirt's capabilities whose devices a guest can be given, in our words."""
ADDRESSES = {
    "pci": (("domain", "bus", "slot", "function"), "{:04x}:{:02x}:{:02x}.{:x}"),
    "usb": (("bus", "device"), "{:03}:{:03}"),
    "scsi": (("host", "bus", "target", "lun"), "{}:{}:{}:{}"),
}
"""The numbers of an address, which libvirt writes decimal, and how lspci, lsusb and lsscsi write them."""
WIRELESS = "80211"
UNKNOWN_SPEED = 2**32 - 1
"""The kernel's -1, which libvirt hands on as a number without a sign."""


def parse_node_device(xml: str) -> HostDevice | None:
    """A device that a guest could be given; None for any other. Raises InvalidSpec when it is no device at all."""
    root = root_of(xml, "device")
    for capability in root.iterfind("capability"):
        kind = KINDS.get(capability.get("type", ""))
        if kind:
            return device_of(root, capability, kind)
    return None


def device_of(root: Element, capability: Element, kind: str) -> HostDevice:
    vendor, product = attribute(capability, "vendor", "id"), attribute(capability, "product", "id")
    group = attribute(capability, "iommuGroup", "number")
    names = (text(capability, "vendor"), text(capability, "product"), type_of(capability))
    types = capability.iterfind("capability[@type='mdev_types']/type")
    return HostDevice(
        name=text(root, "name"),
        kind=kind,
        description=" ".join(filter(None, names)),
        address=device_address(capability, kind),
        ids=f"{vendor.removeprefix('0x')}:{product.removeprefix('0x')}" if vendor and product else "",
        device_class=text(capability, "class"),
        driver=text(root, "driver/name"),
        parent=text(root, "parent"),
        iommu_group=int(group) if group.isdecimal() else None,
        mdev_types=tuple(each.get("id", "") for each in types),
        virtual_functions=len(capability.findall("capability[@type='virt_functions']/address")),
    )


def type_of(capability: Element) -> str:
    """Of a SCSI device its kind (disk, tape), of a mediated one its type."""
    return text(capability, "type") or attribute(capability, "type", "id")


def device_address(capability: Element, kind: str) -> str:
    """Of a mediated device its uuid; "" where libvirt tells no numbers."""
    if kind == "mdev":
        return text(capability, "uuid")
    parts, form = ADDRESSES[kind]
    numbers = [text(capability, part) for part in parts]
    return form.format(*map(int, numbers)) if all(map(str.isdecimal, numbers)) else ""


@dataclass(frozen=True)
class Card:
    """An interface as the device list tells it. `hardware` says that something real is behind it."""

    name: str
    mac: str
    up: bool
    speed_mbit: int
    wireless: bool
    hardware: bool


def parse_card(xml: str) -> Card | None:
    """A network interface of the device list; None for another device."""
    root = root_of(xml, "device")
    net = root.find("capability[@type='net']")
    if net is None:
        return None
    return Card(
        name=text(net, "interface"),
        mac=text(net, "address").lower(),
        up=attribute(net, "link", "state") == "up",
        speed_mbit=speed_of(net),
        wireless=net.find(f"capability[@type='{WIRELESS}']") is not None,
        hardware=text(root, "parent") != "computer",
    )


@dataclass(frozen=True)
class InterfaceConfig:
    """An interface as libvirt's interface driver tells it, with the ports of a bridge or bond."""

    name: str
    kind: str
    mac: str
    up: bool
    speed_mbit: int
    ports: tuple[InterfaceConfig, ...] = ()


def parse_interface(xml: str) -> InterfaceConfig:
    """The answer of `virInterfaceGetXMLDesc`. Raises InvalidSpec when it is none."""
    return config_of(root_of(xml, "interface"))


def config_of(interface: Element) -> InterfaceConfig:
    ports = (*interface.iterfind("bridge/interface"), *interface.iterfind("bond/interface"))
    return InterfaceConfig(
        name=interface.get("name", ""),
        kind=interface.get("type", ""),
        mac=attribute(interface, "mac", "address").lower(),
        up=attribute(interface, "link", "state") == "up",
        speed_mbit=speed_of(interface),
        ports=tuple(map(config_of, ports)),
    )


def speed_of(interface: Element) -> int:
    """In Mbit/s, 0 where it is not known."""
    speed = attribute(interface, "link", "speed")
    return int(speed) if speed.isdecimal() and int(speed) != UNKNOWN_SPEED else 0

"""Which of the host's devices a domain is given, found in its definition."""

from __future__ import annotations

from contextlib import suppress

from lxml import etree

from webvirt.hypervisor.types import HandedDevice

Element = etree._Element

ADAPTER = "scsi_host"
"""How libvirt calls a SCSI adapter of the host, before its number."""


def handed_devices(domain: Element) -> tuple[HandedDevice, ...]:
    """Those of `<hostdev>`, and the PCI devices behind cards and NVMe disks; each once, in the order of the XML.

    What is no single device of the host, or is named oddly, is left out.
    """
    sources = [(each.get("type", ""), each.find("source")) for each in domain.iterfind("devices/hostdev")]
    for path in ("interface[@type='hostdev']", "disk[@type='nvme']"):
        sources += [("pci", source) for source in domain.iterfind(f"devices/{path}/source")]
    found: list[HandedDevice] = []
    for kind, source in sources:
        with suppress(AttributeError, ValueError):
            found += handed(kind, source)
    return tuple(dict.fromkeys(found))


def handed(kind: str, source: Element | None) -> list[HandedDevice]:
    """The device of a `<source>`. Raises AttributeError or ValueError for a part that is missing or no number."""
    address = None if source is None else source.find("address")
    if source is not None and address is None and kind == "usb":
        vendor, product = numbers([source.find("vendor"), source.find("product")], ["id"], base=16)
        return [HandedDevice("usb", ids=f"{vendor:04x}:{product:04x}")]
    if source is None or address is None:
        return []
    if kind == "pci":
        parts = numbers([address], ["domain", "bus", "slot", "function"], base=16)
        return [HandedDevice("pci", "{:04x}:{:02x}:{:02x}.{:x}".format(*parts))]
    if kind == "usb":
        return [HandedDevice("usb", "{:03}:{:03}".format(*numbers([address], ["bus", "device"])))]
    if kind == "scsi":
        adapter = int(source.find("adapter").get("name", "").removeprefix(ADAPTER))  # type: ignore[union-attr]
        return [HandedDevice("scsi", ":".join(map(str, [adapter, *numbers([address], ["bus", "target", "unit"])])))]
    return [HandedDevice("mdev", address.get("uuid", ""))] if kind == "mdev" else []


def numbers(elements: list[Element | None], names: list[str], base: int = 10) -> list[int]:
    """These attributes of these elements as numbers; libvirt always writes a PCI address and USB ids hexadecimal."""
    return [int(each.get(name, ""), base) for each in elements for name in names]  # type: ignore[union-attr]

"""Which of the host's devices a definition hands to its guest."""

from __future__ import annotations

import pytest

from webvirt.hypervisor.types import HandedDevice
from webvirt.hypervisor.xml.devices import parse_node_device
from webvirt.hypervisor.xml.parse import parse_domain

PCI = "<address domain='0x0000' bus='0x3b' slot='0x00' function='0x1'/>"


def handed(devices: str) -> list[HandedDevice]:
    return [*parse_domain(f"<domain><name>d</name><devices>{devices}</devices></domain>").handed]


def hostdev(kind: str, source: str) -> str:
    return f"<hostdev mode='subsystem' type='{kind}'><source>{source}</source></hostdev>"


@pytest.mark.parametrize(
    ("devices", "found"),
    [
        (hostdev("pci", PCI), HandedDevice("pci", "0000:3b:00.1")),
        (hostdev("usb", "<vendor id='0x046d'/><product id='0xc52b'/>"), HandedDevice("usb", ids="046d:c52b")),
        (
            hostdev("usb", "<vendor id='0x046d'/><product id='0xc52b'/><address bus='1' device='12'/>"),
            HandedDevice("usb", "001:012"),
        ),
        (
            hostdev("scsi", "<adapter name='scsi_host2'/><address bus='0' target='3' unit='1'/>"),
            HandedDevice("scsi", "2:0:3:1"),
        ),
        (
            hostdev("mdev", "<address uuid='c2177883-f1bb-47f0-914d-32a22e3a8804'/>"),
            HandedDevice("mdev", "c2177883-f1bb-47f0-914d-32a22e3a8804"),
        ),
        (
            f"<interface type='hostdev'><mac address='52:54:00:00:00:01'/><source>{PCI}</source></interface>",
            HandedDevice("pci", "0000:3b:00.1"),
        ),
        (
            f"<disk type='nvme'><target dev='vda'/><source namespace='1'>{PCI}</source></disk>",
            HandedDevice("pci", "0000:3b:00.1"),
        ),
    ],
)
def test_a_device_is_found_by_the_words_of_its_list(devices: str, found: HandedDevice) -> None:
    assert handed(devices) == [found]


def test_one_that_stands_there_twice_is_one() -> None:
    assert handed(hostdev("pci", PCI) * 2) == [HandedDevice("pci", "0000:3b:00.1")]


@pytest.mark.parametrize(
    "devices",
    [
        "<hostdev/>",
        hostdev("pci", ""),
        hostdev("pci", "<address bus='0xzz' slot='0' function='0' domain='0'/>"),
        hostdev("pci", "<address bus='0x01'/>"),
        hostdev("usb", ""),
        hostdev("usb", "<vendor id='0x046d'/>"),
        hostdev("scsi", "<address bus='0' target='0' unit='0'/>"),
        hostdev("scsi", "<adapter name='fc'/><address bus='0' target='0' unit='0'/>"),
        "<hostdev mode='subsystem' type='scsi'><source protocol='iscsi' name='iqn.x/1'/></hostdev>",
        "<hostdev mode='capabilities' type='misc'><source><char>/dev/x</char></source></hostdev>",
    ],
)
def test_what_is_no_single_device_or_odd_is_left_out(devices: str) -> None:
    assert handed(devices + hostdev("pci", PCI)) == [HandedDevice("pci", "0000:3b:00.1")]


def test_its_address_is_that_of_the_hosts_list() -> None:
    """Both are written by different parts of libvirt: hexadecimal in one, decimal in the other."""
    device = parse_node_device(
        "<device><name>pci_0000_3b_00_1</name><capability type='pci'><domain>0</domain><bus>59</bus><slot>0</slot>"
        "<function>1</function></capability></device>"
    )
    assert device is not None
    assert handed(hostdev("pci", PCI)) == [HandedDevice(device.kind, device.address)]

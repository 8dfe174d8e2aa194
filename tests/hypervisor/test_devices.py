"""The host's devices and interfaces: what libvirt tells of each kind, and this machine's own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import libvirt
import pytest

from tests.fakes import FakeConnection
from tests.hypervisor.subjects import HERE, SECOND, TEST_HOST, THERE
from tests.lab.lab import SecondHost, run
from webvirt.hypervisor import devices
from webvirt.hypervisor.connection import Connection, connect
from webvirt.hypervisor.devices import merged
from webvirt.hypervisor.errors import HostUnreachable, InvalidSpec
from webvirt.hypervisor.types import HostDevice, HostInterface
from webvirt.hypervisor.xml.devices import parse_card, parse_interface, parse_node_device
from webvirt.services.phrases import INTERFACES

# --- devices

PCI = """<device>
  <name>pci_0000_af_10_1</name>
  <path>/sys/devices/pci0000:ae/0000:ae:00.0/0000:af:10.1</path>
  <parent>pci_0000_ae_00_0</parent>
  <driver><name>ixgbe</name></driver>
  <capability type='pci'>
    <class>0x020000</class>
    <domain>0</domain><bus>175</bus><slot>16</slot><function>1</function>
    <product id='0x10fb'>82599ES 10-Gigabit SFI/SFP+ Network Connection</product>
    <vendor id='0x8086'>Intel Corporation</vendor>
    <capability type='virt_functions' maxCount='63'>
      <address domain='0x0000' bus='0xaf' slot='0x10' function='0x3'/>
      <address domain='0x0000' bus='0xaf' slot='0x10' function='0x5'/>
    </capability>
    <capability type='mdev_types'>
      <type id='nvidia-11'><name>GRID M60-0B</name><deviceAPI>vfio-pci</deviceAPI></type>
      <type id='nvidia-12'><name>GRID M60-0Q</name><deviceAPI>vfio-pci</deviceAPI></type>
    </capability>
    <iommuGroup number='0'>
      <address domain='0x0000' bus='0xaf' slot='0x10' function='0x1'/>
    </iommuGroup>
  </capability>
</device>"""
USB = """<device>
  <name>usb_1_2</name><parent>usb_usb1</parent><driver><name>usb</name></driver>
  <capability type='usb_device'>
    <bus>1</bus><device>12</device>
    <product id='0x5591'>Ultra Flair</product><vendor id='0x0781'>SanDisk Corp.</vendor>
  </capability>
</device>"""
MDEV = """<device>
  <name>mdev_4b20d080_1b54_4048_85b3_a6a62d165c01_0000_06_00_0</name>
  <parent>pci_0000_06_00_0</parent><driver><name>vfio_mdev</name></driver>
  <capability type='mdev'>
    <type id='nvidia-11'/><uuid>4b20d080-1b54-4048-85b3-a6a62d165c01</uuid>
    <parent_addr>0000:06:00.0</parent_addr><iommuGroup number='12'/>
  </capability>
</device>"""
SCSI = """<device>
  <name>scsi_2_0_1_0</name><parent>scsi_target2_0_1</parent><driver><name>sd</name></driver>
  <capability type='scsi'><host>2</host><bus>0</bus><target>1</target><lun>0</lun><type>disk</type></capability>
</device>"""
NET = """<device>
  <name>net_{name}_52_54</name><parent>{parent}</parent>
  <capability type='net'>
    <interface>{name}</interface><address>{mac}</address><link speed='{speed}' state='{state}'/>
    <capability type='{kind}'/>
  </capability>
</device>"""
DEVICES = {
    PCI: HostDevice(
        name="pci_0000_af_10_1",
        kind="pci",
        description="Intel Corporation 82599ES 10-Gigabit SFI/SFP+ Network Connection",
        address="0000:af:10.1",
        ids="8086:10fb",
        device_class="0x020000",
        driver="ixgbe",
        parent="pci_0000_ae_00_0",
        iommu_group=0,
        mdev_types=("nvidia-11", "nvidia-12"),
        virtual_functions=2,
    ),
    USB: HostDevice(
        name="usb_1_2",
        kind="usb",
        description="SanDisk Corp. Ultra Flair",
        address="001:012",
        ids="0781:5591",
        driver="usb",
        parent="usb_usb1",
    ),
    MDEV: HostDevice(
        name="mdev_4b20d080_1b54_4048_85b3_a6a62d165c01_0000_06_00_0",
        kind="mdev",
        description="nvidia-11",
        address="4b20d080-1b54-4048-85b3-a6a62d165c01",
        driver="vfio_mdev",
        parent="pci_0000_06_00_0",
        iommu_group=12,
    ),
    SCSI: HostDevice(
        name="scsi_2_0_1_0",
        kind="scsi",
        description="disk",
        address="2:0:1:0",
        driver="sd",
        parent="scsi_target2_0_1",
    ),
}


@pytest.mark.parametrize(("xml", "device"), DEVICES.items(), ids=[device.kind for device in DEVICES.values()])
def test_a_device_is_read(xml: str, device: HostDevice) -> None:
    assert parse_node_device(xml) == device


def test_what_no_guest_can_be_given_is_none() -> None:
    for kind in ("system", "net", "storage", "scsi_host", "usb", "telepathy"):
        assert parse_node_device(f"<device><name>x</name><capability type='{kind}'/></device>") is None
    with pytest.raises(InvalidSpec):
        parse_node_device("<domain/>")


def test_an_odd_device_is_told_all_the_same() -> None:
    odd = PCI.replace("<bus>175</bus>", "<bus>many</bus>").replace("number='0'", "number='x'")
    device = parse_node_device(odd)
    assert device is not None
    assert (device.name, device.address, device.iommu_group) == ("pci_0000_af_10_1", "", None)


@pytest.fixture
def here() -> Iterator[Connection]:
    with connect(HERE) as connection:
        yield connection


def test_the_pci_devices_of_this_machine(here: Connection) -> None:
    """libvirt tells them as the kernel does."""
    found = {device.address: device for device in here.devices.list() if device.kind == "pci"}
    there = {path.name: path for path in Path("/sys/bus/pci/devices").iterdir()}
    assert found.keys() == there.keys()
    for address, device in found.items():
        vendor, product = ((there[address] / name).read_text().strip() for name in ("vendor", "device"))
        assert device.ids == f"{vendor}:{product}".replace("0x", "")
        assert device.device_class == (there[address] / "class").read_text().strip()
        group = there[address] / "iommu_group"
        assert device.iommu_group == (int(group.resolve().name) if group.exists() else None)


def test_a_device_that_is_pulled_out_meanwhile_is_left_out(here: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    before = here.devices.list()
    read = libvirt.virNodeDevice.XMLDesc

    def gone(device: libvirt.virNodeDevice, flags: int = 0) -> str:
        if device.name() == before[0].name:
            error = libvirt.libvirtError("no node device")
            error.err = (libvirt.VIR_ERR_NO_NODE_DEVICE, libvirt.VIR_FROM_NODEDEV, "no node device")
            raise error
        return str(read(device, flags))

    monkeypatch.setattr(libvirt.virNodeDevice, "XMLDesc", gone)
    assert here.devices.list() == before[1:]


def test_a_failed_read_is_no_empty_list() -> None:
    connection = connect(HERE)
    connection.close()
    for call in (connection.devices.list, connection.devices.interfaces):
        with pytest.raises(HostUnreachable):
            call()


# --- interfaces

BRIDGE = """<interface type='bridge' name='br0'>
  <bridge stp='off' delay='0'>
    <interface type='bond' name='bond0'>
      <bond mode='active-backup'>
        <interface type='ethernet' name='eth0'>
          <link speed='10000' state='up'/><mac address='52:54:00:00:40:00'/>
        </interface>
        <interface type='ethernet' name='eth1'><link state='down'/></interface>
      </bond>
    </interface>
    <interface type='ethernet' name='vnet3'><mac address='fe:54:00:00:40:03'/></interface>
  </bridge>
</interface>"""
VLAN = """<interface type='vlan' name='eth2.42'>
  <link speed='1000' state='up'/><mac address='52:54:00:00:40:02'/><vlan tag='42'><interface name='eth2'/></vlan>
</interface>"""


def net(name: str, parent: str = "computer", mac: str = "52:54:00:00:40:FF", **parts: str) -> str:
    return NET.format(name=name, parent=parent, mac=mac, **{"speed": "", "state": "down", "kind": "80203", **parts})


def lines(cards: list[str], configs: list[str]) -> dict[str, HostInterface]:
    read = [card for card in map(parse_card, cards) if card is not None]
    return {line.name: line for line in merged(read, map(parse_interface, configs))}


def test_interfaces_are_told_with_what_they_are_part_of() -> None:
    cards = [
        net("lo", mac="00:00:00:00:00:00", state="unknown"),
        net("br0", mac="52:54:00:00:40:00", state="up", speed="10000"),
        net("eth0", "pci_0000_00_03_0", "52:54:00:00:40:00", state="up", speed="10000"),
        net("eth2", "pci_0000_00_04_0", speed="4294967295"),
        net("wlan0", "pci_0000_00_05_0", kind="80211", state="up", speed="300"),
        net("vnet3", mac="fe:54:00:00:40:03"),
        net("mine7", mac="fe:54:00:00:40:07"),
        net("veth1"),
    ]
    found = lines(cards, [BRIDGE, VLAN])
    assert {name: (line.kind, line.parent, line.why_not) for name, line in found.items()} == {
        "lo": ("other", "", devices.LOOPBACK),
        "br0": ("bridge", "", ""),
        "bond0": ("bond", "br0", devices.IS_PORT),
        "eth0": ("ethernet", "bond0", devices.IS_PORT),
        "eth1": ("other", "bond0", devices.IS_PORT),
        "eth2": ("ethernet", "", ""),
        "eth2.42": ("vlan", "", ""),
        "wlan0": ("ethernet", "", devices.IS_WIRELESS),
        "vnet3": ("tap", "br0", devices.GUESTS_OWN),
        "mine7": ("tap", "", devices.GUESTS_OWN),
        "veth1": ("other", "", ""),
    }
    assert found["eth0"] == HostInterface(
        "eth0", "ethernet", "52:54:00:00:40:00", True, 10000, "bond0", devices.IS_PORT
    )
    assert (found["eth2"].mac, found["eth2"].up, found["eth2"].speed_mbit) == ("52:54:00:00:40:ff", False, 0)
    assert (found["eth2.42"].up, found["eth2.42"].speed_mbit) == (True, 1000)


def test_only_a_card_is_a_card() -> None:
    assert parse_card(PCI) is None


def test_the_sentences_are_those_that_are_translated() -> None:
    said = {devices.LOOPBACK, devices.GUESTS_OWN, devices.IS_WIRELESS, devices.IS_PORT}
    assert said == set(INTERFACES)


def test_the_interfaces_of_this_machine(here: Connection) -> None:
    found = {line.name: line for line in here.devices.interfaces()}
    there = {path.name: path for path in Path("/sys/class/net").iterdir()}
    assert found["lo"].why_not == devices.LOOPBACK
    real = {name: path for name, path in there.items() if "/virtual/" not in str(path.resolve())}
    assert {name for name, line in found.items() if line.kind == "ethernet"} == real.keys()
    for name, path in real.items():
        assert found[name].mac == (path / "address").read_text().strip()


def test_without_an_interface_driver_the_device_list_has_to_do(
    here: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        error = libvirt.libvirtError("no interface driver")
        error.err = (libvirt.VIR_ERR_NO_SUPPORT, libvirt.VIR_FROM_INTERFACE, "no interface driver")
        raise error

    kinds = {line.name: line.kind for line in here.devices.interfaces()}
    monkeypatch.setattr(libvirt.virConnect, "listAllInterfaces", refuse)
    alone = {line.name: line.kind for line in here.devices.interfaces()}
    assert "lo" in alone
    assert alone.items() <= kinds.items()


def test_a_bridge_and_its_port_on_a_real_host(second: SecondHost) -> None:
    inside = ["ip", "-n", f"wvhost{SECOND.n}", "link"]
    run(*inside, "add", "wvh-br", "type", "bridge")
    run(*inside, "add", "wvh-a", "type", "veth", "peer", "name", "wvh-b")
    run(*inside, "set", "wvh-a", "master", "wvh-br", "up")
    try:
        with connect(THERE) as connection:
            found = {line.name: line for line in connection.devices.interfaces()}
    finally:
        run(*inside, "del", "wvh-a")
        run(*inside, "del", "wvh-br")
    assert (found["wvh-br"].kind, found["wvh-br"].why_not) == ("bridge", "")
    assert (found["wvh-a"].parent, found["wvh-a"].why_not) == ("wvh-br", devices.IS_PORT)
    assert found["wvh-b"].parent == ""
    assert re.fullmatch("([0-9a-f]{2}:){5}[0-9a-f]{2}", found["wvh-b"].mac)


def test_the_fake_and_the_test_driver_tell_the_same_things() -> None:
    with connect(TEST_HOST) as connection:
        assert [line.name for line in connection.devices.interfaces()] == ["eth1"]
        assert connection.devices.list() == []
    with FakeConnection() as fake:
        fake.devices.known.append(DEVICES[USB])
        fake.devices.own.append(HostInterface("eth0", "ethernet"))
        assert fake.devices.list() == [DEVICES[USB]]
        assert fake.devices.interfaces() == [HostInterface("eth0", "ethernet")]
        fake.fails_with = HostUnreachable("gone")
        for call in (fake.devices.list, fake.devices.interfaces):
            with pytest.raises(HostUnreachable):
                call()

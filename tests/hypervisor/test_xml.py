"""Domain definitions read into types: goldens beside their expected values, and what must never get through."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import libvirt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from webvirt.hypervisor.errors import InvalidSpec
from webvirt.hypervisor.types import DeviceInfo, DiskInfo, DomainInfo, GraphicsInfo, HandedDevice, InterfaceInfo
from webvirt.hypervisor.xml.capabilities import DomainCapabilities, parse_capabilities, parse_domain_capabilities
from webvirt.hypervisor.xml.parse import parse_domain

GOLDENS = sorted(Path(__file__).with_name("xml").glob("*.xml"))
NOT_DEFINABLE = {"odd": "libvirt refuses the very things it is odd for"}


def expected(golden: Path) -> Any:
    return json.loads(golden.with_suffix(".json").read_text())


def as_json(info: DomainInfo) -> Any:
    return json.loads(json.dumps(asdict(info)))


@pytest.mark.parametrize("golden", GOLDENS, ids=lambda golden: golden.stem)
def test_golden(golden: Path) -> None:
    assert as_json(parse_domain(golden.read_text())) == expected(golden)


@pytest.mark.parametrize("kind", [DomainInfo, DiskInfo, InterfaceInfo, GraphicsInfo, DeviceInfo, HandedDevice])
def test_every_field_is_told_by_some_golden(kind: type) -> None:
    """A field that no golden sets could be read wrong without anybody noticing."""
    seen: set[str] = set()
    for golden in GOLDENS:
        for part in parts_of(parse_domain(golden.read_text()), kind):
            seen |= {field.name for field in fields(kind) if getattr(part, field.name) not in (field.default, "", ())}
    assert seen == {field.name for field in fields(kind)}


def parts_of(info: DomainInfo, kind: type) -> Iterator[Any]:
    for part in (info, *info.disks, *info.interfaces, *info.graphics, *info.devices, *info.handed):
        if isinstance(part, kind):
            yield part


@pytest.fixture(scope="module")
def imagined() -> Iterator[Any]:
    connection = libvirt.open("test:///default")
    yield connection
    connection.close()


@pytest.mark.parametrize(
    "golden", [golden for golden in GOLDENS if golden.stem not in NOT_DEFINABLE], ids=lambda golden: golden.stem
)
def test_libvirt_takes_the_golden_and_gives_it_back(golden: Path, imagined: Any) -> None:
    """The goldens are no inventions: what libvirt makes of one reads the same."""
    domain = imagined.defineXML(golden.read_text())
    try:
        flags = libvirt.VIR_DOMAIN_XML_INACTIVE | libvirt.VIR_DOMAIN_XML_SECURE
        back, golden_info = parse_domain(domain.XMLDesc(flags)), parse_domain(golden.read_text())
    finally:
        domain.undefine()
    same = ("uuid", "name", "title", "description", "tags", "firmware", "boot", "kernel", "vcpus", "vcpus_max", "os_id")
    for name in (*same, "memory_kib", "disks", "has_tablet", "has_clipboard", "has_agent", "unparsed"):
        assert getattr(back, name) == getattr(golden_info, name), name
    assert [each.mac for each in back.interfaces] == [each.mac for each in golden_info.interfaces]
    assert [each.has_password for each in back.graphics] == [each.has_password for each in golden_info.graphics]


def test_the_goldens_left_out_are_refused(imagined: Any) -> None:
    for name in NOT_DEFINABLE:
        with pytest.raises(libvirt.libvirtError):
            imagined.defineXML(Path(__file__).with_name("xml").joinpath(f"{name}.xml").read_text())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no xml",
        "<domain>",
        "<network/>",
        "<!DOCTYPE domain><domain/>",
        '<!DOCTYPE domain SYSTEM "file:///etc/hostname"><domain/>',
        '<!DOCTYPE d [<!ENTITY name "evil">]><domain><name>&name;</name></domain>',
        '<!DOCTYPE d [<!ENTITY file SYSTEM "file:///etc/hostname">]><domain><name>&file;</name></domain>',
        "<domain><name>\ud800</name></domain>",
    ],
)
def test_what_is_no_domain_is_refused(text: str) -> None:
    with pytest.raises(InvalidSpec):
        parse_domain(text)


TAGS = ["domain", "memory", "vcpu", "os", "devices", "disk", "interface", "graphics", "target", "source", "channel"]
NAMES = ["type", "unit", "current", "dev", "port", "order", "address", "state", "name"]


def grown(tag: str, attributes: dict[str, str], text: str, inner: list[Any]) -> Any:
    element = etree.Element(tag, attributes)
    element.text = text
    element.extend(inner)
    return element


ELEMENTS = st.recursive(
    st.sampled_from(TAGS).map(etree.Element),
    lambda children: st.builds(
        grown,
        st.sampled_from(TAGS),
        st.dictionaries(st.sampled_from(NAMES), st.sampled_from(["", "-1", "0", "x", "٣", "9" * 30, "vnc", "pci"])),
        st.sampled_from(["", " ", "x", "1", "-5", "1e3", "٣"]),
        st.lists(children, max_size=4),
    ),
    max_leaves=15,
)


@given(ELEMENTS)
def test_no_oddity_costs_the_rest(element: Any) -> None:
    root = etree.Element("domain")
    etree.SubElement(root, "name").text = "kept"
    root.append(element)
    assert parse_domain(etree.tostring(root, encoding="unicode")).name == "kept"


CAPABILITIES = """<capabilities>
 <host><uuid>u</uuid><cpu><arch>x86_64</arch><model>EPYC</model><vendor>AMD</vendor><feature name='svm'/></cpu>
 <iommu support='yes'/></host>
 <guest><arch name='i686'><emulator>/usr/bin/qemu-i386</emulator><machine>pc-1.0</machine>
  <domain type='qemu'/></arch></guest>
 <guest><arch name='x86_64'><emulator>/usr/bin/qemu</emulator>
  <machine>pc-q35-4.2</machine><machine>pc-q35-7.2</machine><machine canonical='pc-q35-7.2'>q35</machine>
  <domain type='qemu'/><domain type='kvm'><emulator>/usr/bin/qemu-kvm</emulator></domain></arch></guest>
</capabilities>"""


def test_capabilities() -> None:
    found = parse_capabilities(CAPABILITIES)
    assert (found.uuid, found.arch, found.cpu_model, found.iommu) == ("u", "x86_64", "AMD EPYC", True)
    assert found.cpu_features == {"svm"}
    assert found.domain_types == ("qemu", "kvm")
    assert found.machine_types == ("q35", "pc-q35-7.2", "pc-q35-4.2"), "aliases first, then the newest"
    assert found.cpu_xml.startswith("<cpu><arch>x86_64</arch>")
    assert found.emulators == ("/usr/bin/qemu", "/usr/bin/qemu-kvm"), "those of the host's own architecture"


def test_domain_capabilities() -> None:
    full = """<domainCapabilities><path>/usr/bin/qemu</path><domain>kvm</domain><vcpu max='288'/>
    <os><enum name='firmware'><value>efi</value></enum>
    <loader><enum name='secure'><value>yes</value></enum></loader></os>
    <cpu><mode name='host-passthrough' supported='yes'/><mode name='maximum' supported='no'/>
     <mode name='host-model' supported='yes'><feature policy='require' name='vmx'/></mode>
     <mode name='custom' supported='yes'><model usable='yes'>EPYC</model></mode></cpu>
    <devices><disk supported='yes'><enum name='diskDevice'><value>disk</value></enum>
      <enum name='bus'><value>fdc</value><value>virtio</value></enum></disk>
     <video supported='yes'><enum name='modelType'><value>vga</value></enum></video>
     <tpm supported='yes'><enum name='backendModel'><value>emulator</value></enum></tpm></devices>
    </domainCapabilities>"""
    assert parse_domain_capabilities(full) == DomainCapabilities(
        efi=True,
        secure_boot=True,
        tpm=True,
        nested=True,
        type="kvm",
        emulator="/usr/bin/qemu",
        vcpus_max=288,
        cpu_modes=("host-passthrough", "host-model"),
        disk_buses=("fdc", "virtio"),
        video_models=("vga",),
    )
    bare = parse_domain_capabilities("<domainCapabilities><domain>qemu</domain></domainCapabilities>")
    assert bare == DomainCapabilities(efi=False, secure_boot=False, tpm=False, nested=False, type="qemu")
    refused = full.replace("supported='yes'", "supported='no'")
    assert parse_domain_capabilities(refused) == DomainCapabilities(
        True, True, False, True, "kvm", "/usr/bin/qemu", vcpus_max=288
    )

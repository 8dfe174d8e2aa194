"""What envelopes and tars of others tell, and that none of them costs more than a sentence."""

from __future__ import annotations

import io
import tarfile
from contextlib import suppress
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.appliances import HYPERV, VIRTUALBOX, VMWARE, manifest_of, small_envelope, tar_of
from webvirt.services import appliances, ovf, vhdx
from webvirt.services.appliances import Contents, Read
from webvirt.services.ovf import Appliance, Card, Disk, NotUnderstood, envelope_of, machine_of

GIB = 2**30


def read_of(data: bytes) -> Read:
    return lambda at, length: data[at : at + length]


def contents(data: bytes, name: str = "a.ova") -> Contents:
    return appliances.contents_of(read_of(data), len(data), name)


# --- envelopes


def test_an_envelope_of_vmware() -> None:
    found = machine_of(VMWARE.encode())
    assert found == Appliance(
        name="shop",
        memory_mib=8192,
        vcpus=4,
        firmware="efi",
        os="debian12",
        disks=(
            Disk("shop-disk1.vmdk", "vmdk", 16 * GIB, "scsi"),
            Disk("shop-disk2.vmdk", "vmdk", 4 * GIB, "scsi"),
            Disk("", "", GIB, "sata"),
        ),
        cards=(Card("VM Network", "vmxnet3"),),
        notes=("It comes without this part: CD/DVD drive 1.",),
    )


def test_an_envelope_of_virtualbox() -> None:
    found = machine_of(VIRTUALBOX.encode())
    assert found == Appliance(
        name="old",
        memory_mib=2048,
        vcpus=2,
        os="win7",
        disks=(Disk("old-disk001.vmdk", "vmdk", 20 * GIB, "ide"),),
        cards=(Card("NAT", "e1000"),),
    )


def test_an_envelope_of_hyper_v() -> None:
    found = machine_of(HYPERV.encode())
    assert (found.name, found.firmware, found.memory_mib) == ("app server", "efi", 1024)
    # The file is named by itself, so that how large the disk is it tells itself.
    assert found.disks == (Disk("app.vhdx", "vhdx", 0, ""),)


@pytest.mark.parametrize(
    ("before", "after", "firmware"), [("efi", "bios", "bios"), ("efi", "efi", "efi"), ("false", "true", "secure")]
)
def test_firmware(before: str, after: str, firmware: str) -> None:
    text = VMWARE.replace(f'vmw:value="{before}"', f'vmw:value="{after}"')
    assert machine_of(text.encode()).firmware == firmware


@pytest.mark.parametrize(
    ("word", "found"),
    [
        ("windows9_64Guest", "win10"),
        ("windows2019srvNext_64Guest", "win2k22"),
        ("windows11_64Guest", "win11"),
        ("rhel9_64Guest", "rhel9.0"),
        ("Ubuntu22_LTS_64", "ubuntu22.04"),
        ("Debian12_64", "debian12"),
        ("otherLinux64Guest", ""),
        ("x" * 100_000, ""),
    ],
)
def test_systems_by_the_names_of_others(word: str, found: str) -> None:
    assert ovf.system_named(word) == found


def test_several_machines_are_told() -> None:
    again = VMWARE.replace("</VirtualSystem>", '</VirtualSystem><VirtualSystem ovf:id="b"/>')
    assert "It holds 2 machines: only the first, shop, is read." in machine_of(again.encode()).notes


LAUGHS = '<!DOCTYPE e [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">]>'
BAD = {
    "entities": (VMWARE.replace("<Envelope", f"{LAUGHS}<Envelope", 1), "defines words of its own"),
    "no XML": ("<Envelope>", "no XML"),
    "another XML": ("<domain/>", "no OVF envelope"),
    "no machine": ("<Envelope/>", "describes no machine"),
    "a path": (VMWARE.replace("shop-disk1.vmdk", "../../etc/shadow"), "no plain one"),
    "an absolute path": (VMWARE.replace("shop-disk1.vmdk", "/dev/sda"), "no plain one"),
    "the web": (VMWARE.replace("shop-disk1.vmdk", "http://192.0.2.1/x"), "no plain one"),
    "compressed": (VMWARE.replace('ovf:id="file1"', 'ovf:id="file1" ovf:compression="gzip"'), "compressed"),
    "a difference": (VMWARE.replace('ovf:diskId="vmdisk1"', 'ovf:diskId="vmdisk1" ovf:parentRef="b"'), "based on"),
    "units of nobody": (VMWARE.replace("MegaBytes", "Furlongs"), "units"),
    "deep": ("<Envelope>" + "<a>" * 1000 + "</a>" * 1000 + "</Envelope>", "larger than any"),
    "wide": ("<Envelope>" + "<a/>" * 30_000 + "</Envelope>", "larger than any"),
    "long": (VMWARE + " " * ovf.LARGEST, "larger than any"),
    "UTF-16": (VMWARE.encode("utf-16").decode("latin-1"), "no XML"),
}


@pytest.mark.parametrize("bad", BAD)
def test_what_is_wrong_with_an_envelope_is_said(bad: str) -> None:
    text, words = BAD[bad]
    with pytest.raises(NotUnderstood, match=words):
        machine_of(text.encode("latin-1" if bad == "UTF-16" else "utf-8"))


@given(st.binary(max_size=200))
def test_any_bytes_are_a_machine_or_not_understood(data: bytes) -> None:
    with suppress(NotUnderstood):
        assert isinstance(machine_of(data), Appliance)


@given(st.data())
def test_any_envelope_with_parts_changed_is_a_machine_or_not_understood(data: st.DataObject) -> None:
    """An attribute or text of it replaced by anything."""
    root = ET.fromstring(data.draw(st.sampled_from((VMWARE, VIRTUALBOX, HYPERV))))
    element = data.draw(st.sampled_from(list(root.iter())))
    value = data.draw(st.text(st.characters(min_codepoint=32, max_codepoint=0xD7FF), max_size=30))
    if element.attrib:
        element.set(data.draw(st.sampled_from(sorted(element.attrib))), value)
    else:
        element.text = value
    try:
        found = machine_of(ET.tostring(root))
    except NotUnderstood:
        return
    assert all(not disk.file or ovf.is_plain(disk.file) for disk in found.disks)
    assert found.name.isprintable()
    assert appliances.from_json(appliances.as_json(found)) == found


words = st.text(st.characters(codec="ascii", categories=("Ll", "Nd")), min_size=1, max_size=12)
disks = st.builds(
    Disk,
    st.just(""),
    st.sampled_from(["qcow2", "vmdk"]),
    st.integers(1, 2**45),
    st.sampled_from(["ide", "scsi", "sata", "virtio"]),
)


@given(
    st.builds(
        Appliance,
        words,
        st.integers(1, 2**20),
        st.integers(1, 256),
        st.sampled_from(["bios", "efi"]),
        disks=st.lists(disks, max_size=5).map(
            lambda many: tuple(Disk(f"d{at}.x", d.format, d.capacity, d.bus) for at, d in enumerate(many))
        ),
        cards=st.lists(st.builds(Card, words, words), max_size=4).map(tuple),
    )
)
def test_what_is_written_is_read_the_same(given_: Appliance) -> None:
    found = machine_of(envelope_of(given_, {disk.file: 1 for disk in given_.disks}))
    # A disk's place is by its controller.
    assert sorted(found.disks, key=lambda disk: disk.file) == list(given_.disks)
    assert (found.name, found.memory_mib, found.vcpus, found.firmware, found.cards) == (
        given_.name,
        given_.memory_mib,
        given_.vcpus,
        given_.firmware,
        given_.cards,
    )


def test_what_is_written_for_others_is_of_parts_that_they_have() -> None:
    disks = (Disk("d1.vmdk", "vmdk", GIB, "virtio"), Disk("d2.vmdk", "vmdk", GIB, "sata"))
    ours = Appliance("shop", 64, 1, "efi", "debian12", disks, (Card("", "virtio"), Card("lan", "e1000e")))
    text = envelope_of(ovf.for_others(ours), {"d1.vmdk": 1, "d2.vmdk": 2}, "vmx-13")
    for part in (b"lsilogicsas", b'ovf:id="96" vmw:osType="debian12_64Guest"', b">vmx-13<", b'ovf:name="network"'):
        assert part in text, part
    found = machine_of(text)
    assert [disk.bus for disk in found.disks] == ["scsi", "scsi"]
    assert [(card.network, card.model) for card in found.cards] == [("network", "e1000"), ("lan", "e1000")]
    assert (found.os, found.firmware) == ("debian12", "efi")


@pytest.mark.parametrize(("buses", "kept"), [("ii", "ide"), ("iii", "scsi"), ("iv", "scsi")])
def test_ide_stays_where_one_controller_holds_all(buses: str, kept: str) -> None:
    words = {"i": "ide", "v": "virtio"}
    ours = Appliance("a", disks=tuple(Disk(f"{at}", "vmdk", GIB, words[bus]) for at, bus in enumerate(buses)))
    assert {disk.bus for disk in ovf.for_others(ours).disks} == {kept}


@pytest.mark.parametrize("os", ["win11", "win10", "win2k22", "win2k25", "debian12", "rhel9.0", "win7"])
def test_systems_are_called_as_they_are_read(os: str) -> None:
    assert machine_of(envelope_of(Appliance("a", os=os), {})).os == os


# --- a description alone


@pytest.mark.parametrize(
    "begins", [b"", b"\xef\xbb\xbf", b'<?xml version="1.0"?>\n<!--Made <by> hand-->\n <!-- - -->', b"  "]
)
def test_a_description_alone_is_known_by_its_beginning(begins: bytes) -> None:
    found = contents(begins + small_envelope("a.vmdk", GIB), "a.ovf")
    assert (found.appliance.is_loose, found.appliance.disks[0].file, found.members) == (True, "a.vmdk", {})


def test_no_beginning_holds_up_who_looks_at_it() -> None:
    """One that a careless pattern would try in more ways than there are atoms."""
    found = contents(b"<!-- -->" * 8000 + b"<Envelop>", "a.img")
    assert found.appliance.disks == (Disk("", "raw", 0, ""),)


# --- tars

DISK = b"KDMV" + bytes(5000)
PARTS = {"a.ovf": small_envelope("a.vmdk", GIB), "a.vmdk": DISK}


def test_an_ova_is_read_by_its_headers_alone() -> None:
    data, asked = tar_of(PARTS | {"a.mf": manifest_of(PARTS)}), []

    def read(at: int, length: int) -> bytes:
        asked.append((at, length))
        return data[at : at + length]

    found = appliances.contents_of(read, len(data), "a.ova")
    assert found.appliance.disks == (Disk("a.vmdk", "vmdk", GIB, "sata"),)
    member = found.members["a.vmdk"]
    assert data[member.offset : member.offset + member.size] == DISK
    assert not any(at <= member.offset + 512 < at + length and at for at, length in asked)


@pytest.mark.parametrize("kind", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_tars_of_any_kind(kind: int) -> None:
    out = io.BytesIO()
    long_name = f"{'long' * 40}.vmdk" if kind != tarfile.USTAR_FORMAT else "short.vmdk"
    with tarfile.open(fileobj=out, mode="w", format=kind) as tar:
        for name, data in {"a.ovf": small_envelope(long_name, GIB), long_name: DISK}.items():
            info = tarfile.TarInfo(name)
            info.size, info.mtime = len(data), 1.5 if kind == tarfile.PAX_FORMAT else 1
            tar.addfile(info, io.BytesIO(data))
    assert list(contents(out.getvalue()).members) == ["a.ovf", long_name]


def test_what_the_manifest_says_of_the_envelope_is_seen_to() -> None:
    wrong = manifest_of(PARTS | {"a.ovf": b"another"})
    with pytest.raises(NotUnderstood, match=r"another checksum for a\.ovf"):
        contents(tar_of(PARTS | {"a.mf": wrong}))


def raw_header(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.type, info.linkname = size, kind, "/etc/shadow"
    return info.tobuf(tarfile.GNU_FORMAT, errors="surrogateescape")


HOSTILE = {
    "an absolute path": (raw_header("/etc/passwd", 0), "plain files"),
    "a way up": (raw_header("../a", 0), "plain files"),
    "a folder in the name": (raw_header("a/b", 0), "plain files"),
    "a symbolic link": (raw_header("a.vmdk", 0, tarfile.SYMTYPE), "plain files"),
    "a hard link": (raw_header("a.vmdk", 0, tarfile.LNKTYPE), "plain files"),
    "a device": (raw_header("a.vmdk", 0, tarfile.BLKTYPE), "plain files"),
    "a sparse file": (raw_header("a.vmdk", 0, tarfile.GNUTYPE_SPARSE), "plain files"),
    "one name twice": (tar_of({"a.vmdk": b""})[:512] * 2, "plain files"),
    "more than there is": (raw_header("a.vmdk", 2**40), "cut off"),
    "a size below nothing": (raw_header("a.vmdk", -512), "damaged"),
    "many": (b"".join(raw_header(f"{at}", 0) for at in range(100)), "more than 64"),
    "many headers": (raw_header("x", 0, tarfile.XGLTYPE) * 1000, "more than 64"),
    "a long name without end": (raw_header("x", 2**20, tarfile.GNUTYPE_LONGNAME) + bytes(2**20), "damaged"),
    "a wrong checksum": (raw_header("a", 0)[:-1] + b"x", "damaged"),
    "no envelope": (tar_of({"a.txt": b"x"}), "no description"),
    "a file that is not there": (tar_of({"a.ovf": small_envelope("b.vmdk", 1)}), "not in it: b.vmdk"),
}


@pytest.mark.parametrize("hostile", HOSTILE)
def test_a_hostile_tar_is_refused_in_words(hostile: str) -> None:
    data, words_ = HOSTILE[hostile]
    with pytest.raises(NotUnderstood, match=words_):
        contents(data + bytes(1024))


@given(st.data())
def test_a_tar_with_any_bytes_changed_keeps_within_its_bounds(data: st.DataObject) -> None:
    good = bytearray(tar_of(PARTS))
    for at in data.draw(st.lists(st.integers(0, 511), min_size=1, max_size=4)):
        good[at] = data.draw(st.integers(0, 255))
    # As one who means harm would, with a checksum that is right.
    good[148:156] = b" " * 8
    good[148:156] = f"{sum(good[:512]):06o}\0 ".encode()
    try:
        found = contents(bytes(good))
    except NotUnderstood:
        return
    assert all(member.offset + member.size <= len(good) for member in found.members.values())
    assert all(ovf.is_plain(name) for name in found.members)


@pytest.mark.parametrize(
    ("head", "words_"),
    [
        (b"\x1f\x8b", "compressed"),
        (b"PK\x03\x04", "compressed"),
        (b"# Disk DescriptorFile\n", "other files"),
        (b"COWD", "other files"),
        (b"conectix" + bytes(52) + b"\0\0\0\x04", "based on another"),
        (bytes(32_769) + b"CD001", "CD or DVD"),
    ],
)
def test_what_is_no_disk_that_stands_alone_is_refused(head: bytes, words_: str) -> None:
    with pytest.raises(NotUnderstood, match=words_):
        contents(head + bytes(2**16), "x.img")


@given(st.binary(max_size=600), st.integers(0, 2**18))
def test_a_damaged_vhdx_is_refused(data: bytes, at: int) -> None:
    image = bytearray(2**20)
    image[at : at + len(data)] = data
    with pytest.raises(NotUnderstood, match="VHDX"):
        vhdx.layout_of(read_of(bytes(image)))

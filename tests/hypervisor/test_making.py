"""Machines made for real: that QEMU starts them, that they can grow, and that nothing of them stays behind."""

from __future__ import annotations

import shutil
import subprocess
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import libvirt
import pytest

from tests.hypervisor.domain_specs import PREFIX, QEMU
from tests.hypervisor.subjects import HERE
from tests.lab.lab import LAB, tiny_guest
from tests.until import until
from webvirt.hypervisor import making
from webvirt.hypervisor.connection import Connection, connect, uri_of
from webvirt.hypervisor.errors import HypervisorError
from webvirt.hypervisor.types import (
    Bus,
    Clock,
    DiskCopy,
    DiskSpec,
    DomainCopy,
    DomainSpec,
    Firmware,
    Kernel,
    SecretSpec,
    SecretUsage,
    Source,
)
from webvirt.hypervisor.xml.domains import SPARE_PORTS, build_domain

MEMORY_KIB = 128 * 1024
NVRAM = Path("/var/lib/libvirt/qemu/nvram")
SWTPM = Path("/var/lib/libvirt/swtpm")
RNG = "<rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>"
DIMM = "<memory model='dimm'><target><size unit='MiB'>128</size><node>0</node></target></memory>"


@pytest.fixture(scope="module")
def here() -> Iterator[Connection]:
    with connect(HERE) as connection:
        yield connection


@pytest.fixture(scope="module")
def raw() -> Iterator[Any]:
    """libvirt itself, for what no call of ours does."""
    connection = libvirt.open(uri_of(HERE))
    yield connection
    connection.close()


@pytest.fixture
def folder() -> Iterator[Path]:
    """Where QEMU gets through to."""
    path = LAB / f"{PREFIX}{uuid.uuid4()}"
    path.mkdir(parents=True)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def make(here: Connection, raw: Any) -> Iterator[Callable[..., DomainSpec]]:
    """Defines a machine with these parts, which goes away at the end whatever it has become."""
    made: list[str] = []

    def define(**parts: Any) -> DomainSpec:
        given: dict[str, Any] = {
            "uuid": str(uuid.uuid4()),
            "type": "qemu",
            "arch": "x86_64",
            "machine": "q35",
            "emulator": QEMU,
            "vcpus": 1,
            "memory_kib": MEMORY_KIB,
        }
        spec = DomainSpec(**{**given, "name": f"{PREFIX}{given['uuid'][:8]}", **parts})
        made.append(spec.uuid)
        here.domains.define(spec)
        return spec

    yield define
    for domain in raw.listAllDomains(0):
        if domain.UUIDString() in made:
            with suppress(libvirt.libvirtError):
                domain.destroy()
            domain.undefineFlags(making.WITHOUT_STATE[0])


def image(folder: Path, name: str) -> Source:
    path = folder / name
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(path), "8M"], check=True)
    return Source(str(path))


def live_xml(here: Connection, spec: DomainSpec) -> str:
    return here.domains.read(spec.uuid).live_xml


# --- what starts

WAYS: dict[str, dict[str, Any]] = {
    "bios": {},
    "old": {"machine": "pc", "video": "vga", "virtio_devices": False},
    "efi": {"firmware": Firmware.EFI},
    "efi-old": {"firmware": Firmware.EFI, "machine": "pc"},
    "secure-boot": {"firmware": Firmware.SECURE},
    "tpm": {"tpm": True},
    "windows": {
        "firmware": Firmware.SECURE,
        "tpm": True,
        "clock": Clock.LOCALTIME,
        "hyperv": True,
        "vcpus": 2,
        "vcpus_max": 4,
        "memory_max_kib": 4 * MEMORY_KIB,
        "video": "vga",
        "virtio_devices": False,
    },
    "maximum": {"cpu": "maximum"},
    "host-model": {"cpu": "host-model"},
    "model": {"cpu": "Nehalem"},
}


@pytest.mark.parametrize("parts", WAYS.values(), ids=WAYS)
def test_it_starts(here: Connection, make: Callable[..., DomainSpec], parts: dict[str, Any]) -> None:
    spec = make(**parts)
    here.domains.start(spec.uuid)
    assert here.domains.read(spec.uuid).summary.state == "running"


def test_secure_boot_is_that(here: Connection, make: Callable[..., DomainSpec]) -> None:
    secure, plain = make(firmware=Firmware.SECURE), make(firmware=Firmware.EFI)
    for spec in (secure, plain):
        here.domains.start(spec.uuid)
    assert "secure='yes'" in live_xml(here, secure)
    assert ".ms.fd" in live_xml(here, secure), "the variables with the makers' keys"
    assert ".ms.fd" not in live_xml(here, plain)
    assert "secboot" not in live_xml(here, plain)


def test_disks_of_every_bus_start(here: Connection, make: Callable[..., DomainSpec], folder: Path) -> None:
    buses = [Bus.VIRTIO] * 2 + [Bus.SCSI] * 9 + [Bus.SATA] * 7 + [Bus.USB]
    disks = [DiskSpec(image(folder, f"{place}.qcow2"), bus=bus, serial=f"d{place}") for place, bus in enumerate(buses)]
    drives = [DiskSpec(None, device="cdrom", bus=bus) for bus in (Bus.SCSI, Bus.SATA)]
    spec = make(disks=(*disks, *drives))
    here.domains.start(spec.uuid)
    assert live_xml(here, spec).count("<controller type='scsi'") == 1, "none of a kind that guests have no driver for"
    old = make(machine="pc", disks=tuple(DiskSpec(None, device="cdrom", bus=Bus.IDE) for _ in range(4)))
    here.domains.start(old.uuid)


def test_an_encrypted_disk_is_opened(here: Connection, make: Callable[..., DomainSpec], folder: Path) -> None:
    path = folder / "safe.img"
    key = folder / "key"
    key.write_text("open sesame")
    secret_option = ("--object", f"secret,id=k,file={key}", "-o", "key-secret=k,iter-time=200")
    command = ["qemu-img", "create", "-q", "-f", "luks", *secret_option, str(path), "1M"]
    # QEMU first measures how fast it is, and gives up where it got no time of a processor to measure.
    until(lambda: subprocess.run(command, check=False).returncode == 0, what="an encrypted image")
    secret = here.secrets.create(SecretSpec(SecretUsage.VOLUME, str(path)), b"open sesame")
    try:
        spec = make(disks=(DiskSpec(Source(str(path)), "raw", luks=secret),))
        here.domains.start(spec.uuid)
        here.domains.destroy(spec.uuid)
        here.secrets.set_value(secret, b"something else")
        with pytest.raises(HypervisorError):
            here.domains.start(spec.uuid)
    finally:
        here.secrets.undefine(secret)


@pytest.mark.parametrize("firmware", [Firmware.BIOS, Firmware.EFI])
def test_a_kernel_is_booted_directly(
    here: Connection, raw: Any, make: Callable[..., DomainSpec], firmware: Firmware
) -> None:
    guest = tiny_guest()
    kernel = Kernel(str(guest / "vmlinuz"), str(guest / "initrd.gz"), "console=ttyS0 quiet")
    spec = make(memory_kib=2 * MEMORY_KIB, vcpus=1, firmware=firmware)
    here.domains.start_once(spec.uuid, kernel)
    said = bytearray()
    stream = raw.newStream(libvirt.VIR_STREAM_NONBLOCK)
    raw.lookupByUUIDString(spec.uuid).openConsole(None, stream, 0)

    def hears(words: bytes) -> bool:
        got = stream.recv(4096)
        # -2: nothing there yet.
        said.extend(got if isinstance(got, bytes) else b"")
        return words in said

    until(lambda: hears(b"guest is up"), 60, what=f"the guest is up: {bytes(said)!r}")
    stream.send(b"ls -d /sys/firmware/efi; echo do''ne\n")
    until(lambda: hears(b"done"), 20, what="the guest answers")
    stream.abort()
    assert (b"\n/sys/firmware/efi" in said) == (firmware == Firmware.EFI)


# --- how it grows


def test_there_is_room_for_more(here: Connection, raw: Any, make: Callable[..., DomainSpec], folder: Path) -> None:
    spec = make(
        vcpus_max=3,
        memory_max_kib=4 * MEMORY_KIB,
        disks=(DiskSpec(image(folder, "a.qcow2")), DiskSpec(image(folder, "b.qcow2"), bus=Bus.SCSI)),
    )
    here.domains.start(spec.uuid)
    domain = raw.lookupByUUIDString(spec.uuid)
    domain.setVcpusFlags(3, libvirt.VIR_DOMAIN_AFFECT_LIVE)
    domain.attachDeviceFlags(DIMM, libvirt.VIR_DOMAIN_AFFECT_LIVE)
    live = here.domains.read(spec.uuid).live
    assert live is not None
    assert live.vcpus == 3
    assert any(device.kind == "memory" for device in live.devices)
    for _ in range(SPARE_PORTS):
        domain.attachDeviceFlags(RNG, libvirt.VIR_DOMAIN_AFFECT_LIVE)
    with pytest.raises(libvirt.libvirtError, match="No more available PCI slots"):
        domain.attachDeviceFlags(RNG, libvirt.VIR_DOMAIN_AFFECT_LIVE)


# --- how it goes


def state_of(spec: DomainSpec) -> tuple[bool, bool]:
    """Whether the variables of its firmware and the state of its TPM are on the host."""
    return (NVRAM / f"{spec.name}_VARS.fd").exists(), (SWTPM / spec.uuid).exists()


def test_its_state_goes_with_it(here: Connection, make: Callable[..., DomainSpec]) -> None:
    spec = make(firmware=Firmware.EFI, tpm=True)
    here.domains.start(spec.uuid)
    here.domains.destroy(spec.uuid)
    assert state_of(spec) == (True, True)
    here.domains.undefine(spec.uuid)
    assert state_of(spec) == (False, False)


def test_its_snapshots_checkpoints_and_memory_go_with_it(
    here: Connection, raw: Any, make: Callable[..., DomainSpec], folder: Path
) -> None:
    spec = make(firmware=Firmware.EFI, disks=(DiskSpec(image(folder, "a.qcow2")),))
    here.domains.start(spec.uuid)
    domain = raw.lookupByUUIDString(spec.uuid)
    domain.checkpointCreateXML("<domaincheckpoint/>")
    flags = libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_DISK_ONLY
    overlay = f"<disks><disk name='vda'><source file='{folder}/b.qcow2'/></disk></disks>"
    domain.snapshotCreateXML(f"<domainsnapshot>{overlay}</domainsnapshot>", flags)
    here.domains.save(spec.uuid, lambda _done, _total: None)
    assert (domain.snapshotNum(), len(domain.listAllCheckpoints())) == (1, 1)
    here.domains.undefine(spec.uuid)
    assert here.domains.summaries([spec.uuid]) == []
    assert (folder / "a.qcow2").exists(), "its disks stay"


def unknown_flags() -> libvirt.libvirtError:
    error = libvirt.libvirtError("unsupported flags")
    error.err = (libvirt.VIR_ERR_INVALID_ARG, libvirt.VIR_FROM_QEMU, "unsupported flags (0x20)")
    return error


@pytest.mark.parametrize("unknown", [libvirt.VIR_DOMAIN_UNDEFINE_TPM, libvirt.VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA])
def test_an_older_libvirt_is_asked_for_what_it_knows(
    here: Connection, make: Callable[..., DomainSpec], monkeypatch: pytest.MonkeyPatch, unknown: int
) -> None:
    undefine = libvirt.virDomain.undefineFlags
    asked: list[int] = []

    def older(domain: libvirt.virDomain, flags: int = 0) -> int:
        asked.append(flags)
        if flags & (unknown | libvirt.VIR_DOMAIN_UNDEFINE_TPM):
            raise unknown_flags()
        return int(undefine(domain, flags))

    monkeypatch.setattr(libvirt.virDomain, "undefineFlags", older)
    spec = make(firmware=Firmware.EFI)
    here.domains.undefine(spec.uuid)
    assert here.domains.summaries([spec.uuid]) == []
    assert asked == [*making.WITHOUT_STATE[: len(asked)]]
    assert len(asked) == (2 if unknown == libvirt.VIR_DOMAIN_UNDEFINE_TPM else 3)
    assert asked[-1] & libvirt.VIR_DOMAIN_UNDEFINE_NVRAM


# --- discs


def test_a_disc_is_changed_where_the_drive_is(
    here: Connection, raw: Any, make: Callable[..., DomainSpec], folder: Path
) -> None:
    """The running machine and its definition may have different drives."""
    disc = Source(str(folder / "x.iso"))
    Path(disc.path).write_bytes(bytes(2048))
    spec = make(disks=(DiskSpec(None, device="cdrom", bus=Bus.SATA),))
    here.domains.start(spec.uuid)
    drive = "<disk type='file' device='cdrom'><target dev='sdb' bus='sata'/><readonly/></disk>"
    raw.lookupByUUIDString(spec.uuid).attachDeviceFlags(drive, libvirt.VIR_DOMAIN_AFFECT_CONFIG)
    here.domains.insert(spec.uuid, "sdb", disc)
    here.domains.insert(spec.uuid, "sda", disc)
    reading = here.domains.read(spec.uuid)
    assert reading.inactive is not None
    assert reading.live is not None
    assert [disk.source for disk in reading.inactive.disks] == [disc.path, disc.path]
    assert [disk.source for disk in reading.live.disks] == [disc.path]


def test_a_disc_that_cannot_be_opened_changes_nothing(
    here: Connection, make: Callable[..., DomainSpec], folder: Path
) -> None:
    disc = Source(str(folder / "x.iso"))
    Path(disc.path).write_bytes(bytes(2048))
    spec = make(disks=(DiskSpec(disc, "raw", "cdrom", Bus.SATA),))
    here.domains.start(spec.uuid)
    before = here.domains.read(spec.uuid)
    with pytest.raises(HypervisorError):
        here.domains.insert(spec.uuid, "sda", Source(str(folder / "missing.iso")))
    assert here.domains.read(spec.uuid).inactive == before.inactive


def test_what_is_made_is_what_libvirt_would_start(raw: Any, make: Callable[..., DomainSpec]) -> None:
    """For KVM, which is not to be started here: the command line has what Windows needs."""
    spec = make(cpu="maximum")
    kvm = DomainSpec(**{**vars(spec), "type": "kvm", "cpu": "host-passthrough", "hyperv": True})
    command = raw.domainXMLToNative("qemu-argv", build_domain(kvm), 0)
    assert "host,migratable=on,hv-time=on" in command
    for word in ("relaxed", "vapic", "spinlocks", "vpindex", "runtime", "synic", "stimer", "frequencies", "tlbflush"):
        assert f"hv-{word}=" in command


# --- copies


def test_a_copy_runs_beside_the_other(
    here: Connection, raw: Any, make: Callable[..., DomainSpec], folder: Path
) -> None:
    """With firmware, TPM, a display and cards of its own, and the disc that both only read."""
    disc = folder / "x.iso"
    disc.write_bytes(bytes(2048))
    spec = make(
        firmware=Firmware.EFI,
        tpm=True,
        disks=(DiskSpec(image(folder, "a.qcow2")), DiskSpec(Source(str(disc)), "raw", "cdrom", Bus.SATA)),
    )
    domain = raw.lookupByUUIDString(spec.uuid)
    log, card = folder / "old.log", "<interface type='user'><mac address='52:54:00:77:00:0a'/></interface>"
    changed = domain.XMLDesc(0)
    for there, instead in (
        ("</name>", "</name><genid/>"),
        ("</devices>", f"{card}</devices>"),
        ("<serial type='pty'>", f"<serial type='pty'><log file='{log}'/>"),
        ("<graphics type='vnc'>", "<graphics type='vnc' port='5977' autoport='no'>"),
        ("<listen type='socket'/>", "<listen type='address' address='127.0.0.1'/>"),
    ):
        assert there in changed
        changed = changed.replace(there, instead, 1)
    raw.defineXML(changed)
    copy = DomainCopy(
        str(uuid.uuid4()),
        f"{spec.name}-copy",
        macs=("52:54:00:77:00:0b",),
        disks=(
            DiskCopy("vda", f"{folder}/a.qcow2", source=image(folder, "b.qcow2"), format="qcow2"),
            DiskCopy("sda", str(disc), keep=True),
        ),
        seed=Source(str(disc)),
    )
    here.domains.define_copy(spec.uuid, copy)
    try:
        for each in (spec, copy):
            here.domains.start(each.uuid)
        old, new = (here.domains.read(each.uuid) for each in (spec, copy))
        assert (old.summary.state, new.summary.state) == ("running", "running")
        assert old.live is not None
        assert new.live is not None
        assert [disk.source for disk in new.live.disks] == [f"{folder}/b.qcow2", str(disc), str(disc)]
        assert [card.mac for card in new.live.interfaces] == ["52:54:00:77:00:0b"]
        assert str(log) in old.live_xml
        assert str(log) not in new.live_xml
        assert genid_of(old.live_xml) != genid_of(new.live_xml)
        assert f"/{copy.name}_VARS.fd" in new.live_xml
        assert (NVRAM / f"{copy.name}_VARS.fd").exists()
        assert (SWTPM / copy.uuid).exists()
    finally:
        with suppress(HypervisorError):
            here.domains.destroy(copy.uuid)
        here.domains.undefine(copy.uuid)


def genid_of(xml: str) -> str:
    return xml.partition("<genid>")[2].partition("</genid>")[0]

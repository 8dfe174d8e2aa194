"""Domains that are wanted: what a machine is to be made of, and what a host offers for it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Firmware(StrEnum):
    """What a machine starts with. SECURE is UEFI with secure boot and the makers' keys enrolled."""

    BIOS = "bios"
    EFI = "efi"
    SECURE = "secure"


class Bus(StrEnum):
    """How a disk or a drive is attached."""

    VIRTIO = "virtio"
    SCSI = "scsi"
    SATA = "sata"
    IDE = "ide"
    USB = "usb"


class Clock(StrEnum):
    """What a guest takes the time of its clock chip for."""

    UTC = "utc"
    LOCALTIME = "localtime"


@dataclass(frozen=True)
class Source:
    """Where a disk's bytes are on the host.

    A file or a block device by its `path`; or an image on a server, by `protocol` (`rbd`, `gluster`) and `name`, with
    its `hosts` (`name` or `name:port`) and who signs in there: `user` with the secret of this UUID.
    """

    path: str = ""
    is_block: bool = False
    protocol: str = ""
    name: str = ""
    hosts: tuple[str, ...] = ()
    user: str = ""
    secret: str = ""


@dataclass(frozen=True)
class DiskSpec:
    """A disk, or a drive for discs (`cdrom`, on SCSI, SATA or IDE). A drive without a `source` is empty.

    The format is always said, never guessed.
    `luks` is the UUID of the secret that the volume is encrypted with. `boot` is its place in the order of boot, 0 for
    none.
    """

    source: Source | None
    format: str = "qcow2"
    device: str = "disk"
    bus: Bus = Bus.VIRTIO
    boot: int = 0
    luks: str = ""
    serial: str = ""


@dataclass(frozen=True)
class CardSpec:
    """A network card on one of the host's networks, or on a bridge of its own. `mac` is chosen by libvirt if empty."""

    network: str = ""
    bridge: str = ""
    mac: str = ""
    model: str = "virtio"
    filter: str = ""
    boot: int = 0


@dataclass(frozen=True)
class Kernel:
    """A kernel that is booted directly: paths on the host, and what it is told."""

    path: str
    initrd: str = ""
    arguments: str = ""


@dataclass(frozen=True)
class DomainSpec:
    """A machine that is to be made. Memory in KiB, in whole MiB. Without an `emulator` the host's own is taken.

    `vcpus_max` and `memory_max_kib` are how far it can grow while it runs (the same as now: not at all). `cpu` is a
    mode (`host-passthrough`, `host-model`, `maximum`) or the name of a model; empty for the emulator's own. `os_url` is
    osinfo's identity of the system, for other managers. `tpm` is a TPM 2.0 of swtpm.
    """

    uuid: str
    name: str
    type: str
    arch: str
    machine: str
    emulator: str
    vcpus: int
    memory_kib: int
    vcpus_max: int = 0
    memory_max_kib: int = 0
    cpu: str = ""
    title: str = ""
    description: str = ""
    os_url: str = ""
    firmware: Firmware = Firmware.BIOS
    tpm: bool = False
    clock: Clock = Clock.UTC
    hyperv: bool = False
    """Whether it is told what Windows needs to run well; emulation (`qemu`) cannot, and is not."""
    disks: tuple[DiskSpec, ...] = ()
    cards: tuple[CardSpec, ...] = ()
    video: str = "virtio"
    virtio_devices: bool = True
    """Whether the guest has drivers for virtio's random numbers, balloon and channels."""


@dataclass(frozen=True)
class DiskCopy:
    """What a copy of a machine has in the place of a disk, or in a drive, of this `target` (`vda`).

    `was` is what is there now, in the words of `DiskInfo.source`. With `keep` the copy has the very same. Without a
    `source` the disk is left out, and a drive is empty; else `format` and `luks` are as in `DiskSpec`.
    """

    target: str
    was: str
    keep: bool = False
    source: Source | None = None
    format: str = ""
    luks: str = ""


@dataclass(frozen=True)
class DiskMirror:
    """A disk of a running machine that is copied into an empty volume of its size; the rest is as in `DiskCopy`."""

    target: str
    was: str
    to: Source
    format: str


@dataclass(frozen=True)
class DomainCopy:
    """A machine that is to be made from another's definition.

    `title` is that of the other where it is None; `macs` are of its cards, in their order, and libvirt chooses where
    there is none. Everything that the other has in a disk or drive is named in `disks`. `seed` is a disc that goes into
    a drive of its own, or into an empty one.
    """

    uuid: str
    name: str
    title: str | None = None
    macs: tuple[str, ...] = ()
    disks: tuple[DiskCopy, ...] = ()
    seed: Source | None = None


@dataclass(frozen=True)
class MachineSupport:
    """What a host can run, for one way to run (`kvm`, `qemu`) and one type of machine (`q35`, `pc`; `virt` elsewhere).

    `cpu_modes` are those that work, the names of models left out; `disk_buses` those of `Bus`; `secure_boot` and `efi`
    that there is firmware for it; `tpm` that there is swtpm.
    """

    type: str
    arch: str
    machine: str
    emulator: str
    vcpus_max: int
    cpu_modes: tuple[str, ...] = ()
    efi: bool = False
    secure_boot: bool = False
    tpm: bool = False
    disk_buses: tuple[str, ...] = ()
    video_models: tuple[str, ...] = ()

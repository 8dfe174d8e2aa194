"""A host's devices that guests can be given, and the secrets that libvirt keeps."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True)
class HostDevice:
    """A device of the host. `kind` is pci, usb, mdev or scsi; `address` as lspci, lsusb or lsscsi writes it."""

    name: str
    """libvirt's name, such as pci_0000_00_1f_2; unique on the host."""
    kind: str
    description: str = ""
    address: str = ""
    ids: str = ""
    """Vendor and product as hexadecimal numbers, `8086:10fb`."""
    device_class: str = ""
    """Of a PCI device, its class as a hexadecimal number, `0x020000`."""
    driver: str = ""
    parent: str = ""
    iommu_group: int | None = None
    mdev_types: tuple[str, ...] = ()
    virtual_functions: int = 0


class SecretUsage(StrEnum):
    """What a secret is for (`VIR_SECRET_USAGE_TYPE_*`)."""

    CEPH = "ceph"
    ISCSI = "iscsi"
    VOLUME = "volume"
    TLS = "tls"
    VTPM = "vtpm"
    NONE = "none"


@dataclass(frozen=True)
class SecretInfo:
    """A secret that the host's libvirt keeps; its value never leaves the host."""

    uuid: str
    usage: str
    """One of SecretUsage, or libvirt's word for a newer one."""
    usage_id: str = ""
    """What it belongs to: a volume's path, the name that a pool or a guest calls it by."""
    description: str = ""
    ephemeral: bool = False
    private: bool = False


@dataclass(frozen=True)
class SecretSpec:
    """A secret to be made. The value goes by a call of its own and stands in no XML."""

    usage: SecretUsage
    usage_id: str
    description: str = ""
    ephemeral: bool = False

"""What an image's own first bytes say of other files, read before anything is copied from it or built on it.

They are whatever a guest or an upload wrote there. QEMU opens every file that they name, as root where libvirt copies,
and libvirt knows of them only as of its last look at the pool; of a file that holds the data, not at all.
"""

from __future__ import annotations

import posixpath
import struct

from webvirt.hypervisor.errors import InvalidSpec, Unsupported, WrongState
from webvirt.hypervisor.types import VolumeInfo

HEAD = 64 * 1024
"""Bytes to be read from its beginning."""
QCOW2 = b"QFI\xfb"
BEGINNINGS = (QCOW2, b"QED", b"KDMV", b"OOOM")
"""By which libvirt knows formats that can name files: qcow and qcow2, qed, vmdk and cow."""
ALLUDING = ("cow", "qcow", "qed")
"""Those with too many ways to do so to check them all."""
VMDK = struct.Struct("<4sIIQ")
"""Magic, version, flags and how large the disk is, in sectors: 0 where the bytes are in other files."""
VMDK_VERSIONS = (1, 2, 3)
PARENT = b"parentFileNameHint"
"""What QEMU looks for in the description that is in a VMDK, wherever in its first 10 KiB."""
VHD_TYPE = slice(60, 64)
VHD_DIFFERENCING = 4
HEADER = struct.Struct(">4sIQI")
"""Magic, version, where the backing file's name is and how long."""
FEATURE_BITS = 79
"""Where the lowest of those features are that a reader must know."""
DATA_FILE = 1 << 2


def check_image(info: VolumeInfo, head: bytes) -> None:
    """Raise unless a volume is of the format that libvirt says and names no file but the backing one that it says."""
    if info.format in ALLUDING:
        raise Unsupported(f"An image of format {info.format} may name any file of the host: it is left alone.")
    if info.format == "vmdk":
        check_vmdk(head)
    if info.format == "vpc" and int.from_bytes(head[VHD_TYPE], "big") == VHD_DIFFERENCING:
        raise Unsupported("The image is based on another file: it is left alone.")
    changed = info.format == "raw" and head.startswith(BEGINNINGS)
    if changed or (info.format == "qcow2" and backing_of(head, info.path) != plain(info.backing_path)):
        raise WrongState("The host has not looked at this image since it was written: refresh its pool.")


def check_vmdk(head: bytes) -> None:
    """Raise unless all of a VMDK is in this one file."""
    magic, version, _flags, sectors = VMDK.unpack_from(head.ljust(VMDK.size, b"\0"))
    if magic != b"KDMV" or version not in VMDK_VERSIONS or not sectors:
        raise Unsupported("The image keeps its data in another file of the host: it is left alone.")
    if PARENT in head:
        raise Unsupported("The image is based on another file: it is left alone.")


def backing_of(head: bytes, path: str) -> str:
    """The path of the backing file that a qcow2 at `path` names; "" for none. Raises Unsupported for a data file."""
    head = head.ljust(HEAD, b"\0")
    magic, version, start, length = HEADER.unpack_from(head)
    if magic != QCOW2 or start + length > len(head):
        raise InvalidSpec("This is no qcow2 image, though the host takes it for one.")
    if version > 2 and head[FEATURE_BITS] & DATA_FILE:
        raise Unsupported("The image keeps its data in another file of the host: it is left alone.")
    name = head[start : start + length].decode(errors="replace") if start else ""
    return plain(posixpath.join(posixpath.dirname(path), name) if name else "")


def plain(path: str) -> str:
    return posixpath.normpath(path) if path else ""

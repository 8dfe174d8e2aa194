"""Machines in files: what lies in a tar or an image that somebody brought, read piece by piece where it lies.

An OVA is a tar of an OVF envelope and its disks; an export of ours is one of a definition and its disks. An envelope
may also lie beside its disks, each of them a file of its own. Only headers and small texts are read here, by `Read`, so
a file may be of any size and on any host. It may also be made to do harm: names are plain, sizes add up, there are no
links, and not many members.
"""

from __future__ import annotations

import hashlib
import re
import tarfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from webvirt.services.ovf import LARGEST, Appliance, Card, Disk, NotUnderstood, is_plain, line, machine_of

Read = Callable[[int, int], bytes]
"""So many bytes from there on; fewer at the end."""

Digests = dict[str, tuple[str, str]]
"""By member, what the manifest says of it: the algorithm and the digest in hexadecimal."""
BLOCK = tarfile.BLOCKSIZE
MOST_MEMBERS = 64
MOST_HEADERS = 4 * MOST_MEMBERS
"""Members, and the headers that tell more of the one after them."""
MOST_OF_A_HEADER = 64 * 1024
MOST_OF_A_MANIFEST = 2**20
DEFINITION = "machine.xml"
"""By this member an export of ours is known."""
ENVELOPE = "machine.ovf"
MOST_OF_A_DEFINITION = 2**20
MOST_OF_POSIX = 8 * 2**30
"""Bytes of a member in a tar as POSIX has it."""
REGULAR = (tarfile.REGTYPE, tarfile.AREGTYPE)
MANIFEST = re.compile(r"(SHA1|SHA256|SHA512)\s*\((.{1,255})\)\s*=\s*([0-9a-fA-F]{40,128})", re.ASCII)
DIGITS = {"sha1": 40, "sha256": 64, "sha512": 128}
FOOTER = 512
"""Bytes at the end of a VHD: where it is of fixed size, its only sign."""
VHD_FIXED, VHD_DIFFERENCING = 2, 4
HEAD = 64 * 1024
DISC_AT, DISC_MAGIC = 32_769, b"CD001"
TAR_AT, TAR_MAGIC = 257, b"ustar"
VDI_AT, VDI_MAGIC = 0x40, bytes.fromhex("7f10dabe")
ENVELOPE_BEGINS = re.compile(
    rb"(\xef\xbb\xbf)?\s*(<\?xml[^>]*\?>\s*)?(<!--((?!-->).)*-->\s*)*<(\w+:)?Envelope[\s>]", re.DOTALL
)
MAGICS = {
    b"KDMV": "vmdk",
    b"COWD": "vmdk-flat",
    b"# Disk Descriptor": "vmdk-flat",
    b"QFI\xfb": "qcow2",
    b"vhdxfile": "vhdx",
    b"conectix": "vpc",
    b"\x1f\x8b": "gzip",
    b"\xfd7zXZ": "xz",
    b"PK\x03\x04": "zip",
}


@dataclass(frozen=True)
class Member:
    """A file in a tar: its bytes are there from `offset` on."""

    name: str
    offset: int
    size: int


@dataclass(frozen=True)
class Contents:
    """What a file holds. Of a tar its `members`, and what its manifest says of them.

    Of an envelope alone (`appliance.is_loose`) they are files beside it, and so is the manifest.
    """

    appliance: Appliance
    members: dict[str, Member] = field(default_factory=dict)
    digests: Digests = field(default_factory=dict)


def contents_of(read: Read, size: int, name: str) -> Contents:
    """What a file of `size` bytes holds that people call `name`. Raises NotUnderstood."""
    kind = kind_of(read, size)
    if kind == "ovf":
        return Contents(replace(machine_of(read(0, min(size, LARGEST + 1))), is_loose=True))
    if kind != "tar":
        demand_image(kind)
        return Contents(Appliance(name=stem_of(name), disks=(Disk("", kind, 0, ""),)))
    members = members_of(read, size)
    digests = digests_of(read, members)
    if DEFINITION in members:
        return Contents(Appliance(is_own=True), members, digests)
    envelopes = [member for member in members.values() if member.name.lower().endswith(".ovf")]
    if not envelopes:
        raise NotUnderstood("There is no description of a machine (.ovf) in this appliance.")
    text = text_of(read, envelopes[0], digests)
    appliance = machine_of(text)
    for disk in appliance.disks:
        if disk.file and disk.file not in members:
            raise NotUnderstood(f"The appliance names a file that is not in it: {disk.file}")
    return Contents(appliance, members, digests)


def text_of(read: Read, member: Member, digests: Digests, most: int = LARGEST) -> bytes:
    """The whole of a small member, as the manifest says that it is. Raises NotUnderstood."""
    if member.size > most:
        raise NotUnderstood("The description of the appliance is larger than any that is right.")
    text = read(member.offset, member.size) if member.size else b""
    digest = Digest(member.name, digests)
    digest.update(text)
    digest.demand()
    return text


def stem_of(name: str) -> str:
    """A file's name without its ending: what a machine made of it is called."""
    return re.sub(r"\.[A-Za-z0-9]{1,6}$", "", name)


# --- formats, by the bytes alone


def kind_of(read: Read, size: int) -> str:
    """`tar`, `ovf`, a format of images (`raw` where nothing tells), or a word for what cannot be taken."""
    head = read(0, min(HEAD, size)) if size else b""
    if found := next((kind for magic, kind in MAGICS.items() if head.startswith(magic)), ""):
        is_difference = found == "vpc" and int.from_bytes(head[60:64], "big") == VHD_DIFFERENCING
        return "difference" if is_difference else found
    if head[VDI_AT : VDI_AT + 4] == VDI_MAGIC:
        return "vdi"
    if head[TAR_AT : TAR_AT + 5] == TAR_MAGIC:
        return "tar"
    if ENVELOPE_BEGINS.match(head):
        return "ovf"
    if head[DISC_AT : DISC_AT + 5] == DISC_MAGIC:
        return "iso"
    return "vpc-fixed" if size > FOOTER and is_fixed_vhd(read(size - FOOTER, FOOTER)) else "raw"


def is_fixed_vhd(footer: bytes) -> bool:
    return footer.startswith(b"conectix") and int.from_bytes(footer[60:64], "big") == VHD_FIXED


def demand_image(kind: str) -> None:
    """Raise NotUnderstood for what is no image of a disk that stands alone."""
    if kind in ("gzip", "xz", "zip"):
        raise NotUnderstood("It is compressed: unpack it first.")
    if kind == "iso":
        raise NotUnderstood("It is a CD or DVD: create a machine that begins with it.")
    if kind == "vmdk-flat":
        raise NotUnderstood(
            "This VMDK keeps its bytes in other files: export the machine as OVA, or make one file of it with "
            "qemu-img convert."
        )
    if kind == "difference":
        raise NotUnderstood("This VHD is based on another one, and cannot stand alone.")


# --- tar


def members_of(read: Read, size: int) -> dict[str, Member]:
    """The members of a tar by name, in their order. Raises NotUnderstood for one that is damaged or means harm."""
    members: dict[str, Member] = {}
    at, more = 0, dict[str, str]()
    for _header in range(MOST_HEADERS):
        block = read(at, BLOCK) if at < size else b""
        if not block.strip(b"\0"):
            return members
        info = header_of(block)
        begins, ends = at + BLOCK, at + BLOCK + int(more.get("size", info.size))
        if ends > size:
            raise NotUnderstood("The appliance is cut off: bring the whole of it.")
        at = begins + -(-(ends - begins) // BLOCK) * BLOCK
        if info.type in (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME):
            found = more_of(info.type, read, begins, info.size)
            more = more if info.type == tarfile.XGLTYPE else more | found
            continue
        name, more = more.get("path", info.name).removeprefix("./"), {}
        if info.type == tarfile.DIRTYPE and name in ("", "."):
            continue
        if info.type not in REGULAR or not is_plain(name) or name in members:
            raise NotUnderstood(f"The appliance holds something else than plain files: {line(name)}")
        members[name] = Member(name, begins, ends - begins)
        if len(members) > MOST_MEMBERS:
            break
    raise NotUnderstood(f"The appliance holds more than {MOST_MEMBERS} files.")


def header_of(block: bytes) -> tarfile.TarInfo:
    try:
        info = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        raise NotUnderstood("The appliance is damaged: this is no tar file, or not a whole one.") from None
    if info.size < 0:
        raise NotUnderstood("The appliance is damaged: this is no tar file, or not a whole one.")
    return info


def more_of(kind: bytes, read: Read, begins: int, size: int) -> dict[str, str]:
    """What a header tells of the member after it: its name and its size, where they fit in no older header."""
    if size > MOST_OF_A_HEADER:
        raise NotUnderstood("The appliance is damaged: this is no tar file, or not a whole one.")
    text = (read(begins, size) if size else b"").decode("utf-8", "surrogateescape")
    if kind == tarfile.GNUTYPE_LONGNAME:
        return {"path": text.rstrip("\0")}
    pairs = (each.partition(" ")[2].partition("=") for each in text.splitlines())
    told = {key: value for key, _equals, value in pairs if key in ("path", "size")}
    if not re.fullmatch(r"\d{1,18}", told.get("size", "0"), re.ASCII):
        raise NotUnderstood("The appliance is damaged: this is no tar file, or not a whole one.")
    return told


def header_for(name: str, size: int) -> bytes:
    """The header of a member that is written: everything but name and size is fixed, so a tar's length is known.

    As POSIX has it, which OVF asks for, where the size goes into it.
    """
    info = tarfile.TarInfo(name)
    info.size = size
    return info.tobuf(tarfile.USTAR_FORMAT if size < MOST_OF_POSIX else tarfile.GNU_FORMAT)


def manifest_of(digests: dict[str, str]) -> bytes:
    """The manifest of members with these SHA-256."""
    return "".join(f"SHA256({name})= {digest}\n" for name, digest in digests.items()).encode()


def padding_of(size: int) -> bytes:
    """What comes after a member's bytes."""
    return bytes(-size % BLOCK)


END = bytes(2 * BLOCK)
"""What a tar ends with."""


# --- manifests


class Digest:
    """Sees that a member is what the manifest says; of one that is not in it there is nothing to see."""

    def __init__(self, name: str, digests: Digests) -> None:
        self.name = name
        word, self.wanted = digests.get(name, ("", ""))
        self.digest = hashlib.new(word, usedforsecurity=False) if word else None

    def update(self, data: bytes) -> None:
        if self.digest:
            self.digest.update(data)

    def demand(self) -> None:
        """Raise NotUnderstood unless all that it was fed with is the member."""
        if self.digest and self.digest.hexdigest() != self.wanted:
            raise NotUnderstood(
                f"A file of the appliance is damaged: the manifest has another checksum for {self.name}."
            )


def digests_of(read: Read, members: dict[str, Member]) -> Digests:
    """What the manifest says of each member; nothing where there is none. Raises NotUnderstood."""
    manifest = next((member for member in members.values() if member.name.lower().endswith(".mf")), None)
    if manifest is None:
        return {}
    if manifest.size > MOST_OF_A_MANIFEST:
        raise NotUnderstood("The manifest of the appliance is larger than any that is right.")
    return digests_in(read(manifest.offset, manifest.size) if manifest.size else b"")


def digests_in(manifest: bytes) -> Digests:
    found = {}
    for written in manifest.decode("utf-8", "replace").splitlines():
        if match := MANIFEST.fullmatch(written.strip()):
            word, name, digest = match.groups()
            if len(digest) == DIGITS[word.lower()]:
                found[name.removeprefix("./")] = (word.lower(), digest.lower())
    return found


# --- in the database


def as_json(appliance: Appliance) -> dict[str, Any]:
    return asdict(appliance)


def from_json(kept: dict[str, Any]) -> Appliance:
    disks = tuple(Disk(**disk) for disk in kept["disks"])
    cards = tuple(Card(**card) for card in kept["cards"])
    return Appliance(**kept | {"disks": disks, "cards": cards, "notes": tuple(kept["notes"])})

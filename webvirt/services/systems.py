"""What an operating system wants of its machine, by osinfo-db: drivers it brings, firmware, memory and disk.

A system that derives from another, or is a clone of one, has what that has and what its own file adds or takes away.
What is newer than the database has what its predecessor has; what is not known at all, and everything where there is no
database, is taken for a Linux of today. `services/osinfo.py` tells which system is on a disc.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import date
from functools import lru_cache
from pathlib import Path
from sys import intern
from typing import NamedTuple
from xml.etree import ElementTree as ET

from django.utils import timezone

from webvirt.services import osinfo

KIB, GIB = 2**10, 2**30
CURRENT_YEARS = 10
"""A system that is older than this is not offered first, though its maker never named an end."""
MODERN_SINCE = date(2014, 1, 1)
"""osinfo-db tells of few systems that they start by UEFI, and not of all that they run on Q35: of the others, those
from then on are taken to."""
MODERN_FAMILIES = frozenset({"linux", "winnt", "freebsd", "openbsd"})
LONGEST_ID = 64
ARCHITECTURES = ("x86_64", "all")
"""Whose figures are read, the closer first."""
DEVICES = {
    "http://pcisig.com/pci/1af4/1000": "net",
    "http://pcisig.com/pci/1af4/1041": "net",
    "http://pcisig.com/pci/1af4/1001": "disk",
    "http://pcisig.com/pci/1af4/1042": "disk",
    "http://pcisig.com/pci/1af4/1002": "balloon",
    "http://pcisig.com/pci/1af4/1045": "balloon",
    "http://pcisig.com/pci/1af4/1003": "serial",
    "http://pcisig.com/pci/1af4/1043": "serial",
    "http://pcisig.com/pci/1af4/1005": "rng",
    "http://pcisig.com/pci/1af4/1044": "rng",
    "http://pcisig.com/pci/1af4/1050": "video",
    "http://usb.org/usb/80ee/0021": "tablet",
    "http://qemu.org/chipset/x86/q35": "q35",
}
"""What we ask of a system's devices; of virtio both kinds, before 1.0 and since."""


@dataclass(frozen=True)
class Traits:
    """What a system wants. Memory in KiB, disks in bytes; `_min` is what it will not run without.

    `url` is osinfo's identity of it, a name that is written into a machine's metadata; empty where it has none.
    """

    id: str = ""
    name: str = ""
    url: str = ""
    family: str = "linux"
    """`linux`, `winnt`, `freebsd` and so on."""
    distro: str = ""
    virtio_disk: bool = True
    virtio_net: bool = True
    virtio_devices: bool = True
    """Whether it brings drivers for virtio's random numbers, balloon and channels, all three."""
    virtio_video: bool = True
    tablet: bool = True
    """Whether it takes a USB tablet, whose pointer is where the person's is."""
    q35: bool = True
    """Whether it runs on the newer of the two PCs that QEMU makes."""
    bios: bool = True
    """Whether it starts by BIOS; else it needs UEFI."""
    efi: bool = True
    secure_boot: bool = False
    """Whether it asks for Secure Boot."""
    tpm: bool = False
    """Whether it asks for a TPM 2.0."""
    memory_kib_min: int = 512 * KIB
    memory_kib: int = 2048 * KIB
    vcpus_min: int = 1
    vcpus: int = 2
    disk_bytes_min: int = 5 * GIB
    disk_bytes: int = 20 * GIB
    localtime: bool = False
    """Whether it takes the machine's clock for local time."""
    hyperv: bool = False
    """Whether it runs better when it is told that it is on Hyper-V."""
    released: date | None = None
    ends: date | None = None
    """When its maker stops to mend it, where that is known."""

    @property
    def is_windows(self) -> bool:
        return self.family.startswith("win")


GENERIC = Traits()
"""Of a system that nobody knows: a Linux of today."""


class Choice(NamedTuple):
    """A system that can be picked: osinfo's short id, name and family, and whether its maker still cares for it."""

    id: str
    name: str
    family: str
    is_current: bool


class Figures(NamedTuple):
    """What a file says of memory and disk in bytes, and of processors; 0 where it says nothing."""

    ram: int = 0
    storage: int = 0
    cpus: int = 0

    def or_else(self, other: Figures) -> Figures:
        return Figures(*(mine or its for mine, its in zip(self, other, strict=True)))


NONE = Figures()


class Entry(NamedTuple):
    """What one file says of one system, its ancestors apart."""

    url: str
    ids: tuple[str, ...]
    name: str
    family: str = ""
    distro: str = ""
    released: date | None = None
    ends: date | None = None
    is_vague: bool = False
    """It stands for versions that are not known any closer, or not out yet."""
    ancestors: tuple[str, ...] = ()
    devices: tuple[tuple[str, bool], ...] = ()
    """Of DEVICES, those that it has, and those that it has not though its ancestors have."""
    firmware: tuple[tuple[str, bool], ...] = ()
    minimum: Figures = NONE
    recommended: Figures = NONE


LACKING = (
    Entry(
        "http://microsoft.com/win/11",
        ("win11",),
        "Microsoft Windows 11",
        "winnt",
        "win",
        date(2021, 10, 5),
        ancestors=("http://microsoft.com/win/10",),
        devices=(("tablet", True), ("q35", True)),
        firmware=(("efi", True), ("bios", False)),
        minimum=Figures(4 * GIB, 64 * GIB, 2),
    ),
)
"""What older databases do not know, and its predecessor does not tell."""


@dataclass
class Index:
    """All that is kept of osinfo-db for this."""

    by_url: dict[str, Entry] = field(default_factory=dict)
    by_id: dict[str, Entry] = field(default_factory=dict)

    def add(self, entry: Entry) -> None:
        self.by_url[entry.url] = entry
        for one in entry.ids:
            self.by_id.setdefault(one, entry)


def traits_of(short_id: str) -> Traits:
    """What the system of this id wants; GENERIC for none and for one that nobody knows."""
    known = index(osinfo.FOLDER)
    if entry := known.by_id.get(short_id):
        return built(known, entry)
    return newer(known, short_id) or GENERIC


def short_id_of(url: str) -> str:
    """The id of the system that a machine's metadata names by its address; empty for one that nobody knows.

    One that came out after the database is told from those that it has of the same kind.
    """
    known = index(osinfo.FOLDER)
    if entry := known.by_url.get(url):
        return entry.ids[0]
    base, _slash, version = url.rpartition("/")
    alike = [entry.ids[0] for entry in known.by_url.values() if base and entry.url.rpartition("/")[0] == base]
    stems = {parts[1] for one in alike if (parts := osinfo.VERSIONED.fullmatch(one))}
    found = (f"{stem}{version}" for stem in sorted(stems))
    return next((one for one in found if traits_of(one).url == url), "")


def systems(today: date | None = None) -> tuple[Choice, ...]:
    """All that can be picked: those that their makers still care for first, each kind's newest first."""
    return systems_of(osinfo.FOLDER, today or timezone.localdate())


@lru_cache(maxsize=1)
def systems_of(folder: Path, day: date) -> tuple[Choice, ...]:
    known = index(folder)
    entries = sorted(known.by_url.values(), key=lambda entry: entry.released or date.min, reverse=True)
    choices = [Choice(entry.ids[0], entry.name, family_of(known, entry), is_current(entry, day)) for entry in entries]
    return tuple(sorted(choices, key=lambda choice: (not choice.is_current, kind_of(choice.name))))


def is_current(entry: Entry, day: date) -> bool:
    """Whether a system is out, not long ago, and not at its end. Those without a date are renewed all the time."""
    if entry.ends and entry.ends < day:
        return False
    if entry.released is None:
        return not entry.is_vague
    return entry.released.year >= day.year - CURRENT_YEARS


def kind_of(name: str) -> str:
    """A name without its version: what stands together in a list."""
    return name.casefold().removesuffix(" lts").rstrip("0123456789.").rstrip()


# --- putting together what several files say


def built(known: Index, entry: Entry) -> Traits:
    devices: dict[str, bool] = {}
    firmware: dict[str, bool] = {}
    for one in reversed(line_of(known, entry)):
        devices.update(one.devices)
        firmware.update(one.firmware)
    bios = firmware.get("bios", True)
    family = family_of(known, entry)
    is_modern = family in MODERN_FAMILIES and (entry.released is None or entry.released >= MODERN_SINCE)
    # A Windows that does not start by BIOS is one that asks for all that came with UEFI.
    is_strict = family == "winnt" and not bios
    return Traits(
        id=entry.ids[0],
        name=entry.name,
        url=entry.url,
        family=family,
        distro=entry.distro,
        virtio_disk=devices.get("disk", False),
        virtio_net=devices.get("net", False),
        virtio_devices=all(devices.get(one) for one in ("rng", "balloon", "serial")),
        virtio_video=devices.get("video", False),
        tablet=devices.get("tablet", False),
        q35=devices.get("q35", is_modern),
        bios=bios,
        efi=firmware.get("efi", is_modern) or not bios,
        secure_boot=is_strict,
        tpm=is_strict,
        localtime=family.startswith("win"),
        hyperv=family == "winnt",
        released=entry.released,
        ends=entry.ends,
        **figures_of(known, entry),
    )


def line_of(known: Index, entry: Entry) -> list[Entry]:
    """A system and its ancestors, the closest first."""
    line = [entry]
    for one in line:
        line += [known.by_url[url] for url in one.ancestors if url in known.by_url and known.by_url[url] not in line]
    return line


def family_of(known: Index, entry: Entry) -> str:
    return next((one.family for one in line_of(known, entry) if one.family), GENERIC.family)


def figures_of(known: Index, entry: Entry) -> dict[str, int]:
    """Its own figures, or its closest ancestor's; nothing is recommended that is less than the minimum."""
    line = line_of(known, entry)
    least, said = next((pair for one in line if any(map(any, pair := (one.minimum, one.recommended)))), (NONE, NONE))
    # Where the minimum alone is told: it is slow with no more memory, and soon full with no more disk.
    good = said.or_else(Figures(2 * least.ram, 2 * least.storage))
    least = least.or_else(Figures(GENERIC.memory_kib_min * KIB, GENERIC.disk_bytes_min, GENERIC.vcpus_min))
    good = good.or_else(Figures(GENERIC.memory_kib * KIB, GENERIC.disk_bytes, GENERIC.vcpus))
    return {
        "memory_kib_min": least.ram // KIB,
        "memory_kib": max(least.ram, good.ram) // KIB,
        "vcpus_min": least.cpus,
        "vcpus": max(least.cpus, good.cpus),
        "disk_bytes_min": least.storage,
        "disk_bytes": max(least.storage, good.storage),
    }


def newer(known: Index, short_id: str) -> Traits | None:
    """The traits of a system that came out after the database: its predecessor's, in its own name."""
    parts = osinfo.VERSIONED.fullmatch(short_id) if len(short_id) <= LONGEST_ID else None
    if not parts:
        return None
    stem, now = parts[1], parts[2]
    before = [
        (other[2], entry)
        for one, entry in known.by_id.items()
        if (other := osinfo.VERSIONED.fullmatch(one))
        and other[1] == stem
        and osinfo.numbers_of(other[2]) < osinfo.numbers_of(now)
    ]
    if not before:
        return None
    last, entry = max(before, key=lambda each: osinfo.numbers_of(each[0]))
    name = entry.name.removesuffix(" LTS")
    return replace(
        built(known, entry),
        id=short_id,
        name=name.removesuffix(last) + now if name.endswith(last) else name,
        url=entry.url.removesuffix(last) + now if entry.url.endswith(last) else entry.url,
        released=None,
        ends=None,
    )


# --- reading the database


@lru_cache(maxsize=1)
def index(folder: Path) -> Index:
    """Read all of a folder, once in a process."""
    known = Index()
    for one in osinfo.definitions(folder):
        if entry := entry_of(one):
            known.add(entry)
    for entry in LACKING:
        if entry.ids[0] not in known.by_id:
            known.add(entry)
    return known


def entry_of(one: ET.Element) -> Entry | None:
    url, name = one.get("id", ""), one.findtext("name") or ""
    ids = tuple(each.text for each in one.iterfind("short-id") if each.text)
    if not url or not name or not ids or ids[0] == "unknown":
        return None
    return Entry(
        url,
        ids,
        name.removesuffix(" Unknown"),
        intern(one.findtext("family") or ""),
        intern(one.findtext("distro") or ""),
        date_of(one.findtext("release-date")),
        date_of(one.findtext("eol-date")),
        ids[0].endswith("unknown") or one.findtext("release-status") in ("prerelease", "snapshot"),
        tuple(intern(each.get("id", "")) for kind in ("derives-from", "clones") for each in one.iterfind(kind)),
        tuple(devices_of(one)),
        tuple(firmware_of(one)),
        figures_in(one, "minimum"),
        figures_in(one, "recommended"),
    )


def devices_of(one: ET.Element) -> Iterator[tuple[str, bool]]:
    for device in one.iterfind("devices/device"):
        if word := DEVICES.get(device.get("id", "")):
            yield word, device.get("supported") != "false"


def firmware_of(one: ET.Element) -> Iterator[tuple[str, bool]]:
    for firmware in one.iterfind("firmware"):
        if firmware.get("arch") in ARCHITECTURES:
            yield intern(firmware.get("type", "")), firmware.get("supported") != "false"


def figures_in(one: ET.Element, kind: str) -> Figures:
    found = NONE
    for arch in ARCHITECTURES:
        for part in one.iterfind(f"resources[@arch='{arch}']/{kind}"):
            found = found.or_else(Figures(*(number_in(part, word) for word in ("ram", "storage", "n-cpus"))))
    return found


def number_in(part: ET.Element, word: str) -> int:
    text = (part.findtext(word) or "").strip()
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 18 else 0


def date_of(text: str | None) -> date | None:
    try:
        return date.fromisoformat(text or "")
    except ValueError:
        return None

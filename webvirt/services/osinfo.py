"""Which operating system a disc or an image holds, by osinfo-db: what its label says, or else the name of its file.

osinfo-db is a package of the distribution: a file of XML for each system, with patterns of its discs' labels and the
addresses of its images. They are read once and kept as short as may be. What is newer than the database is told from
its predecessors: where Debian 11 is known, `debian-12-generic-amd64.qcow2` is Debian 12. Without the database nothing
is recognized, and all else works.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from sys import intern
from typing import NamedTuple
from xml.etree import ElementTree as ET

from webvirt.hypervisor.types import DiscLabel

FOLDER = Path("/usr/share/osinfo/os")
OLDEST = "2009"
"""Systems that came out before are known by their discs alone: `debian-2` is somebody's second machine."""
MOST_AHEAD = 10
"""So many major versions may a name be ahead of the database."""
LONGEST = 255
"""Characters of a file's name that are looked at."""
IMAGE_WORDS = frozenset(
    re.findall(
        r"\w+",
        "base bios boot cd cloud cloudimg desktop dvd edition everything extended generic genericcloud guest image iso "
        "jeos kvm leap linux live minimal netinst nocloud os release s server standard std stream uefi virt vm "
        "workstation ws",
    )
)
"""Words that makers of images put between a system's name and its version; people put others there."""
ARCHITECTURE = re.compile(
    r"(?:^|[-._ ])(x86[-_]64|amd64|x64|aarch64|arm64|armhf|armv7l?|i[36]86|ppc64(le|el)?|s390x|riscv64)(?![a-z0-9])"
)
VERSIONED = re.compile(r"([a-z][a-z0-9-]*?[a-z])-?(\d+(?:\.\d+)*)(-unknown)?")
"""A short id in its parts, and whether it stands for what is not known any closer."""
NAMED = re.compile(r"(?:microsoft )?(.*?)[ -]?(\d+(?:\.\d+)*)?(?: lts)?")
AFTER = re.compile(r"((?:-[a-z]+)*?)-?v?(\d{1,4}(?:[.-]\d{1,2}(?!\d))*)(?![a-z0-9])")
"""Words and the version after a stem; labels have it with dashes, and dates are none."""
PATTERN = re.compile(r"[\\^$.|?*+()\[{]")


class System(NamedTuple):
    """An operating system: osinfo's short id (`debian12`) and its name. Both are empty where it is not known."""

    id: str = ""
    name: str = ""

    @property
    def is_vague(self) -> bool:
        """Whether it stands for all versions that are not known any closer: `rhel9-unknown`."""
        return self.id.endswith("unknown")


UNKNOWN = System()


class Medium(NamedTuple):
    """What the label of a disc looks like: patterns, empty where anything goes; `size` in bytes, 0 likewise."""

    system: System
    volume: str
    maker: str
    publisher: str
    application: str
    size: int

    @property
    def closeness(self) -> tuple[bool, int, int]:
        """By which of several that match the best is told."""
        said = sum(map(bool, (self.volume, self.maker, self.publisher, self.application, self.size)))
        return not self.system.is_vague, said, len(self.volume)


@dataclass
class Database:
    """All that is kept of osinfo-db."""

    media: list[Medium] = field(default_factory=list)
    files: dict[str, System] = field(default_factory=dict)
    """By the name of the file that one downloads, in small letters."""
    versions: dict[str, dict[str, System]] = field(default_factory=dict)
    """By stem and version: `debian`, `12`."""
    others: dict[str, System] = field(default_factory=dict)
    """By stem, those that have no version."""
    codenames: dict[str, System] = field(default_factory=dict)
    stems: re.Pattern[str] = re.compile(r"(?!)")
    """Any stem, at the beginning of a word."""


def system_of(name: str, label: DiscLabel | None = None) -> System:
    """The system on a volume of this name, and with this label if it is a disc; UNKNOWN where nothing tells."""
    known = database(FOLDER)
    found = by_label(known, label) if label else UNKNOWN
    if found.id and not found.is_vague:
        return found
    named = by_name(known, label.volume_id) if label else UNKNOWN
    return (named if named.id else found) if named.id or found.id else by_name(known, name)


# --- reading the database


@lru_cache(maxsize=1)
def database(folder: Path) -> Database:
    """Read all of a folder. About 0.2 s, once in a process."""
    known = Database()
    for one in definitions(folder):
        add(known, one)
    stems = sorted({*known.versions, *known.others}, key=len, reverse=True)
    if stems:
        joined = "|".join(re.escape(stem).replace(r"\-", "-?") for stem in stems)
        known.stems = re.compile(rf"(?<![a-z0-9])({joined})(?![a-z])")
    return known


def definitions(folder: Path) -> Iterator[ET.Element]:
    """The `<os>` of each system in a folder; a file that cannot be read is passed over."""
    for path in sorted(folder.glob("*/*.xml")):
        try:
            # Files of the distribution, which only root can write; expat fetches nothing that they name.
            root = ET.parse(path).getroot()  # noqa: S314
        except (OSError, ET.ParseError):
            continue
        yield from root.iterfind("os")


def add(known: Database, one: ET.Element) -> None:
    ids, name = [each.text or "" for each in one.iterfind("short-id")], one.findtext("name") or ""
    if not ids or not name:
        return
    system = System(ids[0], name.removesuffix(" Unknown"))
    known.media += media_of(system, one)
    for kind in ("media", "image"):
        for url in one.iterfind(f"{kind}/url"):
            known.files.setdefault((url.text or "").rpartition("/")[2].lower(), system)
    if (one.findtext("release-date") or OLDEST) < OLDEST:
        return
    distribution = one.findtext("distro") or ""
    for each in ids:
        if parts := VERSIONED.fullmatch(each):
            remember(known, parts[1], parts[2], system)
        elif each.startswith(distribution) and each[len(distribution) :].isalpha():
            known.codenames[each[len(distribution) :]] = system
    if parts := NAMED.fullmatch(system.name.lower()):
        remember(known, parts[1].replace(" ", "-"), parts[2] or "", system)


def media_of(system: System, one: ET.Element) -> Iterator[Medium]:
    for iso in one.iterfind("media/iso"):
        size = iso.findtext("volume-size") or ""
        words = (iso.findtext(f"{part}-id") or "" for part in ("volume", "system", "publisher", "application"))
        volume, maker, publisher, application = map(intern, words)
        if volume or publisher or application:
            yield Medium(system, volume, maker, publisher, application, int(size) if size.isdecimal() else 0)


def remember(known: Database, stem: str, version: str, system: System) -> None:
    """Under its stem, and under that without `linux`: images are called `alpine` and `rocky`."""
    short = stem.removesuffix("linux").rstrip("-")
    for each in {stem, short} - {"", "unknown"}:
        if version:
            known.versions.setdefault(each, {}).setdefault(version, system)
        elif not system.is_vague:
            known.others.setdefault(each, system)


# --- discs, by their label


def by_label(known: Database, label: DiscLabel) -> System:
    matching = [medium for medium in known.media if fits(medium, label)]
    return max(matching, key=lambda medium: medium.closeness).system if matching else UNKNOWN


def fits(medium: Medium, label: DiscLabel) -> bool:
    pairs = (
        (medium.volume, label.volume_id),
        (medium.maker, label.system_id),
        (medium.publisher, label.publisher_id),
        (medium.application, label.application_id),
    )
    return medium.size in (0, label.size) and all(holds(text, pattern) for pattern, text in pairs if pattern)


def holds(text: str, pattern: str) -> bool:
    """Whether a pattern is in a text. Few of thousands come as far as being compiled."""
    if beginning_of(pattern) not in text:
        return False
    compiled = compiled_of(pattern)
    return compiled is not None and compiled.search(text) is not None


def beginning_of(pattern: str) -> str:
    """What a text must hold to match; empty where that is not plain."""
    special = PATTERN.search(pattern)
    if special is None or "|" in pattern:
        return "" if special else pattern
    # The last character before `?` or `*` need not be there.
    return pattern[: max(0, special.start() - (special[0] in "?*{"))]


@lru_cache(maxsize=64)
def compiled_of(pattern: str) -> re.Pattern[str] | None:
    """GLib's patterns are nearly Python's; None for one that Python does not take."""
    try:
        return re.compile(pattern)
    except re.error:
        return None


# --- anything, by its name


def by_name(known: Database, name: str) -> System:
    """The system that a file's name or a label tells, as their makers write them."""
    lower = name[:LONGEST].lower()
    if found := known.files.get(lower):
        return found
    text = re.sub(r"[_ +]+|\.(?=[a-z])", "-", ARCHITECTURE.sub("", lower))
    for match in known.stems.finditer(text):
        if system := versioned(known, stem_of(known, match[1]), text[match.end() :]):
            return system
    first = known.stems.match(text)
    if first and (system := known.others.get(stem_of(known, first[1]))):
        return system
    return by_codename(known, text.split("-"))


def stem_of(known: Database, written: str) -> str:
    """A stem may be written without its dashes, and with more."""
    if written in known.versions or written in known.others:
        return written
    plain = written.replace("-", "")
    return next(stem for stem in (*known.versions, *known.others) if stem.replace("-", "") == plain)


def versioned(known: Database, stem: str, rest: str) -> System | None:
    """The system of a stem whose version comes next, with nothing in between but words of makers."""
    parts = AFTER.match(rest)
    if stem not in known.versions or not parts or not IMAGE_WORDS.issuperset(parts[1].split("-")[1:]):
        return None
    versions, numbers = known.versions[stem], re.split(r"[.-]", parts[2])
    shorter = [versions.get(".".join(numbers[:length])) for length in range(len(numbers), 0, -1)]
    found = next((system for system in shorter if system), None)
    return found if found and not found.is_vague else newer(versions, numbers) or found


def newer(versions: dict[str, System], numbers: list[str]) -> System | None:
    """A system that came out after the database, made from its predecessor; None where it cannot be one."""
    newest = max(map(numbers_of, versions))
    for length in dict.fromkeys((len(newest), 1)):
        now = ".".join(numbers[:length])
        before = [one for one in versions if len(numbers_of(one)) == length and numbers_of(one) < numbers_of(now)]
        if len(numbers) < length or not before:
            continue
        last = max(before, key=numbers_of)
        system, major = versions[last], numbers_of(now)[0]
        follows = major == numbers_of(last)[0] or newest[0] < major <= newest[0] + MOST_AHEAD
        stem = system.id.removesuffix("-unknown")
        if follows and stem.endswith(last) and last in system.name:
            return System(stem.removesuffix(last) + now, system.name.replace(last, now).removesuffix(" LTS"))
    return None


def numbers_of(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def by_codename(known: Database, words: list[str]) -> System:
    """`jammy-minimal-cloudimg`: first of all, and with a word of makers, since people name machines like that too."""
    for at, word in enumerate(words[:2]):
        system = known.codenames.get(word, UNKNOWN)
        if system.id and system.id.startswith(words[0] if at else "") and IMAGE_WORDS.intersection(words[at + 1 :]):
            return system
    return UNKNOWN

"""Trees: what makers of systems publish to install them over the network, and where an installer's kernel is in one.

osinfo-db knows the trees of many systems, and few of their kernels: these stand where their family always puts them, or
where the tree's own index (`.treeinfo`) says.
"""

from __future__ import annotations

import configparser
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from django.utils import timezone

from webvirt.services import osinfo, systems

INDEXES = (".treeinfo", "treeinfo")
MOST_INDEX = 2**20
"""Characters of an index; longer ones are none."""
DEBIAN_ARCHES = {"x86_64": "amd64", "aarch64": "arm64", "i686": "i386"}
BEST_VARIANTS = ("everything-netinst", "server")
"""Of several variants of a system's tree, the one that is offered, the best first."""
OVER_TLS = ("deb.debian.org", "download.opensuse.org", "mirror.stream.centos.org")
"""Servers that osinfo-db names without encryption, and that have it."""
FEDORA = "https://download.fedoraproject.org/pub/fedora/linux/releases"
LACKING = {
    "x86_64": (
        ("debian13", "https://deb.debian.org/debian/dists/trixie/main/installer-amd64/"),
        ("debian12", "https://deb.debian.org/debian/dists/bookworm/main/installer-amd64/"),
        ("fedora43", f"{FEDORA}/43/Everything/x86_64/os/"),
        ("almalinux10", "https://repo.almalinux.org/almalinux/10/BaseOS/x86_64/os/"),
        ("rocky10", "https://download.rockylinux.org/pub/rocky/10/BaseOS/x86_64/os/"),
        ("centos-stream10", "https://mirror.stream.centos.org/10-stream/BaseOS/x86_64/os/"),
        ("opensuse15.6", "https://download.opensuse.org/distribution/leap/15.6/repo/oss/"),
    ),
    "aarch64": (
        ("debian13", "https://deb.debian.org/debian/dists/trixie/main/installer-arm64/"),
        ("debian12", "https://deb.debian.org/debian/dists/bookworm/main/installer-arm64/"),
    ),
}
"""What older databases do not know, by architecture."""
TELLS = {
    "inst.repo={tree}": ("fedora", "rhel", "centos", "almalinux", "rocky", "ol", "silverblue", "circle", "scientific"),
    "install={tree}": ("opensuse", "sle"),
}
"""How an installer is told where its tree is, by the beginnings of systems' ids; Debian's asks for a mirror."""


class Tree(NamedTuple):
    """A tree of a system (osinfo's short id) that can be picked."""

    os: str
    name: str
    url: str


class Boot(NamedTuple):
    """Where a kernel and its initrd are, as seen from a tree.

    `sums` is the list of their checksums, `base` the folder that its names begin in; or `checksums` are those
    themselves (SHA-256). All may be empty.
    """

    kernel: str
    initrd: str
    sums: str = ""
    base: str = ""
    checksums: tuple[str, str] = ("", "")


def joined(tree: str, path: str) -> str:
    """The address of a file in a tree."""
    return f"{tree.rstrip('/')}/{path}"


def arguments_for(os: str, tree: str) -> str:
    """What an installer must be told to find its tree; empty where it needs nothing."""
    return next((text.format(tree=tree) for text, stems in TELLS.items() if os.startswith(stems)), "")


def layouts(tree: str, arch: str) -> tuple[Boot, ...]:
    """Where a kernel may be in a tree that has no index, the likeliest first."""
    debian = DEBIAN_ARCHES.get(arch, arch)
    images = [(folder, system) for folder in ("images", "legacy-images") for system in ("debian", "ubuntu")]
    found = [
        Boot(
            f"current/{folder}/netboot/{system}-installer/{debian}/linux",
            f"current/{folder}/netboot/{system}-installer/{debian}/initrd.gz",
            f"current/{folder}/SHA256SUMS",
            f"current/{folder}/",
        )
        for folder, system in images
    ]
    loader = f"boot/{arch}/loader" if arch == "x86_64" else f"boot/{arch}"
    suse = Boot(f"{loader}/linux", f"{loader}/initrd")
    redhat = Boot("images/pxeboot/vmlinuz", "images/pxeboot/initrd.img")
    plain = Boot(f"debian-installer/{debian}/linux", f"debian-installer/{debian}/initrd.gz")
    if "installer-" in tree:
        return (*found, plain, redhat, suse)
    return (redhat, suse, *found, plain)


def boot_in(index: str, arch: str) -> Boot | None:
    """What a tree's index says of its kernel; None where it says nothing, or names a place outside of the tree."""
    parser = configparser.RawConfigParser(strict=False, interpolation=None)
    # Names of files are told apart by their capitals.
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    try:
        parser.read_string(index[:MOST_INDEX])
    except configparser.Error:
        return None
    section = f"images-{arch}"
    kernel, initrd = (parser.get(section, name, fallback="") for name in ("kernel", "initrd"))
    if not kernel or not initrd or not all(map(is_inside, (kernel, initrd))):
        return None
    first, second = (checksum_of(parser, path) for path in (kernel, initrd))
    return Boot(kernel, initrd, checksums=(first, second))


def checksum_of(parser: configparser.RawConfigParser, path: str) -> str:
    kind, _colon, digest = parser.get("checksums", path, fallback="").partition(":")
    return digest.strip().lower() if kind == "sha256" and len(digest.strip()) == 64 else ""


def is_inside(path: str) -> bool:
    return not path.startswith("/") and "://" not in path and ".." not in path.split("/")


def trees(arch: str, today: date | None = None) -> tuple[Tree, ...]:
    """Those of systems that their makers still care for, by name, the newest of each kind first."""
    day = today or timezone.localdate()
    current = {choice.id: choice.name for choice in systems.systems(day) if choice.is_current}
    found: dict[str, Tree] = {}
    for os, url in LACKING.get(arch, ()):
        found[os] = Tree(os, systems.traits_of(os).name or os, url)
    for os, url in known(osinfo.FOLDER, arch).items():
        if os in current:
            found.setdefault(os, Tree(os, current[os], url))
    return tuple(sorted(found.values(), key=order_of))


def order_of(tree: Tree) -> tuple[str, tuple[int, ...]]:
    version = tree.name[len(systems.kind_of(tree.name)) :].strip().removesuffix(" LTS")
    numbers = osinfo.numbers_of(version) if version.replace(".", "").isdecimal() else ()
    return systems.kind_of(tree.name), tuple(-number for number in numbers)


@lru_cache(maxsize=4)
def known(folder: Path, arch: str) -> dict[str, str]:
    """The addresses of trees by system, of osinfo-db, read once in a process."""
    found = {}
    for one in osinfo.definitions(folder):
        short_id = one.findtext("short-id") or ""
        offered = [tree for tree in one.iterfind("tree") if tree.get("arch") == arch and tree.findtext("url")]
        variants = [[each.get("id", "") for each in tree.iterfind("variant")] for tree in offered]
        for best in (*BEST_VARIANTS, ""):
            fitting = [tree for tree, names in zip(offered, variants, strict=True) if best in names or not best]
            if short_id and fitting:
                found[short_id] = over_tls(fitting[0].findtext("url") or "")
                break
    return found


def over_tls(url: str) -> str:
    server = url.removeprefix("http://").partition("/")[0]
    return f"https://{url.removeprefix('http://')}" if server in OVER_TLS else url

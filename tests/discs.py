"""Discs with nothing but a label, and a small osinfo-db that knows some of them."""

from __future__ import annotations

import struct
from pathlib import Path

from webvirt.hypervisor.discs import LABEL_AT, LABEL_BYTES

BLOCK = 2048
BLOCKS = 24
"""In a disc of ours, which has no files."""
DISC_BYTES = BLOCK * BLOCKS


def label(
    volume: str = "", *, system: str = "", publisher: str = "", application: str = "", blocks: int = BLOCKS
) -> bytes:
    """A primary volume descriptor."""
    head = struct.pack("<B5sBx", 1, b"CD001", 1) + system.encode().ljust(32) + volume.encode().ljust(32)
    sizes = head.ljust(80, b"\0") + struct.pack("<I", blocks) + struct.pack(">I", blocks)
    whole = sizes.ljust(128, b"\0") + struct.pack("<H", BLOCK) + struct.pack(">H", BLOCK)
    whole = whole.ljust(318, b" ") + publisher.encode().ljust(128)
    return (whole.ljust(574, b" ") + application.encode().ljust(128)).ljust(LABEL_BYTES, b"\0")


def disc(volume: str = "", **parts: str) -> bytes:
    """All bytes of a disc of this label; libvirt takes it for an ISO."""
    return (bytes(LABEL_AT) + label(volume, **parts)).ljust(DISC_BYTES, b"\0")  # type: ignore[arg-type]


SYSTEMS = {
    "debian.org/debian-10.xml": ("debian10 debianbuster", "Debian 10", "debian", "2019-07-06", "Debian 10.* amd64", ""),
    "debian.org/debian-11.xml": (
        "debian11 debianbullseye",
        "Debian 11",
        "debian",
        "2021-08-14",
        r"Debian 11.\d+.\d+ amd64 n",
        "",
    ),
    "debian.org/debian-2.2.xml": ("debian2.2 debianpotato", "Debian Potato", "debian", "2000-08-15", "", ""),
    "ubuntu.com/ubuntu-22.04.xml": (
        "ubuntu22.04 ubuntujammy ubuntu-lts-latest",
        "Ubuntu 22.04 LTS",
        "ubuntu",
        "2022-04-21",
        r"Ubuntu-Server 22.04(.\d\+?)? LTS amd64",
        "https://example.org/jammy/jammy-server-cloudimg-amd64.img",
    ),
    "fedoraproject.org/fedora-37.xml": ("fedora37", "Fedora Linux 37", "fedora", "2022-11-15", "Fedora-.*-37.*", ""),
    "alpinelinux.org/alpinelinux-3.17.xml": (
        "alpinelinux3.17",
        "Alpine Linux 3.17",
        "alpinelinux",
        "2022-11-22",
        r"alpine-.* 3.17.\d+ x86_64",
        "",
    ),
    "redhat.com/rhel-9.1.xml": ("rhel9.1", "Red Hat Enterprise Linux 9.1", "rhel", "2022-11-15", "RHEL-9-1.*", ""),
    "redhat.com/rhel-9-unknown.xml": (
        "rhel9-unknown",
        "Red Hat Enterprise Linux 9 Unknown",
        "rhel",
        "",
        "RHEL-9-.*",
        "",
    ),
    "rockylinux.org/rocky-9-unknown.xml": ("rocky9-unknown rocky9", "Rocky Linux 9 Unknown", "rocky", "", "", ""),
    "opensuse.org/opensuse-15.4.xml": ("opensuse15.4", "openSUSE Leap 15.4", "opensuse", "2022-06-08", "", ""),
    "opensuse.org/opensuse-42.3.xml": ("opensuse42.3", "openSUSE Leap 42.3", "opensuse", "2017-07-26", "", ""),
    "opensuse.org/tumbleweed.xml": ("opensusetumbleweed", "openSUSE Tumbleweed", "opensuse", "", "", ""),
    "microsoft.com/win-2k22.xml": ("win2k22", "Microsoft Windows Server 2022", "win", "2021-08-18", "", ""),
    "archlinux.org/arch.xml": ("archlinux", "Arch Linux", "archlinux", "", r"ARCH_\d{6}", ""),
    "example.org/bad-pattern.xml": ("odd1.0", "Odd 1.0", "odd", "2020-01-01", "ODD (?<", ""),
}
"""Of each file: short ids, name, distribution, release date, what labels look like, the address of an image."""

WINDOWS = """<libosinfo version="0.0.1"><os id="http://microsoft.com/win/10">
  <short-id>win10</short-id><name>Microsoft Windows 10</name><distro>win</distro>
  <media arch="x86_64"><iso>
    <volume-id>CENA_X64FREV</volume-id><publisher-id>MICROSOFT CORPORATION</publisher-id>
    <volume-size>49152</volume-size>
  </iso></media>
</os></libosinfo>"""


def small_database(folder: Path) -> Path:
    """An osinfo-db of a few systems, with a file that is none."""
    files = {path: definition(*parts) for path, parts in SYSTEMS.items()} | {"microsoft.com/win-10.xml": WINDOWS}
    for path, text in (files | {"example.org/torn.xml": "<libosinfo><os>"}).items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return folder


def definition(ids: str, name: str, distro: str, released: str, volume: str, image: str) -> str:
    short = "".join(f"<short-id>{one}</short-id>" for one in ids.split())
    media = f"<media arch='x86_64'><iso><volume-id>{volume.replace('<', '&lt;')}</volume-id></iso></media>"
    date = f"<release-date>{released}</release-date>" if released else ""
    url = f"<image arch='x86_64' format='qcow2'><url>{image}</url></image>" if image else ""
    return (
        f"<libosinfo version='0.0.1'><os id='http://example.org/{name}'>{short}<name>{name}</name>"
        f"<distro>{distro}</distro>{date}{media if volume else ''}{url}</os></libosinfo>"
    )

"""Marks of operating systems: a coloured letter for each family, drawn by us, that tells them apart at a glance.

They are no logos. A family is told from osinfo's short id (`debian12`) or from its identity of a system
(`http://debian.org/debian/12`); pages know no osinfo-db.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from markupsafe import Markup


class Family(NamedTuple):
    """A family of systems: the beginning of its ids, its letters, what it is called, and the class of its colour."""

    stem: str
    letters: str
    name: str
    css: str


FAMILIES = (
    Family("debian", "D", "Debian", "os-debian"),
    Family("ubuntu", "U", "Ubuntu", "os-ubuntu"),
    Family("fedora", "F", "Fedora", "os-fedora"),
    Family("silverblue", "F", "Fedora Silverblue", "os-fedora"),
    Family("rhel", "R", "Red Hat Enterprise Linux", "os-rhel"),
    Family("centos-stream", "C", "CentOS Stream", "os-centos"),
    Family("centos", "C", "CentOS", "os-centos"),
    Family("almalinux", "A", "AlmaLinux", "os-alma"),
    Family("rocky", "Ro", "Rocky Linux", "os-rocky"),
    Family("ol", "O", "Oracle Linux", "os-rhel"),
    Family("opensuse", "S", "openSUSE", "os-suse"),
    Family("sle", "S", "SUSE Linux Enterprise", "os-suse"),
    Family("archlinux", "Ar", "Arch Linux", "os-arch"),
    Family("alpinelinux", "Al", "Alpine Linux", "os-alpine"),
    Family("win", "W", "Windows", "os-windows"),
    Family("freebsd", "Fb", "FreeBSD", "os-bsd"),
    Family("openbsd", "Ob", "OpenBSD", "os-bsd"),
    Family("netbsd", "Nb", "NetBSD", "os-bsd"),
)
OTHER = "os-other"
IDENTITY = re.compile(r"https?://[^/]+/([^/]+)/(.+)")
SHORT = re.compile(r"([a-z][a-z-]*?)-?(\d[\w.]*)?")


class Mark(NamedTuple):
    """What is drawn, and what it says to who cannot see it."""

    letters: str
    css: str
    label: str


@lru_cache(maxsize=512)
def mark_of(system: str, name: str = "") -> Mark | None:
    """The mark of a system; `name` is what people call it, where that is known. None where nothing is known of it."""
    if not system and not name:
        return None
    parts = IDENTITY.fullmatch(system) or SHORT.fullmatch(system)
    stem, version = (parts[1], parts[2] or "") if parts else (system, "")
    family = next((one for one in FAMILIES if stem == one.stem), None) or next(
        (one for one in FAMILIES if len(one.stem) > 2 and stem.startswith(one.stem)), None
    )
    if family:
        return Mark(family.letters, family.css, name or f"{family.name} {version}".strip())
    called = name or f"{stem} {version}".strip()
    return Mark(called[:1].upper(), OTHER, called)


def os_mark(system: str, name: str = "", *, says: bool = True) -> Markup:
    """The mark as HTML; `says` where nothing beside it says the same in words. Empty where nothing is known."""
    mark = mark_of(system, name)
    if mark is None:
        return Markup("")
    if not says:
        return Markup('<span class="mark {}" aria-hidden="true">{}</span>').format(mark.css, mark.letters)
    return Markup('<span class="mark {}" role="img" aria-label="{}" title="{}">{}</span>').format(
        mark.css, mark.label, mark.label, mark.letters
    )

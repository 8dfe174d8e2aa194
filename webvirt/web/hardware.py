"""A machine's hardware in words: what is so now beside what will be so at the next boot."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from django.utils.translation import gettext as _

from webvirt.models import Definition
from webvirt.web import words

Info = dict[str, Any]


@dataclass(frozen=True)
class Part:
    """One line: `now` is in force, `later` takes its place at the next boot where the two differ."""

    label: str
    now: str
    later: str
    icon: str = ""

    @property
    def differs(self) -> bool:
        return self.now != self.later


@dataclass
class Section:
    """Lines that belong together."""

    title: str
    icon: str
    parts: list[Part] = field(default_factory=list)

    @property
    def differs(self) -> bool:
        return any(part.differs for part in self.parts)


def compare(definition: Definition) -> list[Section]:
    """Both definitions side by side; without a live one there is nothing that could differ."""
    later: Info = definition.inactive
    now: Info = definition.live or later
    sections = [
        section(_("Processor and memory"), "cpu", now, later, processor),
        section(_("Firmware and boot"), "power", now, later, boot),
        section(_("Disks"), "database", now, later, disks),
        section(_("Network"), "network", now, later, interfaces),
        section(_("Display and input"), "device-desktop", now, later, display),
        section(_("Other devices"), "plug-connected", now, later, devices),
    ]
    return [found for found in sections if found.parts]


Lines = list[tuple[str, str]]


def section(title: str, icon: str, now: Info, later: Info, lines: Callable[[Info], Lines]) -> Section:
    old, new = numbered(lines(now)), numbered(lines(later))
    labels = [*old, *(key for key in new if key not in old)]
    return Section(title, icon, [Part(key[0], old.get(key, ""), new.get(key, "")) for key in labels])


def numbered(lines: Lines) -> dict[tuple[str, int], str]:
    """By label; of several with one label each keeps its place."""
    found: dict[tuple[str, int], str] = {}
    for label, text in lines:
        number = 0
        while (label, number) in found:
            number += 1
        found[label, number] = text
    return found


def processor(info: Info) -> Lines:
    vcpus, most = info.get("vcpus", 0), info.get("vcpus_max", 0)
    memory, limit = info.get("memory_kib", 0), info.get("memory_max_kib", 0)
    return present(
        (_("Virtual CPUs"), f"{vcpus} / {most}" if most > vcpus else str(vcpus)),
        (_("CPU model"), joined(info.get("cpu_mode"), info.get("cpu_model"))),
        (_("Memory"), words.size_kib(memory)),
        (_("Memory at most"), words.size_kib(limit) if limit and limit != memory else ""),
    )


def boot(info: Info) -> Lines:
    return present(
        (_("Machine type"), joined(info.get("arch"), info.get("machine"))),
        (_("Virtualization"), info.get("domain_type", "")),
        (_("Firmware"), str(info.get("firmware", "")).upper()),
        (_("Boot order"), ", ".join(info.get("boot", ()))),
        (_("Kernel"), info.get("kernel", "")),
        ("Initrd", info.get("initrd", "")),
    )


def disks(info: Info) -> Lines:
    return [(str(disk.get("target") or "?"), disk_words(disk)) for disk in info.get("disks", ())]


def disk_words(disk: Info) -> str:
    kind = {"cdrom": _("CD/DVD"), "floppy": _("floppy"), "lun": "LUN"}.get(disk.get("device", ""), "")
    source = disk.get("source") or _("empty")
    flags = [
        kind,
        disk.get("bus", ""),
        disk.get("format", ""),
        _("read only") if disk.get("readonly") and disk.get("device") != "cdrom" else "",
        _("boot order %(n)s") % {"n": disk["boot_order"]} if disk.get("boot_order") else "",
    ]
    return joined(source, *flags, by=" · ")


def interfaces(info: Info) -> Lines:
    return [(str(card.get("mac") or "?"), card_words(card)) for card in info.get("interfaces", ())]


def card_words(card: Info) -> str:
    kinds = {"network": _("network"), "bridge": _("bridge"), "direct": _("device"), "user": _("user mode")}
    source = joined(kinds.get(card.get("type", ""), card.get("type", "")), card.get("source"))
    unplugged = "" if card.get("link_up", True) else _("cable unplugged")
    return joined(source, card.get("model"), unplugged, by=" · ")


def display(info: Info) -> Lines:
    return present(
        *((_("Display"), graphics_words(graphics)) for graphics in info.get("graphics", ())),
        (_("Video"), info.get("video", "")),
        (_("Pointer"), _("tablet (absolute)") if info.get("has_tablet") else ""),
        (_("Clipboard"), _("channel present") if info.get("has_clipboard") else ""),
        (_("Guest agent"), _("channel present") if info.get("has_agent") else ""),
    )


def graphics_words(graphics: Info) -> str:
    """Without the port: that is libvirt's choice at each start and no difference in the definition."""
    listen = _("unix socket") if graphics.get("socket") else graphics.get("listen", "")
    password = _("with password") if graphics.get("has_password") else ""
    return joined(str(graphics.get("type", "")).upper(), listen, password, by=" · ")


def devices(info: Info) -> Lines:
    return [(str(device.get("kind", "")), str(device.get("description", ""))) for device in info.get("devices", ())]


def present(*lines: tuple[str, Any]) -> Lines:
    return [(label, str(text)) for label, text in lines if text]


def joined(*texts: Any, by: str = " ") -> str:
    return by.join(str(text) for text in texts if text)


def facts_of(info: Info) -> Lines:
    """The few facts of the overview."""
    count = len([disk for disk in info.get("disks", ()) if disk.get("device", "disk") == "disk"])
    return present(
        (_("Processor"), joined(_("%(n)s vCPU") % {"n": info.get("vcpus", 0)}, info.get("cpu_model"), by=" · ")),
        (_("Memory"), words.size_kib(info.get("memory_kib"))),
        (_("Machine"), joined(info.get("arch"), info.get("machine"), info.get("domain_type"), by=" · ")),
        (_("Firmware"), str(info.get("firmware", "")).upper()),
        (_("Disks"), str(count)),
        (_("Display"), ", ".join(str(graphics.get("type", "")).upper() for graphics in info.get("graphics", ()))),
        (_("Operating system"), info.get("os_id", "")),
    )


def addresses_of(definition: Definition) -> list[dict[str, Any]]:
    """The guest's addresses with who told us, in words."""
    sources = {"lease": _("DHCP lease"), "agent": _("guest agent"), "arp": _("ARP table")}
    found: Iterable[dict[str, Any]] = definition.addresses
    return [dict(address) | {"told_by": sources.get(address.get("source", ""), "")} for address in found]

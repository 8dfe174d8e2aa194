"""A machine made like another on another host: where its cards are there, and what that host lacks for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.utils.translation import gettext_lazy as _

from webvirt.hypervisor.types import CardSpec, Firmware, MachineSupport
from webvirt.hypervisor.xml.domain_copies import wants_secure_boot
from webvirt.models import Definition, Host, Network
from webvirt.services import uses
from webvirt.services.catalogue.building import mac_of
from webvirt.services.catalogue.creation import Wrong, wrong_cards
from webvirt.services.catalogue.moving import places_of
from webvirt.services.catalogue.verb import Rows
from webvirt.services.catalogue.wishes import CardWish

Cards = Sequence[CardWish | None]


def cards_on(definition: Definition, host: Host, chosen: Cards | None = None) -> list[CardWish | None]:
    """Where each card is on another host: where it was chosen, or else on the network or bridge of the same name, if
    there is one. It keeps its filter unless another is chosen."""
    places, there = places_of(host), definition.inactive.get("interfaces", ())
    wanted = [places.get(card.get("source", "")) for card in there] if chosen is None else chosen
    return [
        place.model_copy(update={"filter": place.filter or card.get("filter", "")}) if place else None
        for card, place in zip(there, wanted, strict=False)
    ]


def card_specs(cards: Cards, uuid: str) -> tuple[CardSpec | None, ...]:
    """The cards as the definition has them; those that the machine has not are None."""
    names = dict(Network.objects.filter(pk__in=[card.network for card in cards if card]).values_list("pk", "name"))
    return tuple(
        CardSpec(
            network=names.get(card.network, "") if card.network else "",
            bridge=card.bridge,
            mac=card.mac or mac_of(uuid, number),
            filter=card.filter,
        )
        if card
        else None
        for number, card in enumerate(cards)
    )


def wrong_places(rows: Rows, host: Host, definition: Definition, chosen: Cards | None) -> Wrong:
    """What cards cannot be where they are to be; those of which nobody said it, by the name of their network."""
    there = definition.inactive.get("interfaces", ())
    if chosen is not None and len(chosen) != len(there):
        yield "cards", _("It has %(n)s cards: say of each where it is to be.") % {"n": len(there)}
        return
    cards = cards_on(definition, host, chosen)
    for number, card in enumerate(there):
        if chosen is None and cards[number] is None:
            values = {"host": host.name, "name": card.get("source", "")}
            yield (
                f"cards.{number}.network",
                _("%(host)s has no network or bridge “%(name)s”: choose another for this card.") % values,
            )
    yield from wrong_cards(rows, host, cards)


def lacking(definition: Definition, host: Host) -> Wrong:
    """What another host lacks that a machine needs, by name; a host that has not told yet lacks nothing."""
    info = definition.inactive
    if info.get("kernel"):
        yield "host", _("It starts with a kernel that is a file of its host: %(name)s.") % {"name": info["kernel"]}
    if handed := [one.get("address") or one.get("ids", "") for one in info.get("handed", ())]:
        yield (
            "host",
            _("It is given devices of its host, which %(host)s does not have: %(names)s. Take them out first.")
            % {"host": host.name, "names": uses.used_by(handed)},
        )
    if not host.machines:
        return
    way, arch = info.get("domain_type", ""), info.get("arch", "")
    ways = [one for one in host.machines if one.type == way]
    if not ways:
        yield "host", _("%(host)s cannot run %(type)s.") % {"host": host.name, "type": way}
    elif arch and arch not in {one.arch for one in ways}:
        yield "host", _("%(host)s runs no machines of %(arch)s.") % {"host": host.name, "arch": arch}
    else:
        yield from lacking_for(info, host, support_for(ways, info), definition.inactive_xml)


def support_for(ways: list[MachineSupport], info: dict[str, Any]) -> MachineSupport:
    """What the host can do for this type of machine; a q35 is called `pc-q35-7.2` as well."""
    machine = info.get("machine", "")
    return next((one for one in ways if one.machine in machine.split("-")[:2][::-1]), ways[0])


def lacking_for(info: dict[str, Any], host: Host, support: MachineSupport, xml: str) -> Wrong:
    known, machine = host.info.get("machine_types", ()), info.get("machine", "")
    if known and machine and machine not in known:
        yield "host", _("%(host)s has no machine type %(name)s.") % {"host": host.name, "name": machine}
    if info.get("firmware") == Firmware.EFI and not support.efi:
        yield "host", _("%(host)s has no UEFI firmware: install OVMF there.") % {"host": host.name}
    elif wants_secure_boot(xml) and not support.secure_boot:
        yield "host", _("%(host)s has no firmware with secure boot: install OVMF there.") % {"host": host.name}
    if any(device["kind"] == "tpm" for device in info.get("devices", ())) and not support.tpm:
        yield "host", _("%(host)s has no TPM for machines: install swtpm there.") % {"host": host.name}
    mode = info.get("cpu_mode", "")
    if mode not in ("", "custom", *support.cpu_modes):
        yield "host", _("%(host)s cannot give a machine the processor %(name)s.") % {"host": host.name, "name": mode}
    video = info.get("video", "")
    if video and support.video_models and video not in support.video_models:
        yield "host", _("%(host)s has no graphics card %(name)s.") % {"host": host.name, "name": video}
    if info.get("vcpus_max", 0) > support.vcpus_max:
        yield "host", _("%(host)s runs no machine with so many processors.") % {"host": host.name}
    total = int(host.info.get("memory_kib", 0))
    if total and info.get("memory_kib", 0) > total:
        gib = f"{total / 1024**2:.1f}"
        yield "host", _("%(host)s has %(gib)s GiB of memory in all.") % {"host": host.name, "gib": gib}

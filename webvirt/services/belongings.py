"""What belongs to a machine: the files that its definition names, and who else needs each."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from django.db.models import Q

from webvirt.models import DiskUse, Domain, Volume
from webvirt.services import uses


@dataclass(frozen=True)
class Belonging:
    """A file, a device or a volume of a machine. `volume` is None for what is in no pool that we know."""

    slot: str
    device: str
    name: str
    volume: Volume | None
    others: list[str]
    """Who else needs it: machines, and images that are based on it."""
    is_own: bool
    """Whether it can go with the machine, and does unless somebody says otherwise: a disk that nobody else needs, or
    its seed. A disc is the library's: who may delete the machine need not be allowed to delete that."""


def of(domain: Domain) -> list[Belonging]:
    """All of them, disks before discs, each once."""
    found: dict[tuple[str, str, str], Belonging] = {}
    rows = list(DiskUse.objects.filter(domain=domain).order_by("device", "slot", "live"))
    volumes = volumes_of(domain, rows)
    for use in rows:
        key = (use.path, use.pool, use.volume)
        if key not in found:
            found[key] = belonging(domain, use, volumes.get(key))
    return sorted(found.values(), key=lambda one: (one.device not in uses.DISKS, one.slot))


def volumes_of(domain: Domain, rows: Iterable[DiskUse]) -> dict[tuple[str, str, str], Volume]:
    """The volumes that are meant, by path, or by pool and name; in one query."""
    named = Q(pk=None)
    for use in rows:
        named |= Q(pool__name=use.pool, name=use.volume) if use.volume else Q(path=use.path)
    here = Volume.objects.filter(named, pool__host=domain.host_id, missing_since=None).select_related("pool__host")
    found = {}
    for volume in here.order_by("-pk"):
        found[volume.path, "", ""] = found["", volume.pool.name, volume.name] = volume
    return found


def belonging(domain: Domain, use: DiskUse, volume: Volume | None) -> Belonging:
    name = volume.name if volume else use.path or f"{use.pool}/{use.volume}"
    if volume is None:
        return Belonging(use.slot, use.device, name, None, [], is_own=False)
    users = [one for one in uses.uses_of(volume) if (one.noun, one.pk) != ("domain", domain.pk)]
    others = list(dict.fromkeys(one.name for one in users))
    is_own = not others and (use.device in uses.DISKS or volume.pk == domain.seed_id)
    return Belonging(use.slot, use.device, name, volume, others, is_own)


def chosen(domain: Domain, wanted: list[int] | None) -> list[Volume]:
    """The volumes that go with a machine: its own, of these ids unless None."""
    own = [one.volume for one in of(domain) if one.volume and one.is_own]
    return own if wanted is None else [volume for volume in own if volume.pk in wanted]


def disks_by_source(domain: Domain) -> dict[str, Volume | None]:
    """Its disks by what the definition names them, a path or `pool/volume`, each with the volume; by one query."""
    definition = getattr(domain, "definition", None)
    disks = definition.shown.get("disks", ()) if definition else ()
    found: dict[str, Volume | None] = {disk["source"]: None for disk in disks if disk["device"] in uses.DISKS}
    if not found:
        return {}
    named = Q(path__in=list(found))
    for disk in disks:
        if disk.get("type") == "volume":
            pool, _slash, name = disk["source"].partition("/")
            named |= Q(pool__name=pool, name=name)
    for volume in Volume.objects.filter(named, pool__host=domain.host_id, missing_since=None).select_related("pool"):
        for source in (volume.path, f"{volume.pool.name}/{volume.name}"):
            if source in found:
                found[source] = volume
    return found


def drives_of(domain: Domain) -> dict[str, str]:
    """Its CD drives by target, each with what is in it; empty where nothing is."""
    definition = getattr(domain, "definition", None)
    disks = definition.shown.get("disks", ()) if definition else ()
    return {disk["target"]: disk["source"] for disk in disks if disk["device"] == "cdrom"}

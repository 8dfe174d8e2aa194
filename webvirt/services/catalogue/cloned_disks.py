"""What can become of a machine's disks and discs when it is cloned, on its own host or on another, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db.models import Q, QuerySet
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from webvirt.models import Definition, DiskUse, Domain, Host, Pool, Volume
from webvirt.services import belongings, uses
from webvirt.services.catalogue.building import FILES, MAKEABLE
from webvirt.services.catalogue.creation import OPEN
from webvirt.services.catalogue.wishes import Way

UNDER_LAYERS = ("qcow2", "raw")
"""Formats that there can be a layer over, and those that are taken to another host as they are."""


@dataclass(frozen=True)
class Disk:
    """A disk or a disc of a machine. `was` is where it is, as in `DiskInfo.source`: without a `volume`, in no pool.

    `there` is the same volume as the host of the clone has it; None where that is another and has it not.
    `place` is the pool that a copy of it goes to unless somebody says otherwise, `layer_place` that of a layer over it;
    None where there is none. `is_seed` marks the disc that told the machine at its first start what it is.
    """

    target: str
    device: str
    was: str
    is_read_only: bool
    volume: Volume | None = None
    there: Volume | None = None
    is_seed: bool = False
    of_template: bool = False
    elsewhere: str = ""
    """The name of the clone's host, where that is another."""
    place: Pool | None = None
    layer_place: Pool | None = None

    @property
    def name(self) -> str:
        return self.volume.name if self.volume else self.was

    @property
    def is_carried(self) -> bool:
        """Whether a copy of it is taken from one host to the other."""
        return bool(self.elsewhere) and self.there is None


def ways_for(disk: Disk) -> tuple[tuple[Way, ...], Promise | str]:
    """What can become of a disk, first what does where nobody says otherwise, and the reason for that."""
    if disk.is_seed:
        return (Way.LEAVE,), _("it tells the old machine what it is to be")
    if disk.is_read_only and disk.is_carried:
        return (Way.LEAVE,), _("%(host)s has no such disc: copy it there first") % {"host": disk.elsewhere}
    if disk.is_read_only:
        return (Way.SHARE, Way.LEAVE), _("it is only read")
    if disk.volume is None:
        return (Way.LEAVE,), _("it is in no pool, so no copy can be made of it")
    if reason := uses.volume_is_half_made(disk.volume) or (disk.is_carried and not_to_be_carried(disk, disk.volume)):
        return (Way.LEAVE,), reason
    return (
        ways_of_template(disk)
        if disk.of_template
        else ways_of_copies(disk, _("each machine needs its own to write to"))
    )


def ways_of_template(disk: Disk) -> tuple[tuple[Way, ...], Promise | str]:
    if disk.layer_place and disk.there and can_lie_under(disk.there):
        copy = (Way.COPY,) if disk.place else ()
        return (Way.LINK, *copy, Way.LEAVE), _("a template's disk never changes, so a layer over it will do")
    if disk.is_carried:
        reason = _("%(host)s does not have it, so there is no layer over it") % {"host": disk.elsewhere}
        return ways_of_copies(disk, reason)
    return ways_of_copies(disk, _("there can be no layer over it"))


def ways_of_copies(disk: Disk, reason: Promise | str) -> tuple[tuple[Way, ...], Promise | str]:
    if disk.place is None:
        return (Way.LEAVE,), _("no pool is running where a copy can be made")
    return (Way.COPY, Way.LEAVE), reason


def not_to_be_carried(disk: Disk, volume: Volume) -> Promise | str:
    """Why a volume cannot be taken to another host as it is."""
    if volume.encrypted:
        return _("it is encrypted, and its secret stays on its host")
    if volume.backing_path:
        return _("it is a layer over another image, which %(host)s does not have: clone it on its own host first") % {
            "host": disk.elsewhere
        }
    if volume.format not in UNDER_LAYERS:
        return _("it is an image of format %(format)s: clone it as qcow2 first") % {"format": volume.format}
    return ""


def can_lie_under(volume: Volume) -> bool:
    return volume.format in UNDER_LAYERS and not volume.encrypted and volume.path.startswith("/")


def can_be_in(pool: Pool, volume: Volume | None) -> bool:
    """Whether a volume can be taken into a pool of another host as it is: where that is the disk itself, raw alone."""
    return pool.type in FILES or volume is None or volume.format == "raw"


def disks_of(domain: Domain, elsewhere: Host | None = None) -> list[Disk]:
    """What a machine has in its disks and drives, as it will be at its next start; empty drives are left out."""
    definition = Definition.objects.filter(domain=domain).first()
    named = belongings.volumes_of(domain, DiskUse.objects.filter(domain=domain))
    pools = list(pools_of(elsewhere or domain.host))
    usable = usable_pools(domain, pools)
    return [
        disk_of(domain, found, named, pools, usable, elsewhere)
        for found in (definition.inactive.get("disks", ()) if definition else ())
        if found["source"]
    ]


def disk_of(
    domain: Domain,
    found: dict[str, Any],
    named: dict[tuple[str, str, str], Volume],
    pools: list[Pool],
    usable: list[Pool],
    elsewhere: Host | None,
) -> Disk:
    if found["type"] == "volume":
        pool, _slash, name = found["source"].partition("/")
        volume = named.get(("", pool, name))
    else:
        volume = named.get((found["source"], "", ""))
    there = volume_on(elsewhere, volume) if elsewhere and volume else volume
    # Those that its project may use first; of them its own, elsewhere the one of its name, then the one with the most
    # room.
    own = volume.pool if volume else None
    places = sorted(pools, key=lambda pool: (pool not in usable, own is None or pool.name != own.name))
    takes = [pool for pool in places if not elsewhere or there or can_be_in(pool, volume)]
    return Disk(
        target=found["target"],
        device=found["device"],
        was=found["source"],
        is_read_only=found["device"] == "cdrom" or bool(found["readonly"]),
        volume=volume,
        there=there,
        is_seed=volume is not None and volume.pk == domain.seed_id,
        of_template=domain.is_template,
        elsewhere=elsewhere.name if elsewhere else "",
        place=next(iter(takes), None),
        layer_place=next((pool for pool in places if pool.type in FILES), None),
    )


def volume_on(host: Host, volume: Volume) -> Volume | None:
    """The same volume as another host has it: of the same storage, or a disc of the same name, size and checksum."""
    for row in uses.same_volume(volume):
        if row.pool.host_id == host.pk:
            return row
    if not volume.is_iso:
        return None
    discs = Volume.objects.filter(pool__host=host, name=volume.name, capacity=volume.capacity, format=volume.format)
    alike = discs.filter(missing_since=None, making=None).select_related("pool")
    if volume.sha256:
        alike = alike.filter(Q(sha256="") | Q(sha256=volume.sha256))
    return alike.order_by("-sha256", "pk").first()


def usable_pools(domain: Domain, pools: list[Pool]) -> list[Pool]:
    """Those that the project of a machine may use, which are proposed first; all of them where there is none."""
    allowed = set(domain.project.allowed_pools.values_list("pk", flat=True)) if domain.project else set()
    return [pool for pool in pools if pool.pk in allowed] or pools


def pools_of(host: Host) -> QuerySet[Pool]:
    """The pools where volumes can be made under names that one chooses, those with the most room first."""
    found = Pool.objects.filter(host=host, status__in=OPEN, type__in=MAKEABLE, missing_since=None)
    return found.order_by("-available", "name")

"""The verb that makes a machine like another, and those of templates. What becomes of each disk is said here.

As with a new machine, the page shows the plan and the runner carries it out.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass, replace
from typing import Any

from django.db.models import QuerySet
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from webvirt.hypervisor.errors import HypervisorError
from webvirt.hypervisor.types import DiskCopy, DomainCopy
from webvirt.hypervisor.xml.domain_copies import copy_of
from webvirt.models import Definition, DiskUse, Domain, Host, Pool, Role, Status, Volume
from webvirt.services import belongings, templates, uses
from webvirt.services.catalogue.building import (
    FILES,
    MAKEABLE,
    NewVolume,
    command_for,
    commands_for_seed,
    luks_of,
    mac_of,
    seed_in,
    source_in,
)
from webvirt.services.catalogue.creation import NOBODY, OPEN, Wrong, cloud_files_for, wrong_names
from webvirt.services.catalogue.specs import NoParameters
from webvirt.services.catalogue.verb import Group, Queue, Rows, Verb, nothing_on_the_host, shown_uri, virsh
from webvirt.services.catalogue.wishes import CloneDomainSpec, DiskChoice, Way
from webvirt.services.phrases import said
from webvirt.services.seeds.logins import check_password
from webvirt.services.subjects import Subject

S = Status
RUNS = (S.RUNNING, S.PAUSED)
"""In these states a disk is copied while the machine may write to it."""
UNDER_LAYERS = ("qcow2", "raw")
"""Formats that there can be a layer over."""


@dataclass(frozen=True)
class Disk:
    """A disk or a disc of a machine. `was` is where it is, as in `DiskInfo.source`: without a `volume`, in no pool.

    `place` is the pool that a copy of it goes to unless somebody says otherwise, `layer_place` that of a layer over it;
    None where there is none. `is_seed` marks the disc that told the machine at its first start what it is.
    """

    target: str
    device: str
    was: str
    is_read_only: bool
    volume: Volume | None = None
    is_seed: bool = False
    of_template: bool = False
    place: Pool | None = None
    layer_place: Pool | None = None

    @property
    def name(self) -> str:
        return self.volume.name if self.volume else self.was


def ways_for(disk: Disk) -> tuple[tuple[Way, ...], Promise | str]:
    """What can become of a disk, first what does where nobody says otherwise, and the reason for that."""
    if disk.is_seed:
        return (Way.LEAVE,), _("it tells the old machine what it is to be")
    if disk.is_read_only:
        return (Way.SHARE, Way.LEAVE), _("it is only read")
    if disk.volume is None:
        return (Way.LEAVE,), _("it is in no pool, so no copy can be made of it")
    if reason := uses.volume_is_half_made(disk.volume):
        return (Way.LEAVE,), reason
    if disk.of_template and disk.layer_place and can_lie_under(disk.volume):
        copy = (Way.COPY,) if disk.place else ()
        return (Way.LINK, *copy, Way.LEAVE), _("a template's disk never changes, so a layer over it will do")
    if disk.place is None:
        return (Way.LEAVE,), _("no pool is running where a copy can be made")
    if disk.of_template:
        return (Way.COPY, Way.LEAVE), _("there can be no layer over it")
    return (Way.COPY, Way.LEAVE), _("each machine needs its own to write to")


def can_lie_under(volume: Volume) -> bool:
    return volume.format in UNDER_LAYERS and not volume.encrypted and volume.path.startswith("/")


def disks_of(domain: Domain) -> list[Disk]:
    """What a machine has in its disks and drives, as it will be at its next start; empty drives are left out."""
    definition = Definition.objects.filter(domain=domain).first()
    named = belongings.volumes_of(domain, DiskUse.objects.filter(domain=domain))
    pools = list(pools_of(domain.host))
    return [
        disk_of(domain, found, named, pools)
        for found in (definition.inactive.get("disks", ()) if definition else ())
        if found["source"]
    ]


def disk_of(
    domain: Domain, found: dict[str, Any], named: dict[tuple[str, str, str], Volume], pools: list[Pool]
) -> Disk:
    if found["type"] == "volume":
        pool, _slash, name = found["source"].partition("/")
        volume = named.get(("", pool, name))
    else:
        volume = named.get((found["source"], "", ""))
    # Its own pool first, then the one with the most room.
    places = sorted(pools, key=lambda pool: volume is None or pool.pk != volume.pool_id)
    return Disk(
        target=found["target"],
        device=found["device"],
        was=found["source"],
        is_read_only=found["device"] == "cdrom" or bool(found["readonly"]),
        volume=volume,
        is_seed=volume is not None and volume.pk == domain.seed_id,
        of_template=domain.is_template,
        place=next(iter(places), None),
        layer_place=next((pool for pool in places if pool.type in FILES), None),
    )


def pools_of(host: Host) -> QuerySet[Pool]:
    """The pools where volumes can be made under names that one chooses, those with the most room first."""
    found = Pool.objects.filter(host=host, status__in=OPEN, type__in=MAKEABLE, missing_since=None)
    return found.order_by("-available", "name")


# --- the plan


@dataclass(frozen=True)
class ClonePlan:
    """Everything that is made for a clone, and what its definition has instead of the other's."""

    copy: DomainCopy
    volumes: tuple[NewVolume, ...] = ()
    seed: NewVolume | None = None
    decided: tuple[tuple[Disk, Way, Promise | str], ...] = ()
    """What becomes of each disk; the reason where nobody chose it."""


def clone_plan_of(domain: Domain, wish: CloneDomainSpec, uuid: str) -> ClonePlan:
    """What is made for a wish that fits the machine; `uuid` also decides on its MAC addresses."""
    chosen = {choice.target: choice for choice in wish.disks}
    disks, decided = [], []
    volumes: list[NewVolume] = []
    for disk in disks_of(domain):
        ways, reason = ways_for(disk)
        choice = chosen.get(disk.target)
        way = choice.way if choice else ways[0]
        decided.append((disk, way, "" if choice and choice.way != ways[0] else reason))
        new = new_volume(wish.name, disk, way, choice, len(volumes))
        if new:
            volumes.append(new)
        disks.append(disk_copy(disk, way, new))
    seed = seed_in(seed_pool(domain, volumes), wish.name) if wish.setup else None
    copy = DomainCopy(
        uuid=uuid,
        name=wish.name,
        title=wish.title,
        macs=macs_of(domain, uuid),
        disks=tuple(disks),
        seed=source_in(seed.pool, seed.name, seed.path) if seed else None,
    )
    return ClonePlan(copy, tuple(volumes), seed, tuple(decided))


def new_volume(name: str, disk: Disk, way: Way, choice: DiskChoice | None, number: int) -> NewVolume | None:
    """The volume that is made for a disk; None where none is, or could be."""
    place = disk.layer_place if way == Way.LINK else disk.place
    pool = Pool.objects.filter(pk=choice.pool).first() if choice and choice.pool else place
    if way not in (Way.COPY, Way.LINK) or disk.volume is None or pool is None:
        return None
    is_file = pool.type in FILES
    same = disk.volume.format if disk.volume.format in UNDER_LAYERS else "qcow2"
    kind = "qcow2" if way == Way.LINK else same if is_file else "raw"
    stem = name if number == 0 else f"{name}-{number + 1}"
    full = f"{stem}.{kind}" if is_file else stem
    return NewVolume(pool, full, kind, disk.volume.capacity, disk.volume, linked=way == Way.LINK)


def disk_copy(disk: Disk, way: Way, new: NewVolume | None) -> DiskCopy:
    if way == Way.SHARE:
        return DiskCopy(disk.target, disk.was, keep=True)
    if new is None:
        return DiskCopy(disk.target, disk.was)
    luks = luks_of(disk.volume) if disk.volume else ""
    return DiskCopy(disk.target, disk.was, source=source_in(new.pool, new.name, new.path), format=new.format, luks=luks)


def seed_pool(domain: Domain, volumes: list[NewVolume]) -> Pool | None:
    return volumes[0].pool if volumes else pools_of(domain.host).first()


def macs_of(domain: Domain, uuid: str) -> tuple[str, ...]:
    definition = Definition.objects.filter(domain=domain).first()
    cards = definition.inactive.get("interfaces", ()) if definition else ()
    return tuple(mac_of(uuid, number) for number in range(len(cards)))


def files_for_clone(wish: CloneDomainSpec, plan: ClonePlan, password_hash: str = "") -> tuple[dict[str, bytes], str]:
    """The files that tell the clone at its first start what it is to be, and the label of their disc. ValueError."""
    assert wish.setup is not None
    return cloud_files_for(wish.setup, wish.name, plan.copy.uuid, plan.copy.macs, password_hash)


# --- what does not fit


def clone_misfits(rows: Rows, domain: Domain, wish: CloneDomainSpec) -> dict[str, str]:
    """What cannot become of its disks, and what the clone cannot be."""
    found = list(wrong_choices(rows, domain, wish))
    if not found:
        plan = clone_plan_of(domain, wish, NOBODY)
        found = [
            *wrong_names(domain.host, wish.name, plan.volumes),
            *wrong_while_it_runs(domain, plan),
            *wrong_clone(domain, wish, plan),
        ]
    # The first thing that is wrong with a field is what one reads.
    return {name: str(sentence) for name, sentence in reversed(found)}


def wrong_choices(rows: Rows, domain: Domain, wish: CloneDomainSpec) -> Wrong:
    disks = {disk.target: disk for disk in disks_of(domain)}
    named = [choice.pool for choice in wish.disks if choice.pool]
    pools = {row.pk: row for row in rows("pool").filter(host=domain.host_id, pk__in=named)}
    for number, choice in enumerate(wish.disks):
        disk, field = disks.get(choice.target), f"disks.{number}"
        if disk is None:
            yield f"{field}.target", _("The machine has no such disk.")
            continue
        ways, reason = ways_for(disk)
        if choice.way not in ways:
            yield f"{field}.way", why_not_so(disk, choice.way, reason)
        elif choice.pool and choice.way in (Way.COPY, Way.LINK):
            yield from wrong_pool(f"{field}.pool", pools.get(choice.pool), choice.way)


def why_not_so(disk: Disk, way: Way, reason: Promise | str) -> Promise | str:
    """Why something cannot become of a disk, and what could instead."""
    if way == Way.SHARE:
        return _("Two machines would write to it: make a copy, or leave it out.")
    if way == Way.LINK and not disk.of_template:
        return _(
            "There can be a layer over a template's disk alone: make the machine a template first, or a full copy."
        )
    if way == Way.LINK:
        return _("There can be no layer over it: make a full copy.")
    return _("No copy can be made of it: %(reason)s.") % {"reason": reason}


def wrong_pool(field: str, pool: Pool | None, way: Way) -> Wrong:
    if pool is None:
        yield field, _("This pool is not on this host.")
    elif pool.status not in OPEN:
        yield field, _("This pool is not running: start it first.")
    elif pool.type not in MAKEABLE:
        yield field, _("In a pool of this type no disk can be made under a name: choose another.")
    elif way == Way.LINK and pool.type not in FILES:
        yield field, _("In this pool a volume is the disk itself: take a full copy.")


def wrong_clone(domain: Domain, wish: CloneDomainSpec, plan: ClonePlan) -> Wrong:
    definition = Definition.objects.filter(domain=domain).first()
    if definition is None:
        yield "", _("Its definition has not been read yet: try again in a moment.")
        return
    if wish.setup and plan.seed is None:
        yield "setup", _("There is no pool for the disc with these settings.")
    elif wish.setup:
        try:
            check_password(wish.password.get_secret_value())
            files_for_clone(wish, plan)
        except ValueError as error:
            yield "setup", said(str(error))
    try:
        copy_of(definition.inactive_xml, plan.copy)
    except HypervisorError as error:
        yield "", said(str(error))


def cannot_be_cloned(domain: Domain) -> str:
    """Why a machine cannot be cloned as it is now."""
    if not domain.persistent:
        return str(_("a transient machine has no definition of its own"))
    if domain.status == S.SAVED:
        return str(_("its memory is saved, and its disks alone are not all of it: restore it, and shut it down"))
    if domain.status in (S.SHUTOFF, S.CRASHED) or (domain.status in RUNS and not domain.is_template):
        return ""
    return str(_("it runs and writes to its disks: shut it down first"))


def wrong_while_it_runs(domain: Domain, plan: ClonePlan) -> Wrong:
    """What cannot be copied while a machine writes to it."""
    if domain.status not in RUNS:
        return
    if len(plan.volumes) > 1:
        yield (
            "disks",
            _("It runs, and several disks would not be of one moment: leave out all but one, or shut it down."),
        )
    for new in plan.volumes:
        if new.origin and new.origin.encrypted:
            yield "disks", _("It runs, and an encrypted disk can be copied only while it is off: shut it down.")
        elif not any(disk.source and disk.source.path == new.path for disk in plan.copy.disks):
            yield "disks", _("It runs, and its disk can be copied only to a pool on the host itself: choose another.")


def template_misfits(rows: Rows, domain: Domain, spec: NoParameters) -> dict[str, str]:
    reason = templates.has_shared_disk(domain)
    return {"": str(_("It cannot be a template: %(reason)s.") % {"reason": reason})} if reason else {}


# --- in words


def virsh_clone_domain(target: Subject, wish: CloneDomainSpec) -> str:
    """A line for each step; what changes in the definition is for an editor."""
    assert isinstance(target, Domain)
    plan = clone_plan_of(target, wish, NOBODY)
    base = f"virsh -c {shlex.quote(shown_uri(target))}"
    definition = shlex.quote(f"{wish.name}.xml")
    runs = target.status in RUNS
    lines = [command_for(base, replace(new, origin=None) if runs else new) for new in plan.volumes]
    if runs:
        # QEMU alone may read what it writes to.
        lines += [
            f"{virsh('blockcopy')(target, wish)} {disk.target} --dest {shlex.quote(disk.source.path)} "
            f"--format {disk.format} --reuse-external --transient-job --wait --finish"
            for disk in plan.copy.disks
            if disk.source
        ]
    lines += commands_for_seed(base, plan.seed)
    lines += [
        f"{virsh('dumpxml')(target, wish)} --inactive --security-info > {definition}",
        f"{base} define {definition} --validate",
    ]
    return "\n".join([*lines, *([f"{base} start {shlex.quote(wish.name)}"] if wish.start else [])])


def at_their_paths(copy: DomainCopy, real: dict[str, str]) -> DomainCopy:
    """The copy with its new disks where the host put them."""
    disks = tuple(
        replace(disk, source=replace(disk.source, path=real[disk.source.path]))
        if disk.source and disk.source.path in real
        else disk
        for disk in copy.disks
    )
    seed = copy.seed
    return replace(copy, disks=disks, seed=replace(seed, path=real[seed.path]) if seed and seed.path in real else seed)


VERBS = (
    Verb(
        "domain.clone",
        pgettext_lazy("verb", "Clone"),
        Role.OWNER,
        virsh_clone_domain,
        spec=CloneDomainSpec,
        # Several may be made of one at once.
        exclusive=False,
        shared=True,
        host_role=Role.OWNER,
        cancellable=True,
        queue=Queue.SLOW,
        group=Group.CHANGE,
        icon="copy",
        forbids=cannot_be_cloned,
        misfits=clone_misfits,
    ),
    Verb(
        "domain.to_template",
        _("Make it a template"),
        Role.OWNER,
        nothing_on_the_host,
        states=frozenset({S.SHUTOFF, S.CRASHED}),
        group=Group.CHANGE,
        icon="template",
        forbids=templates.cannot_become,
        misfits=template_misfits,
    ),
    Verb(
        "domain.from_template",
        _("Make it a machine again"),
        Role.OWNER,
        nothing_on_the_host,
        group=Group.CHANGE,
        icon="arrow-back-up",
        forbids=templates.cannot_be_again,
    ),
)

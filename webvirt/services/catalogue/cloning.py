"""The verb that makes a machine like another, and those of templates. What becomes of each disk is said here.

As with a new machine, the page shows the plan and the runner carries it out.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass, replace

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from webvirt.hypervisor.errors import HypervisorError
from webvirt.hypervisor.types import CardSpec, DiskCopy, DomainCopy
from webvirt.hypervisor.xml.domain_copies import preview_of_copy
from webvirt.models import Definition, Domain, Host, Pool, Role, Status
from webvirt.services import templates
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
    source_of,
)
from webvirt.services.catalogue.cloned_disks import (
    UNDER_LAYERS,
    Disk,
    can_be_in,
    disks_of,
    pools_of,
    usable_pools,
    ways_for,
)
from webvirt.services.catalogue.creation import NOBODY, OPEN, Wrong, cloud_files_for, wrong_names
from webvirt.services.catalogue.elsewhere import card_specs, cards_on, lacking, wrong_places
from webvirt.services.catalogue.verb import (
    Group,
    Queue,
    Reach,
    Rows,
    Verb,
    nothing_on_the_host,
    project_or_its_own,
    shown_uri,
    virsh,
)
from webvirt.services.catalogue.volumes import commands_to_carry
from webvirt.services.catalogue.wishes import CloneDomainSpec, DiskChoice, ToTemplateSpec, Way
from webvirt.services.phrases import said
from webvirt.services.quotas import Amounts
from webvirt.services.seeds.logins import check_password
from webvirt.services.subjects import Subject

S = Status
RUNS = (S.RUNNING, S.PAUSED)
"""In these states a disk is copied while the machine may write to it."""


# --- the plan


@dataclass(frozen=True)
class ClonePlan:
    """Everything that is made for a clone, and what its definition has instead of the other's."""

    host: Host
    copy: DomainCopy
    volumes: tuple[NewVolume, ...] = ()
    seed: NewVolume | None = None
    decided: tuple[tuple[Disk, Way, Promise | str], ...] = ()
    """What becomes of each disk; the reason where nobody chose it."""
    cards: tuple[CardSpec | None, ...] | None = None
    """On another host: where each card is there."""

    def is_carried(self, new: NewVolume) -> bool:
        """Whether a volume is a copy of one that is on another host."""
        return new.origin is not None and new.origin.pool.host_id != self.host.pk


def other_host(domain: Domain, wish: CloneDomainSpec) -> Host | None:
    """The host that a clone is made on, where it is another."""
    if wish.host in (None, domain.host_id):
        return None
    return Host.objects.kept().filter(pk=wish.host).first()


def clone_plan_of(domain: Domain, wish: CloneDomainSpec, uuid: str) -> ClonePlan:
    """What is made for a wish that fits the machine; `uuid` also decides on its MAC addresses."""
    elsewhere = other_host(domain, wish)
    chosen = {choice.target: choice for choice in wish.disks}
    disks, decided = [], []
    volumes: list[NewVolume] = []
    for disk in disks_of(domain, elsewhere):
        ways, reason = ways_for(disk)
        choice = chosen.get(disk.target)
        way = choice.way if choice else ways[0]
        decided.append((disk, way, "" if choice and choice.way != ways[0] else reason))
        new = new_volume(wish.name, disk, way, choice, len(volumes))
        if new:
            volumes.append(new)
        disks.append(disk_copy(disk, way, new))
    host = elsewhere or domain.host
    seed = seed_in(seed_pool(domain, host, volumes), wish.name) if wish.setup else None
    cards = places_of_cards(domain, wish, elsewhere, uuid) if elsewhere else None
    copy = DomainCopy(
        uuid=uuid,
        name=wish.name,
        title=wish.title,
        macs=macs_of(domain, uuid) if cards is None else tuple(card.mac for card in cards if card),
        disks=tuple(disks),
        seed=source_in(seed.pool, seed.name, seed.path) if seed else None,
    )
    return ClonePlan(host, copy, tuple(volumes), seed, tuple(decided), cards)


def places_of_cards(domain: Domain, wish: CloneDomainSpec, elsewhere: Host, uuid: str) -> tuple[CardSpec | None, ...]:
    definition = Definition.objects.filter(domain=domain).first()
    if definition is None:
        return ()
    return card_specs(cards_on(definition, elsewhere, wish.cards), uuid)


def new_volume(name: str, disk: Disk, way: Way, choice: DiskChoice | None, number: int) -> NewVolume | None:
    """The volume that is made for a disk; None where none is, or could be."""
    place = disk.layer_place if way == Way.LINK else disk.place
    pool = Pool.objects.filter(pk=choice.pool).select_related("host").first() if choice and choice.pool else place
    origin = disk.there or disk.volume
    if way not in (Way.COPY, Way.LINK) or origin is None or pool is None:
        return None
    is_file = pool.type in FILES
    same = origin.format if origin.format in UNDER_LAYERS else "qcow2"
    kind = "qcow2" if way == Way.LINK else same if is_file else "raw"
    stem = name if number == 0 else f"{name}-{number + 1}"
    full = f"{stem}.{kind}" if is_file else stem
    return NewVolume(pool, full, kind, origin.capacity, origin, linked=way == Way.LINK)


def disk_copy(disk: Disk, way: Way, new: NewVolume | None) -> DiskCopy:
    if way == Way.SHARE and disk.elsewhere and disk.there:
        kind = disk.there.format if disk.there.format in UNDER_LAYERS else "raw"
        return DiskCopy(disk.target, disk.was, source=source_of(disk.there), format=kind)
    if way == Way.SHARE:
        return DiskCopy(disk.target, disk.was, keep=True)
    if new is None:
        return DiskCopy(disk.target, disk.was)
    luks = luks_of(disk.volume) if disk.volume else ""
    return DiskCopy(disk.target, disk.was, source=source_in(new.pool, new.name, new.path), format=new.format, luks=luks)


def seed_pool(domain: Domain, host: Host, volumes: list[NewVolume]) -> Pool | None:
    return volumes[0].pool if volumes else next(iter(usable_pools(domain, list(pools_of(host)))), None)


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
    definition = Definition.objects.filter(domain=domain).first()
    if definition is None:
        return {"": str(_("Its definition has not been read yet: try again in a moment."))}
    elsewhere = other_host(domain, wish)
    found = list(wrong_elsewhere(rows, domain, wish, definition, elsewhere))
    found = found or list(wrong_choices(rows, domain, wish, elsewhere))
    if not found:
        plan = clone_plan_of(domain, wish, NOBODY)
        found = [
            *wrong_names(plan.host, wish.name, plan.volumes),
            *wrong_while_it_runs(domain, plan),
            *wrong_clone(definition, wish, plan),
        ]
    # The first thing that is wrong with a field is what one reads.
    return {name: str(sentence) for name, sentence in reversed(found)}


def wrong_elsewhere(
    rows: Rows, domain: Domain, wish: CloneDomainSpec, definition: Definition, elsewhere: Host | None
) -> Wrong:
    """What another host lacks. Nothing is asked of it: what it told us is enough."""
    if elsewhere is None or not rows("host").filter(pk=elsewhere.pk).exists():
        if wish.host not in (None, domain.host_id):
            yield "host", _("There is nothing of this number.")
        elif wish.cards is not None:
            yield "cards", _("On its own host a clone's cards are where the old machine's are.")
        return
    if domain.status in RUNS:
        yield (
            "host",
            _("It runs, and its disks go to another host only while it is off: shut it down, or clone it here."),
        )
    yield from lacking(definition, elsewhere)
    yield from wrong_places(rows, elsewhere, definition, wish.cards)
    said_of = {choice.target for choice in wish.disks}
    for disk in disks_of(domain, elsewhere):
        ways, reason = ways_for(disk)
        if disk.target not in said_of and ways == (Way.LEAVE,) and not (disk.is_seed or disk.device == "cdrom"):
            values = {"name": disk.target, "reason": reason}
            yield "disks", _("%(name)s cannot come along: %(reason)s. Leave it out, or see to that.") % values


def wrong_choices(rows: Rows, domain: Domain, wish: CloneDomainSpec, elsewhere: Host | None) -> Wrong:
    disks = {disk.target: disk for disk in disks_of(domain, elsewhere)}
    named = [choice.pool for choice in wish.disks if choice.pool]
    pools = {row.pk: row for row in rows("pool").filter(host=elsewhere or domain.host_id, pk__in=named)}
    for number, choice in enumerate(wish.disks):
        disk, field = disks.get(choice.target), f"disks.{number}"
        if disk is None:
            yield f"{field}.target", _("The machine has no such disk.")
            continue
        ways, reason = ways_for(disk)
        if choice.way not in ways:
            yield f"{field}.way", why_not_so(disk, choice.way, reason)
        elif choice.pool and choice.way in (Way.COPY, Way.LINK):
            yield from wrong_pool(f"{field}.pool", pools.get(choice.pool), choice.way, disk)


def why_not_so(disk: Disk, way: Way, reason: Promise | str) -> Promise | str:
    """Why something cannot become of a disk, and what could instead."""
    if way == Way.SHARE and disk.is_read_only:
        return _("It cannot be shared: %(reason)s.") % {"reason": reason}
    if way == Way.SHARE:
        return _("Two machines would write to it: make a copy, or leave it out.")
    if way == Way.LINK and not disk.of_template:
        return _(
            "There can be a layer over a template's disk alone: make the machine a template first, or a full copy."
        )
    if way == Way.LINK and disk.is_carried:
        values = {"host": disk.elsewhere}
        return (
            _("A layer needs the template's disk below it, and %(host)s does not have it: make a full copy.") % values
        )
    if way == Way.LINK:
        return _("There can be no layer over it: make a full copy.")
    return _("No copy can be made of it: %(reason)s.") % {"reason": reason}


def wrong_pool(field: str, pool: Pool | None, way: Way, disk: Disk) -> Wrong:
    if pool is None:
        yield field, _("This pool is not on this host.")
    elif pool.status not in OPEN:
        yield field, _("This pool is not running: start it first.")
    elif pool.type not in MAKEABLE:
        yield field, _("In a pool of this type no disk can be made under a name: choose another.")
    elif way == Way.LINK and pool.type not in FILES:
        yield field, _("In this pool a volume is the disk itself: take a full copy.")
    elif disk.is_carried and not can_be_in(pool, disk.volume):
        yield field, _("In this pool a volume is the disk itself, and this one is an image: choose another pool.")


def wrong_clone(definition: Definition, wish: CloneDomainSpec, plan: ClonePlan) -> Wrong:
    if wish.setup and plan.seed is None:
        yield "setup", _("There is no pool for the disc with these settings.")
    elif wish.setup:
        try:
            check_password(wish.password.get_secret_value())
            files_for_clone(wish, plan)
        except ValueError as error:
            yield "setup", said(str(error))
    try:
        preview_of_copy(definition.inactive_xml, plan.copy, plan.cards)
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
    for new in plan.volumes:
        if new.origin and new.origin.encrypted:
            yield "disks", _("It runs, and an encrypted disk can be copied only while it is off: shut it down.")
        elif not any(disk.source and disk.source.path == new.path for disk in plan.copy.disks):
            yield "disks", _("It runs, and its disk can be copied only to a pool on the host itself: choose another.")


def template_misfits(rows: Rows, domain: Domain, spec: ToTemplateSpec) -> dict[str, str]:
    if shared := templates.has_shared_disk(domain):
        return {"": str(_("It cannot be a template: %(reason)s.") % {"reason": shared})}
    if spec.succeeds is None:
        return {}
    before = rows("domain").filter(pk=spec.succeeds).first()
    if before is None:
        return {"succeeds": str(_("There is nothing of this number."))}
    reason = templates.cannot_be_succeeded(before, domain.host)
    return {"succeeds": reason} if reason else {}


def taken_by_clone(domain: Domain, wish: CloneDomainSpec) -> Amounts:
    """What a clone takes of a quota."""
    disk = sum(new.capacity for new in clone_plan_of(domain, wish, NOBODY).volumes)
    return Amounts(machines=1, vcpus=domain.vcpus, memory_kib=domain.memory_kib, disk=disk)


# --- in words


def virsh_clone_domain(target: Subject, wish: CloneDomainSpec) -> str:
    """A line for each step; what changes in the definition is for an editor."""
    assert isinstance(target, Domain)
    plan = clone_plan_of(target, wish, NOBODY)
    base = f"virsh -c {shlex.quote(shown_uri(plan.host))}"
    definition = shlex.quote(f"{wish.name}.xml")
    runs = target.status in RUNS
    lines = []
    for new in plan.volumes:
        if new.origin and plan.is_carried(new):
            lines += commands_to_carry(new.origin, new.pool, new.name)
        else:
            lines.append(command_for(base, replace(new, origin=None) if runs else new))
    if runs:
        lines += commands_for_mirrors(target, wish, plan)
    lines += commands_for_seed(base, plan.seed)
    secrets = "" if plan.cards is not None else " --security-info"
    lines += [
        f"{virsh('dumpxml')(target, wish)} --inactive{secrets} > {definition}",
        f"{base} define {definition} --validate",
    ]
    return "\n".join([*lines, *([f"{base} start {shlex.quote(wish.name)}"] if wish.start else [])])


def commands_for_mirrors(domain: Domain, wish: CloneDomainSpec, plan: ClonePlan) -> list[str]:
    """What copies the disks of a machine that runs: QEMU alone may read what it writes to."""
    disks = [(disk.target, disk.source.path, disk.format) for disk in plan.copy.disks if disk.source]
    how = "--reuse-external --transient-job --wait"
    copies = [
        f"{virsh('blockcopy')(domain, wish)} {target} --dest {shlex.quote(path)} --format {kind} {how}"
        for target, path, kind in disks
    ]
    ends = [f"{virsh('blockjob')(domain, wish)} {target} --abort" for target, _path, _kind in disks]
    around: list[tuple[str, str]] = [("domfsfreeze", "domfsthaw")] if has_agent(domain) else []
    around += [("suspend", "resume")] if pauses(domain, plan) else []
    before = [virsh(word)(domain, wish) for word, _after in around]
    after = [virsh(word)(domain, wish) for _before, word in reversed(around)]
    return [*copies, *before, *ends, *after] if disks else []


def has_agent(domain: Domain) -> bool:
    """Whether a running machine can write out what it holds before its disks are taken as they are."""
    definition = Definition.objects.filter(domain=domain).first()
    live = definition.live if definition and domain.status == S.RUNNING else None
    return bool(live and live.get("agent_connected"))


def pauses(domain: Domain, plan: ClonePlan) -> bool:
    """Whether a machine is paused for a moment, so that all the copies are of one instant."""
    return domain.status == S.RUNNING and len(plan.volumes) > 1


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
        reaches=lambda domain, spec: (Reach("host", "host", spec.host, "domain.create"),) if spec.host else (),
        forbids=cannot_be_cloned,
        inside=True,
        into=project_or_its_own,
        takes=taken_by_clone,
        misfits=clone_misfits,
    ),
    Verb(
        "domain.to_template",
        _("Make it a template"),
        Role.OWNER,
        nothing_on_the_host,
        spec=ToTemplateSpec,
        states=frozenset({S.SHUTOFF, S.CRASHED}),
        group=Group.CHANGE,
        icon="template",
        reaches=lambda domain, spec: (
            (Reach("succeeds", "domain", spec.succeeds, "domain.edit"),) if spec.succeeds else ()
        ),
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

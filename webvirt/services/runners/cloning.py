"""Runners that make a machine like another, and of a machine a template."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from typing import cast
from uuid import uuid4

from django.utils.translation import gettext_noop

from webvirt.hypervisor.types import DiskMirror, VolumeSpec
from webvirt.hypervisor.xml.domain_copies import moved_copy
from webvirt.models import Domain
from webvirt.services import inventory, operations, templates
from webvirt.services.catalogue import BY_KIND
from webvirt.services.catalogue.building import FILES, NewVolume
from webvirt.services.catalogue.cloning import (
    RUNS,
    ClonePlan,
    at_their_paths,
    clone_plan_of,
    files_for_clone,
    taken_by_clone,
)
from webvirt.services.catalogue.wishes import CloneDomainSpec, ToTemplateSpec
from webvirt.services.runners.arrivals import demand_format, fill_new, refuse_for_room
from webvirt.services.runners.context import Context, Failed, Result
from webvirt.services.runners.creation import carry_out, make_seed, make_volume, wait_for_name
from webvirt.services.runners.deletion import demand_off
from webvirt.services.runners.domains import look_again
from webvirt.services.runners.storage import beginning, length_of_file, refuse
from webvirt.services.seeds.logins import hash_password

Figures = list[tuple[float | None, int]]


def clone_domain(context: Context) -> Result:
    """Make the disks of the clone, then its definition of the other's; nothing half made stays."""
    source, wish = cast(Domain, context.subject), cast(CloneDomainSpec, context.spec)
    look_again(context)
    source.refresh_from_db()
    runs = source.status in RUNS and not source.is_template
    if not runs:
        demand_quiet(context, source)
    if wrong := operations.misfits(context.access, BY_KIND["domain.clone"], source, wish):
        raise Failed(next(iter(wrong.values())))
    context.reserve(taken_by_clone(source, wish))
    plan = clone_plan_of(source, wish, str(uuid4()))
    there = context.on(plan.host)
    demand_room(context, plan)
    wait_for_name(there, plan.host, wish.name)
    figures = {"vcpus": source.vcpus, "memory_kib": source.memory_kib}
    domain = inventory.expect_domain(plan.host, plan.copy.uuid, wish.name, context.operation, **figures)
    real = copy_running(context, source, plan) if runs else copy_quiet(context, source, plan)
    if plan.seed:
        password = wish.password.get_secret_value()
        files, label = files_for_clone(wish, plan, hash_password(password) if password else "")
        real[plan.seed.path] = make_seed(there, plan.seed, files, label)

    def define() -> None:
        copy = at_their_paths(plan.copy, real)
        if plan.cards is None:
            context.connection.domains.define_copy(source.uuid, copy)
        else:
            xml = context.connection.domains.read(source.uuid).inactive_xml
            there.connection.domains.define_moved(*moved_copy(xml, copy, plan.cards))

    return carry_out(there, domain, wish, plan, define)


def demand_room(context: Context, plan: ClonePlan) -> None:
    """See that each pool of another host has room for what is taken there, as long as the files are."""
    wanted: dict[str, int] = {}
    for new in plan.volumes:
        if new.origin and plan.is_carried(new):
            info = context.connection.storage.volume(new.origin.pool.uuid, new.origin.name)
            wanted[new.pool.uuid] = wanted.get(new.pool.uuid, 0) + length_of_file(info)
    for uuid, size in wanted.items():
        (summary,) = context.on(plan.host).connection.storage.summaries([uuid])
        refuse_for_room(size - summary.available)


def copy_quiet(context: Context, source: Domain, plan: ClonePlan) -> dict[str, str]:
    """Copy the disks of a machine that is off, or make layers over them; returns where each really is."""
    before = figures_of(context, plan.volumes)
    real = {new.path: copy_one(context, plan, new) for new in plan.volumes}
    demand_quiet(context, source)
    if figures_of(context, plan.volumes) != before:
        raise Failed(
            gettext_noop(
                "Somebody wrote to its disks while they were copied: the clone would be of nothing that ever was."
            ),
            gettext_noop("Try again when it is off and nobody writes to them."),
        )
    return real


def copy_one(context: Context, plan: ClonePlan, new: NewVolume) -> str:
    """Make one of the disks, of its origin as it is where that is on another host; returns where it really is."""
    there, phase = context.on(plan.host), gettext_noop("copying its disks")
    if new.origin is None or not plan.is_carried(new):
        return make_volume(there, new, phase)
    here, pool = context.connection.storage, new.origin.pool
    info = here.inspect(pool.uuid, new.origin.name)
    with closing(here.extents(pool.uuid, new.origin.name)) as extents:
        fill_new(there, new.pool, new.name, length_of_file(info), extents, phase, capacity=new.capacity)
    if new.pool.type in FILES:
        demand_format(there, new.pool, new.name, new.format)
    return there.connection.storage.volume(new.pool.uuid, new.name).path


def copy_running(context: Context, source: Domain, plan: ClonePlan) -> dict[str, str]:
    """Copy the disks that a machine writes to, all as they are at one instant at the end; returns where they are.

    If we die meanwhile, the host's watcher ends the copying before it removes what was made, and has the machine go on.
    """
    calls, real, mirrors = context.connection, {}, []

    def progress(done: int, total: int) -> None:
        context.progress(gettext_noop("copying its disks"), done, total)

    for new in plan.volumes:
        assert new.origin is not None
        (disk,) = (disk for disk in plan.copy.disks if disk.source and disk.source.path == new.path)
        size = calls.storage.volume(new.origin.pool.uuid, new.origin.name).capacity
        with beginning(context, new.pool, new.name, size):
            calls.storage.create_volume(new.pool.uuid, VolumeSpec(new.name, size, new.format))
        real[new.path] = path = calls.storage.volume(new.pool.uuid, new.name).path
        assert disk.source is not None
        mirrors.append(DiskMirror(disk.target, disk.was, replace(disk.source, path=path), new.format))
    if mirrors:
        calls.domains.copy_disks(source.uuid, mirrors, progress, lambda: inventory.still(source, context.operation))
        inventory.goes_on(source)
    return real


def demand_quiet(context: Context, domain: Domain) -> None:
    """Raise Failed unless all of a machine is on its disks."""
    if demand_off(context, domain).managed_save:
        raise Failed(
            gettext_noop("Its memory is saved, and its disks alone are not all of it."),
            gettext_noop("Restore it and shut it down, or discard the saved memory."),
        )


def figures_of(context: Context, volumes: tuple[NewVolume, ...]) -> Figures:
    """When what is copied was last written, and how large it is."""
    origins = [new.origin for new in volumes if new.origin]
    found = [context.on(one.pool.host).connection.storage.volume(one.pool.uuid, one.name) for one in origins]
    return [(info.modified_at, info.capacity) for info in found]


def to_template(context: Context) -> Result:
    domain = context.domain
    demand_quiet(context, domain)
    refuse(templates.cannot_become(domain) or templates.has_shared_disk(domain))
    if domain.autostart:
        context.connection.domains.set_autostart(domain.uuid, False)
    spec = cast(ToTemplateSpec, context.spec)
    if wrong := operations.misfits(context.access, BY_KIND["domain.to_template"], domain, spec):
        raise Failed(next(iter(wrong.values())))
    succeeds = Domain.objects.get(pk=spec.succeeds) if spec.succeeds is not None else None
    inventory.mark_template(domain, True, succeeds)
    look_again(context)
    return None


def from_template(context: Context) -> Result:
    refuse(templates.cannot_be_again(context.domain))
    inventory.mark_template(context.domain, False)
    return None


RUNNERS = {"domain.clone": clone_domain, "domain.to_template": to_template, "domain.from_template": from_template}

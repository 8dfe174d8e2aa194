"""Runners that make a machine like another, and of a machine a template."""

from __future__ import annotations

from dataclasses import replace
from typing import cast
from uuid import uuid4

from django.utils.translation import gettext_noop

from webvirt.hypervisor.types import VolumeSpec
from webvirt.models import Domain
from webvirt.services import inventory, operations, templates
from webvirt.services.catalogue import BY_KIND
from webvirt.services.catalogue.building import NewVolume
from webvirt.services.catalogue.cloning import RUNS, ClonePlan, at_their_paths, clone_plan_of, files_for_clone
from webvirt.services.catalogue.wishes import CloneDomainSpec
from webvirt.services.runners.context import Context, Failed, Result
from webvirt.services.runners.creation import figures_read_at_last, make_seed, make_volume, settle, start, wait_for_name
from webvirt.services.runners.deletion import demand_off
from webvirt.services.runners.domains import look_again
from webvirt.services.runners.storage import beginning, refuse
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
    if wrong := operations.misfits(context.operation.user, BY_KIND["domain.clone"], source, wish):
        raise Failed(next(iter(wrong.values())))
    plan = clone_plan_of(source, wish, str(uuid4()))
    wait_for_name(context, source.host, wish.name)
    domain = inventory.expect_domain(source.host, plan.copy.uuid, wish.name, context.operation)
    real = copy_running(context, source, plan) if runs else copy_quiet(context, source, plan)
    if plan.seed:
        password = wish.password.get_secret_value()
        files, label = files_for_clone(wish, plan, hash_password(password) if password else "")
        real[plan.seed.path] = make_seed(context, plan.seed, files, label)
    context.progress(gettext_noop("defining"))
    context.connection.domains.define_copy(source.uuid, at_their_paths(plan.copy, real))
    made = [*plan.volumes, *([plan.seed] if plan.seed else [])]
    settle(context, domain, made, plan.seed)
    with figures_read_at_last(context, made):
        if wish.start:
            start(context, domain)
    look_again(context)
    return {"domain": wish.name, "id": domain.pk}


def copy_quiet(context: Context, source: Domain, plan: ClonePlan) -> dict[str, str]:
    """Copy the disks of a machine that is off, or make layers over them; returns where each really is."""
    before = figures_of(context, plan.volumes)
    real = {new.path: make_volume(context, new, gettext_noop("copying its disks")) for new in plan.volumes}
    demand_quiet(context, source)
    if figures_of(context, plan.volumes) != before:
        raise Failed(
            gettext_noop(
                "Somebody wrote to its disks while they were copied: the clone would be of nothing that ever was."
            ),
            gettext_noop("Try again when it is off and nobody writes to them."),
        )
    return real


def copy_running(context: Context, source: Domain, plan: ClonePlan) -> dict[str, str]:
    """Copy the disk that a machine writes to, as it is at the end; returns where it really is.

    If we die meanwhile, the host's watcher ends the copying before it removes what was made.
    """
    calls, real = context.connection, {}

    def progress(done: int, total: int) -> None:
        context.progress(gettext_noop("copying its disks"), done, total)

    for new in plan.volumes:
        assert new.origin is not None
        (disk,) = (disk for disk in plan.copy.disks if disk.source and disk.source.path == new.path)
        size = calls.storage.volume(new.origin.pool.uuid, new.origin.name).capacity
        with beginning(context, new.pool, new.name):
            calls.storage.create_volume(new.pool.uuid, VolumeSpec(new.name, size, new.format))
        real[new.path] = path = calls.storage.volume(new.pool.uuid, new.name).path
        assert disk.source is not None
        into = replace(disk.source, path=path)
        calls.domains.copy_disk(source.uuid, disk.target, disk.was, into, new.format, progress)
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
    calls = context.connection.storage
    found = [calls.volume(new.origin.pool.uuid, new.origin.name) for new in volumes if new.origin]
    return [(info.modified_at, info.capacity) for info in found]


def to_template(context: Context) -> Result:
    domain = context.domain
    demand_quiet(context, domain)
    refuse(templates.cannot_become(domain) or templates.has_shared_disk(domain))
    if domain.autostart:
        context.connection.domains.set_autostart(domain.uuid, False)
    inventory.mark_template(domain, True)
    look_again(context)
    return None


def from_template(context: Context) -> Result:
    refuse(templates.cannot_be_again(context.domain))
    inventory.mark_template(context.domain, False)
    return None


RUNNERS = {"domain.clone": clone_domain, "domain.to_template": to_template, "domain.from_template": from_template}

"""The runner that makes a machine: its volumes, its definition, its first start.

All of it is known as half made before it is there, so that whatever happens to us, the host's watcher removes it. From
when the definition stands it stays: that it does not start is a machine to be mended, and none to be thrown away.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Protocol, cast
from uuid import uuid4

from django.db import transaction
from django.utils.translation import gettext_noop

from webvirt.hypervisor.errors import HypervisorError
from webvirt.hypervisor.types import DomainSpec, Kernel, VolumeSpec
from webvirt.models import Domain, Host, Volume
from webvirt.services import inventory, operations
from webvirt.services.catalogue import BY_KIND
from webvirt.services.catalogue.building import NewVolume, plan_of, volumes_named
from webvirt.services.catalogue.creation import files_for, taken_by
from webvirt.services.catalogue.wishes import Begins, CloneDomainSpec, CreateDomainSpec
from webvirt.services.runners.context import Context, Failed, Result
from webvirt.services.runners.domains import look_again
from webvirt.services.runners.fetched import is_for_its_start, with_its_image, with_its_kernel
from webvirt.services.runners.storage import LOOK_SECONDS, REMOVAL_SECONDS, beginning, look_at_volumes
from webvirt.services.seeds.disc import disc_of
from webvirt.services.seeds.logins import hash_password


def create_domain(context: Context) -> Result:
    """Make everything that the plan says, and start it if asked."""
    host, wish = cast(Host, context.subject), cast(CreateDomainSpec, context.spec)
    demand_fit(context, host, wish)
    if wish.begins == Begins.VOLUME:
        demand_own_bytes(context, wish)
    if (whole := with_its_image(context, wish)) is not wish:
        # That may have taken long.
        wish = whole
        demand_fit(context, host, wish)
    context.reserve(taken_by(host, wish))
    plan = plan_of(host, wish, str(uuid4()))
    wait_for_name(context, host, wish.name)
    domain = expect(context, host, plan.domain)
    real = {new.path: make_volume(context, new) for new in plan.volumes}
    if plan.seed:
        password = wish.password.get_secret_value()
        files, label = files_for(wish, plan.domain, hash_password(password) if password else "")
        real[plan.seed.path] = make_seed(context, plan.seed, files, label)
    kernel, fetched = with_its_kernel(context, wish, plan.kernel)
    definition = at_their_paths(plan.domain, real)

    def define() -> None:
        context.connection.domains.define(definition)

    result = carry_out(context, domain, wish, plan, define, autostart=wish.autostart, kernel=kernel)
    # Only now it is known to be in use.
    is_for_its_start(context, domain, fetched)
    return result


def expect(context: Context, host: Host, spec: DomainSpec) -> Domain:
    """Write down that a machine is being made."""
    figures = {"vcpus": spec.vcpus, "memory_kib": spec.memory_kib}
    return inventory.expect_domain(host, spec.uuid, spec.name, context.operation, **figures)


def demand_fit(context: Context, host: Host, wish: CreateDomainSpec) -> None:
    """Raise Failed where something of the wish does not go with the host (any more)."""
    if wrong := operations.misfits(context.access, BY_KIND["domain.create"], host, wish):
        raise Failed(next(iter(wrong.values())))


class Made(Protocol):
    """What of a plan is made before the definition."""

    @property
    def volumes(self) -> tuple[NewVolume, ...]: ...

    @property
    def seed(self) -> NewVolume | None: ...


def carry_out(
    context: Context,
    domain: Domain,
    wish: CreateDomainSpec | CloneDomainSpec,
    plan: Made,
    define: Callable[[], None],
    *,
    autostart: bool = False,
    kernel: Kernel | None = None,
) -> Result:
    """Define a machine whose volumes are there, which makes all of it whole, and start it if asked.

    `kernel` is what it is started with the first time alone.
    """
    context.progress(gettext_noop("defining"))
    define()
    if autostart:
        context.connection.domains.set_autostart(domain.uuid, True)
    made = [*plan.volumes, *([plan.seed] if plan.seed else [])]
    settle(context, domain, made, plan.seed)
    with figures_read_at_last(context, made):
        if wish.start:
            start(context, domain, kernel)
    look_again(context)
    return {"domain": wish.name, "id": domain.pk}


def demand_own_bytes(context: Context, wish: CreateDomainSpec) -> None:
    """See that the volume that becomes its disk names no file of the host. A raw one is told to be just that."""
    volume = volumes_named(wish)[wish.volume]
    if volume.format not in ("", "raw"):
        context.connection.storage.demand_own(volume.pool.uuid, volume.name)


def wait_for_name(context: Context, host: Host, name: str) -> None:
    """Let the host's watcher remove what was left half made under this name."""
    deadline = time.monotonic() + REMOVAL_SECONDS
    while any(left.name == name for left in inventory.domains_left_half_made(host)):
        if time.monotonic() > deadline:
            raise Failed(gettext_noop("There is a machine of this name on the host that was left half made."))
        context.progress(gettext_noop("waiting until what was left half made is removed"))
        time.sleep(LOOK_SECONDS)


def settle(context: Context, domain: Domain, made: Iterable[NewVolume], seed: NewVolume | None) -> None:
    """All of it is there, `seed` among the volumes if it has one: from now on it stays."""
    with transaction.atomic():
        for new in made:
            inventory.volume_is_whole(new.pool, new.name, context.operation)
        row = Volume.objects.filter(pool=seed.pool, name=seed.name).first() if seed else None
        inventory.domain_is_whole(domain, row)


@contextmanager
def figures_read_at_last(context: Context, made: Iterable[NewVolume]) -> Iterator[None]:
    """Read the figures of new volumes after what is inside: nobody waits for them to see the machine start."""
    try:
        yield
    finally:
        for new in made:
            look_at_volumes(context.connection.storage, new.pool, new.name)


def make_volume(context: Context, new: NewVolume, phase: str = gettext_noop("copying the image")) -> str:
    """Make one of its disks; returns where it really is. `phase` is what a copy is called meanwhile."""
    calls = context.connection.storage
    if new.origin is None or new.linked:
        context.progress(gettext_noop("making its disks"))
        with beginning(context, new.pool, new.name, new.capacity):
            calls.create_volume(new.pool.uuid, new.spec)
    else:
        origin = new.origin

        def progress(done: int, total: int) -> None:
            context.progress(phase, done, total)

        with beginning(context, new.pool, new.name, new.capacity):
            calls.clone_volume(new.pool.uuid, origin.pool.uuid, origin.name, new.spec, progress)
        if new.capacity > calls.volume(new.pool.uuid, new.name).capacity:
            calls.resize_volume(new.pool.uuid, new.name, new.capacity)
    return calls.volume(new.pool.uuid, new.name).path


def make_seed(context: Context, seed: NewVolume, files: dict[str, bytes], label: str) -> str:
    """Make the disc with its settings, in memory, and send it: so it works on every host."""
    context.progress(gettext_noop("making the disc with its settings"))
    disc = disc_of(files, label)
    calls = context.connection.storage
    with beginning(context, seed.pool, seed.name):
        calls.create_volume(seed.pool.uuid, VolumeSpec(seed.name, len(disc), "raw"))
    calls.upload(seed.pool.uuid, seed.name, 0, [disc])
    return calls.volume(seed.pool.uuid, seed.name).path


def at_their_paths(domain: DomainSpec, real: dict[str, str]) -> DomainSpec:
    """The definition with its new disks where the host put them."""
    disks = tuple(
        replace(disk, source=replace(disk.source, path=real[disk.source.path]))
        if disk.source and disk.source.path in real
        else disk
        for disk in domain.disks
    )
    return replace(domain, disks=disks)


def start(context: Context, domain: Domain, kernel: Kernel | None = None) -> None:
    context.progress(gettext_noop("starting"))
    calls = context.connection.domains
    try:
        if kernel:
            calls.start_once(domain.uuid, kernel)
        else:
            calls.start(domain.uuid)
    except HypervisorError as error:
        look_again(context)
        stays = gettext_noop("It stays as it is: mend what keeps it from starting, and start it from its page.")
        without = gettext_noop(
            "Mend what keeps it from starting, delete it and create it again: its installer is gone."
        )
        raise Failed(
            gettext_noop("It was made, but does not start: %(reason)s") % {"reason": error},
            without if kernel else stays,
        ) from None


RUNNERS = {"domain.create": create_domain}

"""Runners of the verbs of pools and volumes. What became of it is read back at once: volumes send no events."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import cast

from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from webvirt.hypervisor.errors import HypervisorError, NotFound, WrongState
from webvirt.hypervisor.storage import StorageCalls
from webvirt.hypervisor.types import VolumeInfo, VolumeSpec
from webvirt.models import DiskUse, Domain, Pool, Secret, Volume
from webvirt.models.domains import ACTIVE
from webvirt.services import inventory, uses
from webvirt.services.catalogue.pools import CreatePoolSpec
from webvirt.services.catalogue.specs import AutostartSpec
from webvirt.services.catalogue.volumes import CloneVolumeSpec, CreateVolumeSpec, ResizeSpec, taken_by_growth
from webvirt.services.quotas import Amounts
from webvirt.services.runners.context import Context, Failed, Result

REMOVAL_SECONDS = 60.0
LOOK_SECONDS = 0.5


def on_pool(call: Callable[[StorageCalls, str], None]) -> Callable[[Context], Result]:
    """A runner for a verb that is one call with nothing but the pool."""

    def runner(context: Context) -> Result:
        call(context.connection.storage, context.pool.uuid)
        look_at_pools(context)
        return None

    return runner


def look_at_pools(context: Context) -> None:
    """Read the host's pools once more, and the volumes of the one that this is about."""
    calls, host = context.connection.storage, context.operation.host
    lines = calls.list()
    changed = inventory.reconcile_pools(host, lines)
    for uuid in changed & {line.uuid for line in lines}:
        inventory.remember_pool(host, calls.read(uuid))
    if context.operation.subject.startswith(("pool:", "volume:")):
        look_at_volumes(calls, context.pool)


def look_at_volumes(calls: StorageCalls, pool: Pool, *names: str) -> None:
    """Read which volumes a pool has, and the figures of the new ones and of those named."""
    pool.refresh_from_db()
    if pool.status not in ("running", "degraded"):
        return
    unread = inventory.reconcile_volumes(pool, calls.volumes(pool.uuid))
    inventory.remember_volumes(pool, list(calls.volumes_info(pool.uuid, [*unread[:500], *names])))


def create_pool(context: Context) -> Result:
    """Define, build if asked, start. What fails leaves no pool behind; what was built on the host stays."""
    spec = cast(CreatePoolSpec, context.spec)
    calls = context.connection.storage
    uuid = calls.define(spec.pool)
    try:
        if spec.build:
            context.progress(gettext_noop("building"))
            calls.build(uuid)
        calls.start(uuid)
        if spec.autostart:
            calls.set_autostart(uuid, True)
    except Exception:
        calls.undefine(uuid)
        raise
    look_at_pools(context)
    return {"pool": spec.name}


def autostart_pool(context: Context) -> Result:
    context.connection.storage.set_autostart(context.pool.uuid, cast(AutostartSpec, context.spec).enabled)
    look_at_pools(context)
    return None


def delete_pool(context: Context) -> Result:
    calls, pool = context.connection.storage, context.pool
    refuse(uses.pool_is_filled(pool))
    calls.delete(pool.uuid)
    calls.undefine(pool.uuid)
    look_at_pools(context)
    return None


def stop_pool(context: Context) -> Result:
    refuse(uses.pool_is_open(context.pool))
    context.connection.storage.stop(context.pool.uuid)
    look_at_pools(context)
    return None


def refuse(reason: str) -> None:
    """End the operation where something forbids it: things may have changed while it waited."""
    if reason:
        raise Failed(gettext_noop("It cannot be done any more: %(reason)s.") % {"reason": reason})


# --- volumes


def create_volume(context: Context) -> Result:
    spec = cast(CreateVolumeSpec, context.spec)
    pool = context.pool
    base = on_this_host(context, spec.backing) if spec.backing else None
    secret = secret_on_this_host(context, spec.secret) if spec.secret else None
    wanted = VolumeSpec(
        name=spec.name,
        capacity=spec.capacity or (base.capacity if base else 0),
        format=spec.format,
        preallocation=spec.preallocation,
        backing_path=base.path if base else "",
        backing_format=base.format if base else "",
        secret=secret.uuid if secret else "",
    )
    with making(context, pool, spec.name, wanted.capacity):
        context.connection.storage.create_volume(pool.uuid, wanted)
    look_at_volumes(context.connection.storage, pool, spec.name)
    return {"volume": spec.name}


@contextmanager
def making(context: Context, pool: Pool, name: str, capacity: int) -> Iterator[None]:
    """Make a volume inside: known as half made before it is there, so that it is removed whatever happens to us."""
    with beginning(context, pool, name, capacity):
        yield
    inventory.volume_is_whole(pool, name, context.operation)


@contextmanager
def beginning(context: Context, pool: Pool, name: str, capacity: int = 0) -> Iterator[None]:
    """Make a volume of so many bytes inside that stays half made until somebody says that it is whole."""
    demand_free_name(context, context.connection.storage, pool, name)
    inventory.expect_volume(pool, name, context.operation, capacity=capacity)
    try:
        yield
    except WrongState:
        # libvirt refused, and so made nothing: what is there of this name is somebody else's.
        inventory.volume_is_anothers(pool, name, context.operation)
        with suppress(HypervisorError):
            look_at_volumes(context.connection.storage, pool)
        raise


def demand_free_name(context: Context, calls: StorageCalls, pool: Pool, name: str) -> None:
    """Raise Failed when a volume has the name; `calls` are those of the pool's host."""
    if name in calls.volumes(pool.uuid) and not removed_meanwhile(context, calls, pool, name):
        raise Failed(gettext_noop("There is a volume of this name already."), gettext_noop("Choose another name."))


def removed_meanwhile(context: Context, calls: StorageCalls, pool: Pool, name: str) -> bool:
    """Whether what has the name was left half made, and the host's watcher removes it while we wait.

    It alone does, so that what is made under the name afterwards is nobody's to remove.
    """
    deadline = time.monotonic() + REMOVAL_SECONDS
    while inventory.left_half_made(pool).filter(name=name).exists():
        if time.monotonic() > deadline:
            return False
        context.progress(gettext_noop("waiting until what was left half made is removed"))
        time.sleep(LOOK_SECONDS)
    return name not in calls.volumes(pool.uuid)


def on_this_host(context: Context, pk: int) -> Volume:
    """A volume that a parameter names, on the operation's own host."""
    found = Volume.objects.filter(pk=pk, pool__host=context.operation.host, missing_since=None, making=None).first()
    if found is None:
        raise Failed(gettext_noop("The volume that it is to be based on is not on this host (any more)."))
    return found


def secret_on_this_host(context: Context, pk: int) -> Secret:
    found = Secret.objects.filter(pk=pk, host=context.operation.host, missing_since=None).first()
    if found is None:
        raise Failed(gettext_noop("The secret that it is to be encrypted with is not on this host (any more)."))
    return found


def demand_its_secret(context: Context, volume: Volume) -> None:
    """End the operation where libvirt would have to open an encrypted volume and does not know how."""
    info = context.connection.storage.volume(volume.pool.uuid, volume.name)
    if info.encrypted and not info.secret:
        raise Failed(
            gettext_noop("The host does not know any more with which secret this volume is encrypted."),
            gettext_noop(
                "Make a secret for an encrypted volume that names its path, %(path)s, with the passphrase that it has, "
                "and refresh the pool: then libvirt knows it, and does not forget it."
            )
            % {"path": info.path},
        )


def clone_volume(context: Context) -> Result:
    """Copy a volume, into another format if asked."""
    spec = cast(CloneVolumeSpec, context.spec)
    volume = context.volume
    refuse(uses.volume_is_open(volume))
    pool = volume.pool if spec.pool is None else pool_of(context, spec.pool)
    demand_its_secret(context, volume)
    calls = context.connection.storage

    def progress(done: int, total: int) -> None:
        context.progress(gettext_noop("copying"), done, total)

    wanted = VolumeSpec(name=spec.name, capacity=0, format=spec.format)
    context.reserve(Amounts(disk=volume.capacity))
    with making(context, pool, spec.name, volume.capacity):
        calls.clone_volume(pool.uuid, volume.pool.uuid, volume.name, wanted, progress)
    look_at_volumes(context.connection.storage, pool, spec.name)
    return {"volume": spec.name}


def pool_of(context: Context, pk: int) -> Pool:
    found = Pool.objects.filter(pk=pk, host=context.operation.host, missing_since=None).first()
    if found is None:
        raise Failed(gettext_noop("The pool that the copy is to go to is not on this host (any more)."))
    return found


def resize_volume(context: Context) -> Result:
    """Through the machine that runs on it, if one does: QEMU has it open, and nobody else may touch it."""
    spec, volume = cast(ResizeSpec, context.spec), context.volume
    refuse(uses.volume_is_fixed(volume))
    if spec.capacity < volume.capacity:
        raise Failed(
            gettext_noop("A volume cannot be made smaller: the end of what it holds would be cut off."),
            gettext_noop("Make a smaller one and copy what it holds, inside a machine."),
        )
    context.reserve(taken_by_growth(volume, spec))
    calls = context.connection.storage
    running = [use for use in disks_of(volume) if use.live and use.domain.status in ACTIVE]
    if running:
        calls.resize_disk(running[0].domain.uuid, running[0].slot, spec.capacity)
    else:
        demand_its_secret(context, volume)
        calls.resize_volume(volume.pool.uuid, volume.name, spec.capacity)
    info = calls.volume(volume.pool.uuid, volume.name)
    inventory.volume_has_grown(volume.pool, info, context.operation, info.capacity - volume.capacity)
    look_at_volumes(context.connection.storage, volume.pool, volume.name)
    return None


def disks_of(volume: Volume) -> list[DiskUse]:
    condition = uses.disk_uses(uses.same_volume(volume))
    return list(DiskUse.objects.filter(condition).select_related("domain"))


def unused(context: Context) -> Volume:
    """The volume, if nothing uses it: neither by what we remember nor by what its host says this moment."""
    volume = context.volume
    refuse(uses.volume_in_use(volume))
    for uuid in context.connection.domains.users_of(volume.path, volume.pool.name, volume.name):
        name = Domain.objects.filter(host=context.operation.host, uuid=uuid).values_list("name", flat=True).first()
        refuse(_("it is a disk of %(names)s") % {"names": name or uuid})
    return volume


def length_of_file(info: VolumeInfo) -> int:
    """How many bytes a volume is when all of it is read: of an image the file's, not the disk's in it."""
    return info.physical or info.capacity


def checksum_volume(context: Context) -> Result:
    """Read all of it through SHA-256, piece by piece, and keep what comes out, unless somebody wrote meanwhile."""
    volume, calls, digest, done = context.volume, context.connection.storage, hashlib.sha256(), 0
    refuse(uses.volume_is_written(volume))
    before = calls.volume(volume.pool.uuid, volume.name)
    total = length_of_file(before)

    def take(piece: bytes) -> None:
        nonlocal done
        digest.update(piece)
        done += len(piece)
        context.progress(gettext_noop("reading"), done, total)

    calls.download(volume.pool.uuid, volume.name, 0, 0, take)
    after = calls.volume(volume.pool.uuid, volume.name)
    if (after.modified_at, after.capacity) != (before.modified_at, before.capacity):
        raise Failed(
            gettext_noop("Somebody wrote to it while it was read: the checksum would be of nothing that ever was."),
            gettext_noop("Try again when nobody writes to it."),
        )
    inventory.remember_checksum(volume.pool, after, digest.hexdigest())
    return {"sha256": digest.hexdigest(), "bytes": done}


def wipe_volume(context: Context) -> Result:
    volume = unused(context)
    context.connection.storage.wipe_volume(volume.pool.uuid, volume.name)
    look_at_volumes(context.connection.storage, volume.pool, volume.name)
    return None


def delete_volume(context: Context) -> Result:
    volume = unused(context)
    try:
        context.connection.storage.delete_volume(volume.pool.uuid, volume.name)
    except NotFound:
        # Somebody was quicker; the list says so.
        look_at_volumes(context.connection.storage, volume.pool)
        raise
    if not volume.is_whole:
        inventory.volume_is_removed(volume)
    look_at_volumes(context.connection.storage, volume.pool)
    return None


RUNNERS: dict[str, Callable[[Context], Result]] = {
    "pool.create": create_pool,
    "pool.start": on_pool(lambda storage, uuid: storage.start(uuid)),
    "pool.refresh": on_pool(lambda storage, uuid: storage.refresh(uuid)),
    "pool.build": on_pool(lambda storage, uuid: storage.build(uuid)),
    "pool.stop": stop_pool,
    "pool.autostart": autostart_pool,
    "pool.undefine": on_pool(lambda storage, uuid: storage.undefine(uuid)),
    "pool.delete": delete_pool,
    "volume.create": create_volume,
    "volume.clone": clone_volume,
    "volume.resize": resize_volume,
    "volume.checksum": checksum_volume,
    "volume.wipe": wipe_volume,
    "volume.delete": delete_volume,
}

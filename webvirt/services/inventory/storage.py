"""What hosts tell us of their pools and volumes, made into rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from django.db import transaction
from django.db.models import F, QuerySet
from django.utils import timezone

from webvirt import bus
from webvirt.hypervisor.types import PoolInfo, PoolReading, PoolState, PoolSummary, VolumeInfo
from webvirt.models import ENDED_BADLY, Domain, Host, Operation, Pool, PoolStatus, Volume
from webvirt.services import quotas
from webvirt.services.inventory.seen import reconcile_listed

CHUNK = 400
"""Rows in one bulk UPDATE: SQLite allows so many variables and no more."""
SHARED = ("netfs", "rbd", "gluster", "iscsi")
FIGURES = ("path", "kind", "format", "capacity", "allocation", "backing_path", "backing_format", "encrypted", "secret")
NO_SYSTEM = {"os": "", "os_name": "", "has_label": False, "looked_at": None}
OTHER_BYTES: dict[str, Any] = {"sha256": "", "sha256_at": None, "source_url": "", "appliance": {}}
"""What is known of the content of a volume that is another now."""


def reconcile_pools(host: Host, seen: Sequence[PoolSummary]) -> set[str]:
    """Write what a host lists of its pools; returns the uuids of those that are new or changed."""
    return reconcile_listed(Pool, host, seen, pool_values, noun="pool")


def pool_values(line: PoolSummary) -> dict[str, Any]:
    values: dict[str, Any] = {
        "name": line.name,
        "status": PoolStatus(line.state.value).value,
        "persistent": line.persistent,
        "autostart": line.autostart,
    }
    # One that does not run tells no sizes: the last ones stay.
    sizes = {"capacity": line.capacity, "allocation": line.allocation, "available": line.available}
    return values | (sizes if line.state != PoolState.INACTIVE else {})


def remember_pool(host: Host, reading: PoolReading) -> None:
    """Keep a pool's definition."""
    with transaction.atomic():
        pool = Pool.objects.filter(host=host, uuid=reading.summary.uuid).first()
        if pool is None or pool.xml == reading.xml:
            return
        Pool.objects.filter(pk=pool.pk).update(
            type=reading.info.type, info=asdict(reading.info), xml=reading.xml, origin=origin_of(reading.info)
        )
        bus.announce([f"pool:{pool.pk}", "pools"])


def origin_of(info: PoolInfo) -> str:
    """Where the data of a pool really lies, in the same words for every host that has it; empty for a host's own."""
    if info.type not in SHARED:
        return ""
    parts = (info.type, *sorted(info.source_hosts), info.source_path, info.source_name, *info.source_devices)
    return " ".join(parts)[:500]


def reconcile_volumes(pool: Pool, names: Iterable[str]) -> list[str]:
    """Write which volumes a pool has; returns the names of those whose figures are not known yet."""
    now = timezone.now()
    listed = set(names)
    with transaction.atomic():
        known = {row.name: row for row in Volume.objects.filter(pool=pool).select_related("making")}
        back = [row.pk for name, row in known.items() if name in listed and row.missing_since]
        # One that is only just being made may not be listed yet; and whether one that was left half made is there, a
        # host has to look first: see `left_half_made`.
        gone = [row.pk for name, row in known.items() if name not in listed and not row.missing_since and row.is_whole]
        for start in range(0, len(back), CHUNK):
            returned = Volume.objects.filter(pk__in=back[start : start + CHUNK])
            returned.update(missing_since=None, read_at=None, secret="")
            # Where the pool tells no times, nothing would tell that it is another.
            returned.filter(modified_at=None).update(**NO_SYSTEM, **OTHER_BYTES)
        for start in range(0, len(gone), CHUNK):
            Volume.objects.filter(pk__in=gone[start : start + CHUNK]).update(missing_since=now, starts=None)
        new = [Volume(pool=pool, name=name) for name in sorted(listed - set(known))]
        Volume.objects.bulk_create(new, batch_size=CHUNK)
        if back or gone or new:
            bus.announce([f"pool:{pool.pk}", "pools", *(f"volume:{pk}" for pk in (*back[:CHUNK], *gone[:CHUNK]))])
    unread = [name for name, row in known.items() if name in listed and (row.missing_since or not row.read_at)]
    return [*(row.name for row in new), *sorted(unread)]


def claim_volume(pool: Pool, name: str, operation: Operation) -> bool:
    """Write down that a volume is being made that belongs to no project, whoever asks for it; False where one of this
    name is known already, or somebody else makes it."""
    with transaction.atomic():
        Pool.objects.select_for_update().get(pk=pool.pk)
        if Volume.objects.filter(pool=pool, name=name, missing_since=None).exists():
            return False
        make_row(pool, name, operation, project=None)
    return True


def expect_volume(pool: Pool, name: str, operation: Operation, title: str = "", capacity: int = 0) -> None:
    """Write down that a volume is being made, before its host has it; the host has been seen to have none so named.

    It belongs to the project that the operation has reserved in, and counts there as `capacity` bytes until the host
    tells how large it is.
    """
    with transaction.atomic():
        mine = Volume.objects.filter(pool=pool, name=name, making=operation, missing_since=None).first()
        project = mine.project_id if mine else quotas.project_of(operation)
        make_row(pool, name, operation, project=project, title=title, capacity=capacity)


def make_row(pool: Pool, name: str, operation: Operation, *, project: int | None, **known: Any) -> None:
    with transaction.atomic():
        empty = {"missing_since": None, "read_at": None, "secret": "", "starts": None} | NO_SYSTEM | OTHER_BYTES
        known["title"] = known.get("title", "")[:255]
        new = empty | known | {"making": operation, "project_id": project}
        row, _ = Volume.objects.update_or_create(pool=pool, name=name, defaults=new)
        bus.announce([f"pool:{pool.pk}", f"volume:{row.pk}"])


def volume_is_whole(pool: Pool, name: str, operation: Operation) -> None:
    """What was being made is made: from now on it counts by itself in its project's quota."""
    with transaction.atomic():
        for row in Volume.objects.filter(pool=pool, name=name, making=operation):
            Volume.objects.filter(pk=row.pk).update(making=None)
            if row.project_id:
                quotas.is_counted(operation, quotas.Amounts(disk=row.capacity))
            bus.announce([f"pool:{pool.pk}", f"volume:{row.pk}"])


def volume_is_anothers(pool: Pool, name: str, operation: Operation) -> None:
    """What was to be made turned out to be there by somebody else: none of ours to remove, nor our project's."""
    with transaction.atomic():
        for row in Volume.objects.filter(pool=pool, name=name, making=operation):
            Volume.objects.filter(pk=row.pk).update(making=None, project=None, capacity=0, read_at=None)
            bus.announce([f"pool:{pool.pk}", f"volume:{row.pk}"])


def volume_has_grown(pool: Pool, info: VolumeInfo, operation: Operation, growth: int) -> None:
    """Keep the figures of a volume that an operation made larger by so many bytes, which count by themselves now."""
    with transaction.atomic():
        remember_volumes(pool, [info])
        quotas.is_counted(operation, quotas.Amounts(disk=growth))


def volume_starts(pool: Pool, name: str, operation: Operation, domain: Domain) -> None:
    """What was being made is made, and there for a machine's first start alone."""
    with transaction.atomic():
        Volume.objects.filter(pool=pool, name=name, making=operation).update(starts=domain)
        volume_is_whole(pool, name, operation)


def volume_is_removed(volume: Volume) -> None:
    """What was left half made is gone from its host. Nothing happens where another operation makes it anew already."""
    with transaction.atomic():
        left = Volume.objects.filter(pk=volume.pk, making=volume.making_id)
        if left.update(making=None, missing_since=timezone.now()):
            bus.announce([f"pool:{volume.pool_id}", f"volume:{volume.pk}", "pools"])


def left_half_made(pool: Pool) -> QuerySet[Volume]:
    """The volumes whose making ended badly, and that nobody has removed yet; a host may not even have them."""
    found = Volume.objects.filter(pool=pool, missing_since=None, making__state__in=ENDED_BADLY)
    return found.select_related("making")


def remember_volumes(pool: Pool, found: Iterable[VolumeInfo]) -> None:
    """Keep the figures of volumes that were read."""
    now = timezone.now()
    infos = {info.name: info for info in found}
    with transaction.atomic():
        rows = list(Volume.objects.filter(pool=pool, name__in=list(infos)))
        before = {row.pk: (content_of(row), kind_of(row)) for row in rows}
        changed = [row.pk for row in rows if bring_up(row, infos[row.name])]
        for row in rows:
            row.read_at = now
        Volume.objects.bulk_update(rows, [*FIGURES, "modified_at", "read_at"], batch_size=CHUNK)
        changed += forget_content(rows, before)
        if changed:
            bus.announce([f"pool:{pool.pk}", *(f"volume:{pk}" for pk in changed[:CHUNK])])


def bring_up(row: Volume, info: VolumeInfo) -> bool:
    """Set a row's figures; True if that changed any, or they are the first."""
    before = tuple(getattr(row, name) for name in FIGURES)
    known = row.secret if info.encrypted else ""
    for name in FIGURES:
        setattr(row, name, getattr(info, name))
    row.secret = info.secret or known
    row.modified_at = datetime.fromtimestamp(info.modified_at, UTC) if info.modified_at else None
    return row.read_at is None or before != tuple(getattr(row, name) for name in FIGURES)


# --- what is in them


Content = tuple[object, ...]


def content_of(row: Volume) -> Content:
    """What changes whenever somebody writes to it, as far as its pool tells."""
    return row.modified_at, row.capacity


def kind_of(row: Volume) -> Content:
    """What changes when it becomes another image. A disk that a machine writes to stays the same one."""
    return row.format, row.capacity, row.modified_at if row.is_iso else None


def forget_content(rows: Iterable[Volume], before: dict[int, tuple[Content, Content]]) -> list[int]:
    """Drop what is known of the content of rows that hold another now, by their figures; returns their ids."""
    # By queries of their own: somebody else may just be writing what they found out.
    known = [row for row in rows if row.sha256 or row.source_url or row.appliance]
    written = [row.pk for row in known if content_of(row) != before[row.pk][0]]
    another = [row.pk for row in rows if row.looked_at and kind_of(row) != before[row.pk][1]]
    for pks, unknown in ((written, OTHER_BYTES), (another, NO_SYSTEM)):
        for start in range(0, len(pks), CHUNK):
            Volume.objects.filter(pk__in=pks[start : start + CHUNK]).update(**unknown)
    return [*written, *another]


def not_looked_into(pool: Pool, most: int) -> list[Volume]:
    """Volumes whose system nobody has looked for yet, the newest first."""
    found = Volume.objects.filter(pool=pool, missing_since=None, read_at__isnull=False, looked_at=None)
    return list(found.filter(making=None).order_by(F("modified_at").desc(nulls_last=True), "-pk")[:most])


def remember_system(volume: Volume, system: tuple[str, str], *, has_label: bool) -> None:
    """Keep which system a volume holds (osinfo's short id and its name, both empty if none was recognized)."""
    os, name = system
    found = {"os": os[:64], "os_name": name[:160], "has_label": has_label, "looked_at": timezone.now()}
    with transaction.atomic():
        # What has become another image meanwhile is looked at again.
        same = Volume.objects.filter(pk=volume.pk, format=volume.format, capacity=volume.capacity)
        if same.update(**found) and (os or has_label):
            bus.announce([f"volume:{volume.pk}", f"pool:{volume.pool_id}", "pools"])


def remember_checksum(pool: Pool, info: VolumeInfo, digest: str) -> None:
    """Keep the SHA-256 of a volume's bytes, in hexadecimal, and its figures as they were when all were read."""
    with transaction.atomic():
        remember_volumes(pool, [info])
        row = Volume.objects.filter(pool=pool, name=info.name).first()
        if row is not None:
            Volume.objects.filter(pk=row.pk).update(sha256=digest, sha256_at=timezone.now())
            bus.announce([f"volume:{row.pk}", f"pool:{pool.pk}", "pools"])


def remember_source(pool: Pool, info: VolumeInfo, url: str) -> None:
    """Keep where on the web a volume's bytes came from, and its figures as they were then."""
    with transaction.atomic():
        remember_volumes(pool, [info])
        Volume.objects.filter(pool=pool, name=info.name).update(source_url=url)
        bus.announce([f"pool:{pool.pk}", "pools"])


def remember_appliance(pool: Pool, info: VolumeInfo, appliance: dict[str, Any]) -> None:
    """Keep which machine a volume's bytes hold, and its figures as they were when that was looked for."""
    with transaction.atomic():
        remember_volumes(pool, [info])
        row = Volume.objects.filter(pool=pool, name=info.name).first()
        if row is not None:
            Volume.objects.filter(pk=row.pk).update(appliance=appliance)
            bus.announce([f"volume:{row.pk}", f"pool:{pool.pk}"])

"""What the system itself sees to on machines: discs with settings that have done their work, and the recycle bin."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db.models import Q

from webvirt.models import DiskUse, Domain, Operation, Origin, Status
from webvirt.services import operations, uses
from webvirt.services.catalogue import BY_KIND
from webvirt.services.subjects import Subject, name_of

log = logging.getLogger(__name__)

SETTLED_AFTER = timedelta(minutes=15)
"""So long after its start a guest without an agent has read what it was told."""
INSTALLED_AFTER = timedelta(hours=6)
AGAIN_AFTER = timedelta(hours=1)
AT_ONCE = 20
SYSTEM = operations.Actor(None, Origin.SYSTEM)


def look_after(now: datetime) -> None:
    """Ask for what is due."""
    for domain in with_seed_to_take_out(now):
        take_out_seed(domain, now)
    for domain in to_purge(now):
        ask("domain.purge", domain, now)


def bin_ends(domain: Domain) -> datetime | None:
    """When a machine in the recycle bin is deleted for good; None: never by itself."""
    if not settings.WEBVIRT_BIN_DAYS or domain.binned_at is None:
        return None
    return domain.binned_at + timedelta(days=settings.WEBVIRT_BIN_DAYS)


def to_purge(now: datetime) -> list[Domain]:
    if not settings.WEBVIRT_BIN_DAYS:
        return []
    due = now - timedelta(days=settings.WEBVIRT_BIN_DAYS)
    found = Domain.objects.binned().filter(binned_at__lt=due).select_related("host").order_by("binned_at")
    return list(found[:AT_ONCE])


def with_seed_to_take_out(now: datetime) -> list[Domain]:
    """Machines that run and have read what they were told: their agent says so, or they have run for long enough."""
    # Windows reads its answers until the end of a long installation.
    installs = Q(definition__inactive__os_id__icontains="microsoft.com")
    settled = Q(status_since__lt=now - SETTLED_AFTER) & ~installs | Q(status_since__lt=now - INSTALLED_AFTER)
    ready = Q(definition__live__agent_connected=True) | settled
    Domain.objects.filter(seed__missing_since__isnull=False).update(seed=None)
    found = Domain.objects.kept().filter(ready, seed__isnull=False, status=Status.RUNNING, making=None)
    return list(found.select_related("host", "seed__pool__host")[:AT_ONCE])


def take_out_seed(domain: Domain, now: datetime) -> None:
    """Out of the drive with it, and when it is out, away with it: what it says is nobody else's business."""
    assert domain.seed is not None
    inserted = DiskUse.objects.filter(uses.disk_uses([domain.seed]), domain=domain).first()
    if inserted:
        ask("domain.eject", domain, now, {"drive": inserted.slot})
    else:
        ask("volume.delete", domain.seed, now)


def ask(kind: str, target: Subject, now: datetime, parameters: dict[str, Any] | None = None) -> None:
    """Ask for a verb in the name of the system; what was refused or failed is tried again after a while."""
    before = Operation.objects.filter(subject=name_of(target), kind=kind, user=None, created_at__gt=now - AGAIN_AFTER)
    if before.exists():
        return
    try:
        operations.submit(SYSTEM, BY_KIND[kind], target, parameters)
    except operations.Refused as error:
        log.info("%s of %s: %s", kind, target.name, error)

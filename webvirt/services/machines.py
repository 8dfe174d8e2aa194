"""What the system itself sees to on machines: discs with settings that have done their work, and the recycle bin."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db.models import Exists, OuterRef, Q

from webvirt.models import DiskUse, Domain, Operation, Origin, Status, Volume
from webvirt.services import operations, uses
from webvirt.services.catalogue import BY_KIND
from webvirt.services.subjects import Subject, name_of

log = logging.getLogger(__name__)

SETTLED_AFTER = timedelta(minutes=15)
"""So long after its start a guest without an agent has read what it was told."""
INSTALLED_AFTER = timedelta(hours=6)
WINDOWS = "http://microsoft.com/"
DOES_WITHOUT = (
    *("http://debian.org/", "http://ubuntu.com/", "http://fedoraproject.org/", "http://redhat.com/"),
    *("http://centos.org/", "http://almalinux.org/", "http://rockylinux.org/", "http://oracle.com/"),
    *("http://opensuse.org/", "http://suse.com/", "http://archlinux.org/"),
)
"""Systems, by the beginnings of osinfo's identities, whose cloud-init stays off at a start without its disc: there
`ds-identify` looks first, and finds nothing. Where nobody looks (OpenRC, BSD), or there is no DMI to look at,
cloud-init takes the missing disc for another machine: it would make new host keys and forget a fixed address. So
there it stays in."""
WITH_DMI = ("x86_64", "i686")
AGAIN_AFTER = timedelta(hours=1)
AT_ONCE = 20
SYSTEM = operations.Actor(None, Origin.SYSTEM)


def look_after(now: datetime) -> None:
    """Ask for what is due."""
    for domain in with_seed_to_take_out(now):
        take_out_seed(domain, now)
    for volume in installers_done_with():
        ask("volume.delete", volume, now)
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
    """Machines that run, have read what they were told and will not miss it: their agent says so, or they have run for
    long enough."""
    # Windows reads its answers until the end of a long installation.
    installs = Q(os__startswith=WINDOWS)
    linux = Q(pk=None)
    for system in DOES_WITHOUT:
        linux |= Q(os__startswith=system)
    safe = installs | linux & Q(definition__inactive__arch__in=WITH_DMI)
    settled = Q(status_since__lt=now - SETTLED_AFTER) & ~installs | Q(status_since__lt=now - INSTALLED_AFTER)
    ready = Q(definition__live__agent_connected=True) | settled
    Domain.objects.filter(seed__missing_since__isnull=False).update(seed=None)
    found = Domain.objects.kept().filter(ready, safe, seed__isnull=False, status=Status.RUNNING, making=None)
    return list(found.select_related("host", "seed__pool__host")[:AT_ONCE])


def installers_done_with() -> list[Volume]:
    """Kernels of installers from the web that no machine runs with any more, nor would go on with: what was saved
    starts with its kernel again, and so does what is moved."""
    named = DiskUse.objects.filter(path=OuterRef("path"), domain__host=OuterRef("pool__host"))
    found = Volume.objects.filter(starts__isnull=False, making=None, missing_since=None)
    found = found.exclude(Exists(named)).exclude(starts__status=Status.SAVED)
    return list(found.select_related("pool__host")[:AT_ONCE])


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

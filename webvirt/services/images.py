"""The image library: of all volumes the discs, and the disks that machines are made from rather than have."""

from __future__ import annotations

from collections.abc import Iterable

from django.db.models import Exists, OuterRef, Q, QuerySet

from webvirt.models import ACTIVE_STATES, DiskUse, Operation, Pool, PoolStatus, Volume
from webvirt.services.uses import DISKS

ISO, DISK = "iso", "disk"
KINDS = (ISO, DISK)
OPEN = (PoolStatus.RUNNING, PoolStatus.DEGRADED)
NO_SYSTEM = "-"
"""In place of a system's id: those whose system is not known."""
FORMATS = ("raw", "qcow2")
"""Of files that can be a disk."""
IS_ISO = Q(format="iso") | Q(has_label=True)


def images_of(volumes: QuerySet[Volume]) -> QuerySet[Volume]:
    """Those of some volumes that are images: discs, and files that no machine has as its disk or others build on."""
    is_file = Q(kind="file", format__in=FORMATS, capacity__gt=0)
    return volumes.filter(starts=None).filter(IS_ISO | is_file & (~is_disk_of_a_machine() | is_base()))


def is_disk_of_a_machine() -> Q:
    """Whether a machine has a volume as its disk, on its own host or by shared storage on another."""
    uses = DiskUse.objects.filter(device__in=DISKS, domain__missing_since=None)
    here = {"domain__host": OuterRef("pool__host")}
    at_path = uses.filter(path=OuterRef("path"), **here).exclude(path="")
    named = uses.filter(volume=OuterRef("name"), pool=OuterRef("pool__name"), **here).exclude(volume="")
    # By way of the pools, of which there are few, or all volumes are gone through for each.
    pools = Pool.objects.filter(origin=OuterRef(OuterRef("pool__origin")))
    shared = Volume.objects.filter(pool__in=pools, name=OuterRef("name"), missing_since=None)
    elsewhere = shared.filter(Exists(at_path) | Exists(named))
    return Q(Exists(at_path)) | Q(Exists(named)) | ~Q(pool__origin="") & Q(Exists(elsewhere))


def is_base() -> Q:
    """Whether other images build on a volume."""
    above = Volume.objects.filter(backing_path=OuterRef("path"), pool__host=OuterRef("pool__host"), missing_since=None)
    return Q(Exists(above.exclude(backing_path="")))


def from_the_web(volumes: QuerySet[Volume], urls: Iterable[str]) -> QuerySet[Volume]:
    """Those of some volumes that are whole and hold what was fetched from one of these addresses, the newest first."""
    found = volumes.filter(source_url__in=list(urls), missing_since=None, making=None)
    return found.exclude(source_url="").order_by("-modified_at", "-pk")


def on_host_of(pool: Pool, url: str) -> Volume | None:
    """The volume with what an address gives, in this pool or else in another that runs on its host; none that belongs
    to a project, which is nobody else's."""
    here = Volume.objects.filter(project=None, pool__host=pool.host_id, pool__missing_since=None, pool__status__in=OPEN)
    found = list(from_the_web(here.select_related("pool__host"), [url]))
    return min(found, key=lambda volume: volume.pool_id != pool.pk, default=None)


def maker_of(pool: Pool, name: str, url: str) -> Operation | None:
    """The operation under way that makes a volume of this name in a pool, or fetches this address into it."""
    made = Volume.objects.filter(pool=pool, missing_since=None, making__state__in=ACTIVE_STATES)
    fetched = Q(making__kind="volume.fetch", making__parameters__url=url)
    row = made.filter(Q(name=name) | fetched).select_related("making").first()
    return row.making if row else None


def chosen(
    found: QuerySet[Volume], *, text: str = "", host: int | None = None, kind: str = "", os: str = ""
) -> QuerySet[Volume]:
    """Those of some images that hold a text in a name or a system's, on a host, of one of KINDS, with a system."""
    if text:
        found = found.filter(Q(name__icontains=text) | Q(title__icontains=text) | Q(os_name__icontains=text))
    if host is not None:
        found = found.filter(pool__host=host)
    if kind:
        found = found.filter(IS_ISO) if kind == ISO else found.exclude(IS_ISO)
    if os:
        found = found.filter(os="" if os == NO_SYSTEM else os)
    return found


def systems_of(found: QuerySet[Volume]) -> list[tuple[str, str]]:
    """The systems on some images, by name: ids and names."""
    named = found.exclude(os="").order_by("os_name", "os").values_list("os", "os_name")
    return list(dict(named.distinct()).items())

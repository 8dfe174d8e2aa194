"""Pools and volumes as remembered, and which domains use what."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.utils.translation import gettext_lazy as _

from webvirt.models.hosts import Host
from webvirt.models.seen import Seen, SeenQuerySet


class PoolStatus(models.TextChoices):
    """libvirt's pool states in words, and one that follows from absence."""

    RUNNING = "running", _("running")
    INACTIVE = "inactive", _("stopped")
    BUILDING = "building", _("being built")
    DEGRADED = "degraded", _("degraded")
    INACCESSIBLE = "inaccessible", _("not accessible")
    MISSING = "missing", _("missing")


class Pool(Seen):
    """A storage pool. Its identity is (host, uuid). Sizes are bytes, as last told while it ran."""

    uuid = models.CharField(max_length=36)
    status = models.CharField(max_length=16, choices=PoolStatus, default=PoolStatus.INACTIVE)
    persistent = models.BooleanField(default=True)
    autostart = models.BooleanField(default=False)
    capacity = models.BigIntegerField(default=0)
    allocation = models.BigIntegerField(default=0)
    available = models.BigIntegerField(default=0)
    type = models.CharField(max_length=20, blank=True, default="")
    info = models.JSONField(default=dict)
    """`PoolInfo` as a dict; empty until it was read."""
    xml = models.TextField(blank=True, default="")
    origin = models.CharField(max_length=500, blank=True, default="")
    """Where the data really lies, for storage that several hosts may share; empty for a host's own."""

    objects: ClassVar[SeenQuerySet[Pool]] = SeenQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        constraints = [models.UniqueConstraint(name="pool_unique_on_host", fields=["host", "uuid"])]
        indexes = [
            models.Index(name="pool_by_name", fields=["name", "id"]),
            models.Index(name="pool_by_origin", fields=["origin"]),
        ]

    @property
    def used_percent(self) -> float | None:
        """How full it is; None while that is not known."""
        return 100 * (self.capacity - self.available) / self.capacity if self.capacity else None


class Volume(models.Model):
    """A volume. Its identity is (pool, name). Sizes are bytes."""

    pool = models.ForeignKey(Pool, on_delete=models.PROTECT, related_name="volumes")
    project = models.ForeignKey(
        "webvirt.Project", on_delete=models.PROTECT, null=True, blank=True, related_name="volumes"
    )
    """The team that it belongs to; None: the host's own."""
    name = models.CharField(max_length=255)
    title = models.CharField(max_length=255, blank=True, default="")
    """What people called its file, where a volume cannot be called so."""
    path = models.TextField(default="")
    kind = models.CharField(max_length=16, default="file")
    format = models.CharField(max_length=24, blank=True, default="")
    capacity = models.BigIntegerField(default=0)
    allocation = models.BigIntegerField(default=0)
    backing_path = models.TextField(blank=True, default="")
    backing_format = models.CharField(max_length=24, blank=True, default="")
    encrypted = models.BooleanField(default=False)
    secret = models.CharField(max_length=36, blank=True, default="")
    """The UUID of the secret that it is encrypted with, as last told: libvirt forgets it of most, see `VolumeInfo`."""
    modified_at = models.DateTimeField(null=True)
    first_seen_at = models.DateTimeField(auto_now_add=True)
    read_at = models.DateTimeField(null=True)
    """When its figures were read; None while only its name is known."""
    missing_since = models.DateTimeField(null=True)
    os = models.CharField(max_length=64, blank=True, default="")
    """osinfo's short id of the system it looks to hold, such as `debian12`; empty when that is not known."""
    os_name = models.CharField(max_length=160, blank=True, default="")
    """The system's name as osinfo-db has it, kept here: pages know no osinfo-db."""
    has_label = models.BooleanField(default=False)
    """It has the label of a CD or DVD, whatever format its host takes it for."""
    looked_at = models.DateTimeField(null=True)
    """When its system was looked for; None until then, and again when it may be another."""
    sha256 = models.CharField(max_length=64, blank=True, default="")
    """Of its bytes as they lie in the pool, in hexadecimal; empty while not computed or no longer true."""
    sha256_at = models.DateTimeField(null=True)
    source_url = models.CharField(max_length=2000, blank=True, default="")
    """Where on the web these very bytes came from; empty where that is not known or no longer true."""
    appliance = models.JSONField(default=dict, blank=True)
    """The machine that these bytes hold, as `services.appliances.as_json` tells it; empty until somebody looked."""
    making = models.ForeignKey("webvirt.Operation", on_delete=models.SET_NULL, null=True, related_name="+")
    """The operation that makes it: as long as it stands here it is not whole, and if that fails it is removed."""
    starts = models.ForeignKey("webvirt.Domain", on_delete=models.SET_NULL, null=True, related_name="+")
    """The machine whose first start it was fetched for, and for nothing else: deleted when that no longer needs it."""

    class Meta:
        constraints = [models.UniqueConstraint(name="volume_unique_in_pool", fields=["pool", "name"])]
        indexes = [
            models.Index(name="volume_by_path", fields=["path"]),
            models.Index(name="volume_by_base", fields=["backing_path"], condition=~models.Q(backing_path="")),
            models.Index(name="volume_listed", fields=["pool", "missing_since", "name"]),
            models.Index(name="volume_by_source", fields=["source_url"], condition=~models.Q(source_url="")),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def host(self) -> Host:
        return self.pool.host

    @property
    def is_iso(self) -> bool:
        return self.format == "iso" or self.has_label

    @property
    def is_made(self) -> bool:
        """Whether an operation that makes it is under way."""
        return self.making is not None and self.making.is_active

    @property
    def is_whole(self) -> bool:
        """Whether it is no more, and was not left half made."""
        return self.making_id is None

    @property
    def status(self) -> str:
        """A volume is there or it is not."""
        return "missing" if self.missing_since else "present"

    @property
    def is_stale(self) -> bool:
        return self.pool.is_stale


class DiskUse(models.Model):
    """A domain's definition names a file, a device or a volume. Written with the definition it stands in.

    `path` is set for what is named by path, `pool` and `volume` for what is named by these.
    """

    domain = models.ForeignKey("webvirt.Domain", on_delete=models.CASCADE, related_name="disk_uses")
    slot = models.CharField(max_length=64)
    """The disk's target (`vda`), or `kernel` and the like."""
    device = models.CharField(max_length=16, default="disk")
    path = models.TextField(blank=True, default="")
    pool = models.CharField(max_length=255, blank=True, default="")
    volume = models.CharField(max_length=255, blank=True, default="")
    live = models.BooleanField(default=False)
    """Whether it is in the running machine; else it stands in the definition for the next start alone."""

    class Meta:
        indexes = [
            models.Index(name="disk_use_by_path", fields=["path"], condition=~models.Q(path="")),
            models.Index(name="disk_use_by_volume", fields=["volume", "pool"], condition=~models.Q(volume="")),
        ]

    def __str__(self) -> str:
        return f"{self.slot} of {self.domain_id}"

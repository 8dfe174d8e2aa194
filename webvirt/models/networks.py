"""Virtual networks and network filters as remembered, and which domains are connected where."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.utils.translation import gettext_lazy as _

from webvirt.models.seen import Seen, SeenQuerySet


class NetworkStatus(models.TextChoices):
    ACTIVE = "active", _("running")
    INACTIVE = "inactive", _("stopped")
    MISSING = "missing", _("missing")


class Network(Seen):
    """A virtual network. Its identity is (host, uuid)."""

    uuid = models.CharField(max_length=36)
    project = models.ForeignKey(
        "webvirt.Project", on_delete=models.PROTECT, null=True, blank=True, related_name="networks"
    )
    """The team that it belongs to; None: the host's own."""
    status = models.CharField(max_length=16, choices=NetworkStatus, default=NetworkStatus.INACTIVE)
    persistent = models.BooleanField(default=True)
    autostart = models.BooleanField(default=False)
    forward = models.CharField(max_length=16, blank=True, default="")
    bridge = models.CharField(max_length=64, blank=True, default="")
    info = models.JSONField(default=dict)
    """`NetworkInfo` as a dict, as it is at the next start; empty until it was read."""
    live = models.JSONField(null=True, default=None)
    """`NetworkInfo` of the running network as a dict, or None."""
    xml = models.TextField(blank=True, default="")
    live_xml = models.TextField(blank=True, default="")
    leases = models.JSONField(default=list)
    """`Lease`s as dicts."""

    objects: ClassVar[SeenQuerySet[Network]] = SeenQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        constraints = [models.UniqueConstraint(name="network_unique_on_host", fields=["host", "uuid"])]
        indexes = [models.Index(name="network_by_name", fields=["name", "id"])]


class Filter(Seen):
    """A network filter. Its identity is (host, uuid)."""

    uuid = models.CharField(max_length=36)
    chain = models.CharField(max_length=64, blank=True, default="")
    priority = models.IntegerField(null=True, default=None)
    rules = models.PositiveIntegerField(default=0)
    references = models.JSONField(default=list)
    """The names of the filters that it takes in."""
    xml = models.TextField(blank=True, default="")

    objects: ClassVar[SeenQuerySet[Filter]] = SeenQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        constraints = [models.UniqueConstraint(name="filter_unique_on_host", fields=["host", "uuid"])]
        indexes = [models.Index(name="filter_by_name", fields=["name", "id"])]


class CardUse(models.Model):
    """A domain's interface and where it is plugged in. Written with the definition it stands in."""

    domain = models.ForeignKey("webvirt.Domain", on_delete=models.CASCADE, related_name="card_uses")
    mac = models.CharField(max_length=17)
    type = models.CharField(max_length=16)
    """libvirt's: network, bridge, direct, user, hostdev, ..."""
    source = models.CharField(max_length=255, blank=True, default="")
    model = models.CharField(max_length=32, blank=True, default="")
    filter = models.CharField(max_length=255, blank=True, default="")
    live = models.BooleanField(default=False)

    class Meta:
        indexes = [
            models.Index(name="card_use_by_source", fields=["type", "source"]),
            models.Index(name="card_use_by_mac", fields=["mac"]),
        ]

    def __str__(self) -> str:
        return f"{self.mac} of {self.domain_id}"

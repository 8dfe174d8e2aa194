"""What a host has and tells us of: the part that all such rows share."""

from __future__ import annotations

from typing import Self, TypeVar

from django.db import models

from webvirt.models.hosts import HostState

S = TypeVar("S", bound="Seen")


class SeenQuerySet(models.QuerySet[S]):
    def kept(self) -> Self:
        """Those that their host lists, of hosts that nobody removed."""
        return self.filter(host__removed_at=None, missing_since=None)


class Seen(models.Model):
    """Something on a host, written by `services.inventory` alone. Absence is `missing_since`, never deletion."""

    host = models.ForeignKey("webvirt.Host", on_delete=models.PROTECT, related_name="%(class)ss")
    name = models.CharField(max_length=255)
    first_seen_at = models.DateTimeField(auto_now_add=True)
    missing_since = models.DateTimeField(null=True)

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return self.name

    @property
    def is_stale(self) -> bool:
        """Whether what we show may no longer be so, since its host does not answer."""
        return self.host.state != HostState.UP

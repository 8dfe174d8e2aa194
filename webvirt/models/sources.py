"""Other hypervisors that somebody has looked at, to import machines from them."""

from __future__ import annotations

from django.db import models

from webvirt.hypervisor.types import SourceAddress, SourceKind


class SourceHost(models.Model):
    """What one look at another hypervisor has brought. It is no host of ours, and is forgotten after a day."""

    operation = models.OneToOneField(
        "webvirt.Operation", on_delete=models.PROTECT, related_name="source", primary_key=True
    )
    """The look itself: its number is that of the source, and who asked for it may import from there."""
    kind = models.CharField(max_length=8)
    hostname = models.CharField(max_length=253)
    port = models.PositiveIntegerField(null=True)
    user = models.CharField(max_length=128, blank=True, default="")
    path = models.CharField(max_length=400, blank=True, default="")
    unverified = models.BooleanField(default=False)
    sealed_password = models.TextField(blank=True, default="")
    """For `services.unsealing` alone."""
    keys = models.JSONField(default=list)
    """The public keys by which SSH knows it, as whoever asked has confirmed them."""
    offered = models.JSONField(default=list)
    """Those that it shows, where nobody has confirmed them."""
    machines = models.JSONField(default=list)
    """`services.foreign.Offer`s as dicts."""
    more = models.PositiveIntegerField(default=0)
    """How many machines it has besides, which are too many to list."""
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-pk"]

    def __str__(self) -> str:
        return f"{self.kind} {self.hostname}"

    @property
    def address(self) -> SourceAddress:
        """Where it is and how it is known, without its password."""
        return SourceAddress(
            SourceKind(self.kind),
            self.hostname,
            self.port,
            self.user,
            path=self.path,
            unverified=self.unverified,
            keys=tuple(self.keys),
        )

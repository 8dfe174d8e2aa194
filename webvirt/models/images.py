"""The catalogue of cloud images: what makers of systems publish ready to run, and where."""

from __future__ import annotations

from django.db import models


class CloudImage(models.Model):
    """A disk image on the web that sets itself up by cloud-init. Administrators keep the list; seeded by a migration.

    What it should be is told by `checksum_url`, a list of checksums that its maker keeps beside it, or by `checksum`,
    one that does not change; both may be empty.
    """

    name = models.CharField(max_length=80)
    os = models.CharField(max_length=64, blank=True, default="")
    """osinfo's short id of the system, such as `debian12`."""
    arch = models.CharField(max_length=16, default="x86_64")
    url = models.CharField(max_length=2000)
    checksum_url = models.CharField(max_length=2000, blank=True, default="")
    checksum = models.CharField(max_length=128, blank=True, default="")
    """SHA-256 or SHA-512 in hexadecimal."""
    user = models.CharField(max_length=32, blank=True, default="")
    """Who signs in to a machine made from it, unless cloud-init is told otherwise."""
    position = models.PositiveIntegerField(default=0)
    enabled = models.BooleanField(default=True)
    """Whether it is offered; else administrators alone see it."""
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        constraints = [models.UniqueConstraint(name="cloud_image_unique", fields=["url"])]
        ordering = ["position", "name", "pk"]

    def __str__(self) -> str:
        return self.name

"""Flavours: the sizes of machines that one chooses by a name."""

from __future__ import annotations

from django.db import models


class Flavour(models.Model):
    """A size that new machines are offered in. Administrators keep the list; seeded by a migration."""

    name = models.CharField(max_length=40)
    vcpus = models.PositiveIntegerField()
    memory_mib = models.PositiveIntegerField()
    disk = models.BigIntegerField(default=0)
    """Bytes of its first disk; 0 where the flavour says nothing of it."""
    position = models.PositiveIntegerField(default=0)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        constraints = [models.UniqueConstraint(name="flavour_unique", fields=["name"])]
        ordering = ["position", "name", "pk"]

    def __str__(self) -> str:
        return self.name

"""Files on their way from a browser into a volume."""

from __future__ import annotations

from django.db import models


class Upload(models.Model):
    """How far an upload is, beside its operation. Sizes and places are bytes from the file's beginning.

    Written by `services.uploads` alone.
    """

    operation = models.OneToOneField(
        "webvirt.Operation", on_delete=models.PROTECT, primary_key=True, related_name="upload"
    )
    pool = models.ForeignKey("webvirt.Pool", on_delete=models.PROTECT, related_name="uploads")
    name = models.CharField(max_length=255)
    size = models.BigIntegerField()
    received = models.BigIntegerField(default=0)
    """Up to here we have it, or had it and handed it on."""
    carried = models.BigIntegerField(default=0)
    """Up to here the host has it."""
    placed = models.BooleanField(default=False)
    """Whether its volume has been made, and its room in the pool taken into account."""
    touched_at = models.DateTimeField(auto_now=True)

    def __str__(self) -> str:
        return self.name

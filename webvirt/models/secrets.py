"""Secrets that hosts keep for their pools and machines. We know of them; their values never reach the database."""

from __future__ import annotations

from typing import ClassVar

from django.db import models

from webvirt.models.seen import Seen, SeenQuerySet


class Secret(Seen):
    """A secret. Its identity is (host, uuid); libvirt gives it no name, so it is called by what it belongs to."""

    uuid = models.CharField(max_length=36)
    usage = models.CharField(max_length=16, default="none")
    """One of `SecretUsage`, or libvirt's word for a newer one."""
    usage_id = models.TextField(blank=True, default="")
    """What it belongs to: a volume's path, the name that a pool or a machine calls it by."""
    description = models.TextField(blank=True, default="")
    ephemeral = models.BooleanField(default=False)
    private = models.BooleanField(default=False)

    objects: ClassVar[SeenQuerySet[Secret]] = SeenQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        constraints = [models.UniqueConstraint(name="secret_unique_on_host", fields=["host", "uuid"])]
        indexes = [models.Index(name="secret_by_name", fields=["name", "id"])]

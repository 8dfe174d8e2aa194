"""The processes of this installation, each writing here that it lives."""

from __future__ import annotations

from django.db import models


class Process(models.Model):
    """One running process: `kind` is `worker`, `watch` or `consoleproxy`, `name` tells two of a kind apart."""

    kind = models.CharField(max_length=20)
    name = models.CharField(max_length=100, unique=True)
    beat_at = models.DateTimeField()

    def __str__(self) -> str:
        return self.name

"""Each process says every few seconds that it lives; `/healthz` reads it."""

from __future__ import annotations

from django.utils import timezone

from webvirt.models import Process


def beat(kind: str, name: str) -> None:
    """Say that the process `name` (unique among all) of a `kind` lives."""
    Process.objects.update_or_create(name=f"{kind}@{name}", defaults={"kind": kind, "beat_at": timezone.now()})


def stop(kind: str, name: str) -> None:
    """Say that it ended as it should, so that nobody misses it."""
    Process.objects.filter(name=f"{kind}@{name}").delete()

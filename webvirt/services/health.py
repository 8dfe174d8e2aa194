"""Whether every part of this installation is alive, as far as one process can see from the database and Redis."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db import Error
from django.utils import timezone
from redis.exceptions import RedisError

from webvirt import __version__, bus
from webvirt.models import Process

KINDS = ("worker-fast", "worker-slow", "watch", "consoleproxy")
STALE_AFTER = timedelta(seconds=20)
"""Processes write every 5 s: four missed beats count as dead."""


def health() -> dict[str, Any]:
    """`ok` over all, the version, and each part with `ok` and, for a process, the `age` of its last beat in seconds.

    No names, addresses or error texts: anybody may read it.
    """
    parts: dict[str, dict[str, Any]] = {"redis": {"ok": redis_answers()}}
    try:
        parts |= beats()
        parts["database"] = {"ok": True}
    except Error:
        parts["database"] = {"ok": False}
        parts |= {kind: {"ok": False, "age": None} for kind in KINDS}
    return {"ok": all(part["ok"] for part in parts.values()), "version": __version__, "parts": parts}


def redis_answers() -> bool:
    try:
        return bool(bus.store().ping())
    except RedisError:
        return False


def beats() -> dict[str, dict[str, Any]]:
    """The youngest heartbeat of each kind of process; an age of None where there never was one."""
    now = timezone.now()
    youngest: dict[str, timedelta] = {}
    for kind, beat_at in Process.objects.filter(kind__in=KINDS).values_list("kind", "beat_at"):
        youngest[kind] = min(now - beat_at, youngest.get(kind, timedelta.max))
    return {
        kind: {
            "ok": kind in youngest and youngest[kind] < STALE_AFTER,
            "age": round(youngest[kind].total_seconds(), 1) if kind in youngest else None,
        }
        for kind in KINDS
    }

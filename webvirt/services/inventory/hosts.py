"""What hosts tell us of themselves, made into rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from django.db import transaction
from django.utils import timezone

from webvirt import bus
from webvirt.hypervisor.types import Check, HostInfo, HostInterface
from webvirt.models import AuditResult, Host, HostState
from webvirt.services import audit


def host_is(host_pk: int, state: HostState, reason: str = "") -> None:
    """Write that a host is up, down or refusing, with since when. Its domains keep their last known state."""
    now = timezone.now()
    seen = {"seen_at": now} if state == HostState.UP else {}
    with transaction.atomic():
        changed = (
            Host.objects.filter(pk=host_pk)
            .exclude(state=state)
            .update(state=state, state_since=now, state_reason=reason, **seen)
        )
        if changed:
            bus.announce([f"host:{host_pk}", "hosts", "domains"])
            return
        fresh = Host.objects.filter(pk=host_pk).exclude(state_reason=reason).update(state_reason=reason)
        if seen:
            Host.objects.filter(pk=host_pk).update(**seen)
        if fresh:
            bus.announce([f"host:{host_pk}", "hosts"])


def host_is_another(host_pk: int, offered: Sequence[str], reason: str) -> None:
    """Write that a host is not who was confirmed, with the keys that it shows, if any. The log tells it once for each
    that shows itself in its place, however often it is looked at."""
    with audit.writing():
        row = Host.objects.get(pk=host_pk)
        before, now = set(row.offered), set(offered) - set(row.keys)
        is_known = bool(before & now) if before and now else row.state == HostState.CHANGED
        if offered:
            remember_offered(host_pk, offered)
        host_is(host_pk, HostState.CHANGED, reason)
        if not is_known:
            audit.note("host.identity", row, result=AuditResult.DENIED, details={"reason": reason})


def remember_host(host_pk: int, info: HostInfo, checks: Sequence[Check]) -> None:
    """Keep what a host says of itself and its capability check."""
    with transaction.atomic():
        Host.objects.filter(pk=host_pk).update(
            uuid=info.uuid, info=asdict(info), checks=[asdict(check) for check in checks]
        )
        bus.announce([f"host:{host_pk}", "hosts"])


def remember_trial(host_pk: int, trial: Sequence[Check]) -> None:
    """Keep the steps of the last connection trial."""
    with transaction.atomic():
        Host.objects.filter(pk=host_pk).update(trial=[asdict(check) for check in trial])
        bus.announce([f"host:{host_pk}"])


def remember_offered(host_pk: int, keys: Sequence[str]) -> None:
    """Keep the keys that a host shows and that nobody has confirmed; none where all is as it was confirmed."""
    with transaction.atomic():
        if Host.objects.filter(pk=host_pk).exclude(offered=list(keys)).update(offered=list(keys)):
            bus.announce([f"host:{host_pk}", "hosts"])


def remember_host_usage(host_pk: int, cpu_percent: float | None, memory_used_kib: int) -> None:
    with transaction.atomic():
        now = timezone.now()
        Host.objects.filter(pk=host_pk).update(
            cpu_percent=cpu_percent, memory_used_kib=memory_used_kib, usage_at=now, seen_at=now
        )
        bus.announce([f"use:{host_pk}"])


def remember_interfaces(host_pk: int, interfaces: Sequence[HostInterface]) -> None:
    """Keep the host's own interfaces, announcing it only when they changed."""
    found = [asdict(interface) for interface in interfaces]
    with transaction.atomic():
        if Host.objects.filter(pk=host_pk).exclude(interfaces=found).update(interfaces=found):
            bus.announce([f"host:{host_pk}"])

"""The first page: what needs attention, how the hosts are, what is busy, what happened last."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.db.models import Count, F, Sum
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_GET

from webvirt.models import (
    ACTIVE,
    NOT_REACHED,
    Domain,
    Host,
    Operation,
    OperationState,
    Pool,
    PoolStatus,
    Project,
    Status,
)
from webvirt.services.access import Access
from webvirt.services.catalogue import BY_KIND
from webvirt.services.disclosure import error_for
from webvirt.web.domains import STATES
from webvirt.web.guards import signed_in
from webvirt.web.kinds import NEARLY_FULL
from webvirt.web.quotas import Line, lines_for

ATTENTION = timedelta(days=1)
BUSIEST = 8
SHOWN = 8
FAILURES = 4


@dataclass
class HostCard:
    """A host with the number of its machines by state and what they were given."""

    host: Host
    states: Counter[str] = field(default_factory=Counter)
    memory_given_kib: int = 0

    @property
    def total(self) -> int:
        return sum(self.states.values()) - self.states[Status.MISSING]

    @property
    def running(self) -> int:
        return sum(self.states[state] for state in ACTIVE)

    @property
    def memory_kib(self) -> int:
        return int(self.host.info.get("memory_kib", 0))

    @property
    def memory_percent(self) -> float | None:
        if not self.memory_kib or self.host.memory_used_kib is None:
            return None
        return 100 * self.host.memory_used_kib / self.memory_kib

    @property
    def warnings(self) -> int:
        return sum(check.get("verdict") in ("warn", "fail") for check in self.host.checks)


@require_GET
@signed_in
def overview(request: HttpRequest, access: Access) -> HttpResponse:
    cards = host_cards(access)
    found = attention(access, cards)
    context = {
        "cards": cards,
        "totals": totals(access, cards),
        "attention": found,
        "busiest": list(busiest(access)),
        "errors": {one.pk: error_for(access, one) for one in found["failed"]},
        "recent": list(access.operations().select_related(None)[:SHOWN]),
        "capacity": capacity(cards),
        "projects": own_projects(access),
    }
    return render(request, "overview.html", context)


@dataclass(frozen=True)
class ProjectCard:
    """A project with what it uses of its quota, and whether one may make machines in it."""

    project: Project
    lines: list[Line]
    may_create: bool


def own_projects(access: Access) -> list[ProjectCard]:
    """The projects that somebody holds something on; who sees everything has their list for that."""
    if access.everywhere or not access.on["project"]:
        return []
    rows, verb = list(access.projects()[:SHOWN]), BY_KIND["domain.create"]
    lines = lines_for(rows)
    return [ProjectCard(row, lines[row.pk], access.may_freely(verb, row)) for row in rows]


def host_cards(access: Access) -> list[HostCard]:
    cards = {host.pk: HostCard(host) for host in access.hosts().order_by("name")}
    counted = (
        Domain.objects.filter(host__in=list(cards), forgotten_at=None)
        .order_by()
        .values_list("host_id", "status")
        .annotate(n=Count("pk"), memory=Sum("memory_kib"))
    )
    for host, status, number, memory in counted:
        cards[host].states[status] += number
        if status in ACTIVE:
            cards[host].memory_given_kib += memory or 0
    return list(cards.values())


def totals(access: Access, cards: list[HostCard]) -> dict[str, int]:
    """How many machines are in which state; for who sees every host the cards have counted them already."""
    counted: Counter[str] = Counter()
    if access.everywhere:
        for card in cards:
            counted += card.states
    else:
        found = access.domains().select_related(None).order_by()
        counted.update(dict(found.values_list("status").annotate(n=Count("pk"))))
    return {
        "all": sum(counted.values()),
        "running": counted[Status.RUNNING],
        "off": counted[Status.SHUTOFF] + counted[Status.SAVED],
        "paused": counted[Status.PAUSED] + counted[Status.PMSUSPENDED],
        "trouble": counted[Status.CRASHED] + counted[Status.UNKNOWN] + counted[Status.MISSING],
    }


def capacity(cards: list[HostCard]) -> dict[str, Any]:
    """All reachable hosts together: CPUs and memory, and how much of them is in use."""
    up = [card for card in cards if card.host.is_up]
    cpus = sum(int(card.host.info.get("cpus", 0)) for card in up)
    busy = sum((card.host.cpu_percent or 0) * int(card.host.info.get("cpus", 0)) for card in up)
    memory = sum(card.memory_kib for card in up)
    used = sum(card.host.memory_used_kib or 0 for card in up)
    return {
        "cpus": cpus,
        "cpu_percent": busy / cpus if cpus else None,
        "memory_kib": memory,
        "memory_used_kib": used,
        "memory_percent": 100 * used / memory if memory else None,
        "given_kib": sum(card.memory_given_kib for card in up),
    }


def attention(access: Access, cards: list[HostCard]) -> dict[str, list[Any]]:
    """What somebody should look at, worst first."""
    failed = access.operations().filter(state=OperationState.FAILED, created_at__gte=timezone.now() - ATTENTION)
    failures = latest_failures(list(failed[:100]))
    return {
        "hosts": [card.host for card in cards if card.host.state in NOT_REACHED],
        "domains": list(access.domains().filter(STATES["trouble"]).order_by("name")[:SHOWN]),
        "silent": list(access.domains().filter(not_responding_since__isnull=False).order_by("name")[:SHOWN]),
        "pools": nearly_full(access),
        "failed": failures[:FAILURES],
        "more": failures[FAILURES:],
    }


def nearly_full(access: Access) -> list[Pool]:
    """Pools that run out of room, the fullest first: machines on them pause when their disks can grow no more."""
    taken = F("capacity") - F("available")
    found = access.pools().filter(capacity__gt=0).exclude(status=PoolStatus.INACTIVE)
    full = found.annotate(taken=100 * taken / F("capacity")).filter(taken__gte=NEARLY_FULL)
    return list(full.order_by("-taken", "name")[:SHOWN])


def latest_failures(failed: list[Operation]) -> list[Operation]:
    """One for each thing and verb: who tries ten times need not read it ten times."""
    seen: dict[tuple[str, str], Operation] = {}
    for operation in failed:
        seen.setdefault((operation.kind, operation.subject), operation)
    return list(seen.values())


def busiest(access: Access) -> Any:
    # Only what runs has figures of use.
    found = access.domains().filter(cpu_percent__isnull=False)
    return found.defer("description").order_by("-cpu_percent", "pk")[:BUSIEST]

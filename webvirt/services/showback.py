"""What projects used by month: looked at once a minute, and added up.

Each look stands for the time since the one before, so that a start or a stop counts up to a minute wrong. Where the
last look is longer ago, nobody looked: that is a gap, which is told and is no use.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

from django.db import transaction
from django.db.models import Q, QuerySet, Sum

from webvirt.models import ACTIVE, Domain, HostState, Meter, MonthlyUse, Project
from webvirt.services.quotas import Amounts, volumes_in

EVERY = timedelta(minutes=1)
GAP = timedelta(minutes=3)
"""So long after the last look it is not known what was meanwhile."""
FIGURES = ("vcpu_seconds", "memory_mib_seconds", "disk_mib_seconds", "seconds", "gap_seconds", "partial_seconds")
CHUNK = 100
"""Rows in one UPDATE: SQLite allows so many variables and no more."""


def look_after(now: datetime) -> None:
    """Look at all projects, if that is due; done by several at once, it counts once."""
    known = Meter.objects.filter(pk=1).first()
    if known and timedelta() <= now - known.read_at < EVERY:
        return
    with transaction.atomic():
        Meter.objects.get_or_create(pk=1, defaults={"read_at": now})
        meter = Meter.objects.select_for_update().get(pk=1)
        passed = int((now - meter.read_at).total_seconds())
        if passed < 0:
            # The clock was set back.
            meter.read_at = now
        elif passed >= EVERY.total_seconds():
            count(meter.read_at, meter.read_at + timedelta(seconds=passed))
            meter.read_at += timedelta(seconds=passed)
        meter.save()


def count(begin: datetime, end: datetime) -> None:
    """Add what the time from one look to this one was to the months that it is in."""
    projects = list(Project.objects.open().filter(created_at__lt=end))
    running, unseen = running_now()
    disks = dict(volumes_in(project.pk for project in projects).values_list("project").annotate(d=Sum("capacity")))
    months = [month for month, _seconds in months_between(begin, end)]
    rows = {(row.project_id, row.month): row for row in MonthlyUse.objects.filter(month__in=months)}
    touched = []
    for project in projects:
        amounts = replace(running[project.pk], disk=int(disks.get(project.pk) or 0))
        for month, seconds in months_between(max(begin, project.created_at), end):
            row = rows.get((project.pk, month)) or MonthlyUse(project=project, month=month)
            if end - begin > GAP:
                row.gap_seconds += seconds
            else:
                add(row, amounts, seconds, is_partial=project.pk in unseen)
            touched.append(row)
    new: list[MonthlyUse] = []
    known: list[MonthlyUse] = []
    for row in touched:
        (new if row._state.adding else known).append(row)
    MonthlyUse.objects.bulk_update(known, FIGURES, batch_size=CHUNK)
    MonthlyUse.objects.bulk_create(new, batch_size=CHUNK)


def add(row: MonthlyUse, amounts: Amounts, seconds: int, *, is_partial: bool) -> None:
    row.seconds += seconds
    row.partial_seconds += seconds if is_partial else 0
    row.vcpu_seconds += amounts.vcpus * seconds
    row.memory_mib_seconds += amounts.memory_kib // 1024 * seconds
    row.disk_mib_seconds += amounts.disk // 2**20 * seconds


def running_now() -> tuple[dict[int, Amounts], set[int]]:
    """What the machines of each project take that are on, those that are paused too; and the projects that have
    machines on hosts that do not answer, of which nobody knows."""
    found: dict[int, Amounts] = defaultdict(Amounts)
    on = Domain.objects.kept().filter(project__isnull=False, status__in=ACTIVE).order_by()
    up = on.filter(host__state=HostState.UP).values_list("project")
    for project, vcpus, memory in up.annotate(v=Sum("vcpus"), m=Sum("memory_kib")):
        found[project] = Amounts(vcpus=vcpus or 0, memory_kib=memory or 0)
    return found, set(on.exclude(host__state=HostState.UP).values_list("project", flat=True).distinct())


def months_between(begin: datetime, end: datetime) -> Iterator[tuple[date, int]]:
    """The months in UTC that a time is in, each with how many whole seconds of it."""
    at = begin.astimezone(UTC)
    while at < end:
        first = at.date().replace(day=1)
        following = (first + timedelta(days=32)).replace(day=1)
        until = min(end, datetime(following.year, following.month, 1, tzinfo=UTC))
        yield first, round((until - at).total_seconds())
        at = until.astimezone(UTC)


# --- to read


def uses_of(projects: QuerySet[Project], month: date | None = None) -> QuerySet[MonthlyUse]:
    """What these projects used, of a month or of all, projects joined: the last month first."""
    when = Q(month=month) if month else Q()
    found = MonthlyUse.objects.filter(when, project__in=projects.order_by().values("pk")).select_related("project")
    return found.order_by("-month", "project__name", "pk")


def months_of(projects: QuerySet[Project]) -> list[date]:
    """The months of which anything is known, the last one first."""
    found = MonthlyUse.objects.filter(project__in=projects.order_by().values("pk")).order_by("-month")
    return list(found.values_list("month", flat=True).distinct())


def month_named(text: str) -> date | None:
    """The first day of `2025-11`; None for what is no month."""
    return date.fromisoformat(f"{text}-01") if re.fullmatch(r"[0-9]{4}-(0[1-9]|1[0-2])", text, re.ASCII) else None

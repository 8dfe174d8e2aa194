"""What projects used by month: what is counted, and what is told to be unknown."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from tests.people import Cast, make_domain, make_host, make_volume
from webvirt.models import Domain, Host, HostState, Meter, MonthlyUse, Project, Status
from webvirt.services import showback

GIB = 2**30
NOON = datetime(2025, 11, 5, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@pytest.fixture
def project(cast: Cast) -> Project:
    """With a machine that runs, one that is off, and a disk."""
    found = Project.objects.create(name="shop")
    Project.objects.update(created_at=NOON - timedelta(days=90))
    make_domain(cast.host, "web", 7, project=found, status=Status.RUNNING, vcpus=4, memory_kib=2 * 2**20)
    make_domain(cast.host, "db", 8, project=found, status=Status.SHUTOFF, vcpus=8)
    make_volume(cast.pool, "disk", project=found, capacity=30 * GIB)
    return found


def minutes(number: int, begin: datetime = NOON) -> datetime:
    """The clerk looks once a minute, and oftener; returns when he does so last."""
    for half in range(2 * number + 1):
        showback.look_after(begin + half * MINUTE / 2)
    return begin + number * MINUTE


def test_use_is_added_up_minute_by_minute(project: Project) -> None:
    minutes(60)
    row = MonthlyUse.objects.get()
    assert (row.project, row.month, row.seconds, row.gap_seconds) == (project, date(2025, 11, 1), 3600, 0)
    assert (row.vcpu_hours, row.memory_gib_hours, row.disk_gib_hours) == (4, 2, 30)
    Domain.objects.filter(name="web").update(status=Status.SHUTOFF)
    minutes(60, NOON + timedelta(hours=1))
    row.refresh_from_db()
    assert (row.vcpu_hours, row.memory_gib_hours, row.disk_gib_hours) == (4, 2, 60)


def test_a_gap_is_told_and_is_no_use(project: Project) -> None:
    end = minutes(2)
    # Everything was down for an hour, and then two looks were as usual.
    minutes(2, end + timedelta(hours=1))
    row = MonthlyUse.objects.get()
    assert (row.seconds, row.gap_seconds, row.vcpu_seconds) == (240, 3600, 4 * 240)
    assert round(row.known_percent, 2) == 6.25


def test_machines_of_a_host_that_does_not_answer_are_not_counted(project: Project) -> None:
    beta = make_host("beta", hostname="beta.example.org")
    make_domain(beta, "far", 9, project=project, status=Status.RUNNING, vcpus=16)
    minutes(1)
    Host.objects.filter(pk=beta.pk).update(state=HostState.DOWN)
    minutes(2, NOON + MINUTE)
    row = MonthlyUse.objects.get()
    assert (row.seconds, row.partial_seconds, row.vcpu_seconds) == (180, 120, 60 * 20 + 120 * 4)


def test_a_minute_between_two_months_is_in_both(project: Project) -> None:
    begin = datetime(2025, 11, 30, 23, 59, 20, tzinfo=UTC)
    minutes(1, begin)
    assert dict(MonthlyUse.objects.values_list("month", "seconds")) == {date(2025, 11, 1): 40, date(2025, 12, 1): 20}


def test_it_counts_once_however_many_look_and_goes_on_after_a_restart(project: Project) -> None:
    for at in (NOON, NOON + MINUTE, NOON + MINUTE, NOON + MINUTE + timedelta(seconds=59)):
        showback.look_after(at)
    assert MonthlyUse.objects.get().seconds == 60
    # A clock that was set back counts nothing, and then goes on.
    showback.look_after(NOON - timedelta(hours=1))
    assert Meter.objects.get().read_at == NOON - timedelta(hours=1)
    showback.look_after(NOON - timedelta(hours=1) + MINUTE)
    assert MonthlyUse.objects.get().seconds == 120


def test_a_project_is_looked_at_from_when_it_is_there(project: Project) -> None:
    Project.objects.update(created_at=NOON + timedelta(seconds=45))
    minutes(1)
    assert MonthlyUse.objects.get().seconds == 15
    Project.objects.update(closed_at=NOON + MINUTE)
    minutes(2, NOON + MINUTE)
    assert MonthlyUse.objects.get().seconds == 15


@pytest.mark.parametrize("text", ["", "2025", "2025-13", "2025-1", "2025-11-01", "x", "２０２５-11"])
def test_what_is_no_month(text: str) -> None:
    assert showback.month_named(text) is None

"""What hosts say, made into rows."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.fakes import FakeConnection
from tests.people import Cast, make_host
from webvirt.hypervisor.types import (
    DomainInfo,
    DomainReading,
    DomainState,
    DomainSummary,
    DomainUsage,
    GuestAddress,
)
from webvirt.models import Definition, Domain, Grant, Host, HostState, Status
from webvirt.services import inventory

ONE = DomainSummary("00000000-0000-4000-8000-000000000001", "web-1", DomainState.SHUTOFF, "shutdown", vcpus=1)


def tell(cast: Cast, *summaries: DomainSummary) -> Domain:
    inventory.reconcile(cast.host, summaries)
    cast.domain.refresh_from_db()
    return cast.domain


def test_a_state_is_dated_only_when_we_saw_it_change(cast: Cast) -> None:
    assert tell(cast, ONE).status_since is None
    assert tell(cast, replace(ONE, state=DomainState.RUNNING)).status_since is not None


def test_after_a_gap_nobody_knows_since_when(cast: Cast) -> None:
    inventory.reconcile(cast.host, [replace(ONE, state=DomainState.RUNNING)], watched=False)
    cast.domain.refresh_from_db()
    assert (cast.domain.status, cast.domain.status_since) == (Status.RUNNING, None)


def test_saved_memory_makes_it_saved(cast: Cast) -> None:
    assert tell(cast, replace(ONE, managed_save=True)).status == Status.SAVED


def test_a_host_keeps_what_machines_it_runs(cast: Cast) -> None:
    assert cast.host.machines == (), "an older row knows of none"
    with FakeConnection() as connection:
        info = connection.host.info()
    inventory.remember_host(cast.host.pk, info, [])
    cast.host.refresh_from_db()
    assert cast.host.machines == info.machines != ()


def test_absence_is_not_deletion(cast: Cast) -> None:
    assert tell(cast).status == Status.MISSING
    assert Grant.objects.filter(domain=cast.domain).count() == 3
    back = tell(cast, ONE)
    assert (back.status, back.missing_since) == (Status.SHUTOFF, None)


def test_a_missing_one_is_dismissed_until_it_is_back(cast: Cast) -> None:
    assert not inventory.forget(tell(cast, ONE))
    assert inventory.forget(tell(cast))
    assert cast.domain not in Domain.objects.kept()
    assert tell(cast, ONE) in Domain.objects.kept()


def test_another_uuid_under_the_same_name_is_another_machine(cast: Cast) -> None:
    tell(cast, replace(ONE, uuid="00000000-0000-4000-8000-0000000000ff"))
    impostor = Domain.objects.get(uuid__endswith="ff")
    assert impostor.pk != cast.domain.pk
    assert not Grant.objects.filter(domain=impostor).exists()


def test_only_those_asked_for_can_be_missing(cast: Cast) -> None:
    inventory.reconcile(cast.host, [], asked=[ONE.uuid])
    cast.other.refresh_from_db()
    assert cast.other.missing_since is None
    cast.domain.refresh_from_db()
    assert cast.domain.missing_since is not None


def test_the_same_uuid_on_another_host_is_another_machine(cast: Cast) -> None:
    inventory.reconcile(make_host("beta", transport="tcp"), [ONE])
    assert Domain.objects.filter(uuid=ONE.uuid).count() == 2


def test_nothing_new_changes_nothing(cast: Cast) -> None:
    tell(cast, ONE)
    assert inventory.reconcile(cast.host, [ONE]) == set()


def test_a_definition_brings_title_and_tags(cast: Cast) -> None:
    info = DomainInfo(ONE.uuid, "web-1", title="Shop", tags=("prod", "web"), vcpus=4, memory_kib=1024)
    reading = DomainReading(ONE, info, "<domain/>")
    assert inventory.remember_definition(cast.host, reading)
    assert not inventory.remember_definition(cast.host, reading)
    cast.domain.refresh_from_db()
    assert (cast.domain.title, cast.domain.tags, cast.domain.vcpus) == ("Shop", ["prod", "web"], 4)
    assert list(Domain.objects.matching("tag:web")) == [cast.domain]
    assert not Domain.objects.matching("tag:we").exists()


def test_addresses_are_kept_beside_the_definition(cast: Cast) -> None:
    info = DomainInfo(ONE.uuid, "web-1")
    inventory.remember_definition(cast.host, DomainReading(ONE, info, "<domain/>", info, "<domain/>"))
    inventory.remember_addresses(cast.host, ONE.uuid, [GuestAddress("52:54:00:00:00:01", "192.0.2.9", 24, "lease")])
    assert Definition.objects.get(domain=cast.domain).addresses[0]["address"] == "192.0.2.9"


def test_rates_come_from_two_readings() -> None:
    before = DomainUsage("u", cpu_ns=0, vcpus=2, memory_kib=8, memory_used_kib=4, disk_read_bytes=100)
    after = replace(before, cpu_ns=1_000_000_000, disk_read_bytes=300)
    rates = inventory.rates_between(before, after, 2.0)
    assert (rates["cpu_percent"], rates["disk_read_rate"]) == (25.0, 100)
    assert inventory.rates_between(after, before, 2.0)["cpu_percent"] is None


def test_a_hung_guest_is_marked_and_keeps_its_old_figures(cast: Cast) -> None:
    inventory.remember_usage(cast.host, {ONE.uuid: {"cpu_percent": 12.5}})
    inventory.remember_usage(cast.host, {}, [ONE.uuid])
    cast.domain.refresh_from_db()
    assert cast.domain.not_responding_since is not None
    assert cast.domain.cpu_percent == 12.5


def test_a_machine_that_stopped_uses_nothing(cast: Cast) -> None:
    tell(cast, replace(ONE, state=DomainState.RUNNING))
    inventory.remember_usage(cast.host, {ONE.uuid: {"cpu_percent": 12.5}})
    assert tell(cast, ONE).cpu_percent is None


def test_a_host_is_down_since_it_went_down(cast: Cast) -> None:
    inventory.host_is(cast.host.pk, HostState.DOWN, "no answer")
    since = Host.objects.get().state_since
    inventory.host_is(cast.host.pk, HostState.DOWN, "still none")
    host = Host.objects.get()
    assert (host.state_since, host.state_reason) == (since, "still none")


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("web", ["web-1"]),
        ("-web", ["db-1"]),
        ("state:off", ["db-1", "web-1"]),
        ("state:on", []),
        ("host:alpha -name:db", ["web-1"]),
        ("host:nowhere", []),
        ('"web', ["web-1"]),
        ("-", ["db-1", "web-1"]),
        ("nonsense:web", []),
    ],
)
def test_the_search_line(cast: Cast, line: str, found: list[str]) -> None:
    assert [row.name for row in Domain.objects.matching(line).order_by("name")] == found

"""Quotas of projects: that they hold however many ask at once, and what takes how much of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.people import make_cast, make_domain, make_volume
from tests.services.conftest import GIB, IMAGE, FakeHost
from tests.services.crowds import machines_given
from tests.services.shop import make_shop, really_there
from tests.services.test_creation import host, wish
from webvirt.models import Domain, Host, Operation, OperationState, Project, Reservation, Volume
from webvirt.services import operations, quotas
from webvirt.services.catalogue import BY_KIND
from webvirt.services.quotas import Amounts, used_in

__all__ = ["host"]

S = OperationState


@pytest.mark.django_db(transaction=True)
def test_fifty_at_once_get_exactly_what_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten processes ask for five machines each, and there is room for two."""
    monkeypatch.setattr(operations, "send", lambda operation: None)
    cast = make_cast()
    project = make_shop(cast.stranger, most_machines=2)
    assert machines_given(cast.stranger, cast.host, project) == 2
    assert Operation.objects.filter(kind="domain.create").count() == Reservation.objects.count() == 2
    assert used_in(project.pk) == Amounts(machines=2, vcpus=2, memory_kib=2 * 65536)


# --- what counts


def test_rows_count_and_what_is_taken_away_by_itself_does_not(alpha: FakeHost) -> None:
    shop, place = make_shop(), alpha.cast.host
    machine = make_domain(place, "web", 7, project=shop, vcpus=2)
    make_domain(
        place, "old", 8, project=shop, status="binned", binned_at="2025-01-01T00:00Z", forgotten_at="2025-01-01T00:00Z"
    )
    make_domain(place, "gone", 9, project=shop, status="missing", missing_since="2025-01-01T00:00Z")
    make_domain(place, "forgotten", 10, project=shop, status="missing", forgotten_at="2025-01-01T00:00Z")
    make_volume(alpha.pool, "disk", project=shop, capacity=3 * GIB)
    make_volume(alpha.pool, "was", project=shop, missing_since="2025-01-01T00:00Z")
    make_volume(alpha.pool, "kernel", project=shop, starts=machine)
    Domain.objects.filter(pk=machine.pk).update(seed=make_volume(alpha.pool, "seed", project=shop))
    make_volume(alpha.pool, "others")
    assert used_in(shop.pk) == Amounts(3, 4, 3 * 65536, 3 * GIB)


def test_a_refusal_names_what_is_missing(alpha: FakeHost, host: Host) -> None:
    shop = make_shop(most_vcpus=8, most_memory_kib=8 * 2**20, most_disk=10 * GIB)
    make_domain(host, "big", 7, project=shop, vcpus=6, memory_kib=2**20)
    make_volume(alpha.pool, "disk", project=shop, capacity=int(9.5 * GIB))
    with pytest.raises(operations.OverQuota) as refused:
        alpha.ask("domain.create", host, **wish(alpha, vcpus=4, project=shop.pk))
    assert str(refused.value) == (
        "4 vCPUs asked, 2 of 8 left in project shop; 5 GiB of disk asked, 0.5 of 10 GiB left in project shop"
    )
    assert not Operation.objects.exists()
    assert not Reservation.objects.exists()


def test_a_quota_below_what_is_used_keeps_new_things_out_alone(alpha: FakeHost, host: Host) -> None:
    shop = make_shop()
    assert alpha.do("domain.create", host, **wish(alpha, project=shop.pk, start=False)).state == S.SUCCEEDED
    Project.objects.update(most_machines=0, most_vcpus=1)
    assert alpha.do("domain.autostart", Domain.objects.get(name="new-1"), enabled=True).state == S.SUCCEEDED
    with pytest.raises(operations.OverQuota, match="1 machines asked, 0 of 0 left"):
        alpha.ask("domain.create", host, **wish(alpha, name="new-2", project=shop.pk))
    # What takes none of it goes on.
    assert alpha.do("volume.create", alpha.pool, name="more", capacity=GIB, project=shop.pk).state == S.SUCCEEDED


def test_the_recycle_bin_keeps_its_share_until_it_is_emptied(alpha: FakeHost, host: Host) -> None:
    shop = make_shop(most_machines=1)
    assert alpha.do("domain.create", host, **wish(alpha, project=shop.pk, start=False)).state == S.SUCCEEDED
    machine = Domain.objects.get(name="new-1")
    assert alpha.do("domain.delete", machine).state == S.SUCCEEDED
    with pytest.raises(operations.OverQuota):
        alpha.ask("domain.create", host, **wish(alpha, name="new-2", project=shop.pk))
    assert alpha.do("domain.undelete", machine).state == S.SUCCEEDED
    assert alpha.do("domain.purge", machine).state == S.SUCCEEDED
    assert used_in(shop.pk) == Amounts() == really_there(alpha, shop)


# --- what takes how much


@pytest.mark.parametrize(
    ("kind", "parameters"),
    [
        ("volume.create", {"name": "new", "capacity": 3 * GIB}),
        ("volume.upload", {"name": "new", "size": 3 * GIB}),
        ("volume.clone", {"name": "new"}),
        ("volume.copy", {"name": "new"}),
        ("volume.resize", {"capacity": IMAGE.capacity + 3 * GIB}),
        ("volume.set_project", {}),
    ],
)
def test_what_verbs_of_volumes_reserve(alpha: FakeHost, host: Host, kind: str, parameters: dict[str, Any]) -> None:
    shop = make_shop(most_disk=3 * GIB)
    on = alpha.pool if BY_KIND[kind].on == "pool" else alpha.volume(IMAGE.name)
    asked = parameters | ({"pool": alpha.pool.pk} if kind == "volume.copy" else {})
    if kind == "volume.resize":
        Volume.objects.filter(pk=on.pk).update(project=shop)
        Project.objects.update(most_disk=IMAGE.capacity + 3 * GIB)
    else:
        asked["project"] = shop.pk
        if BY_KIND[kind].on == "volume":
            Volume.objects.filter(pk=on.pk).update(capacity=3 * GIB)
    reserved = used_in(shop.pk)
    operation = alpha.ask(kind, on, **asked)
    assert used_in(shop.pk) - reserved == Amounts(disk=3 * GIB)
    # One more byte than there is left.
    Project.objects.update(most_disk=used_in(shop.pk).disk - 1)
    operations.cancel(operation)
    assert used_in(shop.pk) == reserved
    with pytest.raises(operations.OverQuota, match=r"3 GiB of disk asked, 2\.9 of"):
        alpha.ask(kind, on, **asked)


def test_a_volume_counts_once_from_beginning_to_end(alpha: FakeHost) -> None:
    shop = make_shop(most_disk=30 * GIB)
    for kind, on, parameters, disk in (
        ("volume.create", "pool", {"name": "a.qcow2", "capacity": 5 * GIB, "project": shop.pk}, 5),
        ("volume.clone", "a.qcow2", {"name": "b.qcow2"}, 10),
        ("volume.resize", "b.qcow2", {"capacity": 7 * GIB}, 12),
    ):
        target = alpha.pool if on == "pool" else alpha.volume(on)
        done = alpha.do(kind, target, **parameters)
        assert (done.state, done.error) == (S.SUCCEEDED, "")
        assert used_in(shop.pk) == really_there(alpha, shop) == Amounts(disk=disk * GIB)
        assert Reservation.objects.get(operation=done).disk == 0
    assert alpha.do("volume.delete", alpha.volume("a.qcow2")).state == S.SUCCEEDED
    assert used_in(shop.pk) == really_there(alpha, shop) == Amounts(disk=7 * GIB)


def test_a_machine_takes_its_disks_along_into_another_projects_quota(alpha: FakeHost, host: Host) -> None:
    shop = make_shop(most_disk=6 * GIB)
    assert alpha.do("domain.create", host, **wish(alpha)).state == S.SUCCEEDED
    machine = Domain.objects.get(name="new-1")
    Volume.objects.filter(name="new-1.qcow2").update(capacity=7 * GIB)
    with pytest.raises(operations.OverQuota, match="7 GiB of disk asked, 6 of 6 GiB left"):
        alpha.ask("domain.set_project", machine, project=shop.pk)
    Volume.objects.filter(name="new-1.qcow2").update(capacity=5 * GIB)
    operation = alpha.ask("domain.set_project", machine, project=shop.pk)
    # It has grown since.
    Volume.objects.filter(name="new-1.qcow2").update(capacity=7 * GIB)
    done = alpha.carry_out(operation)
    assert (done.state, done.error) == (S.FAILED, "2 GiB of disk asked, 1 of 6 GiB left in project shop")
    assert Domain.objects.get(name="new-1").project is None
    Project.objects.update(most_disk=7 * GIB)
    assert alpha.do("domain.set_project", Domain.objects.get(pk=machine.pk), project=shop.pk).state == S.SUCCEEDED
    assert used_in(shop.pk) == Amounts(1, 2, 2**20, 7 * GIB)


def test_what_somebody_else_has_by_that_name_is_not_the_projects(
    alpha: FakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name was free when it was looked at, and libvirt says that it is taken."""
    shop, storage = make_shop(), alpha.connection.storage
    storage.known[alpha.uuid].volumes["theirs"] = replace(
        storage.known[alpha.uuid].volumes[IMAGE.name], info=replace(IMAGE, name="theirs")
    )
    monkeypatch.setattr("webvirt.services.runners.storage.demand_free_name", lambda *args: None)
    assert alpha.do("volume.create", alpha.pool, name="theirs", capacity=GIB, project=shop.pk).state == S.FAILED
    assert (alpha.volume("theirs").project, alpha.volume("theirs").capacity) == (None, IMAGE.capacity)
    assert used_in(shop.pk) == Amounts()


def test_reservations_of_what_has_ended_are_forgotten(alpha: FakeHost) -> None:
    shop = make_shop()
    asked = {"capacity": GIB, "project": shop.pk}
    ended = alpha.ask("volume.create", alpha.pool, name="a", **asked)
    under_way = alpha.ask("volume.create", alpha.pool, name="b", **asked)
    operations.cancel(ended)
    assert used_in(shop.pk) == Amounts(disk=GIB)
    quotas.clear_away()
    assert [row.operation for row in Reservation.objects.all()] == [under_way]

"""Machines deleted into the recycle bin, restored from it, and purged with what is theirs alone."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.conf import settings
from django.utils import timezone

from tests.services.carrying import dying, is_lost
from tests.services.conftest import GIB, IMAGE, FakeHost
from tests.services.test_creation import ISO, host, made, wish
from webvirt.hypervisor.errors import HypervisorError
from webvirt.hypervisor.types import DomainState
from webvirt.models import Definition, Domain, Grant, Host, Operation, OperationState, Role, Status, Volume
from webvirt.services import access, belongings, inventory, machines, operations

__all__ = ["host"]

S = OperationState


@pytest.fixture
def machine(alpha: FakeHost, host: Host) -> Domain:
    """A machine with a disk of its own and a disc of the library."""
    iso = alpha.volume(ISO.name)
    done = alpha.do("domain.create", host, **wish(alpha, begins="disc", volume=iso.pk, start=False, autostart=True))
    assert done.state == S.SUCCEEDED, done.error
    return Domain.objects.get(name="new-1")


def again(domain: Domain) -> Domain:
    return Domain.objects.select_related("host").get(pk=domain.pk)


def reconcile(alpha: FakeHost) -> None:
    inventory.reconcile(alpha.cast.host, alpha.connection.domains.list())


def test_what_goes_with_a_machine_is_its_own(alpha: FakeHost, machine: Domain) -> None:
    found = [(one.slot, one.name, one.is_own, one.others) for one in belongings.of(machine)]
    assert found == [("vda", "new-1.qcow2", True, []), ("sda", ISO.name, False, [])]


def test_a_base_of_another_image_is_never_preselected(alpha: FakeHost, machine: Domain) -> None:
    disk = alpha.volume("new-1.qcow2")
    Volume.objects.create(pool=disk.pool, name="above.qcow2", path="/x", backing_path=disk.path)
    (own, _disc) = belongings.of(machine)
    assert (own.is_own, own.others) == (False, ["above.qcow2"])
    assert belongings.chosen(machine, [disk.pk]) == []
    with pytest.raises(operations.Invalid, match=r"new-1.qcow2 stays: above.qcow2 needs it"):
        alpha.ask("domain.purge", machine, volumes=[disk.pk])


def test_deleted_it_is_out_of_sight_and_restored_it_is_as_it_was(alpha: FakeHost, machine: Domain) -> None:
    viewer = alpha.cast.viewer
    Grant.objects.create(user=viewer, role=Role.VIEWER, domain=machine)
    done = alpha.do("domain.delete", machine)
    assert (done.state, done.result) == (S.SUCCEEDED, {"volumes": 1}), done.error
    row, there = again(machine), alpha.connection.domains.known[machine.uuid]
    assert (row.status, there.name, there.autostart) == (Status.BINNED, f"new-1.deleted-{row.pk}", False)
    assert row not in access.access_of(viewer).domains()
    assert row in access.access_of(viewer).domains(with_bin=True)
    reconcile(alpha)
    assert again(machine).forgotten_at is not None
    # Its name is free, and its disk is there and known to be its.
    assert alpha.do("domain.create", alpha.cast.host, **wish(alpha, disks=[], start=False)).state == S.SUCCEEDED
    assert "new-1.qcow2" in alpha.names()
    with pytest.raises(operations.NotNow, match=r"it is a disk of new-1\.deleted"):
        alpha.ask("volume.delete", alpha.volume("new-1.qcow2"))
    alpha.do("domain.rename", Domain.objects.kept().get(name="new-1"), name="other")
    reconcile(alpha)
    done = alpha.do("domain.undelete", again(machine))
    assert done.state == S.SUCCEEDED, done.error
    row, there = again(machine), alpha.connection.domains.known[machine.uuid]
    assert (row.status, row.name, row.autostart, row.before_bin) == (Status.SHUTOFF, "new-1", True, {})
    assert (there.name, there.autostart) == ("new-1", True)
    assert row in access.access_of(viewer).domains()


def test_it_is_not_restored_over_another_of_its_name(alpha: FakeHost, machine: Domain) -> None:
    alpha.do("domain.delete", machine)
    alpha.connection.define("new-1")
    reconcile(alpha)
    done = alpha.do("domain.undelete", again(machine))
    assert (done.state, done.error) == (S.FAILED, "There is another machine of its name, new-1, by now.")
    assert again(machine).status == Status.BINNED


def test_in_the_bin_nothing_else_can_be_done_with_it(alpha: FakeHost, machine: Domain) -> None:
    alpha.do("domain.delete", machine)
    for kind, more in (("domain.start", {}), ("domain.edit", {"title": "x"})):
        with pytest.raises(operations.NotNow, match="recycle bin"):
            alpha.ask(kind, again(machine), **more)


def test_started_on_its_host_it_leaves_the_bin(alpha: FakeHost, machine: Domain) -> None:
    alpha.do("domain.delete", machine)
    alpha.connection.domains.start(machine.uuid)
    reconcile(alpha)
    row = again(machine)
    assert (row.status, row.binned_at, row.forgotten_at) == (Status.RUNNING, None, None)


def test_what_libvirt_cannot_rename_keeps_its_name(
    alpha: FakeHost, machine: Domain, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(uuid: str, name: str) -> None:
        raise HypervisorError("cannot rename domain with snapshots")

    monkeypatch.setattr(alpha.connection.domains, "rename", refuses)
    assert alpha.do("domain.delete", machine).state == S.SUCCEEDED
    assert alpha.do("domain.undelete", again(machine)).state == S.SUCCEEDED
    assert again(machine).status == Status.SHUTOFF


def test_one_that_runs_is_not_deleted(alpha: FakeHost, machine: Domain) -> None:
    operation = alpha.ask("domain.delete", machine)
    alpha.connection.domains.start(machine.uuid)
    alpha.carry_out(operation)
    assert (operation.state, operation.error) == (S.FAILED, "It is running: shut it down first.")
    assert alpha.connection.domains.known[machine.uuid].name == "new-1"


# --- for good


def test_purged_all_of_it_is_gone_and_the_library_stays(alpha: FakeHost, machine: Domain) -> None:
    done = alpha.do("domain.purge", machine)
    assert (done.state, done.result) == (S.SUCCEEDED, {"volumes": 1}), done.error
    assert machine.uuid not in alpha.connection.domains.known
    assert alpha.names() == [ISO.name, IMAGE.name]
    row = again(machine)
    assert (row.status, row.forgotten_at is None) == (Status.MISSING, False)
    assert Operation.objects.filter(domain=row).count() == 2


def test_only_the_disks_that_were_ticked_go(alpha: FakeHost, machine: Domain) -> None:
    assert alpha.do("domain.purge", machine, volumes=[]).state == S.SUCCEEDED
    assert "new-1.qcow2" in alpha.names()


def test_from_the_bin_go_those_that_were_ticked_then(alpha: FakeHost, machine: Domain) -> None:
    alpha.do("domain.delete", machine, volumes=[])
    assert alpha.do("domain.purge", again(machine)).state == S.SUCCEEDED
    assert "new-1.qcow2" in alpha.names()


def test_a_disk_that_its_host_knows_another_user_of_stays(alpha: FakeHost, machine: Domain) -> None:
    disk = alpha.volume("new-1.qcow2")
    alpha.connection.define("unknown-to-us", files=(disk.path,))
    done = alpha.do("domain.purge", machine)
    assert (done.state, "new-1.qcow2 is a disk of" in done.error) == (S.FAILED, True)
    assert machine.uuid in alpha.connection.domains.known
    assert "new-1.qcow2" in alpha.names()


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", ["delete_volume", "undefine"])
def test_another_worker_sees_to_what_one_left_that_died(
    alpha: FakeHost, machine: Domain, monkeypatch: pytest.MonkeyPatch, step: str, after: bool
) -> None:
    where: Any = alpha.connection.storage if step == "delete_volume" else alpha.connection.domains
    operation = alpha.ask("domain.purge", machine)
    with dying(monkeypatch, (where, step), after=after):
        alpha.carry_out(operation)
    is_lost(operation)
    assert alpha.carry_out(operation).state == S.SUCCEEDED, operation.error
    alpha.look_again()
    assert machine.uuid not in alpha.connection.domains.known
    assert alpha.names() == [ISO.name, IMAGE.name]


# --- by the clock


@pytest.fixture
def now() -> datetime:
    return timezone.now()


def test_what_was_long_enough_in_the_bin_is_purged(
    alpha: FakeHost, machine: Domain, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "WEBVIRT_BIN_DAYS", 3)
    alpha.do("domain.delete", machine)
    binned_at = again(machine).binned_at
    assert binned_at is not None
    assert machines.bin_ends(again(machine)) == binned_at + timedelta(days=3)
    machines.look_after(now + timedelta(days=2))
    asked = Operation.objects.filter(kind="domain.purge")
    assert asked.count() == 0
    for _ in range(2):
        machines.look_after(now + timedelta(days=3, hours=1))
    assert [(one.actor, one.user) for one in asked] == [("webvirt", None)]
    assert alpha.carry_out(asked.get()).state == S.SUCCEEDED
    assert machine.uuid not in alpha.connection.domains.known


def test_without_a_number_of_days_it_stays(
    alpha: FakeHost, machine: Domain, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "WEBVIRT_BIN_DAYS", 0)
    alpha.do("domain.delete", machine)
    machines.look_after(now + timedelta(days=3000))
    assert not Operation.objects.filter(kind="domain.purge").exists()


@pytest.mark.parametrize(
    ("system", "arch"),
    [
        ("http://alpinelinux.org/alpinelinux/3.17", "x86_64"),
        ("http://freebsd.org/freebsd/13.1", "x86_64"),
        ("http://debian.org/debian/12", "aarch64"),
        ("", "x86_64"),
    ],
)
def test_who_would_miss_the_disc_at_the_next_start_keeps_it(
    alpha: FakeHost, host: Host, now: datetime, system: str, arch: str
) -> None:
    disks = [{"pool": alpha.pool.pk, "size": GIB}]
    assert alpha.do("domain.create", host, **wish(alpha, disks=disks, setup={"user": "ann"})).state == S.SUCCEEDED
    domain = Domain.objects.get(name="new-1")
    definition = Definition.objects.get(domain=domain)
    there = definition.inactive | {"arch": arch}
    Definition.objects.filter(pk=definition.pk).update(inactive=there, live=there | {"agent_connected": True})
    Domain.objects.filter(pk=domain.pk).update(os=system)
    machines.look_after(now + timedelta(days=1))
    assert not Operation.objects.filter(kind="domain.eject").exists()
    assert again(domain).seed is not None


@pytest.mark.parametrize("by", ["agent", "time"])
def test_the_disc_with_settings_is_taken_out_and_deleted(alpha: FakeHost, host: Host, now: datetime, by: str) -> None:
    disks = [{"pool": alpha.pool.pk, "size": GIB}]
    done = alpha.do("domain.create", host, **wish(alpha, disks=disks, setup={"user": "ann"}))
    assert done.state == S.SUCCEEDED, done.error
    domain = Domain.objects.get(name="new-1")
    machines.look_after(now)
    ejected, deleted = (Operation.objects.filter(kind=kind) for kind in ("domain.eject", "volume.delete"))
    assert ejected.count() == 0
    if by == "agent":
        definition = Definition.objects.get(domain=domain)
        Definition.objects.filter(pk=definition.pk).update(live=definition.inactive | {"agent_connected": True})
        when = now
    else:
        Domain.objects.filter(pk=domain.pk).update(status_since=now)
        when = now + timedelta(minutes=16)
    machines.look_after(when)
    assert alpha.carry_out(ejected.get()).state == S.SUCCEEDED
    if by == "agent":
        Definition.objects.filter(pk=domain.pk).update(live={"agent_connected": True})
    machines.look_after(when)
    assert alpha.carry_out(deleted.get()).state == S.SUCCEEDED
    assert "new-1-setup.iso" not in alpha.names()
    assert made(alpha).state == DomainState.RUNNING
    machines.look_after(when)
    assert Domain.objects.get(pk=domain.pk).seed is None

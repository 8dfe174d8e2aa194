"""Machines cloned while they run: all disks as they are at one instant, and the machine goes on whatever happens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.services.carrying import Died, Step, demand_nothing_left, dying, is_lost
from tests.services.cloned import FILES, KIND, fake_volumes, host, machine, running, sources
from tests.services.conftest import GIB, FakeHost
from tests.services.test_bin import again, reconcile
from tests.services.test_creation import ISO, made
from webvirt.hypervisor.errors import NotResponding
from webvirt.hypervisor.types import DomainState
from webvirt.models import Domain, OperationState, Volume
from webvirt.services import inventory, operations
from webvirt.services.runners.context import Context

__all__ = ["host", "machine", "running"]

S = OperationState
ONE_DISK = [{"target": "vda", "way": "copy"}, {"target": "vdb", "way": "leave"}]
COPIES = {"vda": f"{FILES}/new-2.qcow2", "vdb": f"{FILES}/new-2-2.raw"}


def state(alpha: FakeHost) -> tuple[DomainState, dict[tuple[str, str], str]]:
    """How the machine fares, and what its disks are copied into."""
    return made(alpha).state, alpha.connection.domains.mirrors


def test_the_disk_of_a_running_machine_is_copied_under_it(alpha: FakeHost, running: Domain) -> None:
    done = alpha.do(KIND, running, name="new-2", disks=ONE_DISK)
    assert done.state == S.SUCCEEDED, done.error
    copy = alpha.volume("new-2.qcow2")
    assert (copy.making, copy.capacity, bytes(fake_volumes(alpha)[copy.name].data)) == (None, 5 * GIB, b"what is on it")
    assert sources(alpha, "new-2") == {"vda": copy.path, "sda": f"{FILES}/{ISO.name}"}
    assert state(alpha) == (DomainState.RUNNING, {})
    assert " --reuse-external --transient-job --wait\n" in done.virsh
    assert "blockjob new-1 vda --abort" in done.virsh
    assert "suspend" not in done.virsh


def test_several_disks_are_of_one_instant(alpha: FakeHost, running: Domain, monkeypatch: pytest.MonkeyPatch) -> None:
    domains, states = alpha.connection.domains, []
    go_on = domains.go_on

    def watched(uuid: str, **more: bool) -> None:
        states.append((made(alpha).state, dict(domains.mirrors), again(running).stilled_by))
        go_on(uuid, **more)

    monkeypatch.setattr(domains, "go_on", watched)
    done = alpha.do(KIND, running, name="new-2")
    assert done.state == S.SUCCEEDED, done.error
    # Both copies end while it stands still, which is written down.
    assert states == [(DomainState.PAUSED, {}, done)]
    assert (state(alpha), again(running).stilled_by) == ((DomainState.RUNNING, {}), None)
    assert sources(alpha, "new-2") == COPIES | {"sda": f"{FILES}/{ISO.name}"}
    lines = done.virsh.splitlines()
    at = [next(n for n, line in enumerate(lines) if word in line) for word in ("suspend", "vda --abort", "resume")]
    assert at == sorted(at)


def test_one_that_is_paused_already_stays_so(alpha: FakeHost, running: Domain) -> None:
    alpha.connection.domains.suspend(running.uuid)
    reconcile(alpha)
    assert alpha.do(KIND, again(running), name="new-2").state == S.SUCCEEDED
    assert state(alpha) == (DomainState.PAUSED, {})


def test_an_encrypted_disk_is_not_copied_while_it_runs(alpha: FakeHost, running: Domain) -> None:
    Volume.objects.filter(name="new-1.qcow2").update(encrypted=True)
    with pytest.raises(operations.Invalid, match="only while it is off"):
        alpha.ask(KIND, running, name="new-2", disks=ONE_DISK)


@pytest.mark.parametrize("way", ["cancelled", "stopped"])
def test_what_ends_the_copying_leaves_the_machine_as_it_was(
    alpha: FakeHost, running: Domain, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    before = alpha.traces()
    operation = alpha.ask(KIND, running, name="new-2")

    def progress(context: Any, phase: str, *figures: int) -> None:
        if phase == "copying its disks" and way == "cancelled":
            operations.cancel(operation)
            operations.report(context.operation, phase, *figures)
        elif phase == "copying its disks":
            del alpha.connection.domains.mirrors[running.uuid, "vdb"]

    monkeypatch.setattr(Context, "progress", progress)
    assert alpha.carry_out(operation).state == (S.CANCELLED if way == "cancelled" else S.FAILED)
    alpha.look_again()
    assert (alpha.traces(), state(alpha)) == (before, (DomainState.RUNNING, {}))


def test_a_worker_that_dies_meanwhile_leaves_nothing_behind(
    alpha: FakeHost, running: Domain, monkeypatch: pytest.MonkeyPatch
) -> None:
    domains = alpha.connection.domains
    operation = alpha.ask(KIND, running, name="new-2")

    def dies(context: Any, phase: str, *figures: int) -> None:
        if phase == "copying its disks":
            raise Died

    before = alpha.traces()
    with monkeypatch.context() as patch:
        patch.setattr(Context, "progress", dies)
        with pytest.raises(Died):
            alpha.carry_out(operation)
    assert domains.mirrors == {(running.uuid, target): path for target, path in COPIES.items()}
    # Another's copying is not ours to end.
    domains.mirrors[running.uuid, "vdc"] = f"{FILES}/somebody-elses.qcow2"
    is_lost(operation)
    alpha.look_again()
    assert domains.mirrors == {(running.uuid, "vdc"): f"{FILES}/somebody-elses.qcow2"}
    assert alpha.traces() == before
    assert alpha.do(KIND, running, name="new-2").state == S.SUCCEEDED


STILL: dict[str, Callable[[FakeHost], Step]] = {
    "written down": lambda alpha: (inventory, "still"),
    "paused": lambda alpha: (alpha.connection.domains, "suspend"),
    "goes on": lambda alpha: (alpha.connection.domains, "go_on"),
    "said so": lambda alpha: (inventory, "goes_on"),
}


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", STILL)
def test_a_worker_that_dies_while_it_stands_still_leaves_no_machine_paused(
    alpha: FakeHost, running: Domain, monkeypatch: pytest.MonkeyPatch, step: str, after: bool
) -> None:
    operation = alpha.ask(KIND, running, name="new-2")
    demand_nothing_left(
        alpha, operation, STILL[step](alpha), monkeypatch, after=after, traces=alpha.traces, look=alpha.look_again
    )
    assert (state(alpha), again(running).stilled_by) == ((DomainState.RUNNING, {}), None)


def test_an_agent_that_does_not_answer_is_asked_again(
    alpha: FakeHost, running: Domain, monkeypatch: pytest.MonkeyPatch
) -> None:
    operation = alpha.ask(KIND, running, name="new-2")
    with dying(monkeypatch, (alpha.connection.domains, "suspend"), after=True):
        alpha.carry_out(operation)
    is_lost(operation)

    def hangs(uuid: str) -> None:
        raise NotResponding("Guest agent is not responding")

    with monkeypatch.context() as patch:
        patch.setattr(alpha.connection.domains, "go_on", hangs)
        alpha.look_again()
    assert again(running).stilled_by == operation
    alpha.look_again()
    assert (made(alpha).state, again(running).stilled_by) == (DomainState.RUNNING, None)

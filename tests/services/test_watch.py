"""What the watch makes of events and of lists that come late."""

from __future__ import annotations

from typing import Any

import pytest

from tests.fakes import FakeConnection
from tests.people import Cast
from webvirt.hypervisor.types import DomainState
from webvirt.models import Domain
from webvirt.services.watcher.reader import Listing
from webvirt.services.watcher.watch import FEW, HostWatch

S = DomainState


@pytest.fixture
def host() -> FakeConnection:
    return FakeConnection()


@pytest.fixture
def watch(cast: Cast, host: FakeConnection) -> HostWatch:
    """A watch that has taken in the first list, and hears what happens from now on."""
    found = HostWatch(cast.host, pulse=lambda: None)
    for number in range(FEW + 1):
        host.define(f"m-{number}")
    found.take_in(Listing(0.0, host.domains.list()))
    host.listen(found.events.put, lambda _why: None)
    return found


def follow(watch: HostWatch, host: FakeConnection) -> None:
    """What the watch's loop does until nothing is left to do; what it reads of the host, it reads by `host`."""
    watch.wait(0.0)
    watch.due = dict.fromkeys(watch.due, 0.0)
    watch.not_before = 0.0
    watch.look(host)  # type: ignore[arg-type]


def states() -> dict[str, str]:
    return dict(Domain.objects.filter(name__startswith="m-").values_list("name", "status"))


def uuids(host: FakeConnection) -> list[str]:
    return list(host.domains.known)


def test_an_event_waits_for_no_list(watch: HostWatch, host: FakeConnection, monkeypatch: pytest.MonkeyPatch) -> None:
    """libvirt holds the list for as long as it kills a guest that hangs."""

    def held(*_: Any) -> None:
        raise AssertionError("asked for the list")

    host.domains.start(uuids(host)[0])
    host.domains.start(uuids(host)[1])
    monkeypatch.setattr(host.domains, "list", held)
    follow(watch, host)
    assert [states()["m-0"], states()["m-1"], states()["m-2"]] == ["running", "running", "shutoff"]


def test_a_burst_asks_for_one_list(watch: HostWatch, host: FakeConnection) -> None:
    for uuid in uuids(host):
        host.domains.start(uuid)
    follow(watch, host)
    assert set(states().values()) == {"shutoff"}
    assert watch.reader.list_due == 0.0
    assert watch.due == {}


def test_a_list_that_comes_late_undoes_nothing(watch: HostWatch, host: FakeConnection) -> None:
    """It was begun before the event, and taken in after it."""
    old = host.domains.list()
    host.domains.start(uuids(host)[0])
    gone = uuids(host)[1]
    del host.domains.known[gone]
    fresh = host.define("m-new")
    follow(watch, host)
    watch.take_in(Listing(0.0, [line for line in old if line.uuid != fresh.uuid]))
    assert states()["m-0"] == "running"
    assert states()["m-new"] == "shutoff"
    assert uuids(host)[0] in watch.active


def test_a_list_says_what_no_event_did(watch: HostWatch, host: FakeConnection) -> None:
    old = host.domains.known[uuids(host)[0]]
    old.state = S.RUNNING
    gone = host.domains.known.pop(uuids(host)[1])
    watch.take_in(Listing(0.0, host.domains.list()))
    assert states()["m-0"] == "running"
    assert states()[gone.name] == "missing"
    assert old.uuid in watch.reader.unread

"""A tablet and a clipboard channel for a machine that has none: offered once, and what waits is said."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.utils import timezone

from tests.fakes import FakeConnection
from tests.people import Cast
from tests.services.carrying import WorkerOnFake, worker_on
from webvirt.models import Definition, Domain, OperationState, Status
from webvirt.services import operations
from webvirt.services.catalogue import BY_KIND
from webvirt.services.inputs import Has, clipboard_of, tablet_of

FIELDS: dict[str, Callable[[Definition | None], Has]] = {"tablet": tablet_of, "clipboard": clipboard_of}


@pytest.fixture
def host(cast: Cast) -> FakeConnection:
    host = FakeConnection()
    host.define(cast.domain.name, uuid=cast.domain.uuid)
    return host


@pytest.fixture
def worker(cast: Cast, host: FakeConnection, monkeypatch: pytest.MonkeyPatch) -> WorkerOnFake:
    return worker_on(host, cast.administrator, monkeypatch)


def now(cast: Cast) -> Domain:
    return Domain.objects.get(pk=cast.domain.pk)


@pytest.mark.parametrize("what", FIELDS)
def test_a_machine_gets_one_once(cast: Cast, worker: WorkerOnFake, what: str) -> None:
    done = worker.do(f"domain.add_{what}", now(cast))
    assert (done.state, done.result) == (OperationState.SUCCEEDED, {}), done.error
    assert FIELDS[what](now(cast).definition) == Has.NOW
    with pytest.raises(operations.NotNow, match="it has a"):
        worker.ask(f"domain.add_{what}", now(cast))


@pytest.mark.parametrize("what", FIELDS)
def test_what_waits_for_the_next_start_is_said(
    cast: Cast, host: FakeConnection, worker: WorkerOnFake, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(host.domains), f"add_{what}", lambda self, uuid: False)
    done = worker.do(f"domain.add_{what}", now(cast))
    assert (done.state, done.result) == (OperationState.SUCCEEDED, {"waiting": what})


@pytest.mark.parametrize("what", FIELDS)
def test_what_has_it_when(what: str) -> None:
    has, name = FIELDS[what], f"has_{what}"
    without: dict[str, object] = {}
    for live, inactive, expected in (
        (None, {name: True}, Has.NOW),
        ({name: True}, without, Has.NOW),
        ({name: False}, {name: True}, Has.NEXT),
        (without, without, Has.NOT),
    ):
        assert has(Definition(live=live, inactive=inactive, read_at=timezone.now())) == expected
    assert has(None) == Has.NOT


def test_the_commands_say_where_it_is_plugged_in(cast: Cast) -> None:
    domain = cast.domain
    for status, persistent, flags in (
        (Status.RUNNING, True, "--live --config"),
        (Status.RUNNING, False, "--live"),
        (Status.SHUTOFF, True, "--config"),
    ):
        domain.status, domain.persistent = status, persistent
        for what in FIELDS:
            verb = BY_KIND[f"domain.add_{what}"]
            command = verb.virsh(domain, verb.spec())
            assert command.endswith(f"attach-device {domain.name} {what}.xml {flags}")

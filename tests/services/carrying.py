"""Operations carried out as a worker does, on a host in memory or a real one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from tests.fakes import FakeConnection
from webvirt.models import Domain, Operation, Origin, User
from webvirt.services import operations, runners
from webvirt.services.catalogue import BY_KIND
from webvirt.services.quotas import Amounts, used_in
from webvirt.services.runners import context
from webvirt.services.runners.context import Sink
from webvirt.services.subjects import Subject, found, name_of


class File:
    """Who waits for a file, and takes all of it at once."""

    def __init__(self) -> None:
        self.name, self.size, self.data = "", 0, bytearray()

    def begin(self, name: str, size: int) -> None:
        self.name, self.size = name, size

    def write(self, data: bytes, meanwhile: Callable[[], None]) -> None:
        self.data += data


class Worker:
    """Asks for verbs as an administrator and carries them out."""

    def __init__(self, user: User) -> None:
        self.actor = operations.Actor(user, Origin.PAGE)

    def ask(self, kind: str, target: Subject, /, **parameters: Any) -> Operation:
        fresh = found(name_of(target))
        assert fresh is not None
        return operations.submit(self.actor, BY_KIND[kind], fresh, parameters)

    def carry_out(self, operation: Operation, to: Sink | None = None) -> Operation:
        claimed = operations.claim(operation.pk)
        assert claimed is not None
        # Without the thread of the heartbeat, which a test's transaction would keep waiting.
        runners.carry_out(claimed, to)
        operation.refresh_from_db()
        return operation

    def do(self, kind: str, target: Subject, /, **parameters: Any) -> Operation:
        """Ask for it and carry it out."""
        return self.carry_out(self.ask(kind, target, **parameters))


class WorkerOnFake(Worker):
    """One for whom every host is `host`."""

    def __init__(self, user: User, host: FakeConnection) -> None:
        super().__init__(user)
        self.host = host


def worker_on(host: FakeConnection, user: User, monkeypatch: pytest.MonkeyPatch) -> WorkerOnFake:
    monkeypatch.setattr(context, "connection_to", lambda address: host)
    monkeypatch.setattr(operations, "send", lambda operation: None)
    return WorkerOnFake(user, host)


# --- workers that die

Step = tuple[Any, str]
"""A call that a worker comes to: whose it is, and its name."""


class Died(BaseException):
    """A worker is killed."""


@contextmanager
def dying(monkeypatch: pytest.MonkeyPatch, step: Step, *, after: bool) -> Iterator[None]:
    """What is done inside dies when it comes to this call, before or after it was carried out."""
    where, name = step
    real = getattr(where, name)

    def dies(*args: Any, **more: Any) -> None:
        if after:
            real(*args, **more)
        raise Died

    with monkeypatch.context() as patch:
        patch.setattr(where, name, dies)
        with pytest.raises(Died):
            yield


def is_lost(operation: Operation) -> None:
    """Its worker has not been heard of for long, which the clerk notices."""
    Operation.objects.filter(pk=operation.pk).update(heartbeat_at=timezone.now() - timedelta(minutes=1))
    operations.reap(timezone.now())


@dataclass(frozen=True)
class Taken:
    """What an operation takes of the quota of a project (by id) that has nothing else in it; `there` tells how much of
    the project's is really on its hosts."""

    project: int
    amounts: Amounts
    there: Callable[[], Amounts]


def demand_nothing_left(
    worker: Worker,
    operation: Operation,
    step: Step,
    monkeypatch: pytest.MonkeyPatch,
    *,
    after: bool,
    traces: Callable[[], object],
    look: Callable[[], None],
    takes: Taken | None = None,
) -> None:
    """Whoever makes a machine dies at this step: its host's watcher (`look`) removes all `traces` of it, and what it
    `takes` of a quota is free again."""
    before = traces()
    with dying(monkeypatch, step, after=after):
        worker.carry_out(operation)
    # While it may still be at work, nobody touches what it makes.
    look()
    assert Domain.objects.filter(making=operation, forgotten_at=None).exists()
    if takes:
        assert used_in(takes.project) == takes.amounts
    is_lost(operation)
    if takes:
        # What is left half made counts until it is removed.
        assert takes.there() - used_in(takes.project) == Amounts()
    look()
    assert traces() == before
    assert not Domain.objects.kept().filter(making=operation).exists()
    if takes:
        assert used_in(takes.project) == takes.there() == Amounts()

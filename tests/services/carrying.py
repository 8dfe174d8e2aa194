"""Operations carried out as a worker does, on a host in memory or a real one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.fakes import FakeConnection
from webvirt.models import Operation, Origin, User
from webvirt.services import operations, runners
from webvirt.services.catalogue import BY_KIND
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

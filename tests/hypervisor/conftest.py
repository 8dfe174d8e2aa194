"""The subjects of the contract, opened once each, and a domain on them for each test."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import libvirt
import pytest

from tests.fakes import FakeConnection
from tests.hypervisor.stores import Store, close_store, open_store
from tests.hypervisor.subjects import PREFIX, SECOND, SUBJECTS, Subject
from tests.lab.lab import SecondHost
from tests.until import until
from webvirt.hypervisor.connection import Connection
from webvirt.hypervisor.domains import DomainCalls
from webvirt.hypervisor.errors import HypervisorError
from webvirt.hypervisor.types import DomainState, DomainSummary

LOCAL_ONLY = ("UUIDString", "name", "ID", "connect", "c_pointer")
"""Methods of libvirt's objects that are answered without asking the host."""


@dataclass
class Bench:
    """A subject, its open connection, and one stopped domain on it."""

    subject: Subject
    connection: Connection | FakeConnection
    uuid: str

    @property
    def domains(self) -> DomainCalls:
        # The fake has the same methods without being one.
        return self.connection.domains  # type: ignore[return-value]

    @property
    def summary(self) -> DomainSummary:
        (summary,) = self.domains.summaries([self.uuid])
        return summary

    def turns(self, state: DomainState, seconds: float = 20.0) -> None:
        until(lambda: self.summary.state == state, seconds, what=f"{self.subject} {state}")


@pytest.fixture(scope="session")
def second() -> Iterator[SecondHost]:
    SECOND.up()
    yield SECOND
    SECOND.down()


@pytest.fixture(scope="session")
def opened(request: pytest.FixtureRequest) -> Iterator[Callable[[Subject], Connection | FakeConnection]]:
    """One connection for each subject, as long as the tests last and its host lives."""
    kept: dict[str, Connection | FakeConnection] = {}

    def get(subject: Subject) -> Connection | FakeConnection:
        if subject.name in kept:
            try:
                kept[subject.name].host.ping()
            except HypervisorError:
                kept.pop(subject.name).close()
        if subject.name not in kept:
            kept[subject.name] = subject.open()
        return kept[subject.name]

    yield get
    for connection in kept.values():
        connection.close()


@pytest.fixture(params=SUBJECTS, ids=str)
def bench(request: pytest.FixtureRequest, opened: Callable[[Subject], Connection | FakeConnection]) -> Iterator[Bench]:
    """Each subject in turn, or those that the test is parametrized with."""
    subject: Subject = request.param
    if subject.name == "qemu-tcp":
        request.getfixturevalue("second")
    connection = opened(subject)
    uuid = subject.define(connection, f"{PREFIX}{subject.name}", False)
    yield Bench(subject, connection, uuid)
    if any(summary.uuid == uuid for summary in connection.domains.list()):
        subject.undefine(connection, uuid)


@pytest.fixture(params=SUBJECTS, ids=str)
def store(request: pytest.FixtureRequest, opened: Callable[[Subject], Connection | FakeConnection]) -> Iterator[Store]:
    """Each subject in turn, or those that the test is parametrized with."""
    subject: Subject = request.param
    if subject.name == "qemu-tcp":
        request.getfixturevalue("second")
    store = open_store(subject, opened(subject), f"{PREFIX}{subject.name}")
    yield store
    close_store(store)


@pytest.fixture
def count(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each of libvirt's methods is called from here on."""
    calls: Counter[str] = Counter()

    def counted(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            calls[name] += 1
            return method(*args, **kwargs)

        return call

    for kind in (libvirt.virConnect, libvirt.virDomain, libvirt.virStoragePool, libvirt.virStorageVol):
        for name, method in vars(kind).items():
            if callable(method) and name not in LOCAL_ONLY and name[0] != "_":
                monkeypatch.setattr(kind, name, counted(f"{kind.__name__}.{name}", method))
    return calls

"""The subjects of the contract, opened once each, and a domain on them for each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from tests.fakes import FakeConnection
from tests.hypervisor.subjects import PREFIX, SECOND, SUBJECTS, Subject
from tests.lab.lab import SecondHost
from tests.until import until
from webvirt.hypervisor.connection import Connection
from webvirt.hypervisor.domains import DomainCalls
from webvirt.hypervisor.types import DomainState, DomainSummary


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
    """One connection for each subject, as long as the tests last."""
    kept: dict[str, Connection | FakeConnection] = {}

    def get(subject: Subject) -> Connection | FakeConnection:
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

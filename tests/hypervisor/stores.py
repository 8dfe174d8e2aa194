"""Storage pools to test on, one for each kind of host; `conftest.store` opens them."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import FakeConnection
from tests.hypervisor.subjects import SUBJECTS, Subject
from tests.lab.lab import LAB
from webvirt.hypervisor.connection import Connection
from webvirt.hypervisor.storage import StorageCalls
from webvirt.hypervisor.types import PoolSpec, PoolState, PoolSummary, PoolType, VolumeSpec

MIB = 1024**2
IMAGINED = "test-driver"
"""libvirt's test driver has pools and volumes, but no bytes in them."""


@dataclass
class Store:
    """A subject, and a pool on it."""

    subject: Subject
    connection: Connection | FakeConnection
    uuid: str
    name: str
    folder: Path

    @property
    def calls(self) -> StorageCalls:
        # The fake has the same methods without being one.
        return self.connection.storage  # type: ignore[return-value]

    def look(self) -> PoolSummary:
        (summary,) = self.calls.summaries([self.uuid])
        return summary

    def names(self) -> list[str]:
        return self.calls.volumes(self.uuid)

    def make(self, name: str, capacity: int = MIB, **parts: Any) -> str:
        """A volume; returns its name."""
        self.calls.create_volume(self.uuid, VolumeSpec(name, capacity, **parts))
        return name

    def put(self, name: str, data: bytes) -> str:
        """A raw volume with something in it; returns its name."""
        self.make(name, len(data), format="raw")
        self.calls.upload(self.uuid, name, 0, [data])
        return name

    def bytes_of(self, name: str) -> bytes:
        found = bytearray()
        self.calls.download(self.uuid, name, 0, 0, found.extend)
        return bytes(found)


def ignore(_done: int, _total: int) -> None:
    """Progress that nobody watches."""


def open_store(subject: Subject, connection: Connection | FakeConnection, name: str) -> Store:
    """A running pool of a folder."""
    folder = LAB / name
    calls: StorageCalls = connection.storage  # type: ignore[assignment]
    uuid = calls.define(PoolSpec(name, PoolType.DIR, str(folder)))
    calls.build(uuid)
    calls.start(uuid)
    return Store(subject, connection, uuid, name, folder)


def close_store(store: Store) -> None:
    for summary in store.calls.summaries([store.uuid]):
        if summary.state != PoolState.INACTIVE:
            store.calls.stop(store.uuid)
        if summary.persistent:
            store.calls.undefine(store.uuid)
    shutil.rmtree(store.folder, ignore_errors=True)


def on(*names: str) -> pytest.MarkDecorator:
    """Only these subjects."""
    subjects = [subject for subject in SUBJECTS if subject.name in names]
    assert len(subjects) == len(names)
    return pytest.mark.parametrize("store", subjects, indirect=True, ids=str)


with_bytes = on("fake", "qemu", "qemu-tcp")
real = on("qemu", "qemu-tcp")
here = on("qemu")

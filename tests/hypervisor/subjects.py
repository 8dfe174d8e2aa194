"""What the contract is held against: our fake, libvirt's test driver, and real QEMU here and on a second host."""

from __future__ import annotations

import subprocess
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto

from tests.fakes import MEMORY_KIB, FakeConnection
from tests.guests import Guest, virsh
from tests.lab.lab import SecondHost, tiny_guest
from webvirt.hypervisor.connection import Connection, connect, uri_of
from webvirt.hypervisor.types import HostAddress, Transport

PREFIX = "wvh-"
SECOND = SecondHost(1)


class Part(Enum):
    """What not every kind of host can do. Each subject lists those it can."""

    SAVE = auto()
    RESET = auto()
    SEND_KEY = auto()
    USAGE = auto()
    ADDRESSES = auto()
    VNC = auto()
    GUEST = auto()
    """A system inside that heeds the power button."""
    STATES = auto()
    """Tells what its state forbids from what failed."""
    MACHINES = auto()
    """Tells what machines it can run."""
    DISCS = auto()
    """Has drives whose discs can be changed."""


@dataclass
class Subject:
    """One kind of host under the contract.

    `define` makes a stopped domain and returns its uuid; its last argument asks for a system inside (Part.GUEST).
    """

    name: str
    parts: frozenset[Part]
    open: Callable[[], Connection | FakeConnection]
    define: Callable[[Connection | FakeConnection, str, bool], str]
    undefine: Callable[[Connection | FakeConnection, str], None]

    def __str__(self) -> str:
        return self.name


def define_fake(connection: Connection | FakeConnection, name: str, _boots: bool) -> str:
    assert isinstance(connection, FakeConnection)
    return connection.define(name).uuid


def undefine_fake(connection: Connection | FakeConnection, uuid: str) -> None:
    assert isinstance(connection, FakeConnection)
    connection.undefine(uuid)


def define_qemu(connection: Connection | FakeConnection, name: str, boots: bool) -> str:
    daemon = connection.address.hostname or "here"
    guest = tiny_guest(daemon) if boots else None
    return Guest(name, uri=uri_of(connection.address), guest=guest, memory=MEMORY_KIB // 1024).define().uuid


def define_test(connection: Connection | FakeConnection, name: str, _boots: bool) -> str:
    new = str(uuid.uuid4())
    xml = (
        f"<domain type='test'><name>{name}</name><uuid>{new}</uuid><memory unit='KiB'>{MEMORY_KIB}</memory>"
        "<os><type arch='i686'>hvm</type></os></domain>"
    )
    command = ["virsh", "-q", "-c", uri_of(connection.address), "define", "/dev/stdin"]
    subprocess.run(command, input=xml, text=True, check=True)
    return new


def undefine(connection: Connection | FakeConnection, uuid: str) -> None:
    uri = uri_of(connection.address)
    virsh("destroy", uuid, uri=uri, check=False)
    virsh("undefine", uuid, "--managed-save", uri=uri, check=False)


ALL = frozenset(Part)
TEST_HOST = HostAddress(Transport.TEST)
HERE = HostAddress(Transport.LOCAL)
THERE = HostAddress(Transport.TCP, SECOND.hostname)

SUBJECTS = (
    Subject("fake", ALL, FakeConnection, define_fake, undefine_fake),
    Subject("test-driver", frozenset({Part.SAVE}), lambda: connect(TEST_HOST), define_test, undefine),
    Subject("qemu", ALL, lambda: connect(HERE), define_qemu, undefine),
    Subject("qemu-tcp", ALL, lambda: connect(THERE), define_qemu, undefine),
)

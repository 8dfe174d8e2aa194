"""Hosts: where they are, what they say of themselves, and the lines of a check."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from webvirt.hypervisor.types.domain_specs import MachineSupport
from webvirt.hypervisor.types.storage import PoolSupport


class Transport(StrEnum):
    """How a host is reached. A connection URI is only ever built from these typed parts."""

    LOCAL = "local"
    SSH = "ssh"
    TLS = "tls"
    TCP = "tcp"
    TEST = "test"


class Verdict(StrEnum):
    """The outcome of one check."""

    PASS = "pass"
    WARN = "warn"
    FAIL = "fail"
    SKIP = "skip"


@dataclass(frozen=True)
class HostAddress:
    """Where a host is. `hypervisor.connection.uri_of` validates the parts by full match and makes the URI.

    `hostname`, `port` and `user` are empty, None and empty for LOCAL and TEST. SSH signs in as `user` with our key, TLS
    and TCP ask a `user` for a `password`, where they ask at all.
    """

    transport: Transport
    hostname: str = ""
    port: int | None = None
    user: str = ""
    keys: tuple[str, ...] = ()
    """The public keys by which SSH knows the host, as a person confirmed them: `ssh-ed25519 AAAA...`."""
    password: str = field(default="", repr=False)


@dataclass(frozen=True)
class Check:
    """One line of a connection trial or of the capability check."""

    key: str
    verdict: Verdict
    found: str
    follows: str = ""
    remedy: str = ""


@dataclass(frozen=True)
class HostInfo:
    """What a host says of itself; slow to change, read at connect."""

    hostname: str
    uuid: str
    hypervisor: str
    hypervisor_version: str
    libvirt_version: str
    arch: str
    cpu_model: str
    cpus: int
    sockets: int
    cores: int
    threads: int
    memory_kib: int
    domain_types: tuple[str, ...] = ()
    machine_types: tuple[str, ...] = ()
    emulators: tuple[str, ...] = ()
    pools: tuple[PoolSupport, ...] = ()
    """The types of pool that its libvirt knows; empty where it does not tell."""
    machines: tuple[MachineSupport, ...] = ()
    """What it can run, the fastest way first; empty where its libvirt does not tell."""


@dataclass(frozen=True)
class HostUsage:
    """One reading of a host's counters. CPU times are nanoseconds since its boot, over all CPUs."""

    cpu_busy_ns: int
    cpu_total_ns: int
    memory_used_kib: int

"""Domains: a line of the list, a definition, readings, events and displays."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

METADATA_URI = "https://webvirt.invalid/domain/1"
"""Our namespace in a domain's metadata; a name, not an address (`.invalid` is reserved and never resolves)."""


class DomainState(StrEnum):
    """libvirt's domain states in one word each (`VIR_DOMAIN_*`); BLOCKED counts as running."""

    RUNNING = "running"
    PAUSED = "paused"
    SHUTTING_DOWN = "shutting-down"
    SHUTOFF = "shutoff"
    CRASHED = "crashed"
    PMSUSPENDED = "pmsuspended"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class DomainSummary:
    """One line of a host's list, from bulk calls only: what a refresh can know without reading any XML."""

    uuid: str
    name: str
    state: DomainState
    reason: str = ""
    persistent: bool = True
    autostart: bool = False
    managed_save: bool = False
    vcpus: int = 0
    memory_kib: int = 0


@dataclass(frozen=True)
class DiskInfo:
    """A disk as defined. `source` is a path, a `pool/volume`, or a network URL in words; "" when the drive is empty."""

    target: str
    device: str = "disk"
    bus: str = ""
    type: str = "file"
    format: str = ""
    source: str = ""
    readonly: bool = False
    boot_order: int | None = None


@dataclass(frozen=True)
class InterfaceInfo:
    """A network interface as defined. `source` is a network, bridge or device, by `type`."""

    mac: str
    type: str = "network"
    source: str = ""
    model: str = ""
    target: str = ""
    link_up: bool = True
    filter: str = ""
    """The network filter in front of it."""


@dataclass(frozen=True)
class GraphicsInfo:
    """A display. Exactly one of `socket` and `port` is set while it runs; both are empty when it does not."""

    type: str
    listen: str = ""
    port: int | None = None
    socket: str = ""
    has_password: bool = False


@dataclass(frozen=True)
class DeviceInfo:
    """Any other device worth a line: its element's name and what it is in a few words."""

    kind: str
    description: str


@dataclass(frozen=True)
class HandedDevice:
    """A device of the host that a domain is given; `kind` and `address` as in `HostDevice`.

    A USB device may be named by its vendor and product instead: then `address` is empty and `ids` is `046d:c52b`.
    """

    kind: str
    address: str = ""
    ids: str = ""


@dataclass(frozen=True)
class DomainInfo:
    """A domain's definition, parsed from one XML text (live or inactive)."""

    uuid: str
    name: str
    domain_type: str = ""
    title: str = ""
    description: str = ""
    tags: tuple[str, ...] = ()
    arch: str = ""
    machine: str = ""
    firmware: str = "bios"
    boot: tuple[str, ...] = ()
    kernel: str = ""
    initrd: str = ""
    vcpus: int = 1
    vcpus_max: int = 1
    cpu_mode: str = ""
    cpu_model: str = ""
    memory_kib: int = 0
    memory_max_kib: int = 0
    disks: tuple[DiskInfo, ...] = ()
    interfaces: tuple[InterfaceInfo, ...] = ()
    graphics: tuple[GraphicsInfo, ...] = ()
    devices: tuple[DeviceInfo, ...] = ()
    handed: tuple[HandedDevice, ...] = ()
    """The host's devices among them, and those that are its disks and network cards."""
    video: str = ""
    has_tablet: bool = False
    has_clipboard: bool = False
    """Whether what is copied goes between the guest and its display, where the guest has an agent for it."""
    has_agent: bool = False
    agent_connected: bool = False
    os_id: str = ""
    unparsed: tuple[str, ...] = field(default=())
    """Names of the parts that could not be understood; the rest stands all the same."""


@dataclass(frozen=True)
class DomainUsage:
    """One reading of a running domain's counters; rates are made from two of them.

    `cpu_ns` is CPU time since start over all vCPUs; bytes are since start; `memory_used_kib` is what the guest uses
    where its balloon tells, else what the host gave it.
    """

    uuid: str
    cpu_ns: int
    vcpus: int
    memory_kib: int
    memory_used_kib: int
    disk_read_bytes: int = 0
    disk_write_bytes: int = 0
    net_rx_bytes: int = 0
    net_tx_bytes: int = 0


@dataclass(frozen=True)
class GuestAddress:
    """An IP address of a guest and who told us (`lease`, `agent` or `arp`, in the order of trust)."""

    mac: str
    address: str
    prefix: int
    source: str


@dataclass(frozen=True)
class Screenshot:
    """A guest's screen as PNG bytes."""

    png: bytes


class Touch(StrEnum):
    """How much of a domain an event may have changed: tells the watcher what to read again."""

    STATE = "state"
    DEFINITION = "definition"
    GONE = "gone"
    AGENT = "agent"


@dataclass(frozen=True)
class DomainEvent:
    """Something happened to a domain. It names, it does not tell: the reader re-reads.

    `what` is libvirt's word for the log ("stopped/destroyed"); `touch` says what to read again.
    """

    uuid: str
    what: str
    touch: Touch


@dataclass(frozen=True)
class Display:
    """Where a running guest's display can be reached right now, read fresh from libvirt.

    `fd` is an open, connected socket when libvirt handed one over (the caller closes it); else `socket` or
    `hostname` and `port`.
    """

    uuid: str
    type: str
    fd: int | None = None
    socket: str = ""
    hostname: str = ""
    port: int | None = None


@dataclass(frozen=True)
class DomainReading:
    """Everything one look at a domain brings: its line in the list and both definitions with their texts.

    `live` and `live_xml` are None and "" while it is not active; the texts are without secrets.
    """

    summary: DomainSummary
    inactive: DomainInfo | None
    inactive_xml: str
    live: DomainInfo | None = None
    live_xml: str = ""

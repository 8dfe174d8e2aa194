"""Networks: virtual networks with their leases, filters, and the host's own interfaces."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields, replace
from enum import StrEnum


def version_of(xml: str) -> str:
    """A mark of a definition as it was read: whoever changes it hands in what they had seen, so no edit is lost."""
    return hashlib.sha256(xml.encode()).hexdigest()[:16]


class Forward(StrEnum):
    """How a network's guests reach the world; ISOLATED has no `<forward>`."""

    ISOLATED = "isolated"
    NAT = "nat"
    ROUTE = "route"
    OPEN = "open"
    BRIDGE = "bridge"
    PRIVATE = "private"
    VEPA = "vepa"
    PASSTHROUGH = "passthrough"
    HOSTDEV = "hostdev"


@dataclass(frozen=True)
class NetworkSummary:
    """One line of a host's networks."""

    uuid: str
    name: str
    active: bool
    persistent: bool = True
    autostart: bool = False
    bridge: str = ""
    """Told by a look at it alone; a list would need a call more for each."""


@dataclass(frozen=True)
class DhcpRange:
    """Addresses that are given out, both ends included."""

    start: str
    end: str


@dataclass(frozen=True)
class StaticLease:
    """An address kept for one card: IPv4 knows it by its `mac`, IPv6 by its name or the guest's `duid`."""

    mac: str
    address: str
    name: str = ""
    duid: str = ""


@dataclass(frozen=True)
class NetworkAddress:
    """The host's own address on a network, and what it hands out there."""

    address: str
    prefix: int
    ranges: tuple[DhcpRange, ...] = ()
    leases: tuple[StaticLease, ...] = ()


@dataclass(frozen=True)
class DnsHost:
    """Names that the network's resolver answers with an address."""

    address: str
    names: tuple[str, ...]


@dataclass(frozen=True)
class Bandwidth:
    """Limits of one direction: KiB a second on average and at peak, KiB of burst at peak; 0 sets none."""

    average: int = 0
    peak: int = 0
    burst: int = 0


@dataclass(frozen=True)
class NetworkInfo:
    """A network as defined."""

    uuid: str
    name: str
    title: str = ""
    forward: str = Forward.ISOLATED
    bridge: str = ""
    devices: tuple[str, ...] = ()
    """The host's interfaces or PCI devices that it goes out by."""
    domain: str = ""
    mtu: int = 0
    """0: as the host has it."""
    vlans: tuple[int, ...] = ()
    virtualport: str = ""
    """`openvswitch`, or empty."""
    port_isolated: bool = False
    addresses: tuple[NetworkAddress, ...] = ()
    dns: bool = True
    dns_hosts: tuple[DnsHost, ...] = ()
    inbound: Bandwidth | None = None
    outbound: Bandwidth | None = None
    portgroups: tuple[str, ...] = ()
    unparsed: tuple[str, ...] = ()
    """Names of the parts that could not be understood; the rest stands all the same."""


@dataclass(frozen=True)
class NetworkReading:
    """Everything one look at a network brings: in force (`live`, None while it is off) and at its next start.

    One that is gone when it stops has no next start: `info` is what is in force.
    """

    summary: NetworkSummary
    info: NetworkInfo
    xml: str
    live: NetworkInfo | None = None
    live_xml: str = ""

    @property
    def version(self) -> str:
        """What a change has to hand in."""
        return version_of(self.xml)

    @property
    def waiting(self) -> tuple[str, ...]:
        """The names of the fields that will change at its next start."""
        if self.live is None:
            return ()
        before, after = in_order(self.live), in_order(self.info)
        names = (field.name for field in fields(NetworkInfo) if field.name != "unparsed")
        return tuple(name for name in names if getattr(before, name) != getattr(after, name))


def in_order(info: NetworkInfo) -> NetworkInfo:
    """The same network with its ranges, leases and DNS hosts sorted: their order means nothing."""
    addresses = (
        replace(
            each,
            ranges=tuple(sorted(each.ranges, key=lambda part: part.start)),
            leases=tuple(sorted(each.leases, key=lambda part: part.address)),
        )
        for each in info.addresses
    )
    dns_hosts = tuple(sorted(info.dns_hosts, key=lambda host: host.address))
    return replace(info, addresses=tuple(addresses), dns_hosts=dns_hosts)


@dataclass(frozen=True)
class Changed:
    """What became of a change: the fields whose new values wait for the next start; the others are in force."""

    waiting: tuple[str, ...] = ()


@dataclass(frozen=True)
class NetworkSpec:
    """A network to be made or changed to. `hypervisor.xml.networks.build_network` says what a forward mode takes."""

    name: str
    forward: Forward = Forward.NAT
    bridge: str = ""
    """The name of its bridge: made by libvirt (empty: libvirt chooses), or for BRIDGE the host's own."""
    devices: tuple[str, ...] = ()
    domain: str = ""
    mtu: int = 0
    vlans: tuple[int, ...] = ()
    virtualport: str = ""
    port_isolated: bool = False
    addresses: tuple[NetworkAddress, ...] = ()
    dns: bool = True
    dns_hosts: tuple[DnsHost, ...] = ()
    inbound: Bandwidth | None = None
    outbound: Bandwidth | None = None


@dataclass(frozen=True)
class Lease:
    """An address that a network has given out; `expires_at` is seconds since the epoch, None for good."""

    mac: str
    address: str
    prefix: int
    hostname: str = ""
    expires_at: float | None = None


@dataclass(frozen=True)
class FilterInfo:
    """A network filter (nwfilter)."""

    uuid: str
    name: str
    chain: str = ""
    priority: int | None = None
    rules: int = 0
    references: tuple[str, ...] = ()
    """The filters it takes in, by name."""
    xml: str = ""

    @property
    def version(self) -> str:
        """What a redefinition has to hand in."""
        return version_of(self.xml)


@dataclass(frozen=True)
class HostInterface:
    """An interface of the host itself. `kind` is ethernet, bridge, bond, vlan, tap or other.

    `why_not` says why no guest can be put on it (wireless, the port of a bridge, a guest's own); empty when one can.
    """

    name: str
    kind: str
    mac: str = ""
    up: bool = False
    speed_mbit: int = 0
    parent: str = ""
    """The bridge or bond that it is a port of."""
    why_not: str = ""

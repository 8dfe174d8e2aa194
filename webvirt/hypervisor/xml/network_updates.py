"""What of a running network can be changed without a restart, as `virNetworkUpdate` takes it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import TypeVar

from webvirt.hypervisor.network_rules import interface_of, settled_ip, settled_lease, usual
from webvirt.hypervisor.types import NetworkAddress, NetworkSpec, StaticLease
from webvirt.hypervisor.xml.build import as_text
from webvirt.hypervisor.xml.networks import (
    address_of,
    dns_host_element,
    dns_host_of,
    lease_element,
    lease_of,
    range_element,
    range_of,
)
from webvirt.hypervisor.xml.parse import Element, Reader, root_of

T = TypeVar("T")


class Part(StrEnum):
    """What of a running network libvirt can change."""

    RANGE = "range"
    LEASE = "lease"
    DNS_HOST = "dns host"


@dataclass(frozen=True)
class Update:
    """A part to be added to a running network or taken from it; `index` is the place of its `<ip>`, -1 without one."""

    part: Part
    adds: bool
    index: int
    xml: str


def updates(live_xml: str, spec: NetworkSpec) -> Iterator[Update]:
    """What brings a running network as near to a checked spec as it can come without a restart.

    Leases and DNS hosts go before others come, since these may take over their MACs and addresses. Ranges come before
    others go, so that DHCP never stops; unless it moves to another address, since only one may have it.
    """
    root = root_of(live_xml, "network")
    wanted = {(each.address, each.prefix): each for each in spec.addresses}
    known = [
        (index, ip, address)
        for index, ip, own in addresses_of(root)
        if (address := wanted.get((own.address, own.prefix))) is not None
    ]
    for index, ip, address in sorted(known, key=lambda part: bool(part[2].ranges or part[2].leases)):
        ranges = difference(ip, "dhcp/range", range_of, address.ranges, range_element)
        leases = difference(ip, "dhcp/host", lease_of, address.leases, lease_element)
        yield from (Update(Part.RANGE, adds, index, xml) for adds, xml in sorted(ranges, reverse=True))
        yield from (Update(Part.LEASE, adds, index, xml) for adds, xml in leases)
    if spec.dns:
        hosts = difference(root, "dns/host", dns_host_of, spec.dns_hosts, dns_host_element)
        yield from (Update(Part.DNS_HOST, adds, -1, xml) for adds, xml in hosts)


def lease_to_add(xml: str, given: StaticLease) -> Update | None:
    """What gives a network the lease; None where none of its addresses is of the lease's network.

    Raises InvalidSpec for a lease that is none.
    """
    ip = settled_ip(given.address)
    for index, _, own in addresses_of(root_of(xml, "network")):
        interface = interface_of(own)
        if ip in interface.network:
            return Update(Part.LEASE, True, index, as_text(lease_element(settled_lease(given, interface))))
    return None


def lease_to_remove(xml: str, lease: StaticLease) -> Update | None:
    """What takes the lease from a network; None where it has none of that MAC address, name, DUID and address."""
    for index, ip, _ in addresses_of(root_of(xml, "network")):
        for host in ip.iterfind("dhcp/host"):
            if Reader(host).part("host", partial(lease_of, host), None) == usual(lease):
                return Update(Part.LEASE, False, index, as_text(host))
    return None


def addresses_of(root: Element) -> Iterator[tuple[int, Element, NetworkAddress]]:
    """The addresses that can be read, each with the place and the element that libvirt knows it by."""
    for index, ip in enumerate(root.iterfind("ip")):
        own = Reader(ip).part("ip", partial(address_of, ip), None)
        if own is not None:
            yield index, ip, own


def difference(
    parent: Element, path: str, read: Callable[[Element], T], wanted: tuple[T, ...], make: Callable[[T], Element]
) -> list[tuple[bool, str]]:
    """The elements to take away, then those to add: (whether to add, XML)."""
    there = [(Reader(element).part(path, partial(read, element), None), element) for element in parent.iterfind(path)]
    goes = [element for value, element in there if value is not None and value not in wanted]
    comes = [make(value) for value in wanted if value not in [value for value, _ in there]]
    return [(False, as_text(element)) for element in goes] + [(True, as_text(element)) for element in comes]

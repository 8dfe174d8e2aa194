"""What a network may be, before libvirt is asked. Needs neither libvirt nor XML.

libvirt writes much of this unescaped into configurations of dnsmasq and names of files, so every text is matched whole.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface, ip_address, ip_interface
from itertools import combinations

from webvirt.hypervisor.errors import InvalidSpec
from webvirt.hypervisor.types import (
    Bandwidth,
    DhcpRange,
    DnsHost,
    Forward,
    NetworkAddress,
    NetworkSpec,
    StaticLease,
)

Address = IPv4Address | IPv6Address
Interface = IPv4Interface | IPv6Interface

INTERFACE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,14}", re.ASCII)
PCI = re.compile(r"[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]", re.ASCII)
MAC = re.compile(r"[0-9a-f][02468ace](:[0-9a-f]{2}){5}", re.ASCII)
DUID = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){3,127}", re.ASCII)
LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
DNS_NAME = re.compile(rf"{LABEL}(?:\.{LABEL})*", re.ASCII)
LONGEST_NAME = 50
LARGEST_KIB = 2**32 - 1
LARGEST_RANGE = 65535
OPENVSWITCH = "openvswitch"

VIRTUAL = frozenset(
    {"bridge", "mtu", "port_isolated", "addresses", "domain", "dns", "dns_hosts", "inbound", "outbound"}
)
HOST_BRIDGE = frozenset({"bridge", "vlans", "virtualport", "port_isolated", "inbound", "outbound"})
MACVTAP = frozenset({"devices"})
TAKES = {
    Forward.ISOLATED: VIRTUAL,
    Forward.OPEN: VIRTUAL,
    Forward.NAT: VIRTUAL | {"devices"},
    Forward.ROUTE: VIRTUAL | {"devices"},
    Forward.BRIDGE: HOST_BRIDGE,
    Forward.PRIVATE: MACVTAP,
    Forward.VEPA: MACVTAP,
    Forward.PASSTHROUGH: MACVTAP | {"vlans"},
    Forward.HOSTDEV: frozenset({"devices", "vlans"}),
}
"""The fields of a spec that a forward mode has a use for, beyond its name."""
ROUTED = (Forward.NAT, Forward.ROUTE, Forward.OPEN)
MADE_BY_LIBVIRT = (Forward.ISOLATED, *ROUTED)
ONE_VLAN = (Forward.PASSTHROUGH, Forward.HOSTDEV)


def check_network(spec: NetworkSpec) -> NetworkSpec:
    """The spec as libvirt will have it: addresses in their usual spelling, MACs in small letters.

    Raises InvalidSpec, with a sentence for the person, unless every part is what it should be. Its name is another
    matter (`check_name`).
    """
    spec = replace(spec, inbound=settled_limits(spec.inbound), outbound=settled_limits(spec.outbound))
    check_fields(spec)
    check_devices(spec)
    if spec.domain and not is_dns_name(spec.domain):
        raise InvalidSpec("The domain must be a DNS name, such as lab.example.org.")
    if spec.mtu and not 68 <= spec.mtu <= 65535:
        raise InvalidSpec("The MTU must be between 68 and 65535 bytes; 0 leaves it to the host.")
    if spec.virtualport not in ("", OPENVSWITCH):
        raise InvalidSpec("Of virtual ports only openvswitch can be set here: edit the XML for others.")
    check_vlans(spec)
    if spec.forward in ROUTED and not spec.addresses:
        raise InvalidSpec("A network that forwards needs an address of its own: give it one.")
    if spec.dns_hosts and not spec.dns:
        raise InvalidSpec("Without DNS no names are answered: switch it on, or leave out its hosts.")
    return replace(spec, addresses=settled_addresses(spec.addresses), dns_hosts=settled_dns_hosts(spec.dns_hosts))


def check_name(name: str) -> None:
    """Raise InvalidSpec for what cannot be a new network's name; an older one may have another all the same."""
    plain = name.isprintable() and "/" not in name and name == name.strip()
    if not (plain and name[:1].isalnum() and len(name) <= LONGEST_NAME):
        raise InvalidSpec(
            f"The name must be 1 to {LONGEST_NAME} printable characters without '/', and begin with a letter or digit."
        )


def check_fields(spec: NetworkSpec) -> None:
    """Raise InvalidSpec for a field that the forward mode has no use for."""
    if spec.forward == Forward.BRIDGE and bool(spec.bridge) == bool(spec.devices):
        raise InvalidSpec("Name either the host's bridge or the interfaces that guests go out by.")
    takes = MACVTAP if spec.forward == Forward.BRIDGE and spec.devices else TAKES[spec.forward]
    empty = NetworkSpec(spec.name, spec.forward)
    for name in sorted(VIRTUAL | HOST_BRIDGE | MACVTAP):
        if name not in takes and getattr(spec, name) != getattr(empty, name):
            raise InvalidSpec(f"The forward mode {spec.forward.value} has no setting '{name}': leave it out.")


def check_devices(spec: NetworkSpec) -> None:
    if spec.bridge and not INTERFACE.fullmatch(spec.bridge):
        raise InvalidSpec("A bridge's name is 1 to 15 letters, digits, '_', '.' or '-', such as virbr1.")
    if len(set(spec.devices)) < len(spec.devices):
        raise InvalidSpec("Each device can be named only once.")
    if spec.forward in ROUTED and len(spec.devices) > 1:
        raise InvalidSpec("Name one interface to go out by, or none to let the host choose.")
    if spec.forward not in (*MADE_BY_LIBVIRT, Forward.BRIDGE) and not spec.devices:
        raise InvalidSpec("This forward mode needs a device of the host: name one.")
    pool = spec.forward == Forward.HOSTDEV and all(map(is_pci, spec.devices))
    if not pool and not all(map(INTERFACE.fullmatch, spec.devices)):
        raise InvalidSpec("An interface's name is 1 to 15 letters, digits, '_', '.' or '-', such as eth0.")
    if spec.forward == Forward.HOSTDEV and not pool and len(spec.devices) > 1:
        raise InvalidSpec("Name one interface with virtual functions, or the functions' PCI addresses.")


def check_vlans(spec: NetworkSpec) -> None:
    if len(set(spec.vlans)) < len(spec.vlans) or not all(1 <= tag <= 4094 for tag in spec.vlans):
        raise InvalidSpec("VLAN tags are different numbers between 1 and 4094.")
    if spec.forward in ONE_VLAN and len(spec.vlans) > 1:
        raise InvalidSpec("This forward mode carries one VLAN: name only one tag.")


def settled_limits(limits: Bandwidth | None) -> Bandwidth | None:
    """The limits of one direction; None where none is set. Raises InvalidSpec."""
    if limits is None or limits == Bandwidth():
        return None
    if not all(0 <= number <= LARGEST_KIB for number in (limits.average, limits.peak, limits.burst)):
        raise InvalidSpec("A limit is a number of KiB; 0 sets none.")
    if not limits.average:
        raise InvalidSpec("A peak or burst needs an average: set one.")
    if 0 < limits.peak < limits.average:
        raise InvalidSpec("The peak must not be below the average.")
    return limits


# --- addresses


def settled_addresses(addresses: tuple[NetworkAddress, ...]) -> tuple[NetworkAddress, ...]:
    """The host's own addresses on a network, checked one by one and against each other."""
    settled = tuple(map(settled_address, addresses))
    interfaces = [interface_of(each) for each in settled]
    for one, other in combinations(interfaces, 2):
        if one.version == other.version and one.network.overlaps(other.network):
            raise InvalidSpec(f"{one} and {other} overlap: give the network addresses that are apart.")
    handing_out = Counter(
        interface.version for interface, each in zip(interfaces, settled, strict=True) if each.ranges or each.leases
    )
    if any(count > 1 for count in handing_out.values()):
        raise InvalidSpec("Addresses can be handed out on one IPv4 and one IPv6 address of a network only.")
    return settled


def settled_address(address: NetworkAddress) -> NetworkAddress:
    own = settled_ip(address.address)
    longest = own.max_prefixlen - 2
    if not 1 <= address.prefix <= longest:
        raise InvalidSpec(f"The prefix of {own} must be between 1 and {longest}.")
    settled = replace(address, address=str(own))
    interface = interface_of(settled)
    if own.is_multicast or own.is_loopback or own.is_unspecified or not is_for_hosts(own, interface):
        raise InvalidSpec(f"{interface} cannot be a host's own address: choose another in that network.")
    ranges = tuple(settled_range(each, interface) for each in address.ranges)
    for one, other in combinations(map(bounds, ranges), 2):
        if one[0] <= other[1] and other[0] <= one[1]:
            raise InvalidSpec("DHCP ranges of a network must not overlap.")
    leases = tuple(settled_lease(each, interface) for each in address.leases)
    for kind in ("mac", "address", "name", "duid"):
        if repeated(getattr(lease, kind) for lease in leases):
            raise InvalidSpec(
                "Two static leases share a MAC address, an address, a name or a DUID: each needs its own."
            )
    return replace(settled, ranges=ranges, leases=leases)


def settled_range(given: DhcpRange, interface: Interface) -> DhcpRange:
    ends = settled_ip(given.start), settled_ip(given.end)
    settled = DhcpRange(*map(str, ends))
    start, end = bounds(settled)
    if not all(ip in interface.network and is_for_hosts(ip, interface) for ip in ends) or start > end:
        raise InvalidSpec(f"A DHCP range must begin and end within {interface.network}, its lower end first.")
    if start <= int(interface) <= end:
        raise InvalidSpec(f"The DHCP range must leave out {interface.ip}, the host's own address.")
    if end - start >= LARGEST_RANGE:
        raise InvalidSpec(f"A DHCP range holds {LARGEST_RANGE} addresses at most: make it shorter.")
    if interface.version == 6 and interface.network.prefixlen < 64:
        raise InvalidSpec("IPv6 addresses can be handed out only where the prefix is 64 or more.")
    return settled


def settled_lease(given: StaticLease, interface: Interface) -> StaticLease:
    """A static lease on the network of the host's own address. Raises InvalidSpec."""
    lease = usual(given)
    ip = ip_address(lease.address)
    if ip not in interface.network or ip == interface.ip or not is_for_hosts(ip, interface):
        raise InvalidSpec(f"{ip} cannot be kept for a guest: choose a free address in {interface.network}.")
    if lease.mac and not MAC.fullmatch(lease.mac):
        raise InvalidSpec(
            "A MAC address is six pairs of hexadecimal digits, the first even, such as 52:54:00:12:34:56."
        )
    if lease.name and not (is_dns_name(lease.name) and lease.name[0].isalpha()):
        raise InvalidSpec("A guest's name must be a DNS name that begins with a letter.")
    if lease.duid and not DUID.fullmatch(lease.duid):
        raise InvalidSpec("A DUID is pairs of hexadecimal digits, such as 00:03:00:01:52:54:00:12:34:56.")
    if interface.version == 4 and (lease.duid or not (lease.mac or lease.name)):
        raise InvalidSpec("A static IPv4 lease is found by a MAC address or a name: give one, and no DUID.")
    if interface.version == 6 and (lease.mac or not (lease.duid or lease.name)):
        raise InvalidSpec("A static IPv6 lease is found by a DUID or a name: give one, and no MAC address.")
    return lease


def usual(lease: StaticLease) -> StaticLease:
    """The lease in its usual spelling. Raises InvalidSpec for an address that is none."""
    return StaticLease(lease.mac.lower(), str(settled_ip(lease.address)), lease.name, lease.duid.lower())


def settled_dns_hosts(hosts: tuple[DnsHost, ...]) -> tuple[DnsHost, ...]:
    settled = tuple(DnsHost(str(settled_ip(host.address)), host.names) for host in hosts)
    for host in settled:
        if not host.names or not all(map(is_dns_name, host.names)):
            raise InvalidSpec(f"Each name for {host.address} must be a DNS name, such as mail.example.org.")
    if repeated(host.address for host in settled):
        raise InvalidSpec("Each address can stand once among the DNS hosts: put its names together.")
    return settled


def settled_ip(text: str) -> Address:
    """An address, without a scope. Raises InvalidSpec."""
    try:
        if "%" not in text:
            return ip_address(text)
    except ValueError:
        pass
    raise InvalidSpec("An address must be IPv4 or IPv6, such as 192.168.100.1 or fd00:100::1.")


def interface_of(address: NetworkAddress) -> Interface:
    """The address with its network. Raises ValueError."""
    return ip_interface(f"{address.address}/{address.prefix}")


def bounds(dhcp_range: DhcpRange) -> tuple[int, int]:
    return int(ip_address(dhcp_range.start)), int(ip_address(dhcp_range.end))


def is_for_hosts(ip: Address, interface: Interface) -> bool:
    """Whether a host can have it: the first and the last of an IPv4 network are the network's and the broadcast's."""
    return ip.version == 6 or ip not in (interface.network.network_address, interface.network.broadcast_address)


def is_dns_name(text: str) -> bool:
    return len(text) <= 253 and bool(DNS_NAME.fullmatch(text))


def is_pci(device: str) -> bool:
    return bool(PCI.fullmatch(device))


def repeated(words: Iterable[str]) -> bool:
    return any(count > 1 for word, count in Counter(words).items() if word)

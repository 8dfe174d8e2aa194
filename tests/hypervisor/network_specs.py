"""Networks of every forward mode, each with all that its mode can take. Their XML is in xml/networks, by name."""

from __future__ import annotations

from pathlib import Path

from webvirt.hypervisor.types import Bandwidth, DhcpRange, DnsHost, Forward, NetworkAddress, NetworkSpec, StaticLease

FOLDER = Path(__file__).with_name("xml") / "networks"

IPV4 = NetworkAddress(
    "192.168.233.1",
    24,
    (DhcpRange("192.168.233.100", "192.168.233.199"), DhcpRange("192.168.233.210", "192.168.233.219")),
    (
        StaticLease("52:54:00:00:33:0a", "192.168.233.10", "web"),
        StaticLease("52:54:00:00:33:0b", "192.168.233.11"),
        StaticLease("", "192.168.233.12", "named"),
    ),
)
IPV6 = NetworkAddress(
    "fd00:233::1",
    64,
    (DhcpRange("fd00:233::100", "fd00:233::1ff"),),
    (
        StaticLease("", "fd00:233::10", "web6"),
        StaticLease("", "fd00:233::11", "db6", "00:03:00:01:52:54:00:12:34:56"),
    ),
)
DNS_HOSTS = (
    DnsHost("192.168.233.5", ("mail", "mail.lab.example.org")),
    DnsHost("fd00:233::5", ("mail",)),
)


def of(mode: Forward, suffix: str = "") -> str:
    return f"wvh-{mode.value}{suffix}"


SPECS = {
    spec.name.removeprefix("wvh-"): spec
    for spec in (
        NetworkSpec(
            of(Forward.NAT),
            Forward.NAT,
            bridge="virbr233",
            devices=("eth0",),
            domain="lab.example.org",
            mtu=1400,
            port_isolated=True,
            addresses=(IPV4, IPV6),
            dns_hosts=DNS_HOSTS,
            inbound=Bandwidth(1000, 2000, 512),
            outbound=Bandwidth(500),
        ),
        NetworkSpec(of(Forward.ROUTE), Forward.ROUTE, addresses=(NetworkAddress("10.233.0.1", 22),)),
        NetworkSpec(of(Forward.OPEN), Forward.OPEN, addresses=(IPV6,)),
        NetworkSpec(of(Forward.ISOLATED), Forward.ISOLATED, dns=False),
        NetworkSpec(
            of(Forward.BRIDGE), Forward.BRIDGE, bridge="br233", port_isolated=True, inbound=Bandwidth(1000, burst=512)
        ),
        NetworkSpec(
            of(Forward.BRIDGE, "-openvswitch"),
            Forward.BRIDGE,
            bridge="ovs233",
            virtualport="openvswitch",
            vlans=(10, 20),
        ),
        NetworkSpec(of(Forward.BRIDGE, "-macvtap"), Forward.BRIDGE, devices=("eth0", "eth1")),
        NetworkSpec(of(Forward.PRIVATE), Forward.PRIVATE, devices=("eth0",)),
        NetworkSpec(of(Forward.VEPA), Forward.VEPA, devices=("eth0",)),
        NetworkSpec(of(Forward.PASSTHROUGH), Forward.PASSTHROUGH, devices=("eth0", "eth1"), vlans=(42,)),
        NetworkSpec(of(Forward.HOSTDEV), Forward.HOSTDEV, devices=("eth2",), vlans=(42,)),
        NetworkSpec(of(Forward.HOSTDEV, "-pci"), Forward.HOSTDEV, devices=("0000:03:10.1", "0000:03:10.3")),
    )
}

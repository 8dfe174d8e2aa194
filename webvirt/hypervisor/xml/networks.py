"""Networks: libvirt's XML read into types, made from a spec, and edited in place so that unknown parts survive."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from ipaddress import ip_address, ip_network
from typing import TypeVar

from lxml import etree

from webvirt.hypervisor.errors import InvalidSpec
from webvirt.hypervisor.network_rules import MADE_BY_LIBVIRT, check_name, check_network, is_pci
from webvirt.hypervisor.types import (
    Bandwidth,
    DhcpRange,
    DnsHost,
    Forward,
    NetworkAddress,
    NetworkInfo,
    NetworkSpec,
    StaticLease,
)
from webvirt.hypervisor.xml.build import as_text
from webvirt.hypervisor.xml.parse import Element, Reader, attribute, name_of, required, root_of, text, words

T = TypeVar("T")

ORDER = (
    *("name", "uuid", "title", "description", "metadata", "forward", "bridge", "mtu", "mac", "domain", "dns", "vlan"),
    *("bandwidth", "port", "ip", "route", "virtualport", "portgroup"),
)
"""What stands in a network, as libvirt writes it."""
OF_THE_MODE = words("forward bridge mac mtu domain dns bandwidth port vlan virtualport ip route")
"""What goes when a network becomes one of quite another kind."""


# --- reading


def parse_network(xml: str) -> NetworkInfo:
    """A network's definition. Raises InvalidSpec only when it is no XML, has a DOCTYPE or is no network at all."""
    return NetworkReader(root_of(xml, "network")).read()


class NetworkReader(Reader):
    """Reads one network."""

    def read(self) -> NetworkInfo:
        root = self.root
        info = NetworkInfo(
            uuid=text(root, "uuid"),
            name=text(root, "name"),
            title=text(root, "title"),
            forward=forward_of(root),
            bridge=attribute(root, "bridge", "name"),
            devices=self.part("forward", partial(devices_of, root), ()),
            domain=attribute(root, "domain", "name"),
            mtu=self.part("mtu", lambda: int(attribute(root, "mtu", "size") or 0), 0),
            vlans=self.each("vlan/tag", vlan_of),
            virtualport=attribute(root, "virtualport", "type"),
            port_isolated=attribute(root, "port", "isolated") == "yes",
            addresses=self.each("ip", self.address),
            dns=attribute(root, "dns", "enable") != "no",
            dns_hosts=self.each("dns/host", dns_host_of),
            inbound=self.part("bandwidth", lambda: limits_of(root, "inbound"), None),
            outbound=self.part("bandwidth", lambda: limits_of(root, "outbound"), None),
            portgroups=self.each("portgroup", lambda group: required(group, ".", "name")),
        )
        strange = (name_of(element) for element in root if element.tag not in ORDER)
        return replace(info, unparsed=tuple(dict.fromkeys([*self.odd, *strange])))

    def address(self, ip: Element) -> NetworkAddress:
        """One of the host's own addresses; a range or a lease that is odd costs neither it nor the others."""
        inner = Reader(ip)
        read = replace(
            address_of(ip), ranges=inner.each("dhcp/range", range_of), leases=inner.each("dhcp/host", lease_of)
        )
        self.odd += [f"ip/{name}" for name in inner.odd]
        return read


def forward_of(root: Element) -> str:
    """libvirt takes a `<forward>` without a mode for NAT, and a network without one for isolated."""
    forward = root.find("forward")
    return Forward.ISOLATED if forward is None else forward.get("mode", Forward.NAT)


def devices_of(root: Element) -> tuple[str, ...]:
    """The host's interfaces, or PCI addresses. Of a running pool only the device that its functions belong to."""
    own = [each.get("dev", "") for each in root.iterfind("forward/pf")]
    if not own:
        own = [attribute(root, "forward", "dev"), *(each.get("dev", "") for each in root.iterfind("forward/interface"))]
        own += [pci_of(each) for each in root.iterfind("forward/address")]
    return tuple(dict.fromkeys(name for name in own if name))


def pci_of(address: Element) -> str:
    """Raises ValueError or KeyError."""
    domain, bus, slot, function = (int(address.attrib[part], 0) for part in ("domain", "bus", "slot", "function"))
    return f"{domain:04x}:{bus:02x}:{slot:02x}.{function:x}"


def vlan_of(tag: Element) -> int:
    return int(tag.attrib["id"])


def address_of(ip: Element) -> NetworkAddress:
    """The address alone. Raises ValueError."""
    address = ip_address(required(ip, ".", "address"))
    netmask = ip.get("netmask")
    prefix = ip_network(f"0.0.0.0/{netmask}").prefixlen if netmask else int(required(ip, ".", "prefix"))
    return NetworkAddress(str(address), prefix)


def range_of(element: Element) -> DhcpRange:
    return DhcpRange(str(ip_address(element.attrib["start"])), str(ip_address(element.attrib["end"])))


def lease_of(host: Element) -> StaticLease:
    address = str(ip_address(host.attrib["ip"]))
    return StaticLease(host.get("mac", "").lower(), address, host.get("name", ""), host.get("id", "").lower())


def dns_host_of(host: Element) -> DnsHost:
    names = tuple((name.text or "").strip() for name in host.iterfind("hostname"))
    return DnsHost(str(ip_address(host.attrib["ip"])), names)


def limits_of(root: Element, direction: str) -> Bandwidth | None:
    element = root.find(f"bandwidth/{direction}")
    if element is None:
        return None
    limits = Bandwidth(*(int(element.get(name, 0)) for name in ("average", "peak", "burst")))
    return None if limits == Bandwidth() else limits


# --- making and changing


def build_network(spec: NetworkSpec) -> str:
    """The XML of a new network. Raises InvalidSpec, with a sentence for the person.

    nat, route, open and isolated (which has no `<forward>`) have a bridge that libvirt makes::

        <network>
          <name>lab</name>
          <forward mode="nat" dev="eth0"/>
          <bridge name="virbr1"/>
          <mtu size="1400"/>
          <domain name="lab.example.org"/>
          <dns><host ip="192.168.100.5"><hostname>mail</hostname></host></dns>
          <bandwidth><inbound average="1000" peak="2000" burst="512"/></bandwidth>
          <port isolated="yes"/>
          <ip family="ipv4" address="192.168.100.1" prefix="24">
            <dhcp>
              <range start="192.168.100.100" end="192.168.100.200"/>
              <host mac="52:54:00:12:34:56" ip="192.168.100.10" name="web"/>
            </dhcp>
          </ip>
        </network>

    bridge is either a bridge of the host's own, `<bridge name="br0"/>` with perhaps `<vlan trunk="yes"><tag id="10"/>
    <tag id="20"/></vlan>` and `<virtualport type="openvswitch"/>`; or macvtap, as private, vepa and passthrough are:
    `<forward mode="bridge"><interface dev="eth0"/></forward>`. hostdev hands out virtual functions,
    `<forward mode="hostdev" managed="yes"><pf dev="eth2"/></forward>`, or those that are named by PCI address.
    """
    check_name(spec.name)
    root = etree.Element("network")
    etree.SubElement(root, "name").text = spec.name
    fill(root, check_network(spec))
    return etree.tostring(root, encoding="unicode", pretty_print=True)


def edit_network(xml: str, spec: NetworkSpec) -> str:
    """The definition changed to the spec; what a spec does not know stays. Raises InvalidSpec.

    A name cannot be changed; an empty `bridge` keeps the one that libvirt chose.
    """
    root = root_of(xml, "network")
    if spec.name != text(root, "name"):
        raise InvalidSpec("A network keeps its name: make a new one to have another.")
    fill(root, check_network(spec))
    return as_text(root)


def fill(root: Element, spec: NetworkSpec) -> None:
    """Put a checked spec into the network's elements."""
    before = forward_of(root)
    if before != spec.forward:
        goes = ("forward",) if {before, spec.forward} <= set(MADE_BY_LIBVIRT) else OF_THE_MODE
        for tag in goes:
            drop(root, tag)
    fill_forward(root, spec)
    if spec.bridge:
        child(root, "bridge").set("name", spec.bridge)
    elif spec.forward not in MADE_BY_LIBVIRT:
        drop(root, "bridge")
    fill_one(root, "mtu", "size", str(spec.mtu or ""))
    fill_one(root, "domain", "name", spec.domain)
    fill_one(root, "virtualport", "type", spec.virtualport)
    fill_one(root, "port", "isolated", "yes" if spec.port_isolated else "")
    fill_vlans(root, spec.vlans)
    for direction, limits in (("inbound", spec.inbound), ("outbound", spec.outbound)):
        fill_limits(root, direction, limits)
    fill_dns(root, spec)
    fill_addresses(root, spec.addresses)


def fill_forward(root: Element, spec: NetworkSpec) -> None:
    if spec.forward == Forward.ISOLATED:
        return
    forward = child(root, "forward")
    forward.set("mode", spec.forward)
    before: tuple[str, ...] = Reader(root).part("forward", partial(devices_of, root), ())
    if spec.devices == before:
        return
    put(forward, "dev", "")
    for tag in ("interface", "address", "pf"):
        drop(forward, tag)
    if spec.forward == Forward.HOSTDEV:
        forward.set("managed", "yes")
    for device in spec.devices:
        if spec.forward in MADE_BY_LIBVIRT:
            forward.set("dev", device)
        elif is_pci(device):
            forward.append(pci_element(device))
        else:
            etree.SubElement(forward, "pf" if spec.forward == Forward.HOSTDEV else "interface", dev=device)


def fill_one(root: Element, tag: str, name: str, value: str) -> None:
    """An element that is all about one attribute; without a value it goes."""
    if value:
        child(root, tag).set(name, value)
    elif attribute(root, tag, name):
        drop(root, tag)


def fill_vlans(root: Element, tags: tuple[int, ...]) -> None:
    if tags == Reader(root).each("vlan/tag", vlan_of):
        return
    vlan = child(root, "vlan")
    make_equal(vlan, "tag", vlan_of, tags, lambda tag: etree.Element("tag", id=str(tag)))
    put(vlan, "trunk", "yes" if len(tags) > 1 else "")
    drop_if_empty(root, vlan)


def fill_limits(root: Element, direction: str, limits: Bandwidth | None) -> None:
    if limits == Reader(root).part("bandwidth", lambda: limits_of(root, direction), None):
        return
    bandwidth = child(root, "bandwidth")
    if limits is None:
        drop(bandwidth, direction)
    else:
        element = child(bandwidth, direction)
        for name, kib in (("average", limits.average), ("peak", limits.peak), ("burst", limits.burst)):
            put(element, name, str(kib or ""))
    drop_if_empty(root, bandwidth)


def fill_dns(root: Element, spec: NetworkSpec) -> None:
    if spec.dns and not spec.dns_hosts and root.find("dns") is None:
        return
    dns = child(root, "dns")
    if not spec.dns:
        dns.set("enable", "no")
    elif dns.get("enable") == "no":
        put(dns, "enable", "")
    make_equal(dns, "host", dns_host_of, spec.dns_hosts, dns_host_element)
    drop_if_empty(root, dns)


def fill_addresses(root: Element, addresses: tuple[NetworkAddress, ...]) -> None:
    wanted = {each.address: each for each in addresses}
    make_equal(
        root, "ip", lambda ip: address_of(ip).address, tuple(wanted), lambda address: ip_element(wanted[address])
    )
    for ip in root.iterfind("ip"):
        own = Reader(ip).part("ip", partial(address_of, ip), None)
        if own is not None:
            fill_address(ip, own, wanted[own.address])


def fill_address(ip: Element, before: NetworkAddress, address: NetworkAddress) -> None:
    if address.prefix != before.prefix:
        put(ip, "netmask", "")
        ip.set("prefix", str(address.prefix))
    if not (address.ranges or address.leases) and ip.find("dhcp") is None:
        return
    dhcp = child(ip, "dhcp")
    make_equal(dhcp, "range", range_of, address.ranges, range_element)
    make_equal(dhcp, "host", lease_of, address.leases, lease_element)
    drop_if_empty(ip, dhcp)


# --- elements


def make_equal(
    parent: Element, tag: str, read: Callable[[Element], T], wanted: tuple[T, ...], make: Callable[[T], Element]
) -> None:
    """Have one `<tag>` for each that is wanted: those there stay as they are, so do those that cannot be read."""
    missing = list(wanted)
    for element in parent.findall(tag):
        value = Reader(element).part(tag, partial(read, element), None)
        if value in missing:
            missing.remove(value)
        elif value is not None:
            parent.remove(element)
    for value in missing:
        insert(parent, make(value))


def child(parent: Element, tag: str) -> Element:
    """The child of that name, made where there is none."""
    found = parent.find(tag)
    return insert(parent, etree.Element(tag)) if found is None else found


def insert(parent: Element, element: Element) -> Element:
    """Put a child where libvirt would write it: before the first that comes later; what is not of ORDER is last."""
    places = {tag: place for place, tag in enumerate(ORDER)}
    own = places.get(element.tag, len(ORDER))
    later = (place for place, each in enumerate(parent) if places.get(each.tag, len(ORDER)) > own)
    parent.insert(next(later, len(parent)), element)
    return element


def put(element: Element, name: str, value: str) -> None:
    """Set an attribute; without a value it goes."""
    if value:
        element.set(name, value)
    elif name in element.attrib:
        del element.attrib[name]


def drop(parent: Element, tag: str) -> None:
    for element in parent.findall(tag):
        parent.remove(element)


def drop_if_empty(parent: Element, element: Element) -> None:
    if not len(element) and not element.attrib:
        parent.remove(element)


def pci_element(device: str) -> Element:
    domain, bus, slot, function = device.replace(".", ":").split(":")
    parts = {"domain": domain, "bus": bus, "slot": slot, "function": function}
    return etree.Element("address", {"type": "pci", **{name: f"0x{part}" for name, part in parts.items()}})


def ip_element(address: NetworkAddress) -> Element:
    """The address alone."""
    family = f"ipv{ip_address(address.address).version}"
    return etree.Element("ip", family=family, address=address.address, prefix=str(address.prefix))


def range_element(dhcp_range: DhcpRange) -> Element:
    return etree.Element("range", start=dhcp_range.start, end=dhcp_range.end)


def lease_element(lease: StaticLease) -> Element:
    parts = {"mac": lease.mac, "id": lease.duid, "name": lease.name, "ip": lease.address}
    return etree.Element("host", {name: value for name, value in parts.items() if value})


def dns_host_element(host: DnsHost) -> Element:
    element = etree.Element("host", ip=host.address)
    for name in host.names:
        etree.SubElement(element, "hostname").text = name
    return element

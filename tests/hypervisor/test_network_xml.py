"""Networks read into types, made from specs and edited: goldens, and what must never get through."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import asdict, fields, replace
from typing import Any

import libvirt
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from lxml import etree

from tests.fake_networks import spec_of
from tests.hypervisor.network_specs import DNS_HOSTS, FOLDER, IPV4, IPV6, SPECS
from webvirt.hypervisor.errors import InvalidSpec
from webvirt.hypervisor.network_rules import check_network
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
from webvirt.hypervisor.xml.network_updates import Part, updates
from webvirt.hypervisor.xml.networks import build_network, edit_network, parse_network

TOLD = sorted(path.stem for path in FOLDER.glob("*.json"))
"""Networks as libvirt tells them, beside what is to be read from them."""
NAT = SPECS["nat"]


def golden(name: str) -> str:
    return (FOLDER / f"{name}.xml").read_text()


def canonical(element: Any) -> str:
    """An element's XML without the white space between elements."""
    again = etree.fromstring(etree.tostring(element, with_tail=False), etree.XMLParser(remove_blank_text=True))
    return etree.tostring(again, method="c14n").decode()


# --- reading


@pytest.mark.parametrize("name", TOLD)
def test_what_libvirt_tells_is_read(name: str) -> None:
    read = json.loads(json.dumps(asdict(parse_network(golden(name)))))
    assert read == json.loads((FOLDER / f"{name}.json").read_text())


@pytest.mark.parametrize("kind", [NetworkInfo, NetworkAddress, DhcpRange, StaticLease, DnsHost, Bandwidth])
def test_every_field_is_told_by_some_golden(kind: type) -> None:
    seen: set[str] = set()
    for path in FOLDER.glob("*.xml"):
        for part in parts_of(parse_network(path.read_text())):
            if isinstance(part, kind):
                seen |= {each.name for each in fields(kind) if getattr(part, each.name) not in (each.default, "", ())}
    assert seen == {each.name for each in fields(kind)}


def parts_of(info: NetworkInfo) -> Iterator[Any]:
    yield from (info, info.inbound, info.outbound, *info.addresses, *info.dns_hosts)
    for address in info.addresses:
        yield from (*address.ranges, *address.leases)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<domain/>",
        '<!DOCTYPE network SYSTEM "file:///etc/hostname"><network/>',
        '<!DOCTYPE n [<!ENTITY name "evil">]><network><name>&name;</name></network>',
    ],
)
def test_what_is_no_network_is_refused(text: str) -> None:
    with pytest.raises(InvalidSpec):
        parse_network(text)
    with pytest.raises(InvalidSpec):
        edit_network(text, NAT)


TAGS = ["forward", "bridge", "ip", "dhcp", "range", "host", "dns", "hostname", "vlan", "tag", "bandwidth", "inbound"]
NAMES = ["mode", "dev", "name", "address", "prefix", "netmask", "ip", "id", "start", "end", "size", "average", "mac"]


def grown(tag: str, attributes: dict[str, str], inner: list[Any]) -> Any:
    element = etree.Element(tag, attributes)
    element.extend(inner)
    return element


ELEMENTS = st.recursive(
    st.sampled_from(TAGS).map(etree.Element),
    lambda children: st.builds(
        grown,
        st.sampled_from(TAGS),
        st.dictionaries(st.sampled_from(NAMES), st.sampled_from(["", "-1", "0", "x", "٣", "9" * 30, "10.0.0.1"])),
        st.lists(children, max_size=4),
    ),
    max_leaves=15,
)


@given(ELEMENTS)
def test_no_oddity_costs_the_rest(element: Any) -> None:
    root = etree.Element("network")
    etree.SubElement(root, "name").text = "kept"
    root.append(element)
    xml = etree.tostring(root, encoding="unicode")
    assert parse_network(xml).name == "kept"
    spec = NetworkSpec("kept", Forward.NAT, addresses=(IPV4,))
    assert IPV4 in parse_network(edit_network(xml, spec)).addresses


# --- making


@pytest.mark.parametrize("name", SPECS)
def test_a_network_is_made_as_its_golden_says(name: str) -> None:
    assert build_network(SPECS[name]) == golden(name)


def test_every_forward_mode_has_a_golden() -> None:
    assert {spec.forward for spec in SPECS.values()} == set(Forward)


@pytest.fixture(scope="module")
def imagined() -> Iterator[Any]:
    connection = libvirt.open("test:///default")
    yield connection
    connection.close()


def through_libvirt(imagined: Any, xml: str) -> NetworkInfo:
    network = imagined.networkDefineXML(xml)
    try:
        return parse_network(network.XMLDesc(0))
    finally:
        network.undefine()


@pytest.mark.parametrize("name", SPECS)
def test_libvirt_takes_what_is_made_and_gives_it_back(name: str, imagined: Any) -> None:
    info = through_libvirt(imagined, build_network(SPECS[name]))
    assert spec_of(info) == SPECS[name]
    assert info.unparsed == ()


HOSTILE = st.one_of(
    st.text(max_size=40),
    st.text("abc019:.-_", min_size=1, max_size=20),
    st.sampled_from(
        ["<a/>", "&amp;", '"', "'", "]]>", "a\0b", "a\nb", "a\r", "\ud800", "\u202elab", "\U0001f5a7", "x" * 300, "--"]
    ),
    st.sampled_from(["192.168.233.77", "192.168.233.01", "FD00:233::77", "::ffff:192.168.233.7", "fe80::1%eth0"]),
    st.sampled_from(["52:54:00:00:33:FF", "52-54-00-00-33-ff", "5254.0000.33ff", "53:54:00:00:33:0a", "virbr%d"]),
)
"""Text for any field: right in some, wrong in others."""


def one_lease(own: NetworkAddress, **parts: str) -> NetworkAddress:
    return replace(own, leases=(replace(own.leases[0], **parts), *own.leases[1:]))


TEXT_FIELDS: dict[str, Callable[[str], NetworkSpec]] = {
    "name": lambda text: replace(NAT, name=text),
    "bridge": lambda text: replace(NAT, bridge=text),
    "device": lambda text: replace(NAT, devices=(text,)),
    "pool": lambda text: replace(SPECS["hostdev-pci"], devices=("0000:03:10.1", text)),
    "domain": lambda text: replace(NAT, domain=text),
    "virtualport": lambda text: replace(SPECS["bridge-openvswitch"], virtualport=text),
    "address": lambda text: replace(NAT, addresses=(replace(IPV4, address=text), IPV6)),
    "range start": lambda text: replace(NAT, addresses=(replace(IPV6, ranges=(DhcpRange(text, "fd00:233::fff"),)),)),
    "range end": lambda text: replace(NAT, addresses=(replace(IPV6, ranges=(DhcpRange("fd00:233::2", text),)),)),
    "lease mac": lambda text: replace(NAT, addresses=(one_lease(IPV4, mac=text), IPV6)),
    "lease address": lambda text: replace(NAT, addresses=(one_lease(IPV4, address=text), IPV6)),
    "lease name": lambda text: replace(NAT, addresses=(one_lease(IPV4, name=text), IPV6)),
    "lease duid": lambda text: replace(NAT, addresses=(IPV4, one_lease(IPV6, duid=text))),
    "dns address": lambda text: replace(NAT, dns_hosts=(replace(DNS_HOSTS[0], address=text), DNS_HOSTS[1])),
    "dns name": lambda text: replace(NAT, dns_hosts=(replace(DNS_HOSTS[0], names=("mail", text)), DNS_HOSTS[1])),
}


def shape(xml: str) -> set[str]:
    """The paths of all elements and attributes."""
    root = etree.fromstring(xml)
    tree = root.getroottree()
    paths = {re.sub(r"\[\d+\]", "", tree.getpath(each)): each for each in root.iter()}
    return {f"{path}/@{name}" for path, each in paths.items() for name in ("", *each.attrib)}


ALLOWED = set().union(*(shape(golden(name)) for name in ("nat", "hostdev-pci", "bridge-openvswitch")))


@pytest.mark.parametrize("field", TEXT_FIELDS)
@given(text=HOSTILE)
@example(text="lab</name><forward mode='nat'/><name>x")
@example(text="lab<a b='c'>x<a>")
@example(text="192.168.233.77")
@example(text="fd00:233::aaa")
@example(text="52:54:00:00:33:FF")
def test_hostile_text_is_refused_or_stays_text(field: str, text: str) -> None:
    spec = TEXT_FIELDS[field](text)
    try:
        xml = build_network(spec)
    except InvalidSpec:
        return
    assert spec_of(parse_network(xml)) == check_network(spec)
    assert shape(xml) <= ALLOWED


@pytest.mark.parametrize("field", TEXT_FIELDS)
def test_the_right_text_goes_through_each_field(field: str) -> None:
    """The test above would say nothing of a field that takes no text at all."""
    fine = ("lab-1", "0000:03:10.5", "", "192.168.233.77", "fd00:233::aaa", "52:54:00:00:33:FF", "00:01:00:01:aa")
    for text in fine:
        try:
            build_network(TEXT_FIELDS[field](text))
        except InvalidSpec:
            continue
        return
    pytest.fail(f"{field} takes nothing")


# --- what is refused, and in which words

V4 = NetworkSpec("lab", addresses=(NetworkAddress("192.168.9.1", 24),))


def with_range(start: str, end: str) -> NetworkSpec:
    return replace(V4, addresses=(replace(V4.addresses[0], ranges=(DhcpRange(start, end),)),))


def with_leases(*leases: StaticLease) -> NetworkSpec:
    return replace(V4, addresses=(replace(V4.addresses[0], leases=leases),))


MAC = "52:54:00:00:00:01"
WRONG = [
    (replace(V4, name=""), "1 to 50"),
    (replace(V4, name="x" * 51), "1 to 50"),
    (replace(V4, name="../lab"), "without '/'"),
    (replace(V4, name="lab "), "1 to 50"),
    (replace(V4, name="two\nlines"), "1 to 50"),
    (replace(V4, addresses=()), "needs an address"),
    (replace(V4, devices=("eth0", "eth1")), "one interface"),
    (replace(V4, devices=("eth0:1",)), "interface's name"),
    (replace(V4, bridge="-br0"), "bridge's name"),
    (replace(V4, bridge="sixteencharacter"), "bridge's name"),
    (replace(V4, mtu=67), "MTU"),
    (replace(V4, mtu=-1), "MTU"),
    (replace(V4, domain="under score"), "DNS name"),
    (replace(V4, vlans=(1,)), "no setting 'vlans'"),
    (replace(V4, virtualport="openvswitch"), "no setting 'virtualport'"),
    (replace(V4, dns=False, dns_hosts=DNS_HOSTS), "Without DNS"),
    (replace(V4, dns_hosts=(DnsHost("192.168.9.7", ()),)), "Each name"),
    (replace(V4, dns_hosts=(DnsHost("fd00::7", ("a",)), DnsHost("FD00::0:7", ("b",)))), "stand once"),
    (replace(V4, inbound=Bandwidth(0, 5)), "needs an average"),
    (replace(V4, outbound=Bandwidth(5, 4)), "below the average"),
    (replace(V4, outbound=Bandwidth(-5)), "number of KiB"),
    (NetworkSpec("lab", Forward.BRIDGE), "either the host's bridge"),
    (NetworkSpec("lab", Forward.BRIDGE, bridge="br0", devices=("eth0",)), "either the host's bridge"),
    (NetworkSpec("lab", Forward.BRIDGE, bridge="br0", mtu=1400), "bridge has no setting 'mtu'"),
    (NetworkSpec("lab", Forward.BRIDGE, bridge="br0", dns=False), "no setting 'dns'"),
    (NetworkSpec("lab", Forward.BRIDGE, bridge="br0", virtualport="midonet"), "openvswitch"),
    (NetworkSpec("lab", Forward.BRIDGE, bridge="br0", vlans=(0,)), "between 1 and 4094"),
    (NetworkSpec("lab", Forward.BRIDGE, bridge="br0", vlans=(5, 5)), "different numbers"),
    (NetworkSpec("lab", Forward.BRIDGE, devices=("eth0",), port_isolated=True), "no setting 'port_isolated'"),
    (NetworkSpec("lab", Forward.VEPA), "needs a device"),
    (NetworkSpec("lab", Forward.PRIVATE, devices=("eth0", "eth0")), "only once"),
    (NetworkSpec("lab", Forward.PRIVATE, devices=("0000:03:10.1",)), "interface's name"),
    (NetworkSpec("lab", Forward.PASSTHROUGH, devices=("eth0",), vlans=(1, 2)), "one VLAN"),
    (NetworkSpec("lab", Forward.HOSTDEV, devices=("eth0", "eth1")), "virtual functions"),
    (NetworkSpec("lab", Forward.HOSTDEV, devices=("eth0", "0000:03:10.1")), "interface's name"),
    (NetworkSpec("lab", Forward.OPEN, devices=("eth0",), addresses=V4.addresses), "no setting 'devices'"),
    (replace(V4, addresses=(NetworkAddress("192.168.9.1", 31),)), "prefix"),
    (replace(V4, addresses=(NetworkAddress("192.168.9.0", 24),)), "host's own address"),
    (replace(V4, addresses=(NetworkAddress("192.168.9.255", 24),)), "host's own address"),
    (replace(V4, addresses=(NetworkAddress("127.0.0.1", 8),)), "host's own address"),
    (replace(V4, addresses=(NetworkAddress("ff02::1", 64),)), "host's own address"),
    (replace(V4, addresses=(*V4.addresses, NetworkAddress("192.168.8.1", 22))), "overlap"),
    (with_range("192.168.8.2", "192.168.9.9"), "within 192.168.9.0/24"),
    (with_range("192.168.9.9", "192.168.9.2"), "lower end first"),
    (with_range("192.168.9.0", "192.168.9.9"), "leave out|within"),
    (with_range("192.168.9.9", "192.168.9.255"), "within"),
    (with_range("192.168.9.1", "192.168.9.9"), "leave out 192.168.9.1"),
    (with_range("fd00::1", "fd00::9"), "within"),
    (
        replace(V4, addresses=(replace(IPV4, ranges=(*IPV4.ranges, DhcpRange("192.168.233.199", "192.168.233.205"))),)),
        "must not overlap",
    ),
    (
        replace(V4, addresses=(NetworkAddress("10.0.0.1", 8, (DhcpRange("10.0.0.2", "10.1.0.2"),)),)),
        "65535 addresses at most",
    ),
    (replace(V4, addresses=(replace(IPV6, prefix=60),)), "64 or more"),
    (replace(V4, addresses=(IPV4, NetworkAddress("10.0.0.1", 8, (DhcpRange("10.0.0.2", "10.0.0.3"),)))), "one IPv4"),
    (with_leases(StaticLease(MAC, "192.168.8.9")), "free address in 192.168.9.0/24"),
    (with_leases(StaticLease(MAC, "192.168.9.1")), "free address"),
    (with_leases(StaticLease("52:54:00:00:00", "192.168.9.9")), "six pairs"),
    (with_leases(StaticLease("53:54:00:00:00:01", "192.168.9.9")), "six pairs"),
    (with_leases(StaticLease(f"{MAC}\n", "192.168.9.9")), "six pairs"),
    (with_leases(StaticLease("", "192.168.9.9")), "a MAC address or a name"),
    (with_leases(StaticLease(MAC, "192.168.9.9", duid="00:03:00:01:52")), "no DUID"),
    (with_leases(StaticLease(MAC, "192.168.9.9", "9web")), "begins with a letter"),
    (with_leases(StaticLease(MAC, "192.168.9.9"), StaticLease(MAC.upper(), "192.168.9.8")), "share"),
    (with_leases(StaticLease(MAC, "192.168.9.9", "a"), StaticLease("", "192.168.9.9", "b")), "share"),
    (with_leases(StaticLease(MAC, "192.168.9.09")), "must be IPv4 or IPv6"),
    (replace(V4, addresses=(replace(IPV6, leases=(StaticLease(MAC, "fd00:233::9"),)),)), "no MAC address"),
    (replace(V4, addresses=(replace(IPV6, leases=(StaticLease("", "fd00:233::9", duid="zz"),)),)), "A DUID is"),
]


@pytest.mark.parametrize(("spec", "sentence"), WRONG, ids=lambda part: part if isinstance(part, str) else "")
def test_what_is_wrong_is_refused_with_what_to_do(spec: NetworkSpec, sentence: str) -> None:
    with pytest.raises(InvalidSpec, match=sentence):
        build_network(spec)


def test_the_usual_spelling_is_written() -> None:
    lease = StaticLease("52:54:00:AA:BB:CC", "192.168.9.7", "Web")
    spec = replace(with_leases(lease), dns_hosts=(DnsHost("FD00:0:0::5", ("Mail",)),), inbound=Bandwidth())
    info = parse_network(build_network(spec))
    assert info.addresses[0].leases == (StaticLease("52:54:00:aa:bb:cc", "192.168.9.7", "Web"),)
    assert info.dns_hosts == (DnsHost("fd00::5", ("Mail",)),)
    assert info.inbound is None


# --- editing


@pytest.mark.parametrize("name", ["full", *SPECS])
def test_an_edit_that_changes_nothing_changes_nothing(name: str) -> None:
    xml = golden(name)
    edited = edit_network(xml, spec_of(parse_network(xml)))
    assert canonical(etree.fromstring(edited)) == canonical(etree.fromstring(xml))


FULL = golden("full")
FULL_SPEC = spec_of(parse_network(FULL))
UNKNOWN = (
    "title",
    "metadata",
    "forward/nat",
    "mac",
    "dns/forwarder",
    "dns/txt",
    "dns/srv",
    "ip/tftp",
    "ip/dhcp/bootp",
    "ip/dhcp/range/lease",
    "ip/dhcp/host/lease",
    "route",
    "portgroup",
    "{http://libvirt.org/schemas/network/dnsmasq/1.0}options",
)
EDITS = {
    "bridge": replace(FULL_SPEC, bridge="virbr9"),
    "device": replace(FULL_SPEC, devices=("eth7",)),
    "domain": replace(FULL_SPEC, domain="other.example.org"),
    "mtu": replace(FULL_SPEC, mtu=0),
    "isolation": replace(FULL_SPEC, port_isolated=False),
    "dns hosts": replace(FULL_SPEC, dns_hosts=(*FULL_SPEC.dns_hosts, DnsHost("192.168.234.7", ("new",)))),
    "no dns hosts": replace(FULL_SPEC, dns_hosts=()),
    "limits": replace(FULL_SPEC, inbound=None, outbound=Bandwidth(1)),
    "no limits": replace(FULL_SPEC, inbound=None, outbound=None),
    "prefix": replace(FULL_SPEC, addresses=(replace(FULL_SPEC.addresses[0], prefix=23), FULL_SPEC.addresses[1])),
    "ranges": replace(
        FULL_SPEC,
        addresses=(
            replace(
                FULL_SPEC.addresses[0], ranges=(*FULL_SPEC.addresses[0].ranges, DhcpRange(*["192.168.234.50"] * 2))
            ),
            *FULL_SPEC.addresses[1:],
        ),
    ),
    "leases": replace(
        FULL_SPEC,
        addresses=(
            replace(
                FULL_SPEC.addresses[0],
                leases=(FULL_SPEC.addresses[0].leases[0], StaticLease("52:54:00:00:34:0c", "192.168.234.11", "db")),
            ),
            *FULL_SPEC.addresses[1:],
        ),
    ),
    "addresses": replace(
        FULL_SPEC, addresses=(FULL_SPEC.addresses[0], NetworkAddress("10.234.0.1", 16), NetworkAddress("fd99::1", 48))
    ),
}


@pytest.mark.parametrize("edit", EDITS)
def test_an_edit_takes_and_unknown_parts_survive(edit: str) -> None:
    before, spec = etree.fromstring(FULL), EDITS[edit]
    edited = edit_network(FULL, spec)
    after = etree.fromstring(edited)
    assert spec_of(parse_network(edited)) == spec != FULL_SPEC
    for path in UNKNOWN:
        kept = [canonical(element) for element in before.iterfind(path)]
        assert kept, path
        assert [canonical(element) for element in after.iterfind(path)] == kept, path
    assert (after.get("ipv6"), after.get("trustGuestRxFilters")) == ("yes", "yes")
    for path in ("bridge[@zone='libvirt'][@stp='on'][@delay='3']", "domain[@localOnly]", "dns[@forwardPlainNames]"):
        assert after.find(path) is not None, path


def test_what_cannot_be_read_survives() -> None:
    spec = NetworkSpec("odd", devices=("eth0",), vlans=(), addresses=(NetworkAddress("192.168.235.2", 25),))
    after = etree.fromstring(edit_network(golden("odd"), spec))
    assert [ip.get("address") for ip in after.iterfind("ip")] == ["192.168.235.1", "192.168.235.2", None]
    assert [dict(part.attrib) for part in after.iterfind("ip/dhcp/*")] == [
        {"start": "192.168.235.10"},
        {"mac": "52:54:00:00:35:0a"},
    ]
    assert [host.get("ip") for host in after.iterfind("dns/host")] == ["nowhere"]
    assert after.find("telepathy") is not None


def in_any_order(spec: NetworkSpec) -> NetworkSpec:
    """An edit leaves addresses in the order that they had."""
    return replace(spec, addresses=tuple(sorted(spec.addresses, key=lambda each: each.address)))


@pytest.mark.parametrize("before", SPECS)
def test_any_forward_mode_can_become_any_other(before: str, imagined: Any) -> None:
    for name, spec in SPECS.items():
        wanted = replace(spec, name=SPECS[before].name)
        edited = edit_network(golden(before), wanted)
        kept_bridge = parse_network(edited).bridge
        assert in_any_order(spec_of(parse_network(edited))) == in_any_order(
            replace(wanted, bridge=wanted.bridge or kept_bridge)
        ), name
        assert spec_of(through_libvirt(imagined, edited)).forward == spec.forward


def test_a_network_of_another_kind_starts_afresh() -> None:
    edited = edit_network(FULL, NetworkSpec("full", Forward.BRIDGE, bridge="br0"))
    assert [each.tag for each in etree.fromstring(edited)][:6] == [
        "name",
        "uuid",
        "title",
        "metadata",
        "forward",
        "bridge",
    ]
    assert [each.tag for each in etree.fromstring(edited)][6:] == [
        "portgroup",
        "portgroup",
        "{http://libvirt.org/schemas/network/dnsmasq/1.0}options",
    ]


def test_the_name_stays_and_the_bridge_that_libvirt_chose() -> None:
    with pytest.raises(InvalidSpec, match="keeps its name"):
        edit_network(golden("nat"), replace(NAT, name="wvh-other"))
    assert parse_network(edit_network(golden("nat"), replace(NAT, bridge=""))).bridge == NAT.bridge


def test_an_old_name_that_would_be_refused_now_can_stay() -> None:
    xml = golden("route").replace("wvh-route", "-old name")
    assert parse_network(edit_network(xml, replace(SPECS["route"], name="-old name", mtu=1300))).mtu == 1300


@pytest.mark.parametrize("text", ["x<name>", "a&b", "x]]>", "网络 'a\""])
def test_an_odd_name_stays_text(text: str) -> None:
    xml = build_network(replace(NAT, name=text))
    spec = replace(NAT, name=text, mtu=0)
    assert spec_of(parse_network(edit_network(xml, spec))) == spec


# --- what can be changed while it runs


def told(live: str, spec: NetworkSpec) -> list[tuple[Part, bool, int, str]]:
    return [
        (each.part, each.adds, each.index, canonical(etree.fromstring(each.xml)))
        for each in updates(live, check_network(spec))
    ]


def test_nothing_to_change_is_no_update() -> None:
    assert told(golden("nat"), NAT) == []
    assert told(FULL, FULL_SPEC) == []


def test_updates_make_room_before_they_add_but_never_stop_dhcp() -> None:
    range_, web, *others = DhcpRange("192.168.233.50", "192.168.233.60"), *IPV4.leases
    moved = (StaticLease(web.mac, "192.168.233.20", "web"), *others)
    spec = replace(NAT, addresses=(IPV6, replace(IPV4, ranges=(range_,), leases=moved)), dns_hosts=DNS_HOSTS[:1])
    steps = told(golden("nat"), spec)
    assert [(part, adds, index) for part, adds, index, _ in steps] == [
        (Part.RANGE, True, 0),
        (Part.RANGE, False, 0),
        (Part.RANGE, False, 0),
        (Part.LEASE, False, 0),
        (Part.LEASE, True, 0),
        (Part.DNS_HOST, False, -1),
    ]
    assert '192.168.233.20" mac="52:54:00:00:33:0a" name="web"' in steps[4][3]


def test_an_address_that_is_not_in_force_yet_waits() -> None:
    later = replace(IPV4, address="192.168.240.1", ranges=(), leases=())
    assert told(golden("nat"), replace(NAT, addresses=(later, IPV6))) == []
    wider = replace(IPV4, prefix=23, leases=())
    assert told(golden("nat"), replace(NAT, addresses=(wider, IPV6))) == []
    assert told(golden("nat"), replace(NAT, dns=False, dns_hosts=())) == []


def test_dhcp_leaves_an_address_before_it_comes_to_another() -> None:
    other = NetworkAddress("10.233.0.1", 24)
    live = build_network(replace(NAT, addresses=(other, IPV4)))
    moved = replace(other, ranges=(DhcpRange("10.233.0.50", "10.233.0.60"),))
    steps = told(live, replace(NAT, addresses=(moved, replace(IPV4, ranges=(), leases=()))))
    assert [(adds, index) for _, adds, index, _ in steps] == [(False, 1)] * 5 + [(True, 0)]

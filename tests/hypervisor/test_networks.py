"""Networks, held against the fake, libvirt's test driver and a real second host with its bridges and its dnsmasq."""

from __future__ import annotations

import subprocess
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import libvirt
import pytest

from tests.fake_networks import spec_of
from tests.fakes import MEMORY_KIB, FakeConnection
from tests.guests import KERNEL, virsh
from tests.hypervisor.network_specs import SPECS
from tests.hypervisor.subjects import PREFIX, SECOND, SUBJECTS, Subject
from tests.lab.lab import SecondHost, tiny_guest
from tests.until import until
from webvirt.hypervisor.connection import Connection, connect
from webvirt.hypervisor.errors import HypervisorError, InvalidSpec, NotFound, Unsupported, WrongState
from webvirt.hypervisor.networks import NetworkCalls
from webvirt.hypervisor.types import (
    DhcpRange,
    DnsHost,
    Forward,
    HostAddress,
    NetworkAddress,
    NetworkReading,
    NetworkSpec,
    StaticLease,
    Transport,
)

REAL = next(subject for subject in SUBJECTS if subject.name == "qemu-tcp")
NETWORKED = [subject for subject in SUBJECTS if subject.name in ("fake", "test-driver", "qemu-tcp")]
"""Not the daemon here: its bridges would be this machine's own."""
TWO_SIDED = [subject for subject in NETWORKED if subject.name != "test-driver"]
"""Those that know what is kept from what is in force."""
STRANGER = str(uuid.uuid4())
MAC = "52:54:00:00:36:0a"
LEASE = StaticLease(MAC, "192.168.236.10", "web")
IPV4 = NetworkAddress("192.168.236.1", 24, (DhcpRange("192.168.236.100", "192.168.236.150"),), (LEASE,))
NAT = NetworkSpec(
    f"{PREFIX}net",
    Forward.NAT,
    domain="lab.example.org",
    addresses=(IPV4,),
    dns_hosts=(DnsHost("192.168.236.5", ("mail",)),),
)


@dataclass
class Net:
    """A network on a subject, stopped."""

    subject: Subject
    connection: Connection | FakeConnection
    uuid: str

    @property
    def networks(self) -> NetworkCalls:
        # The fake has the same methods without being one.
        return self.connection.networks  # type: ignore[return-value]

    @property
    def reading(self) -> NetworkReading:
        return self.networks.read(self.uuid)

    def change(self, **parts: object) -> tuple[str, ...]:
        reading = self.reading
        return self.networks.change(self.uuid, replace(spec_of(reading.info), **parts), reading.version).waiting  # type: ignore[arg-type]

    def give_back(self) -> None:
        for summary in self.networks.list():
            if summary.name.startswith(PREFIX):
                if summary.active:
                    self.networks.stop(summary.uuid)
                if summary.persistent:
                    self.networks.undefine(summary.uuid)


def of(subjects: list[Subject]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("net", subjects, indirect=True, ids=str)


@pytest.fixture(params=NETWORKED, ids=str)
def net(request: pytest.FixtureRequest) -> Iterator[Net]:
    """Each subject in turn, or those that the test is parametrized with."""
    subject: Subject = request.param
    if subject.name == "qemu-tcp":
        request.getfixturevalue("second")
    with subject.open() as connection:
        net = Net(subject, connection, connection.networks.define(NAT))
        yield net
        net.give_back()


# --- reading


def test_it_is_listed_as_a_look_at_it_tells(net: Net) -> None:
    for active in (False, True):
        if active:
            net.networks.start(net.uuid)
        (listed,) = [summary for summary in net.networks.list() if summary.uuid == net.uuid]
        assert (listed.name, listed.active, listed.persistent, listed.autostart) == (NAT.name, active, True, False)
        assert listed == replace(net.reading.summary, bridge="")


def test_its_definition_is_read(net: Net) -> None:
    reading = net.reading
    assert (reading.info.uuid, reading.info.unparsed) == (net.uuid, ())
    assert replace(spec_of(reading.info), bridge="") == NAT
    assert net.uuid in reading.xml
    assert (reading.live, reading.live_xml, reading.waiting) == (None, "", ())
    net.networks.start(net.uuid)
    reading = net.reading
    assert reading.live is not None
    assert replace(spec_of(reading.live), bridge="") == NAT
    assert reading.waiting == ()


UUID_CALLS: tuple[Callable[[NetworkCalls], object], ...] = (
    lambda networks: networks.read(STRANGER),
    lambda networks: networks.leases(STRANGER),
    lambda networks: networks.change(STRANGER, NAT, ""),
    lambda networks: networks.add_static_lease(STRANGER, LEASE),
    lambda networks: networks.remove_static_lease(STRANGER, LEASE),
    lambda networks: networks.set_autostart(STRANGER, True),
    lambda networks: networks.start(STRANGER),
    lambda networks: networks.stop(STRANGER),
    lambda networks: networks.undefine(STRANGER),
)


def test_a_stranger_is_not_found(net: Net) -> None:
    for call in UUID_CALLS:
        with pytest.raises(NotFound):
            call(net.networks)


@of([REAL])
def test_a_list_takes_as_many_calls_as_there_are_kinds_of_question(net: Net, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: Counter[str] = Counter()

    def count(kind: type, name: str) -> None:
        method = getattr(kind, name)

        def counted(*args: object) -> object:
            calls[name] += 1
            return method(*args)

        monkeypatch.setattr(kind, name, counted)

    for number in range(3):
        net.networks.define(NetworkSpec(f"{PREFIX}net-{number}", Forward.ISOLATED))
    count(libvirt.virConnect, "listAllNetworks")
    for name in ("XMLDesc", "isActive", "isPersistent", "autostart", "bridgeName"):
        count(libvirt.virNetwork, name)
    assert len(net.networks.list()) >= 4
    assert calls == {"listAllNetworks": 4}


# --- up and down


def test_up_and_down(net: Net) -> None:
    networks, uuid = net.networks, net.uuid
    networks.start(uuid)
    assert networks.read(uuid).summary.active
    with pytest.raises(WrongState):
        networks.undefine(uuid)
    networks.stop(uuid)
    assert not networks.read(uuid).summary.active
    networks.undefine(uuid)
    assert uuid not in [summary.uuid for summary in networks.list()]


@of(TWO_SIDED)
def test_what_the_state_forbids_is_a_wrong_state(net: Net) -> None:
    with pytest.raises(WrongState):
        net.networks.stop(net.uuid)
    net.networks.start(net.uuid)
    with pytest.raises(WrongState):
        net.networks.start(net.uuid)


def test_autostart(net: Net) -> None:
    for enabled in (True, False):
        net.networks.set_autostart(net.uuid, enabled)
        assert net.reading.summary.autostart is enabled


def test_a_name_that_is_taken_is_refused_and_the_first_one_stays(net: Net) -> None:
    before = net.reading
    with pytest.raises(HypervisorError):
        net.networks.define(replace(NAT, forward=Forward.ISOLATED, addresses=()))
    assert net.reading == before


def test_what_is_no_network_is_refused(net: Net) -> None:
    reading = net.reading
    wrong = replace(NAT, mtu=5)
    calls: list[Callable[[], object]] = [
        lambda: net.networks.define(replace(wrong, name=f"{PREFIX}wrong")),
        lambda: net.networks.change(net.uuid, wrong, reading.version),
        lambda: net.networks.change(net.uuid, replace(NAT, name=f"{PREFIX}renamed"), reading.version),
        lambda: net.networks.add_static_lease(net.uuid, replace(LEASE, mac="x")),
        lambda: net.networks.add_static_lease(net.uuid, StaticLease("", "10.9.9.9", "far")),
    ]
    for call in calls:
        with pytest.raises(InvalidSpec):
            call()
    assert net.reading == reading


# --- changing

EVERYTHING = {
    "bridge": "virbr236",
    "domain": "other.example.org",
    "mtu": 1400,
    "addresses": (NetworkAddress("10.236.0.1", 24, (DhcpRange("10.236.0.50", "10.236.0.60"),)),),
    "dns_hosts": (DnsHost("10.236.0.5", ("mail", "mx")),),
}


def test_a_stopped_network_is_changed_whole(net: Net) -> None:
    assert net.change(**EVERYTHING) == ()
    assert spec_of(net.reading.info) == replace(NAT, **EVERYTHING)  # type: ignore[arg-type]
    assert net.reading.info.uuid == net.uuid


RANGE = DhcpRange("192.168.236.20", "192.168.236.30")
HOSTS = (DnsHost("192.168.236.6", ("www",)), DnsHost("192.168.236.5", ("mail", "mx")))
MOVED = (StaticLease(MAC, "192.168.236.11", "web"), StaticLease("52:54:00:00:36:0b", "192.168.236.10", "db"))


@of(TWO_SIDED)
def test_what_can_change_while_it_runs_does_and_the_rest_waits(net: Net) -> None:
    net.networks.start(net.uuid)
    handing_out = replace(IPV4, ranges=(*IPV4.ranges, RANGE), leases=MOVED)
    assert net.change(addresses=(handing_out,), dns_hosts=HOSTS) == ()
    live = net.reading.live
    assert live is not None
    assert (live.addresses, set(live.dns_hosts)) == ((handing_out,), set(HOSTS))
    assert net.change(mtu=1400, domain="other.example.org") == ("domain", "mtu")
    assert net.change(dns_hosts=()) == ("domain", "mtu"), "what waits goes on waiting"
    live = net.reading.live
    assert live is not None
    assert (live.mtu, live.domain, live.dns_hosts) == (0, NAT.domain, ())
    net.networks.stop(net.uuid)
    until(lambda: has_started(net), what="the address is free again")
    live = net.reading.live
    assert live is not None
    assert (live.mtu, live.domain, net.reading.waiting) == (1400, "other.example.org", ())


def has_started(net: Net) -> bool:
    """libvirt does not wait for the dnsmasq that it ends, which has the address for a moment yet."""
    try:
        net.networks.start(net.uuid)
    except HypervisorError as error:
        if "Address already in use" not in str(error):
            raise
        return False
    return True


@of(TWO_SIDED)
def test_addresses_that_are_not_in_force_yet_wait_with_all_that_hangs_on_them(net: Net) -> None:
    net.networks.start(net.uuid)
    assert net.change(addresses=EVERYTHING["addresses"]) == ("addresses",)
    late = StaticLease("52:54:00:00:36:0c", "10.236.0.9")
    net.networks.add_static_lease(net.uuid, late)
    assert net.reading.info.addresses[0].leases == (late,)
    with pytest.raises(InvalidSpec):
        net.networks.add_static_lease(net.uuid, StaticLease("52:54:00:00:36:0d", "192.168.236.9"))


@of([REAL])
def test_what_an_older_libvirt_cannot_change_now_waits_too(net: Net, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        error = libvirt.libvirtError("can't update")
        error.err = (libvirt.VIR_ERR_OPERATION_UNSUPPORTED, libvirt.VIR_FROM_NETWORK, "can't update")
        raise error

    net.networks.start(net.uuid)
    monkeypatch.setattr(libvirt.virNetwork, "update", refuse)
    assert net.change(dns_hosts=HOSTS) == ("dns_hosts",)
    assert set(net.reading.info.dns_hosts) == set(HOSTS)


def test_an_edit_of_what_is_no_longer_there_is_refused(net: Net) -> None:
    """Two people open the same form: the second one to save hears of it, and the first one's work stands."""
    seen = net.reading
    net.change(mtu=1400)
    with pytest.raises(WrongState, match="changed meanwhile"):
        net.networks.change(net.uuid, replace(spec_of(seen.info), domain="second.example.org"), seen.version)
    assert (net.reading.info.mtu, net.reading.info.domain) == (1400, NAT.domain)


def test_a_change_to_the_same_is_none(net: Net) -> None:
    before = net.reading
    net.networks.change(net.uuid, spec_of(before.info), before.version)
    assert net.reading.version == before.version


@pytest.mark.parametrize("on", [False, True], ids=["off", "on"])
def test_static_leases(net: Net, on: bool) -> None:
    networks, uuid = net.networks, net.uuid
    if on:
        networks.start(uuid)
    new = StaticLease("52:54:00:00:36:FF", "192.168.236.12", "new")
    kept = replace(new, mac=new.mac.lower())
    networks.add_static_lease(uuid, new)
    for info in (net.reading.info, net.reading.live if on else net.reading.info):
        assert info is not None
        assert info.addresses[0].leases == (LEASE, kept)
    if on and net.subject is REAL:
        assert f"{kept.mac},{kept.address},{kept.name}" in hosts_file(), "dnsmasq hears of it at once"
    with pytest.raises(HypervisorError):
        networks.add_static_lease(uuid, replace(new, address="192.168.236.13"))
    with pytest.raises(NotFound):
        networks.remove_static_lease(uuid, replace(new, address="192.168.236.13"))
    networks.remove_static_lease(uuid, new)
    for info in (net.reading.info, net.reading.live if on else net.reading.info):
        assert info is not None
        assert info.addresses[0].leases == (LEASE,)


@of([REAL])
def test_leases_that_many_people_add_at_once_are_all_kept(net: Net) -> None:
    leases = [StaticLease(f"52:54:00:00:36:a{number}", f"192.168.236.4{number}") for number in range(8)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda lease: net.networks.add_static_lease(net.uuid, lease), leases))
    assert set(net.reading.info.addresses[0].leases) == {LEASE, *leases}


@of([subject for subject in SUBJECTS if subject.name == "fake"])
def test_the_fake_forgets_a_network_that_is_not_kept(net: Net) -> None:
    assert isinstance(net.connection, FakeConnection)
    net.networks.start(net.uuid)
    net.connection.networks.known[net.uuid].persistent = False
    check_transient(net)


# --- the real thing


@pytest.fixture
def real(second: SecondHost) -> Iterator[Net]:
    with REAL.open() as connection:
        net = Net(REAL, connection, "")
        yield net
        net.give_back()


def xml_of(xml: str, verb: str) -> None:
    subprocess.run(["virsh", "-q", "-c", SECOND.uri, verb, "/dev/stdin"], input=xml, text=True, check=True)


def inside(*command: str) -> str:
    """A command in the second host's network."""
    return subprocess.run(
        ["ip", "netns", "exec", f"wvhost{SECOND.n}", *command], capture_output=True, text=True, check=True
    ).stdout


def test_a_network_that_is_not_kept(real: Net) -> None:
    xml_of(f"<network><name>{PREFIX}gone</name><ip address='10.237.0.1' prefix='24'/></network>", "net-create")
    (real.uuid,) = [summary.uuid for summary in real.networks.list() if summary.name == f"{PREFIX}gone"]
    assert real.reading.info == real.reading.live
    check_transient(real)


def check_transient(net: Net) -> None:
    reading = net.reading
    assert (reading.summary.persistent, reading.summary.active, reading.waiting) == (False, True, ())
    with pytest.raises(WrongState, match="gone when it stops"):
        net.change(mtu=1400)
    with pytest.raises(WrongState):
        net.networks.set_autostart(net.uuid, True)
    with pytest.raises(WrongState):
        net.networks.undefine(net.uuid)
    net.networks.stop(net.uuid)
    assert net.uuid not in [summary.uuid for summary in net.networks.list()]


@pytest.mark.parametrize("name", SPECS)
def test_a_real_host_takes_every_forward_mode(name: str, real: Net) -> None:
    spec = SPECS[name]
    if name == "hostdev-pci":
        # libvirt looks whether these are virtual functions, and this machine has none.
        with pytest.raises(Unsupported, match="SR-IOV Virtual Function"):
            real.networks.define(spec)
        return
    real.uuid = real.networks.define(spec)
    info = real.reading.info
    assert spec_of(info) == replace(spec, bridge=spec.bridge or info.bridge)
    assert info.unparsed == ()


RUNNABLE = {
    Forward.NAT: replace(NAT, port_isolated=True),
    Forward.ROUTE: replace(NAT, forward=Forward.ROUTE, mtu=1300, dns_hosts=()),
    Forward.OPEN: replace(NAT, forward=Forward.OPEN),
    Forward.ISOLATED: NetworkSpec(NAT.name, Forward.ISOLATED, bridge="virbr236", dns=False),
    Forward.BRIDGE: NetworkSpec(NAT.name, Forward.BRIDGE, bridge=f"wvhost{SECOND.n}br"),
    Forward.VEPA: NetworkSpec(NAT.name, Forward.VEPA, devices=(f"wvhost{SECOND.n}b",)),
}


@pytest.mark.parametrize("forward", RUNNABLE)
def test_it_runs(forward: Forward, real: Net) -> None:
    spec = RUNNABLE[forward]
    real.uuid = real.networks.define(spec)
    real.networks.start(real.uuid)
    assert real.reading.summary.active
    bridge = real.reading.summary.bridge
    assert real.networks.leases(real.uuid) == ()
    if spec.addresses:
        assert "192.168.236.1/24" in inside("ip", "-brief", "address", "show", bridge)
        configured = (SECOND.home / "lib" / "dnsmasq" / f"{spec.name}.conf").read_text()
        assert "dhcp-range=192.168.236.100,192.168.236.150" in configured
        assert f"{MAC},{LEASE.address},{LEASE.name}" in hosts_file()
    masqueraded = "MASQUERADE" in inside("iptables-save", "-t", "nat")
    assert masqueraded is (forward == Forward.NAT)


def hosts_file() -> str:
    return (SECOND.home / "lib" / "dnsmasq" / f"{NAT.name}.hostsfile").read_text()


UNKNOWN = """
<network xmlns:dnsmasq='http://libvirt.org/schemas/network/dnsmasq/1.0'>
  <name>wvh-unknown</name>
  <metadata><app:note xmlns:app='http://example.org/app'>mine</app:note></metadata>
  <forward mode='nat'><nat><port start='2000' end='3000'/></nat></forward>
  <bridge zone='' stp='off' delay='3'/>
  <dns><forwarder addr='192.0.2.53'/><txt name='lab' value='a text'/></dns>
  <ip address='192.168.238.1' netmask='255.255.255.0'>
    <dhcp>
      <range start='192.168.238.100' end='192.168.238.199'><lease expiry='2' unit='hours'/></range>
      <bootp file='pxelinux.0'/>
    </dhcp>
  </ip>
  <portgroup name='sales'/>
  <dnsmasq:options><dnsmasq:option value='log-dhcp'/></dnsmasq:options>
</network>"""


def test_what_we_know_nothing_of_survives_a_change(real: Net) -> None:
    xml_of(UNKNOWN.replace(" zone=''", ""), "net-define")
    (real.uuid,) = [summary.uuid for summary in real.networks.list() if summary.name == "wvh-unknown"]
    before = real.reading.xml.splitlines()
    leases = (StaticLease(MAC, "192.168.238.9"),)
    address = replace(real.reading.info.addresses[0], leases=leases)
    real.change(mtu=1400, domain="lab.example.org", addresses=(address,))
    after = real.reading.xml.splitlines()
    assert [line for line in before if line not in after] == []
    new = [line.strip() for line in after if line not in before]
    assert new == ["<mtu size='1400'/>", "<domain name='lab.example.org'/>", f"<host mac='{MAC}' ip='192.168.238.9'/>"]


def test_a_guest_is_given_the_address_that_is_kept_for_it(real: Net) -> None:
    real.uuid = real.networks.define(replace(NAT, forward=Forward.ISOLATED))
    real.networks.start(real.uuid)
    folder = tiny_guest(SECOND.hostname)
    xml_of(
        f"<domain type='qemu'><name>{PREFIX}leased</name><memory unit='KiB'>{MEMORY_KIB}</memory>"
        f"<os><type arch='x86_64' machine='pc'>hvm</type>{KERNEL.format(guest=folder)}</os>"
        f"<devices><interface type='network'><mac address='{MAC}'/><source network='{NAT.name}'/>"
        "<model type='virtio'/></interface></devices></domain>",
        "create",
    )
    try:
        (lease,) = until(lambda: real.networks.leases(real.uuid), 30, what="dnsmasq gave the guest an address")
    finally:
        virsh("destroy", f"{PREFIX}leased", uri=SECOND.uri)
    assert (lease.mac, lease.address, lease.prefix, lease.hostname) == (MAC, LEASE.address, 24, "web")
    assert lease.expires_at is not None
    assert lease.expires_at > 1e9


def test_the_test_driver_tells_no_leases() -> None:
    with connect(HostAddress(Transport.TEST)) as connection, pytest.raises(Unsupported):
        connection.networks.leases(connection.networks.list()[0].uuid)

"""The fake's networks, filters, devices and secrets, with the same methods as the real ones and the same manners."""

from __future__ import annotations

import builtins
import uuid
from dataclasses import dataclass, field, fields, replace
from itertools import count
from typing import TYPE_CHECKING

from lxml import etree

from webvirt.hypervisor.errors import HypervisorError, InvalidSpec, NotFound, WrongState
from webvirt.hypervisor.network_rules import MADE_BY_LIBVIRT, check_network, interface_of, settled_ip, settled_lease
from webvirt.hypervisor.secrets import check_value
from webvirt.hypervisor.types import (
    Changed,
    FilterInfo,
    Forward,
    HostDevice,
    HostInterface,
    Lease,
    NetworkAddress,
    NetworkInfo,
    NetworkReading,
    NetworkSpec,
    NetworkSummary,
    SecretInfo,
    SecretSpec,
    StaticLease,
)
from webvirt.hypervisor.xml.filters import checked_filter, parse_filter
from webvirt.hypervisor.xml.network_updates import lease_to_remove
from webvirt.hypervisor.xml.networks import build_network, edit_network, parse_network
from webvirt.hypervisor.xml.secrets import build_secret, parse_secret

if TYPE_CHECKING:
    from tests.fakes import FakeConnection


def spec_of(info: NetworkInfo) -> NetworkSpec:
    """The spec that a network's definition answers to, to be changed in part."""
    parts = {part.name: getattr(info, part.name) for part in fields(NetworkSpec)}
    return NetworkSpec(**{**parts, "forward": Forward(info.forward)})


def with_uuid(xml: str, new: str) -> str:
    root = etree.fromstring(xml)
    if root.find("uuid") is None:
        etree.SubElement(root, "uuid").text = new
    return etree.tostring(root, encoding="unicode")


def not_active(name: str) -> WrongState:
    return WrongState(f"Requested operation is not valid: network '{name}' is not active")


@dataclass
class FakeNetwork:
    """One network of the fake: what is kept, and what is in force while it runs."""

    xml: str
    live_xml: str = ""
    persistent: bool = True
    autostart: bool = False
    leases: tuple[Lease, ...] = ()

    @property
    def uuid(self) -> str:
        return parse_network(self.xml).uuid

    @property
    def name(self) -> str:
        return parse_network(self.xml).name

    def summary(self) -> NetworkSummary:
        return NetworkSummary(self.uuid, self.name, bool(self.live_xml), self.persistent, self.autostart)

    def reading(self) -> NetworkReading:
        info = parse_network(self.xml)
        live = parse_network(self.live_xml) if self.live_xml else None
        summary = replace(self.summary(), bridge=(live or info).bridge)
        return NetworkReading(summary, info, self.xml, live, self.live_xml)

    def edit(self, xml: str, addresses: tuple[NetworkAddress, ...]) -> str:
        return edit_network(xml, replace(spec_of(parse_network(xml)), addresses=addresses))


class FakeNetworkCalls:
    """As `hypervisor.networks.NetworkCalls`, over `known`."""

    def __init__(self, connection: FakeConnection) -> None:
        self._connection = connection
        self.known: dict[str, FakeNetwork] = {}

    def _get(self, uuid: str) -> FakeNetwork:
        self._connection.check()
        if uuid not in self.known:
            raise NotFound(f"Network not found: no network with matching uuid '{uuid}'")
        return self.known[uuid]

    # --- reading

    def list(self) -> builtins.list[NetworkSummary]:
        self._connection.check()
        return [network.summary() for network in self.known.values()]

    def read(self, uuid: str) -> NetworkReading:
        return self._get(uuid).reading()

    def leases(self, uuid: str) -> tuple[Lease, ...]:
        return self._get(uuid).leases

    # --- changing

    def define(self, spec: NetworkSpec) -> str:
        new = str(uuid.uuid4())
        xml = with_uuid(build_network(spec), new)
        self._connection.check()
        for network in self.known.values():
            if network.name == spec.name:
                raise HypervisorError(
                    f"operation failed: network '{spec.name}' already exists with uuid {network.uuid}"
                )
        if spec.forward in MADE_BY_LIBVIRT and not spec.bridge:
            taken = {network.reading().summary.bridge for network in self.known.values()}
            bridge = next(name for name in (f"virbr{number}" for number in count()) if name not in taken)
            xml = edit_network(xml, replace(spec, bridge=bridge))
        self.known[new] = FakeNetwork(xml)
        return new

    def change(self, uuid: str, spec: NetworkSpec, seen: str) -> Changed:
        spec = check_network(spec)
        network = self._get(uuid)
        if not network.persistent:
            raise WrongState("The network is gone when it stops: make one that is kept.")
        if network.reading().version != seen:
            raise WrongState("The network was changed meanwhile: look at it again, then change it.")
        network.xml = edit_network(network.xml, spec)
        if network.live_xml:
            live = parse_network(network.live_xml)
            wanted = {(each.address, each.prefix): each for each in spec.addresses}
            now = tuple(wanted.get((each.address, each.prefix), each) for each in live.addresses)
            hosts = spec.dns_hosts if spec.dns and live.dns else live.dns_hosts
            network.live_xml = edit_network(network.live_xml, replace(spec_of(live), addresses=now, dns_hosts=hosts))
        return Changed(network.reading().waiting)

    def add_static_lease(self, uuid: str, lease: StaticLease) -> None:
        network = self._get(uuid)
        ip = settled_ip(lease.address)
        addresses = parse_network(network.xml).addresses
        own = next((each for each in addresses if ip in interface_of(each).network), None)
        if own is None:
            raise InvalidSpec("The address is in none of the network's own: choose another.")
        lease = settled_lease(lease, interface_of(own))
        for kept in own.leases:
            if lease.address == kept.address or (lease.mac and lease.mac == kept.mac):
                raise WrongState("Requested operation is not valid: there is an existing dhcp host entry")
        longer = replace(own, leases=(*own.leases, lease))
        self._put(network, tuple(longer if each is own else each for each in addresses))

    def remove_static_lease(self, uuid: str, lease: StaticLease) -> None:
        network = self._get(uuid)
        if lease_to_remove(network.xml, lease) is None:
            raise NotFound("The network keeps no such address.")
        ip = str(settled_ip(lease.address))
        self._put(
            network,
            tuple(
                replace(each, leases=tuple(kept for kept in each.leases if kept.address != ip))
                for each in parse_network(network.xml).addresses
            ),
        )

    def _put(self, network: FakeNetwork, addresses: tuple[NetworkAddress, ...]) -> None:
        network.xml = network.edit(network.xml, addresses)
        if network.live_xml:
            network.live_xml = network.edit(network.live_xml, addresses)

    def set_autostart(self, uuid: str, enabled: bool) -> None:
        network = self._get(uuid)
        if not network.persistent:
            raise WrongState("cannot set autostart for transient network")
        network.autostart = enabled

    def start(self, uuid: str) -> None:
        network = self._get(uuid)
        if network.live_xml:
            raise WrongState("Requested operation is not valid: network is already active")
        network.live_xml = network.xml

    def stop(self, uuid: str) -> None:
        network = self._get(uuid)
        if not network.live_xml:
            raise not_active(network.name)
        network.live_xml, network.leases = "", ()
        if not network.persistent:
            del self.known[uuid]

    def undefine(self, uuid: str) -> None:
        if self._get(uuid).live_xml:
            raise WrongState("The network is running: stop it first.")
        del self.known[uuid]


class FakeFilterCalls:
    """As `hypervisor.filters.FilterCalls`. `cards` says which filter each card of each domain goes through."""

    def __init__(self, connection: FakeConnection) -> None:
        self._connection = connection
        self.known: dict[str, FilterInfo] = {}
        self.cards: dict[str, dict[str, str]] = {}

    def list(self) -> builtins.list[FilterInfo]:
        self._connection.check()
        return [*self.known.values()]

    def read(self, uuid: str) -> FilterInfo:
        self._connection.check()
        if uuid not in self.known:
            raise NotFound(f"Network filter not found: no nwfilter with matching uuid '{uuid}'")
        return self.known[uuid]

    def define(self, xml: str, seen: str = "") -> str:
        self._connection.check()
        given = parse_filter(xml)
        named = next((each for each in self.known.values() if each.name == given.name), None)
        before = self.known.get(given.uuid) or named
        if before and not seen:
            raise WrongState("There is a filter of that name or uuid already: edit that one.")
        if seen and (before is None or before.version != seen):
            raise WrongState("The filter was changed or taken away meanwhile: look at it again, then change it.")
        made = parse_filter(with_uuid(checked_filter(xml, before), str(uuid.uuid4())))
        self.known[made.uuid] = replace(made, chain=made.chain or "root")
        return made.uuid

    def undefine(self, uuid: str) -> None:
        name = self.read(uuid).name
        if any(name in cards.values() for cards in self.cards.values()):
            raise WrongState("Requested operation is not valid: nwfilter is in use")
        del self.known[uuid]

    def assign(self, domain_uuid: str, mac: str, filter_name: str) -> None:
        self._connection.domains.read(domain_uuid)
        if filter_name and filter_name not in [each.name for each in self.known.values()]:
            raise NotFound(f"Network filter not found: no nwfilter with matching name '{filter_name}'")
        if mac.lower() not in self.cards.get(domain_uuid, {}):
            raise NotFound("The machine has no network card of that MAC address.")
        self.cards[domain_uuid][mac.lower()] = filter_name


@dataclass
class FakeDeviceCalls:
    """As `hypervisor.devices.DeviceCalls`, telling what it was given."""

    connection: FakeConnection
    known: builtins.list[HostDevice] = field(default_factory=list)
    own: builtins.list[HostInterface] = field(default_factory=list)

    def list(self) -> builtins.list[HostDevice]:
        self.connection.check()
        return [*self.known]

    def interfaces(self) -> builtins.list[HostInterface]:
        self.connection.check()
        return [*self.own]


class FakeSecretCalls:
    """As `hypervisor.secrets.SecretCalls`. Tests may look into `values`; nothing else can."""

    def __init__(self, connection: FakeConnection) -> None:
        self._connection = connection
        self.known: dict[str, SecretInfo] = {}
        self.values: dict[str, bytes] = {}

    def _get(self, uuid: str) -> SecretInfo:
        self._connection.check()
        if uuid not in self.known:
            raise NotFound(f"Secret not found: no secret with matching uuid '{uuid}'")
        return self.known[uuid]

    def list(self) -> builtins.list[SecretInfo]:
        self._connection.check()
        return [*self.known.values()]

    def create(self, spec: SecretSpec, value: bytes) -> str:
        check_value(value)
        new = parse_secret(build_secret(spec, str(uuid.uuid4())))
        self._connection.check()
        for known in self.known.values():
            if new.usage_id and (new.usage, new.usage_id) == (known.usage, known.usage_id):
                raise HypervisorError(f"internal error: a secret with UUID {known.uuid} already defined")
        self.known[new.uuid], self.values[new.uuid] = new, value
        self._connection.tell_object("secret", new.uuid, "defined")
        self._connection.tell_object("secret", new.uuid, "value changed")
        return new.uuid

    def set_value(self, uuid: str, value: bytes) -> None:
        check_value(value)
        self.values[self._get(uuid).uuid] = value
        self._connection.tell_object("secret", uuid, "value changed")

    def undefine(self, uuid: str) -> None:
        del self.known[self._get(uuid).uuid], self.values[uuid]
        self._connection.tell_object("secret", uuid, "undefined")

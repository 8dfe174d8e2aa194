"""What can be asked of and done to networks. Each is looked up by uuid for each call; nothing is kept."""

from __future__ import annotations

import builtins
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import libvirt

from webvirt.hypervisor.calls import Handle, translating
from webvirt.hypervisor.errors import InvalidSpec, NotFound, Unsupported, WrongState
from webvirt.hypervisor.network_rules import check_network
from webvirt.hypervisor.types import (
    Changed,
    HostAddress,
    Lease,
    NetworkReading,
    NetworkSpec,
    NetworkSummary,
    StaticLease,
    Transport,
    version_of,
)
from webvirt.hypervisor.xml.network_updates import Part, Update, lease_to_add, lease_to_remove, updates
from webvirt.hypervisor.xml.networks import build_network, edit_network, parse_network

SECTIONS = {
    Part.RANGE: libvirt.VIR_NETWORK_SECTION_IP_DHCP_RANGE,
    Part.LEASE: libvirt.VIR_NETWORK_SECTION_IP_DHCP_HOST,
    Part.DNS_HOST: libvirt.VIR_NETWORK_SECTION_DNS_HOST,
}
LIVE = libvirt.VIR_NETWORK_UPDATE_AFFECT_LIVE
CONFIG = libvirt.VIR_NETWORK_UPDATE_AFFECT_CONFIG


class NetworkCalls:
    """The networks of one host. Every method raises a HypervisorError of the kind that fits; a uuid may be NotFound."""

    def __init__(self, handle: Handle, address: HostAddress) -> None:
        self._handle = handle
        # The test driver knows no flags, and one definition only.
        self._kept = 0 if address.transport == Transport.TEST else libvirt.VIR_NETWORK_XML_INACTIVE

    @contextmanager
    def _network(self, uuid: str) -> Iterator[Any]:
        with self._handle.call() as raw:
            yield raw.networkLookupByUUIDString(uuid)

    # --- reading

    def list(self) -> builtins.list[NetworkSummary]:
        """Every network of the host, in four calls however many there are."""
        with self._handle.call() as raw:
            everything = raw.listAllNetworks(0)
            active = uuids_of(raw.listAllNetworks(libvirt.VIR_CONNECT_LIST_NETWORKS_ACTIVE))
            autostart = uuids_of(raw.listAllNetworks(libvirt.VIR_CONNECT_LIST_NETWORKS_AUTOSTART))
            transient = uuids_of(raw.listAllNetworks(libvirt.VIR_CONNECT_LIST_NETWORKS_TRANSIENT))
        return [
            NetworkSummary(
                uuid=(uuid := network.UUIDString()),
                name=network.name(),
                active=uuid in active,
                persistent=uuid not in transient,
                autostart=uuid in autostart,
            )
            for network in everything
        ]

    def read(self, uuid: str) -> NetworkReading:
        """Everything one look brings: its line and both definitions."""
        with self._network(uuid) as network:
            return self._read(network)

    def leases(self, uuid: str) -> tuple[Lease, ...]:
        """The addresses that it has given out and that have not run out."""
        with self._network(uuid) as network:
            return tuple(map(lease_of, network.DHCPLeases()))

    def _definitions(self, network: Any) -> builtins.list[tuple[int, str]]:
        """What is in force, then what is kept, each with the flag that changes it; either may be missing."""
        found = []
        if network.isActive():
            found.append((LIVE, network.XMLDesc(0)))
        if network.isPersistent():
            found.append((CONFIG, network.XMLDesc(self._kept)))
        return found

    def _read(self, network: Any) -> NetworkReading:
        texts = dict(self._definitions(network))
        live_xml, xml = texts.get(LIVE, ""), texts.get(CONFIG, "")
        live = parse_network(live_xml) if live_xml else None
        info = parse_network(xml or live_xml)
        summary = NetworkSummary(
            uuid=info.uuid,
            name=info.name,
            active=bool(live_xml),
            persistent=bool(xml),
            # libvirt refuses the question about one that is not kept.
            autostart=bool(xml) and bool(network.autostart()),
            bridge=(live or info).bridge,
        )
        return NetworkReading(summary, info, xml or live_xml, live, live_xml)

    # --- changing

    def define(self, spec: NetworkSpec) -> str:
        """Make a network, which is off then, and return its uuid. A name that is taken is refused."""
        xml = build_network(spec)
        with self._handle.call() as raw:
            return str(raw.networkDefineXML(xml).UUIDString())

    def change(self, uuid: str, spec: NetworkSpec, seen: str) -> Changed:
        """Change a network to the spec, now as far as it can be while it runs, for good in any case.

        `seen` is the `version` of the reading that the change was made from. Raises WrongState when the network has
        become another one since, and for one that is gone when it stops. Two changes at the same moment are for the
        caller to keep apart, since libvirt cannot.
        """
        spec = check_network(spec)
        with self._network(uuid) as network:
            if not network.isPersistent():
                raise WrongState("The network is gone when it stops: make one that is kept.")
            xml = network.XMLDesc(self._kept)
            if version_of(xml) != seen:
                raise WrongState("The network was changed meanwhile: look at it again, then change it.")
            edited = edit_network(xml, spec)
            if parse_network(edited) != parse_network(xml):
                network.connect().networkDefineXML(edited)
            if network.isActive():
                for update in updates(network.XMLDesc(0), spec):
                    # What libvirt cannot change now waits for the next start, as all the rest does.
                    with suppress(WrongState, Unsupported), translating():
                        send(network, update, LIVE)
            return Changed(self._read(network).waiting)

    def add_static_lease(self, uuid: str, lease: StaticLease) -> None:
        """Keep an address for a card, at once and for good. Raises WrongState when it is kept for another one."""
        with self._network(uuid) as network:
            sides = [(flag, lease_to_add(xml, lease)) for flag, xml in self._definitions(network)]
            if sides[-1][1] is None:
                raise InvalidSpec("The address is in none of the network's own: choose another.")
            send_to_all(network, sides)

    def remove_static_lease(self, uuid: str, lease: StaticLease) -> None:
        """Keep it no longer, at once and for good. Raises NotFound where no such lease is kept."""
        with self._network(uuid) as network:
            sides = [(flag, lease_to_remove(xml, lease)) for flag, xml in self._definitions(network)]
            if not any(update for _, update in sides):
                raise NotFound("The network keeps no such address.")
            send_to_all(network, sides)

    def set_autostart(self, uuid: str, enabled: bool) -> None:
        """Whether it starts with its host."""
        with self._network(uuid) as network:
            network.setAutostart(int(enabled))

    def start(self, uuid: str) -> None:
        """Bring it up."""
        with self._network(uuid) as network:
            network.create()

    def stop(self, uuid: str) -> None:
        """Take it down, whoever is connected: guests keep their cards, with nothing behind them."""
        with self._network(uuid) as network:
            network.destroy()

    def undefine(self, uuid: str) -> None:
        """Take a stopped network off the host. Raises WrongState while it runs."""
        with self._network(uuid) as network:
            if network.isActive():
                raise WrongState("The network is running: stop it first.")
            network.undefine()


def uuids_of(networks: Iterable[Any]) -> set[str]:
    return {network.UUIDString() for network in networks}


def send_to_all(network: Any, sides: Iterable[tuple[int, Update | None]]) -> None:
    """Change the running network and the kept one, in one call unless their addresses stand in another order."""
    flags: defaultdict[Update, int] = defaultdict(int)
    for flag, update in sides:
        if update is not None:
            flags[update] |= flag
    for update, flag in flags.items():
        send(network, update, flag)


def send(network: Any, update: Update, flags: int) -> None:
    command = libvirt.VIR_NETWORK_UPDATE_COMMAND_ADD_LAST if update.adds else libvirt.VIR_NETWORK_UPDATE_COMMAND_DELETE
    network.update(command, SECTIONS[update.part], update.index, update.xml, flags)


def lease_of(told: dict[str, Any]) -> Lease:
    return Lease(
        mac=(told["mac"] or "").lower(),
        address=told["ipaddr"],
        prefix=told["prefix"],
        hostname=told["hostname"] or "",
        expires_at=float(told["expirytime"]) or None,
    )

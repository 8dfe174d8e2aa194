"""The host's devices that guests can be given, and its own network interfaces."""

from __future__ import annotations

import builtins
import re
from collections.abc import Iterable
from contextlib import suppress

import libvirt

from webvirt.hypervisor.calls import Handle, told, translating
from webvirt.hypervisor.errors import HypervisorError
from webvirt.hypervisor.types import HostDevice, HostInterface
from webvirt.hypervisor.xml.devices import Card, InterfaceConfig, parse_card, parse_interface, parse_node_device

FOR_GUESTS = (
    libvirt.VIR_CONNECT_LIST_NODE_DEVICES_CAP_PCI_DEV
    | libvirt.VIR_CONNECT_LIST_NODE_DEVICES_CAP_USB_DEV
    | libvirt.VIR_CONNECT_LIST_NODE_DEVICES_CAP_MDEV
    | libvirt.VIR_CONNECT_LIST_NODE_DEVICES_CAP_SCSI
)
TAP = re.compile(r"(vnet|macvtap|macvlan|vif|tap|tun)\d+", re.ASCII)
"""How libvirt, and others like it, call the host's end of a guest's card."""
TAP_MAC = "fe:54:00:"
"""libvirt gives that end the guest's own address, but for the first byte."""
LOOPBACK = "The host talks to itself on it."
GUESTS_OWN = "It is a guest's own."
IS_WIRELESS = "Wireless: it carries no cards of guests."
IS_PORT = "It is a port of another interface: use that one."


class DeviceCalls:
    """The devices of one host. Every method raises a HypervisorError of the kind that fits."""

    def __init__(self, handle: Handle) -> None:
        self._handle = handle

    def list(self) -> builtins.list[HostDevice]:
        """PCI, USB, SCSI and mediated devices; one call, and one for each."""
        with self._handle.call() as raw:
            return told(raw.listAllDevices(FOR_GUESTS), parse_node_device)

    def interfaces(self) -> builtins.list[HostInterface]:
        """The host's own network interfaces, by name; two calls, and two for each.

        Which are bridges and what their ports are is known to libvirt's interface driver alone, which some hosts have
        not: there, they are of the kind `other`.
        """
        with self._handle.call() as raw:
            configs: builtins.list[InterfaceConfig] = []
            # If it was the connection that failed, the next call says so.
            with suppress(HypervisorError), translating():
                configs = told(raw.listAllInterfaces(0), parse_interface)
            cards = told(raw.listAllDevices(libvirt.VIR_CONNECT_LIST_NODE_DEVICES_CAP_NET), parse_card)
        return merged(cards, configs)


def merged(cards: Iterable[Card], configs: Iterable[InterfaceConfig]) -> list[HostInterface]:
    """One line for each interface that either knows. Ports are told with their bridge alone."""
    by_name: dict[str, InterfaceConfig] = {}
    parents: dict[str, str] = {}
    waiting = [*configs]
    while waiting:
        config = waiting.pop()
        by_name[config.name] = config
        parents |= {port.name: config.name for port in config.ports}
        waiting += config.ports
    known = {card.name: card for card in cards}
    return [
        interface_of(name, known.get(name), by_name.get(name), parents.get(name, ""))
        for name in sorted(known.keys() | by_name.keys())
    ]


def interface_of(name: str, card: Card | None, config: InterfaceConfig | None, parent: str) -> HostInterface:
    either = card or config
    assert either is not None
    kind = kind_of(name, either.mac, card, config)
    return HostInterface(
        name=name,
        kind=kind,
        mac=either.mac,
        up=either.up,
        speed_mbit=either.speed_mbit,
        parent=parent,
        why_not=why_not(name, kind, parent, wireless=card is not None and card.wireless),
    )


def kind_of(name: str, mac: str, card: Card | None, config: InterfaceConfig | None) -> str:
    if config is not None and config.kind in ("bridge", "bond", "vlan"):
        return config.kind
    if TAP.fullmatch(name) or mac.startswith(TAP_MAC):
        return "tap"
    return "ethernet" if card is not None and card.hardware else "other"


def why_not(name: str, kind: str, parent: str, *, wireless: bool) -> str:
    if name == "lo":
        return LOOPBACK
    if kind == "tap":
        return GUESTS_OWN
    if wireless:
        return IS_WIRELESS
    return IS_PORT if parent else ""

"""A guest's addresses, out of what several sources tell."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import Any

from webvirt.hypervisor.types import DomainInfo, GuestAddress


def addresses_of(source: str, interfaces: dict[str, Any]) -> list[GuestAddress]:
    """One source's answer, without what is nobody's way to a guest: loopback, link-local, and what is no address."""
    found = []
    for interface in interfaces.values():
        mac = (interface.get("hwaddr") or "").lower()
        for entry in interface.get("addrs") or ():
            try:
                address = ipaddress.ip_address(entry["addr"])
            except ValueError:
                continue
            if not (address.is_loopback or address.is_link_local or address.is_unspecified):
                found.append(GuestAddress(mac, str(address), int(entry["prefix"]), source))
    return found


def merged(told: Iterable[GuestAddress], live: DomainInfo) -> tuple[GuestAddress, ...]:
    """Each address of the guest's own interfaces once, from the first who told it.

    An agent tells of bridges and containers inside the guest as well; those count only where a network card was handed
    through, whose MAC is not in the definition.
    """
    own = {interface.mac for interface in live.interfaces}
    handed_through = any(device.kind == "hostdev" for device in live.devices)
    kept: dict[tuple[str, str], GuestAddress] = {}
    for each in told:
        if each.mac in own or handed_through:
            kept.setdefault((each.mac, each.address), each)
    return tuple(kept.values())

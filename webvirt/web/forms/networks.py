"""Forms of networks' verbs."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterable
from typing import Any

from django.http import QueryDict

from webvirt.hypervisor.types import Forward, version_of
from webvirt.models import Host, Network
from webvirt.services.access import Access
from webvirt.services.subjects import Subject, host_of
from webvirt.web.forms.form import Form, Values, number, text, words
from webvirt.web.kinds import forward_modes

FAMILIES = ("ipv4", "ipv6")
EMPTY: Values = {
    "name": "",
    "forward": Forward.NAT.value,
    "bridge": "",
    "devices": "",
    "domain": "",
    "mtu": "",
    "vlans": "",
    "virtualport": "",
    "port_isolated": "",
    "dns": "on",
    "dns_hosts": "",
    "further": "",
    **{f"{family}_{key}": "" for family in FAMILIES for key in ("address", "ranges", "leases")},
    **{f"{way}_{key}": "" for way in ("inbound", "outbound") for key in ("average", "peak", "burst")},
}


def start_create(host: Host) -> Values:
    """A NAT network in a private range that no network of this host has yet."""
    taken = [
        ipaddress.ip_network(f"{one['address']}/{one['prefix']}", strict=False)
        for info in Network.objects.filter(host=host, missing_since=None).values_list("info", flat=True)
        for one in info.get("addresses", ())
    ]
    for third in range(100, 256):
        block = ipaddress.ip_network(f"192.168.{third}.0/24")
        if not any(block.version == other.version and block.overlaps(other) for other in taken):
            break
    first = str(block.network_address).rpartition(".")[0]
    return EMPTY | {"ipv4_address": f"{first}.1/24", "ipv4_ranges": f"{first}.2 - {first}.254"}


def start_edit(network: Network) -> Values:
    """As it is defined now."""
    info = network.info
    values = EMPTY | {key: info.get(key, "") for key in ("name", "forward", "bridge", "domain", "virtualport")}
    values |= {
        "mtu": info.get("mtu") or "",
        "devices": " ".join(info.get("devices", ())),
        "vlans": " ".join(map(str, info.get("vlans", ()))),
        "port_isolated": "on" if info.get("port_isolated") else "",
        "dns": "on" if info.get("dns", True) else "",
        "dns_hosts": lines(f"{host['address']} {' '.join(host['names'])}" for host in info.get("dns_hosts", ())),
    }
    for way in ("inbound", "outbound"):
        limit = info.get(way) or {}
        values |= {f"{way}_{key}": limit.get(key) or "" for key in ("average", "peak", "burst")}
    for family in FAMILIES:
        values |= family_values(family, of_family(info, family))
    # Further addresses have no fields: they go along as they are.
    further = [one for family in FAMILIES for one in of_family(info, family)[1:]]
    return values | {"further": json.dumps(further) if further else "", "seen": version_of(network.xml)}


def of_family(info: Values, family: str) -> list[dict[str, Any]]:
    return [one for one in info.get("addresses", ()) if ("ipv6" if ":" in one["address"] else "ipv4") == family]


def family_values(family: str, found: list[dict[str, Any]]) -> Values:
    """The first address of a family, as a person types it; further ones are for the API."""
    if not found:
        return {}
    one = found[0]
    leases = (f"{lease['mac']} {lease['address']} {lease['name']}".strip() for lease in one["leases"])
    return {
        f"{family}_address": f"{one['address']}/{one['prefix']}",
        f"{family}_ranges": lines(f"{part['start']} - {part['end']}" for part in one["ranges"]),
        f"{family}_leases": lines(leases),
    }


def lines(found: Iterable[str]) -> str:
    return "\n".join(found)


def parameters(given: QueryDict) -> Values:
    plain = {key: text(given, key) for key in ("name", "forward", "bridge", "domain", "virtualport", "seen")}
    found: Values = {key: value for key, value in plain.items() if value or key == "name"}
    found |= {"devices": words(given, "devices"), "vlans": [number(word) for word in words(given, "vlans")]}
    if mtu := text(given, "mtu"):
        found["mtu"] = number(mtu)
    found |= {key: key in given for key in ("port_isolated", "dns")}
    found["addresses"] = [address for family in FAMILIES if (address := address_of_family(given, family))]
    found["addresses"] += further_addresses(given)
    hosts = [line.split() for line in text(given, "dns_hosts").splitlines() if line.strip()]
    found["dns_hosts"] = [{"address": parts[0], "names": parts[1:]} for parts in hosts]
    return found | {way: limit for way in ("inbound", "outbound") if (limit := limit_of(given, way))}


def further_addresses(given: QueryDict) -> list[Any]:
    """What the form was given of addresses that it has no fields for."""
    try:
        found = json.loads(text(given, "further") or "[]")
    except ValueError:
        return []
    return found if isinstance(found, list) else []


def address_of_family(given: QueryDict, family: str) -> Values | None:
    typed = text(given, f"{family}_address")
    if not typed:
        return None
    address, _, prefix = typed.partition("/")
    ranges = [line.replace("-", " ").split() for line in text(given, f"{family}_ranges").splitlines() if line.strip()]
    leases = [line.split() for line in text(given, f"{family}_leases").splitlines() if line.strip()]
    return {
        "address": address.strip(),
        "prefix": number(prefix.strip()),
        "ranges": [{"start": parts[0], "end": parts[-1]} for parts in ranges],
        "leases": [dict(zip(("mac", "address", "name"), parts, strict=False)) for parts in leases],
    }


def limit_of(given: QueryDict, way: str) -> Values:
    return {key: number(value) for key in ("average", "peak", "burst") if (value := text(given, f"{way}_{key}"))}


def choices(access: Access, target: Subject | None) -> Values:
    assert target is not None
    return {"modes": forward_modes(), "interfaces": host_of(target).interfaces}


def start_lease(network: Network) -> Values:
    return {"mac": "", "address": "", "name": ""}


def lease(given: QueryDict) -> Values:
    return {key: text(given, key) for key in ("mac", "address", "name")}


FORMS = {
    "network.create": Form("networks/form.html", start_create, parameters, choices),
    "network.edit": Form("networks/form.html", start_edit, parameters, choices),
    "network.keep_address": Form("networks/lease.html", start_lease, lease),
    "network.free_address": Form("networks/lease.html", start_lease, lease),
}

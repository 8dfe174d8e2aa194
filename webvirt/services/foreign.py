"""Other hypervisors that machines are imported from: what a look there has found, kept for a day and for who looked."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

from django.utils.translation import gettext_noop

from webvirt.hypervisor.addresses import source_place
from webvirt.hypervisor.types import SourceAddress
from webvirt.models import Operation, SourceHost, User
from webvirt.services import appliances
from webvirt.services.ovf import Appliance, NotUnderstood, is_plain, line, number
from webvirt.services.seals import Seal

KEPT = timedelta(days=1)
MOST_DESCRIPTOR = 64 * 1024
"""Bytes of a VMDK's description; real ones have some hundred."""
SECTOR = 512
MOST_BYTES = 64 * 2**40
"""A disk that is said to be larger is a trap, or damaged."""
TOO_LARGE = gettext_noop("One of its disks is said to be larger than any disk.")
DATASTORE = re.compile(r"\[([^\[\]/]{1,80})\] (.{1,1000}\.vmdk)")
EXTENT = re.compile(r'(?:RW|RDONLY|NOACCESS)\s+(\d{1,18})\s+([A-Z]+)\s+"([^"]*)"(?:\s+\d+)?', re.ASCII)
PARENT = re.compile(r"parentCID\s*=\s*([0-9a-fA-F]{1,8})", re.ASCII)
NO_PARENT = "ffffffff"
SNAPSHOT = gettext_noop(
    "Its disk has snapshots there: delete them all, so that they become one with it, and look again."
)


@dataclass(frozen=True)
class Offer:
    """A machine of another hypervisor, and what it would be here.

    The disks of its `appliance` are called by their targets (`vda`); `places` has for each where it is, as the
    definition there names it. `why` says in a sentence why it cannot be imported as it is; empty when it can.
    """

    uuid: str
    name: str
    state: str
    appliance: Appliance = field(default_factory=Appliance)
    places: tuple[str, ...] = ()
    why: str = ""


def as_json(offer: Offer) -> dict[str, Any]:
    return asdict(offer)


def from_json(kept: dict[str, Any]) -> Offer:
    return Offer(**kept | {"appliance": appliances.from_json(kept["appliance"]), "places": tuple(kept["places"])})


# --- what is kept


def source_of(pk: int | None) -> SourceHost | None:
    return SourceHost.objects.select_related("operation").filter(pk=pk).first() if pk else None


def offers_of(source: SourceHost) -> list[Offer]:
    return [from_json(kept) for kept in source.machines]


def offer_in(source: SourceHost | None, uuid: str) -> Offer | None:
    """What one machine of it would be here; None where it is not there (any more)."""
    found = (kept for kept in (source.machines if source else ()) if kept["uuid"] == uuid)
    return next(map(from_json, found), None)


def looked_by(user: User, host: int) -> list[SourceHost]:
    """Those that somebody has looked at for this host, and found something, the last first."""
    found = SourceHost.objects.filter(operation__user=user, operation__host=host).exclude(machines=[])
    return list(found.defer("machines"))


def remember(operation: Operation, address: SourceAddress, **found: Any) -> None:
    """Keep what a look has brought: `offered`, or `machines` and `more`. Raises NoKey."""
    sealed = Seal().close(address.password, context_of(operation.pk, address)) if address.password else ""
    SourceHost.objects.update_or_create(
        operation=operation,
        defaults={
            "kind": address.kind,
            "hostname": address.hostname,
            "port": address.port,
            "user": address.user,
            "path": address.path,
            "unverified": address.unverified,
            "keys": list(address.keys),
            "sealed_password": sealed,
        }
        | found,
    )


def context_of(pk: int, address: SourceAddress) -> str:
    """What a source's password is for: this look, and where it led."""
    place = f"{address.kind} {address.user}@{address.hostname} {address.port or ''} {address.path}"
    return f"password of source {pk}: {place} {address.unverified}"


def look_after(now: datetime) -> None:
    """Forget what was looked at a day ago, and how we got in there."""
    SourceHost.objects.filter(created_at__lt=now - KEPT).delete()


# --- the datastores of VMware


@dataclass(frozen=True)
class Flat:
    """The bytes of a disk on a datastore: `size` of them, at `url`."""

    url: str
    size: int


def datastore_url(address: SourceAddress, datacenter: str, place: str) -> str:
    """Where VMware's server has the file that a definition names as `[DATASTORE] FOLDER/NAME.vmdk`.

    Raises NotUnderstood for any other name.
    """
    found = DATASTORE.fullmatch(place)
    if not found or not place.isprintable() or not all(map(is_plain, found[2].split("/"))):
        raise NotUnderstood(f"Its disk is no file of a datastore: {line(place)}")
    query = f"dcPath={quote(datacenter, safe='')}&dsName={quote(found[1], safe='')}"
    return f"https://{source_place(address)}/folder/{quote(found[2])}?{query}"


def shown_url(address: SourceAddress, place: str) -> str:
    """Where the bytes of a disk most likely are, for a person to read."""
    try:
        return datastore_url(address, "ha-datacenter", place.removesuffix(".vmdk") + "-flat.vmdk")
    except NotUnderstood:
        return ""


def flat_of(description: bytes, url: str) -> Flat:
    """Where the bytes of a VMDK are that is described so, beside that description. Raises NotUnderstood."""
    text = description.decode("utf-8", "replace")
    if not text.startswith("# Disk DescriptorFile"):
        raise NotUnderstood("The server sends something else than the description of a disk (VMDK).")
    parent = PARENT.search(text)
    if parent is None or parent[1].lower() != NO_PARENT:
        raise NotUnderstood(SNAPSHOT)
    extents = [found for each in text.splitlines() if (found := EXTENT.fullmatch(each.strip()))]
    if len(extents) != 1 or extents[0][2] != "VMFS" or not is_plain(extents[0][3]):
        raise NotUnderstood("Its disk is not one plain file of a datastore: export the machine there as OVA instead.")
    size = number(extents[0][1]) * SECTOR
    if not 0 < size <= MOST_BYTES:
        raise NotUnderstood(TOO_LARGE)
    path, _mark, query = url.partition("?")
    return Flat(f"{path.rpartition('/')[0]}/{quote(extents[0][3])}?{query}", size)

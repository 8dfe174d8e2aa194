"""The runner that looks at another hypervisor, and the bytes of a machine there on their way into an import.

What is there was written by others: a definition is bounded and maps to what an import knows, a disk is of the format
that its definition says and stands alone, and its bytes come through the one import that there is.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from typing import cast

from django.utils.translation import gettext_noop

from webvirt.hypervisor.addresses import fingerprint
from webvirt.hypervisor.connection import SourceConnection, connect_source
from webvirt.hypervisor.errors import (
    CredentialsUnavailable,
    HostRefused,
    HostUnreachable,
    HypervisorError,
    InvalidSpec,
    NotFound,
    NotResponding,
)
from webvirt.hypervisor.identity import offered_keys
from webvirt.hypervisor.types import (
    DiskInfo,
    DomainInfo,
    DomainState,
    Extent,
    Firmware,
    SourceAddress,
    SourceKind,
    SourceMachine,
    VolumeInfo,
)
from webvirt.hypervisor.xml.parse import parse_domain, text, tree_of
from webvirt.models import SourceHost
from webvirt.services import fetching, foreign, osinfo
from webvirt.services.appliances import Contents
from webvirt.services.catalogue.hosts import ElsewhereSpec
from webvirt.services.catalogue.moving import ImportSpec
from webvirt.services.foreign import MOST_DESCRIPTOR, Flat, Offer
from webvirt.services.ovf import MOST_CARDS, MOST_DISKS, Appliance, Disk, NotUnderstood, line
from webvirt.services.runners.appliances import Part, Parts, described, in_words
from webvirt.services.runners.context import Context, Failed, Result
from webvirt.services.runners.storage import length_of_file
from webvirt.services.systems import short_id_of
from webvirt.services.unsealing import way_to_source

MOST_MACHINES = 500
REST = (DomainState.SHUTOFF, DomainState.CRASHED)
DISKS = ("disk", "lun")
BUSES = ("virtio", "scsi", "sata", "ide", "usb")
"""Those that are the same here; of another (Xen's own) the guest's system decides."""
FORMATS = {"": "raw", "aio": "raw", "phy": "raw", "raw": "raw", "qcow2": "qcow2", "vmdk": "vmdk", "vdi": "vdi"}
"""What definitions call the formats that can be brought; where none is told, libvirt takes the bytes for the disk."""
DATACENTER = "{http://libvirt.org/schemas/domain/vmware/1.0}datacenterpath"
ONLY_DATACENTER = "ha-datacenter"
"""What an ESXi calls the one that it has."""
AS_OVA = gettext_noop("VirtualBox hands out no disks over libvirt: export the machine there as OVA, and import that.")
NOT_UNDERSTOOD = gettext_noop("Its definition is not understood.")
BY_A_KNOWN_AUTHORITY = gettext_noop(
    "Name it as its certificate does, and have the authority that signed that among those which this machine knows; or "
    "say that the certificate is not to be checked."
)
LOOK_AGAIN = gettext_noop("Look there again.")


# --- looking


def look_elsewhere(context: Context) -> Result:
    """List the machines of another hypervisor, and what each would be here."""
    spec = cast(ElsewhereSpec, context.spec)
    address = spec.address
    if not address.is_vmware:
        address = replace(address, keys=compared_keys(context, spec))
    with connected(address) as connection:
        names = connection.machines.names()
        offers = []
        for number, (uuid, name) in enumerate(islice(names.items(), MOST_MACHINES)):
            context.progress(gettext_noop("looking at its machines"), number, len(names))
            offers += read_offer(connection, address, uuid, name)
    offers.sort(key=lambda offer: (offer.name, offer.uuid))
    machines = [foreign.as_json(offer) for offer in offers]
    foreign.remember(context.operation, address, machines=machines, more=max(0, len(names) - MOST_MACHINES))
    return {"machines": len(names)}


def compared_keys(context: Context, spec: ElsewhereSpec) -> tuple[str, ...]:
    """The keys that it shows, which must be those that whoever asks has compared. Raises Failed."""
    offered = offered_keys(spec.address.host)
    if not offered:
        raise Failed(
            gettext_noop("No SSH server answers there: %(host)s.") % {"host": spec.hostname},
            gettext_noop("Correct its name or its port, or see that its firewall lets us in."),
        )
    if {fingerprint(key) for key in offered} == set(spec.fingerprints):
        return offered
    foreign.remember(context.operation, spec.address, offered=list(offered))
    if spec.fingerprints:
        raise Failed(gettext_noop("The host shows other keys by now than those that were compared."), LOOK_AGAIN)
    raise Failed(
        gettext_noop("Nobody has confirmed its key yet, so we have not signed in."),
        gettext_noop("Compare the key that it shows with what it says of itself."),
    )


@contextmanager
def connected(address: SourceAddress) -> Iterator[SourceConnection]:
    """The other hypervisor; that it cannot be reached ends the operation with what to do about that."""
    try:
        connection = connect_source(address)
    except HypervisorError as error:
        remedy = gettext_noop("See that the account there lets our key in, and may use libvirt.")
        if address.is_vmware:
            remedy = gettext_noop("Correct the address, the user or the password.")
            if isinstance(error, HostRefused) and not address.unverified and "certificate" in str(error):
                remedy = BY_A_KNOWN_AUTHORITY
        raise Failed(str(error), remedy) from None
    with connection:
        yield connection


def read_offer(connection: SourceConnection, address: SourceAddress, uuid: str, name: str) -> list[Offer]:
    """One machine; none where it has gone meanwhile. One that libvirt itself does not understand is listed as such."""
    try:
        return [offer_of(connection, address, connection.machines.read(uuid))]
    except NotFound:
        return []
    except (HostUnreachable, NotResponding):
        raise
    except HypervisorError as error:
        return [Offer(uuid, line(name), DomainState.UNKNOWN, why=str(error))]


def offer_of(connection: SourceConnection, address: SourceAddress, machine: SourceMachine) -> Offer:
    """What a machine would be here, its disks measured."""
    offer = told_by(machine, address.kind)
    appliance, why, disks = offer.appliance, offer.why, []
    for disk, place in zip(appliance.disks, offer.places, strict=True):
        found, reason = measured(connection, address, disk, place)
        disks.append(found)
        why = why or reason
    return replace(offer, appliance=replace(appliance, disks=tuple(disks)), why=why)


def told_by(machine: SourceMachine, kind: SourceKind) -> Offer:
    """What a definition says; nothing is asked of anybody."""
    name = line(machine.name)
    offer = Offer(machine.uuid, name, machine.state, Appliance(name=name))
    try:
        info = parse_domain(machine.xml)
    except InvalidSpec:
        return replace(offer, why=NOT_UNDERSTOOD)
    disks = [disk for disk in info.disks if disk.device in DISKS]
    if len({disk.target for disk in disks}) < len(disks):
        return replace(offer, why=NOT_UNDERSTOOD)
    found = described(info, {disk.target: Disk(line(disk.target), format_of(disk, kind)) for disk in disks})
    cards = [replace(card, network=line(card.network), model=line(card.model)) for card in found.cards]
    appliance = replace(
        found,
        name=name,
        # Anybody may have written these.
        memory_mib=max(0, found.memory_mib),
        vcpus=max(0, found.vcpus),
        os=short_id_of(info.os_id) or osinfo.system_of(name).id,
        disks=tuple(replace(disk, bus=disk.bus if disk.bus in BUSES else "") for disk in found.disks),
        cards=tuple(cards[:MOST_CARDS]),
        notes=notes_of(info),
    )
    places = tuple(disk.source for disk in disks)
    return replace(offer, appliance=appliance, places=places, why=why_not(machine, kind, disks))


def format_of(disk: DiskInfo, kind: SourceKind) -> str:
    """The format as the definition says it; of VMware's disks the flat bytes are what is brought."""
    return "raw" if kind in (SourceKind.ESX, SourceKind.VPX) else FORMATS.get(disk.format, line(disk.format))


def notes_of(info: DomainInfo) -> tuple[str, ...]:
    """What of it does not come along."""
    notes = []
    if info.firmware != Firmware.BIOS or any(device.kind == "tpm" for device in info.devices):
        notes.append(
            gettext_noop("The variables of its firmware and the state of its TPM do not come along: it begins anew.")
        )
    if info.machine == "xenpv" or (info.domain_type == "xen" and not info.arch):
        notes.append(gettext_noop("Xen runs it paravirtualised: it starts here only if its disk has a boot loader."))
    # What a driver adds under a name of its own (`vmware:datacenterpath`) is about the place it was at.
    unknown = [part for part in info.unparsed if ":" not in part]
    parts = [*(f"{one.kind} {one.address or one.ids}".strip() for one in info.handed), *unknown]
    if len(info.interfaces) > MOST_CARDS:
        notes.append(f"Of its network cards only the first {MOST_CARDS} are read.")
    parts += [disk.device for disk in info.disks if disk.device == "floppy"]
    return (*notes, *(f"It comes without this part: {line(part)}." for part in dict.fromkeys(parts)))[:50]


def why_not(machine: SourceMachine, kind: SourceKind, disks: list[DiskInfo]) -> str:
    """Why it cannot be imported, as far as its definition tells; empty when nothing is in the way."""
    if kind == SourceKind.VBOX:
        return AS_OVA
    if machine.state not in REST:
        return gettext_noop("It is not shut off: shut it down there first, so that its disks are whole.")
    if machine.saved:
        return gettext_noop(
            "Its memory lies saved there: start it and shut it down first, so that its disks are whole."
        )
    if len(disks) > MOST_DISKS:
        return gettext_noop("It has %(n)s disks: %(m)s at most.") % {"n": len(disks), "m": MOST_DISKS}
    for disk in disks:
        if not disk.source or "://" in disk.source:
            return gettext_noop("Its disk %(name)s is in no file and no volume there.") % {"name": line(disk.target)}
        if kind not in (SourceKind.ESX, SourceKind.VPX) and disk.format not in FORMATS:
            values = {"name": line(disk.target), "format": line(disk.format)}
            return gettext_noop("Its disk %(name)s is of the format %(format)s, which cannot be brought.") % values
    return ""


# --- disks


def measured(connection: SourceConnection, address: SourceAddress, disk: Disk, place: str) -> tuple[Disk, str]:
    """A disk with its size as far as it is told, and why it cannot be brought."""
    if address.kind == SourceKind.VBOX:
        return disk, ""
    try:
        _pool, info = volume_of(connection, address, place)
    except HypervisorError:
        if address.is_vmware:
            # Its datastores are asked once it is imported.
            return disk, ""
        return disk, gettext_noop(
            "Its disk %(file)s is in no running pool there: define a pool for its folder (virsh pool-define-as), start "
            "it, and look again."
        ) % {"file": line(place)}
    if address.is_vmware:
        return replace(disk, capacity=min(max(0, info.capacity), foreign.MOST_BYTES)), ""
    return replace(disk, capacity=capacity_of(info, disk.format)), why_not_disk(info, disk)


def capacity_of(info: VolumeInfo, kind: str) -> int:
    return length_of_file(info) if kind == "raw" else info.capacity


def why_not_disk(info: VolumeInfo, disk: Disk) -> str:
    if info.encrypted:
        return gettext_noop("Its disk %(name)s is encrypted.") % {"name": disk.file}
    if not 0 < info.capacity <= foreign.MOST_BYTES:
        return foreign.TOO_LARGE
    if info.backing_path and disk.format != "raw":
        values = {"name": disk.file}
        return (
            gettext_noop("Its disk %(name)s is a layer over another image: make it stand alone there first.") % values
        )
    return ""


def volume_of(connection: SourceConnection, address: SourceAddress, place: str) -> tuple[str, VolumeInfo]:
    if address.is_vmware or place.startswith("/"):
        return connection.machines.volume(place)
    pool, _slash, name = place.partition("/")
    return connection.machines.volume("", pool, name)


@dataclass(frozen=True)
class Away:
    """The bytes of a volume of another libvirt. A Part."""

    connection: SourceConnection
    machine: str
    pool: str
    name: str
    size: int
    within: bool = True

    def read(self, at: int, length: int) -> bytes:
        length = min(length, self.size - at)
        found = bytearray()
        if length > 0:
            self.connection.storage.download(self.pool, self.name, at, length, found.extend)
        return bytes(found)

    def extents(self, length: int) -> Iterator[Extent]:
        yield from self.connection.storage.extents(self.pool, self.name, 0, length)
        demand_rest(self.connection, self.machine)


@dataclass(frozen=True)
class OnDatastore:
    """The bytes of a disk on a datastore of VMware. A Part that is read from its beginning alone."""

    connection: SourceConnection
    machine: str
    flat: Flat
    way: fetching.Way
    within: bool = True

    @property
    def size(self) -> int:
        return self.flat.size

    def read(self, at: int, length: int) -> bytes:
        assert not length, "only an image of a format is looked into"
        return b""

    def extents(self, length: int) -> Iterator[Extent]:
        with in_its_words(), closing(fetching.open_by(self.flat.url, self.way)) as source:
            demand_size(source.size, self.flat)
            yield from source.read()
        demand_rest(self.connection, self.machine)


@contextmanager
def in_its_words() -> Iterator[None]:
    try:
        yield
    except fetching.NotFetched as error:
        raise Failed(str(error), error.remedy) from None


def demand_size(size: int, flat: Flat) -> None:
    if size != flat.size:
        raise Failed(gettext_noop("The disk on the datastore is not as large as its description says."))


def demand_rest(connection: SourceConnection, uuid: str) -> None:
    """Raise Failed where somebody has started it meanwhile: what was copied would be torn."""
    if connection.machines.read(uuid).state not in REST:
        raise Failed(
            gettext_noop("Somebody has started the machine there while its disks were copied: they would be torn."),
            gettext_noop("Shut it down there, and import it again."),
        )


# --- the import


@contextmanager
def opened_source(context: Context, spec: ImportSpec) -> Iterator[tuple[Contents, Parts]]:
    """A machine of another hypervisor as an import takes it, while the way there is open. Raises Failed."""
    source = foreign.source_of(spec.source)
    if source is None or source.operation.user_id != context.operation.user_id:
        raise Failed(gettext_noop("Who looked there may import from there, for a day."), LOOK_AGAIN)
    try:
        address = way_to_source(source)
    except CredentialsUnavailable as error:
        raise Failed(str(error)) from None
    with connected(address) as connection:
        context.progress(gettext_noop("looking at the machine"))
        machine = connection.machines.read(spec.machine or "")
        offer = offer_of(connection, address, machine)
        demand_same(source, offer)
        yield taken_from(connection, address, machine, offer)


def demand_same(source: SourceHost, offer: Offer) -> None:
    """Raise Failed where it cannot be imported (any more), or is not what was shown."""
    if offer.why:
        raise Failed(offer.why, LOOK_AGAIN)
    shown = foreign.offer_in(source, offer.uuid)
    kept = [shown.appliance.disks, shown.places, shown.appliance.cards] if shown else []
    if kept != [offer.appliance.disks, offer.places, offer.appliance.cards]:
        raise Failed(gettext_noop("The machine has changed there since it was shown."), LOOK_AGAIN)


def taken_from(
    connection: SourceConnection, address: SourceAddress, machine: SourceMachine, offer: Offer
) -> tuple[Contents, Parts]:
    """What is found, each disk with where its bytes are."""
    way = way_in(address)
    parts: dict[str, Part] = {}
    disks = []
    for disk, place in zip(offer.appliance.disks, offer.places, strict=True):
        if address.is_vmware:
            flat = flat_at(way, address, machine, place)
            parts[disk.file] = OnDatastore(connection, machine.uuid, flat, way)
            disks.append(replace(disk, capacity=flat.size))
        else:
            pool, info = volume_of(connection, address, place)
            parts[disk.file] = Away(connection, machine.uuid, pool, info.name, length_of_file(info))
            disks.append(disk)
    return Contents(replace(offer.appliance, disks=tuple(disks))), parts


def way_in(address: SourceAddress) -> fetching.Way:
    """How VMware's server is asked for files."""
    who = base64.b64encode(f"{address.user}:{address.password}".encode()).decode()
    return fetching.Way(anywhere=True, verified=not address.unverified, headers={"Authorization": f"Basic {who}"})


def flat_at(way: fetching.Way, address: SourceAddress, machine: SourceMachine, place: str) -> Flat:
    """Where the bytes of a disk are, by its description on the datastore. Raises Failed."""
    datacenter = text(tree_of(machine.xml), DATACENTER) or ONLY_DATACENTER
    with in_words(), in_its_words():
        url = foreign.datastore_url(address, datacenter, place)
        with closing(fetching.open_by(url, way)) as source:
            if source.size > MOST_DESCRIPTOR:
                raise NotUnderstood("The server sends something else than the description of a disk (VMDK).")
            description = b"".join(source.read())
        flat = foreign.flat_of(description, url)
        with closing(fetching.open_by(flat.url, way)) as source:
            demand_size(source.size, flat)
    return flat


RUNNERS = {"host.look_elsewhere": look_elsewhere}

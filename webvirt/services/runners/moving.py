"""The runners that make a machine of what is in a file, and put one into a file.

A file is a volume of the host: its bytes are looked at and copied there, through libvirt's streams, and what they are
converted to is made by libvirt. Disks of an appliance go through volumes of their own, half made and removed again.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import cast
from uuid import uuid4

from django.utils.translation import gettext_noop

from webvirt.hypervisor.errors import InvalidSpec
from webvirt.hypervisor.storage import StorageCalls
from webvirt.hypervisor.streams import written_out
from webvirt.hypervisor.types import DomainInfo, Extent, Firmware, VolumeInfo, VolumeSpec
from webvirt.hypervisor.xml.moving import Moved, Place, taken_in, taken_out
from webvirt.hypervisor.xml.parse import parse_domain
from webvirt.models import Domain, Host, Pool, Volume
from webvirt.services import appliances, belongings, inventory, operations, osinfo, ovf, uses, vhdx
from webvirt.services.appliances import BLOCK, DEFINITION, ENVELOPE, Contents, Member
from webvirt.services.catalogue import BY_KIND
from webvirt.services.catalogue.building import FILES, NewVolume, Plan, plan_of, source_in
from webvirt.services.catalogue.moving import ImportSpec, not_for_export, why_not_of, wish_of
from webvirt.services.ovf import Appliance, Card, Disk, NotUnderstood
from webvirt.services.runners.arrivals import demand_format, fill_new, or_hole, refuse_for_room
from webvirt.services.runners.context import Context, Failed, Result
from webvirt.services.runners.creation import at_their_paths, carry_out, make_volume, wait_for_name
from webvirt.services.runners.deletion import demand_off
from webvirt.services.runners.storage import beginning, length_of_file, refuse

NOT_KEPT = "The variables of its firmware and the state of its TPM are not in an export: it starts with new ones."
"""libvirt hands them to nobody."""
CONVERTIBLE = ("raw", "qcow2", "vmdk", "vdi", "vpc")
"""What libvirt knows by itself. It takes a VHD of fixed size for raw, and VHDX too."""


@dataclass(frozen=True)
class Stored:
    """Bytes of a volume on the host: `size` of them, from `offset` on."""

    calls: StorageCalls
    pool: Pool
    name: str
    offset: int
    size: int

    def read(self, at: int, length: int) -> bytes:
        """So many bytes from there on; fewer at the end."""
        length = min(length, self.size - at)
        found = bytearray()
        if length > 0:
            self.calls.download(self.pool.uuid, self.name, self.offset + at, length, found.extend)
        return bytes(found)

    def extents(self, length: int) -> Iterator[Extent]:
        """The first so many of them, holes told."""
        if length:
            yield from self.calls.extents(self.pool.uuid, self.name, self.offset, length)

    def part(self, member: Member) -> Stored:
        return replace(self, offset=self.offset + member.offset, size=member.size)


@contextmanager
def in_words() -> Iterator[None]:
    """What cannot be understood ends the operation with its sentence."""
    try:
        yield
    except NotUnderstood as error:
        raise Failed(str(error)) from None


# --- looking


def look_into(context: Context) -> Result:
    """Look which machine a volume holds, and keep it."""
    volume = context.volume
    context.progress(gettext_noop("looking into the file"))
    appliance = looked_into(volume, stored(context, volume))[0].appliance
    return {"disks": len(appliance.disks)}


def stored(context: Context, volume: Volume) -> Stored:
    refuse(why_not_of(volume))
    calls = context.connection.storage
    return Stored(calls, volume.pool, volume.name, 0, length_of_file(calls.volume(volume.pool.uuid, volume.name)))


def looked_into(volume: Volume, file: Stored) -> tuple[Contents, Moved | None]:
    """What is in the file, and the definition where it is an export of ours. Raises Failed."""
    name = volume.title or volume.name
    with in_words():
        found = appliances.contents_of(file.read, file.size, name)
        moved = definition_in(found, file) if found.appliance.is_own else None
        appliance = own_appliance(found, moved) if moved else found.appliance
        disks = tuple(figures_of(file, found, disk) for disk in appliance.disks)
        os = appliance.os or osinfo.system_of(name).id
    found = replace(found, appliance=replace(appliance, disks=disks, os=os))
    info = file.calls.volume(volume.pool.uuid, volume.name)
    inventory.remember_appliance(volume.pool, info, appliances.as_json(found.appliance))
    return found, moved


def definition_in(found: Contents, file: Stored) -> Moved:
    text = appliances.text_of(file.read, found.members[DEFINITION], found.digests, appliances.MOST_OF_A_DEFINITION)
    try:
        return taken_in(text.decode())
    except (UnicodeDecodeError, InvalidSpec):
        raise NotUnderstood("The definition in the export is damaged.") from None


def own_appliance(found: Contents, moved: Moved) -> Appliance:
    """What an export of ours holds, for people to read."""
    info = parse_domain(moved.xml)
    for disk in moved.disks:
        if disk.file not in found.members:
            raise NotUnderstood(f"The appliance names a file that is not in it: {disk.file}")
    notes = [f"Left out, since it is of another host: {', '.join(moved.left_out)}."] if moved.left_out else []
    if info.firmware != Firmware.BIOS or any(device.kind == "tpm" for device in info.devices):
        notes.append(NOT_KEPT)
    appliance = described(info, {disk.target: Disk(disk.file) for disk in moved.disks})
    cards = tuple(replace(card, network=name) for card, name in zip(appliance.cards, moved.networks, strict=True))
    return replace(appliance, cards=cards, notes=tuple(notes), is_own=True)


def described(info: DomainInfo, disks: dict[str, Disk]) -> Appliance:
    """A definition as an appliance; `disks` by target."""
    buses = {disk.target: disk.bus for disk in info.disks}
    return Appliance(
        name=info.name,
        memory_mib=info.memory_kib // 1024,
        vcpus=info.vcpus,
        firmware=info.firmware,
        disks=tuple(replace(disk, bus=buses.get(target, "")) for target, disk in disks.items()),
        cards=tuple(Card(card.source, card.model) for card in info.interfaces),
    )


def figures_of(file: Stored, found: Contents, disk: Disk) -> Disk:
    """A disk with the format that its bytes are of, whatever was said, and how large it is where nothing was."""
    if not disk.file and found.members:
        return disk
    part = part_of(file, found, disk)
    kind = appliances.kind_of(part.read, part.size)
    appliances.demand_image(kind)
    capacity = disk.capacity
    if kind == "vhdx":
        capacity = vhdx.layout_of(part.read).size
    elif kind in ("raw", "vpc-fixed"):
        capacity = length_in(part, kind)
    elif not found.members:
        capacity = file.calls.volume(file.pool.uuid, file.name).capacity
    return replace(disk, format=kind, capacity=capacity)


def part_of(file: Stored, found: Contents, disk: Disk) -> Stored:
    return file.part(found.members[disk.file]) if found.members else file


def length_in(part: Stored, kind: str) -> int:
    """How many bytes of it are the disk's."""
    return part.size - appliances.FOOTER if kind == "vpc-fixed" else part.size


# --- import


def import_domain(context: Context) -> Result:
    """Make a machine of a file: its disks, its definition, its first start."""
    host, spec = cast(Host, context.subject), cast(ImportSpec, context.spec)
    demand_fit(context, host, spec)
    volume = Volume.objects.select_related("pool__host").get(pk=spec.volume)
    file = stored(context, volume)
    context.progress(gettext_noop("looking into the file"))
    found, moved = looked_into(volume, file)
    # Now with what is really in it.
    demand_fit(context, host, spec)
    wish = wish_of(host, spec, found.appliance)
    plan = plan_of(host, wish, str(uuid4()))
    demand_room(context, plan, found)
    wait_for_name(context, host, wish.name)
    domain = inventory.expect_domain(host, plan.domain.uuid, wish.name, context.operation)
    bringing = Bringing(context, file, found)
    for number, (new, disk) in enumerate(zip(plan.volumes, found.appliance.disks, strict=True), 1):
        bringing.bring(new, disk, number)
    calls = context.connection
    infos = [calls.storage.volume(new.pool.uuid, new.name) for new in plan.volumes]
    if moved:
        place = place_of(plan, moved, infos)
        return carry_out(context, domain, wish, plan, lambda: calls.domains.define_moved(place, moved))
    real = {new.path: info.path for new, info in zip(plan.volumes, infos, strict=True)}
    definition = at_their_paths(plan.domain, real)
    return carry_out(context, domain, wish, plan, lambda: calls.domains.define(definition))


def demand_fit(context: Context, host: Host, spec: ImportSpec) -> None:
    if wrong := operations.misfits(context.operation.user, BY_KIND["domain.import"], host, spec):
        raise Failed(next(iter(wrong.values())))


def place_of(plan: Plan, moved: Moved, infos: list[VolumeInfo]) -> Place:
    """Where an export of ours comes to."""
    named = zip(moved.disks, plan.volumes, infos, strict=True)
    disks = {disk.target: (source_in(new.pool, new.name, info.path), new.format) for disk, new, info in named}
    return Place(plan.domain.name, plan.domain.uuid, plan.domain.type, disks, plan.domain.cards)


def demand_room(context: Context, plan: Plan, found: Contents) -> None:
    """See that there is room for the disks, as long as their files are, and for the largest once more on its way."""
    if not plan.volumes:
        return
    (summary,) = context.connection.storage.summaries([plan.volumes[0].pool.uuid])
    sizes = [found.members[disk.file].size for disk in found.appliance.disks if disk.file]
    on_its_way = 0 if found.appliance.is_own else max(sizes, default=0)
    refuse_for_room(sum(sizes) + on_its_way - summary.available)


@dataclass
class Bringing:
    """The disks of a file on their way into volumes of their own."""

    context: Context
    file: Stored
    found: Contents

    @property
    def calls(self) -> StorageCalls:
        return self.file.calls

    def bring(self, new: NewVolume, disk: Disk, number: int) -> None:
        """Make one volume of one disk: as it is in an export of ours, as qcow2 of all else."""
        if not disk.file and self.found.members:
            make_volume(self.context, new)
            return
        part = part_of(self.file, self.found, disk)
        if self.found.appliance.is_own:
            self.fill(new.pool, new.name, disk, part)
            demand_format(self.context, new.pool, new.name, disk.format)
        elif not self.found.members and disk.format in CONVERTIBLE:
            demand_format(self.context, part.pool, part.name, disk.format)
            self.convert(new, part.pool, part.name)
        else:
            self.by_way_of(new, disk, number, part)

    def by_way_of(self, new: NewVolume, disk: Disk, number: int, part: Stored) -> None:
        """Through a volume that holds this disk alone, of a format that libvirt knows; it is removed again."""
        kind = disk.format if disk.format in CONVERTIBLE else "raw"
        pool = new.pool if new.pool.type in FILES else part.pool
        name = f"import-{self.context.operation.pk}-disk{number}.{kind}"
        self.fill(pool, name, disk, part)
        demand_format(self.context, pool, name, kind)
        self.convert(new, pool, name)
        self.calls.delete_volume(pool.uuid, name)
        for row in Volume.objects.filter(pool=pool, name=name, making=self.context.operation):
            inventory.volume_is_removed(row)

    def fill(self, pool: Pool, name: str, disk: Disk, part: Stored) -> None:
        """Copy a disk's bytes, with their holes, and see that they are what the manifest says."""
        size = disk.capacity if disk.format == "vhdx" else length_in(part, disk.format)
        with in_words():
            fill_new(self.context, pool, name, size, self.extents(disk, part), gettext_noop("copying the disks"))

    def extents(self, disk: Disk, part: Stored) -> Iterator[Extent]:
        digest = appliances.Digest(disk.file, self.found.digests)
        if disk.format == "vhdx":
            yield from vhdx.contents_of(part.read, vhdx.layout_of(part.read))
            # That was not in the order of the file: for the manifest all of it is read once more.
            if digest.digest:
                self.calls.download(part.pool.uuid, part.name, part.offset, part.size, digest.update)
        else:
            length = length_in(part, disk.format)
            for extent in part.extents(length):
                for data in written_out(extent) if digest.digest else ():
                    digest.update(data)
                yield or_hole(extent) if isinstance(extent, bytes) else extent
            digest.update(part.read(length, part.size - length))
        digest.demand()

    def convert(self, new: NewVolume, pool: Pool, name: str) -> None:
        def progress(done: int, total: int) -> None:
            self.context.progress(gettext_noop("converting the disks"), done, total)

        with beginning(self.context, new.pool, new.name):
            wanted = VolumeSpec(new.name, 0, new.format)
            self.calls.clone_volume(new.pool.uuid, pool.uuid, name, wanted, progress)


# --- export


@dataclass(frozen=True)
class Leaving:
    """A disk on its way into a file: `name` is its member's."""

    target: str
    name: str
    volume: Volume
    info: VolumeInfo

    @property
    def size(self) -> int:
        return length_of_file(self.info)


def export(context: Context) -> Result:
    """Hand a machine that is off to who waits for it: a tar of its definition and its disks as they are."""
    domain, calls, sink = context.domain, context.connection, context.sink
    demand_off(context, domain)
    refuse(not_for_export(domain))
    leaving = disks_of(context, domain)
    texts = texts_of(calls.domains.read(domain.uuid).inactive_xml, leaving)
    sizes = [*(len(text) for text in texts.values()), *(one.size for one in leaving)]
    total = sum(BLOCK + size + len(appliances.padding_of(size)) for size in sizes) + len(appliances.END)
    sent = 0

    def report() -> None:
        context.progress(gettext_noop("sending"), sent, total)

    def hand_out(data: bytes) -> None:
        nonlocal sent
        sink.write(data, report)
        sent += len(data)
        report()

    sink.begin(f"{domain.name}.tar", total)
    for name, text in texts.items():
        hand_out(appliances.header_for(name, len(text)) + text + appliances.padding_of(len(text)))
    for one in leaving:
        hand_out(appliances.header_for(one.name, one.size))
        before = sent
        calls.storage.download(one.volume.pool.uuid, one.volume.name, 0, one.size, hand_out)
        if sent - before != one.size:
            raise Failed(gettext_noop("The volume has become smaller while it was sent."))
        hand_out(appliances.padding_of(one.size))
    hand_out(appliances.END)
    return {"bytes": total}


def disks_of(context: Context, domain: Domain) -> list[Leaving]:
    """Its disks as the host has them now. Raises Failed for one that cannot stand alone."""
    found: list[Leaving] = []
    for one in belongings.of(domain):
        if one.device not in uses.DISKS or one.volume is None:
            continue
        refuse(uses.volume_is_open(one.volume))
        info = context.connection.storage.inspect(one.volume.pool.uuid, one.volume.name)
        if info.backing_path or info.encrypted:
            raise Failed(gettext_noop("The image is encrypted or based on another file: make it stand alone first."))
        kind = "qcow2" if info.format == "qcow2" else "raw"
        found.append(Leaving(one.slot, f"disk{len(found) + 1}.{kind}", one.volume, info))
    return found


def texts_of(xml: str, leaving: list[Leaving]) -> dict[str, bytes]:
    """What is told of the machine: by OVF for others, by its definition for ourselves."""
    info = parse_domain(xml)
    disks = {one.target: Disk(one.name, one.name.rpartition(".")[2], one.info.capacity) for one in leaving}
    envelope = ovf.envelope_of(described(info, disks), {one.name: one.size for one in leaving})
    definition = taken_out(xml, {one.target: one.name for one in leaving})
    return {ENVELOPE: envelope, DEFINITION: definition.encode()}


RUNNERS = {"domain.import": import_domain, "domain.export": export, "volume.look_into": look_into}

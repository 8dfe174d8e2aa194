"""The runner that looks for a machine in a file: an image of a disk, an appliance, or an export of ours.

A file is a volume of the host: its bytes are looked at there, through libvirt's streams.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Protocol

from django.db.models import Q
from django.utils.translation import gettext_noop

from webvirt.hypervisor.errors import InvalidSpec
from webvirt.hypervisor.storage import StorageCalls
from webvirt.hypervisor.types import DomainInfo, Extent, Firmware
from webvirt.hypervisor.xml.moving import Moved, taken_in
from webvirt.hypervisor.xml.parse import parse_domain
from webvirt.models import Pool, Volume
from webvirt.services import appliances, inventory, osinfo, vhdx
from webvirt.services.appliances import DEFINITION, Contents, Digests, Member
from webvirt.services.catalogue.moving import why_not_of
from webvirt.services.catalogue.volumes import safe_name
from webvirt.services.ovf import Appliance, Card, Disk, NotUnderstood
from webvirt.services.runners.context import Context, Failed, Result
from webvirt.services.runners.storage import length_of_file, refuse

NOT_KEPT = "The variables of its firmware and the state of its TPM are not in an export: it starts with new ones."
"""libvirt hands them to nobody."""


class Part(Protocol):
    """The bytes of a disk, `size` of them, wherever they are. With `within` no volume of the host is just these."""

    @property
    def size(self) -> int: ...

    @property
    def within(self) -> bool: ...

    def read(self, at: int, length: int) -> bytes:
        """So many bytes from there on; fewer at the end."""
        ...

    def extents(self, length: int) -> Iterator[Extent]:
        """The first so many of them, holes told."""
        ...


@dataclass(frozen=True)
class Stored:
    """Bytes of a volume on the host: `size` of them, from `offset` on. A Part."""

    calls: StorageCalls
    pool: Pool
    name: str
    offset: int
    size: int
    within: bool = False
    """Whether it is but a part of the volume."""

    def read(self, at: int, length: int) -> bytes:
        length = min(length, self.size - at)
        found = bytearray()
        if length > 0:
            self.calls.download(self.pool.uuid, self.name, self.offset + at, length, found.extend)
        return bytes(found)

    def extents(self, length: int) -> Iterator[Extent]:
        if length:
            yield from self.calls.extents(self.pool.uuid, self.name, self.offset, length)

    def part(self, member: Member) -> Stored:
        return replace(self, offset=self.offset + member.offset, size=member.size, within=True)


Files = dict[str, Stored]
"""The files of an appliance by name, each where its bytes are; an image of a disk is the one file, without a name."""

Parts = Mapping[str, Part]
"""The same, wherever they are."""


@contextmanager
def in_words() -> Iterator[None]:
    """What cannot be understood ends the operation with its sentence."""
    try:
        yield
    except NotUnderstood as error:
        raise Failed(str(error)) from None


def look_into(context: Context) -> Result:
    """Look which machine a volume holds, and keep it."""
    return {"disks": len(look_for_machine(context, context.volume).disks)}


def look_for_machine(context: Context, volume: Volume) -> Appliance:
    """What a volume holds, known from then on. Raises Failed."""
    context.progress(gettext_noop("looking into the file"))
    found, _parts, _moved = looked_into(volume, stored(context, volume))
    return found.appliance


def stored(context: Context, volume: Volume) -> Stored:
    refuse(why_not_of(volume))
    return whole_of(context.connection.storage, volume)


def whole_of(calls: StorageCalls, volume: Volume) -> Stored:
    return Stored(calls, volume.pool, volume.name, 0, length_of_file(calls.volume(volume.pool.uuid, volume.name)))


def looked_into(volume: Volume, file: Stored) -> tuple[Contents, Files, Moved | None]:
    """What is in the file and where, and the definition where it is an export of ours. Raises Failed."""
    name = volume.title or volume.name
    with in_words():
        found = appliances.contents_of(file.read, file.size, name)
        moved = definition_in(found, file) if found.appliance.is_own else None
        appliance = own_appliance(found, moved) if moved else found.appliance
        if appliance.is_loose:
            found = replace(found, digests=digests_beside(volume, file))
            parts = parts_beside(volume, file.calls, appliance)
        else:
            parts = {member.name: file.part(member) for member in found.members.values()} or {"": file}
        disks = tuple(figures_of(parts, disk) for disk in appliance.disks)
        os = appliance.os or osinfo.system_of(name).id
    found = replace(found, appliance=replace(appliance, disks=disks, os=os))
    info = file.calls.volume(volume.pool.uuid, volume.name)
    inventory.remember_appliance(volume.pool, info, appliances.as_json(found.appliance))
    return found, parts, moved


def digests_beside(volume: Volume, file: Stored) -> Digests:
    """What the manifest beside an envelope says, which must be right of the envelope itself; nothing without one."""
    name = volume.title or volume.name
    there = beside(volume, f"{appliances.stem_of(name)}.mf")
    if there is None:
        return {}
    manifest = whole_of(file.calls, there)
    digests = appliances.digests_in(manifest.read(0, appliances.MOST_OF_A_MANIFEST))
    appliances.text_of(file.read, Member(name, 0, file.size), digests)
    return digests


def parts_beside(volume: Volume, calls: StorageCalls, appliance: Appliance) -> Files:
    """The volumes that an envelope names, in its own pool. Raises NotUnderstood for those that are not there."""
    wanted = {disk.file: beside(volume, disk.file) for disk in appliance.disks if disk.file}
    if missing := [name for name, there in wanted.items() if there is None]:
        raise NotUnderstood(f"These files of the appliance are not beside its description: {', '.join(missing)}")
    found = [there for there in wanted.values() if there]
    for there in found:
        refuse(why_not_of(there))
    return {name: whole_of(calls, there) for name, there in zip(wanted, found, strict=True)}


def beside(volume: Volume, name: str) -> Volume | None:
    """The volume in the same pool that a file of this name became: under its own name, or one as close as can be."""
    there = Volume.objects.filter(pool=volume.pool_id, missing_since=None).select_related("pool__host")
    exact = there.filter(Q(title=name) | Q(title="", name=name)).exclude(pk=volume.pk).order_by("-title", "pk")
    return exact.first() or there.filter(name=safe_name(name)).exclude(pk=volume.pk).first()


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
    cards = tuple(
        replace(card, network=name, mac="") for card, name in zip(appliance.cards, moved.networks, strict=True)
    )
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
        cards=tuple(Card(card.source, card.model, card.mac) for card in info.interfaces),
    )


def figures_of(parts: Files, disk: Disk) -> Disk:
    """A disk with the format that its bytes are of, whatever was said, and how large it is where nothing was."""
    part = parts.get(disk.file)
    if part is None:
        return disk
    kind = appliances.kind_of(part.read, part.size)
    appliances.demand_image(kind)
    capacity = disk.capacity
    if kind == "vhdx":
        capacity = vhdx.layout_of(part.read).size
    elif kind in ("raw", "vpc-fixed"):
        capacity = length_in(part, kind)
    elif not capacity and not part.within:
        capacity = part.calls.volume(part.pool.uuid, part.name).capacity
    return replace(disk, format=kind, capacity=capacity)


def length_in(part: Part, kind: str) -> int:
    """How many bytes of it are the disk's."""
    return part.size - appliances.FOOTER if kind == "vpc-fixed" else part.size


RUNNERS = {"volume.look_into": look_into}

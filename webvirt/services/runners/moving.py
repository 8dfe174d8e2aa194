"""The runner that makes a machine of a file.

Its bytes are copied on the host, through libvirt's streams, and what they are converted to is made by libvirt. Disks
within an appliance go through volumes of their own, half made and removed again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import cast
from uuid import uuid4

from django.utils.translation import gettext_noop

from webvirt.hypervisor.storage import StorageCalls
from webvirt.hypervisor.streams import written_out
from webvirt.hypervisor.types import Extent, VolumeInfo, VolumeSpec
from webvirt.hypervisor.xml.moving import Moved, Place
from webvirt.models import Host, Pool, Volume
from webvirt.services import appliances, inventory, operations, vhdx
from webvirt.services.appliances import Contents
from webvirt.services.catalogue import BY_KIND
from webvirt.services.catalogue.building import FILES, NewVolume, Plan, plan_of, source_in
from webvirt.services.catalogue.creation import taken_by
from webvirt.services.catalogue.moving import ImportSpec, wish_of
from webvirt.services.ovf import Disk
from webvirt.services.runners.appliances import Part, Parts, Stored, in_words, length_in, looked_into, stored
from webvirt.services.runners.arrivals import demand_format, fill_new, or_hole, refuse_for_room, reported
from webvirt.services.runners.context import Context, Failed, Result
from webvirt.services.runners.creation import at_their_paths, carry_out, expect, make_volume, wait_for_name
from webvirt.services.runners.foreign import opened_source
from webvirt.services.runners.storage import beginning

CONVERTIBLE = ("raw", "qcow2", "vmdk", "vdi", "vpc")
"""What libvirt knows by itself. It takes a VHD of fixed size for raw, and VHDX too."""


def import_domain(context: Context) -> Result:
    """Make a machine of a file: its disks, its definition, its first start."""
    host, spec = cast(Host, context.subject), cast(ImportSpec, context.spec)
    demand_fit(context, host, spec)
    if spec.source is not None:
        with opened_source(context, spec) as (found, parts):
            return made_of(context, host, spec, found, parts)
    volume = Volume.objects.select_related("pool__host").get(pk=spec.volume or 0)
    file = stored(context, volume)
    context.progress(gettext_noop("looking into the file"))
    found, files, moved = looked_into(volume, file)
    # Now with what is really in it.
    demand_fit(context, host, spec)
    return made_of(context, host, spec, found, files, moved)


def made_of(
    context: Context, host: Host, spec: ImportSpec, found: Contents, parts: Parts, moved: Moved | None = None
) -> Result:
    """Make the machine that was found, of its parts."""
    wish = wish_of(host, spec, found.appliance)
    context.reserve(taken_by(host, wish))
    plan = plan_of(host, wish, str(uuid4()))
    demand_room(context, plan, found, parts)
    wait_for_name(context, host, wish.name)
    domain = expect(context, host, plan.domain)
    bringing = Bringing(context, found, parts)
    for number, (new, disk) in enumerate(zip(plan.volumes, found.appliance.disks, strict=True), 1):
        bringing.bring(new, disk, number)
    calls = context.connection
    infos = [calls.storage.volume(new.pool.uuid, new.name) for new in plan.volumes]
    # The disks may be larger than the file says.
    context.reserve(replace(taken_by(host, wish), disk=sum(info.capacity for info in infos)))
    if moved:
        place = place_of(plan, moved, infos)
        return carry_out(context, domain, wish, plan, lambda: calls.domains.define_moved(place, moved))
    real = {new.path: info.path for new, info in zip(plan.volumes, infos, strict=True)}
    definition = at_their_paths(plan.domain, real)
    return carry_out(context, domain, wish, plan, lambda: calls.domains.define(definition))


def demand_fit(context: Context, host: Host, spec: ImportSpec) -> None:
    if wrong := operations.misfits(context.access, BY_KIND["domain.import"], host, spec):
        raise Failed(next(iter(wrong.values())))


def place_of(plan: Plan, moved: Moved, infos: list[VolumeInfo]) -> Place:
    """Where an export of ours comes to."""
    named = zip(moved.disks, plan.volumes, infos, strict=True)
    disks = {disk.target: (source_in(new.pool, new.name, info.path), new.format) for disk, new, info in named}
    return Place(plan.domain.name, plan.domain.uuid, plan.domain.type, disks, plan.domain.cards)


def demand_room(context: Context, plan: Plan, found: Contents, parts: Parts) -> None:
    """See that there is room for the disks, as long as their files are, and for the largest once more on its way."""
    if not plan.volumes:
        return
    (summary,) = context.connection.storage.summaries([plan.volumes[0].pool.uuid])
    files = [(disk, parts[disk.file]) for disk in found.appliance.disks if disk.file in parts]
    sizes = [part.size for _disk, part in files]
    is_own = found.appliance.is_own
    on_its_way = max((part.size for disk, part in files if not is_own and goes_by_way(disk, part)), default=0)
    refuse_for_room(sum(sizes) + on_its_way - summary.available)


def goes_by_way(disk: Disk, part: Part) -> bool:
    """Whether a disk is no volume that libvirt can convert as it is."""
    return part.within or disk.format not in CONVERTIBLE


@dataclass
class Bringing:
    """The disks of a file on their way into volumes of their own."""

    context: Context
    found: Contents
    parts: Parts

    @property
    def calls(self) -> StorageCalls:
        return self.context.connection.storage

    def bring(self, new: NewVolume, disk: Disk, number: int) -> None:
        """Make one volume of one disk: as it is in an export of ours, as qcow2 of all else."""
        part = self.parts.get(disk.file)
        if part is None:
            make_volume(self.context, new)
        elif self.found.appliance.is_own:
            self.fill(new.pool, new.name, disk, part)
            demand_format(self.context, new.pool, new.name, disk.format)
        elif goes_by_way(disk, part):
            self.by_way_of(new, disk, number, part)
        else:
            assert isinstance(part, Stored), "what is on no host of ours goes by way of a volume"
            self.demand_whole(disk, part)
            demand_format(self.context, part.pool, part.name, disk.format)
            self.convert(new, part.pool, part.name)

    def demand_whole(self, disk: Disk, part: Stored) -> None:
        """See that a volume is what the manifest says, where it says anything of it."""
        if disk.file in self.found.digests:
            with in_words():
                extents = self.extents(disk, part)
                for _extent in reported(self.context, extents, part.size, gettext_noop("copying the disks")):
                    pass

    def by_way_of(self, new: NewVolume, disk: Disk, number: int, part: Part) -> None:
        """Through a volume that holds this disk alone, of a format that libvirt knows; it is removed again."""
        kind = disk.format if disk.format in CONVERTIBLE else "raw"
        pool = part.pool if isinstance(part, Stored) and new.pool.type not in FILES else new.pool
        name = f"import-{self.context.operation.pk}-disk{number}.{kind}"
        self.fill(pool, name, disk, part)
        demand_format(self.context, pool, name, kind)
        self.convert(new, pool, name)
        drop_half_made(self.context, pool, name)

    def fill(self, pool: Pool, name: str, disk: Disk, part: Part) -> None:
        """Copy a disk's bytes, with their holes, and see that they are what the manifest says."""
        size = disk.capacity if disk.format == "vhdx" else length_in(part, disk.format)
        with in_words():
            extents, phase = self.extents(disk, part), gettext_noop("copying the disks")
            fill_new(self.context, pool, name, size, extents, phase, capacity=disk.capacity)

    def extents(self, disk: Disk, part: Part) -> Iterator[Extent]:
        digest = appliances.Digest(disk.file, self.found.digests)
        if disk.format == "vhdx":
            yield from vhdx.contents_of(part.read, vhdx.layout_of(part.read))
            # That was not in the order of the file: for the manifest all of it is read once more.
            if digest.digest and isinstance(part, Stored):
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

        with beginning(self.context, new.pool, new.name, new.capacity):
            wanted = VolumeSpec(new.name, 0, new.format)
            self.calls.clone_volume(new.pool.uuid, pool.uuid, name, wanted, progress)


def drop_half_made(context: Context, pool: Pool, name: str) -> None:
    """Remove a volume that was only on the way."""
    context.connection.storage.delete_volume(pool.uuid, name)
    for row in Volume.objects.filter(pool=pool, name=name, making=context.operation):
        inventory.volume_is_removed(row)


RUNNERS = {"domain.import": import_domain}

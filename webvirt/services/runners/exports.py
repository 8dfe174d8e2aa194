"""The runners that put a machine into a file: a bundle of ours that somebody fetches, or an appliance for others.

A bundle is its definition and its disks as they lie, so its length is known and it goes out as it is read. An appliance
(OVA) has its disks as VMDK, whose lengths nobody knows before they are written, and a tar tells lengths first. So it is
made as a volume of the host, where what comes first can be written last; from there it is downloaded like any other.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import cast

from django.utils.translation import gettext_noop

from webvirt.hypervisor.storage import StorageCalls
from webvirt.hypervisor.streams import length_of
from webvirt.hypervisor.types import DomainInfo, Extent, VolumeInfo, VolumeSpec
from webvirt.hypervisor.xml.moving import taken_out
from webvirt.hypervisor.xml.parse import parse_domain
from webvirt.models import Domain, Pool, Volume
from webvirt.services import appliances, belongings, inventory, operations, ovf, uses, vmdk
from webvirt.services.appliances import BLOCK, DEFINITION, END, ENVELOPE, header_for, padding_of
from webvirt.services.catalogue import BY_KIND
from webvirt.services.catalogue.moving import OvaSpec, names_in_ova, not_for_bundle, not_for_ova
from webvirt.services.ovf import Appliance, Disk
from webvirt.services.quotas import Amounts
from webvirt.services.runners.appliances import described, in_words, looked_into, whole_of
from webvirt.services.runners.arrivals import GIB
from webvirt.services.runners.context import Context, Failed, Result
from webvirt.services.runners.deletion import demand_off
from webvirt.services.runners.moving import drop_half_made
from webvirt.services.runners.storage import beginning, length_of_file, look_at_volumes, refuse
from webvirt.services.systems import short_id_of

FAMILY = "vmx-13"
"""The hardware that an appliance is for: of ESXi 6.5 and Workstation 14, and all since."""
LONGEST_SIZE = 2 * vmdk.MOST
SHA256 = "0" * 64


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


# --- a bundle


def export(context: Context) -> Result:
    """Hand a machine that is off to who waits for it: a tar of its definition and its disks as they are."""
    domain, calls, sink = context.domain, context.connection, context.sink
    demand_off(context, domain)
    refuse(not_for_bundle(domain))
    leaving = disks_of(context, domain)
    for one in leaving:
        if one.info.backing_path or one.info.encrypted:
            raise Failed(gettext_noop("The image is encrypted or based on another file: make it stand alone first."))
    texts = texts_of(calls.domains.read(domain.uuid).inactive_xml, leaving)
    sizes = [*(len(text) for text in texts.values()), *(one.size for one in leaving)]
    total = sum(BLOCK + size + len(padding_of(size)) for size in sizes) + len(END)
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
        hand_out(member_of(name, text))
    for one in leaving:
        hand_out(header_for(one.name, one.size))
        before = sent
        calls.storage.download(one.volume.pool.uuid, one.volume.name, 0, one.size, hand_out)
        if sent - before != one.size:
            raise shrunk()
        hand_out(padding_of(one.size))
    hand_out(END)
    return {"bytes": total}


def member_of(name: str, text: bytes) -> bytes:
    return header_for(name, len(text)) + text + padding_of(len(text))


def shrunk() -> Failed:
    return Failed(gettext_noop("The volume has become smaller while it was sent."))


def disks_of(context: Context, domain: Domain) -> list[Leaving]:
    """Its disks as the host has them now."""
    found: list[Leaving] = []
    for one in belongings.of(domain):
        if one.device not in uses.DISKS or one.volume is None:
            continue
        refuse(uses.volume_is_open(one.volume))
        info = context.connection.storage.inspect(one.volume.pool.uuid, one.volume.name)
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


# --- an appliance


def export_ova(context: Context) -> Result:
    """Make an appliance of a machine that is off, in a pool of its host."""
    domain, spec, calls = context.domain, cast(OvaSpec, context.spec), context.connection
    demand_off(context, domain)
    refuse(not_for_ova(domain))
    if wrong := operations.misfits(context.access, BY_KIND["domain.export_ova"], domain, spec):
        raise Failed(next(iter(wrong.values())))
    pool = Pool.objects.get(pk=spec.pool)
    names = names_in_ova(domain.name)
    leaving = [replace(one, name=names.disk(at)) for at, one in enumerate(disks_of(context, domain), 1)]
    with in_words():
        for one in leaving:
            vmdk.demand_possible(one.info.capacity)
    demand_room(context, pool, leaving)
    told = appliance_of(parse_domain(calls.domains.read(domain.uuid).inactive_xml), leaving)
    wanted = sum(one.info.allocation for one in leaving)
    context.reserve(Amounts(disk=wanted))
    with beginning(context, pool, spec.name, wanted):
        calls.storage.create_volume(pool.uuid, VolumeSpec(spec.name, BLOCK, "raw"))
    packing = Packing(context, pool, spec.name, told, sum(one.info.capacity for one in leaving))
    size = packing.pack(leaving, names.envelope, names.manifest)
    volume = whole(context, pool, spec.name)
    return {"volume": volume.name, "bytes": size}


def appliance_of(info: DomainInfo, leaving: list[Leaving]) -> Appliance:
    disks = {one.target: Disk(one.name, "vmdk", vmdk.sectors_of(one.info.capacity) * vmdk.SECTOR) for one in leaving}
    return replace(ovf.for_others(described(info, disks)), os=short_id_of(info.os_id))


def demand_room(context: Context, pool: Pool, leaving: list[Leaving]) -> None:
    """See that there is room for what the disks take up now, and for the largest once more that is read on its way."""
    (summary,) = context.connection.storage.summaries([pool.uuid])
    on_their_way = [one.info.allocation for one in leaving if not is_plain(one.info)]
    missing = sum(one.info.allocation for one in leaving) + max(on_their_way, default=0) - summary.available
    if missing > 0:
        raise Failed(
            gettext_noop("The pool has not enough room: %(gib)s GiB are missing.") % {"gib": f"{missing / GIB:.1f}"},
            gettext_noop("Delete what is not needed, or choose another pool."),
        )


def is_plain(info: VolumeInfo) -> bool:
    """Whether a volume's bytes are those of the disk."""
    return info.format in ("raw", "") and not info.backing_path


def whole(context: Context, pool: Pool, name: str) -> Volume:
    """Read what was made as an import would, before anybody gets it; what it holds is known from then on."""
    calls = context.connection.storage
    calls.refresh(pool.uuid)
    volume = Volume.objects.select_related("pool__host").get(pool=pool, name=name, making=context.operation)
    looked_into(volume, whole_of(calls, volume))
    # That has read how long it really is.
    volume.refresh_from_db()
    context.reserve(Amounts(disk=volume.capacity))
    inventory.volume_is_whole(pool, name, context.operation)
    look_at_volumes(calls, pool, name)
    return volume


@dataclass
class Packing:
    """An appliance as it is written, disk by disk; `total` is how many bytes all disks have."""

    context: Context
    pool: Pool
    name: str
    told: Appliance
    total: int
    done: int = 0
    digests: dict[str, str] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)

    @property
    def calls(self) -> StorageCalls:
        return self.context.connection.storage

    def pack(self, leaving: list[Leaving], envelope: str, manifest: str) -> int:
        """Write all of it; returns how long it is. What comes first is as long as it can be, and is written last."""
        longest = len(self.envelope({one.name: LONGEST_SIZE for one in leaving}))
        digests = {envelope: SHA256} | {one.name: SHA256 for one in leaving}
        at = len(member_of(envelope, bytes(longest)) + member_of(manifest, appliances.manifest_of(digests)))
        headers = []
        for number, one in enumerate(leaving, 1):
            size = self.disk(one, number, at + BLOCK)
            headers.append((at, header_for(one.name, size)))
            at += BLOCK + size
        self.send(at, [END])
        for place, header in headers:
            self.send(place, [header])
        # White space at the end of XML means nothing.
        text = self.envelope(self.sizes).ljust(longest, b"\n")
        digests = {envelope: hashlib.sha256(text).hexdigest()} | self.digests
        self.send(0, [member_of(envelope, text) + member_of(manifest, appliances.manifest_of(digests))])
        return at + len(END)

    def envelope(self, sizes: dict[str, int]) -> bytes:
        return ovf.envelope_of(self.told, sizes, FAMILY)

    def send(self, at: int, pieces: Iterable[bytes]) -> int:
        return self.calls.upload(self.pool.uuid, self.name, at, pieces)

    def disk(self, one: Leaving, number: int, at: int) -> int:
        """Write a disk, which is a whole number of blocks; one that is an image or a layer by way of a raw copy."""
        if is_plain(one.info):
            return self.send(at, self.deflated(one, one.volume.pool, one.volume.name))
        copy = f"export-{self.context.operation.pk}-disk{number}.raw"
        with beginning(self.context, self.pool, copy, one.info.capacity):
            wanted = VolumeSpec(copy, 0, "raw")
            self.calls.clone_volume(self.pool.uuid, one.volume.pool.uuid, one.volume.name, wanted, self.converting)
        size = self.send(at, self.deflated(one, self.pool, copy))
        drop_half_made(self.context, self.pool, copy)
        return size

    def converting(self, done: int, total: int) -> None:
        self.context.progress(gettext_noop("converting the disks"), done, total)

    def deflated(self, one: Leaving, pool: Pool, name: str) -> Iterator[bytes]:
        digest, size = hashlib.sha256(), 0
        contents = self.reported(self.calls.extents(pool.uuid, name, 0, one.info.capacity), one.info.capacity)
        for data in vmdk.written(contents, one.info.capacity, one.name):
            digest.update(data)
            size += len(data)
            yield data
        self.digests[one.name], self.sizes[one.name] = digest.hexdigest(), size

    def reported(self, extents: Iterable[Extent], capacity: int) -> Iterator[Extent]:
        ends = self.done + capacity
        for extent in extents:
            self.context.progress(gettext_noop("packing the disks"), self.done, self.total)
            yield extent
            self.done += length_of(extent)
        if self.done != ends:
            raise shrunk()


RUNNERS = {"domain.export": export, "domain.export_ova": export_ova}

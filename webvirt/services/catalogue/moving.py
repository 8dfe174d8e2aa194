"""The verbs by which machines come from files and go into them, and what an import takes."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import Annotated, Literal, Self

from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy
from pydantic import Field, StringConstraints, model_validator

from webvirt.hypervisor.addresses import shown_source
from webvirt.hypervisor.types import Bus, Firmware, SourceAddress
from webvirt.models import Domain, Host, Network, Pool, Role, Status, Volume
from webvirt.services import belongings, foreign, uses
from webvirt.services.appliances import from_json
from webvirt.services.catalogue.building import FILES, plan_of, supports_of
from webvirt.services.catalogue.creation import NOBODY, create_misfits, taken_by
from webvirt.services.catalogue.specs import InProject, NoParameters
from webvirt.services.catalogue.verb import (
    Group,
    Queue,
    Reach,
    Rows,
    Verb,
    nothing_on_the_host,
    project_of,
    project_or_its_own,
    shown_uri,
    virsh,
)
from webvirt.services.catalogue.volumes import VolumeName, safe_name
from webvirt.services.catalogue.wishes import (
    MOST_CARDS,
    CardWish,
    CreateDomainSpec,
    DiskWish,
    MachineName,
    MemoryMib,
    SystemId,
    Vcpus,
)
from webvirt.services.ovf import Appliance, Disk
from webvirt.services.phrases import said
from webvirt.services.quotas import Amounts
from webvirt.services.subjects import Subject
from webvirt.services.systems import Traits, traits_of

S = Status
CORRECTIONS = ("os", "vcpus", "memory_mib", "firmware", "bus")
MOST_VCPUS, LEAST_MIB, MOST_MIB = 1024, 32, 2**24


class ImportSpec(InProject):
    """A machine made of the file in a volume: an appliance (OVA), an export of ours, or the image of one disk.

    Or of a machine of another hypervisor: `source` is the number of the operation that looked there, `machine` its UUID
    there. It must be shut off, and is not changed.

    `pool` is where its disks go. What is left out or `auto` is as the file says: an export of ours comes back as it was
    and takes none of it but `cards`. These go in the file's order; left out, they are on the networks and bridges of
    the same names, and those that the host has not are left out.
    """

    volume: int | None = None
    source: int | None = None
    machine: Annotated[str, StringConstraints(pattern=r"^[0-9a-fA-F-]{36}$")] | None = None
    pool: int
    name: MachineName
    os: SystemId = ""
    vcpus: Vcpus | None = None
    memory_mib: MemoryMib | None = None
    firmware: Firmware | Literal["auto"] = "auto"
    bus: Bus | Literal["auto"] = "auto"
    cards: Annotated[list[CardWish], Field(max_length=MOST_CARDS)] | None = None
    start: bool = True

    @model_validator(mode="after")
    def of_one_thing(self) -> Self:
        if (self.volume is None) == (self.source is None) or (self.machine is None) != (self.source is None):
            raise ValueError("name the volume that it is made of, or the other hypervisor and the machine there")
        return self


class OvaSpec(InProject):
    """`pool` is the id of the pool of the machine's host that the appliance is made in, `name` its name there.

    Without a `project` it is in that of the machine, if one may make something there.
    """

    pool: int
    name: VolumeName


@dataclass(frozen=True)
class NamesInOva:
    """What the files in an appliance are called."""

    stem: str

    @property
    def envelope(self) -> str:
        return f"{self.stem}.ovf"

    @property
    def manifest(self) -> str:
        return f"{self.stem}.mf"

    def disk(self, number: int) -> str:
        return f"{self.stem}-disk{number}.vmdk"


def names_in_ova(name: str) -> NamesInOva:
    """Of a machine of that name; tars of old take no long ones."""
    return NamesInOva(safe_name(name)[:60].rstrip(".-") or "machine")


def appliance_in(volume: Volume | None) -> Appliance:
    """What a volume is known to hold; before anybody looked, one disk."""
    return from_json(volume.appliance) if volume and volume.appliance else Appliance(disks=(Disk(),))


def appliance_of(spec: ImportSpec) -> Appliance:
    """The machine that an import is of, as far as it is known."""
    if spec.source is None:
        return appliance_in(Volume.objects.filter(pk=spec.volume or 0).first())
    offer = foreign.offer_in(foreign.source_of(spec.source), spec.machine or "")
    return offer.appliance if offer else Appliance()


def wish_of(host: Host, spec: ImportSpec, appliance: Appliance) -> CreateDomainSpec:
    """The wish for the machine that an import makes; its disks are filled from the file."""
    os = spec.os or appliance.os
    traits = traits_of(os)
    bus = bus_for(spec, appliance, traits)
    told = min(max(appliance.memory_mib, LEAST_MIB), MOST_MIB) if appliance.memory_mib else traits.memory_kib // 1024
    return CreateDomainSpec(
        name=spec.name,
        project=spec.project,
        os=os,
        vcpus=spec.vcpus or min(appliance.vcpus, MOST_VCPUS) or 1,
        memory_mib=spec.memory_mib or told,
        disks=[disk_wish(spec.pool, disk, is_own=appliance.is_own) for disk in appliance.disks],
        cards=cards_for(host, appliance) if spec.cards is None else spec.cards,
        firmware=firmware_for(host, spec, appliance),
        machine="pc" if bus == Bus.IDE else "auto",
        bus=bus,
        start=spec.start,
    )


def disk_wish(pool: int, disk: Disk, *, is_own: bool) -> DiskWish:
    """An export's disk stays what it is; all others become qcow2."""
    return DiskWish(pool=pool, size=max(1, disk.capacity), format="raw" if is_own and disk.format == "raw" else "qcow2")


def bus_for(spec: ImportSpec, appliance: Appliance, traits: Traits) -> Bus | Literal["auto"]:
    """A guest starts from what it has drivers for: virtio where its system brings them, else what it was on before."""
    if spec.bus != "auto":
        return Bus(spec.bus)
    before = {disk.bus for disk in appliance.disks}
    if traits.id and traits.virtio_disk:
        return "auto"
    if Bus.IDE in before and len(appliance.disks) <= 4:
        return Bus.IDE
    return Bus.SATA if before & {"sata", "scsi", "ide", "nvme"} else "auto"


def firmware_for(host: Host, spec: ImportSpec, appliance: Appliance) -> Firmware:
    if spec.firmware != "auto":
        return Firmware(spec.firmware)
    is_secure = any(one.secure_boot for one in supports_of(host))
    return Firmware.EFI if appliance.firmware == Firmware.SECURE and not is_secure else Firmware(appliance.firmware)


def places_of(host: Host) -> dict[str, CardWish]:
    """Where a card can be on this host, by name: its networks, then its bridges."""
    bridges = [one["name"] for one in host.interfaces if one.get("type") == "bridge"]
    found = {name: CardWish(bridge=name) for name in bridges}
    networks = Network.objects.filter(host=host, missing_since=None).values_list("name", "pk")
    return found | {name: CardWish(network=pk) for name, pk in networks}


def cards_for(host: Host, appliance: Appliance) -> list[CardWish]:
    """Its cards where there is a network or bridge of the name on this host."""
    places = places_of(host)
    return [places[card.network] for card in appliance.cards if card.network in places][:MOST_CARDS]


def import_misfits(rows: Rows, host: Host, spec: ImportSpec) -> dict[str, str]:
    """What does not go with the host or with what the file is known to hold."""
    if wrong := machine_misfits(host, spec) if spec.source else volume_misfits(rows, host, spec):
        return wrong
    appliance = appliance_of(spec)
    if appliance.is_own:
        for name in CORRECTIONS:
            if getattr(spec, name) not in ("", "auto", None):
                return {name: str(_("An export of ours comes back as it was: change this afterwards."))}
    pool = rows("pool").filter(pk=spec.pool, host=host).first()
    if pool and pool.type not in FILES and any(disk.format == "qcow2" for disk in appliance.disks if appliance.is_own):
        return {"pool": str(_("In this pool a volume is the disk itself, and the export holds images."))}
    if pool and pool.type not in FILES and spec.source:
        return {
            "pool": str(_("What comes from another hypervisor goes into a pool of files first: choose such a one."))
        }
    wrong = create_misfits(rows, host, wish_of(host, spec, appliance))
    return {field_of(name): sentence for name, sentence in wrong.items()}


def volume_misfits(rows: Rows, host: Host, spec: ImportSpec) -> dict[str, str]:
    volume = rows("volume").filter(pk=spec.volume, pool__host=host).first()
    if volume is None:
        return {"volume": str(_("This volume is not on this host: copy it there first."))}
    if reason := why_not_of(volume):
        return {"volume": str(_("It cannot be imported: %(reason)s.") % {"reason": reason})}
    return {}


def machine_misfits(host: Host, spec: ImportSpec) -> dict[str, str]:
    source = foreign.source_of(spec.source)
    if source is None or source.operation.host_id != host.pk:
        return {"source": str(_("What was found there is not kept any more: look there again."))}
    offer = foreign.offer_in(source, spec.machine or "")
    if offer is None:
        return {"machine": str(_("There is no such machine on the other hypervisor."))}
    return {"machine": said(offer.why)} if offer.why else {}


def looked_there(host: Host, spec: ImportSpec) -> tuple[Reach, ...]:
    """Who imports from another hypervisor must be allowed to look there."""
    return (Reach("source", "host", host.pk, "host.look_elsewhere"),) if spec.source else ()


def why_not_of(volume: Volume) -> str:
    """Why nothing can be made of a volume's bytes, in a part of a sentence."""
    if volume.encrypted:
        return str(_("it is encrypted"))
    return uses.volume_is_open(volume)


def field_of(name: str) -> str:
    """The import's own name of a field of the wish."""
    return "pool" if name.startswith("disks") else "bus" if name in ("machine", "type") else name


def taken_by_import(host: Host, spec: ImportSpec) -> Amounts:
    """What a new machine takes of a quota, as far as what is in the file is known."""
    return taken_by(host, wish_of(host, spec, appliance_of(spec)))


def virsh_import(target: Subject, spec: ImportSpec) -> str:
    """The steps for an appliance; an image is converted where it is."""
    assert isinstance(target, Host)
    pool = Pool.objects.filter(pk=spec.pool).first()
    bring = lines_from_elsewhere if spec.source else lines_from_file
    lines = bring(target, spec, pool) if pool else []
    if not lines:
        return ""
    base, name = f"virsh -c {shlex.quote(shown_uri(target))}", shlex.quote(spec.name)
    lines.append(f"{base} define {shlex.quote(f'{spec.name}.xml')} --validate")
    return "\n".join([*lines, f"{base} start {name}"] if spec.start else lines)


def lines_from_file(target: Host, spec: ImportSpec, pool: Pool) -> list[str]:
    base = f"virsh -c {shlex.quote(shown_uri(target))}"
    volume = Volume.objects.filter(pk=spec.volume or 0).select_related("pool").first()
    if volume is None:
        return []
    appliance = appliance_in(volume)
    file, source, into = (shlex.quote(word) for word in (volume.name, volume.pool.name, pool.name))
    new = [shlex.quote(f"{one.name}.xml") for one in plan_of(target, wish_of(target, spec, appliance), NOBODY).volumes]
    disks = [shlex.quote(disk.file) for disk in appliance.disks if disk.file]
    if appliance.is_loose:
        lines = [
            f"{base} vol-create-from {into} {xml} {disk} --inputpool {source}"
            for disk, xml in zip(disks, new, strict=False)
        ]
    elif disks:
        lines = [f"{base} vol-download --sparse --pool {source} {file} {file}", f"tar -xf {file}"]
        for disk, xml in zip(disks, new, strict=False):
            lines += [
                f'{base} vol-create-as {into} {disk} "$(stat -c %s {disk})" --allocation 0 --format raw',
                f"{base} vol-upload --sparse --pool {into} {disk} {disk}",
                f"{base} pool-refresh {into}",
                f"{base} vol-create-from {into} {xml} {disk}",
                f"{base} vol-delete --pool {into} {disk}",
            ]
    else:
        lines = [f"{base} vol-create-from {into} {xml} {file} --inputpool {source}" for xml in new]
    return lines


def lines_from_elsewhere(target: Host, spec: ImportSpec, pool: Pool) -> list[str]:
    """Each disk is brought by libvirt, or by HTTPS from a datastore, and converted where it comes to."""
    base, into = f"virsh -c {shlex.quote(shown_uri(target))}", shlex.quote(pool.name)
    source = foreign.source_of(spec.source)
    offer = foreign.offer_in(source, spec.machine or "")
    if source is None or offer is None:
        return []
    lines = [f"virsh -c {shlex.quote(shown_source(source.address))} dumpxml {spec.machine}"]
    plan = plan_of(target, wish_of(target, spec, offer.appliance), NOBODY)
    for disk, place, new in zip(offer.appliance.disks, offer.places, plan.volumes, strict=True):
        file = shlex.quote(f"{disk.file}.img")
        lines += [
            line_to_bring(source.address, place, file),
            f'{base} vol-create-as {into} {file} "$(stat -c %s {file})" --allocation 0 --format raw',
            f"{base} vol-upload --sparse --pool {into} {file} {file}",
            f"{base} pool-refresh {into}",
            f"{base} vol-create-from {into} {shlex.quote(f'{new.name}.xml')} {file}",
            f"{base} vol-delete --pool {into} {file}",
        ]
    return lines


def line_to_bring(address: SourceAddress, place: str, file: str) -> str:
    """What brings a disk that is at this place of another hypervisor into a file."""
    if address.is_vmware:
        certificate = "k" if address.unverified else ""
        url = shlex.quote(foreign.shown_url(address, place))
        return f"curl -f{certificate} -u {shlex.quote(address.user)} -o {file} {url}"
    # A path, or a pool's name and a volume's.
    pool, _slash, name = place.partition("/")
    named = f"{shlex.quote(name)} --pool {shlex.quote(pool)}" if pool else shlex.quote(place)
    return f"virsh -c {shlex.quote(shown_source(address))} vol-download --sparse {named} {file}"


def virsh_export(target: Subject, spec: NoParameters) -> str:
    assert isinstance(target, Domain)
    name = shlex.quote(f"{target.name}.tar")
    volumes = [one.volume for one in belongings.of(target) if one.volume and one.device in uses.DISKS]
    lines = [f"{virsh('dumpxml --inactive')(target, spec)} > machine.xml"]
    lines += [f"{virsh('vol-download')(volume, spec)} {shlex.quote(volume.name)}" for volume in volumes]
    files = " ".join(shlex.quote(volume.name) for volume in volumes)
    return "\n".join([*lines, f"tar -cf {name} machine.xml {files}".rstrip()])


def ova_misfits(rows: Rows, domain: Domain, spec: OvaSpec) -> dict[str, str]:
    pool = rows("pool").filter(pk=spec.pool, host=domain.host_id).first()
    if pool is None:
        return {"pool": str(_("This pool is not on the machine's host."))}
    if pool.type not in FILES:
        return {"pool": str(_("In this pool a volume is a disk, and an appliance is a file."))}
    return {}


def taken_by_ova(domain: Domain, spec: OvaSpec) -> Amounts:
    """What an appliance takes of a quota, as far as it is known before it is written: what its disks take up."""
    volumes = belongings.disks_by_source(domain).values()
    return Amounts(disk=sum(volume.allocation for volume in volumes if volume is not None))


def virsh_ova(target: Subject, spec: OvaSpec) -> str:
    """Each disk as raw, then VMDK; the description is the one thing that no command writes."""
    assert isinstance(target, Domain)
    base = f"virsh -c {shlex.quote(shown_uri(target))}"
    pool = Pool.objects.filter(pk=spec.pool).first()
    if pool is None:
        return ""
    names, into, ova = names_in_ova(target.name), shlex.quote(pool.name), shlex.quote(spec.name)
    volumes = [one.volume for one in belongings.of(target) if one.volume and one.device in uses.DISKS]
    lines = []
    for at, volume in enumerate(volumes, 1):
        source, name = shlex.quote(volume.pool.name), shlex.quote(volume.name)
        lines += [
            f"{base} vol-create-from {into} disk{at}.raw.xml {name} --inputpool {source}",
            f"{base} vol-download --sparse --pool {into} disk{at}.raw disk{at}.raw",
            f"{base} vol-delete --pool {into} disk{at}.raw",
            f"qemu-img convert -f raw -O vmdk -o subformat=streamOptimized disk{at}.raw {names.disk(at)}",
        ]
    files = " ".join([names.envelope, names.manifest, *(names.disk(at) for at in range(1, len(volumes) + 1))])
    return "\n".join(
        [
            *lines,
            f"sha256sum --tag {files.replace(f'{names.manifest} ', '')} > {names.manifest}",
            f"tar --format=ustar -cf {ova} {files}",
            f'{base} vol-create-as {into} {ova} "$(stat -c %s {ova})" --allocation 0 --format raw',
            f"{base} vol-upload --pool {into} {ova} {ova}",
            f"{base} pool-refresh {into}",
        ]
    )


def not_for_ova(domain: Domain) -> str:
    """Why a machine cannot become an appliance, in a part of a sentence."""
    for source, volume in belongings.disks_by_source(domain).items():
        if volume is None:
            return str(_("its disk %(name)s is in no pool") % {"name": source})
        if volume.encrypted:
            return str(_("its disk %(name)s is encrypted") % {"name": volume.name})
    return ""


def not_for_bundle(domain: Domain) -> str:
    """Why a machine cannot go into a bundle, where its disks are as they lie, in a part of a sentence."""
    for volume in belongings.disks_by_source(domain).values():
        if volume is not None and volume.backing_path:
            return str(_("its disk %(name)s is a layer over another image: clone it first") % {"name": volume.name})
    return not_for_ova(domain)


def nothing_to_look_into(volume: Volume) -> str:
    return str(_("it is a CD or DVD")) if volume.is_iso else why_not_of(volume)


VERBS = (
    Verb(
        "domain.import",
        _("Import a machine"),
        Role.OWNER,
        virsh_import,
        spec=ImportSpec,
        exclusive=False,
        cancellable=True,
        queue=Queue.SLOW,
        group=Group.CHANGE,
        made_on="host",
        icon="package-import",
        reaches=looked_there,
        inside=True,
        into=project_of,
        takes=taken_by_import,
        misfits=import_misfits,
    ),
    Verb(
        "domain.export",
        pgettext_lazy("verb", "Export"),
        Role.OWNER,
        virsh_export,
        # Nobody may start it meanwhile: what is sent would be torn.
        states=frozenset({S.SHUTOFF, S.CRASHED}),
        cancellable=True,
        queue=Queue.BYTES,
        group=Group.CHANGE,
        icon="package-export",
        forbids=not_for_bundle,
    ),
    Verb(
        "domain.export_ova",
        _("Export as OVA"),
        Role.OWNER,
        virsh_ova,
        states=frozenset({S.SHUTOFF, S.CRASHED}),
        spec=OvaSpec,
        cancellable=True,
        queue=Queue.SLOW,
        group=Group.CHANGE,
        icon="package-export",
        host_role=Role.OWNER,
        forbids=not_for_ova,
        inside=True,
        into=project_or_its_own,
        takes=taken_by_ova,
        misfits=ova_misfits,
    ),
    Verb(
        "volume.look_into",
        _("Look for a machine in it"),
        Role.OWNER,
        nothing_on_the_host,
        exclusive=False,
        cancellable=True,
        queue=Queue.SLOW,
        group=Group.CHANGE,
        icon="zoom-scan",
        forbids=nothing_to_look_into,
    ),
)

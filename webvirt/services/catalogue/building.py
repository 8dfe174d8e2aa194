"""What becomes of a wish for a machine: the volumes that are made, and its definition. Nothing is touched here.

The page shows it before anything happens, and the runner carries it out, so that both are the same.
"""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace

from webvirt.hypervisor.types import (
    Bus,
    CardSpec,
    Clock,
    DiskSpec,
    DomainSpec,
    Firmware,
    Kernel,
    MachineSupport,
    PoolType,
    Source,
    VolumeSpec,
)
from webvirt.models import Host, Network, Pool, Secret, Volume
from webvirt.services import uses
from webvirt.services.catalogue.fetches import (
    Fetch,
    arguments_of,
    commands_for_fetches,
    fetches_of,
    image_of,
    installer_fetches,
)
from webvirt.services.catalogue.verb import shown_uri
from webvirt.services.catalogue.wishes import WITH_KERNEL, Begins, CreateDomainSpec, DiskWish
from webvirt.services.systems import Traits, traits_of

GIB = 2**30
FILES = (PoolType.DIR, PoolType.FS, PoolType.NETFS, PoolType.GLUSTER)
"""Where a volume is a file, and so may have a format."""
MAKEABLE = (*FILES, PoolType.LOGICAL, PoolType.RBD, PoolType.ZFS)
"""Where volumes are made under names that one chooses."""
ON_SERVERS = {PoolType.RBD: "rbd", PoolType.GLUSTER: "gluster"}
HEADROOM = 4
"""So many times its processors and memory a machine may be given while it runs, if the host has them."""
LEAST_HEADROOM_CPUS = 8
MOST_HEADROOM_CPUS = 64


@dataclass(frozen=True)
class NewVolume:
    """A volume to be made: empty, a copy of `origin`, or a layer over it. `capacity` in bytes."""

    pool: Pool
    name: str
    format: str
    capacity: int
    origin: Volume | None = None
    linked: bool = False

    @property
    def spec(self) -> VolumeSpec:
        """As the host is asked for it; of a copy the size comes from what is copied."""
        if self.origin and self.linked:
            base = self.origin
            return VolumeSpec(self.name, self.capacity, "qcow2", backing_path=base.path, backing_format=base.format)
        return VolumeSpec(self.name, 0 if self.origin else self.capacity, self.format)

    @property
    def path(self) -> str:
        """Where it will be, as far as can be told beforehand."""
        return path_in(self.pool, self.name)


def path_in(pool: Pool, name: str) -> str:
    """Where a volume of a pool is expected to be."""
    return f"{pool.info.get('target_path', '')}/{name}"


@dataclass(frozen=True)
class Plan:
    """Everything that is made for a machine."""

    domain: DomainSpec
    """Its definition, for good."""
    volumes: tuple[NewVolume, ...] = ()
    seed: NewVolume | None = None
    """The disc that tells it what it is to be."""
    kernel: Kernel | None = None
    """What it is started with the first time alone."""
    fetches: tuple[Fetch, ...] = ()
    """What is brought from the web first."""


def plan_of(host: Host, wish: CreateDomainSpec, uuid: str) -> Plan:
    """What is made for a wish that fits the host; `uuid` also decides on its MAC addresses."""
    traits = traits_of(wish.os)
    support = support_for(host, wish, traits)
    volumes = new_volumes(wish)
    seed = seed_of(wish)
    domain = DomainSpec(
        uuid=uuid,
        name=wish.name,
        title=wish.title,
        type=support.type,
        arch=support.arch,
        machine=support.machine,
        emulator=support.emulator,
        vcpus=wish.vcpus,
        memory_kib=wish.memory_mib * 1024,
        cpu=cpu_for(wish, support),
        os_url=traits.url,
        firmware=firmware_for(wish, traits, support),
        tpm=support.tpm and (traits.tpm if wish.tpm is None else wish.tpm),
        clock=Clock.LOCALTIME if traits.localtime else Clock.UTC,
        hyperv=traits.hyperv and support.type == "kvm",
        disks=disks_of(wish, traits, support, volumes, seed),
        cards=cards_of(wish, traits, support, uuid),
        video=video_for(traits, support),
        virtio_devices=has_drivers(wish, traits, traits.virtio_devices),
    )
    return Plan(with_headroom(domain, host, support), volumes, seed, kernel_of(wish), fetches_of(wish))


# --- what the host offers


def supports_of(host: Host) -> list[MachineSupport]:
    """What machines a host can run, the best first; empty where it does not tell."""
    return sorted(host.machines, key=lambda one: (one.type != "kvm", one.machine == "pc"))


def support_for(host: Host, wish: CreateDomainSpec, traits: Traits) -> MachineSupport:
    """The way to run that fits; the first that there is where none does, which `misfits` then refuses."""
    found = supports_of(host)
    fitting = [one for one in found if wish.type in ("auto", one.type) and wish.machine in ("auto", one.machine)]
    if wish.machine == "auto" and not traits.q35:
        fitting.sort(key=lambda one: one.machine == "q35")
    emulator = next(iter(host.info.get("emulators", [])), "/usr/bin/qemu-system-x86_64")
    fallback = MachineSupport("qemu", host.info.get("arch", "x86_64"), "q35", emulator, 255)
    return next(iter([*fitting, *found]), fallback)


def cpu_for(wish: CreateDomainSpec, support: MachineSupport) -> str:
    """The host's own processor where that is possible: nothing is faster."""
    if wish.cpu != "auto":
        return wish.cpu
    return next((mode for mode in ("host-passthrough", "maximum", "host-model") if mode in support.cpu_modes), "")


def firmware_for(wish: CreateDomainSpec, traits: Traits, support: MachineSupport) -> Firmware:
    """UEFI for what is installed anew and can start by it; what is there already may know nothing but BIOS."""
    if wish.firmware != "auto":
        return Firmware(wish.firmware)
    if traits.secure_boot and support.secure_boot:
        return Firmware.SECURE
    needs = not traits.bios or not support.arch.startswith(("x86", "i686"))
    installed = wish.begins in (Begins.DISC, *WITH_KERNEL, Begins.NETWORK) and bool(traits.id)
    return Firmware.EFI if support.efi and traits.efi and (needs or installed) else Firmware.BIOS


def video_for(traits: Traits, support: MachineSupport) -> str:
    wanted = ("virtio", "vga") if traits.virtio_video else ("vga", "virtio")
    return next((model for model in wanted if model in support.video_models), "vga")


def has_drivers(wish: CreateDomainSpec, traits: Traits, brings: bool) -> bool:
    """Whether it knows virtio: by itself, or with the drivers of a second disc."""
    return brings or (traits.is_windows and wish.drivers is not None)


def with_headroom(domain: DomainSpec, host: Host, support: MachineSupport) -> DomainSpec:
    """Room to grow while it runs, as far as the host has it and the system can be expected to take it."""
    if not domain.virtio_devices:
        return replace(domain, vcpus_max=domain.vcpus, memory_max_kib=domain.memory_kib)
    cpus = min(max(HEADROOM * domain.vcpus, LEAST_HEADROOM_CPUS), MOST_HEADROOM_CPUS)
    cpus = min(cpus, int(host.info.get("cpus", 0)), support.vcpus_max)
    memory = min(HEADROOM * domain.memory_kib, int(host.info.get("memory_kib", 0)) // 1024**2 * 1024**2)
    return replace(domain, vcpus_max=max(domain.vcpus, cpus), memory_max_kib=max(domain.memory_kib, memory))


# --- disks


def new_volumes(wish: CreateDomainSpec) -> tuple[NewVolume, ...]:
    """The volumes of its new disks; the first is made of the image, where it begins with one."""
    pools = {pool.pk: pool for pool in Pool.objects.filter(pk__in={disk.pool for disk in wish.disks})}
    image = image_of(wish)
    found = []
    for number, disk in enumerate(wish.disks):
        if pool := pools.get(disk.pool):
            found.append(new_volume(wish, number, disk, pool, image if number == 0 else None))
    return tuple(found)


def new_volume(wish: CreateDomainSpec, number: int, disk: DiskWish, pool: Pool, image: Volume | None) -> NewVolume:
    is_file = pool.type in FILES
    kind = "qcow2" if image and wish.linked else disk.format if is_file else "raw"
    place = "" if number == 0 else f"-{number + 1}"
    name = f"{wish.name}{place}.{kind}" if is_file else f"{wish.name}{place}"
    capacity = max(disk.size or 0, image.capacity if image else 0)
    return NewVolume(pool, name, kind, capacity, image, linked=bool(image) and wish.linked)


def seed_of(wish: CreateDomainSpec) -> NewVolume | None:
    """The disc with what the guest is told at its first start: in the pool of its first disk."""
    return seed_in(seed_pool(wish), wish.name) if wish.setup else None


def seed_in(pool: Pool | None, name: str) -> NewVolume | None:
    """Such a disc, for a machine of that name."""
    return None if pool is None else NewVolume(pool, f"{name}-setup.iso", "raw", 0)


def seed_pool(wish: CreateDomainSpec) -> Pool | None:
    if wish.disks:
        return Pool.objects.filter(pk=wish.disks[0].pool).first()
    volume = volumes_named(wish).get(wish.volume)
    return volume.pool if volume else None


def disks_of(
    wish: CreateDomainSpec,
    traits: Traits,
    support: MachineSupport,
    volumes: tuple[NewVolume, ...],
    seed: NewVolume | None,
) -> tuple[DiskSpec, ...]:
    """Its disks, then its drives. It starts from the first disk, and while that is empty from the disc."""
    drive = Bus.IDE if support.machine == "pc" else Bus.SATA if support.machine == "q35" else Bus.SCSI
    own = Bus.VIRTIO if has_drivers(wish, traits, traits.virtio_disk) else drive
    bus = own if wish.bus == "auto" else Bus(wish.bus)
    named = volumes_named(wish)
    disks = []
    if wish.begins == Begins.VOLUME and (volume := named.get(wish.volume)):
        disks.append(DiskSpec(source_of(volume), volume.format or "raw", bus=bus, luks=luks_of(volume)))
    disks += [DiskSpec(source_in(new.pool, new.name, new.path), new.format, bus=bus) for new in volumes]
    disks[:1] = [replace(disk, boot=1) for disk in disks[:1]]
    if wish.begins == Begins.DISC and (disc := named.get(wish.volume)):
        disks.append(DiskSpec(source_of(disc), "raw", "cdrom", drive, boot=2))
    if seed:
        # Kernels that are made for clouds know virtio alone, and not the SATA of a q35.
        bus = Bus.SCSI if traits.virtio_disk and not traits.is_windows else drive
        disks.append(DiskSpec(source_in(seed.pool, seed.name, seed.path), "raw", "cdrom", bus))
    if drivers := named.get(wish.drivers):
        disks.append(DiskSpec(source_of(drivers), "raw", "cdrom", drive))
    if all(disk.device != "cdrom" for disk in disks):
        # For a disc that is put in later; of an empty machine it is what it starts from then.
        disks.append(DiskSpec(None, "raw", "cdrom", drive, boot=2 if wish.begins == Begins.EMPTY else 0))
    return tuple(disks)


def volumes_named(wish: CreateDomainSpec) -> Mapping[int | None, Volume]:
    """The volumes that a wish names, by id."""
    named = [pk for pk in (wish.volume, wish.drivers, wish.kernel, wish.initrd) if pk is not None]
    return {volume.pk: volume for volume in Volume.objects.filter(pk__in=named).select_related("pool")}


def source_of(volume: Volume) -> Source:
    return source_in(volume.pool, volume.name, volume.path, is_block=volume.kind == "block")


def source_in(pool: Pool, name: str, path: str, *, is_block: bool = False) -> Source:
    """Where a volume's bytes are: a path on the host, or an image on the pool's servers."""
    if pool.type == PoolType.RBD or (pool.type == PoolType.GLUSTER and not path.startswith("/")):
        info = pool.info
        folder = info.get("source_name", "")
        return Source(
            protocol=ON_SERVERS[PoolType(pool.type)],
            name=f"{folder}/{name}",
            hosts=tuple(info.get("source_hosts", ())),
            user=info.get("auth_user", ""),
            secret=secret_uuid(pool),
        )
    return Source(path=path, is_block=is_block or pool.type not in FILES)


def secret_uuid(pool: Pool) -> str:
    """Of the secret that a pool signs in with, which it may name by what it belongs to."""
    named = pool.info.get("auth_secret", "")
    row = Secret.objects.filter(host=pool.host_id, usage_id=named, missing_since=None).first() if named else None
    return row.uuid if row else named


def luks_of(volume: Volume) -> str:
    secret = uses.secret_of(volume)
    return secret.uuid if secret else ""


def kernel_of(wish: CreateDomainSpec) -> Kernel | None:
    """What an installer starts with; of one that is fetched, where it is expected."""
    if wish.begins == Begins.TREE:
        paths = [path_in(fetch.pool, fetch.name) for fetch in installer_fetches(wish)]
        return Kernel(paths[0], paths[1] if len(paths) > 1 else "", arguments_of(wish)) if paths else None
    named = volumes_named(wish)
    kernel, initrd = named.get(wish.kernel), named.get(wish.initrd)
    return Kernel(kernel.path, initrd.path if initrd else "", arguments_of(wish)) if kernel else None


# --- cards


def cards_of(wish: CreateDomainSpec, traits: Traits, support: MachineSupport, uuid: str) -> tuple[CardSpec, ...]:
    brings = has_drivers(wish, traits, traits.virtio_net)
    model = "virtio" if brings else "e1000" if support.machine == "pc" else "e1000e"
    names = dict(Network.objects.filter(pk__in=[c.network for c in wish.cards if c.network]).values_list("pk", "name"))
    boots = wish.begins == Begins.NETWORK
    return tuple(
        CardSpec(
            network=names.get(card.network, "") if card.network else "",
            bridge=card.bridge,
            mac=card.mac or mac_of(uuid, number),
            model=model,
            filter=card.filter,
            boot=2 if boots and number == 0 else 0,
        )
        for number, card in enumerate(wish.cards)
    )


def mac_of(uuid: str, number: int) -> str:
    """A card's MAC address in QEMU's range, the same for the same machine."""
    tail = hashlib.sha256(f"{uuid}/{number}".encode()).hexdigest()
    return f"52:54:00:{tail[:2]}:{tail[2:4]}:{tail[4:6]}"


# --- in words


def commands_of(host: Host, wish: CreateDomainSpec, plan: Plan) -> str:
    """The equivalent with virsh, a line for each step."""
    base = f"virsh -c {shlex.quote(shown_uri(host))}"
    lines = [*commands_for_fetches(wish), *(command_for(base, volume) for volume in plan.volumes)]
    lines += commands_for_seed(base, plan.seed)
    name = shlex.quote(wish.name)
    definition = shlex.quote(f"{wish.name}.xml")
    lines.append(f"{base} define {definition} --validate")
    if wish.autostart:
        lines.append(f"{base} autostart {name}")
    if wish.start:
        lines.append(f"{base} start {name}")
    return "\n".join(lines)


def commands_for_seed(base: str, seed: NewVolume | None) -> list[str]:
    if seed is None:
        return []
    pool, name = shlex.quote(seed.pool.name), shlex.quote(seed.name)
    return [
        f"cloud-localds {name} user-data.yaml meta-data.yaml --network-config network-config.yaml",
        f'{base} vol-create-as {pool} {name} "$(stat -c %s {name})" --format raw',
        f"{base} vol-upload --pool {pool} {name} {name}",
    ]


def command_for(base: str, new: NewVolume) -> str:
    pool, name, image = shlex.quote(new.pool.name), shlex.quote(new.name), new.origin
    if image is None:
        return f"{base} vol-create-as {pool} {name} {new.capacity} --format {new.format}"
    if new.linked:
        words = f"--backing-vol {shlex.quote(image.path)} --backing-vol-format {image.format}"
        return f"{base} vol-create-as {pool} {name} {new.capacity} --format qcow2 {words}"
    source = f"{shlex.quote(image.name)} --inputpool {shlex.quote(image.pool.name)}"
    copied = f"{base} vol-create-from {pool} {shlex.quote(f'{new.name}.xml')} {source}"
    grown = f"\n{base} vol-resize --pool {pool} {name} {new.capacity}" if new.capacity > image.capacity else ""
    return copied + grown

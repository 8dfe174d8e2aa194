"""The verb that makes a machine, and what of a wish does not go with its host."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from webvirt.hypervisor.domain_rules import check_domain
from webvirt.hypervisor.errors import InvalidSpec
from webvirt.hypervisor.types import DomainSpec, Firmware
from webvirt.models import ENDED_BADLY, Domain, Host, PoolStatus, Role, Volume
from webvirt.services import uses
from webvirt.services.catalogue.building import (
    MAKEABLE,
    NewVolume,
    commands_of,
    new_volumes,
    plan_of,
    seed_pool,
    supports_of,
)
from webvirt.services.catalogue.fetches import catalogue_image, image_of, pool_of_files, reaches_of
from webvirt.services.catalogue.verb import Group, Queue, Rows, Verb, project_of
from webvirt.services.catalogue.wishes import Begins, CardWish, CreateDomainSpec, SetupWish
from webvirt.services.phrases import said
from webvirt.services.quotas import Amounts
from webvirt.services.seeds import cloudinit, windows
from webvirt.services.seeds.cloudinit import Address, CloudInit
from webvirt.services.seeds.logins import check_password
from webvirt.services.seeds.windows import Unattended, Windows
from webvirt.services.subjects import Subject

Wrong = Iterator[tuple[str, Promise | str]]
"""Fields, each with a sentence of what is wrong with it."""
NOBODY = "00000000-0000-4000-8000-000000000000"
"""In place of the UUID of a machine that is not made yet."""
WINDOWS = {
    "win10": Windows.W10,
    "win11": Windows.W11,
    "win2k19": Windows.SERVER_2019,
    "win2k22": Windows.SERVER_2022,
    "win2k25": Windows.SERVER_2025,
}
"""Whose installers take our answers, by osinfo's short id."""
OPEN = (PoolStatus.RUNNING, PoolStatus.DEGRADED)


def create_misfits(rows: Rows, host: Host, wish: CreateDomainSpec) -> dict[str, str]:
    """What a new machine is made of: all on its host, and good for it."""
    found = [
        *wrong_names(host, wish.name, new_volumes(wish)),
        *wrong_volumes(rows, host, wish),
        *wrong_fetches(host, wish),
        *wrong_disks(rows, host, wish),
        *wrong_cards(rows, host, wish.cards),
        *wrong_machine(host, wish),
    ]
    if not found:
        found = [*wrong_setup(host, wish), *wrong_definition(host, wish)]
    # The first thing that is wrong with a field is what one reads.
    return {name: str(sentence) for name, sentence in reversed(found)}


def wrong_names(host: Host, name: str, volumes: Iterable[NewVolume]) -> Wrong:
    """That of a new machine, and of its volumes."""
    # What was left half made is being removed: who asks again gets its name.
    namesakes = Domain.objects.filter(host=host, name=name, missing_since=None)
    if namesakes.exclude(making__state__in=ENDED_BADLY).exists():
        yield "name", _("There is a machine of this name on this host already.")
    for new in volumes:
        there = Volume.objects.filter(pool=new.pool, name=new.name, missing_since=None)
        if there.exclude(making__state__in=ENDED_BADLY).exists():
            values = {"name": new.name, "pool": new.pool.name}
            yield "name", _("Its disk would be %(name)s, and the pool %(pool)s has a volume of this name.") % values


def wrong_volumes(rows: Rows, host: Host, wish: CreateDomainSpec) -> Wrong:
    here = {row.pk: row for row in rows("volume").filter(pool__host=host, pk__in=ids_of(wish))}
    for field in ("volume", "kernel", "initrd", "drivers"):
        pk = getattr(wish, field)
        volume = here.get(pk)
        if pk is not None and volume is None:
            yield field, _("This volume is not on this host: copy it there first.")
        elif volume and (reason := uses.volume_is_half_made(volume)):
            yield field, _("It cannot be used: %(reason)s.") % {"reason": reason}
    if volume := here.get(wish.volume) if wish.volume else None:
        yield from wrong_beginning(wish, volume)


def wrong_fetches(host: Host, wish: CreateDomainSpec) -> Wrong:
    """Why what has to come from the web cannot."""
    field = "tree" if wish.begins == Begins.TREE else "cloud_image"
    if wish.begins == Begins.IMAGE and wish.cloud_image is not None:
        image = catalogue_image(wish)
        if image is None:
            yield field, _("There is no such image in the catalogue (any more).")
            return
        if image.arch != host.info.get("arch", image.arch):
            yield field, _("This image is for machines of the architecture %(arch)s.") % {"arch": image.arch}
        made_of = image_of(wish)
        if made_of and made_of.pk:
            yield from wrong_beginning(wish, made_of)
            return
    elif wish.begins != Begins.TREE:
        return
    pool = pool_of_files(wish)
    if pool is None or pool.status not in OPEN:
        yield field, _("There is no pool on this host for files: what comes from the web is one.")


def ids_of(wish: CreateDomainSpec) -> set[int]:
    return {pk for pk in (wish.volume, wish.kernel, wish.initrd, wish.drivers) if pk is not None}


def wrong_beginning(wish: CreateDomainSpec, volume: Volume) -> Wrong:
    """Why a machine cannot begin with a volume in the way that was wished for."""
    if wish.begins == Begins.DISC and not volume.is_iso:
        yield "volume", _("This is no CD or DVD.")
    if wish.begins == Begins.VOLUME and (reason := uses.volume_in_use(volume)):
        yield "volume", _("It cannot be its disk: %(reason)s.") % {"reason": reason}
    if wish.begins != Begins.IMAGE:
        return
    if reason := uses.volume_is_open(volume):
        yield "volume", _("It cannot be copied: %(reason)s.") % {"reason": reason}
    if volume.encrypted:
        yield "volume", _("It is encrypted: clone it first, and begin with the clone.")
    if wish.linked and (machines := [use.name for use in uses.uses_of(volume) if use.noun == "domain"]):
        values = {"names": uses.used_by(list(dict.fromkeys(machines)))}
        yield "linked", _("It is a disk of %(names)s, which writes to it: take a full copy.") % values
    if wish.linked and volume.format not in ("qcow2", "raw"):
        yield "linked", _("Only over qcow2 and raw there can be a layer.")
    size = wish.disks[0].size
    if size is not None and size < volume.capacity:
        yield "disks.0.size", _("The image is larger: a disk cannot be made smaller than what it holds.")


def wrong_disks(rows: Rows, host: Host, wish: CreateDomainSpec) -> Wrong:
    pools = {row.pk: row for row in rows("pool").filter(host=host, pk__in=[disk.pool for disk in wish.disks])}
    for number, disk in enumerate(wish.disks):
        pool, field = pools.get(disk.pool), f"disks.{number}.pool"
        if pool is None:
            yield field, _("This pool is not on this host.")
        elif pool.status not in OPEN:
            yield field, _("This pool is not running: start it first.")
        elif pool.type not in MAKEABLE:
            yield (
                field,
                _("In a pool of this type no disk can be made under a name: make one there, and begin with it."),
            )
        elif wish.linked and number == 0 and pool.type not in MAKEABLE[:4]:
            yield "linked", _("In this pool a volume is the disk itself: take a full copy.")
    if wish.setup and seed_pool(wish) is None:
        yield "setup", _("There is no pool for the disc with these settings: give the machine a disk.")


def wrong_cards(rows: Rows, host: Host, cards: Sequence[CardWish | None]) -> Wrong:
    """Cards on what the host has not; None in the place of one that there is not to be."""
    asked = [card.network for card in cards if card and card.network]
    here = set(rows("network").filter(host=host, pk__in=asked).values_list("pk", flat=True))
    filters = set(rows("filter").filter(host=host).values_list("name", flat=True))
    bridges = {one["name"] for one in host.interfaces if one.get("type") == "bridge"}
    for number, card in enumerate(cards):
        if card is None:
            continue
        if card.network and card.network not in here:
            yield f"cards.{number}.network", _("This network is not on this host.")
        if card.bridge and bridges and card.bridge not in bridges:
            yield f"cards.{number}.bridge", _("This host has no bridge of this name.")
        if card.filter and card.filter not in filters:
            yield f"cards.{number}.filter", _("This host has no filter of this name.")


def wrong_machine(host: Host, wish: CreateDomainSpec) -> Wrong:
    """What the host cannot run, with what it lacks."""
    found = supports_of(host)
    if not found:
        return
    if wish.type != "auto" and wish.type not in {one.type for one in found}:
        yield "type", _("This host cannot run %(type)s.") % {"type": wish.type}
    if wish.machine != "auto" and wish.machine not in {one.machine for one in found}:
        yield "machine", _("This host has no such machine type.")
    if wish.firmware == Firmware.EFI and not any(one.efi for one in found):
        yield "firmware", _("This host has no UEFI firmware: install OVMF there (package ovmf or edk2-ovmf).")
    if wish.firmware == Firmware.SECURE and not any(one.secure_boot for one in found):
        yield "firmware", _("This host has no firmware with secure boot: install OVMF there (ovmf or edk2-ovmf).")
    if wish.tpm and not any(one.tpm for one in found):
        yield "tpm", _("This host has no TPM for machines: install swtpm there (swtpm-tools).")
    if wish.vcpus > max(one.vcpus_max for one in found):
        yield "vcpus", _("This host runs no machine with so many processors.")
    total = int(host.info.get("memory_kib", 0))
    if total and wish.memory_mib * 1024 > total:
        gib = f"{total / 1024**2:.1f}"
        yield "memory_mib", _("This host has %(gib)s GiB of memory in all.") % {"gib": gib}


def wrong_setup(host: Host, wish: CreateDomainSpec) -> Wrong:
    if wish.setup is None:
        return
    try:
        check_password(wish.password.get_secret_value())
        files_for(wish, plan_of(host, wish, NOBODY).domain)
    except ValueError as error:
        yield "setup", said(str(error))


def wrong_definition(host: Host, wish: CreateDomainSpec) -> Wrong:
    """What no definition can hold, by the rules that it is made by."""
    try:
        check_domain(plan_of(host, wish, NOBODY).domain)
    except InvalidSpec as error:
        yield "", said(str(error))


def files_for(wish: CreateDomainSpec, domain: DomainSpec, password_hash: str = "") -> tuple[dict[str, bytes], str]:
    """The files that tell a guest at its first start what it is to be, and the label of their disc. ValueError."""
    if system := WINDOWS.get(wish.os):
        return {windows.FILE: windows.answer_file(answers_for(wish, domain, system))}, windows.LABEL
    assert wish.setup is not None
    macs = [card.mac for card in domain.cards]
    return cloud_files_for(wish.setup, wish.name, domain.uuid, macs, password_hash)


def cloud_files_for(
    setup: SetupWish, name: str, uuid: str, macs: Sequence[str], password_hash: str
) -> tuple[dict[str, bytes], str]:
    """Those that cloud-init reads, and the label of their disc. ValueError."""
    files = cloudinit.files_of(told_at_first_start(setup, name, uuid, macs, password_hash))
    return {file: text.encode() for file, text in files.items()}, cloudinit.LABEL


def answers_for(wish: CreateDomainSpec, domain: DomainSpec, system: Windows) -> Unattended:
    setup = wish.setup
    assert setup is not None
    return Unattended(
        system=system,
        computer=setup.hostname or wish.name,
        password=wish.password.get_secret_value(),
        user=setup.user or Unattended.user,
        image_index=0 if setup.edition else 1,
        image_name=setup.edition,
        product_key=setup.product_key,
        efi=domain.firmware != Firmware.BIOS,
    )


def told_at_first_start(setup: SetupWish, name: str, uuid: str, macs: Sequence[str], password_hash: str) -> CloudInit:
    """What cloud-init is told on a machine of that name."""
    fixed = bool(setup.address and macs)
    addresses = (Address(macs[0], setup.address, setup.gateway, tuple(setup.dns)),) if fixed else ()
    return CloudInit(
        hostname=setup.hostname or name,
        instance_id=uuid,
        user=setup.user,
        password_hash=password_hash,
        ssh_keys=tuple(setup.ssh_keys),
        packages=tuple(setup.packages),
        agent=setup.agent,
        addresses=addresses,
        dhcp_macs=tuple(macs[len(addresses) :]),
        user_data=setup.user_data,
    )


def taken_by(host: Host, wish: CreateDomainSpec) -> Amounts:
    """What a new machine takes of a quota; of an image that nobody has seen yet, nothing yet."""
    disk = sum(new.capacity for new in new_volumes(wish))
    return Amounts(machines=1, vcpus=wish.vcpus, memory_kib=wish.memory_mib * 1024, disk=disk)


def virsh_create(target: Subject, wish: CreateDomainSpec) -> str:
    assert isinstance(target, Host)
    return commands_of(target, wish, plan_of(target, wish, NOBODY))


VERBS = (
    Verb(
        "domain.create",
        _("Create a machine"),
        Role.OWNER,
        virsh_create,
        spec=CreateDomainSpec,
        # Several may be made at once: what they must not share is their names.
        exclusive=False,
        cancellable=True,
        queue=Queue.SLOW,
        group=Group.CHANGE,
        made_on="host",
        icon="plus",
        reaches=reaches_of,
        inside=True,
        into=project_of,
        takes=taken_by,
        misfits=create_misfits,
    ),
)

"""Who uses what: volumes, networks and filters by machines, and each by others; and what that forbids."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import Q
from django.utils.translation import gettext as _

from webvirt.hypervisor.types import SecretUsage
from webvirt.models import (
    ACTIVE,
    CardUse,
    DeviceList,
    DeviceUse,
    DiskUse,
    Domain,
    Filter,
    Host,
    Network,
    Pool,
    Secret,
    Volume,
)

FOR_VOLUMES = (SecretUsage.VOLUME.value, SecretUsage.NONE.value)
"""What a secret may be for so that libvirt encrypts a volume with it."""
NAMED = 5
"""So many users are named in a refusal; there may be more."""


DISKS = ("disk", "lun")
"""As what a machine writes to a volume, and has it for itself; it only reads a CD or the kernel that it starts."""


@dataclass(frozen=True)
class Use:
    """One user of a volume. `noun` is `domain` or `volume`; `slot` is the disk's target, empty for an image."""

    noun: str
    pk: int
    name: str
    slot: str = ""
    active: bool = False
    """A machine that has it open right now."""
    template: bool = False
    """A machine that others are made from."""


def same_volume(volume: Volume) -> list[Volume]:
    """The rows of this very volume: its own, and those of pools on other hosts that are the same storage."""
    if not volume.pool.origin:
        return [volume]
    shared = Volume.objects.filter(name=volume.name, pool__origin=volume.pool.origin, missing_since=None)
    return [volume, *shared.exclude(pk=volume.pk).select_related("pool__host")]


def disk_uses(volumes: list[Volume]) -> Q:
    """The condition under which a disk of a machine is one of these volumes."""
    found = Q(pk=None)
    for volume in volumes:
        named = Q(pool=volume.pool.name, volume=volume.name)
        at_path = Q(path=volume.path) & ~Q(path="")
        found |= Q(domain__host=volume.pool.host_id) & (named | at_path)
    return found


def uses_of(volume: Volume) -> list[Use]:
    """Everything that needs a volume: machines by name, then the images that are based on it.

    A row remembers what was found when it was first asked, since each of its verbs asks: read it again to know anew.
    """
    if not hasattr(volume, "_uses"):
        volume._uses = find_uses(volume)  # type: ignore[attr-defined]
    found: list[Use] = volume._uses  # type: ignore[attr-defined]
    return found


def find_uses(volume: Volume) -> list[Use]:
    same = same_volume(volume)
    disks = DiskUse.objects.filter(disk_uses(same), domain__missing_since=None).select_related("domain")
    users = [
        Use(
            "domain",
            use.domain_id,
            use.domain.name,
            use.slot,
            use.live and use.domain.status in ACTIVE,
            use.domain.is_template and use.device in DISKS,
        )
        for use in disks.order_by("domain__name", "slot")
    ]
    return [*dict.fromkeys(users), *(Use("volume", row.pk, row.name) for row in based_on(volume))]


def names_of_users(volumes: Sequence[Volume]) -> dict[int, list[str]]:
    """The names of what needs each of these volumes, pools joined: four queries at most, however many they are."""
    by_path: dict[tuple[int, str], set[int]] = defaultdict(set)
    by_name: dict[tuple[int, str, str], set[int]] = defaultdict(set)
    for pk, row in same_volumes(volumes):
        by_path[row.pool.host_id, row.path].add(pk)
        by_name[row.pool.host_id, row.pool.name, row.name].add(pk)
    hosts = {host for host, _path in by_path}
    paths, names = {path for _host, path in by_path} - {""}, {name for _host, _pool, name in by_name}
    # Both are looked up, since a disk may be named either way.
    here = DiskUse.objects.filter(domain__host__in=hosts, domain__missing_since=None)
    at_path = here.filter(path__in=paths).values_list("domain__host", "path", "domain__name")
    named = here.filter(volume__in=names).values_list("domain__host", "pool", "volume", "domain__name")
    above = Volume.objects.filter(pool__host__in=hosts, backing_path__in=paths, missing_since=None)
    based = above.values_list("pool__host", "backing_path", "name")
    users = [(by_path.get((host, path), set()), user) for host, path, user in (*at_path, *based)]
    users += [(by_name.get((host, pool, name), set()), user) for host, pool, name, user in named]
    return {volume.pk: sorted({user for pks, user in users if volume.pk in pks}) for volume in volumes}


def same_volumes(volumes: Sequence[Volume]) -> Iterator[tuple[int, Volume]]:
    """These volumes, and those of pools on other hosts that are the same storage, with the id of which they are."""
    yield from ((volume.pk, volume) for volume in volumes)
    shared: dict[tuple[str, str], list[int]] = defaultdict(list)
    for volume in volumes:
        if volume.pool.origin:
            shared[volume.pool.origin, volume.name].append(volume.pk)
    if shared:
        origins, names = {origin for origin, _name in shared}, {name for _origin, name in shared}
        alike = Volume.objects.filter(pool__origin__in=origins, name__in=names, missing_since=None)
        for row in alike.select_related("pool"):
            yield from ((pk, row) for pk in shared[row.pool.origin, row.name])


def based_on(volume: Volume) -> list[Volume]:
    """The images whose backing file this is."""
    if not volume.path:
        return []
    here = Volume.objects.filter(pool__host=volume.pool.host_id, backing_path=volume.path, missing_since=None)
    return list(here.select_related("pool").order_by("name"))


def chain_of(volume: Volume) -> list[Volume | str]:
    """What a volume is based on, and that on, to the bottom; what is no volume of ours by its path."""
    chain: list[Volume | str] = []
    path = volume.backing_path
    seen = {volume.path}
    while path and path not in seen:
        seen.add(path)
        base = Volume.objects.filter(pool__host=volume.pool.host_id, path=path, missing_since=None).first()
        chain.append(base or path)
        path = base.backing_path if base else ""
    return chain


def devices_with_users(host: Host) -> list[tuple[dict[str, Any], list[Domain]]]:
    """The devices of a host by kind and address, each with the machines that are given it."""
    known: list[dict[str, Any]] = DeviceList.objects.filter(host=host).values_list("devices", flat=True).first() or []
    given: dict[tuple[str, str], list[Domain]] = {}
    here = DeviceUse.objects.filter(domain__host=host, domain__missing_since=None).select_related("domain")
    for use in here.order_by("domain__name", "pk"):
        given.setdefault((use.kind, use.address or use.ids), []).append(use.domain)

    def users_of(device: dict[str, Any]) -> list[Domain]:
        # A USB device that is named by its ids may be any of those that have them.
        keys = [device["address"], *([device["ids"]] if device["kind"] == "usb" else [])]
        return list(dict.fromkeys(user for key in keys if key for user in given.get((device["kind"], key), [])))

    in_order = sorted(known, key=lambda device: (device["kind"], device["address"], device["name"]))
    return [(device, users_of(device)) for device in in_order]


def pools_with(secret: Secret) -> list[Pool]:
    """The pools that sign in with a secret, which they name by its UUID or by what it belongs to."""
    here = Pool.objects.filter(host=secret.host_id, missing_since=None).order_by("name")
    names = {secret.uuid, secret.usage_id} - {""}
    return [pool for pool in here if pool.info.get("auth_secret") in names]


def machines_with(secret: Secret) -> list[Domain]:
    """The machines whose definition holds a secret's UUID, as it does for an encrypted disk, say."""
    here = Domain.objects.filter(host=secret.host_id, missing_since=None).order_by("name")
    return list(here.filter(definition__inactive_xml__contains=secret.uuid).select_related("host"))


def volumes_with(secret: Secret) -> list[Volume]:
    """The volumes that are encrypted with a secret: as libvirt told, or as it is theirs by their path."""
    with_it = Q(secret=secret.uuid)
    if secret.usage == SecretUsage.VOLUME:
        with_it |= Q(encrypted=True, path=secret.usage_id)
    here = Volume.objects.filter(with_it, pool__host=secret.host_id, missing_since=None)
    return list(here.select_related("pool__host").order_by("name", "pk"))


def secret_of(volume: Volume) -> Secret | None:
    """The secret that a volume is encrypted with, where it is known and there."""
    here = Secret.objects.filter(host=volume.pool.host_id, missing_since=None)
    by_path = Q(usage=SecretUsage.VOLUME, usage_id=volume.path)
    return here.filter(uuid=volume.secret).first() or here.filter(by_path).first() if volume.encrypted else None


def used_by(names: list[str]) -> str:
    """The users in words, the first few by name."""
    shown = ", ".join(names[:NAMED])
    more = len(names) - NAMED
    return _("%(names)s and %(n)s more") % {"names": shown, "n": more} if more > 0 else shown


# --- what that forbids: a sentence's part, empty where nothing is forbidden


def volume_in_use(volume: Volume) -> str:
    """Why a volume must not be deleted or written over."""
    if volume.is_made:
        return _("it is still being made")
    uses = uses_of(volume)
    if machines := [use.name for use in uses if use.noun == "domain"]:
        return _("it is a disk of %(names)s") % {"names": used_by(list(dict.fromkeys(machines)))}
    if images := [use.name for use in uses]:
        return _("these images are based on it: %(names)s") % {"names": used_by(images)}
    return ""


def volume_is_half_made(volume: Volume) -> str:
    """Why nothing can be done with a volume but to delete it."""
    if volume.is_made:
        return _("it is still being made")
    return "" if volume.is_whole else _("it was left half made, and is being removed")


def volume_is_fixed(volume: Volume) -> str:
    """Why a volume must keep its size."""
    if reason := volume_is_half_made(volume):
        return reason
    templates = [use.name for use in uses_of(volume) if use.template]
    return _("it is a disk of the template %(names)s") % {"names": used_by(templates)} if templates else ""


def volume_is_open(volume: Volume) -> str:
    """Why a volume cannot be copied as it is."""
    if reason := volume_is_half_made(volume):
        return reason
    running = [use.name for use in uses_of(volume) if use.active]
    return _("%(names)s runs on it: shut it down first") % {"names": used_by(running)} if running else ""


def volume_is_written(volume: Volume) -> str:
    """Why what is in a volume cannot be told: it changes under one's eyes."""
    if volume.is_made:
        return _("it is still being made")
    uses = DiskUse.objects.filter(disk_uses(same_volume(volume)), device__in=DISKS, live=True)
    running = uses.filter(domain__status__in=ACTIVE, domain__missing_since=None).order_by("domain__name")
    names = list(dict.fromkeys(running.values_list("domain__name", flat=True)))
    return _("%(names)s runs on it: shut it down first") % {"names": used_by(names)} if names else ""


def pool_is_open(pool: Pool) -> str:
    """Why a pool must not be stopped."""
    inside = Volume.objects.filter(pool=pool, missing_since=None).exclude(path="").values("path")
    open_now = DiskUse.objects.filter(
        Q(path__in=inside) | Q(pool=pool.name) & ~Q(volume=""),
        domain__host=pool.host_id,
        domain__status__in=ACTIVE,
        live=True,
    )
    names = list(dict.fromkeys(open_now.order_by("domain__name").values_list("domain__name", flat=True)))
    return _("%(names)s runs on its volumes: shut it down first") % {"names": used_by(names)} if names else ""


def pool_is_filled(pool: Pool) -> str:
    """Why a pool's storage must not be deleted."""
    count = Volume.objects.filter(pool=pool, missing_since=None).count()
    return _("there are %(n)s volumes in it: delete them first") % {"n": count} if count else ""


def cards_on(network: Network) -> list[CardUse]:
    """The cards of machines that are plugged into a network, or into its bridge."""
    plugged = Q(type="network", source=network.name)
    if network.bridge:
        plugged |= Q(type="bridge", source=network.bridge)
    return cards_of(network.host_id, plugged)


def cards_through(given: Filter) -> list[CardUse]:
    """The cards of machines that go through a filter, now or from their next start."""
    return cards_of(given.host_id, Q(filter=given.name))


def cards_of(host: int, condition: Q) -> list[CardUse]:
    """Cards of a host's machines, each once, whether it stands in one definition or in both."""
    found = CardUse.objects.filter(condition, domain__host=host, domain__missing_since=None)
    cards = found.select_related("domain").order_by("domain__name", "mac")
    return list({(card.domain_id, card.mac): card for card in cards}.values())


def filters_with(given: Filter) -> list[Filter]:
    """The filters that take this one in."""
    here = Filter.objects.filter(host=given.host_id, missing_since=None).order_by("name")
    return [row for row in here if given.name in row.references]


def network_in_use(network: Network) -> str:
    """Why a network must not be deleted."""
    names = list(dict.fromkeys(card.domain.name for card in cards_on(network)))
    return _("%(names)s is connected to it") % {"names": used_by(names)} if names else ""


def filter_in_use(given: Filter) -> str:
    """Why a filter must not be deleted."""
    if machines := list(dict.fromkeys(card.domain.name for card in cards_through(given))):
        return _("cards of %(names)s go through it") % {"names": used_by(machines)}
    filters = [row.name for row in filters_with(given)]
    return _("these filters take it in: %(names)s") % {"names": used_by(filters)} if filters else ""


def secret_in_use(secret: Secret) -> str:
    """Why a secret must not be deleted."""
    if pools := [pool.name for pool in pools_with(secret)]:
        return _("%(names)s signs in with it") % {"names": used_by(pools)}
    if volumes := [volume.name for volume in volumes_with(secret)]:
        return _("%(names)s is encrypted with it") % {"names": used_by(volumes)}
    machines = [domain.name for domain in machines_with(secret)]
    return _("%(names)s needs it") % {"names": used_by(machines)} if machines else ""

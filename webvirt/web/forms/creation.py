"""The form of a new machine."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from django.db.models import Prefetch
from django.http import QueryDict
from django.utils.translation import gettext as _

from webvirt.hypervisor.xml.domains import preview_of
from webvirt.models import CloudImage, Flavour, Host, HostState, Network, NetworkStatus, Pool, PoolStatus, Volume
from webvirt.services import flavours, images, uses
from webvirt.services.bulk import for_each_name
from webvirt.services.catalogue import BY_KIND
from webvirt.services.catalogue.building import MAKEABLE, Plan, plan_of
from webvirt.services.catalogue.creation import NOBODY
from webvirt.services.catalogue.fetches import Fetch
from webvirt.services.catalogue.wishes import Begins, CreateDomainSpec
from webvirt.services.placement import free_of, may_make_on, places_for
from webvirt.services.systems import systems, traits_of
from webvirt.services.trees import trees
from webvirt.web.forms.form import Form, Values, filled, number, text, words
from webvirt.web.forms.storage import UNITS, size_of, size_typed
from webvirt.web.forms.within import Within
from webvirt.web.kinds import forward
from webvirt.web.words import size, size_kib

MOST_OFFERED = 500
"""Volumes in one choice; who has more begins on the image's own page."""
CATALOGUE = "cloud:"
"""Before the id of an image of the catalogue, where a volume could be chosen as well."""
WEB = ("tree", "tree_url", "kernel_url", "initrd_url")
PLACES = ("volume_disc", "volume_image", "volume_volume")
SETUP = ("user", "hostname", "address", "gateway", "user_data", "edition", "product_key")


@dataclass(frozen=True)
class Beginning:
    """A way to begin: its fields are shown when it is chosen."""

    value: Begins
    label: str
    text: str

    @property
    def shows(self) -> str:
        return SHOWN[self.value]


SHOWN = {
    Begins.DISC: "disc system disks drivers setup",
    Begins.IMAGE: "image system disks setup",
    Begins.VOLUME: "volume system disks",
    Begins.NETWORK: "system disks",
    Begins.TREE: "tree arguments system disks",
    Begins.KERNEL: "kernel arguments system disks",
    Begins.EMPTY: "system disks",
}


def beginnings() -> list[Beginning]:
    return [
        Beginning(Begins.DISC, _("A disc"), _("An installer on a CD or DVD image.")),
        Beginning(Begins.IMAGE, _("A disk image"), _("A cloud image or a template: it gets a disk made of it.")),
        Beginning(Begins.VOLUME, _("A disk that is there"), _("A volume as it is, with what is on it.")),
        Beginning(Begins.TREE, _("The web"), _("An installer that is fetched, and installs over the network.")),
        Beginning(Begins.NETWORK, _("The network"), _("What a PXE server boots it with.")),
        Beginning(Begins.KERNEL, _("An installer's kernel"), _("With its initrd and arguments, for the first start.")),
        Beginning(Begins.EMPTY, _("Nothing yet"), _("An empty machine; insert a disc later.")),
    ]


def start(host: Host) -> Values:
    """A machine that most would want, on this host."""
    pool = pools_of(host).first()
    network = (
        Network.objects.filter(host=host, status=NetworkStatus.ACTIVE, missing_since=None).order_by("name").first()
    )
    return {
        "name": "",
        "os": "",
        "begins": Begins.DISC.value,
        **dict.fromkeys((*PLACES, "linked", "kernel", "initrd", *WEB, "arguments", "drivers"), ""),
        "vcpus": "2",
        "memory": "2",
        "memory_unit": "GiB",
        "disk_pool": [str(pool.pk) if pool else ""],
        "disk_size": ["20"],
        "disk_size_unit": ["GiB"],
        "disk_format": ["qcow2"],
        "card": [f"network:{network.pk}" if network else ""],
        "with_setup": "",
        **dict.fromkeys((*SETUP, "ssh_keys", "dns", "packages"), ""),
        "agent": "on",
        "firmware": "auto",
        "machine": "auto",
        "type": "auto",
        "cpu": "auto",
        "bus": "auto",
        "tpm": "auto",
        "start": "on",
        "autostart": "",
    }


def pools_of(host: Host) -> Any:
    """The pools where disks are made, those with the most room first."""
    found = Pool.objects.filter(host=host, status=PoolStatus.RUNNING, type__in=MAKEABLE, missing_since=None)
    return found.order_by("-available", "name")


# --- what was typed


def parameters(given: QueryDict) -> Values:
    begins = text(given, "begins")
    found: Values = {"name": text(given, "name"), "begins": begins, "vcpus": number(text(given, "vcpus"))}
    memory = size_of(text(given, "memory"), given.get("memory_unit", ""))
    found["memory_mib"] = memory // 2**20 if isinstance(memory, int) else memory
    found |= filled(given, "os", "firmware", "machine", "type", "cpu", "bus")
    found |= beginning_of(begins, given)
    if begins == Begins.DISC and text(given, "drivers"):
        found["drivers"] = number(text(given, "drivers"))
    found |= {"disks": disks(given, begins), "cards": cards(given)}
    if begins in (Begins.IMAGE, Begins.DISC) and given.get("with_setup"):
        found |= {"setup": setup(given), "password": given.get("password", "")}
    if given.get("tpm") in ("yes", "no"):
        found["tpm"] = given["tpm"] == "yes"
    ticks = {"linked": begins == Begins.IMAGE and "linked" in given}
    return found | ticks | {key: key in given for key in ("start", "autostart")}


def beginning_of(begins: str, given: QueryDict) -> Values:
    """What it begins with: a volume, an image of the catalogue, or a kernel of here or of the web."""
    if begins == Begins.KERNEL:
        named = filled(given, "kernel", "initrd")
        return {key: number(value) for key, value in named.items()} | filled(given, "arguments")
    if begins == Begins.TREE:
        found = filled(given, "kernel_url", "initrd_url", "arguments")
        tree = text(given, "tree_url") or ("" if "kernel_url" in found else text(given, "tree"))
        return found | ({"tree": tree} if tree else {})
    chosen = text(given, f"volume_{begins}")
    if begins == Begins.IMAGE and chosen.startswith(CATALOGUE):
        return {"cloud_image": number(chosen.removeprefix(CATALOGUE))}
    return {"volume": number(chosen)} if chosen else {}


def disks(given: QueryDict, begins: str) -> list[Values]:
    """The rows of disks; one without a pool is none, and of an image the size may be left out."""
    rows = []
    columns = [given.getlist(f"disk_{column}") for column in ("pool", "size", "size_unit", "format")]
    for at, (pool, typed, unit, kind) in enumerate(zip(*columns, strict=False)):
        if not pool:
            continue
        row: Values = {"pool": number(pool), "format": kind}
        if typed.strip() or at or begins != Begins.IMAGE:
            row["size"] = size_of(typed.strip().replace(",", "."), unit)
        rows.append(row)
    return rows


def cards(given: QueryDict) -> list[Values]:
    """Each is on a network (`network:3`) or on a bridge (`bridge:br0`)."""
    rows: list[Values] = []
    for chosen in filter(None, given.getlist("card")):
        kind, _colon, name = chosen.partition(":")
        rows.append({"network": number(name)} if kind == "network" else {"bridge": name})
    return rows


def setup(given: QueryDict) -> Values:
    found = filled(given, *SETUP)
    found |= {key: words(given, key) for key in ("dns", "packages") if text(given, key)}
    if keys := text(given, "ssh_keys"):
        found["ssh_keys"] = [line.strip() for line in keys.splitlines() if line.strip()]
    return found | {"agent": "agent" in given}


def named(field: str) -> str:
    """The form's own name of a parameter that something is wrong with."""
    if parts := re.fullmatch(r"disks\.\d+\.(\w+)", field):
        return f"disk_{parts[1]}"
    if re.fullmatch(r"cards\.\d+\.\w+|cards", field):
        return "card"
    if field.startswith("setup."):
        return field.split(".")[1]
    ours = {"memory_mib": "memory", "setup": "with_setup", "cloud_image": "volume", "tree": "tree_url"}
    return ours.get(field, field)


# --- what there is to choose from


def offers(place: Within, target: Host, typed: Values) -> Values:
    access = place.access
    volumes = place.rows("volume").filter(pool__host=target, making=None).order_by("name", "pk")
    # Thousands of rows in a few pools, of which each needs little.
    volumes = volumes.select_related(None).prefetch_related(Prefetch("pool", Pool.objects.defer("xml", "info")))
    volumes = volumes.only("pool", "name", "title", "path", "capacity", "os", "os_name")
    library = images.images_of(volumes)
    discs = list(images.chosen(library, kind=images.ISO)[:MOST_OFFERED])
    # What several projects may use nobody writes to.
    own = volumes.filter(project=place.chosen) if place.ground else volumes
    used = uses.names_of_users(free := list(own.exclude(images.IS_ISO).filter(capacity__gt=0)[:MOST_OFFERED]))
    networks = place.rows("network").filter(host=target).order_by("name")
    return {
        "host": target,
        "own_keys": access.user.ssh_keys,
        "windows": True,
        "places": places_for(may_make_on(access)),
        "beginnings": beginnings(),
        "discs": discs,
        "images": list(images.chosen(library, kind=images.DISK).filter(encrypted=False)[:MOST_OFFERED]),
        "catalogue": catalogue_for(target, place),
        "trees": trees(target.info.get("arch", "x86_64")) if may_fetch(target, place) else (),
        "free": [volume for volume in free if not used[volume.pk]],
        "files": list(volumes.filter(kind="file")[:MOST_OFFERED]),
        "systems": systems(),
        "flavours": [(row, *size_typed(row.memory_mib * 2**20), *disk_typed(row)) for row in flavours_in(place)],
        "pools": pools_in(place, target),
        "networks": [(row, forward(row.forward)) for row in networks],
        "bridges": bridges_in(place, target),
        "units": list(UNITS),
    }


def pools_in(place: Within, host: Host) -> list[Pool]:
    """The pools for disks of what is made there."""
    usable = set(place.rows("pool").filter(host=host).values_list("pk", flat=True)) if place.ground else None
    return [pool for pool in pools_of(host) if usable is None or pool.pk in usable]


def bridges_in(place: Within, host: Host) -> list[str]:
    return [] if place.ground else [one["name"] for one in host.interfaces if one.get("type") == "bridge"]


def flavours_in(place: Within) -> Iterable[Flavour]:
    limited = place.ground is not None and place.ground.project.of_flavours_only
    return place.rows("flavour") if limited else flavours.flavours()


def catalogue_for(host: Host, place: Within) -> list[CloudImage]:
    """The images of the catalogue that are not on the host yet, and that this person may have fetched there: those of
    the project, or any."""
    if place.ground is None and not may_fetch(host, place):
        return []
    enabled = place.rows("cloud_image") if place.ground else CloudImage.objects.filter(enabled=True)
    there = images.from_the_web(
        Volume.objects.filter(pool__host=host, project=None), CloudImage.objects.values_list("url", flat=True)
    )
    found = enabled.exclude(url__in=there.order_by().values("source_url"))
    return [image for image in found if image.arch == host.info.get("arch", image.arch)]


def may_fetch(host: Host, place: Within) -> bool:
    """Whether this person may have something fetched from the web into a pool of a host, whatever its address."""
    on = place.chosen if place.ground and place.chosen else host
    return place.access.may_freely(BY_KIND["volume.fetch"], on)


def disk_typed(flavour: Flavour) -> tuple[str, str]:
    return size_typed(flavour.disk) if flavour.disk else ("", "")


# --- the plan


def foreseen(host: Host, wish: CreateDomainSpec) -> Values:
    """What will be made where, and what is worth knowing before."""
    plan = plan_of(host, wish, NOBODY)
    return {
        "steps": steps_of(host, plan, wish),
        "warnings": warnings_of(host, wish, plan.fetches),
        "xml": preview_of(plan.domain),
    }


def steps_of(host: Host, plan: Plan, wish: CreateDomainSpec) -> list[list[str]]:
    domain, rows = plan.domain, []
    traits = traits_of(wish.os)
    where = "KVM" if domain.type == "kvm" else _("emulated, without KVM")
    rows.append([_("On"), f"{host.name} · {where}"])
    rows.append(
        [_("Machine"), " · ".join(filter(None, [domain.machine, firmware_word(domain.firmware), tpm_word(plan)]))]
    )
    rows.append([_("Processors"), growing(domain.vcpus, domain.vcpus_max, str)])
    rows.append([_("Kind"), domain.cpu or _("QEMU's own")])
    rows.append([_("Memory"), growing(domain.memory_kib, domain.memory_max_kib, size_kib)])
    rows += [[_("Fetched"), fetch_words(fetch)] for fetch in plan.fetches]
    if plan.kernel and plan.kernel.arguments:
        rows.append([_("The kernel is told"), plan.kernel.arguments])
    for new in plan.volumes:
        how = _("new")
        if new.origin:
            how = (_("a layer over %(name)s") if new.linked else _("a copy of %(name)s")) % {"name": new.origin.name}
        rows.append([_("Disk"), f"{new.pool.name}/{new.name} · {size_words(new.capacity)} · {how}"])
    if plan.seed:
        rows.append([_("Settings"), f"{plan.seed.pool.name}/{plan.seed.name}"])
    rows += [[_("Network"), f"{card.network or card.bridge} · {card.model}"] for card in domain.cards]
    if not traits.virtio_disk and not wish.drivers:
        rows.append([_("Drivers"), _("none for virtio: disks and cards are of older kinds")])
    return rows


def fetch_words(fetch: Fetch) -> str:
    """What is fetched from where, how much that is, and how long it stays."""
    stays = _("stays in the pool for others") if fetch.stays else _("deleted when the installer is done with it")
    server = urlsplit(fetch.url).hostname or ""
    return f"{fetch.pool.name}/{fetch.name} · {size_words(fetch.size)} · {server} · {stays}"


def size_words(known: int) -> str:
    return size(known) if known else _("size not known yet")


def growing(now: int, most: int, word: Callable[[int], str]) -> str:
    """A figure, and how far it can grow while the machine runs."""
    return (
        _("%(now)s, up to %(most)s while it runs") % {"now": word(now), "most": word(most)} if most > now else word(now)
    )


def firmware_word(firmware: str) -> str:
    return {"bios": "BIOS", "efi": "UEFI", "secure": _("UEFI with secure boot")}[firmware]


def tpm_word(plan: Plan) -> str:
    return "TPM 2.0" if plan.domain.tpm else ""


def warnings_of(host: Host, wish: CreateDomainSpec, fetches: Iterable[Fetch] = ()) -> list[str]:
    """What does not keep it from being made, but may surprise."""
    found = []
    traits, free = traits_of(wish.os), free_of(host)
    if free is not None and free < wish.memory_mib * 1024:
        found.append(_("Less memory is free on this host: it would push others out, or not start."))
    if wish.os and wish.memory_mib * 1024 < traits.memory_kib_min:
        values = {"name": traits.name or wish.os, "least": size(traits.memory_kib_min * 1024)}
        found.append(_("%(name)s wants at least %(least)s of memory.") % values)
    if traits.secure_boot and not any(one.secure_boot for one in host.machines):
        found.append(_("It wants secure boot, and the host has no firmware for it: install OVMF there."))
    if traits.tpm and not any(one.tpm for one in host.machines):
        found.append(_("It wants a TPM, and the host has none for machines: install swtpm there."))
    if host.state == HostState.UP and not any(one.type == "kvm" for one in host.machines):
        found.append(_("The host offers no KVM: the machine is emulated, which is many times slower."))
    wanted: dict[int, int] = {}
    for pk, much in (*((disk.pool, disk.size) for disk in wish.disks), *((one.pool.pk, one.size) for one in fetches)):
        wanted[pk] = wanted.get(pk, 0) + (much or 0)
    small = [pool.name for pool in Pool.objects.filter(pk__in=wanted) if pool.available < wanted[pool.pk]]
    return found + [_("The pool %(name)s has less room than the disks may come to need.") % {"name": n} for n in small]


LINKED = ("name", "os", "begins", *PLACES, "vcpus", "memory", "memory_unit")

FORMS = {
    "domain.create": Form(
        "domains/create.html",
        start,
        parameters,
        plan=foreseen,
        each=for_each_name,
        named=named,
        offers=offers,
        linked=LINKED,
    )
}

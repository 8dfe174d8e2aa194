"""What a new machine needs from the web before it is there: an image of the catalogue, or an installer's kernel.

As `building` does, this only says what there is to be done; nothing is asked of anybody.
"""

from __future__ import annotations

from dataclasses import dataclass

from webvirt.hypervisor.types import PoolType
from webvirt.models import CloudImage, Host, Pool, PoolStatus, Volume
from webvirt.services import images, trees
from webvirt.services.catalogue.verb import Reach
from webvirt.services.catalogue.volumes import FetchSpec, safe_name, virsh_fetch
from webvirt.services.catalogue.wishes import Begins, CreateDomainSpec
from webvirt.services.fetching import name_in

ON_PATHS = (PoolType.DIR, PoolType.FS, PoolType.NETFS)
"""Where a volume is a file that QEMU opens by its path, whatever is in it."""
KERNEL, INITRD = "kernel", "initrd"


@dataclass(frozen=True)
class Fetch:
    """A file that is brought into a pool. `size` in bytes, 0 where nobody knows it before; `stays` with the pool, and
    not only until the machine has started from it."""

    pool: Pool
    name: str
    url: str
    checksum_url: str = ""
    checksum: str = ""
    size: int = 0
    stays: bool = False

    @property
    def spec(self) -> FetchSpec:
        return FetchSpec(url=self.url, name=self.name, checksum=self.checksum, checksum_url=self.checksum_url)


def pool_of_files(wish: CreateDomainSpec) -> Pool | None:
    """Where what is fetched goes: the pool of its first disk, or the roomiest of the same host where files are."""
    first = Pool.objects.filter(pk=wish.disks[0].pool).first() if wish.disks else None
    if first is None or first.type in ON_PATHS:
        return first
    there = Pool.objects.filter(host=first.host_id, type__in=ON_PATHS, status=PoolStatus.RUNNING, missing_since=None)
    return there.order_by("-available", "name").first()


# --- an image of the catalogue


def catalogue_image(wish: CreateDomainSpec) -> CloudImage | None:
    """The image of the catalogue that a machine begins with; None where it begins otherwise, or there is none."""
    if wish.begins != Begins.IMAGE or wish.cloud_image is None:
        return None
    return CloudImage.objects.filter(pk=wish.cloud_image, enabled=True).first()


def image_fetch(wish: CreateDomainSpec) -> Fetch | None:
    """How the image of the catalogue is brought to the host; None where it is there, or there is no pool for it."""
    image, pool = catalogue_image(wish), pool_of_files(wish)
    return fetch_into(pool, image) if image and pool and not images.on_host_of(pool, image.url) else None


def fetch_into(pool: Pool, image: CloudImage) -> Fetch:
    known = images.from_the_web(Volume.objects.all(), [image.url]).first()
    return Fetch(
        pool,
        free_name(pool, safe_name(name_in(image.url)) or f"cloud-image-{image.pk}"),
        image.url,
        image.checksum_url,
        image.checksum,
        size=known.allocation if known else 0,
        stays=True,
    )


def free_name(pool: Pool, name: str) -> str:
    """A name for what is fetched that no other volume of the pool has; one that is just being fetched has its own."""
    taken = Volume.objects.filter(pool=pool, missing_since=None, making=None)
    stem, dot, ending = name.rpartition(".")
    if not dot:
        stem, ending = name, ""
    number, free = 1, name
    while taken.filter(name=free).exists():
        number += 1
        free = f"{stem[:100]}-{number}{dot}{ending}"
    return free


def image_of(wish: CreateDomainSpec) -> Volume | None:
    """What its first disk is made of, if it begins with an image: a volume, or one as it will be, which has no id."""
    if wish.begins != Begins.IMAGE:
        return None
    if wish.volume is not None:
        return Volume.objects.filter(pk=wish.volume).select_related("pool__host").first()
    image, pool = catalogue_image(wish), pool_of_files(wish)
    if image is None or pool is None:
        return None
    if there := images.on_host_of(pool, image.url):
        return there
    fetch = fetch_into(pool, image)
    known = images.from_the_web(Volume.objects.all(), [image.url]).first()
    path = f"{pool.info.get('target_path', '')}/{fetch.name}"
    kind = known.format if known else "qcow2"
    return Volume(pool=pool, name=fetch.name, path=path, format=kind, capacity=known.capacity if known else 0)


# --- an installer's kernel


def installer_fetches(wish: CreateDomainSpec) -> tuple[Fetch, ...]:
    """The kernel and the initrd of an installer, as far as can be told before its tree has been looked into."""
    pool = pool_of_files(wish)
    if wish.begins != Begins.TREE or pool is None:
        return ()
    if not wish.tree:
        pairs = [(KERNEL, wish.kernel_url), (INITRD, wish.initrd_url)]
        return tuple(Fetch(pool, f"{wish.name}-{what}", url) for what, url in pairs if url)
    boot = trees.layouts(wish.tree, pool.host.info.get("arch", "x86_64"))[0]
    pairs = [(KERNEL, boot.kernel), (INITRD, boot.initrd)]
    return tuple(Fetch(pool, f"{wish.name}-{what}", trees.joined(wish.tree, path)) for what, path in pairs)


def arguments_of(wish: CreateDomainSpec) -> str:
    """What the installer's kernel is told."""
    if wish.arguments is not None or not wish.tree:
        return wish.arguments or ""
    return trees.arguments_for(wish.os, wish.tree)


# --- for both


def fetches_of(wish: CreateDomainSpec) -> tuple[Fetch, ...]:
    image = image_fetch(wish)
    return (image,) if image else installer_fetches(wish)


def reaches_of(host: Host, wish: CreateDomainSpec) -> tuple[Reach, ...]:
    """Who has something fetched must be allowed to fetch it by itself."""
    parameter = "tree" if wish.begins == Begins.TREE else "cloud_image"
    return tuple(Reach(parameter, "pool", fetch.pool.pk, "volume.fetch") for fetch in fetches_of(wish)[:1])


def commands_for_fetches(wish: CreateDomainSpec) -> list[str]:
    """The equivalent with virsh."""
    return [virsh_fetch(fetch.pool, fetch.spec) for fetch in fetches_of(wish)]

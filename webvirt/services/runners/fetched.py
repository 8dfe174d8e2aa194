"""What a new machine needs from the web, fetched: an image of the catalogue, or an installer's kernel and initrd.

An image belongs to its pool from when it is whole, whatever becomes of the machine. A kernel is half made until the
machine has started with it, and is there for that start alone.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing

from django.utils.translation import gettext_noop

from webvirt.hypervisor.types import Kernel
from webvirt.models import CloudImage, Domain, Operation, Pool, Volume
from webvirt.services import cloudimages, fetching, images, inventory, trees, uploads
from webvirt.services.catalogue.fetches import (
    INITRD,
    KERNEL,
    Fetch,
    arguments_of,
    catalogue_image,
    fetch_into,
    pool_of_files,
)
from webvirt.services.catalogue.volumes import FetchSpec
from webvirt.services.catalogue.wishes import Begins, CreateDomainSpec
from webvirt.services.runners.context import Context, Failed
from webvirt.services.runners.storage import LOOK_SECONDS, demand_free_name
from webvirt.services.runners.transfers import brought

LOST_SECONDS = 60.0
"""So long nobody waits for another operation that has no worker."""


# --- an image of the catalogue


def with_its_image(context: Context, wish: CreateDomainSpec) -> CreateDomainSpec:
    """The wish with the volume that holds its image of the catalogue, which is fetched where the host has none."""
    if wish.begins != Begins.IMAGE or wish.cloud_image is None:
        return wish
    image, pool = catalogue_image(wish), pool_of_files(wish)
    if image is None or pool is None:
        raise Failed(gettext_noop("The image is not in the catalogue any more, or there is no pool for it."))
    volume = there_or_fetched(context, image, pool)
    return wish.model_copy(update={"cloud_image": None, "volume": volume.pk})


def there_or_fetched(context: Context, image: CloudImage, pool: Pool) -> Volume:
    """Of several operations that need an image, one fetches it, and the others wait for that."""
    at_work = time.monotonic()
    while True:
        if volume := images.on_host_of(pool, image.url):
            return volume
        fetch = fetch_into(pool, image)
        if maker := images.maker_of(pool, fetch.name, image.url):
            at_work = wait_for(context, maker, at_work)
        elif not await_removal(context, fetch) and inventory.claim_volume(pool, fetch.name, context.operation):
            demand_name(context, fetch)
            arrival, _digest = brought(context, pool, fetch.spec, uploads.arrival_anew)
            arrival.is_whole()


def wait_for(context: Context, maker: Operation, at_work: float) -> float:
    """Wait a moment for another operation; returns when a worker was last seen at it. Raises Failed when that is long
    ago."""
    now = time.monotonic()
    if maker.worker:
        at_work = now
    elif now - at_work > LOST_SECONDS:
        raise Failed(
            gettext_noop("Another operation fetches this image, and makes no progress."),
            gettext_noop("Try again when it has come to an end."),
        )
    context.progress(gettext_noop("waiting for the image, which another operation fetches"))
    time.sleep(LOOK_SECONDS)
    return at_work


def await_removal(context: Context, fetch: Fetch) -> bool:
    """Let the host's watcher remove what was left half made under the name; whether there was something."""
    left = inventory.left_half_made(fetch.pool).filter(name=fetch.name)
    if not left.exists():
        return False
    demand_free_name(context, context.connection.storage, fetch.pool, fetch.name)
    return left.exists()


def demand_name(context: Context, fetch: Fetch) -> None:
    """See that the host has no volume of a name that was claimed; what it has is somebody else's. Raises Failed."""
    if fetch.name in context.connection.storage.volumes(fetch.pool.uuid):
        inventory.volume_is_anothers(fetch.pool, fetch.name, context.operation)
        raise Failed(gettext_noop("There is a volume of this name already."), gettext_noop("Refresh the pool."))


# --- an installer's kernel


def with_its_kernel(
    context: Context, wish: CreateDomainSpec, kernel: Kernel | None
) -> tuple[Kernel | None, list[Fetch]]:
    """What the machine is started with, where the host put it, and what was fetched for that."""
    pool = pool_of_files(wish)
    if wish.begins != Begins.TREE or pool is None:
        return kernel, []
    paths, fetched = [], []
    for spec in installer_of(context, wish, pool):
        arrival, _digest = brought(context, pool, spec, uploads.arrival_anew)
        paths.append(arrival.calls.volume(pool.uuid, spec.name).path)
        fetched.append(Fetch(pool, spec.name, spec.url))
    return Kernel(paths[0], paths[1] if len(paths) > 1 else "", arguments_of(wish)), fetched


def installer_of(context: Context, wish: CreateDomainSpec, pool: Pool) -> Iterator[FetchSpec]:
    """The kernel and then the initrd, each with where it is and what it should be. Raises Failed."""
    names = {what: f"{wish.name}-{what}" for what in (KERNEL, INITRD)}
    if not wish.tree:
        for what, url in ((KERNEL, wish.kernel_url), (INITRD, wish.initrd_url)):
            if url:
                yield FetchSpec(url=url, name=names[what])
        return
    context.progress(gettext_noop("looking into the tree"))
    try:
        boot = boot_of(wish.tree, pool.host.info.get("arch", "x86_64"))
    except fetching.NotFetched as error:
        raise Failed(str(error), error.remedy) from None
    for what, path, checksum in zip((KERNEL, INITRD), (boot.kernel, boot.initrd), boot.checksums, strict=True):
        yield FetchSpec(url=trees.joined(wish.tree, path), name=names[what], checksum=checksum)


def boot_of(tree: str, arch: str) -> trees.Boot:
    """Where the kernel is in a tree, by its index or else by looking where it may be. Raises NotFetched and Failed."""
    for index in trees.INDEXES:
        text = text_if_there(trees.joined(tree, index))
        if found := trees.boot_in(text, arch):
            return found
    for boot in trees.layouts(tree, arch):
        if is_there(trees.joined(tree, boot.kernel)):
            return with_checksums(tree, boot)
    raise Failed(
        gettext_noop("There is no installer's kernel in this tree."),
        gettext_noop("Correct its address, or give those of the kernel and the initrd themselves."),
    )


def text_if_there(url: str) -> str:
    """A small text from the web; empty where the server has none. Raises NotFetched."""
    try:
        return fetching.fetch_text(url, trees.MOST_INDEX)
    except fetching.NotThere:
        return ""


def is_there(url: str) -> bool:
    try:
        with closing(fetching.open_source(url, checked=False)):
            return True
    except fetching.NotThere:
        return False


def with_checksums(tree: str, boot: trees.Boot) -> trees.Boot:
    """The same with what the tree's list of checksums says, as far as it has one."""
    text = text_if_there(trees.joined(tree, boot.sums)) if boot.sums else ""
    first, second = (cloudimages.checksum_in(text, path.removeprefix(boot.base)) for path in (boot.kernel, boot.initrd))
    return boot._replace(checksums=(first, second))


def is_for_its_start(context: Context, domain: Domain, fetched: list[Fetch]) -> None:
    """The machine has started: from now on what was fetched is there until it has no use for that any more."""
    for fetch in fetched:
        inventory.volume_starts(fetch.pool, fetch.name, context.operation, domain)

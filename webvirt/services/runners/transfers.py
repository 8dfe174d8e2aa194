"""The runners of what moves images: from the web into a pool, from one host to another, and out to a person."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from typing import cast

from django.utils.translation import gettext_noop

from webvirt.hypervisor.types import Extent, VolumeInfo
from webvirt.models import Operation, Pool, Upload
from webvirt.services import cloudimages, fetching, inventory, uploads, uses
from webvirt.services.catalogue.volumes import CopySpec, FetchSpec
from webvirt.services.runners.appliances import look_for_machine
from webvirt.services.runners.arrivals import FILES, Arrival, or_hole
from webvirt.services.runners.context import Context, Failed, Result
from webvirt.services.runners.storage import length_of_file, refuse


def fetch(context: Context) -> Result:
    """Fetch a file from the web into a volume; nothing of it waits on our side."""
    spec = cast(FetchSpec, context.spec)
    arrival, digest = brought(context, context.pool, spec, uploads.arrival_of, is_counted=True)
    arrival.is_whole()
    if spec.look_into:
        # It is here either way: what is wrong with it as a machine is said where one asks for that.
        with suppress(Failed):
            look_for_machine(context, context.pool.volumes.select_related("pool__host").get(name=spec.name))
    return {"volume": spec.name, "bytes": arrival.row.size, digest.name: digest.hexdigest()}


def brought(
    context: Context,
    pool: Pool,
    spec: FetchSpec,
    row_of: Callable[[Operation, int, str, int], Upload],
    *,
    is_counted: bool = False,
) -> tuple[Arrival, hashlib._Hash]:
    """A file from the web that has arrived in a pool of the operation's host and is what it should be.

    Nobody gets to use it before somebody says that it is whole. `is_counted` as in Arrival.
    """
    try:
        checksum = spec.checksum or listed_checksum(context, spec)
        context.progress(gettext_noop("asking the server"))
        # A list that came without encryption vouches for nothing.
        checked = bool(spec.checksum) or spec.checksum_url.startswith("https:")
        source = fetching.open_source(spec.url, checked=checked)
        with closing(source):
            row = row_of(context.operation, pool.pk, spec.name, source.size)
            if row.size != source.size:
                raise Failed(gettext_noop("The file has changed on the server while it was fetched."))
            # Another worker may have been at it; how far the file was, the server cannot be asked.
            row.carried = 0
            arrival = Arrival(context, context.connection.storage, pool, row, spec.shown, is_counted)
            arrival.place()
            sha256 = hashlib.sha256()
            digest = hashlib.sha512() if len(checksum) == 128 else sha256
            arrival.fill(noted(source.read(), {sha256, digest}), gettext_noop("fetching"))
    except fetching.NotFetched as error:
        raise Failed(str(error), error.remedy) from None
    found = digest.hexdigest()
    if checksum and found != checksum:
        raise Failed(
            gettext_noop("The file is not what it should be: its checksum is %(digest)s.") % {"digest": found},
            gettext_noop("Fetch it again, or correct the checksum."),
        )
    arrival.look_into(sha256.hexdigest(), spec.url)
    return arrival, digest


def listed_checksum(context: Context, spec: FetchSpec) -> str:
    """What the list says that comes with the file; empty where there is no list. Raises NotFetched and Failed."""
    if not spec.checksum_url:
        return ""
    context.progress(gettext_noop("looking up the checksum"))
    text = fetching.fetch_text(spec.checksum_url, cloudimages.MOST_TEXT)
    name = fetching.name_in(spec.url)
    # One that is called like the file, with an ending, is of that file.
    found = cloudimages.checksum_in(text, name, alone=spec.checksum_url.startswith(f"{spec.url}."))
    if not found:
        raise Failed(
            gettext_noop("The list of checksums does not tell one of this file: %(file)s.") % {"file": name},
            gettext_noop("Correct the address of the list, or give the checksum itself."),
        )
    return found


def noted(pieces: Iterator[bytes], digests: set[hashlib._Hash]) -> Iterator[Extent]:
    for data in pieces:
        for digest in digests:
            digest.update(data)
        yield or_hole(data)


def copy(context: Context) -> Result:
    """Copy a volume as it is into a pool of any host, its holes too; the bytes pass through us and stay nowhere."""
    spec, volume = cast(CopySpec, context.spec), context.volume
    refuse(uses.volume_is_open(volume))
    pool = Pool.objects.kept().select_related("host").filter(pk=spec.pool).first()
    if pool is None:
        raise Failed(gettext_noop("The pool that the copy is to go to is not there (any more)."))
    here = context.connection.storage
    info = here.inspect(volume.pool.uuid, volume.name)
    # What was known of its bytes is dropped where somebody has written to it since.
    inventory.remember_volumes(volume.pool, [info])
    volume.refresh_from_db(fields=["sha256", "source_url"])
    demand_whole(info, pool)
    size = length_of_file(info)
    row = uploads.arrival_of(context.operation, pool.pk, spec.name, size)
    if row.size != size:
        raise Failed(gettext_noop("The volume has changed while it was copied."))
    arrival = Arrival(context, context.connection_with(pool.host).storage, pool, row, volume.title, is_counted=True)
    arrival.place()
    if row.carried < row.size:
        with closing(here.extents(volume.pool.uuid, volume.name, row.carried)) as source:
            arrival.fill(source, gettext_noop("copying"))
    # The same bytes have the same checksum.
    arrival.look_into(volume.sha256, volume.source_url)
    arrival.is_whole()
    return {"volume": spec.name, "pool": pool.name, "bytes": row.size}


def demand_whole(info: VolumeInfo, pool: Pool) -> None:
    """Raise Failed for what would be no disk in the other pool."""
    if info.backing_path:
        raise Failed(
            gettext_noop("It is based on another image, which would be missing there."),
            gettext_noop("Clone it first: the clone stands alone. Then copy the clone."),
        )
    if info.format not in ("raw", "iso", "") and pool.type not in FILES:
        raise Failed(
            gettext_noop("In that pool a volume is the disk itself, and this one is an image of format %(format)s.")
            % {"format": info.format},
            gettext_noop("Clone it first, as raw. Then copy the clone."),
        )


def download(context: Context) -> Result:
    """Hand a volume as it is to who waits for it."""
    volume = context.volume
    refuse(uses.volume_is_open(volume))
    calls, sink = context.connection.storage, context.sink
    size = length_of_file(calls.volume(volume.pool.uuid, volume.name))
    sent = 0

    def report() -> None:
        context.progress(gettext_noop("sending"), sent, size)

    def hand_out(data: bytes) -> None:
        nonlocal sent
        sink.write(data[: size - sent], report)
        sent = min(size, sent + len(data))
        report()

    sink.begin(volume.name, size)
    calls.download(volume.pool.uuid, volume.name, 0, size, hand_out)
    if sent < size:
        raise Failed(gettext_noop("The volume has become smaller while it was sent."))
    return {"bytes": size}


RUNNERS = {"volume.fetch": fetch, "volume.copy": copy, "volume.download": download}

"""Pools, volumes and the image library over REST. Sizes are bytes."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from django.db.models import Q
from django.http import HttpRequest
from ninja import Query, Router, Schema

from webvirt.api.auth import access_for
from webvirt.api.lists import Page, one, ordered, page_of
from webvirt.api.shapes import HostName, VerbNow, host_name, verbs_now
from webvirt.models import Pool, Volume
from webvirt.services import images as library
from webvirt.services.disclosure import chain_for, uses_for

pools = Router(tags=["pools"])
volumes = Router(tags=["volumes"])
images = Router(tags=["images"])

POOL_ORDERS = {
    "name": "name",
    "status": "status",
    "host": "host__name",
    "capacity": "capacity",
    "available": "available",
}
VOLUME_ORDERS = {
    "name": "name",
    "capacity": "capacity",
    "allocation": "allocation",
    "modified": "modified_at",
    "pool": "pool__name",
}
IMAGE_ORDERS = VOLUME_ORDERS | {"os": "os_name", "host": "pool__host__name"}


class PoolOut(Schema):
    id: int
    uuid: str
    name: str
    host: HostName
    stale: bool
    """The host does not answer: this is how it last was."""
    status: str
    type: str
    persistent: bool
    autostart: bool
    capacity: int
    allocation: int
    available: int


class PoolDetail(PoolOut):
    info: dict[str, Any]
    xml: str
    verbs: list[VerbNow]


class Pools(Schema):
    total: int
    items: list[PoolOut]


class VolumeOut(Schema):
    id: int
    name: str
    title: str
    """What people called its file, where a volume cannot be called so; else empty."""
    pool: int
    host: HostName
    project: int | None
    """The id of the project that it is in."""
    path: str
    kind: str
    format: str
    capacity: int
    allocation: int
    backing_path: str
    backing_format: str
    encrypted: bool
    secret: str
    """The UUID of the secret that it is encrypted with, where that is known."""
    os: str
    """osinfo's short id of the system that it looks to hold, such as `debian12`; empty when it is not recognized."""
    os_name: str
    sha256: str
    """Of its bytes as they lie in the pool; empty while it was not computed, or when it has changed since."""
    sha256_at: datetime | None
    source_url: str
    """Where on the web these very bytes came from; empty where that is not known or no longer true."""
    whole: bool
    """Not while it is being made, nor when it was left half made, until it is removed."""
    modified_at: datetime | None
    read_at: datetime | None


class UseOut(Schema):
    """What needs a volume: `noun` is `domain` or `volume` (an image that is based on it); `active`: open right now."""

    noun: str
    id: int
    name: str
    slot: str
    active: bool


class VolumeDetail(VolumeOut):
    uses: list[UseOut]
    chain: list[str]
    """The paths of what it is based on, to the bottom."""
    verbs: list[VerbNow]


class Volumes(Schema):
    total: int
    items: list[VolumeOut]


SAME_IN_POOL = tuple(PoolOut.model_fields.keys() - {"id", "host", "stale"})
SAME_IN_VOLUME = tuple(VolumeOut.model_fields.keys() - {"id", "host", "pool", "project", "whole"})


def pool_fields(pool: Pool) -> dict[str, Any]:
    same = {name: getattr(pool, name) for name in SAME_IN_POOL}
    return same | {"id": pool.pk, "host": host_name(pool.host), "stale": pool.is_stale}


def volume_fields(volume: Volume) -> dict[str, Any]:
    same = {name: getattr(volume, name) for name in SAME_IN_VOLUME}
    return same | {
        "id": volume.pk,
        "host": host_name(volume.host),
        "pool": volume.pool_id,
        "project": volume.project_id,
        "whole": volume.is_whole,
    }


@pools.get("", response=Pools, summary="List pools")
def list_pools(
    request: HttpRequest, page: Query[Page], host: int | None = None, q: str = "", sort: str = "name"
) -> Pools:
    """The pools of the hosts you may know of; `q` is a part of the name."""
    found = access_for(request).pools().filter(name__icontains=q)
    if host is not None:
        found = found.filter(host=host)
    total, rows = page_of(ordered(found, sort, POOL_ORDERS), page)
    return Pools(total=total, items=[PoolOut(**pool_fields(pool)) for pool in rows])


@pools.get("/{int:pk}", response=PoolDetail, summary="One pool")
def pool(request: HttpRequest, pk: int) -> PoolDetail:
    """A pool with its definition, and what you may do with it now."""
    access = access_for(request)
    found = one(access.pools(), pk)
    return PoolDetail(**pool_fields(found), info=found.info, xml=found.xml, verbs=verbs_now(access, found))


@pools.get("/{int:pk}/volumes", response=Volumes, summary="Its volumes")
def volumes_of_pool(request: HttpRequest, pk: int, page: Query[Page], q: str = "", sort: str = "name") -> Volumes:
    """The volumes in a pool; `q` is a part of the name or the title."""
    access = access_for(request)
    here = access.volumes().filter(pool=one(access.pools(), pk))
    found = here.filter(Q(name__icontains=q) | Q(title__icontains=q))
    total, rows = page_of(ordered(found, sort, VOLUME_ORDERS), page)
    return Volumes(total=total, items=[VolumeOut(**volume_fields(volume)) for volume in rows])


@volumes.get("/{int:pk}", response=VolumeDetail, summary="One volume")
def volume(request: HttpRequest, pk: int) -> VolumeDetail:
    """A volume, who uses it, what it is based on, and what you may do with it now."""
    access = access_for(request)
    found = one(access.volumes(), pk)
    users = [
        UseOut(noun=use.noun, id=use.pk, name=use.name, slot=use.slot, active=use.active)
        for use in uses_for(access, found)[0]
    ]
    chain = [base if isinstance(base, str) else base.path for base in chain_for(access, found)]
    return VolumeDetail(**volume_fields(found), uses=users, chain=chain, verbs=verbs_now(access, found))


@images.get("", response=Volumes, summary="The image library")
def list_images(
    request: HttpRequest,
    page: Query[Page],
    host: int | None = None,
    kind: Literal["", "iso", "disk"] = "",
    os: str = "",
    q: str = "",
    sort: str = "name",
) -> Volumes:
    """ISOs and disk images in all pools that you may know of, but for those that are a machine's own disk.

    `q` is a part of the name or of the system's; `os` is a system's id, `-` for those not recognized.
    """
    found = library.images_of(access_for(request).volumes())
    found = library.chosen(found, text=q, host=host, kind=kind, os=os)
    total, rows = page_of(ordered(found, sort, IMAGE_ORDERS), page)
    return Volumes(total=total, items=[VolumeOut(**volume_fields(volume)) for volume in rows])

"""Secrets over REST: that they are there and what for, never their values."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from ninja import Query, Router, Schema

from webvirt.api.auth import access_for
from webvirt.api.lists import Page, one, ordered, page_of
from webvirt.api.shapes import HostName, VerbNow, host_name, verbs_now
from webvirt.models import Secret
from webvirt.services import uses

router = Router(tags=["secrets"])

ORDERS = {"name": "name", "host": "host__name", "usage": "usage"}


class SecretOut(Schema):
    id: int
    uuid: str
    name: str
    """What it belongs to, or its description, or its UUID."""
    host: HostName
    stale: bool
    """The host does not answer: this is how it last was."""
    usage: str
    usage_id: str
    description: str
    ephemeral: bool
    private: bool


class SecretUser(Schema):
    id: int
    name: str


class SecretDetail(SecretOut):
    pools: list[SecretUser]
    """The pools that sign in with it."""
    volumes: list[SecretUser]
    """The volumes that are known to be encrypted with it."""
    domains: list[SecretUser]
    """The machines whose definitions name it."""
    verbs: list[VerbNow]


class Secrets(Schema):
    total: int
    items: list[SecretOut]


SAME = tuple(SecretOut.model_fields.keys() - {"id", "host", "stale"})


def fields(found: Secret) -> dict[str, Any]:
    same = {name: getattr(found, name) for name in SAME}
    return same | {"id": found.pk, "host": host_name(found.host), "stale": found.is_stale}


@router.get("", response=Secrets, summary="List secrets")
def secrets(
    request: HttpRequest, page: Query[Page], host: int | None = None, q: str = "", sort: str = "name"
) -> Secrets:
    """The secrets of the hosts you may know of; `q` is a part of the name."""
    found = access_for(request).secrets().filter(name__icontains=q)
    if host is not None:
        found = found.filter(host=host)
    total, rows = page_of(ordered(found, sort, ORDERS), page)
    return Secrets(total=total, items=[SecretOut(**fields(row)) for row in rows])


@router.get("/{int:pk}", response=SecretDetail, summary="One secret")
def secret(request: HttpRequest, pk: int) -> SecretDetail:
    """A secret with who needs it, and what you may do with it now."""
    access = access_for(request)
    found = one(access.secrets(), pk)
    return SecretDetail(
        **fields(found),
        pools=[SecretUser(id=pool.pk, name=pool.name) for pool in uses.pools_with(found)],
        volumes=[SecretUser(id=volume.pk, name=volume.name) for volume in uses.volumes_with(found)],
        domains=[SecretUser(id=domain.pk, name=domain.name) for domain in uses.machines_with(found)],
        verbs=verbs_now(access, found),
    )

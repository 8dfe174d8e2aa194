"""The catalogue of cloud images over REST: reading it is everybody's, keeping it the administrators'."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.http import HttpRequest
from ninja import Query, Router, Schema, Status

from webvirt.api.auth import access_for, administrator
from webvirt.api.lists import Page, one, ordered, page_of
from webvirt.api.shapes import Failure, HostName, host_name
from webvirt.api.verbs import body_of
from webvirt.models import CloudImage, Volume
from webvirt.services import cloudimages
from webvirt.services.access import Access

router = Router(tags=["cloud images"])

ORDERS = {"position": "position", "name": "name", "os": "os", "updated": "updated_at"}
BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": cloudimages.CloudImageSpec.model_json_schema()}},
    }
}
REFUSED = {(401, 403, 404, 422): Failure}


class PlaceOut(Schema):
    """A volume that holds an image as it was fetched."""

    volume: int
    name: str
    pool: int
    host: HostName


class CloudImageOut(Schema):
    id: int
    name: str
    os: str
    """osinfo's short id of the system, such as `debian12`."""
    arch: str
    url: str
    checksum_url: str
    """A list of checksums that its maker keeps: looked up when the image is fetched."""
    checksum: str
    """SHA-256 or SHA-512, of an image that does not change."""
    user: str
    """Who signs in to a machine made from it, unless cloud-init is told otherwise."""
    position: int
    enabled: bool
    """Else administrators alone see it."""
    updated_at: datetime
    places: list[PlaceOut]
    """Where it is already. Get it into another pool with that pool's verb fetch-volume."""


class CloudImages(Schema):
    total: int
    items: list[CloudImageOut]


SAME = tuple(CloudImageOut.model_fields.keys() - {"id", "places"})


def shown(access: Access, images: list[CloudImage]) -> list[CloudImageOut]:
    there = cloudimages.volumes_of(access, images)
    return [CloudImageOut(**fields(image), places=places(there.get(image.url, []))) for image in images]


def fields(image: CloudImage) -> dict[str, Any]:
    return {name: getattr(image, name) for name in SAME} | {"id": image.pk}


def places(volumes: list[Volume]) -> list[PlaceOut]:
    return [
        PlaceOut(volume=volume.pk, name=volume.name, pool=volume.pool_id, host=host_name(volume.host))
        for volume in volumes
    ]


@router.get("", response=CloudImages, summary="List cloud images")
def cloud_images(request: HttpRequest, page: Query[Page], q: str = "", sort: str = "position") -> CloudImages:
    """What makers of systems publish ready to run; `q` is a part of the name or of the system's id."""
    access = access_for(request)
    total, rows = page_of(ordered(cloudimages.images_for(access, q), sort, ORDERS), page)
    return CloudImages(total=total, items=shown(access, rows))


@router.post("", response={201: CloudImageOut} | REFUSED, summary="Add a cloud image", openapi_extra=BODY)
def add_cloud_image(request: HttpRequest) -> Status[CloudImageOut]:
    """Administrators only."""
    access = administrator(request)
    return Status(201, shown(access, [cloudimages.add(body_of(request))])[0])


@router.get("/{int:pk}", response=CloudImageOut, summary="One cloud image")
def cloud_image(request: HttpRequest, pk: int) -> CloudImageOut:
    access = access_for(request)
    return shown(access, [one(cloudimages.images_for(access), pk)])[0]


@router.put("/{int:pk}", response={200: CloudImageOut} | REFUSED, summary="Change a cloud image", openapi_extra=BODY)
def change_cloud_image(request: HttpRequest, pk: int) -> CloudImageOut:
    """All of it: what is left out is as in a new one. Administrators only."""
    access = administrator(request)
    image = one(cloudimages.images_for(access), pk)
    return shown(access, [cloudimages.change(image, body_of(request))])[0]


@router.delete("/{int:pk}", response={204: None} | REFUSED, summary="Take a cloud image off the list")
def remove_cloud_image(request: HttpRequest, pk: int) -> Status[None]:
    """Volumes that came from it stay. Administrators only."""
    access = administrator(request)
    cloudimages.remove(one(cloudimages.images_for(access), pk))
    return Status(204, None)

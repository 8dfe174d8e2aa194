"""The flavours of new machines over REST: reading them is everybody's, keeping them the administrators'."""

from __future__ import annotations

from datetime import datetime

from django.http import HttpRequest
from ninja import Query, Router, Schema, Status

from webvirt.api.auth import access_for, administrator
from webvirt.api.lists import Page, one, ordered, page_of
from webvirt.api.shapes import Failure
from webvirt.api.verbs import body_of
from webvirt.models import Flavour
from webvirt.services import flavours

router = Router(tags=["flavours"])

ORDERS = {"position": "position", "name": "name", "vcpus": "vcpus", "memory": "memory_mib", "disk": "disk"}
BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": flavours.FlavourSpec.model_json_schema()}},
    }
}
REFUSED = {(401, 403, 404, 422): Failure}


class FlavourOut(Schema):
    id: int
    name: str
    vcpus: int
    memory_mib: int
    disk: int
    """Bytes of a machine's first disk; 0 where the flavour says nothing of it."""
    position: int
    updated_at: datetime


class Flavours(Schema):
    total: int
    items: list[FlavourOut]


@router.get("", response=Flavours, summary="List flavours")
def list_of_flavours(request: HttpRequest, page: Query[Page], q: str = "", sort: str = "position") -> Flavours:
    """The sizes that machines are offered in; `q` is a part of the name. create-domain takes one by its name."""
    access_for(request)
    total, rows = page_of(ordered(flavours.flavours(q), sort, ORDERS), page)
    return Flavours(total=total, items=[FlavourOut.from_orm(row) for row in rows])


@router.post("", response={201: FlavourOut} | REFUSED, summary="Add a flavour", openapi_extra=BODY)
def add_flavour(request: HttpRequest) -> Status[Flavour]:
    """Administrators only."""
    administrator(request)
    return Status(201, flavours.add(body_of(request)))


@router.get("/{int:pk}", response=FlavourOut, summary="One flavour")
def flavour(request: HttpRequest, pk: int) -> Flavour:
    access_for(request)
    return one(flavours.flavours(), pk)


@router.put("/{int:pk}", response={200: FlavourOut} | REFUSED, summary="Change a flavour", openapi_extra=BODY)
def change_flavour(request: HttpRequest, pk: int) -> Flavour:
    """All of it: what is left out is as in a new one. Administrators only."""
    administrator(request)
    return flavours.change(one(flavours.flavours(), pk), body_of(request))


@router.delete("/{int:pk}", response={204: None} | REFUSED, summary="Take a flavour off the list")
def remove_flavour(request: HttpRequest, pk: int) -> Status[None]:
    """Machines that were made in it stay as they are. Administrators only."""
    administrator(request)
    flavours.remove(one(flavours.flavours(), pk))
    return Status(204, None)

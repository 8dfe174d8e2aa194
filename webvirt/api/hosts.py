"""Hosts over REST."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from ninja import Query, Router, Schema, Status

from webvirt.api.auth import access_for, actor_of
from webvirt.api.lists import Page, one, ordered, page_of
from webvirt.api.shapes import Failure, HostDetail, HostOut, Hosts, OperationOut, host_detail, host_out
from webvirt.api.verbs import ACCEPTED, accepted, body_of, described, documented
from webvirt.hypervisor.addresses import line_for
from webvirt.services import uses
from webvirt.services.hosts import ADD, add, our_keys
from webvirt.services.operations import Denied
from webvirt.services.placement import may_make_on, places_for

router = Router(tags=["hosts"])

ORDERS = {"name": "name", "state": "state", "since": "state_since", "cpu": "cpu_percent", "memory": "memory_used_kib"}


class PlaceOut(Schema):
    """A host as a place for a new machine; `reason` says why it is one, or why not."""

    id: int
    name: str
    fits: bool
    free_kib: int | None
    reason: str


class OurKey(Schema):
    public: str
    command: str
    """What the account on the host types to let us in."""


class DeviceUser(Schema):
    id: int
    name: str


class DeviceOut(Schema):
    """A device of the host, as lspci, lsusb or lsscsi names it."""

    name: str
    kind: str
    address: str
    description: str
    ids: str
    device_class: str
    driver: str
    parent: str
    iommu_group: int | None
    mdev_types: list[str]
    virtual_functions: int
    users: list[DeviceUser]
    """The machines whose definitions are given it."""


@router.get("", response=Hosts, summary="List hosts")
def hosts(request: HttpRequest, page: Query[Page], state: str = "", sort: str = "name") -> Hosts:
    """The hosts you may know of."""
    access = access_for(request)
    found = access.hosts()
    if state:
        found = found.filter(state=state)
    total, rows = page_of(ordered(found, sort, ORDERS), page)
    return Hosts(total=total, items=[host_out(access, host) for host in rows])


@router.get("/places", response=list[PlaceOut], summary="Where a new machine goes best")
def places(request: HttpRequest, memory_mib: int = 0, vcpus: int = 1) -> list[PlaceOut]:
    """The hosts on which you may make machines, the best for one of this size first, those that do not fit last."""
    found = places_for(may_make_on(access_for(request)), memory_mib * 1024, vcpus)
    return [
        PlaceOut(
            id=place.host.pk,
            name=place.host.name,
            fits=not place.lacks,
            free_kib=place.free_kib,
            reason=place.reason,
        )
        for place in found
    ]


@router.get("/our_keys", response={200: list[OurKey], 403: Failure}, summary="Our SSH keys")
def keys(request: HttpRequest) -> list[OurKey]:
    """By what hosts let us in; two while it is being changed, the new one first. For administrators."""
    if not access_for(request).is_administrator:
        raise Denied(_("Administrators alone see how hosts let us in."))
    return [OurKey(public=key, command=line_for(key)) for key in our_keys()]


@router.get("/{int:pk}", response=HostDetail, summary="One host")
def host(request: HttpRequest, pk: int) -> HostOut:
    """A host with what it told us; the address and the checks are for administrators."""
    access = access_for(request)
    return host_detail(access, one(access.hosts(), pk))


@router.get("/{int:pk}/devices", response=list[DeviceOut], summary="A host's devices")
def devices(request: HttpRequest, pk: int, kind: str = "") -> list[DeviceOut]:
    """What machines can be given, as last read; `kind` is pci, usb, mdev or scsi."""
    found = uses.devices_with_users(one(access_for(request).hosts(), pk))
    return [
        DeviceOut(**device, users=[DeviceUser(id=user.pk, name=user.name) for user in users])
        for device, users in found
        if kind in ("", device["kind"])
    ]


@router.post(
    "",
    response=ACCEPTED,
    operation_id=ADD.kind,
    summary=str(ADD.label),
    description=described(ADD),
    openapi_extra=documented(ADD),
)
def add_host(request: HttpRequest, response: HttpResponse) -> Status[OperationOut]:
    return accepted(access_for(request), add(actor_of(request), body_of(request)), response)

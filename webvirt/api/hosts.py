"""Hosts over REST."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from ninja import Query, Router, Schema, Status

from webvirt.api.auth import access_for, actor_of
from webvirt.api.lists import Page, one, ordered, page_of
from webvirt.api.shapes import Failure, HostDetail, HostOut, Hosts, OperationOut, host_detail, host_out
from webvirt.api.verbs import ACCEPTED, accepted, body_of, described, documented
from webvirt.hypervisor.addresses import fingerprint, line_for
from webvirt.models import SourceHost
from webvirt.services import foreign, uses
from webvirt.services.catalogue import BY_KIND
from webvirt.services.hosts import ADD, add, our_keys
from webvirt.services.operations import Denied
from webvirt.services.phrases import said
from webvirt.services.placement import may_make_on, places_for

router = Router(tags=["hosts"])

LOOK = BY_KIND["host.look_elsewhere"]
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


class SourceDisk(Schema):
    """`capacity` in bytes; 0 where it is told only once it is imported."""

    target: str
    format: str
    capacity: int


class SourceCard(Schema):
    network: str
    model: str
    mac: str


class SourceMachineOut(Schema):
    """A machine of another hypervisor; `reason` says why it cannot be imported as it is."""

    uuid: str
    name: str
    state: str
    memory_mib: int
    vcpus: int
    firmware: str
    disks: list[SourceDisk]
    cards: list[SourceCard]
    notes: list[str]
    reason: str


class SourceOut(Schema):
    """What one look has found. `offered` are the fingerprints of the keys that it shows, to be compared and confirmed;
    `more` is how many machines it has besides."""

    kind: str
    hostname: str
    offered: list[str]
    machines: list[SourceMachineOut]
    more: int


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


@router.get(
    "/{int:pk}/sources/{int:source_pk}",
    response={200: SourceOut, (403, 404): Failure},
    summary="The machines of another hypervisor",
)
def source(request: HttpRequest, pk: int, source_pk: int) -> SourceOut:
    """What the operation of this number has found that looked at another hypervisor for this host: for a day, and for
    who asked for it. By the same number a machine is imported from there."""
    access = access_for(request)
    host = one(access.hosts(), pk)
    if not access.may(LOOK, host):
        raise Denied(_("Your role here does not allow “%(verb)s”.") % {"verb": LOOK.label})
    found = one(SourceHost.objects.filter(operation__host=host, operation__user=access.user), source_pk)
    return SourceOut(
        kind=found.kind,
        hostname=found.hostname,
        offered=[fingerprint(key) for key in found.offered],
        machines=[machine_out(offer) for offer in foreign.offers_of(found)],
        more=found.more,
    )


def machine_out(offer: foreign.Offer) -> SourceMachineOut:
    appliance = offer.appliance
    return SourceMachineOut(
        uuid=offer.uuid,
        name=offer.name,
        state=offer.state,
        memory_mib=appliance.memory_mib,
        vcpus=appliance.vcpus,
        firmware=appliance.firmware,
        disks=[SourceDisk(target=disk.file, format=disk.format, capacity=disk.capacity) for disk in appliance.disks],
        cards=[SourceCard(network=card.network, model=card.model, mac=card.mac) for card in appliance.cards],
        notes=[said(note) for note in appliance.notes],
        reason=said(offer.why),
    )


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

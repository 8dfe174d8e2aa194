"""Guest links of a machine's console over REST: which are good, making one, withdrawing one."""

from __future__ import annotations

from datetime import datetime

from django.conf import settings
from django.http import Http404, HttpRequest
from django.urls import reverse
from ninja import Router, Schema, Status

from webvirt.api.auth import access_for
from webvirt.api.lists import one
from webvirt.api.projects import body
from webvirt.api.rights import REFUSED
from webvirt.api.shapes import Failure
from webvirt.api.verbs import body_of
from webvirt.models import GuestLink
from webvirt.services import guestlinks
from webvirt.services.catalogue import Spec
from webvirt.services.operations import parsed

router = Router(tags=["consoles"])


class GuestLinkSpec(Spec):
    """`name` is what the guest is called, `mode` is `view` or `control`."""

    name: str = ""
    mode: str = ""
    minutes: int = 60


class LinkOut(Schema):
    id: int
    name: str
    mode: str
    made_by: str
    created_at: datetime
    expires_at: datetime
    uses: int
    last_used_at: datetime | None
    last_address: str | None


class NewLink(LinkOut):
    url: str
    """Where it leads; told this once, and not kept."""


def link_out(link: GuestLink) -> dict[str, object]:
    same = LinkOut.model_fields.keys() - {"id", "made_by"}
    return {name: getattr(link, name) for name in same} | {"id": link.pk, "made_by": link.made_by.get_username()}


@router.get("/{int:pk}/guest-links", response=list[LinkOut], summary="List guest links")
def list_of_links(request: HttpRequest, pk: int) -> list[dict[str, object]]:
    """Those that are good now, newest first."""
    access = access_for(request)
    return [link_out(link) for link in guestlinks.links_for(access, one(access.domains(), pk))]


@router.post(
    "/{int:pk}/guest-links",
    response={201: NewLink} | REFUSED,
    summary="Make a guest link",
    openapi_extra=body(GuestLinkSpec),
)
def make(request: HttpRequest, pk: int) -> Status[dict[str, object]]:
    """Who has it opens the console of this machine alone, without an account, until it runs out or is withdrawn."""
    access = access_for(request)
    domain, spec = one(access.domains(), pk), parsed(GuestLinkSpec, body_of(request))
    link, raw = guestlinks.make(access, domain, spec.name, spec.mode, spec.minutes)
    url = settings.WEBVIRT_PUBLIC_URL + reverse("guest_link", args=[raw])
    return Status(201, link_out(link) | {"url": url})


@router.delete(
    "/{int:pk}/guest-links/{int:link_pk}", response={204: None, (401, 403, 404): Failure}, summary="Withdraw one"
)
def revoke(request: HttpRequest, pk: int, link_pk: int) -> Status[None]:
    """Whoever came by it is shown out within two seconds."""
    access = access_for(request)
    if not guestlinks.revoke(access, one(access.domains(), pk), link_pk):
        raise Http404
    return Status(204, None)

"""The catalogue of cloud images: what can be had, which pools have it, and what administrators keep of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.db.models import Max
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from webvirt.models import CloudImage, Pool, Volume
from webvirt.services import cloudimages
from webvirt.services.access import Access
from webvirt.services.catalogue import BY_KIND
from webvirt.services.operations import Invalid
from webvirt.services.placement import pools_to_fill
from webvirt.web.creation import link_to_begin, link_to_fetch
from webvirt.web.forms.form import number, text
from webvirt.web.guards import administrators, signed_in
from webvirt.web.lists import query_of, slice_of

TYPED = ("name", "os", "arch", "url", "checksum_url", "checksum", "user")


@dataclass(frozen=True)
class ImageLine:
    """An image, and the volumes that hold it."""

    image: CloudImage
    volumes: list[Volume] = field(default_factory=list)
    begin: str = ""
    """Where a machine is made from one of them, or from what is fetched first."""


@dataclass(frozen=True)
class PlaceLine:
    """A pool that an image can be fetched into, or the volume that holds it there already."""

    pool: Pool
    volume: Volume | None
    link: str


@require_GET
@signed_in
def index(request: HttpRequest, access: Access) -> HttpResponse:
    query = query_of(request.GET, ("q",))
    found = cloudimages.images_for(access, query.get("q"))
    part = slice_of(query, found.count())
    images = list(found[part.start :][: part.size])
    volumes = cloudimages.volumes_of(access, images)
    may_get = bool(pools_to_fill(access, "volume.fetch"))
    project_of = projects_using(access)
    context = {
        "query": query,
        "part": part,
        "lines": [
            line_of(access, image, volumes.get(image.url, []), may_get=may_get, project=project_of.get(image.pk))
            for image in images
        ],
        "may_get": may_get,
    }
    return render(request, "cloudimages/list.html", context)


def projects_using(access: Access) -> dict[int, int]:
    """By the ids of images a project inside which this person may make machines from it."""
    within = access.projects_with(BY_KIND["domain.create"])
    return {image: pk for pk in within for image in access.allowances.ids("cloud_image", pk)}


def line_of(
    access: Access, image: CloudImage, volumes: list[Volume], *, may_get: bool, project: int | None
) -> ImageLine:
    links = (link_to_begin(access, volume) for volume in volumes)
    fetched = link_to_fetch(image, project) if (may_get or project) and image.enabled else ""
    return ImageLine(image, volumes, next(filter(None, links), fetched))


@require_GET
@signed_in
def get(request: HttpRequest, access: Access, pk: int) -> HttpResponse:
    """Into which pool: the form of the verb itself comes next."""
    image = get_object_or_404(cloudimages.images_for(access), pk=pk)
    there = {volume.pool_id: volume for volume in cloudimages.volumes_of(access, [image]).get(image.url, [])}
    given = {"url": image.url, "checksum_url": image.checksum_url, "checksum": image.checksum}
    asked = urlencode({name: value for name, value in given.items() if value})
    lines = [
        PlaceLine(pool, there.get(pool.pk), f"/pools/{pool.pk}/fetch-volume/?{asked}")
        for pool in pools_to_fill(access, "volume.fetch")
    ]
    return render(request, "cloudimages/get.html", {"image": image, "lines": lines})


@require_http_methods(["GET", "POST"])
@administrators
def add(request: HttpRequest, access: Access) -> HttpResponse:
    if request.method == "GET":
        last = CloudImage.objects.aggregate(last=Max("position"))["last"]
        position = 0 if last is None else min(last + 1, cloudimages.MOST_POSITION)
        blank: dict[str, Any] = dict.fromkeys(TYPED, "")
        return form_page(request, blank | {"arch": "x86_64", "position": position, "enabled": True}, {})
    try:
        image = cloudimages.add(parameters_of(request.POST))
    except Invalid as error:
        return form_page(request, typed_in(request.POST), error.fields, status=400)
    messages.success(request, _("%(name)s is in the list.") % {"name": image})
    return redirect("cloud_images")


@require_http_methods(["GET", "POST"])
@administrators
def edit(request: HttpRequest, access: Access, pk: int) -> HttpResponse:
    image = get_object_or_404(CloudImage, pk=pk)
    if request.method == "GET":
        kept = {name: getattr(image, name) for name in (*TYPED, "position", "enabled")}
        return form_page(request, kept, {}, image)
    try:
        cloudimages.change(image, parameters_of(request.POST))
    except Invalid as error:
        image.refresh_from_db()
        return form_page(request, typed_in(request.POST), error.fields, image, status=400)
    messages.success(request, _("%(name)s is changed.") % {"name": image})
    return redirect("cloud_images")


@require_POST
@administrators
def remove(request: HttpRequest, access: Access, pk: int) -> HttpResponse:
    image = get_object_or_404(CloudImage, pk=pk)
    cloudimages.remove(image)
    messages.success(request, _("%(name)s is off the list. Volumes that came from it stay.") % {"name": image})
    return redirect("cloud_images")


def form_page(
    request: HttpRequest,
    typed: dict[str, Any],
    errors: dict[str, str],
    image: CloudImage | None = None,
    status: int = 200,
) -> HttpResponse:
    context = {"typed": typed, "errors": errors, "image": image}
    return render(request, "cloudimages/form.html", context, status=status)


def typed_in(given: QueryDict) -> dict[str, Any]:
    """What was typed, to be shown again."""
    same = {name: given.get(name, "") for name in (*TYPED, "position")}
    return same | {"enabled": "enabled" in given}


def parameters_of(given: QueryDict) -> dict[str, Any]:
    same: dict[str, Any] = {name: text(given, name) for name in TYPED}
    return same | {"position": number(text(given, "position")), "enabled": "enabled" in given}

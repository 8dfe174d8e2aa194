"""The flavours of new machines: what everybody is offered, and what administrators keep of each."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.db.models import Max
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from webvirt.models import Flavour
from webvirt.services import flavours
from webvirt.services.access import Access
from webvirt.services.operations import Invalid
from webvirt.web.forms.form import number, text
from webvirt.web.forms.storage import UNITS, size_of, size_typed
from webvirt.web.guards import administrators, signed_in

TYPED = ("name", "vcpus", "memory", "memory_unit", "disk", "disk_unit", "position")
START = {"vcpus": "2", "memory": "4", "memory_unit": "GiB", "disk": "20", "disk_unit": "GiB"}


@require_GET
@signed_in
def index(request: HttpRequest, access: Access) -> HttpResponse:
    return render(request, "flavours/list.html", {"flavours": list(flavours.flavours())})


@require_http_methods(["GET", "POST"])
@administrators
def add(request: HttpRequest, access: Access) -> HttpResponse:
    if request.method == "GET":
        last = Flavour.objects.aggregate(last=Max("position"))["last"]
        position = 0 if last is None else min(last + 1, flavours.MOST_POSITION)
        return form_page(request, START | {"name": "", "position": position}, {})
    try:
        flavour = flavours.add(parameters_of(request.POST))
    except Invalid as error:
        return form_page(request, typed_in(request.POST), error.fields, status=400)
    messages.success(request, _("%(name)s is in the list.") % {"name": flavour})
    return redirect("flavours")


@require_http_methods(["GET", "POST"])
@administrators
def edit(request: HttpRequest, access: Access, pk: int) -> HttpResponse:
    flavour = get_object_or_404(Flavour, pk=pk)
    if request.method == "GET":
        return form_page(request, kept(flavour), {}, flavour)
    try:
        flavours.change(flavour, parameters_of(request.POST))
    except Invalid as error:
        flavour.refresh_from_db()
        return form_page(request, typed_in(request.POST), error.fields, flavour, status=400)
    messages.success(request, _("%(name)s is changed.") % {"name": flavour})
    return redirect("flavours")


@require_POST
@administrators
def remove(request: HttpRequest, access: Access, pk: int) -> HttpResponse:
    flavour = get_object_or_404(Flavour, pk=pk)
    flavours.remove(flavour)
    messages.success(
        request, _("%(name)s is off the list. Machines of this size stay as they are.") % {"name": flavour}
    )
    return redirect("flavours")


def form_page(
    request: HttpRequest,
    typed: dict[str, Any],
    errors: dict[str, str],
    flavour: Flavour | None = None,
    status: int = 200,
) -> HttpResponse:
    # The form's field is called as people say it.
    errors = {name.removesuffix("_mib"): sentence for name, sentence in errors.items()}
    context = {"typed": typed, "errors": errors, "flavour": flavour, "units": list(UNITS)}
    return render(request, "flavours/form.html", context, status=status)


def kept(flavour: Flavour) -> dict[str, Any]:
    memory, memory_unit = size_typed(flavour.memory_mib * 2**20)
    disk, disk_unit = size_typed(flavour.disk) if flavour.disk else ("", "GiB")
    return {
        "name": flavour.name,
        "vcpus": flavour.vcpus,
        "memory": memory,
        "memory_unit": memory_unit,
        "disk": disk,
        "disk_unit": disk_unit,
        "position": flavour.position,
    }


def typed_in(given: QueryDict) -> dict[str, Any]:
    """What was typed, to be shown again."""
    return {name: given.get(name, "") for name in TYPED}


def parameters_of(given: QueryDict) -> dict[str, Any]:
    memory = size_of(text(given, "memory"), given.get("memory_unit", ""))
    return {
        "name": text(given, "name"),
        "vcpus": number(text(given, "vcpus")),
        "memory_mib": memory // 2**20 if isinstance(memory, int) else memory,
        "disk": size_of(text(given, "disk"), given.get("disk_unit", "")) if text(given, "disk") else 0,
        "position": number(text(given, "position")),
    }

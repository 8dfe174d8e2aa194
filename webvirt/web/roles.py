"""The administrators' pages of custom roles: the verbs of each, chosen by noun."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.db.models import Count
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from webvirt.models import CustomRole
from webvirt.services import roles
from webvirt.services.access import Access
from webvirt.services.catalogue import BY_KIND, Verb
from webvirt.services.operations import Invalid
from webvirt.web.guards import administrators

NOUN_LABELS = {
    "domain": gettext_lazy("On a machine"),
    "host": gettext_lazy("On a host"),
    "pool": gettext_lazy("On a pool"),
    "volume": gettext_lazy("On a volume"),
    "network": gettext_lazy("On a network"),
    "filter": gettext_lazy("On a network filter"),
    "secret": gettext_lazy("On a secret"),
}


@require_GET
@administrators
def index(request: HttpRequest, access: Access) -> HttpResponse:
    found = CustomRole.objects.annotate(held=Count("grants"))
    lines = [(role, [BY_KIND[kind].label for kind in role.kinds if kind in BY_KIND]) for role in found]
    return render(request, "people/roles.html", {"lines": lines})


@require_http_methods(["GET", "POST"])
@administrators
def add(request: HttpRequest, access: Access) -> HttpResponse:
    if request.method == "GET":
        return form_page(request, CustomRole(), {})
    return kept(request, CustomRole())


@require_http_methods(["GET", "POST"])
@administrators
def edit(request: HttpRequest, access: Access, pk: int) -> HttpResponse:
    role = get_object_or_404(CustomRole, pk=pk)
    return form_page(request, role, {}) if request.method == "GET" else kept(request, role)


def verb_choices() -> list[tuple[Promise, list[Verb]]]:
    """The verbs that can be ticked, by what they are done to."""
    return [(NOUN_LABELS[noun], verbs) for noun, verbs in roles.CHOOSABLE.items()]


def kept(request: HttpRequest, role: CustomRole) -> HttpResponse:
    given = request.POST
    try:
        roles.change(role, given.get("name", ""), given.get("description", ""), given.getlist("kinds"))
    except Invalid as error:
        return form_page(request, role, error.fields, status=400)
    messages.success(request, _("%(name)s is kept: it holds as of now, for everybody who has it.") % {"name": role})
    return redirect("roles")


def form_page(request: HttpRequest, role: CustomRole, errors: dict[str, str], status: int = 200) -> HttpResponse:
    given = request.POST
    was_sent = request.method == "POST"
    context: dict[str, Any] = {
        "role": role,
        "choices": verb_choices(),
        "unknown": roles.unknown_kinds(role),
        "chosen": set(given.getlist("kinds") if was_sent else role.kinds),
        "typed": {key: given.get(key, "") if was_sent else getattr(role, key) for key in ("name", "description")},
        "errors": errors,
    }
    return render(request, "people/role.html", context, status=status)


@require_POST
@administrators
def remove(request: HttpRequest, access: Access, pk: int) -> HttpResponse:
    role = get_object_or_404(CustomRole, pk=pk)
    name = role.name
    roles.remove(role)
    messages.success(request, _("The role %(name)s is removed; nobody holds it any more.") % {"name": name})
    return redirect("roles")

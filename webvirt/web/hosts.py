"""Hosts: the list, one host with its tabs, and the forms to add and change one."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_GET, require_http_methods

from webvirt.hypervisor.addresses import line_for
from webvirt.hypervisor.types import Transport
from webvirt.models import Domain, Host, Operation
from webvirt.services import hosts as host_services
from webvirt.services import operations
from webvirt.services.access import Access
from webvirt.services.catalogue import BY_KIND
from webvirt.services.subjects import name_of
from webvirt.web import answers, domains, filters, imports, kinds, pools, secrets
from webvirt.web import devices as hardware
from webvirt.web import networks as virtual
from webvirt.web.actor import actor_of
from webvirt.web.checks import check_label
from webvirt.web.context import under_way_for
from webvirt.web.forms import FORMS
from webvirt.web.guards import administrators, signed_in, wants_json
from webvirt.web.hostkeys import shown_keys
from webvirt.web.lists import query_of, slice_of
from webvirt.web.offers import offers
from webvirt.web.overview import HostCard, host_cards
from webvirt.web.transports import labels
from webvirt.web.verbs import form_page, perform, target_of

ADD = BY_KIND["host.add"]


@require_GET
@signed_in
def index(request: HttpRequest, access: Access) -> HttpResponse:
    return render(request, "hosts/list.html", {"cards": host_cards(access), "transports": labels()})


def find(access: Access, pk: int) -> Host:
    return get_object_or_404(access.hosts(), pk=pk)


def header(request: HttpRequest, access: Access, host: Host, tab: str) -> dict[str, Any]:
    """What every tab of a host shows above itself."""
    under_way = [one for one in under_way_for(request, access) if one.subject == name_of(host)]
    busy = next((operation for operation in under_way if operation.exclusive), None)
    return {
        "host": host,
        "tab": tab,
        "busy": busy,
        "offers": [offer for offer in offers(access, host, busy) if is_in_menu(offer.name, host)],
        "transports": labels(),
    }


def is_in_menu(name: str, host: Host) -> bool:
    """A key is confirmed where there is one; to look at another hypervisor is a step of an import."""
    return bool(host.offered) if name == "trust" else name != "look_elsewhere"


@require_GET
@signed_in
def overview(request: HttpRequest, access: Access, pk: int) -> HttpResponse:
    host = find(access, pk)
    card = HostCard(host)
    for status in Domain.objects.filter(host=host, forgotten_at=None).values_list("status", flat=True):
        card.states[status] += 1
    trial = [check | {"label": check_label(check["key"])} for check in host.trial]
    checks = [check | {"label": check_label(check["key"])} for check in host.checks]
    context = header(request, access, host, "overview") | {"card": card, "trial": trial, "checks_list": checks}
    if access.is_administrator:
        lines = [line_for(key) for key in host_services.our_keys()] if host.transport == Transport.SSH else []
        context |= {"known": shown_keys(host.keys), "offered": shown_keys(host.offered), "lines": lines}
    return render(request, "hosts/overview.html", context)


@require_GET
@signed_in
def machines(request: HttpRequest, access: Access, pk: int) -> HttpResponse:
    host = find(access, pk)
    query = query_of(request.GET, ("q", "state", "project", "tag"))
    found = domains.filtered(access.domains().select_related(None).filter(host=host), query)
    context = domains.list_context(request, access, query, found, with_host=False) | header(
        request, access, host, "machines"
    )
    return render(request, "hosts/machines.html", context)


@require_GET
@signed_in
def storage(request: HttpRequest, access: Access, pk: int) -> HttpResponse:
    host = find(access, pk)
    context = pools.list_context(access, access.pools().filter(host=host)) | {
        "secrets": secrets.lines_of(access.secrets().filter(host=host)),
    }
    return render(request, "hosts/storage.html", header(request, access, host, "storage") | context)


@require_GET
@signed_in
def networks(request: HttpRequest, access: Access, pk: int) -> HttpResponse:
    host = find(access, pk)
    interfaces = [one | {"kind": kinds.interface(one["kind"])} for one in host.interfaces]
    context = virtual.list_context(access, access.networks().filter(host=host)) | {
        "filters": filters.lines_of(access.filters().filter(host=host)),
        "interfaces": interfaces,
    }
    return render(request, "hosts/networks.html", header(request, access, host, "networks") | context)


AFTERWARDS = {"remove": "/hosts/", "create-domain": "/vms/"}
"""Where to see what became of a verb, where that is not on the host's own page."""


@require_GET
@signed_in
def devices(request: HttpRequest, access: Access, pk: int) -> HttpResponse:
    host = find(access, pk)
    lines = hardware.lines_of(host)
    others = {kind: [line for line in lines if line.device["kind"] == kind] for kind in ("usb", "mdev", "scsi")}
    context = {"groups": hardware.groups_of(lines), "others": others}
    return render(request, "hosts/devices.html", header(request, access, host, "devices") | context)


@require_GET
@signed_in
def log(request: HttpRequest, access: Access, pk: int) -> HttpResponse:
    host = find(access, pk)
    query = query_of(request.GET, ())
    found = Operation.objects.filter(host=host).select_related(None)
    part = slice_of(query, found.count())
    context = header(request, access, host, "log") | {
        "query": query,
        "part": part,
        "operations": list(found[part.start : part.start + part.size]),
    }
    return render(request, "hosts/log.html", context)


@require_http_methods(["GET", "POST"])
@administrators
def add(request: HttpRequest, access: Access) -> HttpResponse:
    form = FORMS[ADD.kind]
    if request.method == "GET":
        return form_page(request, access, ADD, None, form.start(None), {})
    try:
        operation = host_services.add(actor_of(request), form.parameters(request.POST))
    except operations.Invalid as error:
        if wants_json(request):
            return answers.refused(request, error, "/hosts/")
        return form_page(request, access, ADD, None, form.typed(request.POST, None), error.fields, status=400)
    except operations.Refused as error:
        return answers.refused(request, error, "/hosts/")
    return answers.accepted(request, operation, f"/hosts/{operation.host_id}/")


@require_http_methods(["GET", "POST"])
@signed_in
def verb(request: HttpRequest, access: Access, pk: int, name: str) -> HttpResponse:
    host = target_of(access, "host", pk, name)
    if name == imports.IMPORT.name:
        return imports.page(request, access, host)
    if name == imports.LOOK.name:
        return imports.look(request, access, host)
    answer = perform(request, access, host, name)
    if name in AFTERWARDS and answer.status_code == 302:
        answer.headers["Location"] = AFTERWARDS[name]
    return answer

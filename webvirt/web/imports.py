"""The way to an import: from a file or an address to the form that tells of the machine, a page for each step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect

from webvirt.models import Host, OperationState
from webvirt.services import operations
from webvirt.services.access import Access
from webvirt.services.catalogue import BY_KIND
from webvirt.services.disclosure import error_for
from webvirt.services.phrases import said
from webvirt.web import answers
from webvirt.web.actor import actor_of
from webvirt.web.forms import FORMS
from webvirt.web.forms.form import Values, filled
from webvirt.web.forms.moving import Chosen, chosen_of, fetch_of, fetched_by, look_of, pools_to_fetch_into
from webvirt.web.forms.within import Within, within
from webvirt.web.guards import wants_json
from webvirt.web.verbs import form_page, parameters_of, perform

IMPORT, FETCH, LOOK = BY_KIND["domain.import"], BY_KIND["volume.fetch"], BY_KIND["host.look_elsewhere"]


def page(request: HttpRequest, access: Access, host: Host) -> HttpResponse:
    """Leads on where the step that is waited for is done; else as any verb's. Http404 for what somebody else has found
    on another hypervisor."""
    source = look_of(request.POST if request.method == "POST" else request.GET, host)
    if source and not (source.user_id == access.user.pk and access.may(LOOK, host)):
        raise Http404
    if request.method == "POST" and "url" in request.POST:
        return begin_fetch(request, access, host)
    if request.method == "GET" and access.may(IMPORT, host):
        place = within(access, IMPORT, host, request.GET.get("project", ""))
        if step := next_step(place, host, request.GET):
            return redirect(f"/hosts/{host.pk}/import-domain/{step}")
        typed = FORMS[IMPORT.kind].begun(request.GET, host)
        return form_page(request, access, IMPORT, host, typed | failure_of(access, typed), {})
    answer = perform(request, access, host, IMPORT.name)
    if answer.status_code == 302:
        answer.headers["Location"] = "/vms/"
    return answer


def next_step(place: Within, host: Host, given: QueryDict) -> str:
    """The address of the step after the one that is asked for; empty while that is the right one. Http404 for a file
    that nothing can be made of there."""
    if operation := fetch_of(given, host):
        there = fetched_by(operation) if operation.state == OperationState.SUCCEEDED else None
        return f"?look={there.pk}{in_project(operation.parameters)}" if there else ""
    volume = chosen_of(given, host)
    if volume is None or isinstance(volume, Chosen):
        return ""
    if not place.rows("volume").filter(pk=volume.pk).exists():
        raise Http404
    word = "volume" if volume.appliance else "look"
    return "" if word in given else f"?{word}={volume.pk}{in_project(given)}"


def in_project(given: Mapping[str, Any]) -> str:
    """The part of an address that says in which project the machine will be."""
    project = str(given.get("project", ""))
    return f"&project={project}" if project.isdecimal() else ""


def failure_of(access: Access, typed: Values) -> Values:
    """Why the step before has failed, if it has."""
    before = typed["looking"] or typed["fetching"] or typed["looked"]
    return {"error": error_for(access, before), "remedy": said(before.remedy)} if before else {}


def begin_fetch(request: HttpRequest, access: Access, host: Host) -> HttpResponse:
    """Have what is at an address fetched into a pool, and looked into there; its page shows how far that is."""
    here, given = f"/hosts/{host.pk}/import-domain/", request.POST
    place = within(access, IMPORT, host, given.get("project", ""))
    pool = next((pool for pool in pools_to_fetch_into(place, host) if str(pool.pk) == given.get("pool")), None)
    if pool is None or not access.may(IMPORT, host):
        return answers.refused(request, operations.Denied(str(FETCH.label)), here)
    try:
        operation = operations.submit(actor_of(request), FETCH, pool, parameters_of(FETCH, given) | {"look_into": True})
    except operations.Invalid as error:
        form = FORMS[IMPORT.kind]
        typed = form.begun(request.GET, host) | {"pool": pool.pk} | filled(given, "url", "checksum")
        return form_page(request, access, IMPORT, host, typed, error.fields, status=400)
    except operations.Refused as error:
        return answers.refused(request, error, here)
    return redirect(f"{here}?fetch={operation.pk}")


def look(request: HttpRequest, access: Access, host: Host) -> HttpResponse:
    """Have another hypervisor looked at; the page of the import shows how far that is, and goes on from there."""
    if request.method == "GET" or "plan" in request.POST or wants_json(request):
        return perform(request, access, host, LOOK.name)
    here, form = f"/hosts/{host.pk}/import-domain/", FORMS[LOOK.kind]
    try:
        operation = operations.submit(actor_of(request), LOOK, host, parameters_of(LOOK, request.POST))
    except operations.Invalid as error:
        return form_page(request, access, LOOK, host, form.typed(request.POST, host), error.fields, status=400)
    except operations.Refused as error:
        return answers.refused(request, error, here)
    return redirect(f"{here}?source={operation.pk}")

"""Asking for a verb from a page: its form where it takes something, and what becomes of the asking."""

from __future__ import annotations

from typing import Any

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, JsonResponse, QueryDict
from django.shortcuts import render
from django.utils.translation import gettext as _

from webvirt.services import operations
from webvirt.services.access import Access
from webvirt.services.catalogue import NoParameters, Verb, verbs_on
from webvirt.services.catalogue.specs import AutostartSpec
from webvirt.services.subjects import Subject, address_of, name_of, noun_of
from webvirt.web import answers
from webvirt.web.actor import actor_of
from webvirt.web.forms import FORMS
from webvirt.web.guards import wants_json


def perform(request: HttpRequest, access: Access, target: Subject, name: str) -> HttpResponse:
    """`GET` shows the form of a verb that has one; `POST` asks for it, or with `plan` for what it would do."""
    verb = next((verb for verb in verbs_on(noun_of(target)) if verb.name == name and not verb.session), None)
    if verb is None:
        raise Http404
    if request.method == "POST":
        return plan(request, access, verb, target) if "plan" in request.POST else ask(request, access, verb, target)
    if verb.kind not in FORMS:
        return HttpResponseNotAllowed(["POST"])
    if not access.may(verb, target):
        return answers.refused(request, operations.Denied(str(verb.label)), address_of(name_of(target)))
    return form_page(request, access, verb, target, FORMS[verb.kind].start(target), {})


def ask(request: HttpRequest, access: Access, verb: Verb, target: Subject) -> HttpResponse:
    home = address_of(name_of(target))
    if access.may(verb, target) and (page := sure_page(request, verb, target)):
        return page
    try:
        operation = operations.submit(actor_of(request), verb, target, parameters_of(verb, request.POST))
    except operations.Invalid as error:
        if wants_json(request) or verb.kind not in FORMS:
            return answers.refused(request, error, home)
        typed = FORMS[verb.kind].typed(request.POST, target)
        return form_page(request, access, verb, target, typed, error.fields, status=400)
    except operations.Refused as error:
        return answers.refused(request, error, home)
    return answers.accepted(request, operation, home)


def sure_page(request: HttpRequest, verb: Verb, target: Subject) -> HttpResponse | None:
    """The question before something is lost; None where it was answered, or there is none."""
    named = request.POST.get("confirm", "").strip() == target.name
    if verb.by_name and not named:
        if wants_json(request):
            error = operations.Invalid({"confirm": _("Type its name to say that you mean it.")})
            return answers.refused(request, error, "")
    elif not verb.danger or "sure" in request.POST or wants_json(request):
        return None
    fields = [(key, request.POST[key]) for key in request.POST if key not in ("csrfmiddlewaretoken", "sure", "confirm")]
    context = {
        "verb": verb,
        "names": [target.name],
        "back": address_of(name_of(target)),
        "fields": fields,
        "wrong": "confirm" in request.POST,
    }
    return render(request, "sure.html", context)


def plan(request: HttpRequest, access: Access, verb: Verb, target: Subject) -> HttpResponse:
    """What a form would do as it is filled in now: the commands, or what is wrong with which field."""
    if not access.may(verb, target):
        return answers.refused(request, operations.Denied(str(verb.label)), "")
    try:
        spec = operations.parse_parameters(verb, parameters_of(verb, request.POST))
    except operations.Invalid as error:
        return JsonResponse({"virsh": "", "fields": error.fields})
    more = FORMS[verb.kind].plan(target, spec) if verb.kind in FORMS else {}
    return JsonResponse({"virsh": verb.virsh(target, spec), "fields": {}} | more)


def form_page(
    request: HttpRequest,
    access: Access,
    verb: Verb,
    target: Subject | None,
    typed: dict[str, Any],
    errors: dict[str, str],
    status: int = 200,
) -> HttpResponse:
    form = FORMS[verb.kind]
    home = address_of(name_of(target)) if target else "/hosts/"
    context = {"verb": verb, "target": target, "typed": typed, "errors": errors, "home": home}
    return render(request, form.template, context | form.more(access, target), status=status)


def parameters_of(verb: Verb, given: QueryDict) -> dict[str, Any]:
    """A form's fields as the verb's parameters; fields that the verb does not take never get through."""
    if verb.spec is NoParameters:
        return {}
    if verb.spec is AutostartSpec:
        return {"enabled": given.get("enabled") == "on"}
    return FORMS[verb.kind].parameters(given)

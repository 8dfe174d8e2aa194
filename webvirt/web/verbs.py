"""Verbs from pages: what a form sent, made into parameters; what is to be asked first; then the operation."""

from __future__ import annotations

from typing import Any

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, QueryDict
from django.shortcuts import render

from webvirt.models import Domain, Host
from webvirt.services import operations
from webvirt.services.access import Access
from webvirt.services.catalogue import BY_KIND, NoParameters, Verb
from webvirt.web import answers
from webvirt.web.actor import actor_of
from webvirt.web.guards import wants_json
from webvirt.web.offers import KEYS, address_of
from webvirt.web.transports import choices

FORMS = {
    "domain.rename": "domains/rename.html",
    "domain.edit": "domains/edit.html",
    "domain.send_key": "domains/send_key.html",
    "host.edit": "hosts/form.html",
}


def perform(request: HttpRequest, access: Access, target: Domain | Host, name: str) -> HttpResponse:
    """`GET` shows the form of a verb that has one; `POST` asks for it."""
    noun = "domain" if isinstance(target, Domain) else "host"
    verb = BY_KIND.get(f"{noun}.{name}")
    if verb is None or verb.session or verb.kind == "host.add":
        raise Http404
    if request.method == "POST":
        return ask(request, access, verb, target)
    if verb.kind not in FORMS:
        return HttpResponseNotAllowed(["POST"])
    if not access.may(verb, target):
        return answers.refused(request, operations.Denied(str(verb.label)), address_of(target))
    return form_page(request, verb, target, shown_values(target), {})


def ask(request: HttpRequest, access: Access, verb: Verb, target: Domain | Host) -> HttpResponse:
    home = address_of(target)
    typed = typed_values(verb, request.POST)
    fields = [("next", request.POST["next"])] if "next" in request.POST else []
    if verb.danger and "sure" not in request.POST and not wants_json(request) and access.may(verb, target):
        return render(request, "sure.html", {"verb": verb, "names": [target.name], "back": home, "fields": fields})
    try:
        operation = operations.submit(actor_of(request), verb, target, parameters_of(verb, request.POST))
    except operations.Invalid as error:
        if wants_json(request) or verb.kind not in FORMS:
            return answers.refused(request, error, home)
        return form_page(request, verb, target, typed, error.fields, status=400)
    except operations.Refused as error:
        return answers.refused(request, error, home)
    return answers.accepted(request, operation, home)


def form_page(
    request: HttpRequest,
    verb: Verb,
    target: Domain | Host,
    typed: dict[str, Any],
    errors: dict[str, str],
    status: int = 200,
) -> HttpResponse:
    context = {"verb": verb, "target": target, "typed": typed, "errors": errors, "home": address_of(target)}
    return render(request, FORMS[verb.kind], context | {"combinations": KEYS, "choices": choices()}, status=status)


def shown_values(target: Domain | Host) -> dict[str, Any]:
    """What a form starts with: as it is now."""
    if isinstance(target, Host):
        return {
            "name": target.name,
            "transport": target.transport,
            "hostname": target.hostname,
            "port": target.port or "",
            "user": target.user,
        }
    return {
        "name": target.name,
        "title": target.title,
        "description": target.description,
        "tags": " ".join(target.tags),
        "keys": "",
    }


def typed_values(verb: Verb, given: QueryDict) -> dict[str, str]:
    return {key: given.get(key, "") for key in ("name", "title", "description", "tags", "keys", *HOST_FIELDS)}


HOST_FIELDS = ("transport", "hostname", "port", "user")


def parameters_of(verb: Verb, given: QueryDict) -> dict[str, Any]:
    """A form's fields as the verb's parameters; fields that the verb does not take never get through."""
    if verb.spec is NoParameters:
        return {}
    if verb.noun == "host":
        return host_parameters(given)
    if verb.kind == "domain.autostart":
        return {"enabled": given.get("enabled") == "on"}
    if verb.kind == "domain.send_key":
        return {"keys": [int(key) if key.strip().isdecimal() else key for key in given.get("keys", "").split(",")]}
    # Browsers send line ends as CR LF; XML would keep the CR as a character of its own.
    typed = {key: given.get(key, "").replace("\r\n", "\n") for key in verb.spec.model_fields if key in given}
    if "tags" in typed:
        return typed | {"tags": typed["tags"].replace(",", " ").split()}
    return typed


def host_parameters(given: QueryDict) -> dict[str, Any]:
    fields: dict[str, Any] = {"name": given.get("name", "").strip(), "transport": given.get("transport", "")}
    for key in ("hostname", "port", "user"):
        if value := given.get(key, "").strip():
            fields[key] = value
    return fields

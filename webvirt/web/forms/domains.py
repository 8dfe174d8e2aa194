"""Forms of domains' verbs."""

from __future__ import annotations

from django.http import QueryDict

from webvirt.models import Domain
from webvirt.services.access import Access
from webvirt.services.subjects import Subject
from webvirt.web.forms.form import Form, Values, number
from webvirt.web.offers import KEYS


def combinations(access: Access, target: Subject | None) -> Values:
    return {"combinations": KEYS}


def start_rename(domain: Domain) -> Values:
    return {"name": domain.name}


def rename(given: QueryDict) -> Values:
    return {"name": given.get("name", "")}


def start_edit(domain: Domain) -> Values:
    return {"title": domain.title, "description": domain.description, "tags": " ".join(domain.tags)}


def edit(given: QueryDict) -> Values:
    # Browsers send line ends as CR LF; XML would keep the CR as a character of its own.
    typed = {key: given.get(key, "").replace("\r\n", "\n") for key in ("title", "description", "tags") if key in given}
    return typed | ({"tags": typed["tags"].replace(",", " ").split()} if "tags" in typed else {})


def start_send_key(domain: Domain) -> Values:
    return {"keys": ""}


def send_key(given: QueryDict) -> Values:
    return {"keys": [number(key.strip()) for key in given.get("keys", "").split(",")]}


FORMS = {
    "domain.rename": Form("domains/rename.html", start_rename, rename),
    "domain.edit": Form("domains/edit.html", start_edit, edit),
    "domain.send_key": Form("domains/send_key.html", start_send_key, send_key, combinations),
}

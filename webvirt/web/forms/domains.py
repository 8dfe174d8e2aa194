"""Forms of domains' verbs."""

from __future__ import annotations

from django.db.models import QuerySet
from django.http import QueryDict

from webvirt.models import CardUse, Domain, Filter
from webvirt.services.access import Access
from webvirt.services.subjects import Subject, host_of
from webvirt.web.forms.form import Form, Values, number, text
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


def start_filter(domain: Domain) -> Values:
    """The first card, with the filter that it goes through."""
    card = cards_of(domain).first()
    return {"mac": card.mac if card else "", "filter": card.filter if card else ""}


def set_filter(given: QueryDict) -> Values:
    return {"mac": text(given, "mac"), "filter": text(given, "filter")}


def cards_of(domain: Domain) -> QuerySet[CardUse]:
    return CardUse.objects.filter(domain=domain).order_by("mac", "live")


def cards_and_filters(access: Access, target: Subject | None) -> Values:
    """What can be chosen: cards as they will be at the next start, and the host's filters."""
    assert isinstance(target, Domain)
    here = Filter.objects.filter(host=host_of(target), missing_since=None).order_by("name")
    cards = {card.mac: card for card in reversed(cards_of(target))}
    return {"cards": sorted(cards.values(), key=lambda card: card.mac), "filters": list(here)}


FORMS = {
    "domain.rename": Form("domains/rename.html", start_rename, rename),
    "domain.edit": Form("domains/edit.html", start_edit, edit),
    "domain.set_filter": Form("domains/set_filter.html", start_filter, set_filter, cards_and_filters),
    "domain.send_key": Form("domains/send_key.html", start_send_key, send_key, combinations),
}

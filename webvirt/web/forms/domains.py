"""Forms of domains' verbs."""

from __future__ import annotations

from django.conf import settings
from django.db.models import QuerySet
from django.http import QueryDict

from webvirt.models import CardUse, Definition, Domain, Filter
from webvirt.services import belongings, images, spice
from webvirt.services.access import Access
from webvirt.services.allowances import discs_for
from webvirt.services.catalogue.displays import ToVncSpec, video_for_vnc
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


def start_delete(domain: Domain) -> Values:
    """What goes with it by itself is ticked."""
    return {"volumes": [str(one.volume.pk) for one in belongings.of(domain) if one.volume and one.is_own]}


def delete(given: QueryDict) -> Values:
    """Without the list of its files, as from the bar of a list, what goes with it is what is its own."""
    return {"volumes": [number(pk) for pk in given.getlist("volumes")]} if "listed" in given else {}


def files_of(access: Access, target: Subject | None) -> Values:
    assert isinstance(target, Domain)
    # By name, others are for who knows of everything on the host.
    knows_others = access.hosts().filter(pk=target.host_id).exists()
    return {"belongings": belongings.of(target), "days": settings.WEBVIRT_BIN_DAYS, "knows_others": knows_others}


def start_disc(domain: Domain) -> Values:
    drives = belongings.drives_of(domain)
    return {"drive": next(iter(drives), ""), "volume": ""}


def start_eject(domain: Domain) -> Values:
    return {"drive": next(iter(filled_drives(domain)), "")}


def filled_drives(domain: Domain) -> dict[str, str]:
    return {drive: disc for drive, disc in belongings.drives_of(domain).items() if disc}


def eject(given: QueryDict) -> Values:
    return {"drive": text(given, "drive")}


def insert(given: QueryDict) -> Values:
    return {"drive": text(given, "drive"), "volume": number(text(given, "volume"))}


def drives(access: Access, target: Subject | None) -> Values:
    assert isinstance(target, Domain)
    here = discs_for(access.rows, target).filter(images.IS_ISO, making=None).order_by("name")
    return {"drives": belongings.drives_of(target), "discs": list(here[:500])}


def drives_to_empty(access: Access, target: Subject | None) -> Values:
    assert isinstance(target, Domain)
    return {"drives": filled_drives(target)}


def start_vnc(domain: Domain) -> Values:
    return {"video": "auto"}


def to_vnc(given: QueryDict) -> Values:
    return {"video": text(given, "video") or "auto"}


def losses(access: Access, target: Subject | None) -> Values:
    assert isinstance(target, Domain)
    definition = Definition.objects.filter(domain=target).only("inactive").first()
    return {
        "lost": spice.lost_by_vnc(target),
        "has_qxl": definition is not None and definition.inactive.get("video") == "qxl",
        "usual": video_for_vnc(target, ToVncSpec()),
        "runs": target.is_active,
    }


FORMS = {
    "domain.to_vnc": Form("domains/to_vnc.html", start_vnc, to_vnc, losses),
    "domain.delete": Form("domains/delete.html", start_delete, delete, files_of),
    "domain.purge": Form("domains/delete.html", start_delete, delete, files_of),
    "domain.insert": Form("domains/disc.html", start_disc, insert, drives),
    "domain.eject": Form("domains/disc.html", start_eject, eject, drives_to_empty),
    "domain.rename": Form("domains/rename.html", start_rename, rename),
    "domain.edit": Form("domains/edit.html", start_edit, edit),
    "domain.set_filter": Form("domains/set_filter.html", start_filter, set_filter, cards_and_filters),
    "domain.send_key": Form("domains/send_key.html", start_send_key, send_key, combinations),
}

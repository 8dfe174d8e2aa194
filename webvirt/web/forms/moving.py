"""The form of a machine that is made of a file."""

from __future__ import annotations

import re
from dataclasses import dataclass

from django.http import QueryDict
from django.utils.translation import gettext as _

from webvirt.hypervisor.xml.domains import preview_of
from webvirt.models import Host, Network, NetworkStatus, Operation, Volume
from webvirt.services import images, uses
from webvirt.services.access import Access
from webvirt.services.appliances import from_json, stem_of
from webvirt.services.catalogue import BY_KIND
from webvirt.services.catalogue.building import plan_of
from webvirt.services.catalogue.creation import NOBODY
from webvirt.services.catalogue.moving import ImportSpec, appliance_in, places_of, wish_of
from webvirt.services.catalogue.wishes import CardWish
from webvirt.services.ovf import Appliance
from webvirt.services.subjects import Subject, name_of
from webvirt.services.systems import systems, traits_of
from webvirt.web.forms import creation
from webvirt.web.forms.creation import MOST_OFFERED, pools_of, steps_of, warnings_of
from webvirt.web.forms.form import Form, Values, filled, number, text
from webvirt.web.forms.storage import size_of
from webvirt.web.kinds import forward


@dataclass(frozen=True)
class ImportForm(Form):
    """One that begins with what is known of the file."""

    def begun(self, given: QueryDict, target: Subject) -> Values:
        assert isinstance(target, Host)
        chosen = chosen_of(given, target)
        return self.start(target) | told_by(target, chosen) | of_the_file(chosen)

    def typed(self, given: QueryDict, target: Subject | None) -> Values:
        assert isinstance(target, Host)
        return super().typed(given, target) | of_the_file(chosen_of(given, target))


def start(host: Host) -> Values:
    pool = pools_of(host).first()
    plain = dict.fromkeys(("volume", "name", "os", "vcpus", "memory"), "")
    return plain | {
        "pool": pool.pk if pool else "",
        "memory_unit": "MiB",
        "firmware": "auto",
        "bus": "auto",
        "card": [""],
        "start": "on",
    }


def chosen_of(given: QueryDict, host: Host) -> Volume | None:
    """The volume of this host that the address or the form names."""
    pk = number(text(given, "volume"))
    found = Volume.objects.filter(pool__host=host, missing_since=None, making=None).select_related("pool__host")
    return found.filter(pk=pk).first() if isinstance(pk, int) else None


def of_the_file(chosen: Volume | None) -> Values:
    """The file that is imported, and who is just looking into it."""
    asked = Operation.objects.active().filter(kind="volume.look_into", subject=name_of(chosen)) if chosen else None
    return {"chosen": chosen, "looking": asked.first() if asked is not None else None}


def told_by(host: Host, chosen: Volume | None) -> Values:
    """The machine as the file tells it; its cards on networks of the same names, else on the first that is active."""
    if chosen is None or not chosen.appliance:
        return {}
    appliance = from_json(chosen.appliance)
    memory = appliance.memory_mib or traits_of(appliance.os).memory_kib // 1024
    return {
        "volume": str(chosen.pk),
        "name": plain_name(appliance.name or stem_of(chosen.title or chosen.name)),
        "os": appliance.os,
        "vcpus": str(appliance.vcpus or 1),
        "memory": str(memory),
        "card": [place_of(wish) for wish in wishes_of(host, appliance)] or [""],
    }


def wishes_of(host: Host, appliance: Appliance) -> list[CardWish]:
    places = places_of(host)
    usual = Network.objects.filter(host=host, status=NetworkStatus.ACTIVE, missing_since=None).order_by("name").first()
    found = (places.get(card.network) or (places[usual.name] if usual else None) for card in appliance.cards)
    return [wish for wish in found if wish]


def place_of(wish: CardWish) -> str:
    return f"network:{wish.network}" if wish.network else f"bridge:{wish.bridge}"


def plain_name(name: str) -> str:
    """A name as one of ours may be."""
    return re.sub(r"[/\x00-\x1f]+", "-", name).strip(" ").lstrip(".-")[:60].strip(" ")


def parameters(given: QueryDict) -> Values:
    found: Values = {"name": text(given, "name"), "volume": number(text(given, "volume"))}
    found |= {"pool": number(text(given, "pool")), "start": "start" in given}
    found |= filled(given, "os", "firmware", "bus")
    if vcpus := text(given, "vcpus"):
        found["vcpus"] = number(vcpus)
    if typed := text(given, "memory"):
        memory = size_of(typed, given.get("memory_unit", ""))
        found["memory_mib"] = memory // 2**20 if isinstance(memory, int) else memory
    # Where the form shows no cards, they are as the file tells.
    return found | ({"cards": creation.cards(given)} if "card" in given else {})


def choices(access: Access, target: Subject | None) -> Values:
    assert isinstance(target, Host)
    here = access.volumes().filter(pool__host=target, making=None, kind="file", capacity__gt=0)
    files = list(here.exclude(images.IS_ISO).select_related("pool").order_by("name", "pk")[:MOST_OFFERED])
    used = uses.names_of_users(files)
    networks = access.networks().filter(host=target).order_by("name")
    return {
        "files": [row for row in files if not used[row.pk]],
        "pools": list(pools_of(target)),
        "systems": systems(),
        "networks": [(row, forward(row.forward)) for row in networks],
        "bridges": [one["name"] for one in target.interfaces if one.get("type") == "bridge"],
        "look_label": BY_KIND["volume.look_into"].label,
    }


def foreseen(host: Host, spec: ImportSpec) -> Values:
    """What will be made where, as far as what is in the file is known."""
    volume = Volume.objects.filter(pk=spec.volume).first()
    appliance = appliance_in(volume)
    wish = wish_of(host, spec, appliance)
    plan = plan_of(host, wish, NOBODY)
    # Of an export of ours the definition comes along; what it says is not known here.
    xml = "" if appliance.is_own else preview_of(plan.domain)
    steps = [] if appliance.is_own else steps_of(host, plan, wish)
    rows = steps or [[_("Disk"), f"{new.pool.name}/{new.name}"] for new in plan.volumes]
    return {"steps": rows, "warnings": warnings_of(host, wish), "xml": xml}


FORMS = {"domain.import": ImportForm("domains/import.html", start, parameters, choices, foreseen, named=creation.named)}

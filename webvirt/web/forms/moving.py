"""The forms of a machine that is made of a file, and of one that goes into one."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode

from django.http import Http404, QueryDict
from django.utils.translation import gettext as _

from webvirt.hypervisor.xml.domains import preview_of
from webvirt.models import Domain, Host, Network, NetworkStatus, Operation, Pool, SourceHost, Volume
from webvirt.services import appliances, belongings, foreign, images, uses
from webvirt.services.appliances import from_json, stem_of
from webvirt.services.catalogue import BY_KIND, why_not
from webvirt.services.catalogue.building import FILES, plan_of
from webvirt.services.catalogue.creation import NOBODY
from webvirt.services.catalogue.moving import (
    ImportSpec,
    OvaSpec,
    appliance_of,
    names_in_ova,
    places_of,
    wish_of,
)
from webvirt.services.catalogue.wishes import CardWish
from webvirt.services.ovf import Appliance
from webvirt.services.subjects import Subject, name_of
from webvirt.services.systems import systems, traits_of
from webvirt.web.forms import creation
from webvirt.web.forms.creation import MOST_OFFERED, bridges_in, pools_in, pools_of, steps_of, warnings_of
from webvirt.web.forms.form import Form, Values, filled, number, text
from webvirt.web.forms.hosts import SOURCES
from webvirt.web.forms.storage import size_of
from webvirt.web.forms.within import Within
from webvirt.web.hostkeys import shown_keys
from webvirt.web.kinds import forward
from webvirt.web.words import size

LOOK = BY_KIND["host.look_elsewhere"]
PLACE = ("kind", "hostname", "port", "user", "path")
"""What of a look is filled in again. That a certificate is not checked is said each time."""


@dataclass(frozen=True)
class ImportForm(Form):
    """One that begins with what is known of the file."""

    def begun(self, given: QueryDict, target: Subject) -> Values:
        assert isinstance(target, Host)
        chosen = chosen_of(given, target)
        here = of_the_file(chosen) | of_the_address(given, target) | of_the_source(given, target)
        return self.start(target) | told_by(target, chosen) | here

    def typed(self, given: QueryDict, target: Subject | None) -> Values:
        assert isinstance(target, Host)
        here = of_the_file(chosen_of(given, target)) | of_the_address(given, target)
        return super().typed(given, target) | here | of_the_source(given, target)


@dataclass(frozen=True)
class Chosen:
    """A machine of another hypervisor in the place of a volume that is imported."""

    source: SourceHost
    machine: str
    name: str
    appliance: dict[str, Any]
    title: str = ""


def start(host: Host) -> Values:
    pool = pools_of(host).first()
    plain = dict.fromkeys(("volume", "name", "os", "vcpus", "memory"), "")
    return plain | {
        "pool": pool.pk if pool else "",
        "memory_unit": "MiB",
        "firmware": "auto",
        "bus": "auto",
        "card": [""],
        "mac": [""],
        "start": "on",
        "error": "",
        "remedy": "",
    }


def of_the_address(given: QueryDict, host: Host) -> Values:
    """What is fetched, and from where; once that has failed, to be corrected."""
    operation = fetch_of(given, host)
    before = operation.parameters if operation else {}
    return {"fetching": operation, "url": before.get("url", ""), "checksum": before.get("checksum", "")}


def fetch_of(given: QueryDict, host: Host) -> Operation | None:
    """The fetch that an import from an address began with, by what the address of the page says."""
    pk = number(text(given, "fetch"))
    found = Operation.objects.filter(kind="volume.fetch", host=host)
    return found.filter(pk=pk).first() if isinstance(pk, int) else None


def fetched_by(operation: Operation) -> Volume | None:
    """What a fetch that is done has brought, if it is still there."""
    pool = int(operation.subject.partition(":")[2])
    name = (operation.result or {}).get("volume")
    return Volume.objects.filter(pool=pool, name=name, missing_since=None, making=None).first()


def of_the_source(given: QueryDict, host: Host) -> Values:
    """The look at another hypervisor that this is about, and what it has found so far."""
    operation = look_of(given, host)
    source = foreign.source_of(operation.pk) if operation else None
    offers = foreign.offers_of(source) if source else []
    told = operation.parameters if operation else {}
    again = {name: told[name] for name in PLACE if told.get(name)}
    return {"looking": operation, "source": source, "machines": offers, "again": urlencode(again)}


def look_of(given: QueryDict, host: Host) -> Operation | None:
    """The look at another hypervisor that an import begins with, by what the address of the page or its form says."""
    pk = number(text(given, "source"))
    found = Operation.objects.filter(kind="host.look_elsewhere", host=host)
    return found.filter(pk=pk).first() if isinstance(pk, int) else None


def pools_to_fetch_into(place: Within, host: Host) -> list[Pool]:
    """The pools of a host where this person may have files brought from the web."""
    fetch = BY_KIND["volume.fetch"]
    return [pool for pool in pools_in(place, host) if pool.type in FILES and place.access.may(fetch, pool)]


def chosen_of(given: QueryDict, host: Host) -> Volume | Chosen | None:
    """The volume of this host that the address or the form names, to be imported or to be looked into first; or a
    machine of another hypervisor."""
    if uuid := text(given, "machine"):
        operation = look_of(given, host)
        source = foreign.source_of(operation.pk) if operation else None
        offer = foreign.offer_in(source, uuid)
        return Chosen(source, uuid, offer.name, appliances.as_json(offer.appliance)) if source and offer else None
    pk = number(text(given, "volume") or text(given, "look"))
    found = Volume.objects.filter(pool__host=host, missing_since=None, making=None).select_related("pool__host")
    return found.filter(pk=pk).first() if isinstance(pk, int) else None


def of_the_file(chosen: Volume | Chosen | None) -> Values:
    """The file that is imported, and who last looked into it, or does so now."""
    asked = None
    if isinstance(chosen, Volume):
        asked = Operation.objects.filter(kind="volume.look_into", subject=name_of(chosen))
    return {"chosen": chosen, "looked": asked.order_by("-pk").first() if asked is not None else None}


def told_by(host: Host, chosen: Volume | Chosen | None) -> Values:
    """The machine as the file tells it; its cards on networks of the same names, else on the first that is active."""
    if chosen is None or not chosen.appliance:
        return {}
    appliance = from_json(chosen.appliance)
    wishes = wishes_of(host, appliance)
    memory = appliance.memory_mib or traits_of(appliance.os).memory_kib // 1024
    return {
        "volume": str(chosen.pk) if isinstance(chosen, Volume) else "",
        "name": plain_name(appliance.name or stem_of(chosen.title or chosen.name)),
        "os": appliance.os,
        "vcpus": str(appliance.vcpus or 1),
        "memory": str(memory),
        "card": [place_of(wish) for wish in wishes] or [""],
        "mac": [card.mac for card, _wish in zip(appliance.cards, wishes, strict=False)] or [""],
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
    found: Values = {"name": text(given, "name")}
    if uuid := text(given, "machine"):
        found |= {"source": number(text(given, "source")), "machine": uuid}
    else:
        found["volume"] = number(text(given, "volume"))
    found |= {"pool": number(text(given, "pool")), "start": "start" in given}
    found |= filled(given, "os", "firmware", "bus")
    if vcpus := text(given, "vcpus"):
        found["vcpus"] = number(vcpus)
    if typed := text(given, "memory"):
        memory = size_of(typed, given.get("memory_unit", ""))
        found["memory_mib"] = memory // 2**20 if isinstance(memory, int) else memory
    # Where the form shows no cards, they are as the file tells.
    return found | ({"cards": cards(given)} if "card" in given else {})


def cards(given: QueryDict) -> list[Values]:
    """Where each is, and the address that it keeps where its row has one."""
    macs = given.getlist("mac")
    if not macs:
        return creation.cards(given)
    pairs = zip(given.getlist("card"), macs, strict=False)
    kept = [mac.strip() for chosen, mac in pairs if chosen]
    return [card | ({"mac": mac} if mac else {}) for card, mac in zip(creation.cards(given), kept, strict=False)]


def offers(place: Within, target: Host, typed: Values) -> Values:
    chosen = typed["chosen"]
    if isinstance(chosen, Volume) and not place.rows("volume").filter(pk=chosen.pk).exists():
        raise Http404
    may_look = place.access.may(LOOK, target)
    looked = foreign.looked_by(place.access.user, target.pk) if may_look else []
    pools = pools_in(place, target)
    here = place.rows("volume").filter(pool__host=target, making=None, kind="file", capacity__gt=0)
    files = list(here.exclude(images.IS_ISO).select_related("pool").order_by("name", "pk")[:MOST_OFFERED])
    used = uses.names_of_users(files)
    networks = place.rows("network").filter(host=target).order_by("name")
    return {
        "files": [row for row in files if not used[row.pk]],
        "pools": [pool for pool in pools if pool.type in FILES] if isinstance(chosen, Chosen) else pools,
        "fetch_pools": pools_to_fetch_into(place, target),
        "look": LOOK if may_look else None,
        "sources": [(row, SOURCES[row.address.kind]) for row in looked],
        "offered": shown_keys(typed["source"].offered) if typed["source"] else [],
        "systems": systems(),
        "networks": [(row, forward(row.forward)) for row in networks],
        "bridges": bridges_in(place, target),
        "look_label": BY_KIND["volume.look_into"].label,
    }


def foreseen(host: Host, spec: ImportSpec) -> Values:
    """What will be made where, as far as what is in the file is known."""
    appliance = appliance_of(spec)
    wish = wish_of(host, spec, appliance)
    plan = plan_of(host, wish, NOBODY)
    # Of an export of ours the definition comes along; what it says is not known here.
    xml = "" if appliance.is_own else preview_of(plan.domain)
    # How large a disk is may be told only once it is imported.
    told = zip(plan.volumes, appliance.disks, strict=True)
    known = replace(plan, volumes=tuple(replace(new, capacity=disk.capacity) for new, disk in told))
    steps = [] if appliance.is_own else steps_of(host, known, wish)
    rows = steps or [[_("Disk"), f"{new.pool.name}/{new.name}"] for new in plan.volumes]
    return {"steps": rows, "warnings": warnings_of(host, wish), "xml": xml}


def start_ova(domain: Domain) -> Values:
    pool = places_for_ova(domain).first()
    return {"pool": pool.pk if pool else "", "name": f"{names_in_ova(domain.name).stem}.ova"}


def places_for_ova(domain: Domain) -> Any:
    """The pools where a file can be, those with the most room first."""
    return pools_of(domain.host).filter(type__in=FILES)


def ova(given: QueryDict) -> Values:
    return {"pool": number(text(given, "pool")), "name": text(given, "name")}


def ways_out(place: Within, target: Domain, typed: Values) -> Values:
    """Where an appliance can be made, and whether it can be a bundle instead."""
    bundle, create = BY_KIND["domain.export"], BY_KIND["volume.create"]
    pools = [pool for pool in pools_in(place, target.host) if pool.type in FILES]
    return {
        "pools": [pool for pool in pools if place.ground or place.access.may_freely(create, pool)],
        "bundle": bundle,
        "not_bundle": why_not(bundle, target),
    }


def foreseen_ova(domain: Domain, spec: OvaSpec) -> Values:
    """What will be in the file, and what of the machine does not go along."""
    names = names_in_ova(domain.name)
    volumes = [one.volume for one in belongings.of(domain) if one.volume and one.device in uses.DISKS]
    rows = [[_("Description"), names.envelope], [_("Checksums"), names.manifest]]
    rows += [[_("Disk"), f"{names.disk(at)} · {size(each.capacity)}"] for at, each in enumerate(volumes, 1)]
    return {"steps": rows, "warnings": lost_in_ova(domain), "xml": ""}


def lost_in_ova(domain: Domain) -> list[str]:
    definition = getattr(domain, "definition", None)
    told = definition.inactive if definition else {}
    found = []
    if told.get("firmware", "bios") != "bios":
        found.append(_("It starts by UEFI: VirtualBox does not read that from an appliance, so switch EFI on there."))
    if any(device.get("kind") == "tpm" for device in told.get("devices", ())):
        found.append(
            _("The state of its TPM is not in an appliance: what is sealed with it cannot be opened elsewhere.")
        )
    if any(each.get("bus") == "virtio" for each in told.get("disks", ()) if each.get("device") in uses.DISKS):
        found.append(_("Its disks come on a SAS controller and its cards as Intel's E1000: VMware has no virtio."))
    return found


FORMS = {
    "domain.import": ImportForm(
        "domains/import.html", start, parameters, plan=foreseen, named=creation.named, offers=offers
    ),
    "domain.export_ova": Form("domains/export_ova.html", start_ova, ova, plan=foreseen_ova, offers=ways_out),
}

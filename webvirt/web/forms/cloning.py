"""The forms of a clone, what becomes of each disk and what it is told at its first start, and of a template."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from typing import Any

from django.http import QueryDict
from django.utils.translation import gettext as _
from django.utils.translation import pgettext

from webvirt.hypervisor.xml.domain_copies import moved_copy, preview_of_copy
from webvirt.models import Definition, Domain, Host, Pool
from webvirt.services import templates
from webvirt.services.access import Access
from webvirt.services.bulk import for_each_name
from webvirt.services.catalogue import BY_KIND
from webvirt.services.catalogue.building import NewVolume
from webvirt.services.catalogue.cloned_disks import Disk, disks_of, ways_for
from webvirt.services.catalogue.cloning import RUNS, ClonePlan, clone_plan_of, has_agent, pauses
from webvirt.services.catalogue.creation import NOBODY
from webvirt.services.catalogue.elsewhere import cards_on, lacking
from webvirt.services.catalogue.moving import places_of
from webvirt.services.catalogue.wishes import CardWish, CloneDomainSpec, Way
from webvirt.services.placement import may_make_on, places_for
from webvirt.services.subjects import Subject
from webvirt.services.uses import used_by
from webvirt.web.forms.creation import SETUP, pools_in, setup
from webvirt.web.forms.form import Form, Values, number, text
from webvirt.web.forms.within import Within
from webvirt.web.words import size

MADE = (Way.COPY, Way.LINK)
"""The ways that make a volume, for which a pool can be chosen."""


def start(domain: Domain) -> Values:
    """Each disk as fits it, each in its own pool."""
    disks = disks_of(domain)
    return {
        "name": "",
        "title": domain.title,
        "host": "",
        "card": [],
        "target": [disk.target for disk in disks],
        "way": [ways_for(disk)[0][0].value for disk in disks],
        "pool": ["" for _disk in disks],
        "with_setup": "",
        **dict.fromkeys((*SETUP, "ssh_keys", "dns", "packages"), ""),
        "agent": "on",
        "start": "",
    }


def parameters(given: QueryDict) -> Values:
    found: Values = {"name": text(given, "name"), "start": "start" in given}
    if "title" in given:
        found["title"] = text(given, "title")
    if host := text(given, "host"):
        found |= {"host": number(host), "cards": [card_from(one) for one in given.getlist("card")]}
    if rows := disks(given):
        found["disks"] = rows
    if given.get("with_setup"):
        found |= {"setup": setup(given), "password": given.get("password", "")}
    return found


def disks(given: QueryDict) -> list[Values]:
    """The rows of disks; a pool counts where something is made in it."""
    rows = []
    for target, way, pool in zip(*(given.getlist(column) for column in ("target", "way", "pool")), strict=False):
        row: Values = {"target": target, "way": way}
        rows.append(row | {"pool": number(pool)} if pool and way in MADE else row)
    return rows


LEFT_OUT = "none"


def card_from(chosen: str) -> Values | None:
    """A card's place as in the form of a new machine; LEFT_OUT for one that the clone has not."""
    kind, _colon, name = chosen.partition(":")
    return None if chosen == LEFT_OUT else {"network": number(name)} if kind == "network" else {"bridge": name}


def named(field: str) -> str:
    """The form's own name of a parameter that something is wrong with."""
    if parts := re.fullmatch(r"disks\.\d+\.(\w+)", field):
        return "pool" if parts[1] == "pool" else "way"
    if field.startswith("cards"):
        return "card"
    if field.startswith("setup."):
        return field.split(".")[1]
    return {"setup": "with_setup", "disks": "way"}.get(field, field)


def way_words() -> dict[Way, str]:
    return {
        Way.COPY: _("Copy it"),
        Way.LINK: _("Make a layer over it"),
        Way.SHARE: _("Share it"),
        Way.LEAVE: _("Leave it out"),
    }


def offers(place: Within, target: Domain, typed: Values) -> Values:
    return {
        "on_host": partial(on_host, place, target),
        "versions": list(templates.versions_of(place.access.domains(), target)),
        "own_keys": place.access.user.ssh_keys,
        "windows": False,
    }


def on_host(place: Within, domain: Domain, chosen: str) -> Values:
    """What there is to choose from where the clone is made on the host that was chosen; its own where none was."""
    definition = Definition.objects.filter(domain=domain).first()
    hosts = hosts_for(place, domain, definition)
    elsewhere = next((host for host, _reason, _fits in hosts if str(host.pk) == chosen and host != domain.host), None)
    words = way_words()
    judged = [(disk, *ways_for(disk)) for disk in disks_of(domain, elsewhere)]
    return {
        "hosts": hosts,
        "host": elsewhere or domain.host,
        "disks": [(disk, [(way, words[way]) for way in ways], reason) for disk, ways, reason in judged],
        "pools": pools_in(place, elsewhere or domain.host),
        "cards": cards_elsewhere(definition, elsewhere) if definition and elsewhere else [],
        "places": places_in(place, elsewhere) if elsewhere else [],
    }


def places_in(place: Within, host: Host) -> list[tuple[str, str]]:
    """Where a card can be on another host, and what that is called; a project's machines are on its networks alone."""
    usable = set(place.rows("network").filter(host=host).values_list("pk", flat=True)) if place.ground else None
    found = places_of(host).items()
    return [(value_of(where), name) for name, where in found if usable is None or where.network in usable]


def hosts_for(place: Within, domain: Domain, definition: Definition | None) -> list[tuple[Host, str, bool]]:
    """The hosts that it can be made on, its own first, each with the reason for it or against it."""
    usable = set(place.rows("host").values_list("pk", flat=True))
    others = [host for host in may_make_on(place.access) if host != domain.host and host.pk in usable]
    found = [(domain.host, _("where it is"), True)]
    for one in places_for(others, domain.memory_kib, domain.vcpus):
        lacks = one.lacks or next((str(sentence) for _field, sentence in lacking_on(definition, one.host)), "")
        found.append((one.host, lacks or one.reason, not lacks))
    return found


def lacking_on(definition: Definition | None, host: Host) -> list[tuple[str, Any]]:
    return list(lacking(definition, host)) if definition else []


def cards_elsewhere(definition: Definition, host: Host) -> list[tuple[str, str]]:
    """Each card by where it is, and where it is to be; empty where that has to be chosen."""
    there: Sequence[dict[str, Any]] = definition.inactive.get("interfaces", ())
    places = cards_on(definition, host)
    return [(card.get("source", ""), value_of(place)) for card, place in zip(there, places, strict=True)]


def value_of(place: CardWish | None) -> str:
    if place is None:
        return ""
    return f"network:{place.network}" if place.network else f"bridge:{place.bridge}"


# --- the plan


def foreseen(domain: Domain, wish: CloneDomainSpec) -> Values:
    """What will be made where, and what is worth knowing before."""
    plan = clone_plan_of(domain, wish, NOBODY)
    definition = Definition.objects.get(domain=domain)
    return {
        "steps": steps_of(plan),
        "warnings": [*warnings_of(domain, definition, wish, plan), *said_of_another_host(domain, definition, plan)],
        "xml": preview_of_copy(definition.inactive_xml, plan.copy, plan.cards),
    }


def steps_of(plan: ClonePlan) -> list[list[str]]:
    rows = [[_("On"), plan.host.name]]
    made = iter(plan.volumes)
    for disk, way, reason in plan.decided:
        what = made_words(plan, next(made), way) if way in MADE else left_words(disk, way, str(reason))
        rows.append([disk.target, what])
    if plan.seed:
        rows.append([_("Settings"), f"{plan.seed.pool.name}/{plan.seed.name}"])
    if plan.cards is not None:
        rows += [[_("Network"), card.network or card.bridge if card else _("none")] for card in plan.cards]
    elif plan.copy.macs:
        rows.append([_("Network"), _("every card with a MAC address of its own")])
    return rows


def made_words(plan: ClonePlan, new: NewVolume, way: Way) -> str:
    assert new.origin is not None
    values = {"name": new.origin.name, "host": new.origin.pool.host.name}
    if plan.is_carried(new):
        how = _("a copy of %(name)s, brought from %(host)s") % values
    else:
        how = (_("a layer over %(name)s") if way == Way.LINK else _("a copy of %(name)s")) % values
    return f"{new.pool.name}/{new.name} · {size(new.capacity)} · {how}"


def left_words(disk: Disk, way: Way, reason: str) -> str:
    what = _("%(name)s, shared") % {"name": disk.name} if way == Way.SHARE else pgettext("disk", "left out")
    return f"{what} · {reason}" if reason else what


def warnings_of(domain: Domain, definition: Definition, wish: CloneDomainSpec, plan: ClonePlan) -> list[str]:
    """What does not keep it from being made, but may surprise."""
    found, info = [], definition.inactive
    if not wish.setup:
        found.append(
            _(
                "Inside it is the same machine: its host name, its SSH host keys and fixed addresses. Tell it at its "
                "first start what it is to be, or change that before both are on one network."
            )
        )
    if domain.status in RUNS and plan.volumes:
        found += said_while_it_runs(domain, plan)
    if any(device["kind"] == "tpm" for device in info.get("devices", ())):
        found.append(_("Its TPM begins empty: what the old one keeps, such as a disk's key, is not in the clone."))
    if info.get("firmware") == "efi":
        found.append(
            _("Its firmware's variables begin anew: what was set there, such as the order of boot, is not in it.")
        )
    if info.get("handed"):
        found.append(_("Both are given the same devices of the host: only one of them can run at a time."))
    wanted: dict[int, int] = {}
    for new in plan.volumes:
        wanted[new.pool.pk] = wanted.get(new.pool.pk, 0) + (0 if new.linked else new.capacity)
    small = [pool.name for pool in Pool.objects.filter(pk__in=wanted) if pool.available < wanted[pool.pk]]
    return found + [_("The pool %(name)s has less room than the disks may come to need.") % {"name": n} for n in small]


def said_while_it_runs(domain: Domain, plan: ClonePlan) -> list[str]:
    """Of which moment the clone's disks are, and what becomes of the machine for that."""
    found = []
    if pauses(domain, plan):
        found.append(
            _(
                "It runs, and is paused for a moment at the end of the copying, so that all disks are of one instant: "
                "usually less than a second, 10 seconds at the most."
            )
        )
    if has_agent(domain):
        found.append(_("It runs: its agent has it write out what it holds before, so that its filesystems are whole."))
    else:
        found.append(_("It runs: the clone's disks are as after a power cut at the end of the copying."))
    return found


def said_of_another_host(domain: Domain, definition: Definition, plan: ClonePlan) -> list[str]:
    """What is another on another host."""
    if plan.cards is None:
        return []
    info, old, new = definition.inactive, domain.host, plan.host
    found = []
    carried = sum(one.origin.allocation for one in plan.volumes if one.origin and plan.is_carried(one))
    if carried:
        found.append(_("About %(size)s pass from host to host by way of this server.") % {"size": size(carried)})
    models = old.info.get("cpu_model", ""), new.info.get("cpu_model", "")
    if info.get("cpu_mode") == "host-passthrough" and models[0] != models[1]:
        values = {"host": new.name, "old": models[0], "new": models[1]}
        found.append(_("It is given the host's own processor: %(new)s on %(host)s instead of %(old)s.") % values)
    elif info.get("cpu_mode") == "custom" and info.get("cpu_model"):
        values = {"host": new.name, "name": info["cpu_model"]}
        found.append(_("Whether %(host)s has the processor that it wants, %(name)s, shows when it starts.") % values)
    if left_out := moved_copy(definition.inactive_xml, plan.copy, plan.cards)[1].left_out:
        values = {"host": old.name, "names": used_by(list(left_out))}
        found.append(_("Left out, since it is of %(host)s: %(names)s.") % values)
    if any(screen.get("has_password") for screen in info.get("graphics", ())):
        found.append(_("The password of its screen stays behind: the clone has none."))
    return found


# --- templates


def start_template(domain: Domain) -> Values:
    return {"succeeds": ""}


def template_parameters(given: QueryDict) -> Values:
    succeeds = text(given, "succeeds")
    return {"succeeds": number(succeeds)} if succeeds else {}


def template_choices(access: Access, target: Subject | None) -> Values:
    """The templates that it can be the next version of: the newest of each line."""
    assert isinstance(target, Domain)
    here = templates.newest(access.domains().filter(host=target.host, is_template=True)).order_by("name")
    may_edit = [one for one in here if access.may(BY_KIND["domain.edit"], one)]
    return {"lines": [(one, next_words(one)) for one in may_edit]}


def next_words(template: Domain) -> str:
    """What its next version is called."""
    line, version = templates.next_of(template)
    return _("version %(n)s of %(name)s") % {"n": version, "name": line}


FORMS = {
    "domain.to_template": Form("domains/to_template.html", start_template, template_parameters, template_choices),
    "domain.clone": Form(
        "domains/clone.html",
        start,
        parameters,
        plan=foreseen,
        each=for_each_name,
        named=named,
        offers=offers,
        linked=("name", "title", "host"),
    ),
}

"""The form of a clone: what becomes of each disk, and what it is told at its first start."""

from __future__ import annotations

import re
from typing import Any

from django.http import QueryDict
from django.utils.translation import gettext as _
from django.utils.translation import pgettext

from webvirt.hypervisor.xml.domain_copies import preview_of_copy
from webvirt.models import Definition, Domain, Pool
from webvirt.services.access import Access
from webvirt.services.bulk import for_each_name
from webvirt.services.catalogue.building import NewVolume
from webvirt.services.catalogue.cloning import RUNS, ClonePlan, Disk, clone_plan_of, disks_of, pools_of, ways_for
from webvirt.services.catalogue.creation import NOBODY
from webvirt.services.catalogue.wishes import CloneDomainSpec, Way
from webvirt.services.subjects import Subject
from webvirt.web.forms.creation import SETUP, setup
from webvirt.web.forms.form import Form, Values, number, text
from webvirt.web.words import size

MADE = (Way.COPY, Way.LINK)
"""The ways that make a volume, for which a pool can be chosen."""


def start(domain: Domain) -> Values:
    """Each disk as fits it, each in its own pool."""
    disks = disks_of(domain)
    return {
        "name": "",
        "title": domain.title,
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


def named(field: str) -> str:
    """The form's own name of a parameter that something is wrong with."""
    if parts := re.fullmatch(r"disks\.\d+\.(\w+)", field):
        return "pool" if parts[1] == "pool" else "way"
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


def choices(access: Access, target: Subject | None) -> Values:
    assert isinstance(target, Domain)
    words = way_words()
    return {
        "disks": [(disk, [(way, words[way]) for way in ways], reason) for disk, ways, reason in judged(target)],
        "pools": list(pools_of(target.host)),
        "own_keys": access.user.ssh_keys,
        "windows": False,
    }


def judged(domain: Domain) -> list[tuple[Disk, tuple[Way, ...], Any]]:
    return [(disk, *ways_for(disk)) for disk in disks_of(domain)]


# --- the plan


def foreseen(domain: Domain, wish: CloneDomainSpec) -> Values:
    """What will be made where, and what is worth knowing before."""
    plan = clone_plan_of(domain, wish, NOBODY)
    definition = Definition.objects.get(domain=domain)
    return {
        "steps": steps_of(domain, plan),
        "warnings": warnings_of(domain, definition, wish, plan),
        "xml": preview_of_copy(definition.inactive_xml, plan.copy),
    }


def steps_of(domain: Domain, plan: ClonePlan) -> list[list[str]]:
    rows = [[_("On"), domain.host.name]]
    made = iter(plan.volumes)
    for disk, way, reason in plan.decided:
        what = made_words(next(made), way) if way in MADE else left_words(disk, way, str(reason))
        rows.append([disk.target, what])
    if plan.seed:
        rows.append([_("Settings"), f"{plan.seed.pool.name}/{plan.seed.name}"])
    if plan.copy.macs:
        rows.append([_("Network"), _("every card with a MAC address of its own")])
    return rows


def made_words(new: NewVolume, way: Way) -> str:
    assert new.origin is not None
    how = _("a layer over %(name)s") if way == Way.LINK else _("a copy of %(name)s")
    return f"{new.pool.name}/{new.name} · {size(new.capacity)} · {how % {'name': new.origin.name}}"


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
    if domain.status in RUNS:
        found.append(_("It runs: the clone's disk is as after a power cut at the end of the copying."))
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


FORMS = {
    "domain.clone": Form(
        "domains/clone.html", start, parameters, choices, foreseen, for_each_name, named, ("name", "title")
    )
}

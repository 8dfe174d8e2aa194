"""The one table of verbs. Buttons, API, rights, audit labels and the equivalent virsh command all come from it.

A new verb is one row here, one runner in `services/runners/`, and one test.
"""

from __future__ import annotations

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from webvirt.models import Domain, Host, Network, Pool, Project, Status
from webvirt.services.catalogue import (
    cloning,
    consoles,
    creation,
    displays,
    domains,
    filters,
    hosts,
    moving,
    networks,
    pools,
    projects,
    secrets,
    volumes,
)
from webvirt.services.catalogue.specs import NoParameters, Spec
from webvirt.services.catalogue.verb import Group, Queue, Reach, Verb
from webvirt.services.subjects import Subject

__all__ = [
    "BY_KIND",
    "VERBS",
    "VERBS_FOR_MANY",
    "Group",
    "NoParameters",
    "Queue",
    "Reach",
    "Spec",
    "Verb",
    "verbs_on",
    "why_not",
]

VERBS = (
    *creation.VERBS,
    *cloning.VERBS,
    *moving.VERBS,
    *domains.VERBS,
    *consoles.VERBS,
    *displays.VERBS,
    *hosts.VERBS,
    *pools.VERBS,
    *volumes.VERBS,
    *networks.VERBS,
    *filters.VERBS,
    *secrets.VERBS,
    *projects.VERBS,
)
BY_KIND = {verb.kind: verb for verb in VERBS}
VERBS_FOR_MANY = {
    noun: {verb.name: verb for verb in VERBS if verb.bulk and verb.on == noun}
    for noun in dict.fromkeys(verb.on for verb in VERBS if verb.bulk)
}
"""Of each noun that has any: what can be done to many of it at once, by name and in the order of the menu."""


def verbs_on(noun: str) -> list[Verb]:
    """What can be done to objects of a noun, in the order of the menu; adding a host is done to none."""
    return [verb for verb in VERBS if verb.on == noun]


def why_not(verb: Verb, target: Subject | Project) -> Promise | str:
    """Why this verb makes no sense now, for a person to read; empty when it does."""
    if isinstance(target, Project):
        return ""
    if isinstance(target, Host):
        if verb.needs_host and not target.is_up:
            return _("the host does not answer")
        return verb.forbids(target) if verb.forbids else ""
    if target.missing_since and Status.MISSING not in (verb.states or ()):
        return _("it is missing on its host")
    if verb.needs_host and target.is_stale:
        return _("the host does not answer")
    if isinstance(target, Domain) and (reason := why_not_machine(verb, target)):
        return reason
    if verb.states is not None and isinstance(target, Domain | Pool | Network) and target.status not in verb.states:
        return _("not while it is %(state)s") % {"state": target.get_status_display()}
    return verb.forbids(target) if verb.forbids else ""


def why_not_machine(verb: Verb, domain: Domain) -> Promise | str:
    """What of a machine itself forbids a verb, whatever its state is."""
    if domain.making_id:
        return _("it is being made")
    if domain.binned_at and Status.BINNED not in (verb.states or ()):
        return _("it is in the recycle bin")
    if domain.is_template and verb.writes:
        return _("it is a template, and those never run: clone it, or make it a machine again")
    if verb.kind == "domain.autostart" and not domain.persistent:
        return _("a transient machine cannot start with the host")
    return ""

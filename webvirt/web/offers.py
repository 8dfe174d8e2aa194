"""Which verbs a page offers on an object: what one has no right to is left out, what cannot be done now says why."""

from __future__ import annotations

from dataclasses import dataclass

from django.utils.translation import gettext as _

from webvirt.models import Domain, Network, Operation, Pool, Status
from webvirt.services.access import Access
from webvirt.services.catalogue import BY_KIND, Group, NoParameters, Verb, verbs_on, why_not
from webvirt.services.catalogue.specs import AutostartSpec, RecordSpec
from webvirt.services.subjects import Subject, address_of, name_of, noun_of

LIKELY = {
    Status.SHUTOFF: "domain.start",
    Status.CRASHED: "domain.start",
    Status.PAUSED: "domain.resume",
    Status.PMSUSPENDED: "domain.resume",
    Status.SAVED: "domain.restore",
}
"""The verb that one wants most in a state; a running machine's is its console."""

KEYS = (
    ("Ctrl + Alt + Del", "29,56,111"),
    ("Ctrl + Alt + Backspace", "29,56,14"),
    *((f"Ctrl + Alt + F{number}", f"29,56,{58 + number}") for number in range(1, 8)),
    ("Alt + Tab", "56,15"),
    ("Alt + F4", "56,62"),
    ("Alt + SysRq + S", "56,99,31"),
    ("Esc", "1"),
    ("Enter", "28"),
)
"""Combinations worth a menu entry, as Linux input key codes."""


@dataclass(frozen=True)
class Offer:
    """One verb on one object. `reason` says why it cannot be done now; `asks` that it needs a form first."""

    name: str
    label: str
    icon: str
    group: str
    url: str
    reason: str = ""
    danger: str = ""
    by_name: str = ""
    """The name that is to be typed first; empty where nothing is."""
    asks: bool = False
    fields: tuple[tuple[str, str], ...] = ()
    """Values that are sent with it."""


def changes_state(operation: Operation) -> bool:
    """Whether it stands in place of the state while it is under way; a screenshot or a key press does not."""
    verb = BY_KIND.get(operation.kind)
    return verb is None or verb.group != Group.OTHER or verb.noun == "host"


def offers(access: Access, target: Subject, busy: Operation | None = None) -> list[Offer]:
    """What this person may do with it, in the order of the menu; `busy` is the operation that holds it now."""
    verbs = [verb for verb in verbs_on(noun_of(target)) if not verb.session]
    if isinstance(target, Domain):
        # Of a missing machine nothing is left to do but to dismiss it, and only of that; so with the recycle bin.
        verbs = [verb for verb in verbs if fits(verb, target)]
    order = {"start": 0, "stop": 1, "change": 2, "other": 3}
    allowed = sorted((verb for verb in verbs if access.may(verb, target)), key=lambda verb: order[verb.group])
    return [offer(verb, target, busy) for verb in allowed]


def fits(verb: Verb, domain: Domain) -> bool:
    """Whether a verb is for machines that are there, or for those that are not, or are in the recycle bin; and whether
    for templates, or for those that are none."""
    states = verb.states or frozenset()
    if domain.status in (Status.MISSING, Status.BINNED):
        return domain.status in states
    if verb.kind == "domain.from_template":
        return domain.is_template
    if domain.is_template and (verb.writes or verb.kind == "domain.to_template"):
        return False
    return not states or bool(states - {Status.MISSING, Status.BINNED})


def offer(verb: Verb, target: Subject, busy: Operation | None = None) -> Offer:
    label, asks = str(verb.label), verb.spec is not NoParameters
    fields: tuple[tuple[str, str], ...] = ()
    if verb.spec is AutostartSpec and isinstance(target, Domain | Pool | Network):
        label = _("Do not start with the host") if target.autostart else label
        fields, asks = (("enabled", "off" if target.autostart else "on"),), False
    if verb.spec is RecordSpec and isinstance(target, Domain):
        label = _("Do not record its consoles any more") if target.is_recorded else label
        fields, asks = (("enabled", "off" if target.is_recorded else "on"),), False
    return Offer(
        name=verb.name,
        label=label,
        icon=verb.icon,
        group=verb.group.value,
        url=f"{address_of(name_of(target))}{verb.name}/",
        reason=reason_against(verb, target, busy),
        danger=str(verb.danger or ""),
        by_name=target.name if verb.by_name else "",
        asks=asks,
        fields=fields,
    )


def reason_against(verb: Verb, target: Subject, busy: Operation | None) -> str:
    if busy is not None and (verb.exclusive or (verb.shared and busy.exclusive)):
        return _("busy: %(verb)s, asked by %(who)s") % {"verb": verb_words(busy), "who": busy.actor}
    return str(why_not(verb, target))


def verb_words(operation: Operation) -> str:
    verb = BY_KIND.get(operation.kind)
    return str(verb.label) if verb else operation.kind


def as_json(found: Offer) -> dict[str, object]:
    """For the menus that scripts draw."""
    return {
        "name": found.name,
        "label": found.label,
        "icon": found.icon,
        "group": found.group,
        "url": found.url,
        "reason": found.reason,
        "danger": found.danger,
        "byName": found.by_name,
        "asks": found.asks,
        "fields": dict(found.fields),
    }

"""Custom roles, as administrators put them together: each the verbs that it allows."""

from __future__ import annotations

from collections.abc import Iterable

from django.db.models import Q
from django.utils.translation import gettext as _

from webvirt.models import CustomRole, User
from webvirt.services import audit
from webvirt.services.catalogue import BY_KIND, VERBS, Verb
from webvirt.services.grants import look_again
from webvirt.services.named import cleaned, keep
from webvirt.services.operations import Invalid

CHOOSABLE: dict[str, list[Verb]] = {}
"""What a role can be made of: the verbs by the noun that they are done to. Adding a host is administrators' alone."""
for _verb in VERBS:
    if _verb.on:
        CHOOSABLE.setdefault(_verb.on, []).append(_verb)


def add(name: str, description: str, kinds: Iterable[str]) -> CustomRole:
    """Raises Invalid with a sentence for each wrong field."""
    return change(CustomRole(), name, description, kinds)


def change(role: CustomRole, name: str, description: str, kinds: Iterable[str]) -> CustomRole:
    """All of it, at once for everybody who holds it. Raises Invalid."""
    chosen = sorted(set(kinds))
    # Those that it has of an older version may stay: they give nothing.
    if strange := [kind for kind in chosen if not is_choosable(kind) and kind not in (role.kinds or [])]:
        raise Invalid({"kinds": _("There is no such verb: %(names)s.") % {"names": ", ".join(strange)[:200]}})
    role.name, role.description, role.kinds = cleaned(name), cleaned(description, "description"), chosen
    with audit.writing():
        keep(role)
        audit.note("role.keep", role, details={"verbs": chosen})
        look_again(holders_of(role))
    return role


def remove(role: CustomRole) -> None:
    """From everybody who holds it, too."""
    with audit.writing():
        concerned = holders_of(role)
        audit.note("role.remove", role)
        role.delete()
        look_again(concerned)


def is_choosable(kind: str) -> bool:
    return kind in BY_KIND and bool(BY_KIND[kind].on)


def unknown_kinds(role: CustomRole) -> list[str]:
    """What it names and the catalogue does not have (any more): it gives nothing."""
    return [kind for kind in role.kinds if not is_choosable(kind)]


def holders_of(role: CustomRole) -> set[int]:
    """The ids of the people who hold it anywhere, themselves or by a group."""
    held = User.objects.filter(Q(grants__custom_role=role) | Q(groups__grants__custom_role=role))
    return set(held.order_by().values_list("pk", flat=True))

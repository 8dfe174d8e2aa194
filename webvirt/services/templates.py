"""Templates: machines that are never started, so that others can be layers over their disks. What that forbids.

That they are never started is one line of `catalogue.why_not`; the mark is in our row alone, and unknown to the host.
"""

from __future__ import annotations

from django.utils.translation import gettext as _

from webvirt.models import Domain, Volume
from webvirt.services import belongings, uses


def is_needed(domain: Domain) -> str:
    """Why a template must stay one; empty for what is none."""
    names = clones_over(domain) if domain.is_template else []
    return _("linked clones need it: %(names)s") % {"names": uses.used_by(names)} if names else ""


def cannot_become(domain: Domain) -> str:
    """Why a machine cannot become a template."""
    if domain.is_template:
        return _("it is a template already")
    return "" if domain.persistent else _("a transient machine is gone when it is off")


def has_shared_disk(domain: Domain) -> str:
    """Why it cannot, where another machine writes to what would have to stay as it is."""
    disks = [one for one in belongings.of(domain) if one.device in uses.DISKS and one.volume]
    others = [name for one in disks if one.volume for name in machines_on(one.volume, but=domain)]
    return _("%(names)s has one of its disks too") % {"names": uses.used_by(sorted(set(others)))} if others else ""


def cannot_be_again(domain: Domain) -> str:
    """Why it cannot become a machine like any other."""
    return is_needed(domain) if domain.is_template else _("it is no template")


def clones_over(domain: Domain) -> list[str]:
    """The names of what is a layer over its disks: machines, and images that no machine has.

    A row remembers what was found when it was first asked, since several of its verbs ask: read it again to know anew.
    """
    if not hasattr(domain, "_clones_over"):
        volumes = [volume for one in belongings.of(domain) if one.volume for volume in uses.same_volume(one.volume)]
        layers = [layer for volume in volumes for layer in uses.based_on(volume)]
        names = {name for layer in layers for name in machines_on(layer) or [layer.name]}
        domain._clones_over = sorted(names)  # type: ignore[attr-defined]
    found: list[str] = domain._clones_over  # type: ignore[attr-defined]
    return found


def machines_on(volume: Volume, *, but: Domain | None = None) -> list[str]:
    """The names of the machines that have a volume."""
    return [use.name for use in uses.uses_of(volume) if use.noun == "domain" and (but is None or use.pk != but.pk)]

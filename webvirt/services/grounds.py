"""On what ground somebody does something: what they hold on it, or a project that may use it and what they make in it.

Whatever it touches besides is asked for as what is done there would be.
"""

from __future__ import annotations

from django.utils.functional import Promise
from django.utils.translation import gettext as _

from webvirt.models import Project
from webvirt.services.access import Access
from webvirt.services.allowances import Inside
from webvirt.services.catalogue import BY_KIND, Reach, Spec, Verb, why_not
from webvirt.services.refusals import Denied, Invalid, NotNow
from webvirt.services.subjects import Subject, rows_of


def demand(access: Access, verb: Verb, target: Subject) -> None:
    """Raise Denied unless this person may do this to it."""
    if not access.may(verb, target):
        raise Denied(_("Your role here does not allow “%(verb)s”.") % {"verb": verb.label})


def ground_of(access: Access, verb: Verb, target: Subject, spec: Spec) -> Inside | None:
    """The project on whose ground alone this person may do it; None where what they hold there is enough.

    Raises Denied, or Invalid where they have to say which project it is.
    """
    if access.may_freely(verb, target):
        return None
    within, chosen = access.projects_for(verb, target), into(verb, target, spec)
    if within and chosen is None:
        raise Invalid({"project": _("Say in which project: what you may use here is a project's.")})
    if chosen is None or chosen not in within:
        raise Denied(_("Your role here does not allow “%(verb)s”.") % {"verb": verb.label})
    return Inside(Project.objects.get(pk=chosen))


def demand_reach(access: Access, verb: Verb, target: Subject, spec: Spec) -> None:
    """Raise Invalid or Denied unless this person may touch what the parameters name besides, or the object is in."""
    for reach in reaches_of(verb, target, spec):
        needed = BY_KIND[reach.kind]
        if is_covered(access, verb, target, spec, reach):
            other = rows_of(reach.noun).get(pk=reach.pk)
        else:
            other = access.one(reach.noun, reach.pk)
            if other is None and reach.parameter:
                raise Invalid({reach.parameter: _("There is nothing of this number.")})
            if other is None or not access.may_freely(needed, other):
                raise Denied(_("Your role there does not allow “%(verb)s”.") % {"verb": needed.label})
        if reason := why_not(needed, other):
            raise NotNow(refusal(needed, reason))


def reaches_of(verb: Verb, target: Subject, spec: Spec) -> tuple[Reach, ...]:
    """What it touches besides: what it is made in, too."""
    found: tuple[Reach, ...] = verb.reaches(target, spec) if verb.reaches else ()
    project = into(verb, target, spec) if verb.inside else None
    if project is None:
        return found
    parameter = "project" if getattr(spec, "project", None) else ""
    return (Reach(parameter, "project", project, verb.kind), *found)


def is_covered(access: Access, verb: Verb, target: Subject, spec: Spec, reach: Reach) -> bool:
    """Whether the project that it is made in may use the pool or the host that it touches; with an image of the
    catalogue that the project has, that is enough to have it fetched."""
    project = into(verb, target, spec) if verb.inside and reach.noun in ("pool", "host") else None
    held = access.on["project"].get(project) if project else None
    if project is None or held is None:
        return False
    is_of_catalogue = reach.parameter == "cloud_image"
    if is_of_catalogue and getattr(spec, "cloud_image", None) not in access.allowances.ids("cloud_image", project):
        return False
    needed = verb if is_of_catalogue else BY_KIND[reach.kind]
    usable = Inside(Project.objects.get(pk=project)).rows(reach.noun).filter(pk=reach.pk)
    return held.allows(needed) and usable.exists()


def into(verb: Verb, target: Subject, spec: Spec) -> int | None:
    """The id of the project whose quota it takes something of."""
    return verb.into(target, spec) if verb.into else None


def refusal(verb: Verb, reason: Promise | str) -> str:
    return _("“%(verb)s” cannot be done now: %(reason)s.") % {"verb": verb.label, "reason": reason}

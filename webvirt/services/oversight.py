"""Overseeing consoles: the open ones that somebody may know of, ended by others than who opened them."""

from __future__ import annotations

from collections.abc import Mapping

from django.db.models import Q, QuerySet
from django.utils import timezone

from webvirt.models import ConsoleSession, EndReason, Role, ScreenConnection
from webvirt.services import audit, consoles, recordings, strangers
from webvirt.services.access import Access, reaches

FILTERS = ("q", "domain", "device")


def chosen(access: Access, filters: Mapping[str, str]) -> QuerySet[ConsoleSession]:
    """The open consoles that somebody may know of and all of the filters fit, by `FILTERS`; empty ones are none."""
    now = timezone.now()
    found = seen_by(access).filter(ended_at=None, opened_at__isnull=False, leased_until__gt=now)
    if text := filters.get("q", ""):
        found = found.filter(
            Q(domain__name__icontains=text) | Q(user__username__icontains=text) | Q(link__name__icontains=text)
        )
    return recordings.at_device(found, filters)


def seen_by(access: Access) -> QuerySet[ConsoleSession]:
    """The consoles that somebody may know of and end: their own, and all of the machines that are theirs."""
    found = consoles.whole()
    if owns_everything(access):
        return found
    # A console is none that was asked for with a limited token.
    own = Q(user=access.user) if access.limit is None else Q(pk__in=())
    return found.filter(own | owned(access))


def bypassing(access: Access) -> list[ScreenConnection]:
    """Who is at the screens of somebody's machines without having come by us."""
    found = ScreenConnection.objects.all()
    return strangers.among(found if owns_everything(access) else found.filter(owned(access)))


def owns_everything(access: Access) -> bool:
    return access.everywhere is not None and reaches(access.everywhere.role, Role.OWNER)


def owned(access: Access) -> Q:
    """Finds what is of the machines that somebody owns by a narrower grant than one on everything."""
    places = {"domain": "domain", "project": "domain__project", "host": "domain__host"}
    found = Q(pk__in=())
    for scope, column in places.items():
        found |= Q(**{f"{column}__in": [pk for pk, held in access.on[scope].items() if reaches(held.role, Role.OWNER)]})
    return found


def end(access: Access, pk: int) -> bool:
    """End a console, by whoever asks at the moment; False where there is none such that is open."""
    with audit.writing():
        session = seen_by(access).filter(pk=pk, ended_at=None).first()
        if session is None:
            return False
        told = {"console": pk, "person": session.person, "device": session.device}
        audit.note("console.end", session.domain, details=told)
        ConsoleSession.objects.filter(pk=pk).update(ended_by=access.user)
        consoles.end(pk, EndReason.ENDED)
    return True

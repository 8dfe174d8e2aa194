"""Who types at a machine's screen or serial line: one session at most. The others watch, and may ask for it.

The rows say who it is; the keeper of leases tells the console proxy, which lets nobody else's input through.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from django.db.models import Q, QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from webvirt import bus
from webvirt.models import ConsoleMode, ConsoleSession, Domain, Origin, Role
from webvirt.services import audit, guestlinks
from webvirt.services.access import Access, access_of, reaches
from webvirt.services.actors import Actor
from webvirt.services.catalogue import BY_KIND
from webvirt.services.refusals import Denied, NotNow

TYPE = BY_KIND["domain.console"]
PATIENCE = timedelta(seconds=15)
"""So long whoever types may leave a wish for control unanswered."""


def actor_of(session: ConsoleSession) -> Actor:
    """Whose session it is, for the audit log; a guest has no account."""
    if session.link is not None:
        return Actor(None, Origin.PAGE, session.address, called=session.link.called)
    return Actor(session.user, Origin.PAGE, session.address)


def name_of(session: ConsoleSession) -> str:
    return actor_of(session).name


def rows() -> QuerySet[ConsoleSession]:
    """Open sessions, with all that is asked about them."""
    found = ConsoleSession.objects.filter(ended_at=None)
    return found.select_related("user", "domain__host", "link__made_by", "link__domain")


def beside(session: ConsoleSession) -> QuerySet[ConsoleSession]:
    """The open sessions at the same device."""
    return rows().filter(domain=session.domain_id, device=session.device)


def holder_at(session: ConsoleSession) -> ConsoleSession | None:
    """Who types there. Whose lease has run out is gone, whether or not that is written down."""
    there = ConsoleSession.objects.filter(ended_at=None, domain=session.domain_id, device=session.device)
    # Asked for every console that is opened, and nothing but whose it is.
    found = there.filter(mode=ConsoleMode.CONTROL, leased_until__gt=timezone.now())
    return found.select_related("user", "link").first()


def is_same_person(one: ConsoleSession, other: ConsoleSession) -> bool:
    return (one.user_id, one.link_id) == (other.user_id, other.link_id)


def owns(access: Access, domain: Domain) -> bool:
    """Whether a machine is this person's to decide about: an owner's, or an administrator's."""
    return reaches(access.role_on(domain), Role.OWNER)


def may_type(session: ConsoleSession) -> bool:
    """Whether somebody has the right to type there now."""
    access = access_of(session.user)
    if session.link is None:
        return access.may(TYPE, session.domain)
    return session.link.mode == ConsoleMode.CONTROL and guestlinks.stands(session.link, access, timezone.now())


def may_take(session: ConsoleSession, holder: ConsoleSession) -> bool:
    """Whether they need not ask: their own other page types, or the machine is theirs."""
    if is_same_person(session, holder):
        return True
    return session.link is None and owns(access_of(session.user), session.domain)


# --- what a page may ask for


@contextmanager
def deciding(pk: int) -> Iterator[ConsoleSession]:
    """The open session of this id, in a transaction in which nobody else decides who types. Raises NotNow."""
    with audit.writing():
        session = rows().filter(pk=pk).first()
        if session is None:
            raise NotNow(_("This console has ended."))
        yield session


def seat(session: ConsoleSession) -> None:
    """Let a session that was just opened type, where nobody else does. Within `audit.writing`."""
    sit_down(session, "opened")


def sit_down(session: ConsoleSession, how: str) -> bool:
    """Let them type where nobody does, or another page of theirs; whether that is so."""
    holder = holder_at(session)
    if holder is not None and not is_same_person(session, holder):
        return False
    move(session, holder, how)
    return True


def ask(pk: int) -> None:
    """Ask for control: where it is free, they have it; else whoever types is asked. Raises Denied or NotNow."""
    with deciding(pk) as session:
        demand_right(session)
        if not sit_down(session, "free") and session.wants_control_at is None:
            update(session, may_type=True, wants_control_at=timezone.now())


def take(pk: int) -> None:
    """Take control without asking. Raises Denied or NotNow."""
    with deciding(pk) as session:
        demand_right(session)
        holder = holder_at(session)
        if holder is not None and not may_take(session, holder):
            raise Denied(_("Ask for control: only an owner of this machine takes it."))
        move(session, holder, "taken")


def hand_over(pk: int, to: int) -> None:
    """Hand control over to another session at the same device. Raises Denied or NotNow."""
    with deciding(pk) as session:
        if session.mode != ConsoleMode.CONTROL:
            raise NotNow(_("You do not type now."))
        other = beside(session).filter(pk=to, leased_until__gt=timezone.now()).exclude(pk=pk).first()
        if other is None:
            raise NotNow(_("They are not here any more."))
        if not (other.may_type and may_type(other)):
            raise Denied(_("They may only watch."))
        move(other, session, "handed over")


def keep(pk: int) -> None:
    """Answer all who asked that they go on watching."""
    with deciding(pk) as session:
        if session.mode == ConsoleMode.CONTROL:
            beside(session).update(wants_control_at=None)
            bus.announce(["consoles"])


def watch(pk: int) -> None:
    """Watch only, from now on: if they typed, nobody does then."""
    with deciding(pk) as session:
        was = session.mode
        update(session, mode=ConsoleMode.VIEW, may_type=False, wants_control_at=None)
        if was == ConsoleMode.CONTROL:
            note(session, "let go", name_of(session))


def join(pk: int) -> None:
    """Not only watch any more: where control is free, they have it. Raises Denied or NotNow."""
    with deciding(pk) as session:
        demand_right(session)
        update(session, may_type=True)
        sit_down(session, "free")


def demand_right(session: ConsoleSession) -> None:
    if not may_type(session):
        raise Denied(_("Your role here is to watch."))


# --- and what follows from it


def settle(now: datetime) -> None:
    """Give control to those who asked, where nobody answers them or types any more."""
    for pk in ConsoleSession.objects.filter(ended_at=None, wants_control_at__isnull=False).values_list("pk", flat=True):
        try:
            with deciding(pk) as session:
                settle_one(session, now)
        except NotNow:
            continue


def settle_one(session: ConsoleSession, now: datetime) -> None:
    if session.wants_control_at is None or session.leased_until < now:
        return
    holder = holder_at(session)
    before = Q(wants_control_at__lt=session.wants_control_at) | Q(
        wants_control_at=session.wants_control_at, pk__lt=session.pk
    )
    if beside(session).filter(before, leased_until__gt=now).exists() or (
        holder is not None and session.wants_control_at > now - PATIENCE
    ):
        return
    if may_type(session):
        move(session, holder, "free" if holder is None else "no answer")
    else:
        update(session, may_type=False, wants_control_at=None)


def move(session: ConsoleSession, holder: ConsoleSession | None, how: str) -> None:
    """Have this session type, and no other. Within `audit.writing`."""
    others = ConsoleSession.objects.filter(domain=session.domain_id, device=session.device, ended_at=None)
    others.filter(mode=ConsoleMode.CONTROL).exclude(pk=session.pk).update(mode=ConsoleMode.VIEW)
    update(session, mode=ConsoleMode.CONTROL, may_type=True, wants_control_at=None)
    if holder is None and how == "opened":
        return
    if holder is None or holder.pk != session.pk:
        # Whoever types now has not been asked yet.
        others.filter(wants_control_at__isnull=False).update(wants_control_at=timezone.now())
        note(session, how, name_of(holder) if holder else "")


def update(session: ConsoleSession, **values: object) -> None:
    for name, value in values.items():
        setattr(session, name, value)
    ConsoleSession.objects.filter(pk=session.pk, ended_at=None).update(**values)
    bus.announce(["consoles"])


def note(session: ConsoleSession, how: str, before: str) -> None:
    """Write a line of who types from now on; `how` they came by it, and `before` them."""
    to = name_of(session) if session.mode == ConsoleMode.CONTROL else ""
    told = {"console": session.pk, "device": session.device, "how": how, "from": before, "to": to}
    audit.note("console.control", session.domain, actor=actor_of(session), details=told)


def was_told(pk: int, mode: str) -> None:
    """Keep what the console proxy was told last: not before that can a page type."""
    ConsoleSession.objects.filter(pk=pk).update(told_mode=mode)


def modes_of(sessions: Iterable[int]) -> dict[int, str]:
    """What each of these may do now."""
    return dict(ConsoleSession.objects.filter(pk__in=list(sessions)).values_list("pk", "mode"))

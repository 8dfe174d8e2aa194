"""The life of a console: asked for, admitted by a one-use ticket, held by a lease, withdrawn, ended.

A console needs three things at once: the right, a login that lives, and a page that renews the lease. The console
proxy asks `withdrawn` every second. "Cannot ask" is not "no": an outage of the database or of Redis closes nothing.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import IntEnum
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth import HASH_SESSION_KEY, SESSION_KEY
from django.db.models import Q, QuerySet
from django.utils import timezone
from django.utils.crypto import salted_hmac
from django.utils.translation import gettext as _
from redis.exceptions import RedisError

from webvirt import bus
from webvirt.models import (
    AuditResult,
    ConsoleDevice,
    ConsoleMode,
    ConsoleSession,
    Domain,
    EndReason,
    GuestLink,
    LoginSession,
    Status,
    User,
)
from webvirt.services import audit, control, guestlinks, recordings
from webvirt.services.access import Access, access_of, accesses_of
from webvirt.services.catalogue import BY_KIND, why_not
from webvirt.services.guestlinks import VERBS

LEASE = timedelta(seconds=60)
TICKET_SECONDS = 30
TICKET = re.compile(r"[A-Za-z0-9_-]{43}")
VIEWERS_PER_DOMAIN = 20
SIDE_BY_SIDE = 9
"""More on one page could not be read."""
RECORD = BY_KIND["domain.record"]
RESULTS = {EndReason.FAILED: AuditResult.FAILED, EndReason.UNOPENED: AuditResult.CANCELLED}
"""What the audit log calls ends other than that of a console that was used."""


class Close(IntEnum):
    """Close codes of a console's sockets; the page has a sentence and a remedy for each."""

    MALFORMED = 4400
    TICKET = 4401
    WITHDRAWN = 4403
    UNKNOWN = 4404
    NOT_NOW = 4409
    GUEST = 4410
    HOST = 4421
    DISPLAY = 4422
    OUT_OF_REACH = 4423
    SIGN_IN = 4424
    FORWARDING = 4425
    SILENT = 4426
    NO_DISPLAY = 4427
    NOT_VNC = 4428
    TOO_MANY = 4429
    CERTIFICATE = 4430
    TAKEN = 4431
    NO_REDIS = 4450


class Refusal(Exception):
    """A console that is not opened; `str(error)` is a sentence for the person."""

    def __init__(self, code: Close, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Admission:
    """A console session as it was when its ticket was redeemed; what must stay so for it to live."""

    session: int
    mode: str
    device: str
    session_key: str
    auth_hash: str
    host: int
    domain_uuid: str
    recording: int | None = None
    """The id of what is recorded of it, if it is."""


def login_key(session_key: str) -> str:
    """A keyed hash of a login session: the row tells which login it was without being one."""
    return salted_hmac("webvirt.console", session_key).hexdigest()


# --- from the page's socket


def open_session(
    who: User | GuestLink,
    session_key: str,
    domain_pk: int,
    mode: str,
    address: str | None,
    replaces: int | None = None,
    device: ConsoleDevice = ConsoleDevice.SCREEN,
    record: bool = False,
) -> ConsoleSession:
    """A new console session with its lease, or Refusal: a person's, or that of a guest who came by a link.

    `replaces` names an older one of the same login to end; `record` asks for it to be recorded where it would not be by
    itself.

    Who asks for control has it where nobody else does, and watches otherwise.
    """
    link, user = (who, who.made_by) if isinstance(who, GuestLink) else (None, who)
    access = access_of(user)
    domain = access.domains().filter(pk=domain_pk).first()
    if domain is None or (link and link.domain_id != domain_pk):
        raise Refusal(Close.UNKNOWN, _("There is no such machine."))
    verb = VERBS[mode]
    actor = control.actor_of(ConsoleSession(user=user, link=link, address=address))
    if not access.may(verb, domain) or (link and mode not in (ConsoleMode.VIEW, link.mode)):
        audit.note(verb.kind, domain, result=AuditResult.DENIED, actor=actor)
        raise Refusal(Close.WITHDRAWN, _("Your role here does not allow “%(verb)s”.") % {"verb": verb.label})
    if record and (link or not access.may(RECORD, domain)):
        audit.note(RECORD.kind, domain, result=AuditResult.DENIED, actor=actor)
        raise Refusal(Close.WITHDRAWN, _("Your role here does not allow “%(verb)s”.") % {"verb": RECORD.label})
    if reason := why_not(verb, domain):
        raise Refusal(Close.NOT_NOW, _("No console now: %(reason)s.") % {"reason": reason})
    now = timezone.now()
    with audit.writing():
        # The person's row is locked, so that two pages opening at once cannot both be the last one allowed.
        User.objects.select_for_update().get(pk=user.pk)
        if replaces is not None:
            mine = ConsoleSession.objects.filter(pk=replaces, user=user, link=link, login_key=login_key(session_key))
            end_each(mine, EndReason.REPLACED)
        refuse_too_many(who, domain.pk, now)
        session = ConsoleSession.objects.create(
            user=user,
            link=link,
            domain=domain,
            mode=ConsoleMode.VIEW,
            may_type=mode == ConsoleMode.CONTROL,
            device=device,
            address=address,
            login_key=login_key(session_key),
            leased_until=now + LEASE,
            is_recorded=record or domain.is_recorded,
        )
        if session.may_type:
            control.seat(session)
        note(session, AuditResult.ASKED)
    return session


def note(session: ConsoleSession, result: AuditResult, **details: Any) -> None:
    """Write a line of a console, in the name of whose it is."""
    told: dict[str, Any] = {"console": session.pk, "mode": session.mode, "device": session.device}
    if session.link is not None:
        told |= {"link": session.link.pk, "link_by": session.user.get_username()}
    actor = control.actor_of(session)
    audit.note(VERBS[session.mode].kind, session.domain, result=result, actor=actor, details=told | details)
    # Not of the machine: a page that waits for that tries again, and would be told of its own try.
    bus.announce(["consoles"])


def refuse_too_many(who: User | GuestLink, domain_pk: int, now: datetime) -> None:
    """Raise Refusal when the person, or the guests of one link, or the machine, has all the consoles it may have."""
    alive = ConsoleSession.objects.filter(ended_at=None, leased_until__gt=now)
    own = alive.filter(link=who) if isinstance(who, GuestLink) else alive.filter(user=who, link=None)
    if own.count() >= settings.WEBVIRT_CONSOLES_PER_USER:
        limit = settings.WEBVIRT_CONSOLES_PER_USER
        raise Refusal(
            Close.TOO_MANY, _("You have %(limit)d consoles open, the most allowed: close one.") % {"limit": limit}
        )
    if alive.filter(domain=domain_pk).count() >= VIEWERS_PER_DOMAIN:
        limit = VIEWERS_PER_DOMAIN
        raise Refusal(Close.TOO_MANY, _("%(limit)d people watch this machine, the most allowed.") % {"limit": limit})


def most_side_by_side() -> int:
    """How many consoles one page opens: no more than one person may have."""
    return min(SIDE_BY_SIDE, settings.WEBVIRT_CONSOLES_PER_USER)


def issue_ticket(session: ConsoleSession) -> str:
    """A ticket for the proxy: 256 random bits, good once and for 30 s, kept hashed. Raises Refusal without Redis."""
    ticket = secrets.token_urlsafe(32)
    try:
        bus.store().set(ticket_name(ticket), session.pk, ex=TICKET_SECONDS)
    except RedisError:
        end(session.pk, EndReason.FAILED)
        raise Refusal(
            Close.NO_REDIS, _("Redis does not answer, so no console can be opened; those that are open go on.")
        ) from None
    return ticket


def ticket_name(ticket: str) -> str:
    return "webvirt.ticket." + hashlib.sha256(ticket.encode()).hexdigest()


def resume(pk: int, who: User | GuestLink, session_key: str) -> ConsoleSession:
    """The session of a page that comes back, its lease renewed; only the same login may. Raises Refusal."""
    own = {"link": who} if isinstance(who, GuestLink) else {"user": who, "link": None}
    session = ConsoleSession.objects.filter(pk=pk, login_key=login_key(session_key), **own).first()
    if session is None:
        raise Refusal(Close.UNKNOWN, _("There is no such console."))
    renew(pk)
    return session


def whole() -> QuerySet[ConsoleSession]:
    """Sessions with all that is asked of one."""
    return ConsoleSession.objects.select_related("user", "domain__host", "link")


def renew(pk: int) -> None:
    """Push the lease forward; an ended session stays ended."""
    ConsoleSession.objects.filter(pk=pk, ended_at=None).update(leased_until=timezone.now() + LEASE)


# --- from the proxy


def prepare() -> None:
    """Write a query without asking it: a third of what it takes to admit somebody is Django describing the models to
    itself, which the processes that do it share from then on."""
    str(whole().query)


def redeem(ticket: str, session_key: str) -> Admission:
    """The session a ticket admits to, once, and only for the login it was issued to. Raises Refusal."""
    refused = Refusal(Close.TICKET, "this ticket admits to no console")
    if not (session_key and TICKET.fullmatch(ticket)):
        raise refused
    try:
        kept = bus.store().getdel(ticket_name(ticket))
    except RedisError:
        raise Refusal(Close.NO_REDIS, "Redis does not answer") from None
    session = whole().filter(pk=int(str(kept, "ascii"))).first() if isinstance(kept, bytes) else None
    if session is None or not secrets.compare_digest(session.login_key, login_key(session_key)):
        raise refused
    admission = Admission(
        session=session.pk,
        mode=session.mode,
        device=session.device,
        session_key=session_key,
        auth_hash="" if session.link else session.user.get_session_auth_hash(),
        host=session.domain.host_id,
        domain_uuid=session.domain.uuid,
    )
    if reason := judged({session.pk: session}, [admission]).get(session.pk):
        raise Refusal(Close.WITHDRAWN, reason)
    unopened = ConsoleSession.objects.filter(pk=session.pk, opened_at=None, ended_at=None)
    with audit.writing():
        if not unopened.update(opened_at=timezone.now(), told_mode=session.mode):
            raise refused
        recording = recordings.begin(session).pk if session.is_recorded else None
        note(session, AuditResult.BEGUN, **({"recording": recording} if recording else {}))
    return replace(admission, recording=recording)


def withdrawn(admissions: Iterable[Admission]) -> dict[int, EndReason]:
    """Which of the open consoles may not go on, and why: three queries for however many there are."""
    asked = list(admissions)
    return judged(whole().in_bulk([admission.session for admission in asked]), asked) if asked else {}


def judged(rows: Mapping[int, ConsoleSession], asked: Collection[Admission]) -> dict[int, EndReason]:
    """Which of these may not go on, by their rows as they are now."""
    logins = LoginSession.objects.filter(expire_date__gt=timezone.now()).in_bulk(
        list({admission.session_key for admission in asked})
    )
    accesses = accesses_of({row.user for row in rows.values()})
    found: dict[int, EndReason] = {}
    for admission in asked:
        row = rows.get(admission.session)
        if row is None:
            found[admission.session] = EndReason.MISSING
        elif reason := why_withdrawn(row, admission, logins, accesses[row.user_id]):
            found[admission.session] = reason
    return found


def why_withdrawn(
    row: ConsoleSession, admission: Admission, logins: Mapping[str, LoginSession], access: Access
) -> EndReason | None:
    """The first reason why this console must end, or None."""
    if row.ended_at:
        return EndReason(row.end_reason)
    if row.leased_until < timezone.now():
        return EndReason.LEASE
    login = logins.get(admission.session_key)
    if row.link is not None:
        return why_not_this_guest(row, row.link, login, access) or why_not_this_machine(row, admission, access)
    return why_not_this_person(row.user, admission, login) or why_not_this_machine(row, admission, access)


def why_not_this_guest(
    row: ConsoleSession, link: GuestLink, login: LoginSession | None, access: Access
) -> EndReason | None:
    """A guest stays for as long as their link is good, and who made it may still do what they do, and invite."""
    if not row.user.is_active:
        return EndReason.DEACTIVATED
    if not link.is_good(timezone.now()):
        return EndReason.LINK
    if not guestlinks.may_invite(access, row.domain, link.mode):
        return EndReason.RIGHT
    if login is None or link.pk not in login.get_decoded().get(guestlinks.HELD, []):
        return EndReason.LOGOUT
    return None


def why_not_this_person(user: User, admission: Admission, login: LoginSession | None) -> EndReason | None:
    if not user.is_active:
        return EndReason.DEACTIVATED
    if not secrets.compare_digest(admission.auth_hash, user.get_session_auth_hash()):
        return EndReason.PASSWORD
    if not is_login_of(user, admission.auth_hash, login):
        return EndReason.LOGOUT
    return None


def why_not_this_machine(row: ConsoleSession, admission: Admission, access: Access) -> EndReason | None:
    domain, verb = row.domain, VERBS[row.mode]
    if domain.missing_since or domain.host.removed_at:
        return EndReason.MISSING
    if domain.host_id != admission.host:
        return EndReason.MOVED
    if not access.may(verb, domain):
        return EndReason.RIGHT
    if domain.is_recorded and not row.is_recorded:
        return EndReason.RECORD
    # A machine whose state we cannot learn now keeps its consoles.
    if verb.states and domain.status not in {*verb.states, Status.UNKNOWN}:
        return EndReason.OFF
    return None


def is_login_of(user: User, auth_hash: str, login: LoginSession | None) -> bool:
    """Whether this login session is there, is this person's, and was made with this password."""
    if login is None:
        return False
    data = login.get_decoded()
    return data.get(SESSION_KEY) == str(user.pk) and secrets.compare_digest(data.get(HASH_SESSION_KEY, ""), auth_hash)


def count(pk: int, to_browser: int, to_guest: int) -> None:
    """Keep how many bytes a console has carried."""
    ConsoleSession.objects.filter(pk=pk).update(bytes_to_browser=to_browser, bytes_to_guest=to_guest)


def end(pk: int, reason: EndReason) -> None:
    """Write the end of a session, unless it was written."""
    end_each(ConsoleSession.objects.filter(pk=pk), reason)


def words_of(pk: int, reason: EndReason) -> str:
    """What a page is told of an end: the reason, and after a space who did it, where that is somebody else."""
    if reason != EndReason.ENDED:
        return reason.value
    # A guest is not told who the people here are.
    by = ConsoleSession.objects.filter(pk=pk, link=None).values_list("ended_by__username", flat=True).first()
    return f"{reason.value} {by or ''}".rstrip()


def end_orphans(started: datetime) -> int:
    """End what an earlier proxy left open, ours having started then. Returns how many."""
    return end_each(ConsoleSession.objects.filter(opened_at__lt=started), EndReason.PROXY)


def end_unopened() -> int:
    """End the sessions whose page asked for a console and never connected. Returns how many."""
    never = ConsoleSession.objects.filter(opened_at=None, leased_until__lt=timezone.now())
    return end_each(never, EndReason.UNOPENED)


def log_of(uuid: str) -> Path:
    """Where what a machine said last on its serial line is kept."""
    path: Path = settings.WEBVIRT_HOME / "serial" / f"{uuid}.log"
    return path


def sweep(now: datetime) -> None:
    """Forget what machines have said that have been gone for a day."""
    logs = {path.stem: path for path in log_of("").parent.glob("*.log")}
    here = Domain.objects.filter(Q(missing_since=None) | Q(missing_since__gt=now - timedelta(days=1)), uuid__in=logs)
    for uuid in set(logs) - set(here.values_list("uuid", flat=True)):
        logs[uuid].unlink(missing_ok=True)


def end_each(sessions: QuerySet[ConsoleSession], reason: EndReason) -> int:
    """Write the end of those that have none. Returns how many."""
    still_open = sessions.filter(ended_at=None).select_related("user", "domain", "link").order_by("pk")
    return sum(end_one(session, reason) for session in still_open)


def end_one(session: ConsoleSession, reason: EndReason, **details: str) -> bool:
    """Write the end of a session, once."""
    now = timezone.now()
    with audit.writing():
        ended = ConsoleSession.objects.filter(pk=session.pk, ended_at=None).update(ended_at=now, end_reason=reason)
        if ended:
            session.refresh_from_db(fields=["opened_at", "mode", "bytes_to_browser", "bytes_to_guest"])
            seconds = round((now - session.opened_at).total_seconds()) if session.opened_at else 0
            note(
                session,
                RESULTS.get(reason, AuditResult.DONE),
                reason=reason.value,
                seconds=seconds,
                bytes_to_browser=session.bytes_to_browser,
                bytes_to_guest=session.bytes_to_guest,
                **details,
            )
    return bool(ended)

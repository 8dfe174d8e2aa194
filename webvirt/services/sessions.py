"""Sessions of browsers: how long they last, which a person has, and how they end.

Two limits, whichever comes first: so long after the sign-in, and so long after the person last did anything. What
pages fetch by themselves is not done by anybody. Whoever asks whether a session stands asks for `expire_date` alone.
"""

from __future__ import annotations

import time
from collections.abc import MutableMapping
from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth import SESSION_KEY
from django.contrib.sessions.backends.db import SessionStore as DatabaseStore
from django.db.models import QuerySet
from django.utils import timezone
from django.utils.crypto import salted_hmac

from webvirt import bus
from webvirt.models import LoginSession, User
from webvirt.services import audit

NOTED_EVERY = timedelta(minutes=1)
"""The time of last use is written at most so often: reading must not cost a write each time."""
BEGAN, ADDRESS, BROWSER = "began", "address", "browser"
GUEST_UNTIL = "guest_until"
"""Until when somebody without an account is let in by a link, in seconds since 1970."""


class SessionStore(DatabaseStore):
    """Django's sessions in the database, whose rows say whose they are; `settings.SESSION_ENGINE` names this module."""

    last_used_at: datetime | None = None
    """As the row said when it was read."""

    @classmethod
    def get_model_class(cls) -> type[LoginSession]:
        return LoginSession

    def load(self) -> dict[str, Any]:
        row: Any = self._get_session_from_db()  # type: ignore[attr-defined]
        if row is None:
            return {}
        self.last_used_at = row.last_used_at
        found: dict[str, Any] = self.decode(row.session_data)
        return found

    def create_model_instance(self, data: MutableMapping[str, Any]) -> LoginSession:
        now = timezone.now()
        if SESSION_KEY in data:
            data.setdefault(BEGAN, time.time())
        began = began_at(data)
        return LoginSession(
            session_key=self._get_or_create_session_key(),  # type: ignore[attr-defined]
            session_data=self.encode(dict(data)),
            expire_date=end_of(data, now),
            user_id=int(data[SESSION_KEY]) if SESSION_KEY in data else None,
            began_at=began,
            last_used_at=now,
            address=data.get(ADDRESS),
            browser=data.get(BROWSER, ""),
        )


def began_at(data: MutableMapping[str, Any]) -> datetime | None:
    return datetime.fromtimestamp(data[BEGAN], UTC) if BEGAN in data else None


def end_of(data: MutableMapping[str, Any], used: datetime) -> datetime:
    """When a session ends that was used then. A guest does nothing on pages: theirs lasts as long as what lets them
    in."""
    began = began_at(data)
    guest_until = datetime.fromtimestamp(data.get(GUEST_UNTIL, 0.0), UTC)
    return ends_at(began, used) if began else max(ends_at(None, used), guest_until)


def ends_at(began: datetime | None, used: datetime) -> datetime:
    """When a session ends that began then and was used then."""
    idle = used + timedelta(minutes=settings.WEBVIRT_IDLE_MINUTES)
    return idle if began is None else min(idle, began + timedelta(hours=settings.WEBVIRT_SESSION_HOURS))


def note_use(session: SessionStore) -> None:
    """Its person does something: its end moves on."""
    now = timezone.now()
    if session.last_used_at is None or session.last_used_at > now - NOTED_EVERY:
        return
    rows = LoginSession.objects.filter(session_key=session.session_key, expire_date__gt=now)
    rows.update(last_used_at=now, expire_date=end_of(session, now))


def of_person(user: User) -> QuerySet[LoginSession]:
    """The sessions in which this person is signed in, the one used last first."""
    return LoginSession.objects.filter(user=user, expire_date__gt=timezone.now()).order_by("-last_used_at")


def handle_of(session_key: str) -> str:
    """What a page calls a session: whoever holds the key itself is signed in."""
    return salted_hmac("webvirt.sessions", session_key, algorithm="sha256").hexdigest()[:32]


def end_one(user: User, handle: str) -> bool:
    """End one of a person's sessions, with its sockets and consoles; False when there is none such."""
    keys = [row.session_key for row in of_person(user) if handle_of(row.session_key) == handle]
    return end(user, LoginSession.objects.filter(session_key__in=keys)) > 0


def end_all(user: User, but: str | None = None) -> int:
    """End all of a person's sessions, or all others than the one with this key. Returns how many."""
    return end(user, LoginSession.objects.filter(user=user).exclude(session_key=but or ""))


def end(user: User, rows: QuerySet[LoginSession]) -> int:
    with audit.writing():
        ended, _rows = rows.delete()
        if ended:
            audit.note("person.sessions", user, details={"ended": ended})
        bus.announce([f"user:{user.pk}"])
    return ended


def sweep(now: datetime) -> None:
    """Delete what has ended by itself."""
    LoginSession.objects.filter(expire_date__lt=now).delete()

"""Limits on guessing passwords, codes, links and tokens: at one account and from one address.

A guess takes a minute of what there is for its account and of what there is for its address; there are ten of them
ahead, so within ten minutes at most twenty are ever looked at, by however many processes. Who is right gets it back.
A name that nobody has is an account like any other. A device that its person signed in with before has an account's
limit of its own: whoever guesses elsewhere does not lock them out.

It is counted in the database, which everything here needs in any case: there is no second place that could be away.

The audit log tells that somebody comes up against a limit, once, and not of each try after that: nobody fills it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Any

from django.db import transaction
from django.utils import timezone
from django.utils.crypto import salted_hmac
from django.utils.translation import gettext as _

from webvirt.models import ApiToken, AuditResult, Guesses, User
from webvirt.services import audit
from webvirt.services.operations import NotNow
from webvirt.services.spelling import folded

EACH = timedelta(minutes=1)
AHEAD = 10
RESET = AHEAD * EACH + EACH
"""Nobody gets further ahead: a row that says so is from before the clock was set back."""
TOLD = timedelta(hours=1)
"""So long what the audit log tells of somebody who guesses is not told again."""


class UsedUp(NotNow):
    """There is nothing left of what these keys stand for."""

    def __init__(self, keys: Iterable[str]) -> None:
        self.keys = tuple(keys)
        super().__init__(_("Too many wrong tries. Wait a minute, then try again."))


@dataclass(frozen=True)
class Guess:
    """One that was let through, and what it took from."""

    keys: tuple[str, ...]

    def was_right(self) -> None:
        """Give back what it took."""
        with transaction.atomic():
            for row in locked(self.keys):
                row.until -= EACH
                row.save(update_fields=["until"])


def at_account(name: str, address: str | None, device: str = "") -> Guess:
    """A guess at the account of this name; `device` is one that is known there. Raises NotNow when it has to wait."""
    account = folded(name)
    keys = [key_of("account", account), key_of("address", network_of(address))]
    if device:
        keys = [key_of("device", f"{device}:{account}")]
    return take(keys, "password or code", name)


def at_names(user: User) -> Guess:
    """A guess of somebody who is signed in at who else there is. Raises NotNow when it has to wait."""
    return take([key_of("names", str(user.pk))], "name", user.get_username())


def also_at_account(name: str) -> Guess:
    """A guess that was made by another name of this account. Raises NotNow when it has to wait."""
    return take([key_of("account", folded(name))], "password or code", name)


def from_address(what: str, address: str | None) -> Guess:
    """A guess at what belongs to no account yet: a link, a token. Raises NotNow when it has to wait."""
    return take([key_of(what, network_of(address))], what)


def take(keys: Iterable[str], what: str, name: str = "") -> Guess:
    """Take a guess from each of these, or from none. Raises NotNow, and has the log tell `what` was guessed, if it is
    known of whose account."""
    wanted = tuple(sorted(keys))
    try:
        take_all(wanted)
    except UsedUp as error:
        tell("person.guess", error.keys, lambda: audit.account_named(name) if name else None, {"guessed": what})
        raise
    return Guess(wanted)


def take_all(wanted: tuple[str, ...]) -> None:
    """Raises UsedUp."""
    # Most of an attack ends here, without a write.
    refuse_if_used_up(Guesses.objects.filter(key__in=wanted))
    with transaction.atomic():
        now = timezone.now()
        Guesses.objects.bulk_create((Guesses(key=key, until=now) for key in wanted), ignore_conflicts=True)
        rows = locked(wanted)
        refuse_if_used_up(rows)
        for row in rows:
            row.until = begins(row, now) + EACH
            row.save(update_fields=["until"])


def locked(keys: tuple[str, ...]) -> list[Guesses]:
    """In the same order for everybody, so that no two wait for each other."""
    return list(Guesses.objects.select_for_update().filter(key__in=keys).order_by("key"))


def begins(row: Guesses, now: datetime) -> datetime:
    """From when the next guess counts."""
    return now if row.until < now or row.until > now + RESET else row.until


def refuse_if_used_up(rows: Iterable[Guesses]) -> None:
    now = timezone.now()
    if keys := [row.key for row in rows if begins(row, now) > now + (AHEAD - 1) * EACH]:
        raise UsedUp(keys)


About = audit.Thing | ApiToken | None


def tell(event: str, keys: Iterable[str], about: Callable[[], About], details: Mapping[str, Any]) -> None:
    """Write a line of something that is refused again and again: one in an hour for each of these keys, and whoever has
    many keys gets no more lines than guesses."""
    told = [key_of("told", f"{event}:{key}") for key in keys]
    lines = key_of("lines", event)
    try:
        refuse_if_used_up(Guesses.objects.filter(key=lines))
        if were_told(told):
            return
        with audit.writing():
            # Of several who find that at once, one tells it.
            if were_told(told):
                return
            take_all((lines,))
            for key in told:
                Guesses.objects.update_or_create(key=key, defaults={"until": timezone.now() + TOLD})
            audit.note(event, about(), result=AuditResult.DENIED, details=details)
    except UsedUp:
        return


def were_told(keys: Collection[str]) -> bool:
    now = timezone.now()
    return Guesses.objects.filter(key__in=keys, until__gt=now, until__lte=now + TOLD).count() == len(keys)


def key_of(what: str, value: str) -> str:
    return salted_hmac("webvirt.guessing", f"{what}:{value}", algorithm="sha256").hexdigest()


def network_of(address: str | None) -> str:
    """What one caller can choose addresses from: of IPv6, whoever has one has 2^64."""
    if not address:
        return "nowhere"
    found = ip_address(address)
    return str(ip_network(f"{found}/64", strict=False)) if isinstance(found, IPv6Address) else str(found)


def sweep(now: datetime) -> None:
    """Forget what no longer matters."""
    Guesses.objects.filter(until__lt=now).delete()

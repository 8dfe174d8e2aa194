"""Limits on guessing passwords, codes, links and tokens: at one account and from one address.

A guess takes a minute of what there is for its account and of what there is for its address; there are ten of them
ahead, so within ten minutes at most twenty are ever looked at, by however many processes. Who is right gets it back.
A name that nobody has is an account like any other. A device that its person signed in with before has an account's
limit of its own: whoever guesses elsewhere does not lock them out.

It is counted in the database, which everything here needs in any case: there is no second place that could be away.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import IPv6Address, ip_address, ip_network

from django.db import transaction
from django.utils import timezone
from django.utils.crypto import salted_hmac
from django.utils.translation import gettext as _

from webvirt.models import Guesses
from webvirt.services.operations import NotNow
from webvirt.services.spelling import folded

EACH = timedelta(minutes=1)
AHEAD = 10
RESET = AHEAD * EACH + EACH
"""Nobody gets further ahead: a row that says so is from before the clock was set back."""


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
    if device:
        return take([key_of("device", f"{device}:{account}")])
    return take([key_of("account", account), key_of("address", network_of(address))])


def also_at_account(name: str) -> Guess:
    """A guess that was made by another name of this account. Raises NotNow when it has to wait."""
    return take([key_of("account", folded(name))])


def from_address(what: str, address: str | None) -> Guess:
    """A guess at what belongs to no account yet: a link, a token. Raises NotNow when it has to wait."""
    return take([key_of(what, network_of(address))])


def take(keys: Iterable[str]) -> Guess:
    """Take a guess from each of these, or from none. Raises NotNow."""
    wanted = tuple(sorted(keys))
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
    return Guess(wanted)


def locked(keys: tuple[str, ...]) -> list[Guesses]:
    """In the same order for everybody, so that no two wait for each other."""
    return list(Guesses.objects.select_for_update().filter(key__in=keys).order_by("key"))


def begins(row: Guesses, now: datetime) -> datetime:
    """From when the next guess counts."""
    return now if row.until < now or row.until > now + RESET else row.until


def refuse_if_used_up(rows: Iterable[Guesses]) -> None:
    now = timezone.now()
    if any(begins(row, now) > now + (AHEAD - 1) * EACH for row in rows):
        raise NotNow(_("Too many wrong tries. Wait a minute, then try again."))


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

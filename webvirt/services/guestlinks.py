"""Links that let somebody without an account open one machine's console, for a time.

256 random bits, kept as their SHA-256. Whoever has used one holds it in their browser's session, and nothing else. A
guest may no more than who made the link, at any moment.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from django.db.models import F, QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from webvirt import bus
from webvirt.models import AuditResult, ConsoleMode, Domain, GuestLink, Origin
from webvirt.services import audit
from webvirt.services.access import Access, access_of
from webvirt.services.actors import Actor
from webvirt.services.catalogue import BY_KIND, Verb
from webvirt.services.named import cleaned
from webvirt.services.refusals import Denied, Invalid
from webvirt.services.sessions import GUEST_UNTIL
from webvirt.services.tokens import digest_of

INVITE = BY_KIND["domain.invite"]
VERBS: Mapping[str, Verb] = {
    ConsoleMode.VIEW: BY_KIND["domain.view"],
    ConsoleMode.CONTROL: BY_KIND["domain.console"],
}
"""What each mode of a console takes."""
SHORTEST_MINUTES = 15
LONGEST_MINUTES = 7 * 24 * 60
HELD = "guest_links"
"""Where a browser's session keeps the ids of the links that were used in it."""


# --- by who invites


def make(access: Access, domain: Domain, name: str, mode: str, minutes: int) -> tuple[GuestLink, str]:
    """A new link and its secret part; the caller shows it now or never. Raises Denied or Invalid."""
    if not may_invite(access, domain, mode):
        audit.note("guest_link.make", domain, result=AuditResult.DENIED)
        raise denied()
    name, wrong = cleaned(name), {}
    if not 1 <= len(name) <= 60:
        wrong["name"] = _("1 to 60 characters, by which the others know the guest.")
    if mode not in ConsoleMode.values:
        wrong["mode"] = _("Choose what the guest may.")
    if not SHORTEST_MINUTES <= minutes <= LONGEST_MINUTES:
        wrong["minutes"] = _("15 minutes to 7 days.")
    if wrong:
        raise Invalid(wrong)
    raw = secrets.token_urlsafe(32)
    expires = timezone.now() + timedelta(minutes=minutes)
    values: dict[str, Any] = {"name": name, "mode": mode, "digest": digest_of(raw), "expires_at": expires}
    with audit.writing():
        link = GuestLink.objects.create(domain=domain, made_by=access.user, **values)
        note("guest_link.make", link, good_until=expires)
        bus.announce(["consoles"])
    return link, raw


def may_invite(access: Access, domain: Domain, mode: str = ConsoleMode.VIEW) -> bool:
    """Whether somebody may let guests in there, who may no more than they may themselves."""
    verb = VERBS.get(mode)
    return access.may(INVITE, domain) and (verb is None or access.may(verb, domain))


def denied() -> Denied:
    return Denied(_("Your role here does not allow “%(verb)s”.") % {"verb": INVITE.label})


def links_for(access: Access, domain: Domain) -> QuerySet[GuestLink]:
    """The links of a machine that can be used now, for who may invite there. Raises Denied."""
    if not may_invite(access, domain):
        raise denied()
    return links_of(domain)


def links_of(domain: Domain) -> QuerySet[GuestLink]:
    """Those that can be used now, the latest first."""
    good = GuestLink.objects.filter(domain=domain, revoked_at=None, expires_at__gt=timezone.now())
    return good.select_related("made_by")


def revoke(access: Access, domain: Domain, pk: int) -> bool:
    """Withdraw one of a machine's links, whoever made it: its consoles end. False when there is none such. Raises
    Denied."""
    if not access.may(INVITE, domain):
        audit.note("guest_link.revoke", domain, result=AuditResult.DENIED)
        raise denied()
    with audit.writing():
        link = links_of(domain).filter(pk=pk).first()
        if link is None:
            return False
        GuestLink.objects.filter(pk=pk).update(revoked_at=timezone.now())
        note("guest_link.revoke", link)
        bus.announce(["consoles"])
    return True


def note(event: str, link: GuestLink, *, actor: Actor | None = None, **details: Any) -> None:
    told = {"link": link.pk, "guest": link.name, "mode": link.mode, "made_by": link.made_by.get_username()}
    audit.note(event, link.domain, actor=actor, details=told | details)


# --- by who comes


def find(raw: str) -> GuestLink | None:
    """The link of this secret, or None for one that is unknown, withdrawn or too old, or whose maker may no more."""
    return standing(GuestLink.objects.filter(digest=digest_of(raw)))


def standing(found: QuerySet[GuestLink]) -> GuestLink | None:
    """The one of them that there is, if it still lets anybody in."""
    link = found.select_related("made_by", "domain__host").first()
    return link if link and stands(link, access_of(link.made_by), timezone.now()) else None


def stands(link: GuestLink, access: Access, now: datetime) -> bool:
    """Whether it lets anybody in, with the rights of who made it."""
    if not (link.is_good(now) and link.made_by.is_active):
        return False
    return not link.domain.missing_since and may_invite(access, link.domain, link.mode)


def use(raw: str, address: str | None) -> GuestLink | None:
    """Note that somebody uses it; None where it is good no more."""
    with audit.writing():
        link = find(raw)
        if link is None:
            return None
        now = timezone.now()
        GuestLink.objects.filter(pk=link.pk).update(uses=F("uses") + 1, last_used_at=now, last_address=address)
        note("guest_link.use", link, actor=Actor(None, Origin.PAGE, address, called=link.called))
        bus.announce(["consoles"])
    return link


def hold(session: Any, link: GuestLink) -> None:
    """Have a browser's session let its visitor in by this link, for as long as it is good."""
    session[HELD] = [*(pk for pk in session.get(HELD, []) if pk != link.pk), link.pk]
    session[GUEST_UNTIL] = max(session.get(GUEST_UNTIL, 0.0), link.expires_at.timestamp())


def held(session: Any, pk: int) -> GuestLink | None:
    """A link that was used in this browser's session, if it still lets anybody in."""
    return standing(GuestLink.objects.filter(pk=pk)) if pk in session.get(HELD, []) else None

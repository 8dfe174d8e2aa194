"""API tokens: made once, shown once, kept as a digest; limited in what they may, and where.

256 random bits need no slow hash, and looking up their SHA-256 tells an attacker nothing by its timing.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext as _

from webvirt.models import ApiToken, ApiTokenQuerySet, Project, User
from webvirt.services import audit, guessing, roles
from webvirt.services.named import cleaned
from webvirt.services.operations import Invalid

PREFIX = "wv_"
LONGEST_DAYS = 3650
NOTED_EVERY = timedelta(minutes=1)
"""The time of last use is written at most so often: reading must not cost a write each time."""


def create_token(
    user: User, name: str, days: int, *, kinds: Iterable[str] | None = None, project: Project | None = None
) -> str:
    """A new token of a person or a service account, good for `days`; the caller shows it now or never.

    Of what its person may, it may the verbs of these `kinds` (of none: it only reads), and in this project alone; all
    of it everywhere where they are None. Raises Invalid.
    """
    name = cleaned(name)
    wrong = {}
    if not 1 <= len(name) <= 100:
        wrong["name"] = _("1 to 100 characters, to tell it from your others.")
    if not 1 <= days <= LONGEST_DAYS:
        wrong["days"] = _("1 to %(days)s days.") % {"days": LONGEST_DAYS}
    chosen = None if kinds is None else sorted(set(kinds))
    if strange := [kind for kind in chosen or () if not roles.is_choosable(kind)]:
        wrong["kinds"] = _("There is no such verb: %(names)s.") % {"names": ", ".join(strange)[:200]}
    if project is not None and project.closed_at:
        wrong["project"] = _("This project is closed.")
    if wrong:
        raise Invalid(wrong)
    raw = PREFIX + secrets.token_urlsafe(32)
    values: dict[str, Any] = {"name": name, "digest": digest_of(raw), "kinds": chosen, "project": project}
    with audit.writing():
        token = ApiToken.objects.create(user=user, expires_at=timezone.now() + timedelta(days=days), **values)
        note("token.make", token)
    return raw


def note(event: str, token: ApiToken) -> None:
    audit.note(event, token, details=details_of(token))


def details_of(token: ApiToken) -> dict[str, Any]:
    details: dict[str, Any] = {"person": token.user.get_username()}
    details |= {"expires": token.expires_at.isoformat(timespec="seconds")}
    details |= {} if token.kinds is None else {"verbs": token.kinds}
    return details | ({} if token.project is None else {"project": token.project.name})


def tell_refused(raw: str, address: str | None) -> None:
    """Have the log tell of a token that is good for nothing, and whose it was, where that is known."""
    token = ApiToken.objects.select_related("user", "project").filter(digest=digest_of(raw)).first()
    if token is None:
        key, details = f"address:{guessing.network_of(address)}", {"reason": "there is no such token"}
    else:
        key, details = f"token:{token.pk}", details_of(token) | {"reason": why_refused(token)}
    guessing.tell("token.refused", [key], lambda: token, details)


def why_refused(token: ApiToken) -> str:
    if token.revoked_at:
        return "it was revoked"
    return "it has expired" if token.expires_at <= timezone.now() else "the account is deactivated"


def tokens_of(user: User) -> ApiTokenQuerySet:
    """Those of somebody that were not revoked, expired ones among them, the latest first."""
    return ApiToken.objects.kept().filter(user=user).select_related("user", "project").order_by("-created_at", "-pk")


def user_of_token(raw: str) -> tuple[User, ApiToken] | None:
    """Whose token this is, or None for one unknown, expired, revoked, or of a deactivated person."""
    token = ApiToken.objects.good(timezone.now()).select_related("user").filter(digest=digest_of(raw)).first()
    return (token.user, token) if token else None


def note_use(token: ApiToken) -> None:
    """Keep when a token was used, now and then."""
    now = timezone.now()
    if token.last_used_at is None or token.last_used_at < now - NOTED_EVERY:
        unnoted = Q(last_used_at=None) | Q(last_used_at__lt=now - NOTED_EVERY)
        ApiToken.objects.filter(unnoted, pk=token.pk).update(last_used_at=now)


def revoke(user: User, pk: int) -> bool:
    """End one of somebody's tokens at once, and what it asked for and has not begun; False when there is none such."""
    with audit.writing():
        token = tokens_of(user).filter(pk=pk).first()
        if token is None:
            return False
        ApiToken.objects.filter(pk=pk).update(revoked_at=timezone.now())
        note("token.revoke", token)
    return True


def digest_of(raw: str) -> str:
    return hashlib.sha256(raw.encode()).hexdigest()

"""API tokens: made once, shown once, kept as a digest.

256 random bits need no slow hash, and looking up their SHA-256 tells an attacker nothing by its timing.
"""

from __future__ import annotations

import hashlib
import secrets
from datetime import timedelta

from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext as _

from webvirt.models import ApiToken, User
from webvirt.services import audit
from webvirt.services.named import cleaned
from webvirt.services.operations import Invalid

PREFIX = "wv_"
LONGEST_DAYS = 3650
NOTED_EVERY = timedelta(minutes=1)
"""The time of last use is written at most so often: reading must not cost a write each time."""


def create_token(user: User, name: str, days: int) -> str:
    """A new token of a person, good for `days`; the caller shows it now or never. Raises Invalid."""
    name = cleaned(name)
    wrong = {}
    if not 1 <= len(name) <= 100:
        wrong["name"] = _("1 to 100 characters, to tell it from your others.")
    if not 1 <= days <= LONGEST_DAYS:
        wrong["days"] = _("1 to %(days)s days.") % {"days": LONGEST_DAYS}
    if wrong:
        raise Invalid(wrong)
    raw = PREFIX + secrets.token_urlsafe(32)
    expires_at = timezone.now() + timedelta(days=days)
    with audit.writing():
        token = ApiToken.objects.create(user=user, name=name, digest=digest_of(raw), expires_at=expires_at)
        note("token.make", token)
    return raw


def note(event: str, token: ApiToken) -> None:
    details = {"person": token.user.get_username(), "expires": token.expires_at.isoformat(timespec="seconds")}
    audit.note(event, token, details=details)


def user_of_token(raw: str) -> tuple[User, ApiToken] | None:
    """Whose token this is, or None for one unknown, expired, or of a deactivated person."""
    now = timezone.now()
    found = ApiToken.objects.select_related("user").filter(digest=digest_of(raw), expires_at__gt=now)
    token = found.filter(user__is_active=True).first()
    return (token.user, token) if token else None


def note_use(token: ApiToken) -> None:
    """Keep when a token was used, now and then."""
    now = timezone.now()
    if token.last_used_at is None or token.last_used_at < now - NOTED_EVERY:
        unnoted = Q(last_used_at=None) | Q(last_used_at__lt=now - NOTED_EVERY)
        ApiToken.objects.filter(unnoted, pk=token.pk).update(last_used_at=now)


def revoke(user: User, pk: int) -> bool:
    """End one of a person's own tokens at once; False when there is none such."""
    with audit.writing():
        token = ApiToken.objects.select_related("user").filter(user=user, pk=pk).first()
        if token is None:
            return False
        note("token.revoke", token)
        token.delete()
    return True


def digest_of(raw: str) -> str:
    return hashlib.sha256(raw.encode()).hexdigest()

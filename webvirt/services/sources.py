"""Where accounts are from: kept here, or a directory's, which then knows their password and nobody here does."""

from __future__ import annotations

from django.utils.translation import gettext as _

from webvirt.models import Identity, Source, User
from webvirt.services.operations import NotNow


def identity_of(user: User) -> Identity | None:
    return Identity.objects.filter(user=user).first()


def source_of(user: User) -> Source | None:
    """None for an account that is kept here."""
    row = identity_of(user)
    return Source(row.source) if row else None


def refuse_password(user: User) -> None:
    """Raises NotNow where there is no password here that could be chosen."""
    if source := source_of(user):
        raise NotNow(
            _("This account is from %(source)s: its password is kept there, and none can be chosen here.")
            % {"source": source.label}
        )

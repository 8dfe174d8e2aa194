"""Who uses this installation, and how programs sign in for them."""

from __future__ import annotations

from datetime import datetime

from django.conf import settings
from django.contrib.auth.models import AbstractUser
from django.db import models
from django.utils.translation import gettext_lazy as _


class Theme(models.TextChoices):
    SYSTEM = "system", _("As the system")
    LIGHT = "light", _("Light")
    DARK = "dark", _("Dark")


class User(AbstractUser):
    """A person, or a service account. Never deleted, only deactivated: operations keep pointing at who asked."""

    is_service = models.BooleanField(default=False)
    """A program's account: it never signs in, and asks with its tokens alone."""
    language = models.CharField(max_length=10, blank=True, default="")
    """Empty: as the browser asks."""
    ssh_keys = models.TextField(blank=True, default="")
    """Public keys, one on a line, that new machines are offered."""
    theme = models.CharField(max_length=10, choices=Theme, default=Theme.SYSTEM)


class ApiTokenQuerySet(models.QuerySet["ApiToken"]):
    def kept(self) -> ApiTokenQuerySet:
        """Those that nobody revoked, expired ones among them."""
        return self.filter(revoked_at=None)

    def good(self, now: datetime) -> ApiTokenQuerySet:
        """Those of which one can be used now."""
        return self.kept().filter(expires_at__gt=now, user__is_active=True)


class ApiToken(models.Model):
    """A secret with which a program acts for a person. Shown once; only its SHA-256 is kept.

    Never deleted: operations keep pointing at the one that they were asked with.
    """

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="api_tokens")
    name = models.CharField(max_length=100)
    digest = models.CharField(max_length=64, unique=True)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    last_used_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    kinds = models.JSONField(null=True, blank=True)
    """Of the catalogue's verbs, those that it may of what its person may; none: to read alone. None: all."""
    project = models.ForeignKey(
        "webvirt.Project", on_delete=models.PROTECT, null=True, blank=True, related_name="api_tokens"
    )
    """Where alone it may anything; None: wherever its person may."""

    objects = ApiTokenQuerySet.as_manager()

    def __str__(self) -> str:
        return self.name

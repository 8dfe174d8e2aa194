"""Who uses this installation, and how programs sign in for them."""

from __future__ import annotations

from django.conf import settings
from django.contrib.auth.models import AbstractUser
from django.db import models
from django.utils.translation import gettext_lazy as _


class Theme(models.TextChoices):
    SYSTEM = "system", _("As the system")
    LIGHT = "light", _("Light")
    DARK = "dark", _("Dark")


class User(AbstractUser):
    """A person. Never deleted, only deactivated: operations keep pointing at who asked."""

    language = models.CharField(max_length=10, blank=True, default="")
    """Empty: as the browser asks."""
    ssh_keys = models.TextField(blank=True, default="")
    """Public keys, one on a line, that new machines are offered."""
    theme = models.CharField(max_length=10, choices=Theme, default=Theme.SYSTEM)


class ApiToken(models.Model):
    """A secret with which a program acts for a person. Shown once; only its SHA-256 is kept."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="api_tokens")
    name = models.CharField(max_length=100)
    digest = models.CharField(max_length=64, unique=True)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    last_used_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return self.name

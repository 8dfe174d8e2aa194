"""Who uses this installation, what they may do where, and how programs sign in for them."""

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


class Role(models.TextChoices):
    """Each role may all that the ones before it may; `Role.rank` gives the order."""

    VIEWER = "viewer", _("Viewer")
    OPERATOR = "operator", _("Operator")
    OWNER = "owner", _("Owner")
    ADMINISTRATOR = "administrator", _("Administrator")

    @property
    def rank(self) -> int:
        """1 for a viewer to 4 for an administrator; 0 is kept for nobody."""
        return list(Role).index(self) + 1


class Grant(models.Model):
    """One person's role on one domain, on one host with all its domains, or (neither set) on everything."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="grants")
    role = models.CharField(max_length=20, choices=Role)
    host = models.ForeignKey("webvirt.Host", on_delete=models.CASCADE, null=True, blank=True, related_name="grants")
    domain = models.ForeignKey("webvirt.Domain", on_delete=models.CASCADE, null=True, blank=True, related_name="grants")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="grant_on_one_scope",
                condition=models.Q(host__isnull=True) | models.Q(domain__isnull=True),
                violation_error_message=_("A grant is on a host or on a virtual machine, not on both."),
            ),
            models.CheckConstraint(
                name="administrator_of_everything_only",
                condition=~models.Q(role=Role.ADMINISTRATOR) | models.Q(host__isnull=True, domain__isnull=True),
                violation_error_message=_("An administrator is one everywhere: leave host and machine empty."),
            ),
            *(
                # One for each scope: SQLite takes two NULLs for different.
                models.UniqueConstraint(
                    name=f"one_grant_per_user_{scope}",
                    fields=["user", *fields],
                    condition=models.Q(host__isnull=scope != "host", domain__isnull=scope != "domain"),
                    violation_error_message=_("This person has a role there already: change that one."),
                )
                for scope, fields in (("everywhere", []), ("host", ["host"]), ("domain", ["domain"]))
            ),
        ]

    def __str__(self) -> str:
        return f"{self.user_id} is {self.role} on {self.domain_id or self.host_id or 'everything'}"


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

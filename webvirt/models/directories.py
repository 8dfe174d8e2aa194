"""Who comes from elsewhere: whose account is whose in a directory, and what groups are called there."""

from __future__ import annotations

from django.conf import settings
from django.contrib.auth.models import Group
from django.db import models


class Source(models.TextChoices):
    """Where an account is from that is not kept here: both are the names of things, the same in all languages."""

    OIDC = "oidc", "OpenID Connect"
    LDAP = "ldap", "LDAP"


class Identity(models.Model):
    """Whose account this is in a directory. An account without one is kept here; none ever gets one later."""

    user = models.OneToOneField(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="identity")
    source = models.CharField(max_length=10, choices=Source)
    issuer = models.CharField(max_length=255, blank=True, default="")
    """The provider of OpenID Connect, whose subjects are its own; empty for LDAP, where ids are nobody else's."""
    subject = models.CharField(max_length=512)
    """What never changes there, unlike names: the claim `sub`; `uuid:`, `guid:` or, for want of these, `dn:`."""

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["source", "issuer", "subject"], name="identity_unique"),
        ]

    def __str__(self) -> str:
        return f"{self.subject} of {self.issuer or self.source}"


class DirectoryName(models.Model):
    """What a group is called in the directory: whoever is in it there is put into it here when they sign in."""

    group = models.ForeignKey(Group, on_delete=models.CASCADE, related_name="directory_names")
    name = models.CharField(max_length=512)

    class Meta:
        ordering = ["pk"]
        constraints = [
            models.UniqueConstraint(fields=["group", "name"], name="directory_name_unique"),
        ]

    def __str__(self) -> str:
        return self.name

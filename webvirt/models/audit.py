"""The audit log: who did what to what, from where, and what became of it. Each line holds the hash of the one before.

Lines name people and objects as of then and point at no row, so nothing that happens to a row later touches them.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Never

from django.db import models
from django.utils.translation import gettext_lazy as _

from webvirt.models.operations import AppendOnly, Origin

AUDIT_START = "0" * 64
"""What the first line holds in place of a hash."""


class AuditResult(models.TextChoices):
    """`asked` and `begun` tell what is to happen, the others what did."""

    ASKED = "asked", _("requested")
    BEGUN = "begun", _("begun")
    DONE = "done", _("done")
    FAILED = "failed", _("failed")
    CANCELLED = "cancelled", _("cancelled")
    DENIED = "denied", _("denied")
    UNKNOWN = "unknown", _("unknown")
    """Whoever was to carry it out is lost: it may have been carried out all the same."""


class AuditQuerySet(models.QuerySet["AuditLine"]):
    def delete(self) -> Never:
        raise AppendOnly("the audit log is never deleted from")

    def update(self, **kwargs: Any) -> Never:
        raise AppendOnly("lines of the audit log are never altered")


class AuditLine(models.Model):
    """One line, written by `services.audit.note` alone. The database lets none be deleted or altered."""

    number = models.BigIntegerField(primary_key=True)
    """From 1, without gaps."""
    at = models.DateTimeField()
    event = models.CharField(max_length=64)
    """A verb's kind, or one of `services.audit.EVENTS`."""
    result = models.CharField(max_length=12, choices=AuditResult)

    person = models.BigIntegerField(null=True)
    """The account that acted, by its id."""
    actor = models.CharField(max_length=150, blank=True, default="")
    """Their name as it was, or what in the system acted; empty for somebody who was not signed in."""
    origin = models.CharField(max_length=10, choices=Origin)
    address = models.CharField(max_length=45, blank=True, default="")
    token_name = models.CharField(max_length=150, blank=True, default="")

    noun = models.CharField(max_length=20, blank=True, default="")
    object_id = models.BigIntegerField(null=True)
    name = models.CharField(max_length=255, blank=True, default="")
    """The object's name as it was."""
    uuid = models.CharField(max_length=36, blank=True, default="")
    operation = models.BigIntegerField(null=True)
    details = models.TextField(default="{}")
    """A JSON object in ASCII, as it went into the hash."""

    previous = models.CharField(max_length=64)
    """The hash of the line before."""
    hash = models.CharField(max_length=64)
    """SHA-256 of the canonical form (`services.audit.canonical`), in hexadecimal."""

    objects = AuditQuerySet.as_manager()

    class Meta:
        ordering = ["-number"]
        indexes = [
            models.Index(name="audit_by_time", fields=["at"]),
            models.Index(name="audit_by_event", fields=["event", "-number"]),
            models.Index(name="audit_by_result", fields=["result", "-number"]),
            models.Index(name="audit_by_actor", fields=["actor", "-number"]),
            models.Index(name="audit_by_name", fields=["name", "-number"]),
            models.Index(name="audit_by_object", fields=["noun", "object_id", "-number"]),
            models.Index(name="audit_by_uuid", fields=["uuid", "-number"]),
            models.Index(name="audit_by_address", fields=["address", "-number"]),
        ]

    def __str__(self) -> str:
        return f"{self.number} {self.event} {self.name}"

    def delete(self, *args: Any, **kwargs: Any) -> Never:
        raise AppendOnly("the audit log is never deleted from")


class AuditHead(models.Model):
    """The end of the log: the last line's number and hash. One row; its lock makes one chain of all writers' lines."""

    number = models.BigIntegerField(default=0)
    hash = models.CharField(max_length=64, default=AUDIT_START)
    latest = models.DateTimeField(null=True)
    """The latest time of any line: the clock may have been set back since."""
    back = models.DurationField(default=timedelta())
    """How far behind `latest` a line was at the most, which is how far lines can be out of the order of their times."""

    def __str__(self) -> str:
        return f"{self.number} {self.hash}"


class AuditForward(models.Model):
    """How far the log was sent to syslog. One row; who holds it until `held_until` is the one who sends."""

    sent = models.BigIntegerField(default=0)
    """The last line that was."""
    held_until = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"sent as far as {self.sent}"

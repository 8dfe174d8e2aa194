"""What was asked for: one row is the request, the lock, the progress and the audit line."""

from __future__ import annotations

from typing import Any, Never

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _


class OperationState(models.TextChoices):
    """queued -> running -> one of the ends. A queued one may end as cancelled or denied without running."""

    QUEUED = "queued", _("queued")
    RUNNING = "running", _("running")
    SUCCEEDED = "succeeded", _("done")
    FAILED = "failed", _("failed")
    CANCELLED = "cancelled", _("cancelled")
    DENIED = "denied", _("denied")


ACTIVE_STATES = (OperationState.QUEUED, OperationState.RUNNING)
ENDED_BADLY = (OperationState.FAILED, OperationState.CANCELLED, OperationState.DENIED)
OPEN = models.Q(state__in=ACTIVE_STATES)


class Origin(models.TextChoices):
    PAGE = "page", _("page")
    API = "api", _("API")
    COMMAND = "command", _("command line")
    SYSTEM = "system", _("system")


class AppendOnly(Exception):
    """Somebody tried to delete what is kept for ever."""


class OperationQuerySet(models.QuerySet["Operation"]):
    def active(self) -> OperationQuerySet:
        """Those that have not come to an end."""
        return self.filter(OPEN)

    def delete(self) -> Never:
        raise AppendOnly("operations are the audit log: they are never deleted")


class Operation(models.Model):
    """A change somebody asked for on a host, from the asking to the end.

    Written by `services.operations` alone. The database refuses to delete a row or to alter one that has ended
    (triggers of the first migration).
    """

    kind = models.CharField(max_length=64)
    state = models.CharField(max_length=12, choices=OperationState, default=OperationState.QUEUED)
    exclusive = models.BooleanField(default=True)
    queue = models.CharField(max_length=16)

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="operations")
    actor = models.CharField(max_length=150)
    """The person's name as it was, or what in the system asked."""
    origin = models.CharField(max_length=10, choices=Origin)
    address = models.GenericIPAddressField(null=True)
    token = models.ForeignKey("webvirt.ApiToken", on_delete=models.PROTECT, null=True, related_name="operations")
    """The one that it was asked with: what that may not any more when it begins is not done."""
    token_name = models.CharField(max_length=100, blank=True, default="")
    request_key = models.CharField(max_length=200, blank=True, default="")
    """What the asking program called its request (`Idempotency-Key`): asking again gives this operation again."""

    subject = models.CharField(max_length=40)
    """What it is done to, by noun and id (`pool:12`): the name it is announced by, and what the busy lock is on."""
    host = models.ForeignKey("webvirt.Host", on_delete=models.PROTECT, related_name="operations")
    domain = models.ForeignKey("webvirt.Domain", on_delete=models.PROTECT, null=True, related_name="operations")
    """The domain that it is done to, if it is one: rights on it are rights to know of the operation."""
    target = models.CharField(max_length=255)
    """The object's name as it was."""
    parameters = models.JSONField(default=dict)
    virsh = models.TextField(blank=True, default="")

    created_at = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    heartbeat_at = models.DateTimeField(null=True)
    sent_at = models.DateTimeField(null=True)
    worker = models.CharField(max_length=100, blank=True, default="")

    phase = models.CharField(max_length=200, blank=True, default="")
    done = models.BigIntegerField(null=True)
    total = models.BigIntegerField(null=True)
    cancel_asked_at = models.DateTimeField(null=True)
    result = models.JSONField(default=dict)
    error = models.TextField(blank=True, default="")
    """libvirt's own sentence, or ours; the first error when undoing failed too."""
    remedy = models.TextField(blank=True, default="")

    objects = OperationQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                name="one_exclusive_operation_per_subject",
                fields=["subject"],
                condition=OPEN & models.Q(exclusive=True),
            ),
            models.UniqueConstraint(
                name="one_operation_per_request_key",
                fields=["user", "request_key"],
                condition=~models.Q(request_key=""),
            ),
        ]
        indexes = [
            models.Index(name="operation_by_subject", fields=["subject", "-id"]),
            models.Index(name="operation_by_domain", fields=["domain", "-id"]),
            models.Index(name="operation_by_host", fields=["host", "-id"]),
            models.Index(name="operation_by_state", fields=["state", "-id"]),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.target}"

    def delete(self, *args: Any, **kwargs: Any) -> Never:
        raise AppendOnly("operations are the audit log: they are never deleted")

    @property
    def is_active(self) -> bool:
        return self.state in ACTIVE_STATES

    @property
    def percent(self) -> int | None:
        """Progress from 0 to 100, or None where the end is not known."""
        if self.total and self.done is not None:
            return min(100, int(100 * self.done / self.total))
        return None

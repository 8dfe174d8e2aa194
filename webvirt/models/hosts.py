"""Hosts: what we were told of them (address) and what they told us."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.db.models.functions import Coalesce
from django.utils.translation import gettext_lazy as _

from webvirt.hypervisor.types import HostAddress, MachineSupport, Transport


class HostState(models.TextChoices):
    CONNECTING = "connecting", _("connecting")
    UP = "up", _("up")
    DOWN = "down", _("unreachable")
    REFUSED = "refused", _("refuses us")
    UNCONFIRMED = "unconfirmed", _("key to confirm")
    CHANGED = "changed", _("identity changed")
    LOCKED = "locked", _("credentials unavailable")


NOT_REACHED = (HostState.DOWN, HostState.REFUSED, HostState.UNCONFIRMED, HostState.CHANGED, HostState.LOCKED)


TRANSPORT_LABELS = {
    Transport.LOCAL: _("This machine (local socket)"),
    Transport.SSH: _("SSH"),
    Transport.TLS: _("TLS"),
    Transport.TCP: _("TCP, unencrypted"),
    Transport.TEST: _("libvirt's test driver (demonstration)"),
}


class HostQuerySet(models.QuerySet["Host"]):
    def kept(self) -> HostQuerySet:
        """Those that nobody removed."""
        return self.filter(removed_at=None)


class Host(models.Model):
    """A machine with libvirt. Removed ones keep their row, since operations and grants point at it."""

    name = models.CharField(max_length=64)
    transport = models.CharField(max_length=10, choices=list(TRANSPORT_LABELS.items()))
    hostname = models.CharField(max_length=253, blank=True, default="")
    port = models.PositiveIntegerField(null=True, blank=True)
    user = models.CharField(max_length=32, blank=True, default="")
    sealed_password = models.TextField(blank=True, default="")
    """For `services.unsealing` alone."""
    password_at = models.DateTimeField(null=True, blank=True)
    """When the password was entered."""
    keys = models.JSONField(default=list, blank=True)
    """The public keys by which SSH knows it, as somebody confirmed them."""
    created_at = models.DateTimeField(auto_now_add=True)
    removed_at = models.DateTimeField(null=True, blank=True)

    # What it told us, written by inventory alone.
    state = models.CharField(max_length=12, choices=HostState, default=HostState.CONNECTING)
    state_since = models.DateTimeField(auto_now_add=True)
    state_reason = models.TextField(blank=True, default="")
    seen_at = models.DateTimeField(null=True, blank=True)
    uuid = models.CharField(max_length=36, blank=True, default="")
    info = models.JSONField(default=dict, blank=True)
    """`HostInfo` as a dict; empty until the first connection."""
    checks = models.JSONField(default=list, blank=True)
    """`Check`s of the capability check as dicts."""
    offered = models.JSONField(default=list, blank=True)
    """The keys that it shows where they are not those that were confirmed."""
    interfaces = models.JSONField(default=list, blank=True)
    """`HostInterface`s as dicts."""
    trial = models.JSONField(default=list, blank=True)
    """`Check`s of the last connection trial as dicts."""
    cpu_percent = models.FloatField(null=True, blank=True)
    memory_used_kib = models.BigIntegerField(null=True, blank=True)
    usage_at = models.DateTimeField(null=True, blank=True)

    objects = HostQuerySet.as_manager()

    class Meta:
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(
                name="host_name_unique",
                fields=["name"],
                condition=models.Q(removed_at=None),
                violation_error_message=_("There is a host of this name already."),
            ),
            models.UniqueConstraint(
                # Coalesce: SQLite takes two NULLs for different.
                "transport",
                "hostname",
                Coalesce("port", 0),
                "user",
                name="host_address_unique",
                condition=models.Q(removed_at=None),
                violation_error_message=_("This address is in the list already, under another name."),
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def address(self) -> HostAddress:
        """Where it is and how it is known, without its password."""
        return HostAddress(Transport(self.transport), self.hostname, self.port, self.user, tuple(self.keys))

    @property
    def machines(self) -> tuple[MachineSupport, ...]:
        """What it can run; empty until it has told."""
        return tuple(map(machine_of, self.info.get("machines", ())))

    @property
    def is_up(self) -> bool:
        return self.state == HostState.UP


def machine_of(told: dict[str, Any]) -> MachineSupport:
    """One out of `info`: JSON knows lists only."""
    parts: dict[str, Any] = {name: tuple(part) if isinstance(part, list) else part for name, part in told.items()}
    return MachineSupport(**parts)

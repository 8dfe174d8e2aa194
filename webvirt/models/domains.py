"""Domains as remembered: the last thing each host told us, kept when it stops telling."""

from __future__ import annotations

import shlex
from typing import Any

from django.db import models
from django.utils.translation import gettext_lazy as _

from webvirt.models.hosts import HostState


class Status(models.TextChoices):
    """What a person reads as the state of a machine: libvirt's, and four that follow from more than that."""

    RUNNING = "running", _("running")
    PAUSED = "paused", _("paused")
    SHUTTING_DOWN = "shutting-down", _("shutting down")
    SHUTOFF = "shutoff", _("shut off")
    SAVED = "saved", _("saved")
    CRASHED = "crashed", _("crashed")
    PMSUSPENDED = "pmsuspended", _("asleep")
    MISSING = "missing", _("missing")
    BINNED = "binned", _("in the recycle bin")
    MAKING = "making", _("being made")
    UNKNOWN = "unknown", _("unknown")


ACTIVE = (Status.RUNNING, Status.PAUSED, Status.SHUTTING_DOWN, Status.PMSUSPENDED)
SEARCH_FIELDS = ("name", "tag", "state", "host")
TEMPLATES = "templates"
"""A word for a state, so to speak: those that machines are made from."""
STATE_WORDS = {"on": ACTIVE, "off": (Status.SHUTOFF, Status.SAVED, Status.CRASHED)}


class DomainQuerySet(models.QuerySet["Domain"]):
    def kept(self) -> DomainQuerySet:
        """Those of hosts that nobody removed, without the missing ones that somebody dismissed."""
        return self.filter(host__removed_at=None, forgotten_at=None)

    def binned(self) -> DomainQuerySet:
        """Those in the recycle bin that are still on their hosts."""
        return self.filter(host__removed_at=None, status=Status.BINNED)

    def matching(self, text: str) -> DomainQuerySet:
        """The rows that a search line finds: words in the name or title, `tag:` `state:` `host:`, `-` negates.

        >>> Domain.objects.matching("web tag:prod -host:alpha state:off")
        """
        found = self
        for word in split_search(text):
            negated = len(word) > 1 and word.startswith("-")
            condition = search_condition(word.removeprefix("-") if negated else word)
            found = found.exclude(condition) if negated else found.filter(condition)
        return found


def split_search(text: str) -> list[str]:
    """Words, with quotes honoured; an open quote is taken as a letter rather than refused."""
    try:
        return shlex.split(text)
    except ValueError:
        return text.replace('"', " ").split()


def search_condition(word: str) -> models.Q:
    """One word of a search line as a condition."""
    field, colon, value = word.partition(":")
    if not (colon and value and field in SEARCH_FIELDS):
        return models.Q(name__icontains=word) | models.Q(title__icontains=word) | models.Q(uuid=word)
    if field == "tag":
        return models.Q(tag_line__contains=f" {value} ")
    if field == "host":
        return models.Q(host__name__iexact=value)
    if field == "state" and value == TEMPLATES:
        return models.Q(is_template=True)
    if field == "state":
        return models.Q(status__in=STATE_WORDS.get(value, [value]))
    return models.Q(name__icontains=value)


class Domain(models.Model):
    """A virtual machine. Its identity is (host, uuid); absence is `missing_since`, never deletion.

    Every column but the first three is written by `services.inventory` alone.
    """

    host = models.ForeignKey("webvirt.Host", on_delete=models.PROTECT, related_name="domains")
    uuid = models.CharField(max_length=36)
    project = models.ForeignKey(
        "webvirt.Project", on_delete=models.PROTECT, null=True, blank=True, related_name="domains"
    )
    """The team that it belongs to; None: the host's own."""
    name = models.CharField(max_length=255)
    title = models.CharField(max_length=255, blank=True, default="")
    description = models.TextField(blank=True, default="")
    tag_line = models.TextField(blank=True, default="")
    """The tags with a space around each (" prod web "), so that one LIKE finds a whole one."""
    status = models.CharField(max_length=16, choices=Status, default=Status.UNKNOWN)
    status_reason = models.CharField(max_length=64, blank=True, default="")
    status_since = models.DateTimeField(null=True, blank=True)
    """When we saw it change; None where it was so when we first looked."""
    persistent = models.BooleanField(default=True)
    autostart = models.BooleanField(default=False)
    vcpus = models.PositiveIntegerField(default=0)
    memory_kib = models.BigIntegerField(default=0)
    first_seen_at = models.DateTimeField(auto_now_add=True)
    missing_since = models.DateTimeField(null=True, blank=True)
    forgotten_at = models.DateTimeField(null=True, blank=True)
    """Since when no list shows it: somebody said that a missing one may stay so, which is undone when its host lists
    it again; or it is in the recycle bin."""
    binned_at = models.DateTimeField(null=True, blank=True)
    """Since when it is in the recycle bin, off and out of sight until it is restored or purged."""
    before_bin = models.JSONField(default=dict, blank=True)
    """What it was before: its `name`, whether it had `autostart`, and the ids of the `volumes` that go with it."""

    os = models.CharField(max_length=255, blank=True, default="")
    """osinfo's identity of its system (`http://debian.org/debian/12`), as its definition says; empty if it does not."""
    is_template = models.BooleanField(default=False)
    """Whether machines are made from it, and it is never started: what is on its disks stays as it is."""
    template_line = models.CharField(max_length=255, blank=True, default="")
    """Of a template that is one of several versions, by what name these go together on its host."""
    template_version = models.PositiveIntegerField(default=0)
    """Which of them it is, from 1 on."""
    is_recorded = models.BooleanField(default=False)
    """Whether each of its consoles is recorded."""
    stilled_by = models.ForeignKey("webvirt.Operation", on_delete=models.SET_NULL, null=True, related_name="+")
    """The operation that has it stand still for a moment: if that ends badly, it is made to go on."""
    making = models.ForeignKey("webvirt.Operation", on_delete=models.SET_NULL, null=True, related_name="+")
    """The operation that makes it: as long as it stands here it is not whole, and if that fails it is removed."""
    seed = models.ForeignKey("webvirt.Volume", on_delete=models.SET_NULL, null=True, related_name="+")
    """The disc that tells it at its first start what it is to be, until that is taken out and deleted."""

    # Use, from two readings of the counters; rates in bytes per second, CPU in percent of its vCPUs.
    cpu_percent = models.FloatField(null=True, blank=True)
    memory_used_kib = models.BigIntegerField(null=True, blank=True)
    disk_read_rate = models.BigIntegerField(null=True, blank=True)
    disk_write_rate = models.BigIntegerField(null=True, blank=True)
    net_rx_rate = models.BigIntegerField(null=True, blank=True)
    net_tx_rate = models.BigIntegerField(null=True, blank=True)
    usage_at = models.DateTimeField(null=True, blank=True)
    not_responding_since = models.DateTimeField(null=True, blank=True)
    """Since when its process leaves our questions unanswered."""

    objects = DomainQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(name="domain_unique_on_host", fields=["host", "uuid"]),
            models.UniqueConstraint(
                name="domain_template_version",
                fields=["host", "template_line", "template_version"],
                condition=~models.Q(template_line=""),
            ),
        ]
        indexes = [
            # With what `kept` asks for, so that a page far down the list reads no rows of those before it.
            models.Index(name="domain_by_name", fields=["name", "id", "host"], condition=models.Q(forgotten_at=None)),
            models.Index(name="domain_by_status", fields=["status", "name"]),
            models.Index(name="domain_by_cpu", fields=["-cpu_percent", "id"]),
            # Holds all that counting needs, so that the totals of a list never read the rows themselves.
            models.Index(name="domain_counted", fields=["host", "forgotten_at", "status", "memory_kib"]),
            models.Index(name="domain_binned", fields=["binned_at"], condition=models.Q(binned_at__isnull=False)),
            models.Index(name="domain_templates", fields=["name"], condition=models.Q(is_template=True)),
            models.Index(name="domain_silent", fields=["name"], condition=models.Q(not_responding_since__isnull=False)),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def tags(self) -> list[str]:
        return self.tag_line.split()

    @property
    def is_active(self) -> bool:
        return self.status in ACTIVE

    @property
    def is_stale(self) -> bool:
        """Whether what we show may no longer be so, since its host does not answer."""
        return self.host.state != HostState.UP


class Definition(models.Model):
    """A domain's hardware as last read: the parsed form of both definitions, and their texts without secrets."""

    domain = models.OneToOneField(Domain, on_delete=models.CASCADE, related_name="definition", primary_key=True)
    inactive = models.JSONField(default=dict)
    """`DomainInfo` as a dict."""
    live = models.JSONField(null=True, default=None)
    """`DomainInfo` of the running machine as a dict, or None."""
    inactive_xml = models.TextField(default="")
    live_xml = models.TextField(blank=True, default="")
    addresses = models.JSONField(default=list)
    """`GuestAddress`es as dicts."""
    read_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"definition of {self.domain_id}"

    @property
    def shown(self) -> dict[str, Any]:
        """The definition in force: the live one while it runs."""
        shown: dict[str, Any] = self.live or self.inactive
        return shown


class Screen(models.Model):
    """The last picture of a guest's screen: for its page, and a small one for walls of many.

    `digest` tells one picture from another; empty where it is not known. `taken_at` is when it was last found true.
    """

    domain = models.OneToOneField(Domain, on_delete=models.CASCADE, related_name="screen", primary_key=True)
    png = models.BinaryField()
    small = models.BinaryField(default=b"")
    digest = models.CharField(max_length=16, default="")
    taken_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"screen of {self.domain_id}"

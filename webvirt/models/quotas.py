"""What operations under way may come to take of their project's quota, and what projects have used by month."""

from __future__ import annotations

from django.db import models


class Reservation(models.Model):
    """The part of a project's quota that an operation may come to take. It counts as long as the operation is under
    way; what becomes whole meanwhile is counted by its own row, and taken off here. Written by `services.quotas`
    alone."""

    operation = models.OneToOneField(
        "webvirt.Operation", on_delete=models.CASCADE, primary_key=True, related_name="reservation"
    )
    project = models.ForeignKey("webvirt.Project", on_delete=models.CASCADE, related_name="reservations")
    """Where all that the operation makes belongs."""
    machines = models.PositiveIntegerField(default=0)
    vcpus = models.PositiveIntegerField(default=0)
    memory_kib = models.BigIntegerField(default=0)
    disk = models.BigIntegerField(default=0)
    """Bytes."""

    def __str__(self) -> str:
        return f"reservation of {self.operation_id} in {self.project_id}"


class MonthlyUse(models.Model):
    """What a project used in a month, which begins and ends in UTC. Written by `services.showback` alone.

    Use is the product of an amount and the seconds that it was seen for; disks by their capacity.
    """

    project = models.ForeignKey("webvirt.Project", on_delete=models.CASCADE, related_name="monthly_uses")
    month = models.DateField()
    """Its first day."""
    vcpu_seconds = models.BigIntegerField(default=0)
    """Of the machines that ran."""
    memory_mib_seconds = models.BigIntegerField(default=0)
    """Of the machines that ran."""
    disk_mib_seconds = models.BigIntegerField(default=0)
    """Of all its volumes."""
    seconds = models.BigIntegerField(default=0)
    """So long somebody looked."""
    gap_seconds = models.BigIntegerField(default=0)
    """So long nobody did: it is no use."""
    partial_seconds = models.BigIntegerField(default=0)
    """Of the `seconds` those in which a host that runs some of it did not answer, so that these were not counted."""

    class Meta:
        constraints = [models.UniqueConstraint(name="one_use_per_project_and_month", fields=["project", "month"])]

    def __str__(self) -> str:
        return f"use of {self.project_id} in {self.month:%Y-%m}"

    @property
    def vcpu_hours(self) -> float:
        return self.vcpu_seconds / 3600

    @property
    def memory_gib_hours(self) -> float:
        return self.memory_mib_seconds / 1024 / 3600

    @property
    def disk_gib_hours(self) -> float:
        return self.disk_mib_seconds / 1024 / 3600

    @property
    def known_percent(self) -> float:
        """How much of the time somebody looked."""
        whole = self.seconds + self.gap_seconds
        return 100 * self.seconds / whole if whole else 100.0


class Meter(models.Model):
    """The one reading that use is counted from: when all projects were last looked at."""

    read_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"read at {self.read_at}"

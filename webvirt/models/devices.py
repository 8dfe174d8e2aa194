"""A host's devices that machines can be given, and which machines are given which."""

from __future__ import annotations

from django.db import models


class DeviceList(models.Model):
    """What a host has. A row of its own: hosts are read with every list of machines, and this can be long."""

    host = models.OneToOneField("webvirt.Host", on_delete=models.CASCADE, related_name="device_list", primary_key=True)
    devices = models.JSONField(default=list)
    """`HostDevice`s as dicts."""

    def __str__(self) -> str:
        return f"devices of {self.host_id}"


class DeviceUse(models.Model):
    """A domain's definition names a device of its host. Written with the definition it stands in."""

    domain = models.ForeignKey("webvirt.Domain", on_delete=models.CASCADE, related_name="device_uses")
    kind = models.CharField(max_length=8)
    address = models.CharField(max_length=64, blank=True, default="")
    ids = models.CharField(max_length=16, blank=True, default="")
    """Vendor and product of a USB device that is named by these, and not by its address."""
    live = models.BooleanField(default=False)

    def __str__(self) -> str:
        return f"{self.kind} {self.address or self.ids} of {self.domain_id}"

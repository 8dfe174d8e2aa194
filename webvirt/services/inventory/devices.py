"""What hosts tell us of their devices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from django.db import transaction

from webvirt import bus
from webvirt.hypervisor.types import HostDevice
from webvirt.models import DeviceList


def remember_devices(host_pk: int, devices: Sequence[HostDevice]) -> None:
    """Keep what a host lists of its devices, announcing it only when that changed."""
    found = [asdict(device) | {"mdev_types": list(device.mdev_types)} for device in devices]
    with transaction.atomic():
        known, is_new = DeviceList.objects.get_or_create(host_id=host_pk, defaults={"devices": found})
        if is_new or known.devices != found:
            DeviceList.objects.filter(host=host_pk).update(devices=found)
            bus.announce([f"host:{host_pk}"])

"""A host's devices: PCI by IOMMU group, USB, mediated and SCSI, each with the machines that are given it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from webvirt.models import Domain, Host
from webvirt.services import uses


@dataclass(frozen=True)
class DeviceLine:
    """A device as the host told it, with the machines that are given it."""

    device: dict[str, Any]
    users: list[Domain]


@dataclass(frozen=True)
class Group:
    """PCI devices that can only go to a machine together; `number` is None where there is no IOMMU."""

    number: int | None
    lines: list[DeviceLine]


def lines_of(host: Host) -> list[DeviceLine]:
    return [DeviceLine(device, users) for device, users in uses.devices_with_users(host)]


def groups_of(lines: Iterable[DeviceLine]) -> list[Group]:
    """The PCI devices among them by IOMMU group, those without one last."""

    def group(line: DeviceLine) -> tuple[bool, int]:
        number = line.device["iommu_group"]
        return (False, number) if isinstance(number, int) else (True, 0)

    found = sorted((line for line in lines if line.device["kind"] == "pci"), key=group)
    return [Group(None if none else number, list(some)) for (none, number), some in groupby(found, key=group)]

"""What hosts tell us of their secrets, made into rows. They tell of no value, and none is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from webvirt.hypervisor.types import SecretInfo
from webvirt.models import Host, Secret
from webvirt.services.inventory.seen import reconcile_listed

LONGEST_NAME = 255


def reconcile_secrets(host: Host, seen: Sequence[SecretInfo]) -> None:
    """Write what a host lists of its secrets."""
    reconcile_listed(Secret, host, seen, secret_values, noun="secret")


def secret_values(line: SecretInfo) -> dict[str, Any]:
    return {
        "name": (line.usage_id or line.description or line.uuid)[:LONGEST_NAME],
        "usage": line.usage,
        "usage_id": line.usage_id,
        "description": line.description,
        "ephemeral": line.ephemeral,
        "private": line.private,
    }

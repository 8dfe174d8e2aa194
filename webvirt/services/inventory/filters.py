"""What hosts tell us of their network filters, made into rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from webvirt.hypervisor.types import FilterInfo
from webvirt.models import Filter, Host
from webvirt.services.inventory.seen import reconcile_listed


def reconcile_filters(host: Host, seen: Sequence[FilterInfo]) -> None:
    """Write what a host lists of its filters, whose definitions come with the list."""
    reconcile_listed(Filter, host, seen, filter_values, noun="filter")


def filter_values(line: FilterInfo) -> dict[str, Any]:
    return {
        "name": line.name,
        "chain": line.chain,
        "priority": line.priority,
        "rules": line.rules,
        "references": list(line.references),
        "xml": line.xml,
    }

"""What hosts tell us of their virtual networks, made into rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from django.db import transaction

from webvirt import bus
from webvirt.hypervisor.types import Lease, NetworkReading, NetworkSummary
from webvirt.models import Host, Network, NetworkStatus
from webvirt.services.inventory.seen import reconcile_listed


def reconcile_networks(host: Host, seen: Sequence[NetworkSummary]) -> set[str]:
    """Write what a host lists of its networks; returns the uuids of those that are new or changed."""
    return reconcile_listed(Network, host, seen, network_values, noun="network")


def network_values(line: NetworkSummary) -> dict[str, Any]:
    return {
        "name": line.name,
        "status": (NetworkStatus.ACTIVE if line.active else NetworkStatus.INACTIVE).value,
        "persistent": line.persistent,
        "autostart": line.autostart,
        # What has stopped has given out nothing.
        **({} if line.active else {"leases": [], "live": None, "live_xml": ""}),
    }


def remember_network(host: Host, reading: NetworkReading) -> None:
    """Keep a network's definitions."""
    with transaction.atomic():
        network = Network.objects.filter(host=host, uuid=reading.summary.uuid).first()
        if network is None or (network.xml, network.live_xml) == (reading.xml, reading.live_xml):
            return
        Network.objects.filter(pk=network.pk).update(
            bridge=reading.summary.bridge,
            forward=(reading.live or reading.info).forward,
            info=asdict(reading.info),
            live=asdict(reading.live) if reading.live else None,
            xml=reading.xml,
            live_xml=reading.live_xml,
        )
        bus.announce([f"network:{network.pk}", "networks"])


def remember_leases(host: Host, uuid: str, leases: Sequence[Lease]) -> None:
    """Keep the addresses that a network has given out, announcing it only when they changed."""
    found = [asdict(lease) for lease in leases]
    with transaction.atomic():
        network = Network.objects.filter(host=host, uuid=uuid).only("leases").first()
        if network is None or network.leases == found:
            return
        Network.objects.filter(pk=network.pk).update(leases=found)
        bus.announce([f"network:{network.pk}"])

"""What hosts tell us, made into rows. The only writer of what "is"; absence becomes `missing_since`, never deletion."""

from webvirt.services.inventory.devices import remember_devices
from webvirt.services.inventory.domains import (
    forget,
    rates_between,
    reconcile,
    remember_addresses,
    remember_definition,
    remember_screen,
    remember_usage,
)
from webvirt.services.inventory.filters import reconcile_filters
from webvirt.services.inventory.hosts import (
    host_is,
    remember_host,
    remember_host_usage,
    remember_interfaces,
    remember_trial,
)
from webvirt.services.inventory.networks import reconcile_networks, remember_leases, remember_network
from webvirt.services.inventory.secrets import reconcile_secrets
from webvirt.services.inventory.storage import (
    expect_volume,
    left_half_made,
    not_looked_into,
    reconcile_pools,
    reconcile_volumes,
    remember_checksum,
    remember_pool,
    remember_system,
    remember_volumes,
    volume_is_removed,
    volume_is_whole,
)

__all__ = [
    "expect_volume",
    "forget",
    "host_is",
    "left_half_made",
    "not_looked_into",
    "rates_between",
    "reconcile",
    "reconcile_filters",
    "reconcile_networks",
    "reconcile_pools",
    "reconcile_secrets",
    "reconcile_volumes",
    "remember_addresses",
    "remember_checksum",
    "remember_definition",
    "remember_devices",
    "remember_host",
    "remember_host_usage",
    "remember_interfaces",
    "remember_leases",
    "remember_network",
    "remember_pool",
    "remember_screen",
    "remember_system",
    "remember_trial",
    "remember_usage",
    "remember_volumes",
    "volume_is_removed",
    "volume_is_whole",
]

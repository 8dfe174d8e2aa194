"""libvirt's numbers for what a domain does and why, as our words."""

from __future__ import annotations

import libvirt

from webvirt.hypervisor.types import DomainState

STATES = {
    libvirt.VIR_DOMAIN_NOSTATE: DomainState.UNKNOWN,
    libvirt.VIR_DOMAIN_RUNNING: DomainState.RUNNING,
    libvirt.VIR_DOMAIN_BLOCKED: DomainState.RUNNING,
    libvirt.VIR_DOMAIN_PAUSED: DomainState.PAUSED,
    libvirt.VIR_DOMAIN_SHUTDOWN: DomainState.SHUTTING_DOWN,
    libvirt.VIR_DOMAIN_SHUTOFF: DomainState.SHUTOFF,
    libvirt.VIR_DOMAIN_CRASHED: DomainState.CRASHED,
    libvirt.VIR_DOMAIN_PMSUSPENDED: DomainState.PMSUSPENDED,
}
INACTIVE = (DomainState.SHUTOFF, DomainState.CRASHED)
REASONS = {
    # Why it runs is worth a word only where something went wrong on the way.
    (DomainState.RUNNING, libvirt.VIR_DOMAIN_RUNNING_MIGRATION_CANCELED): "migration cancelled",
    (DomainState.RUNNING, libvirt.VIR_DOMAIN_RUNNING_SAVE_CANCELED): "save cancelled",
    (DomainState.RUNNING, libvirt.VIR_DOMAIN_RUNNING_CRASHED): "guest crashed",
    (DomainState.RUNNING, libvirt.VIR_DOMAIN_RUNNING_POSTCOPY): "migrating",
    (DomainState.RUNNING, libvirt.VIR_DOMAIN_RUNNING_POSTCOPY_FAILED): "migration failed",
    (DomainState.PAUSED, libvirt.VIR_DOMAIN_PAUSED_USER): "asked",
    (DomainState.PAUSED, libvirt.VIR_DOMAIN_PAUSED_MIGRATION): "migrating",
    (DomainState.PAUSED, libvirt.VIR_DOMAIN_PAUSED_SAVE): "saving",
    (DomainState.PAUSED, libvirt.VIR_DOMAIN_PAUSED_DUMP): "dumping",
    (DomainState.PAUSED, libvirt.VIR_DOMAIN_PAUSED_IOERROR): "I/O error",
    (DomainState.PAUSED, libvirt.VIR_DOMAIN_PAUSED_WATCHDOG): "watchdog",
    (DomainState.PAUSED, libvirt.VIR_DOMAIN_PAUSED_FROM_SNAPSHOT): "from a snapshot",
    (DomainState.PAUSED, libvirt.VIR_DOMAIN_PAUSED_SHUTTING_DOWN): "shutting down",
    (DomainState.PAUSED, libvirt.VIR_DOMAIN_PAUSED_SNAPSHOT): "taking a snapshot",
    (DomainState.PAUSED, libvirt.VIR_DOMAIN_PAUSED_CRASHED): "guest crashed",
    (DomainState.PAUSED, libvirt.VIR_DOMAIN_PAUSED_STARTING_UP): "starting up",
    (DomainState.PAUSED, libvirt.VIR_DOMAIN_PAUSED_POSTCOPY): "migrating",
    (DomainState.PAUSED, libvirt.VIR_DOMAIN_PAUSED_POSTCOPY_FAILED): "migration failed",
    (DomainState.SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_SHUTDOWN): "shut down",
    (DomainState.SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_DESTROYED): "forced off",
    (DomainState.SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_CRASHED): "its process ended",
    (DomainState.SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_MIGRATED): "moved away",
    (DomainState.SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_SAVED): "saved",
    (DomainState.SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_FAILED): "failed to start",
    (DomainState.SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_FROM_SNAPSHOT): "from a snapshot",
    (DomainState.CRASHED, libvirt.VIR_DOMAIN_CRASHED_PANICKED): "guest panicked",
}


def state_of(number: int) -> DomainState:
    return STATES.get(number, DomainState.UNKNOWN)


def reason_of(state: DomainState, number: int) -> str:
    """Why, in a few words; "" where there is nothing to say."""
    return REASONS.get((state, number), "")

"""What a host is, how busy it is, and what it is able to do."""

from __future__ import annotations

from typing import Any

import libvirt

from webvirt.hypervisor.calls import Handle, broken
from webvirt.hypervisor.checks import Evidence, Facts, judge
from webvirt.hypervisor.types import Check, HostAddress, HostInfo, HostUsage, PoolSupport, Transport
from webvirt.hypervisor.xml.capabilities import (
    X86_BEST_MACHINE,
    Capabilities,
    DomainCapabilities,
    parse_capabilities,
    parse_domain_capabilities,
)
from webvirt.hypervisor.xml.storage import parse_pool_support


class HostCalls:
    """The host itself. Every method raises a HypervisorError of the kind that fits."""

    def __init__(self, handle: Handle, address: HostAddress) -> None:
        self._handle = handle
        self._address = address

    def ping(self) -> None:
        """A cheap question that goes all the way: `isAlive()` may say yes for minutes after the host went."""
        with self._handle.call() as raw:
            raw.getLibVersion()

    def info(self) -> HostInfo:
        """Names, versions and size."""
        with self._handle.call() as raw:
            capabilities = parse_capabilities(raw.getCapabilities())
            _model, _mib, cpus, _mhz, nodes, sockets, cores, threads = raw.getInfo()
            return HostInfo(
                hostname=raw.getHostname(),
                uuid=capabilities.uuid,
                hypervisor=raw.getType(),
                hypervisor_version=dotted(raw.getVersion()),
                libvirt_version=dotted(raw.getLibVersion()),
                arch=capabilities.arch,
                cpu_model=capabilities.cpu_model,
                cpus=cpus,
                sockets=sockets * nodes,
                cores=cores,
                threads=threads,
                memory_kib=memory_of(raw)["total"],
                domain_types=capabilities.domain_types,
                machine_types=capabilities.machine_types,
                emulators=capabilities.emulators,
                pools=pools_of(raw),
            )

    def usage(self) -> HostUsage:
        """The host's counters. Raises Unsupported for a driver that has none."""
        with self._handle.call() as raw:
            cpu = raw.getCPUStats(libvirt.VIR_NODE_CPU_STATS_ALL_CPUS)
            memory = memory_of(raw)
        busy = sum(cpu.get(name, 0) for name in ("user", "kernel", "intr"))
        free = sum(memory.get(name, 0) for name in ("free", "buffers", "cached"))
        total = busy + sum(cpu.get(name, 0) for name in ("idle", "iowait"))
        return HostUsage(busy, total, max(0, memory["total"] - free))

    def pool_names(self) -> list[str]:
        """The storage pools, running or not."""
        with self._handle.call() as raw:
            return sorted(pool.name() for pool in raw.listAllStoragePools(0))

    def capability_checks(self) -> tuple[Check, ...]:
        """What this host can run and what it lacks, each with what follows and how to mend it.

        Judged by what libvirt says; for our own machine by its files as well. What cannot be found out is skipped.
        """
        with self._handle.call() as raw:
            capabilities = parse_capabilities(raw.getCapabilities())
            guests = guests_of(raw, capabilities)
        is_ours = self._address.transport == Transport.LOCAL
        return judge(Evidence(capabilities, guests, Facts() if is_ours else None))


def memory_of(raw: Any) -> dict[str, int]:
    """The host's memory in KiB; drivers without that statistic know how much there is and how much of it is free."""
    try:
        stats: dict[str, int] = raw.getMemoryStats(libvirt.VIR_NODE_MEMORY_STATS_ALL_CELLS)
    except libvirt.libvirtError as error:
        if broken(error):
            raise
        return {"total": raw.getInfo()[1] * 1024, "free": raw.getFreeMemory() // 1024}
    return stats


def guests_of(raw: Any, capabilities: Capabilities) -> DomainCapabilities | None:
    """What guests of the host's own architecture can have; None where the driver does not tell."""
    machine = X86_BEST_MACHINE if X86_BEST_MACHINE in capabilities.machine_types else None
    try:
        return parse_domain_capabilities(raw.getDomainCapabilities(None, capabilities.arch, machine, None, 0))
    except libvirt.libvirtError as error:
        if broken(error):
            raise
        return None


def pools_of(raw: Any) -> tuple[PoolSupport, ...]:
    """What types of pool this host's libvirt knows, which of them it can run, and in which formats."""
    try:
        return parse_pool_support(raw.getStoragePoolCapabilities(0))
    except libvirt.libvirtError as error:
        if broken(error):
            raise
        return ()


def dotted(version: int) -> str:
    """libvirt's number 9000000 as 9.0.0."""
    return f"{version // 1_000_000}.{version // 1000 % 1000}.{version % 1000}"

"""What a host is, how busy it is, and what it is able to do."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import libvirt

from webvirt.hypervisor.calls import Handle, broken
from webvirt.hypervisor.checks import Evidence, Facts, judge
from webvirt.hypervisor.domain_rules import MOST_VCPUS_X86, OTHER_MACHINES, TYPES, X86, X86_MACHINES
from webvirt.hypervisor.types import (
    Bus,
    Check,
    HostAddress,
    HostInfo,
    HostUsage,
    MachineSupport,
    PoolSupport,
    Transport,
)
from webvirt.hypervisor.xml.capabilities import (
    VIRTUALIZATION,
    X86_BEST_MACHINE,
    Capabilities,
    DomainCapabilities,
    parse_capabilities,
    parse_cpu_features,
    parse_domain_capabilities,
)
from webvirt.hypervisor.xml.storage import parse_pool_support


class HostCalls:
    """The host itself. Every method raises a HypervisorError of the kind that fits."""

    def __init__(self, handle: Handle, address: HostAddress) -> None:
        self._handle = handle
        self._facts = Facts() if address.transport == Transport.LOCAL else None

    def ping(self) -> None:
        """A cheap question that goes all the way: `isAlive()` may say yes for minutes after the host went."""
        with self._handle.call() as raw:
            raw.getLibVersion()

    def info(self) -> HostInfo:
        """Names, versions and size."""
        with self._handle.call() as raw:
            capabilities = capabilities_of(raw)
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
                machines=machines_of(raw, capabilities, self._facts),
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
            capabilities = capabilities_of(raw)
            guests = guests_of(raw, capabilities, X86_BEST_MACHINE)
        return judge(Evidence(capabilities, guests, self._facts))


def memory_of(raw: Any) -> dict[str, int]:
    """The host's memory in KiB; drivers without that statistic know how much there is and how much of it is free."""
    try:
        stats: dict[str, int] = raw.getMemoryStats(libvirt.VIR_NODE_MEMORY_STATS_ALL_CELLS)
    except libvirt.libvirtError as error:
        if broken(error):
            raise
        return {"total": raw.getInfo()[1] * 1024, "free": raw.getFreeMemory() // 1024}
    return stats


def capabilities_of(raw: Any) -> Capabilities:
    """The host's capabilities, with all features of its CPU: libvirt leaves out those that the CPU's model has."""
    capabilities = parse_capabilities(raw.getCapabilities())
    if not capabilities.cpu_model:
        return capabilities
    try:
        cpu = raw.baselineCPU([capabilities.cpu_xml], libvirt.VIR_CONNECT_BASELINE_CPU_EXPAND_FEATURES)
    except libvirt.libvirtError as error:
        if broken(error):
            raise
        return capabilities
    return replace(capabilities, cpu_features=capabilities.cpu_features | parse_cpu_features(cpu))


def guests_of(raw: Any, capabilities: Capabilities, machine: str, way: str | None = None) -> DomainCapabilities | None:
    """What guests of the host's own architecture can have; None where the driver does not tell.

    `machine` is their type, or the default where the host has none of that name; `way` is `kvm` or `qemu`, or the
    best that there is.
    """
    known = machine if machine in capabilities.machine_types else None
    try:
        return parse_domain_capabilities(raw.getDomainCapabilities(None, capabilities.arch, known, way, 0))
    except libvirt.libvirtError as error:
        if broken(error):
            raise
        return None


def machines_of(raw: Any, capabilities: Capabilities, facts: Facts | None) -> tuple[MachineSupport, ...]:
    """What machines the host can run, KVM first.

    KVM without a CPU that can do it may be offered all the same; guests do not get far with it.
    """
    is_x86 = capabilities.arch in X86
    features = capabilities.cpu_features | (facts.cpu_flags if facts else set())
    has_kvm = not is_x86 or not features.isdisjoint(VIRTUALIZATION)
    found = []
    for way in TYPES if has_kvm else TYPES[1:]:
        for machine in X86_MACHINES if is_x86 else OTHER_MACHINES:
            asked = way in capabilities.domain_types and machine in capabilities.machine_types
            guests = guests_of(raw, capabilities, machine, way) if asked else None
            if guests is not None and guests.type == way:
                found.append(support_of(guests, capabilities.arch, machine))
    return tuple(found)


def support_of(guests: DomainCapabilities, arch: str, machine: str) -> MachineSupport:
    return MachineSupport(
        type=guests.type,
        arch=arch,
        machine=machine,
        emulator=guests.emulator,
        vcpus_max=min(guests.vcpus_max, MOST_VCPUS_X86) if arch in X86 else guests.vcpus_max,
        cpu_modes=guests.cpu_modes,
        efi=guests.efi,
        secure_boot=guests.secure_boot,
        tpm=guests.tpm,
        disk_buses=tuple(bus for bus in guests.disk_buses if bus in list(Bus)),
        video_models=guests.video_models,
    )


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

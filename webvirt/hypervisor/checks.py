"""The capability check: what a host can run, what it lacks, what follows from that and how to mend it.

In the spirit of `virt-host-validate`, but from what libvirt says of the host, so that it works for remote ones too;
for the machine we run on ourselves, /proc and /sys say more.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from webvirt.hypervisor.domain_rules import X86
from webvirt.hypervisor.types import Check, Verdict
from webvirt.hypervisor.xml.capabilities import VIRTUALIZATION, Capabilities, DomainCapabilities

PASS, WARN, FAIL, SKIP = Verdict.PASS, Verdict.WARN, Verdict.FAIL, Verdict.SKIP
MODULES = ("kvm_intel", "kvm_amd")
CONTROLLERS = {"cpu", "cpuset", "io", "memory"}
SHOWN_MACHINES = 8
VALIDATE = "virt-host-validate qemu"
"""libvirt's own check, to be run on the host itself for what cannot be seen from here."""


@dataclass(frozen=True)
class Facts:
    """What the files of the machine we run on say; `root` is `/` but for tests."""

    root: Path = Path("/")

    def read(self, path: str) -> str:
        """A file's text, or "" when it cannot be read."""
        try:
            return (self.root / path).read_text(errors="replace").strip()
        except OSError:
            return ""

    def names(self, path: str) -> set[str]:
        """What is in a folder; nothing when it cannot be read."""
        try:
            return {entry.name for entry in (self.root / path).iterdir()}
        except OSError:
            return set()

    @property
    def cpu_flags(self) -> set[str]:
        line = next((line for line in self.read("proc/cpuinfo").splitlines() if line.startswith("flags")), "")
        return set(line.partition(":")[2].split())

    @property
    def kvm_modules(self) -> list[str]:
        return sorted(name for name in self.names("sys/module") if name.startswith("kvm"))

    @property
    def kvm_device(self) -> Path:
        return self.root / "dev/kvm"

    @property
    def nested(self) -> bool | None:
        """Whether guests may run guests; None without a KVM module for this CPU."""
        values = [self.read(f"sys/module/{name}/parameters/nested") for name in MODULES]
        return next((value in ("1", "Y") for value in values if value), None)

    @property
    def iommu_groups(self) -> int:
        return len(self.names("sys/kernel/iommu_groups"))

    @property
    def cgroup_controllers(self) -> set[str]:
        """Of the unified hierarchy, or the folders of the older one, where `io` is called `blkio`."""
        unified = set(self.read("sys/fs/cgroup/cgroup.controllers").split())
        older = {part for name in self.names("sys/fs/cgroup") for part in name.split(",")}
        return unified or {"io" if name == "blkio" else name for name in older}


@dataclass(frozen=True)
class Evidence:
    """What there is to judge by. `guests` is None where the driver does not tell, `facts` for a machine not ours."""

    host: Capabilities
    guests: DomainCapabilities | None
    facts: Facts | None

    @property
    def has_kvm(self) -> bool:
        return "kvm" in self.host.domain_types


def judge(evidence: Evidence) -> tuple[Check, ...]:
    """All checks, in the order a person reads them."""
    return tuple(check(evidence) for check in CHECKS)


def domain_types(evidence: Evidence) -> Check:
    key, types = "domain-types", evidence.host.domain_types
    found = ", ".join(types) or "none"
    if evidence.has_kvm:
        return Check(key, PASS, found, "Full virtualization with KVM: guests run at the speed of the CPU.")
    if "qemu" in types:
        return Check(
            key,
            WARN,
            found,
            "Emulation only: guests run, ten times slower and more.",
            "Switch on virtualization in the machine's firmware (VT-x, AMD-V or SVM), then load the module: "
            "modprobe kvm_intel (or kvm_amd), and restart libvirtd.",
        )
    if types:
        return Check(key, PASS, found, "Guests of these kinds can run.")
    return Check(key, FAIL, found, "No guest can run.", "apt install qemu-system-x86, then restart libvirtd.")


def cpu(evidence: Evidence) -> Check:
    key = "cpu-virtualization"
    if evidence.host.arch not in X86 or not {"kvm", "qemu"}.intersection(evidence.host.domain_types):
        return Check(key, SKIP, "cannot be told for this kind of host")
    flags = evidence.host.cpu_features | (evidence.facts.cpu_flags if evidence.facts else set())
    if not flags.isdisjoint(VIRTUALIZATION):
        name = "VT-x (vmx)" if "vmx" in flags else "AMD-V (svm)"
        return Check(key, PASS, name, "The CPU can run guests in hardware.")
    if evidence.facts is None and evidence.has_kvm:
        return Check(key, PASS, "not named, but KVM is offered", "The CPU can run guests in hardware.")
    return Check(
        key,
        WARN,
        "neither VT-x (vmx) nor AMD-V (svm)",
        "What /dev/kvm offers, if it is there, may not carry a guest." if evidence.has_kvm else "Emulation only.",
        "Switch it on in the machine's firmware. In a virtual machine, allow nested virtualization on its host.",
    )


def kvm_module(evidence: Evidence) -> Check:
    key = "kvm-module"
    if evidence.facts is None:
        return told_by_types(key, evidence)
    modules = evidence.facts.kvm_modules
    if modules:
        return Check(key, PASS, ", ".join(modules))
    if evidence.facts.kvm_device.exists():
        return Check(key, PASS, "built into the kernel")
    return Check(key, WARN, "not loaded", "Emulation only.", "modprobe kvm_intel (or kvm_amd)")


def kvm_device(evidence: Evidence) -> Check:
    key = "kvm-device"
    if evidence.facts is None:
        return told_by_types(key, evidence)
    device = evidence.facts.kvm_device
    if not device.exists():
        return Check(key, WARN, "no /dev/kvm", "Emulation only.", "modprobe kvm_intel (or kvm_amd)")
    if evidence.has_kvm:
        return Check(key, PASS, "/dev/kvm, and libvirt offers it")
    rights = "" if os.access(device, os.R_OK | os.W_OK) else ", not open to us"
    return Check(
        key,
        WARN,
        f"/dev/kvm is there{rights}, but libvirt does not offer it",
        "Emulation only.",
        "See that the account of QEMU may use it (chgrp kvm /dev/kvm; chmod 660 /dev/kvm), then restart libvirtd.",
    )


def told_by_types(key: str, evidence: Evidence) -> Check:
    """From afar: libvirt offers KVM only where the module is loaded and the device usable."""
    if evidence.has_kvm:
        return Check(key, PASS, "in use: libvirt offers KVM")
    return Check(key, SKIP, "cannot be seen from here", remedy=f"On the host: {VALIDATE}")


def nested(evidence: Evidence) -> Check:
    key = "nested"
    is_on = evidence.facts.nested if evidence.facts else None
    if is_on is None:
        if not evidence.has_kvm or evidence.guests is None:
            return Check(key, SKIP, "only with KVM")
        is_on = evidence.guests.nested
    if is_on:
        return Check(key, PASS, "switched on", "Guests can run guests with KVM.")
    return Check(
        key,
        PASS,
        "switched off",
        "Guests cannot run guests with KVM.",
        "If they should: echo 'options kvm_intel nested=1' > /etc/modprobe.d/kvm.conf (or kvm_amd), then load the "
        "module again.",
    )


def cgroups(evidence: Evidence) -> Check:
    key = "cgroups"
    if evidence.facts is None:
        return Check(key, SKIP, "cannot be seen from here", remedy=f"On the host: {VALIDATE}")
    missing = sorted(CONTROLLERS - evidence.facts.cgroup_controllers)
    if not missing:
        return Check(key, PASS, ", ".join(sorted(CONTROLLERS)), "Limits on CPU, memory and disks of guests hold.")
    return Check(
        key,
        WARN,
        f"missing: {', '.join(missing)}",
        "Limits of guests on these do not hold.",
        "systemd mounts them; take cgroup_disable= off the kernel's command line. "
        "Without systemd: mount -t cgroup2 none /sys/fs/cgroup",
    )


def iommu(evidence: Evidence) -> Check:
    key = "iommu"
    groups = evidence.facts.iommu_groups if evidence.facts else 0
    if groups or evidence.host.iommu:
        return Check(key, PASS, f"{groups} groups" if groups else "present", "PCI devices can be handed to guests.")
    return Check(
        key,
        WARN if evidence.host.iommu is False else SKIP,
        "none" if evidence.host.iommu is False else "not told",
        "PCI devices cannot be handed to guests.",
        "Switch on VT-d or AMD-Vi in the firmware; for Intel add intel_iommu=on to the kernel's command line.",
    )


def emulators(evidence: Evidence) -> Check:
    found = evidence.host.emulators
    if found:
        return Check("emulators", PASS, ", ".join(found))
    return Check(
        "emulators", WARN, "none", "This driver needs none, or none is installed.", "apt install qemu-system-x86"
    )


def machines(evidence: Evidence) -> Check:
    key, found = "machines", evidence.host.machine_types
    if not found:
        return Check(key, SKIP, "none named")
    more = len(found) - SHOWN_MACHINES
    shown = ", ".join(found[:SHOWN_MACHINES]) + (f" and {more} more" if more > 0 else "")
    if evidence.host.arch in X86 and not any("q35" in machine for machine in found):
        return Check(key, WARN, shown, "No q35: no PCI Express in guests.", "Update QEMU.")
    return Check(key, PASS, shown)


def firmware(evidence: Evidence) -> Check:
    key = "firmware"
    if evidence.guests is None:
        return Check(key, SKIP, "not told by this driver")
    if evidence.guests.efi and evidence.guests.secure_boot:
        return Check(key, PASS, "BIOS, UEFI, secure boot")
    if evidence.guests.efi:
        return Check(key, PASS, "BIOS, UEFI", "Guests can start by UEFI, without secure boot.")
    return Check(key, WARN, "BIOS only", "Guests that need UEFI, such as Windows 11, cannot run.", "apt install ovmf")


def tpm(evidence: Evidence) -> Check:
    key = "tpm"
    if evidence.guests is None:
        return Check(key, SKIP, "not told by this driver")
    if evidence.guests.tpm:
        return Check(key, PASS, "emulated", "Guests can have a TPM.")
    return Check(
        key,
        WARN,
        "none",
        "Guests that need a TPM, such as Windows 11, cannot run.",
        "apt install swtpm swtpm-tools",
    )


CHECKS: tuple[Callable[[Evidence], Check], ...] = (
    domain_types,
    cpu,
    kvm_module,
    kvm_device,
    nested,
    iommu,
    cgroups,
    emulators,
    machines,
    firmware,
    tpm,
)

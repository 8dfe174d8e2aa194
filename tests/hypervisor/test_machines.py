"""What machines a host can run: hosts of every kind, made up, as their libvirt would tell of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import libvirt
import pytest

from webvirt.hypervisor.checks import Facts
from webvirt.hypervisor.host import capabilities_of, machines_of
from webvirt.hypervisor.types import MachineSupport

CAPABILITIES = """<capabilities><host><uuid>u</uuid><cpu><arch>{arch}</arch>{cpu}</cpu></host>
 <guest><arch name='{arch}'><emulator>/usr/bin/qemu</emulator>{machines}{types}</arch></guest></capabilities>"""
GUESTS = """<domainCapabilities><path>/usr/bin/qemu</path><domain>{way}</domain><vcpu max='{most}'/>
 <os><enum name='firmware'><value>efi</value></enum>
  <loader><enum name='secure'><value>{secure}</value></enum></loader></os>
 <cpu><mode name='host-passthrough' supported='{passes}'/><mode name='maximum' supported='yes'/></cpu>
 <devices><disk supported='yes'><enum name='bus'><value>fdc</value><value>virtio</value></enum></disk>
  <tpm supported='yes'><enum name='backendModel'><value>emulator</value></enum></tpm></devices></domainCapabilities>"""
NAMED = "<model>EPYC-Rome</model><feature name='x2apic'/>"
"""As libvirt tells of a CPU whose model has svm of itself."""


def refusal(code: int = libvirt.VIR_ERR_INVALID_ARG, domain: int = libvirt.VIR_FROM_QEMU) -> libvirt.libvirtError:
    error = libvirt.libvirtError("refused")
    error.err = (code, domain, "refused")
    return error


class Raw:
    """A libvirt connection that tells of one host. `all_features` are those its CPU turns out to have."""

    def __init__(
        self,
        arch: str = "x86_64",
        cpu: str = "<feature name='svm'/>",
        types: tuple[str, ...] = ("qemu", "kvm"),
        machines: tuple[str, ...] = ("pc-q35-7.2", "q35", "pc"),
        all_features: tuple[str, ...] | None = None,
        breaks: bool = False,
    ) -> None:
        self.arch, self.cpu, self.types, self.machines = arch, cpu, types, machines
        self.all_features = all_features
        self.breaks = breaks

    def getCapabilities(self) -> str:  # noqa: N802
        return CAPABILITIES.format(
            arch=self.arch,
            cpu=self.cpu,
            machines="".join(f"<machine>{name}</machine>" for name in self.machines),
            types="".join(f"<domain type='{name}'/>" for name in self.types),
        )

    def baselineCPU(self, cpus: list[str], flags: int) -> str:  # noqa: N802
        assert flags == libvirt.VIR_CONNECT_BASELINE_CPU_EXPAND_FEATURES
        assert "<model>" in cpus[0]
        if self.all_features is None:
            raise refusal(libvirt.VIR_ERR_NO_SUPPORT)
        features = "".join(f"<feature name='{name}'/>" for name in self.all_features)
        return f"<cpu>{features}</cpu>"

    def getDomainCapabilities(  # noqa: N802
        self, emulator: Any, arch: str, machine: str, way: str, flags: int
    ) -> str:
        assert (emulator, arch, flags) == (None, self.arch, 0)
        if self.breaks:
            raise refusal(libvirt.VIR_ERR_SYSTEM_ERROR, libvirt.VIR_FROM_RPC)
        if machine == "pc" and way == "kvm":
            raise refusal()
        secure = "yes" if machine == "q35" else "no"
        return GUESTS.format(way=way, most=288, secure=secure, passes="yes" if way == "kvm" else "no")


def told(raw: Raw, facts: Facts | None = None) -> tuple[MachineSupport, ...]:
    return machines_of(raw, capabilities_of(raw), facts)


def ways(raw: Raw, facts: Facts | None = None) -> list[tuple[str, str]]:
    return [(each.type, each.machine) for each in told(raw, facts)]


EMULATED = [("qemu", "q35"), ("qemu", "pc")]


def test_everything_that_is_known_is_told() -> None:
    q35, emulated, _ = told(Raw())
    assert q35 == MachineSupport(
        type="kvm",
        arch="x86_64",
        machine="q35",
        emulator="/usr/bin/qemu",
        vcpus_max=255,
        cpu_modes=("host-passthrough", "maximum"),
        efi=True,
        secure_boot=True,
        tpm=True,
        disk_buses=("virtio",),
    )
    assert (emulated.type, emulated.cpu_modes) == ("qemu", ("maximum",))


def test_what_the_host_refuses_is_left_out() -> None:
    assert ways(Raw()) == [("kvm", "q35"), *EMULATED], "it refused pc with kvm"
    assert ways(Raw(types=("qemu",))) == EMULATED
    assert ways(Raw(machines=("pc-q35-7.2", "q35"))) == [("kvm", "q35"), ("qemu", "q35")]
    assert ways(Raw(types=("test",))) == []


def test_a_broken_connection_is_no_empty_list() -> None:
    with pytest.raises(libvirt.libvirtError):
        told(Raw(breaks=True))


def test_kvm_needs_a_cpu_that_can(tmp_path: Path) -> None:
    without = "<model>kvm64</model><feature name='x2apic'/>"
    assert ways(Raw(cpu=without)) == EMULATED
    assert ways(Raw(cpu=without, all_features=("x2apic", "aes"))) == EMULATED
    assert ways(Raw(cpu="")) == EMULATED
    for flag in ("vmx", "svm"):
        assert ("kvm", "q35") in ways(Raw(cpu=f"<feature name='{flag}'/>"))
        for cpu in (NAMED, "<model>EPYC-Rome</model>"):
            assert ("kvm", "q35") in ways(Raw(cpu=cpu, all_features=("aes", flag))), "its model has it of itself"
        (tmp_path / "proc").mkdir(exist_ok=True)
        (tmp_path / "proc/cpuinfo").write_text(f"flags : fpu {flag}\n")
        assert ("kvm", "q35") in ways(Raw(cpu=without), Facts(tmp_path))


def test_another_architecture() -> None:
    (kvm, _) = told(Raw("aarch64", "", machines=("virt-7.2", "virt")))
    assert (kvm.type, kvm.machine, kvm.vcpus_max) == ("kvm", "virt", 288)

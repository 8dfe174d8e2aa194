"""The capability check: every finding, with what follows and how to mend it, from made-up machines."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from webvirt.hypervisor.checks import Evidence, Facts, judge
from webvirt.hypervisor.types import Check, Verdict
from webvirt.hypervisor.xml.capabilities import Capabilities, DomainCapabilities

PASS, WARN, FAIL, SKIP = Verdict.PASS, Verdict.WARN, Verdict.FAIL, Verdict.SKIP
HOST = Capabilities(
    uuid="u",
    arch="x86_64",
    cpu_model="EPYC",
    cpu_features=frozenset({"svm"}),
    iommu=True,
    domain_types=("qemu", "kvm"),
    machine_types=("q35", "pc"),
    emulators=("/usr/bin/qemu-system-x86_64",),
)
GUESTS = DomainCapabilities(efi=True, secure_boot=True, tpm=True, nested=True)


def checked(
    host: Capabilities = HOST, guests: DomainCapabilities | None = GUESTS, facts: Facts | None = None
) -> dict[str, Check]:
    return {check.key: check for check in judge(Evidence(host, guests, facts))}


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """The files of a machine that has everything."""
    files = {
        "proc/cpuinfo": "processor : 0\nflags : fpu svm lm\n",
        "dev/kvm": "",
        "sys/module/kvm_amd/parameters/nested": "1\n",
        "sys/kernel/iommu_groups/0/type": "DMA\n",
        "sys/fs/cgroup/cgroup.controllers": "cpuset cpu io memory pids\n",
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True)
        path.write_text(text)
    return tmp_path


def test_all_is_well_here(machine: Path) -> None:
    checks = checked(facts=Facts(machine))
    assert {check.verdict for check in checks.values()} == {PASS}
    assert "KVM" in checks["domain-types"].follows
    assert checks["nested"].found == "switched on"


def test_all_is_well_elsewhere() -> None:
    """Over a connection, cgroups alone stay unknown."""
    checks = checked()
    assert {key for key, check in checks.items() if check.verdict != PASS} == {"cgroups"}
    assert checks["cgroups"].verdict == SKIP


def test_emulation_only(tmp_path: Path) -> None:
    bare = replace(HOST, cpu_features=frozenset(), domain_types=("qemu",), iommu=False)
    for facts in (Facts(tmp_path), None):
        checks = checked(bare, facts=facts)
        for key in ("domain-types", "cpu-virtualization", "iommu"):
            assert checks[key].verdict == WARN
            assert checks[key].follows
            assert checks[key].remedy
        assert "Emulation only" in checks["domain-types"].follows
    for key in ("kvm-module", "kvm-device", "cgroups"):
        assert checked(bare, facts=Facts(tmp_path))[key].verdict == WARN


def test_no_hypervisor_at_all() -> None:
    checks = checked(replace(HOST, domain_types=(), emulators=(), machine_types=()), None)
    assert checks["domain-types"].verdict == FAIL
    assert checks["emulators"].verdict == WARN


def test_kvm_that_libvirt_does_not_offer(machine: Path) -> None:
    check = checked(replace(HOST, domain_types=("qemu",)), facts=Facts(machine))["kvm-device"]
    assert check.verdict == WARN
    assert "/dev/kvm" in check.remedy


def test_nested_virtualization_off(machine: Path) -> None:
    (machine / "sys/module/kvm_amd/parameters/nested").write_text("0\n")
    assert checked(facts=Facts(machine))["nested"].found == "switched off"
    assert checked(guests=replace(GUESTS, nested=False))["nested"].found == "switched off"


def test_older_cgroups(machine: Path) -> None:
    (machine / "sys/fs/cgroup/cgroup.controllers").unlink()
    for name in ("cpu,cpuacct", "cpuset", "blkio"):
        (machine / "sys/fs/cgroup" / name).mkdir()
    check = checked(facts=Facts(machine))["cgroups"]
    assert (check.verdict, check.found) == (WARN, "missing: memory")


def test_old_qemu_and_bare_firmware() -> None:
    checks = checked(replace(HOST, machine_types=("pc",)), DomainCapabilities(False, False, False, False))
    assert checks["machines"].verdict == WARN
    assert checks["firmware"].verdict == WARN
    assert checks["tpm"].verdict == WARN
    assert checked(guests=replace(GUESTS, secure_boot=False))["firmware"].found == "BIOS, UEFI"


def test_another_architecture() -> None:
    checks = checked(replace(HOST, arch="aarch64", cpu_features=frozenset(), machine_types=("virt",)), None)
    assert checks["cpu-virtualization"].verdict == SKIP
    assert checks["machines"].verdict == PASS
    assert checks["firmware"].verdict == checks["tpm"].verdict == SKIP

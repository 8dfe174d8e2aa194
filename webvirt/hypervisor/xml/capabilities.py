"""A host's capabilities, as libvirt tells them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from webvirt.hypervisor.domain_rules import MODES
from webvirt.hypervisor.xml.build import as_text
from webvirt.hypervisor.xml.parse import Element, attribute, root_of, text, tree_of

VIRTUALIZATION = ("vmx", "svm")
X86_BEST_MACHINE = "q35"
"""Asked about where there is one: the older machine type, libvirt's default, has no secure boot."""


@dataclass(frozen=True)
class Capabilities:
    """What of a host's capabilities is shown or decided on. Machine types and emulators are those of its own arch."""

    uuid: str
    arch: str
    cpu_model: str
    cpu_features: frozenset[str]
    """Those beyond what its model has of itself, unless these are known as well."""
    iommu: bool | None
    domain_types: tuple[str, ...]
    machine_types: tuple[str, ...]
    emulators: tuple[str, ...]
    cpu_xml: str = ""
    """Its CPU, for libvirt to tell more about."""


@dataclass(frozen=True)
class DomainCapabilities:
    """What domains of a host can have, for one way to run and one type of machine."""

    efi: bool
    secure_boot: bool
    tpm: bool
    nested: bool
    type: str = ""
    emulator: str = ""
    vcpus_max: int = 0
    cpu_modes: tuple[str, ...] = ()
    disk_buses: tuple[str, ...] = ()
    video_models: tuple[str, ...] = ()


def parse_capabilities(xml: str) -> Capabilities:
    """The answer of `virConnectGetCapabilities`."""
    root = tree_of(xml)
    arch = text(root, "host/cpu/arch")
    guests = list(root.iterfind("guest"))
    own = [guest for guest in guests if attribute(guest, "arch", "name") == arch] or guests
    iommu = root.find("host/iommu")
    cpu = root.find("host/cpu")
    return Capabilities(
        uuid=text(root, "host/uuid"),
        arch=arch,
        cpu_model=" ".join(filter(None, (text(root, "host/cpu/vendor"), text(root, "host/cpu/model")))),
        cpu_features=frozenset(feature.get("name", "") for feature in root.iterfind("host/cpu/feature")),
        iommu=None if iommu is None else iommu.get("support") == "yes",
        domain_types=unique(domain.get("type", "") for guest in guests for domain in guest.iterfind("arch//domain")),
        machine_types=machines_of(machine for guest in own for machine in guest.iterfind("arch/machine")),
        emulators=unique((emulator.text or "") for guest in own for emulator in guest.iterfind("arch//emulator")),
        cpu_xml="" if cpu is None else as_text(cpu),
    )


def parse_domain_capabilities(xml: str) -> DomainCapabilities:
    """The answer of `virConnectGetDomainCapabilities`."""
    root = tree_of(xml)
    guest_cpu = {feature.get("name") for feature in root.iterfind("cpu/mode[@name='host-model']/feature")}
    modes = (mode.get("name", "") for mode in root.iterfind("cpu/mode[@supported='yes']"))
    most = attribute(root, "vcpu", "max")
    return DomainCapabilities(
        efi="efi" in values(root, "os/enum[@name='firmware']"),
        secure_boot="yes" in values(root, "os/loader/enum[@name='secure']"),
        tpm="emulator" in values(root, "devices/tpm[@supported='yes']/enum[@name='backendModel']"),
        nested=text(root, "domain") == "kvm" and not guest_cpu.isdisjoint(VIRTUALIZATION),
        type=text(root, "domain"),
        emulator=text(root, "path"),
        vcpus_max=int(most) if most.isdecimal() else 0,
        cpu_modes=tuple(mode for mode in modes if mode in MODES),
        disk_buses=values(root, "devices/disk[@supported='yes']/enum[@name='bus']"),
        video_models=values(root, "devices/video[@supported='yes']/enum[@name='modelType']"),
    )


def values(root: Element, path: str) -> tuple[str, ...]:
    return unique(value.text or "" for value in root.iterfind(f"{path}/value"))


def parse_cpu_features(xml: str) -> frozenset[str]:
    """The names of a CPU's features, where they are all told (`virConnectBaselineCPU`)."""
    return frozenset(feature.get("name", "") for feature in root_of(xml, "cpu").iterfind("feature"))


def machines_of(machines: Iterable[Element]) -> tuple[str, ...]:
    """Machine types, those that stand for the newest of their kind first, then by version, the newest first."""

    def order(machine: Element) -> tuple[bool, list[int]]:
        return machine.get("canonical") is not None, [int(number) for number in re.findall(r"\d+", machine.text or "")]

    return unique((machine.text or "") for machine in sorted(machines, key=order, reverse=True))


def unique(words: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(word for word in words if word))

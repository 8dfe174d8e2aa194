"""A host's capabilities, as libvirt tells them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from webvirt.hypervisor.xml.parse import Element, attribute, text, tree_of

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
    iommu: bool | None
    domain_types: tuple[str, ...]
    machine_types: tuple[str, ...]
    emulators: tuple[str, ...]


@dataclass(frozen=True)
class DomainCapabilities:
    """What domains of a host can have, beyond the basics."""

    efi: bool
    secure_boot: bool
    tpm: bool
    nested: bool


def parse_capabilities(xml: str) -> Capabilities:
    """The answer of `virConnectGetCapabilities`."""
    root = tree_of(xml)
    arch = text(root, "host/cpu/arch")
    guests = list(root.iterfind("guest"))
    own = [guest for guest in guests if attribute(guest, "arch", "name") == arch] or guests
    iommu = root.find("host/iommu")
    return Capabilities(
        uuid=text(root, "host/uuid"),
        arch=arch,
        cpu_model=" ".join(filter(None, (text(root, "host/cpu/vendor"), text(root, "host/cpu/model")))),
        cpu_features=frozenset(feature.get("name", "") for feature in root.iterfind("host/cpu/feature")),
        iommu=None if iommu is None else iommu.get("support") == "yes",
        domain_types=unique(domain.get("type", "") for guest in guests for domain in guest.iterfind("arch//domain")),
        machine_types=machines_of(machine for guest in own for machine in guest.iterfind("arch/machine")),
        emulators=unique((emulator.text or "") for guest in own for emulator in guest.iterfind("arch//emulator")),
    )


def parse_domain_capabilities(xml: str) -> DomainCapabilities:
    """The answer of `virConnectGetDomainCapabilities` for the best domain type that the host has."""
    root = tree_of(xml)
    guest_cpu = {feature.get("name") for feature in root.iterfind("cpu/mode[@name='host-model']/feature")}
    return DomainCapabilities(
        efi="efi" in values(root, "os/enum[@name='firmware']"),
        secure_boot="yes" in values(root, "os/loader/enum[@name='secure']"),
        tpm="emulator" in values(root, "devices/tpm[@supported='yes']/enum[@name='backendModel']"),
        nested=text(root, "domain") == "kvm" and not guest_cpu.isdisjoint(VIRTUALIZATION),
    )


def values(root: Element, path: str) -> set[str]:
    return {value.text or "" for value in root.iterfind(f"{path}/value")}


def machines_of(machines: Iterable[Element]) -> tuple[str, ...]:
    """Machine types, those that stand for the newest of their kind first, then by version, the newest first."""

    def order(machine: Element) -> tuple[bool, list[int]]:
        return machine.get("canonical") is not None, [int(number) for number in re.findall(r"\d+", machine.text or "")]

    return unique((machine.text or "") for machine in sorted(machines, key=order, reverse=True))


def unique(words: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(word for word in words if word))

"""Making domains and taking them away, and the discs in their drives. Part of `DomainCalls`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import libvirt

from webvirt.hypervisor.calls import Handle, translating
from webvirt.hypervisor.errors import NotFound, WrongState
from webvirt.hypervisor.types import DomainCopy, DomainSpec, Kernel, Source
from webvirt.hypervisor.xml.disks import drive_with
from webvirt.hypervisor.xml.domain_copies import copy_of
from webvirt.hypervisor.xml.domains import build_domain, with_kernel
from webvirt.hypervisor.xml.moving import Moved, Place, placed

OLDEST = libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE | libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
OLDER = OLDEST | libvirt.VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA
WITHOUT_STATE = (
    OLDER | libvirt.VIR_DOMAIN_UNDEFINE_NVRAM | libvirt.VIR_DOMAIN_UNDEFINE_TPM,
    OLDER | libvirt.VIR_DOMAIN_UNDEFINE_NVRAM,
    OLDEST | libvirt.VIR_DOMAIN_UNDEFINE_NVRAM,
    OLDEST,
)
"""All that is to go with a domain, then what older libvirts know of it: these take a TPM's state away unasked."""


class MakingCalls:
    """Every method raises a HypervisorError of the kind that fits; a uuid may be NotFound."""

    _handle: Handle

    def define(self, spec: DomainSpec) -> None:
        """Make a machine, which is off then. Raises WrongState for a name or a uuid that is taken."""
        self._define(build_domain(spec), spec.uuid, spec.name)

    def define_moved(self, place: Place, moved: Moved) -> None:
        """Make the machine of a definition from a file, which is off then. Raises WrongState as `define` does."""
        self._define(placed(place, moved), place.uuid, place.name)

    def _define(self, xml: str, uuid: str, name: str) -> None:
        with self._handle.call() as raw:
            define_new(raw, uuid, name, xml)

    def define_copy(self, uuid: str, copy: DomainCopy) -> None:
        """Make a machine of the definition that another has for its next start; the other stays as it is.

        Raises WrongState for a name or a uuid that is taken, and where the other's disks are not those that `copy`
        names.
        """
        with self._handle.call() as raw:
            which = libvirt.VIR_DOMAIN_XML_INACTIVE | libvirt.VIR_DOMAIN_XML_SECURE
            xml = copy_of(raw.lookupByUUIDString(uuid).XMLDesc(which), copy)
            define_new(raw, copy.uuid, copy.name, xml)

    def start_once(self, uuid: str, kernel: Kernel) -> None:
        """Start a machine that is off with a kernel, this time alone: when the guest restarts it goes off instead."""
        with self._handle.call() as raw:
            domain = raw.lookupByUUIDString(uuid)
            xml = domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE | libvirt.VIR_DOMAIN_XML_SECURE)
            # libvirt keeps the definition beside the one that runs.
            raw.createXML(with_kernel(xml, kernel), 0)

    def undefine(self, uuid: str) -> None:
        """Take a machine that is off from its host, with all that libvirt keeps of it; its disks stay.

        Raises WrongState while it runs.
        """
        with self._handle.domain(uuid) as domain:
            if domain.isActive():
                raise WrongState("The machine is running: shut it down first.")
            undefine(domain)

    def insert(self, uuid: str, target: str, source: Source, disc_format: str = "raw") -> None:
        """Put a disc into a drive, in the place of one that is in it; at once and for good."""
        self._change_disc(uuid, target, source, disc_format)

    def eject(self, uuid: str, target: str) -> None:
        """Empty a drive, at once and for good. Fails while the guest keeps it locked."""
        self._change_disc(uuid, target, None)

    def _change_disc(self, uuid: str, target: str, source: Source | None, disc_format: str = "raw") -> None:
        """Raises NotFound where neither the running machine nor its definition has that drive."""
        with self._handle.domain(uuid) as domain:
            flags: defaultdict[str, int] = defaultdict(int)
            for flag, xml in definitions(domain):
                with suppress(NotFound):
                    flags[drive_with(xml, target, source, disc_format)] |= flag
            if not flags:
                raise NotFound(f"The machine has no drive {target}.")
            # One call, unless the drives differ: then both change or none does.
            for drive, flag in flags.items():
                domain.updateDeviceFlags(drive, flag)


def define_new(raw: Any, uuid: str, name: str, xml: str) -> None:
    """Define what is not there yet: libvirt would put it in the place of what has that uuid."""
    if is_there(raw.lookupByUUIDString, uuid):
        raise WrongState("There is a machine with that UUID already.")
    if is_there(raw.lookupByName, name):
        raise WrongState("There is a machine of that name already: choose another.")
    raw.defineXMLFlags(xml, libvirt.VIR_DOMAIN_DEFINE_VALIDATE)


def is_there(look_up: Callable[[str], Any], key: str) -> bool:
    with suppress(NotFound), translating():
        look_up(key)
        return True
    return False


def undefine(domain: Any) -> None:
    """By the first of the ways that the host's libvirt knows the flags of."""
    for way in WITHOUT_STATE:
        try:
            domain.undefineFlags(way)
        except libvirt.libvirtError as error:
            if error.get_error_code() != libvirt.VIR_ERR_INVALID_ARG or way == WITHOUT_STATE[-1]:
                raise
        else:
            return


def definitions(domain: Any) -> list[tuple[int, str]]:
    """What is in force, then what is kept, each with the flag that changes it; either may be missing."""
    found = []
    if domain.isActive():
        found.append((libvirt.VIR_DOMAIN_AFFECT_LIVE, domain.XMLDesc(libvirt.VIR_DOMAIN_XML_SECURE)))
    if domain.isPersistent():
        which = libvirt.VIR_DOMAIN_XML_INACTIVE | libvirt.VIR_DOMAIN_XML_SECURE
        found.append((libvirt.VIR_DOMAIN_AFFECT_CONFIG, domain.XMLDesc(which)))
    return found

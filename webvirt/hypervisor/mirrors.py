"""A running machine's disk copied while it writes to it. Part of `DomainCalls`.

QEMU writes to both until the copy is whole. The machine keeps its own disk all along: whatever ends the copying,
nothing of it changes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from contextlib import suppress

import libvirt

from webvirt.hypervisor.calls import Handle
from webvirt.hypervisor.errors import HypervisorError, WrongState
from webvirt.hypervisor.types import Source
from webvirt.hypervisor.xml.disks import mirror_to, mirrors_in
from webvirt.hypervisor.xml.parse import parse_domain

FLAGS = libvirt.VIR_DOMAIN_BLOCK_COPY_REUSE_EXT | libvirt.VIR_DOMAIN_BLOCK_COPY_TRANSIENT_JOB
"""Into what is there; and that it would not outlive the machine's process is no loss."""
LOOK_SECONDS = 0.5


class MirrorCalls:
    """Every method raises a HypervisorError of the kind that fits; a uuid may be NotFound."""

    _handle: Handle

    def copy_disk(
        self, uuid: str, target: str, was: str, to: Source, disk_format: str, progress: Callable[[int, int], None]
    ) -> None:
        """Copy the disk of a running machine into an empty volume of its size, as it is when this returns.

        `was` is what the disk is, in the words of `DiskInfo.source`: WrongState where it is another, and where the
        machine does not run. `progress(done, total)` gets bytes about twice a second; whatever it raises ends the
        copying. If we die the copying goes on, to be ended by `end_copies`.
        """
        xml = mirror_to(to, disk_format)
        with self._handle.domain(uuid) as domain:
            if not domain.isActive():
                raise WrongState("The machine is not running.")
            if (target, was) not in {(disk.target, disk.source) for disk in parse_domain(domain.XMLDesc(0)).disks}:
                raise WrongState("The machine's disks were changed meanwhile: look at them and try again.")
            domain.blockCopy(target, xml, {}, FLAGS)
        try:
            while not self._is_whole(uuid, target, to.path, progress):
                time.sleep(LOOK_SECONDS)
            with self._handle.domain(uuid) as domain:
                # All that was written up to now is in it.
                domain.blockJobAbort(target, 0)
        except BaseException:
            with suppress(HypervisorError):
                self.end_copies(uuid, [to.path])
            raise

    def _is_whole(self, uuid: str, target: str, path: str, progress: Callable[[int, int], None]) -> bool:
        with self._handle.domain(uuid) as domain:
            info = domain.blockJobInfo(target, 0)
            if not info:
                raise HypervisorError("The copying ended before it was whole.")
            whole = mirrors_in(domain.XMLDesc(0)).get(target) == (path, True)
        progress(info["cur"], info["end"])
        return whole

    def end_copies(self, uuid: str, paths: Collection[str]) -> None:
        """End the copying of a machine's disks into these files; nothing happens where there is none."""
        with self._handle.domain(uuid) as domain:
            if domain.isActive():
                for target, (path, _whole) in mirrors_in(domain.XMLDesc(0)).items():
                    if path in paths:
                        domain.blockJobAbort(target, 0)

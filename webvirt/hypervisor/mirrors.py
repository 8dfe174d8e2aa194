"""A running machine's disks copied while it writes to them. Part of `DomainCalls`.

QEMU writes to both until the copies are whole. The machine keeps its own disks all along: whatever ends the copying,
nothing of it changes. Several are ended together while it stands still for a moment, so that they are of one instant.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from typing import Any

import libvirt

from webvirt.hypervisor.calls import Handle, broken
from webvirt.hypervisor.errors import HypervisorError, WrongState
from webvirt.hypervisor.types import DiskMirror
from webvirt.hypervisor.xml.disks import mirror_to, mirrors_in
from webvirt.hypervisor.xml.parse import parse_domain

FLAGS = libvirt.VIR_DOMAIN_BLOCK_COPY_REUSE_EXT | libvirt.VIR_DOMAIN_BLOCK_COPY_TRANSIENT_JOB
"""Into what is there; and that it would not outlive the machine's process is no loss."""
LOOK_SECONDS = 0.5
STILL_LOOK_SECONDS = 0.01
STILL_SECONDS = 10.0
"""No machine stands still for longer: then there is no copy."""
AGENT_SECONDS = 5
RUNS = (libvirt.VIR_DOMAIN_RUNNING, libvirt.VIR_DOMAIN_BLOCKED)
UNANSWERED = (libvirt.VIR_ERR_AGENT_UNRESPONSIVE, libvirt.VIR_ERR_AGENT_UNSYNCED)
PAUSED_BY_US = [libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_USER]


class MirrorCalls:
    """Every method raises a HypervisorError of the kind that fits; a uuid may be NotFound."""

    _handle: Handle

    def copy_disks(
        self,
        uuid: str,
        mirrors: Sequence[DiskMirror],
        progress: Callable[[int, int], None],
        stands_still: Callable[[], None],
    ) -> None:
        """Copy disks of a running machine into empty volumes of their sizes, as all are at one instant at the end.

        WrongState where a disk is another than is said, and where the machine does not run. At the end its agent, where
        one is connected, has it write out what it holds, and of several disks it is paused until all are ended: some
        milliseconds. `stands_still()` is called before that: if we die then, it is to `go_on`. `progress(done, total)`
        gets bytes about twice a second; whatever it raises ends the copying. If we die the copying goes on, to be ended
        by `end_copies`.
        """
        definitions = [mirror_to(mirror.to, mirror.format) for mirror in mirrors]
        with self._handle.domain(uuid) as domain:
            if not domain.isActive():
                raise WrongState("The machine is not running.")
            there = {(disk.target, disk.source) for disk in parse_domain(domain.XMLDesc(0)).disks}
            if any((mirror.target, mirror.was) not in there for mirror in mirrors):
                raise WrongState("The machine's disks were changed meanwhile: look at them and try again.")
        try:
            with self._handle.domain(uuid) as domain:
                for mirror, xml in zip(mirrors, definitions, strict=True):
                    domain.blockCopy(mirror.target, xml, {}, FLAGS)
            while not self._are_whole(uuid, mirrors, progress):
                time.sleep(LOOK_SECONDS)
            self._end_at_once(uuid, mirrors, stands_still)
        except BaseException:
            with suppress(HypervisorError):
                self.end_copies(uuid, [mirror.to.path for mirror in mirrors])
            raise

    def _are_whole(self, uuid: str, mirrors: Sequence[DiskMirror], progress: Callable[[int, int], None]) -> bool:
        with self._handle.domain(uuid) as domain:
            # In this order, so that the last word is of all of it.
            ready = mirrors_in(domain.XMLDesc(0))
            infos = jobs_of(domain, mirrors)
        progress(sum(info["cur"] for info in infos), sum(info["end"] for info in infos))
        return all(ready.get(mirror.target) == (mirror.to.path, True) for mirror in mirrors)

    def _end_at_once(self, uuid: str, mirrors: Sequence[DiskMirror], stands_still: Callable[[], None]) -> None:
        """End copies that are whole: all that was written up to one instant is in them."""
        with self._handle.domain(uuid) as domain:
            runs = domain.state()[0] in RUNS
            has_agent = runs and parse_domain(domain.XMLDesc(0)).agent_connected and answers(domain)
        pauses = runs and len(mirrors) > 1
        if pauses or has_agent:
            stands_still()
        try:
            with self._handle.domain(uuid) as domain:
                if has_agent:
                    ask_agent(domain, domain.fsFreeze)
                if pauses:
                    domain.suspend()
                    wait_until_written(domain, mirrors)
                for mirror in mirrors:
                    domain.blockJobAbort(mirror.target, 0)
        finally:
            if pauses or has_agent:
                self.go_on(uuid, thaws=has_agent)

    def go_on(self, uuid: str, *, thaws: bool = True) -> None:
        """Have a machine go on that stood still for its copies; nothing happens where it does not stand still.

        With `thaws` its filesystems too, where it has an agent: raises NotResponding where that does not answer.
        """
        with self._handle.domain(uuid) as domain:
            if not domain.isActive():
                return
            if domain.state() == PAUSED_BY_US:
                domain.resume()
            if thaws and parse_domain(domain.XMLDesc(0)).agent_connected:
                ask_agent(domain, domain.fsThaw)

    def end_copies(self, uuid: str, paths: Collection[str]) -> None:
        """End the copying of a machine's disks into these files; nothing happens where there is none."""
        with self._handle.domain(uuid) as domain:
            if domain.isActive():
                for target, (path, _whole) in mirrors_in(domain.XMLDesc(0)).items():
                    if path in paths:
                        domain.blockJobAbort(target, 0)


def jobs_of(domain: Any, mirrors: Sequence[DiskMirror]) -> list[dict[str, int]]:
    """How far each copy is. Raises HypervisorError where one is not at work any more."""
    infos = [domain.blockJobInfo(mirror.target, 0) for mirror in mirrors]
    if not all(infos):
        raise HypervisorError("The copying ended before it was whole.")
    return infos


def wait_until_written(domain: Any, mirrors: Sequence[DiskMirror]) -> None:
    """Let the copies of a paused machine catch up, which writes no more. Raises HypervisorError if they do not."""
    deadline = time.monotonic() + STILL_SECONDS
    while any(info["cur"] < info["end"] for info in jobs_of(domain, mirrors)):
        if time.monotonic() > deadline:
            raise HypervisorError("The copies do not catch up with the machine while it is paused.")
        time.sleep(STILL_LOOK_SECONDS)


def answers(domain: Any) -> bool:
    """Whether the guest's agent does: one that hangs could freeze its guest when nobody waits for it any more."""
    domain.agentSetResponseTimeout(AGENT_SECONDS, 0)
    try:
        domain.getTime()
    except libvirt.libvirtError as error:
        if broken(error):
            raise
        return False
    return True


def ask_agent(domain: Any, ask: Callable[[], object]) -> None:
    """Ask the guest's agent for something that it may not be able to do: then its disks are as after a power cut.

    Raises libvirtError where it does not answer, and nobody can tell what it did.
    """
    domain.agentSetResponseTimeout(AGENT_SECONDS, 0)
    try:
        ask()
    except libvirt.libvirtError as error:
        if error.get_error_code() in UNANSWERED or broken(error):
            raise

"""Domains made, taken away and given discs on a host in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING

from lxml import etree

from webvirt.hypervisor.errors import HypervisorError, NotFound, WrongState
from webvirt.hypervisor.types import (
    METADATA_URI,
    DiskMirror,
    DomainCopy,
    DomainSpec,
    DomainState,
    Kernel,
    Source,
    Touch,
)
from webvirt.hypervisor.xml.build import one_line_end
from webvirt.hypervisor.xml.disks import drive_with, mirror_to
from webvirt.hypervisor.xml.domain_copies import copy_of
from webvirt.hypervisor.xml.domains import build_domain, with_kernel
from webvirt.hypervisor.xml.inputs import clipboard_for, tablet_for
from webvirt.hypervisor.xml.moving import Moved, Place, placed
from webvirt.hypervisor.xml.parse import parse_domain

if TYPE_CHECKING:
    from tests.fakes import FakeConnection, FakeDomain


class FakeMakingCalls:
    """As `hypervisor.making.MakingCalls`, over `known`. `started_once` are those that were started with a kernel, with
    it; `mirrors` what disks are copied into right now."""

    def __init__(self, connection: FakeConnection) -> None:
        self._connection = connection
        self.known: dict[str, FakeDomain] = {}
        self.started_once: dict[str, Kernel] = {}
        self.mirrors: dict[tuple[str, str], str] = {}

    def _get(self, uuid: str) -> FakeDomain:
        self._connection.check()
        if uuid not in self.known:
            raise NotFound(f"Domain not found: no domain with matching uuid '{uuid}'")
        return self.known[uuid]

    def define(self, spec: DomainSpec) -> None:
        self._define(build_domain(spec), spec.uuid, spec.name, spec.title, one_line_end(spec.description))

    def define_copy(self, uuid: str, copy: DomainCopy) -> None:
        xml = copy_of(self._get(uuid).xml(), copy)
        info = parse_domain(xml)
        self._define(xml, copy.uuid, copy.name, info.title, one_line_end(info.description))

    def define_moved(self, place: Place, moved: Moved) -> None:
        xml = placed(place, moved)
        info = parse_domain(xml)
        self._define(xml, place.uuid, place.name, info.title, info.description)

    def _define(self, xml: str, uuid: str, name: str, title: str, description: str) -> None:
        self._connection.check()
        if uuid in self.known:
            raise WrongState("There is a machine with that UUID already.")
        if any(each.name == name for each in self.known.values()):
            raise WrongState("There is a machine of that name already: choose another.")
        self._connection.define(
            name,
            uuid=uuid,
            title=title,
            description=description,
            tags=parse_domain(xml).tags,
            files=files_of(xml),
            made=without_tags(with_macs(xml)),
        )

    def start_once(self, uuid: str, kernel: Kernel) -> None:
        domain = self._get(uuid)
        with_kernel(domain.xml(), kernel)
        self._connection.domains.start(uuid)
        self.started_once[uuid] = kernel

    def undefine(self, uuid: str) -> None:
        if self._get(uuid).is_on:
            raise WrongState("The machine is running: shut it down first.")
        self._connection.undefine(uuid)

    def copy_disks(
        self,
        uuid: str,
        mirrors: Sequence[DiskMirror],
        progress: Callable[[int, int], None],
        stands_still: Callable[[], None],
    ) -> None:
        domain = self._get(uuid)
        for mirror in mirrors:
            mirror_to(mirror.to, mirror.format)
        if not domain.is_on:
            raise WrongState("The machine is not running.")
        there = {(disk.target, disk.source) for disk in parse_domain(domain.xml()).disks}
        if any((mirror.target, mirror.was) not in there for mirror in mirrors):
            raise WrongState("The machine's disks were changed meanwhile: look at them and try again.")
        keys = {(uuid, mirror.target): mirror for mirror in mirrors}
        self.mirrors |= {key: mirror.to.path for key, mirror in keys.items()}
        try:
            for step in range(domain.work):
                progress(step, domain.work)
            if not keys.keys() <= self.mirrors.keys():
                raise HypervisorError("The copying ended before it was whole.")
            self._end_at_once(domain, mirrors, stands_still)
        except Exception:
            self.mirrors = {key: path for key, path in self.mirrors.items() if key not in keys}
            raise

    def _end_at_once(self, domain: FakeDomain, mirrors: Sequence[DiskMirror], stands_still: Callable[[], None]) -> None:
        volumes = {
            each.info.path: each for pool in self._connection.storage.known.values() for each in pool.volumes.values()
        }
        pauses = domain.state == DomainState.RUNNING and len(mirrors) > 1
        if pauses:
            stands_still()
            self._connection.domains.suspend(domain.uuid)
        for mirror in mirrors:
            volumes[mirror.to.path].data = bytearray(volumes[mirror.was].data)
            del self.mirrors[domain.uuid, mirror.target]
        if pauses:
            self.go_on(domain.uuid)

    def go_on(self, uuid: str, *, thaws: bool = True) -> None:
        if self._get(uuid).state == DomainState.PAUSED:
            self._connection.domains.resume(uuid)

    def end_copies(self, uuid: str, paths: Collection[str]) -> None:
        self._get(uuid)
        self.mirrors = {key: path for key, path in self.mirrors.items() if key[0] != uuid or path not in paths}

    def insert(self, uuid: str, target: str, source: Source, disc_format: str = "raw") -> None:
        self._change_disc(uuid, target, source, disc_format)

    def eject(self, uuid: str, target: str) -> None:
        self._change_disc(uuid, target, None)

    def add_tablet(self, uuid: str) -> bool:
        return self._add(uuid, tablet_for)

    def add_clipboard(self, uuid: str) -> bool:
        return self._add(uuid, clipboard_for)

    def _add(self, uuid: str, device_for: Callable[[str], str]) -> bool:
        """There is one definition here, so what is added is there at once."""
        domain = self._get(uuid)
        device = device_for(domain.xml())
        if not device:
            raise WrongState("The machine has one already.")
        root = etree.fromstring(without_tags(domain.xml()))
        for devices in root.iterfind("devices"):
            devices.append(etree.fromstring(device))
        domain.made = etree.tostring(root, encoding="unicode")
        return True

    def _change_disc(self, uuid: str, target: str, source: Source | None, disc_format: str = "raw") -> None:
        domain = self._get(uuid)
        drive = etree.fromstring(drive_with(domain.xml(), target, source, disc_format))
        root = etree.fromstring(domain.made)
        for devices in root.iterfind("devices"):
            for disk in devices.findall("disk"):
                if disk.find(f"target[@dev='{target}']") is not None:
                    devices.replace(disk, drive)
        domain.made = etree.tostring(root, encoding="unicode")
        domain.files = files_of(domain.made)
        if domain.is_on:
            self._connection.tell(uuid, "tray moved", Touch.DEFINITION)


def files_of(xml: str) -> tuple[str, ...]:
    return tuple(disk.source for disk in parse_domain(xml).disks if disk.source)


def without_tags(xml: str) -> str:
    """The definition without the tags, which are kept beside it."""
    root = etree.fromstring(xml)
    for tags in root.findall(f"metadata/{{{METADATA_URI}}}tags"):
        parent = tags.getparent()
        assert parent is not None
        parent.remove(tags)
    return etree.tostring(root, encoding="unicode")


def with_macs(xml: str) -> str:
    """As libvirt does, an address for each card that has none."""
    root = etree.fromstring(xml)
    for place, card in enumerate(root.iterfind("devices/interface")):
        if card.find("mac") is None:
            tail = hashlib.sha256(f"{root.findtext('uuid')} {place}".encode()).hexdigest()
            card.insert(0, etree.Element("mac", address=f"52:54:00:{tail[:2]}:{tail[2:4]}:{tail[4:6]}"))
    return etree.tostring(root, encoding="unicode")

"""A host in memory, with the same methods as a real connection and the same manners; the contract suite holds it to it.

For tests of what stands above the hypervisor room. `FakeConnection.fails_with` makes every call raise, as a host does
that went away.
"""

from __future__ import annotations

import builtins
import uuid
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from lxml import etree

from tests.fake_making import FakeMakingCalls
from tests.fake_networks import FakeDeviceCalls, FakeFilterCalls, FakeNetworkCalls, FakeSecretCalls
from tests.fake_storage import FakeStorageCalls
from webvirt.hypervisor.errors import HypervisorError, InvalidSpec, WrongState
from webvirt.hypervisor.types import (
    METADATA_URI,
    Check,
    Display,
    DomainEvent,
    DomainReading,
    DomainState,
    DomainSummary,
    DomainUsage,
    GuestAddress,
    HostAddress,
    HostInfo,
    HostUsage,
    MachineSupport,
    ObjectEvent,
    PoolSupport,
    Screenshot,
    Touch,
    Transport,
    Verdict,
)
from webvirt.hypervisor.xml.build import check_text, one_line_end
from webvirt.hypervisor.xml.parse import parse_domain

PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de"
    "0000000c49444154789c63606060000000040001f61738550000000049454e44ae426082"
)
"""The smallest screen: one black dot as PNG."""
S = DomainState
MEMORY_KIB = 96 * 1024
OFF = (S.SHUTOFF, S.CRASHED)
BARE = (
    f"<domain type='qemu'><memory unit='KiB'>{MEMORY_KIB}</memory><vcpu>1</vcpu>"
    "<os><type arch='x86_64' machine='pc'>hvm</type></os>"
    "<devices><graphics type='vnc' port='5900' listen='127.0.0.1'/></devices></domain>"
)
"""What a domain is that was put there by hand."""
MACHINES = tuple(
    MachineSupport(
        type="qemu",
        arch="x86_64",
        machine=machine,
        emulator="/usr/bin/qemu-system-x86_64",
        vcpus_max=255,
        cpu_modes=("maximum", "host-model"),
        efi=True,
        secure_boot=machine == "q35",
        tpm=True,
        disk_buses=("virtio", "scsi", "sata", "usb", *(["ide"] if machine == "pc" else [])),
        video_models=("vga", "virtio", "none"),
    )
    for machine in ("q35", "pc")
)


@dataclass
class FakeDomain:
    """One domain of the fake. `work` is how many steps a save takes."""

    name: str
    uuid: str = field(default_factory=lambda: str(uuid.uuid4()))
    state: DomainState = S.SHUTOFF
    reason: str = ""
    persistent: bool = True
    autostart: bool = False
    saved: bool = False
    title: str = ""
    description: str = ""
    tags: tuple[str, ...] = ()
    addresses: tuple[GuestAddress, ...] = ()
    files: tuple[str, ...] = ()
    keys: builtins.list[tuple[tuple[int, ...], int]] = field(default_factory=list)
    disks: dict[str, int] = field(default_factory=dict)
    """Sizes in bytes by target."""
    cpu_ns: int = 0
    work: int = 3
    made: str = ""
    """The definition it was made from, if it was made by a spec."""

    @property
    def is_on(self) -> bool:
        return self.state not in OFF

    def xml(self) -> str:
        root = etree.fromstring(self.made or BARE)
        texts = {"name": self.name, "uuid": self.uuid, "title": self.title, "description": self.description}
        for tag in texts:
            for old in root.findall(tag):
                root.remove(old)
        for place, tag in enumerate([tag for tag, text in texts.items() if text]):
            root.insert(place, etree.Element(tag))
            root[place].text = texts[tag]
        if self.tags:
            metadata = root.find("metadata")
            metadata = etree.SubElement(root, "metadata") if metadata is None else metadata
            tags = etree.SubElement(metadata, f"{{{METADATA_URI}}}tags")
            for tag in self.tags:
                etree.SubElement(tags, f"{{{METADATA_URI}}}tag").text = tag
        return etree.tostring(root, encoding="unicode", pretty_print=True)


class FakeConnection:
    """As `hypervisor.connection.Connection`. `define` puts a domain on it."""

    def __init__(self, address: HostAddress = HostAddress(Transport.TEST)) -> None:  # noqa: B008
        self.address = address
        self.fails_with: HypervisorError | None = None
        self.hears: builtins.list[Callable[[DomainEvent | ObjectEvent], None]] = []
        self.host = FakeHostCalls(self)
        self.domains = FakeDomainCalls(self)
        self.networks = FakeNetworkCalls(self)
        self.filters = FakeFilterCalls(self)
        self.devices = FakeDeviceCalls(self)
        self.secrets = FakeSecretCalls(self)
        self.storage = FakeStorageCalls(self)
        self.closed = False

    def define(self, name: str, **facts: Any) -> FakeDomain:
        domain = FakeDomain(name, **facts)
        self.domains.known[domain.uuid] = domain
        self.tell(domain.uuid, "defined/added", Touch.DEFINITION)
        return domain

    def undefine(self, uuid: str) -> None:
        del self.domains.known[uuid]
        self.tell(uuid, "undefined/removed", Touch.GONE)

    def tell(self, uuid: str, what: str, touch: Touch) -> None:
        for hear in self.hears:
            hear(DomainEvent(uuid, what, touch))

    def tell_object(self, noun: str, key: str, what: str) -> None:
        for hear in self.hears:
            hear(ObjectEvent(noun, key, what))

    def check(self) -> None:
        if self.fails_with is not None:
            raise self.fails_with

    def listen(self, on_event: Callable[[DomainEvent | ObjectEvent], None], on_close: Callable[[str], None]) -> None:
        self.check()
        self.hears.append(on_event)

    def close(self) -> None:
        self.closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class FakeHostCalls:
    """As `hypervisor.host.HostCalls`."""

    def __init__(self, connection: FakeConnection) -> None:
        self._connection = connection
        self._ticks = 0

    def ping(self) -> None:
        self._connection.check()

    def info(self) -> HostInfo:
        self._connection.check()
        return HostInfo(
            hostname="fake",
            uuid="00000000-0000-4000-8000-0000000fa4e0",
            hypervisor="QEMU",
            hypervisor_version="7.2.0",
            libvirt_version="9.0.0",
            arch="x86_64",
            cpu_model="fake",
            cpus=4,
            sockets=1,
            cores=4,
            threads=1,
            memory_kib=8 * 1024 * 1024,
            domain_types=("qemu",),
            machine_types=("pc", "q35"),
            emulators=("/usr/bin/qemu-system-x86_64",),
            pools=(PoolSupport("dir", True, (), ("raw", "qcow2")), PoolSupport("zfs", False)),
            machines=MACHINES,
        )

    def usage(self) -> HostUsage:
        self._connection.check()
        self._ticks += 1
        return HostUsage(self._ticks * 10**9, self._ticks * 4 * 10**9, 1024 * 1024)

    def pool_names(self) -> builtins.list[str]:
        self._connection.check()
        return ["default"]

    def capability_checks(self) -> tuple[Check, ...]:
        self._connection.check()
        return (Check("domain-types", Verdict.WARN, "qemu", "Emulation only."),)


class FakeDomainCalls(FakeMakingCalls):
    """As `hypervisor.domains.DomainCalls`, over `known`."""

    def _in(self, uuid: str, *states: DomainState) -> FakeDomain:
        domain = self._get(uuid)
        if domain.state not in states:
            raise WrongState(f"Requested operation is not valid: domain is {domain.state}")
        return domain

    def _become(self, domain: FakeDomain, state: DomainState, what: str, touch: Touch = Touch.STATE) -> None:
        domain.state = state
        domain.reason = "asked" if state == S.PAUSED else ""
        self._connection.tell(domain.uuid, what, touch)

    # --- reading

    def list(self) -> builtins.list[DomainSummary]:
        self._connection.check()
        return [self._summary(domain) for domain in self.known.values()]

    def summaries(self, uuids: Iterable[str]) -> builtins.list[DomainSummary]:
        self._connection.check()
        return [self._summary(self.known[uuid]) for uuid in uuids if uuid in self.known]

    def _summary(self, domain: FakeDomain) -> DomainSummary:
        return DomainSummary(
            domain.uuid,
            domain.name,
            domain.state,
            domain.reason,
            persistent=domain.persistent,
            autostart=domain.autostart,
            managed_save=domain.saved,
        )

    def read(self, uuid: str) -> DomainReading:
        domain = self._get(uuid)
        info = parse_domain(domain.xml())
        return DomainReading(
            self._summary(domain),
            info if domain.persistent else None,
            domain.xml() if domain.persistent else "",
            info if domain.is_on else None,
            domain.xml() if domain.is_on else "",
        )

    def usage(self, uuids: Sequence[str] | None = None) -> builtins.list[DomainUsage]:
        self._connection.check()
        found = []
        for domain in self.known.values():
            if domain.is_on and (uuids is None or domain.uuid in uuids):
                domain.cpu_ns += 10**7
                found.append(DomainUsage(domain.uuid, domain.cpu_ns, 1, MEMORY_KIB, MEMORY_KIB))
        return found

    def users_of(self, path: str, pool: str, volume: str) -> builtins.list[str]:
        self._connection.check()
        return [domain.uuid for domain in self.known.values() if path and path in domain.files]

    def addresses(self, uuid: str) -> tuple[GuestAddress, ...]:
        return self._in(uuid, S.RUNNING, S.PAUSED).addresses

    def display(self, uuid: str) -> Display:
        self._in(uuid, S.RUNNING, S.PAUSED)
        return Display(uuid, "vnc", hostname="127.0.0.1", port=5900)

    def screenshot(self, uuid: str) -> Screenshot:
        self._in(uuid, S.RUNNING, S.PAUSED)
        return Screenshot(PIXEL)

    # --- power

    def start(self, uuid: str) -> None:
        domain = self._in(uuid, *OFF)
        what = "started/restored" if domain.saved else "started/booted"
        domain.saved = False
        self._become(domain, S.RUNNING, what, Touch.DEFINITION)

    def restore(self, uuid: str) -> None:
        self._demand_saved(uuid)
        self.start(uuid)

    def discard_saved(self, uuid: str) -> None:
        self._demand_saved(uuid).saved = False

    def _demand_saved(self, uuid: str) -> FakeDomain:
        domain = self._get(uuid)
        if not domain.saved:
            raise WrongState("There is no saved memory any more.")
        return domain

    def resume(self, uuid: str) -> None:
        self._become(self._in(uuid, S.PAUSED, S.PMSUSPENDED), S.RUNNING, "resumed/unpaused")

    def suspend(self, uuid: str) -> None:
        self._become(self._in(uuid, S.RUNNING), S.PAUSED, "suspended/paused")

    def shutdown(self, uuid: str) -> None:
        self._become(self._in(uuid, S.RUNNING), S.SHUTOFF, "stopped/shutdown", Touch.DEFINITION)

    def reboot(self, uuid: str) -> None:
        self._become(self._in(uuid, S.RUNNING), S.RUNNING, "rebooted")

    def reset(self, uuid: str) -> None:
        self._become(self._in(uuid, S.RUNNING, S.PAUSED), S.RUNNING, "rebooted")

    def destroy(self, uuid: str) -> None:
        self._become(self._in(uuid, *(set(S) - set(OFF))), S.SHUTOFF, "stopped/destroyed", Touch.DEFINITION)

    def save(self, uuid: str, progress: Callable[[int, int], None]) -> None:
        domain = self._in(uuid, S.RUNNING, S.PAUSED)
        for done in range(domain.work):
            progress(done * MEMORY_KIB * 1024 // domain.work, MEMORY_KIB * 1024)
        domain.saved = True
        self._become(domain, S.SHUTOFF, "stopped/saved", Touch.DEFINITION)

    # --- changing

    def set_autostart(self, uuid: str, enabled: bool) -> None:
        domain = self._get(uuid)
        if not domain.persistent:
            raise WrongState("cannot set autostart for transient domain")
        domain.autostart = enabled

    def rename(self, uuid: str, name: str) -> None:
        check_text(name)
        if any(each.name == name for each in self.known.values()):
            raise WrongState(f"domain with name '{name}' already exists")
        self._in(uuid, *OFF).name = name
        self._connection.tell(uuid, "defined/renamed", Touch.DEFINITION)

    def describe(
        self,
        uuid: str,
        *,
        title: str | None = None,
        description: str | None = None,
        tags: Collection[str] | None = None,
    ) -> None:
        for text in (title or "", description or "", *(tags or ())):
            check_text(text)
        if {"\n", "\r"} & set(title or ""):
            raise InvalidSpec("A title is one line.")
        domain = self._get(uuid)
        domain.title = domain.title if title is None else title
        lines = one_line_end(description or "")
        domain.description = domain.description if description is None else lines
        domain.tags = domain.tags if tags is None else tuple(tags)
        self._connection.tell(uuid, "metadata changed", Touch.DEFINITION)

    def send_key(self, uuid: str, keys: Sequence[int], hold_ms: int) -> None:
        self._in(uuid, S.RUNNING).keys.append((tuple(keys), hold_ms))

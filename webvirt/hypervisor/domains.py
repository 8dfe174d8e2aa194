"""What can be asked of and done to domains. Each is looked up by uuid for each call; nothing is kept."""

from __future__ import annotations

import builtins
import io
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from typing import Any

import libvirt
from PIL import Image

from webvirt.hypervisor.calls import Handle, broken, watched
from webvirt.hypervisor.errors import (
    HypervisorError,
    InUse,
    InvalidSpec,
    NoDisplay,
    NotFound,
    NotVnc,
    Unsupported,
    WrongState,
)
from webvirt.hypervisor.guest_addresses import addresses_of, merged
from webvirt.hypervisor.making import MakingCalls
from webvirt.hypervisor.mirrors import MirrorCalls
from webvirt.hypervisor.serial import SerialLine
from webvirt.hypervisor.states import INACTIVE, reason_of, state_of
from webvirt.hypervisor.types import (
    METADATA_URI,
    Display,
    DomainInfo,
    DomainReading,
    DomainSummary,
    DomainUsage,
    GuestAddress,
    HostAddress,
    Screenshot,
    Transport,
)
from webvirt.hypervisor.xml.build import check_text, one_line_end, tags_element
from webvirt.hypervisor.xml.parse import names_disk, parse_domain

USAGE_STATS = (
    libvirt.VIR_DOMAIN_STATS_CPU_TOTAL
    | libvirt.VIR_DOMAIN_STATS_BALLOON
    | libvirt.VIR_DOMAIN_STATS_VCPU
    | libvirt.VIR_DOMAIN_STATS_INTERFACE
    | libvirt.VIR_DOMAIN_STATS_BLOCK
)
AGENT_SECONDS = 3
ADDRESS_SOURCES = (
    ("lease", libvirt.VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_LEASE),
    ("agent", libvirt.VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_AGENT),
    ("arp", libvirt.VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_ARP),
)
"""Who knows a guest's addresses, in the order of trust."""


class DomainCalls(MakingCalls, MirrorCalls):
    """The domains of one host. Every method raises a HypervisorError of the kind that fits; a uuid may be NotFound."""

    def __init__(self, handle: Handle, address: HostAddress) -> None:
        self._handle = handle
        self._address = address

    # --- reading

    def list(self) -> builtins.list[DomainSummary]:
        """Every domain of the host, in five calls however many there are; none of them asks a guest's process."""
        with self._handle.call() as raw:
            everything = raw.listAllDomains(0)
            autostart = uuids_of(raw.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_AUTOSTART))
            saved = uuids_of(raw.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_MANAGEDSAVE))
            transient = uuids_of(raw.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_TRANSIENT))
            # The one group of statistics that is told without a guest's monitor.
            states = raw.getAllDomainStats(libvirt.VIR_DOMAIN_STATS_STATE, 0)
        by_uuid = {domain.UUIDString(): stats for domain, stats in states}
        # A domain without a state went while we asked.
        return [
            summary_of(
                domain,
                by_uuid[uuid]["state.state"],
                by_uuid[uuid]["state.reason"],
                autostart=uuid in autostart,
                managed_save=uuid in saved,
                persistent=uuid not in transient,
            )
            for domain in everything
            if (uuid := domain.UUIDString()) in by_uuid
        ]

    def summaries(self, uuids: Iterable[str]) -> builtins.list[DomainSummary]:
        """The lines of a few, in five small calls each; those that are not there (any more) are left out.

        None of them waits for another domain, as the list does while libvirt kills one that hangs.
        """
        found = []
        for uuid in set(uuids):
            with suppress(NotFound), self._handle.domain(uuid) as domain:
                found.append(look_at(domain))
        return found

    def read(self, uuid: str) -> DomainReading:
        """Everything one look brings: its line, and both definitions without secrets."""
        with self._handle.domain(uuid) as domain:
            summary = look_at(domain)
            inactive, inactive_xml, live, live_xml = None, "", None, ""
            if summary.persistent:
                inactive, inactive_xml = definition(domain, libvirt.VIR_DOMAIN_XML_INACTIVE)
            if summary.state not in INACTIVE:
                live, live_xml = definition(domain, 0)
        return DomainReading(summary, inactive, inactive_xml, live, live_xml)

    def usage(self, uuids: Sequence[str] | None = None) -> builtins.list[DomainUsage]:
        """Counters of running domains (None: all), in two calls for them all; those that do not run are left out.

        One guest that hangs holds the call, until libvirt gives up on it after 30 s and more. NOWAIT would not help: it
        holds the call all the same, and the next one leaves that guest's figures out as if they did not exist.
        """
        with self._handle.call() as raw:
            domains = raw.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE)
            if uuids is not None:
                domains = [domain for domain in domains if domain.UUIDString() in uuids]
            found = raw.domainListGetStats(domains, USAGE_STATS, 0) if domains else []
        return [usage_of(domain.UUIDString(), stats) for domain, stats in found if "cpu.time" in stats]

    def users_of(self, path: str, pool: str, volume: str) -> builtins.list[str]:
        """The uuids of the domains that have this file or volume as a disk, or their disks' base, running or not.

        Reads every definition of the host: for what must not be got wrong.
        """
        found = []
        with self._handle.call() as raw:
            for domain in raw.listAllDomains(0):
                try:
                    texts = [domain.XMLDesc(0), domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)]
                except libvirt.libvirtError as error:
                    # One that went meanwhile uses nothing; one that cannot be read might.
                    if error.get_error_code() != libvirt.VIR_ERR_NO_DOMAIN:
                        raise
                    continue
                if any(names_disk(text, path, pool, volume) for text in texts):
                    found.append(domain.UUIDString())
        return found

    def addresses(self, uuid: str) -> tuple[GuestAddress, ...]:
        """The guest's addresses from leases, its agent and the host's ARP table, each from whom it is best known.

        Raises WrongState when it does not run, and what the last source said when none had an answer.
        """
        with self._handle.domain(uuid) as domain:
            live = live_definition(domain)
            if live.agent_connected:
                # It may be stuck: everybody else who wants this guest waits meanwhile.
                domain.agentSetResponseTimeout(AGENT_SECONDS, 0)
            told: builtins.list[GuestAddress] = []
            failures: builtins.list[libvirt.libvirtError] = []
            sources = [pair for pair in ADDRESS_SOURCES if pair[0] != "agent" or live.agent_connected]
            for source, number in sources:
                try:
                    told += addresses_of(source, domain.interfaceAddresses(number, 0))
                except libvirt.libvirtError as error:
                    if broken(error):
                        raise
                    failures.append(error)
            if len(failures) == len(sources):
                raise failures[-1]
        return merged(told, live)

    def display(self, uuid: str) -> Display:
        """Where the guest's VNC display is right now. Raises WrongState when off, NoDisplay or NotVnc without one.

        On this machine it is an open socket, which the caller closes; elsewhere it is as the host itself would reach
        it: a socket of its, or an address that may be its loopback.
        """
        with self._handle.domain(uuid) as domain:
            graphics = live_definition(domain).graphics
            index = next((place for place, each in enumerate(graphics) if each.type == "vnc"), None)
            if index is None and graphics:
                raise NotVnc(f"The machine has a display of type {graphics[0].type}, and none that speaks VNC.")
            if index is None:
                raise NoDisplay("The machine has no display.")
            if self._address.transport == Transport.LOCAL:
                fd = domain.openGraphicsFD(index, libvirt.VIR_DOMAIN_OPEN_GRAPHICS_SKIPAUTH)
                return Display(uuid, "vnc", fd=fd)
        vnc = graphics[index]
        if vnc.socket:
            return Display(uuid, "vnc", socket=vnc.socket)
        return Display(uuid, "vnc", hostname=vnc.listen or "127.0.0.1", port=vnc.port)

    def serial(self, uuid: str) -> SerialLine:
        """The guest's serial line, which one alone can have at a time. Raises WrongState when it does not run, InUse
        when somebody else has it, NoDisplay where there is none and Unsupported where it leads elsewhere.

        It lasts as long as the connection.
        """
        with self._handle.call() as raw:
            domain = raw.lookupByUUIDString(uuid)
            stream = raw.newStream(0)
            try:
                domain.openConsole(None, stream, libvirt.VIR_DOMAIN_CONSOLE_SAFE)
            except libvirt.libvirtError as error:
                if "console session exists" in (error.get_error_message() or ""):
                    raise InUse("Somebody else reads this line, such as “virsh console”: end that first.") from None
                if "cannot find" in (error.get_error_message() or ""):
                    raise NoDisplay("The machine has no serial line.") from None
                raise
        return SerialLine(stream)

    def screenshot(self, uuid: str) -> Screenshot:
        """The guest's screen. Raises WrongState when it does not run, Unsupported when it has none."""
        with self._handle.call() as raw:
            domain = raw.lookupByUUIDString(uuid)
            stream = raw.newStream(0)
            domain.screenshot(stream, 0, 0)
            picture = io.BytesIO()
            stream.recvAll(lambda _stream, data, _opaque: picture.write(data), None)
            stream.finish()
        return Screenshot(as_png(picture.getvalue()))

    # --- power

    def start(self, uuid: str) -> None:
        """Boot it, or go on from its saved memory if it has some."""
        with self._handle.domain(uuid) as domain:
            domain.createWithFlags(0)

    def restore(self, uuid: str) -> None:
        """Go on from the saved memory. Raises WrongState where there is none: it would boot instead."""
        with self._handle.domain(uuid) as domain:
            demand_saved(domain)
            domain.createWithFlags(0)

    def discard_saved(self, uuid: str) -> None:
        """Delete the saved memory. Raises WrongState where there is none."""
        with self._handle.domain(uuid) as domain:
            demand_saved(domain)
            domain.managedSaveRemove(0)

    def resume(self, uuid: str) -> None:
        """Go on after a pause, or wake from sleep."""
        with self._handle.domain(uuid) as domain:
            if domain.state()[0] == libvirt.VIR_DOMAIN_PMSUSPENDED:
                domain.pMWakeup(0)
            else:
                domain.resume()

    def suspend(self, uuid: str) -> None:
        """Pause it: its memory stays, its CPUs stand still."""
        with self._handle.domain(uuid) as domain:
            domain.suspend()

    def shutdown(self, uuid: str) -> None:
        """Ask the guest to shut down; it may take its time or not listen."""
        with self._handle.domain(uuid) as domain:
            domain.shutdown()

    def reboot(self, uuid: str) -> None:
        """Ask the guest to reboot; it may take its time or not listen."""
        with self._handle.domain(uuid) as domain:
            domain.reboot(0)

    def reset(self, uuid: str) -> None:
        """Press its reset button."""
        with self._handle.domain(uuid) as domain:
            domain.reset(0)

    def destroy(self, uuid: str) -> None:
        """Cut the power. Works on a guest that hangs, in about 11 s."""
        with self._handle.domain(uuid) as domain:
            domain.destroy()

    def save(self, uuid: str, progress: Callable[[int, int], None]) -> None:
        """Write its memory to disk and stop it. `progress(done, total)` gets bytes about twice a second.

        Whatever `progress` raises stops the saving, the guest runs on, and it is raised here; unless the memory was
        all written by then: that is a saved guest and no exception.
        """

        def work() -> None:
            with self._handle.domain(uuid) as domain:
                domain.managedSave(0)

        failure, stopped = watched(work, lambda: progress(*self._job(uuid)), lambda: self._abort(uuid))
        if failure is not None:
            raise stopped or failure

    def _job(self, uuid: str) -> tuple[int, int]:
        with self._handle.domain(uuid) as domain:
            stats = domain.jobStats()
        return stats.get("data_processed", 0), stats.get("data_total", 0)

    def _abort(self, uuid: str) -> None:
        # What matters is how the saving itself ends.
        with suppress(HypervisorError), self._handle.domain(uuid) as domain:
            domain.abortJob()

    # --- changing

    def set_autostart(self, uuid: str, enabled: bool) -> None:
        """Whether it starts with its host."""
        with self._handle.domain(uuid) as domain:
            domain.setAutostart(int(enabled))

    def rename(self, uuid: str, name: str) -> None:
        """Give a stopped domain another name. Raises WrongState while it runs and for a name that is taken."""
        check_text(name)
        with self._handle.domain(uuid) as domain:
            domain.rename(name, 0)

    def describe(
        self,
        uuid: str,
        *,
        title: str | None = None,
        description: str | None = None,
        tags: Collection[str] | None = None,
    ) -> None:
        """Set what is not None, in the definition and in the running machine; nothing at all if one part is invalid."""
        for each in (title, description):
            check_text(each or "")
        if description:
            description = one_line_end(description)
        element = tags_element(tags) if tags else None
        if title and ("\n" in title or "\r" in title):
            raise InvalidSpec("A title is one line.")
        with self._handle.domain(uuid) as domain:
            flags = 0
            if domain.isPersistent():
                flags |= libvirt.VIR_DOMAIN_AFFECT_CONFIG
            if domain.isActive():
                flags |= libvirt.VIR_DOMAIN_AFFECT_LIVE
            if title is not None:
                domain.setMetadata(libvirt.VIR_DOMAIN_METADATA_TITLE, title or None, None, None, flags)
            if description is not None:
                domain.setMetadata(libvirt.VIR_DOMAIN_METADATA_DESCRIPTION, description or None, None, None, flags)
            if tags is not None:
                domain.setMetadata(libvirt.VIR_DOMAIN_METADATA_ELEMENT, element, "webvirt", METADATA_URI, flags)

    def send_key(self, uuid: str, keys: Sequence[int], hold_ms: int) -> None:
        """Press Linux key codes together, for so many milliseconds."""
        with self._handle.domain(uuid) as domain:
            domain.sendKey(libvirt.VIR_KEYCODE_SET_LINUX, hold_ms, [*keys], len(keys), 0)


def uuids_of(domains: Iterable[Any]) -> set[str]:
    return {domain.UUIDString() for domain in domains}


def summary_of(
    domain: Any, state: int, reason: int, *, autostart: bool, managed_save: bool, persistent: bool
) -> DomainSummary:
    return DomainSummary(
        uuid=domain.UUIDString(),
        name=domain.name(),
        state=state_of(state),
        reason=reason_of(state_of(state), reason),
        persistent=persistent,
        autostart=autostart,
        managed_save=managed_save,
    )


def look_at(domain: Any) -> DomainSummary:
    """One domain's line, in four calls."""
    state, reason = domain.state()
    persistent = bool(domain.isPersistent())
    # libvirt refuses these two questions about a transient domain.
    autostart = persistent and bool(domain.autostart())
    managed_save = persistent and bool(domain.hasManagedSaveImage(0))
    return summary_of(domain, state, reason, autostart=autostart, managed_save=managed_save, persistent=persistent)


def definition(domain: Any, flags: int) -> tuple[DomainInfo, str]:
    """A definition and its text. The text is without secrets; only with them can be told whether there are any."""
    info = parse_domain(domain.XMLDesc(flags | libvirt.VIR_DOMAIN_XML_SECURE))
    return info, domain.XMLDesc(flags)


def live_definition(domain: Any) -> DomainInfo:
    """The running machine as it is. Raises WrongState when it does not run."""
    if not domain.isActive():
        raise WrongState("The machine is not running.")
    return parse_domain(domain.XMLDesc(0))


def demand_saved(domain: Any) -> None:
    if not domain.hasManagedSaveImage(0):
        raise WrongState("There is no saved memory any more.")


def usage_of(uuid: str, stats: dict[str, Any]) -> DomainUsage:
    """One domain's counters out of libvirt's flat table."""

    def total(group: str, field: str) -> int:
        return sum(stats.get(f"{group}.{number}.{field}", 0) for number in range(stats.get(f"{group}.count", 0)))

    given = stats.get("balloon.current", 0)
    unused = stats.get("balloon.usable", stats.get("balloon.unused"))
    return DomainUsage(
        uuid=uuid,
        cpu_ns=stats["cpu.time"],
        vcpus=stats.get("vcpu.current", 1),
        memory_kib=given,
        memory_used_kib=given if unused is None else max(0, stats.get("balloon.available", given) - unused),
        disk_read_bytes=total("block", "rd.bytes"),
        disk_write_bytes=total("block", "wr.bytes"),
        net_rx_bytes=total("net", "rx.bytes"),
        net_tx_bytes=total("net", "tx.bytes"),
    )


def as_png(picture: bytes) -> bytes:
    """The picture as PNG: older QEMUs send PPM. Raises Unsupported for what is no picture."""
    if picture.startswith(b"\x89PNG"):
        return picture
    out = io.BytesIO()
    try:
        Image.open(io.BytesIO(picture)).save(out, "PNG")
    except OSError:
        raise Unsupported("The host sent no picture of the screen.") from None
    return out.getvalue()

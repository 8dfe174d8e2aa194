"""Which of libvirt's events we hear, and what each may have changed. Callbacks only hand on; they run in its thread."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import libvirt

from webvirt.hypervisor.calls import Handle
from webvirt.hypervisor.types import DomainEvent, ObjectEvent, Touch, ViewerEvent

HostEvent = DomainEvent | ObjectEvent | ViewerEvent
End = dict[str, Any]
"""An end of a connection to a screen: its `family`, `node` and `service`."""

LIFECYCLE: dict[int, tuple[str, Touch, dict[int, str]]] = {
    libvirt.VIR_DOMAIN_EVENT_DEFINED: (
        "defined",
        Touch.DEFINITION,
        {
            libvirt.VIR_DOMAIN_EVENT_DEFINED_ADDED: "added",
            libvirt.VIR_DOMAIN_EVENT_DEFINED_UPDATED: "updated",
            libvirt.VIR_DOMAIN_EVENT_DEFINED_RENAMED: "renamed",
            libvirt.VIR_DOMAIN_EVENT_DEFINED_FROM_SNAPSHOT: "from snapshot",
        },
    ),
    libvirt.VIR_DOMAIN_EVENT_UNDEFINED: (
        "undefined",
        Touch.GONE,
        {
            libvirt.VIR_DOMAIN_EVENT_UNDEFINED_REMOVED: "removed",
            libvirt.VIR_DOMAIN_EVENT_UNDEFINED_RENAMED: "renamed",
        },
    ),
    # A start and a stop make and end the live definition.
    libvirt.VIR_DOMAIN_EVENT_STARTED: (
        "started",
        Touch.DEFINITION,
        {
            libvirt.VIR_DOMAIN_EVENT_STARTED_BOOTED: "booted",
            libvirt.VIR_DOMAIN_EVENT_STARTED_MIGRATED: "migrated",
            libvirt.VIR_DOMAIN_EVENT_STARTED_RESTORED: "restored",
            libvirt.VIR_DOMAIN_EVENT_STARTED_FROM_SNAPSHOT: "from snapshot",
            libvirt.VIR_DOMAIN_EVENT_STARTED_WAKEUP: "wakeup",
        },
    ),
    libvirt.VIR_DOMAIN_EVENT_SUSPENDED: (
        "suspended",
        Touch.STATE,
        {
            libvirt.VIR_DOMAIN_EVENT_SUSPENDED_PAUSED: "paused",
            libvirt.VIR_DOMAIN_EVENT_SUSPENDED_MIGRATED: "migrated",
            libvirt.VIR_DOMAIN_EVENT_SUSPENDED_IOERROR: "I/O error",
            libvirt.VIR_DOMAIN_EVENT_SUSPENDED_WATCHDOG: "watchdog",
            libvirt.VIR_DOMAIN_EVENT_SUSPENDED_RESTORED: "restored",
            libvirt.VIR_DOMAIN_EVENT_SUSPENDED_FROM_SNAPSHOT: "from snapshot",
            libvirt.VIR_DOMAIN_EVENT_SUSPENDED_API_ERROR: "API error",
        },
    ),
    libvirt.VIR_DOMAIN_EVENT_RESUMED: (
        "resumed",
        Touch.STATE,
        {
            libvirt.VIR_DOMAIN_EVENT_RESUMED_UNPAUSED: "unpaused",
            libvirt.VIR_DOMAIN_EVENT_RESUMED_MIGRATED: "migrated",
            libvirt.VIR_DOMAIN_EVENT_RESUMED_FROM_SNAPSHOT: "from snapshot",
        },
    ),
    libvirt.VIR_DOMAIN_EVENT_STOPPED: (
        "stopped",
        Touch.DEFINITION,
        {
            libvirt.VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN: "shutdown",
            libvirt.VIR_DOMAIN_EVENT_STOPPED_DESTROYED: "destroyed",
            libvirt.VIR_DOMAIN_EVENT_STOPPED_CRASHED: "crashed",
            libvirt.VIR_DOMAIN_EVENT_STOPPED_MIGRATED: "migrated",
            libvirt.VIR_DOMAIN_EVENT_STOPPED_SAVED: "saved",
            libvirt.VIR_DOMAIN_EVENT_STOPPED_FAILED: "failed",
            libvirt.VIR_DOMAIN_EVENT_STOPPED_FROM_SNAPSHOT: "from snapshot",
        },
    ),
    libvirt.VIR_DOMAIN_EVENT_SHUTDOWN: (
        "shutting down",
        Touch.STATE,
        {
            libvirt.VIR_DOMAIN_EVENT_SHUTDOWN_GUEST: "by the guest",
            libvirt.VIR_DOMAIN_EVENT_SHUTDOWN_HOST: "by the host",
        },
    ),
    libvirt.VIR_DOMAIN_EVENT_PMSUSPENDED: ("asleep", Touch.STATE, {}),
    libvirt.VIR_DOMAIN_EVENT_CRASHED: (
        "crashed",
        Touch.STATE,
        {libvirt.VIR_DOMAIN_EVENT_CRASHED_PANICKED: "panicked"},
    ),
}
OTHERS: tuple[tuple[int, str, Touch], ...] = (
    (libvirt.VIR_DOMAIN_EVENT_ID_REBOOT, "rebooted", Touch.STATE),
    (libvirt.VIR_DOMAIN_EVENT_ID_WATCHDOG, "watchdog", Touch.STATE),
    (libvirt.VIR_DOMAIN_EVENT_ID_IO_ERROR_REASON, "I/O error", Touch.STATE),
    (libvirt.VIR_DOMAIN_EVENT_ID_CONTROL_ERROR, "control error", Touch.STATE),
    (libvirt.VIR_DOMAIN_EVENT_ID_PMWAKEUP, "woken", Touch.STATE),
    (libvirt.VIR_DOMAIN_EVENT_ID_PMSUSPEND, "asleep", Touch.STATE),
    (libvirt.VIR_DOMAIN_EVENT_ID_PMSUSPEND_DISK, "asleep/on disk", Touch.STATE),
    (libvirt.VIR_DOMAIN_EVENT_ID_DISK_CHANGE, "disk changed", Touch.DEFINITION),
    (libvirt.VIR_DOMAIN_EVENT_ID_TRAY_CHANGE, "tray moved", Touch.DEFINITION),
    (libvirt.VIR_DOMAIN_EVENT_ID_BLOCK_JOB_2, "block job", Touch.DEFINITION),
    (libvirt.VIR_DOMAIN_EVENT_ID_BALLOON_CHANGE, "balloon changed", Touch.DEFINITION),
    (libvirt.VIR_DOMAIN_EVENT_ID_MEMORY_DEVICE_SIZE_CHANGE, "memory device resized", Touch.DEFINITION),
    (libvirt.VIR_DOMAIN_EVENT_ID_DEVICE_ADDED, "device added", Touch.DEFINITION),
    (libvirt.VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED, "device removed", Touch.DEFINITION),
    (libvirt.VIR_DOMAIN_EVENT_ID_TUNABLE, "tuned", Touch.DEFINITION),
    (libvirt.VIR_DOMAIN_EVENT_ID_METADATA_CHANGE, "metadata changed", Touch.DEFINITION),
    (libvirt.VIR_DOMAIN_EVENT_ID_AGENT_LIFECYCLE, "agent", Touch.AGENT),
)
OBJECTS: tuple[tuple[str, str, int, dict[int, str] | str], ...] = (
    (
        "pool",
        "storagePoolEventRegisterAny",
        libvirt.VIR_STORAGE_POOL_EVENT_ID_LIFECYCLE,
        {
            libvirt.VIR_STORAGE_POOL_EVENT_DEFINED: "defined",
            libvirt.VIR_STORAGE_POOL_EVENT_UNDEFINED: "undefined",
            libvirt.VIR_STORAGE_POOL_EVENT_STARTED: "started",
            libvirt.VIR_STORAGE_POOL_EVENT_STOPPED: "stopped",
            libvirt.VIR_STORAGE_POOL_EVENT_CREATED: "created",
            libvirt.VIR_STORAGE_POOL_EVENT_DELETED: "deleted",
        },
    ),
    ("pool", "storagePoolEventRegisterAny", libvirt.VIR_STORAGE_POOL_EVENT_ID_REFRESH, "refreshed"),
    (
        "network",
        "networkEventRegisterAny",
        libvirt.VIR_NETWORK_EVENT_ID_LIFECYCLE,
        {
            libvirt.VIR_NETWORK_EVENT_DEFINED: "defined",
            libvirt.VIR_NETWORK_EVENT_UNDEFINED: "undefined",
            libvirt.VIR_NETWORK_EVENT_STARTED: "started",
            libvirt.VIR_NETWORK_EVENT_STOPPED: "stopped",
        },
    ),
    (
        "device",
        "nodeDeviceEventRegisterAny",
        libvirt.VIR_NODE_DEVICE_EVENT_ID_LIFECYCLE,
        {
            libvirt.VIR_NODE_DEVICE_EVENT_CREATED: "created",
            libvirt.VIR_NODE_DEVICE_EVENT_DELETED: "deleted",
            libvirt.VIR_NODE_DEVICE_EVENT_DEFINED: "defined",
            libvirt.VIR_NODE_DEVICE_EVENT_UNDEFINED: "undefined",
        },
    ),
    ("device", "nodeDeviceEventRegisterAny", libvirt.VIR_NODE_DEVICE_EVENT_ID_UPDATE, "updated"),
    (
        "secret",
        "secretEventRegisterAny",
        libvirt.VIR_SECRET_EVENT_ID_LIFECYCLE,
        {libvirt.VIR_SECRET_EVENT_DEFINED: "defined", libvirt.VIR_SECRET_EVENT_UNDEFINED: "undefined"},
    ),
    ("secret", "secretEventRegisterAny", libvirt.VIR_SECRET_EVENT_ID_VALUE_CHANGED, "value changed"),
)
"""What happens to things that are no domains: noun, how to register, which event, and its words by number, or its one
word where libvirt sends no number."""
NET_DEVICE = "net_"
"""How libvirt's names of devices begin that are network interfaces, those of guests among them."""
CLOSED = {
    libvirt.VIR_CONNECT_CLOSE_REASON_ERROR: "The connection broke.",
    libvirt.VIR_CONNECT_CLOSE_REASON_EOF: "libvirt closed the connection.",
    libvirt.VIR_CONNECT_CLOSE_REASON_KEEPALIVE: "The host stopped answering.",
}


@dataclass(frozen=True)
class Registered:
    """A callback that libvirt holds: by which method it was registered and under which number."""

    method: str
    number: int

    def deregister(self, raw: Any) -> None:
        getattr(raw, self.method.replace("Register", "Deregister"))(self.number)


def register(
    handle: Handle, on_event: Callable[[HostEvent], None], on_close: Callable[[str], None]
) -> list[Registered]:
    """Hear everything of the tables above, and the end of the connection. Returns what was registered."""

    def lifecycle(_conn: Any, domain: Any, event: int, detail: int, _opaque: Any) -> None:
        what, touch, details = LIFECYCLE.get(event, ("changed", Touch.DEFINITION, {}))
        on_event(DomainEvent(domain.UUIDString(), "/".join(filter(None, (what, details.get(detail)))), touch))

    def hear(what: str, touch: Touch) -> Callable[..., None]:
        def other(_conn: Any, domain: Any, *_: Any) -> None:
            on_event(DomainEvent(domain.UUIDString(), what, touch))

        return other

    def hear_object(noun: str, words: dict[int, str] | str) -> Callable[..., None]:
        def happened(_conn: Any, thing: Any, number: int, *_: Any) -> None:
            what = words if isinstance(words, str) else words.get(number, "changed")
            key = key_of(noun, thing)
            on_event(ObjectEvent("interface" if key.startswith(NET_DEVICE) else noun, key, what))

        return happened

    def closed(_conn: Any, reason: int, _opaque: Any) -> None:
        on_close(CLOSED.get(reason, "The connection was closed."))

    wanted = [("domainEventRegisterAny", number, hear(what, touch)) for number, what, touch in OTHERS]
    wanted.append(("domainEventRegisterAny", libvirt.VIR_DOMAIN_EVENT_ID_GRAPHICS, hear_viewers(on_event)))
    wanted += [(method, number, hear_object(noun, words)) for noun, method, number, words in OBJECTS]
    with handle.call() as raw:
        raw.registerCloseCallback(closed, None)
        first = raw.domainEventRegisterAny(None, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, lifecycle, None)
        registered = [Registered("domainEventRegisterAny", first)]
        for method, number, heard in wanted:
            try:
                registered.append(Registered(method, getattr(raw, method)(None, number, heard, None)))
            except libvirt.libvirtError as error:
                # Older daemons and other drivers know fewer events, and a host's libvirt may lack the part that has the
                # devices or the secrets; the resync covers for them.
                unknown = error.get_error_code() in (libvirt.VIR_ERR_NO_SUPPORT, libvirt.VIR_ERR_INVALID_ARG)
                if not unknown and (method == "domainEventRegisterAny" or not raw.isAlive()):
                    raise
    return registered


def hear_viewers(on_event: Callable[[ViewerEvent], None]) -> Callable[..., None]:
    """A callback for who comes to screens and leaves them."""

    def viewer(_conn: Any, domain: Any, phase: int, local: End, remote: End, auth: str, *_: Any) -> None:
        # That a connection has come to show pictures is said too, and nothing new.
        if phase != libvirt.VIR_DOMAIN_EVENT_GRAPHICS_INITIALIZE:
            is_there = phase == libvirt.VIR_DOMAIN_EVENT_GRAPHICS_CONNECT
            address, port = address_of(remote)
            on_event(ViewerEvent(domain.UUIDString(), is_there, address, port, address_of(local)[0], auth or ""))

    return viewer


def address_of(end: End) -> tuple[str, str]:
    """The address and the port of an end of a connection; empty for a socket that has none."""
    if end.get("family") == libvirt.VIR_DOMAIN_EVENT_GRAPHICS_ADDRESS_UNIX:
        return "", ""
    return end.get("node") or "", end.get("service") or ""


def key_of(noun: str, thing: Any) -> str:
    """What it is known by: a device of the host has only its name."""
    return str(thing.name() if noun == "device" else thing.UUIDString())

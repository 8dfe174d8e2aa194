"""What libvirt tells by its callbacks, as it reaches us, and what a host may lack without being lost for it."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import libvirt
import pytest

from tests.hypervisor.subjects import TEST_HOST
from webvirt.hypervisor import events
from webvirt.hypervisor.calls import Handle
from webvirt.hypervisor.connection import connect, uri_of
from webvirt.hypervisor.events import HostEvent
from webvirt.hypervisor.types import ObjectEvent, ViewerEvent

VPORT = """<device><parent>scsi_host1</parent><capability type='scsi_host'><capability type='fc_host'>
<wwnn>2000000012341234</wwnn><wwpn>1000000012341234</wwpn></capability></capability></device>"""


class Thing:
    """One of libvirt's objects, by what it is known by."""

    def __init__(self, key: str) -> None:
        self.key = key

    def name(self) -> str:
        return self.key

    UUIDString = name


class Raw:
    """A connection that keeps the callbacks; `fails` says with which error a method is refused."""

    def __init__(self, fails: dict[str, int] | None = None, *, alive: bool = True) -> None:
        self.callbacks: dict[tuple[str, int], Callable[..., None]] = {}
        self.fails = fails or {}
        self.alive = alive

    def isAlive(self) -> int:  # noqa: N802
        return int(self.alive)

    def registerCloseCallback(self, _callback: Any, _opaque: Any) -> None:  # noqa: N802
        """Nobody closes it."""

    def __getattr__(self, method: str) -> Callable[..., int]:
        def register(_thing: Any, number: int, callback: Callable[..., None], _opaque: Any) -> int:
            if code := self.fails.get(method):
                error = libvirt.libvirtError("refused")
                error.err = (code, 0, "refused", 2, None, None, None, -1, -1)
                raise error
            self.callbacks[method, number] = callback
            return len(self.callbacks)

        return register


class Held(Handle):
    """A handle on such a connection."""

    def __init__(self, raw: Raw) -> None:
        self.raw = raw

    @contextmanager
    def call(self) -> Iterator[Any]:
        yield self.raw


def registered(raw: Raw) -> list[HostEvent]:
    """What is heard from now on."""
    heard: list[HostEvent] = []
    events.register(Held(raw), heard.append, lambda _why: None)
    return heard


def test_events_of_devices_and_secrets() -> None:
    raw = Raw()
    heard = registered(raw)
    lifecycle = raw.callbacks["nodeDeviceEventRegisterAny", libvirt.VIR_NODE_DEVICE_EVENT_ID_LIFECYCLE]
    update = raw.callbacks["nodeDeviceEventRegisterAny", libvirt.VIR_NODE_DEVICE_EVENT_ID_UPDATE]
    of_secrets = raw.callbacks["secretEventRegisterAny", libvirt.VIR_SECRET_EVENT_ID_LIFECYCLE]
    value = raw.callbacks["secretEventRegisterAny", libvirt.VIR_SECRET_EVENT_ID_VALUE_CHANGED]
    lifecycle(None, Thing("net_vnet0_fe_54_00_00_00_01"), libvirt.VIR_NODE_DEVICE_EVENT_CREATED, 0, None)
    lifecycle(None, Thing("usb_1_2"), libvirt.VIR_NODE_DEVICE_EVENT_DELETED, 0, None)
    lifecycle(None, Thing("mdev_1"), libvirt.VIR_NODE_DEVICE_EVENT_DEFINED, 0, None)
    lifecycle(None, Thing("mdev_1"), 99, 0, None)
    update(None, Thing("pci_0000_01_00_0"), None)
    of_secrets(None, Thing("u"), libvirt.VIR_SECRET_EVENT_UNDEFINED, 0, None)
    value(None, Thing("u"), None)
    assert heard == [
        ObjectEvent("interface", "net_vnet0_fe_54_00_00_00_01", "created"),
        ObjectEvent("device", "usb_1_2", "deleted"),
        ObjectEvent("device", "mdev_1", "defined"),
        ObjectEvent("device", "mdev_1", "changed"),
        ObjectEvent("device", "pci_0000_01_00_0", "updated"),
        ObjectEvent("secret", "u", "undefined"),
        ObjectEvent("secret", "u", "value changed"),
    ]


def test_who_comes_to_a_screen_and_leaves_it() -> None:
    raw = Raw()
    heard = registered(raw)
    graphics = raw.callbacks["domainEventRegisterAny", libvirt.VIR_DOMAIN_EVENT_ID_GRAPHICS]
    here = {"family": libvirt.VIR_DOMAIN_EVENT_GRAPHICS_ADDRESS_IPV4, "node": "192.0.2.1", "service": "5900"}
    there = here | {"node": "192.0.2.66", "service": "40000"}
    nowhere = {"family": libvirt.VIR_DOMAIN_EVENT_GRAPHICS_ADDRESS_UNIX, "node": "/run/x.sock", "service": None}
    graphics(None, Thing("u"), libvirt.VIR_DOMAIN_EVENT_GRAPHICS_CONNECT, here, there, "vnc", {}, None)
    graphics(None, Thing("u"), libvirt.VIR_DOMAIN_EVENT_GRAPHICS_INITIALIZE, here, there, "vnc", {}, None)
    graphics(None, Thing("u"), libvirt.VIR_DOMAIN_EVENT_GRAPHICS_DISCONNECT, nowhere, nowhere, None, {}, None)
    assert heard == [
        ViewerEvent("u", True, "192.0.2.66", "40000", "192.0.2.1", "vnc"),
        ViewerEvent("u", False, "", "", "", ""),
    ]


@pytest.mark.parametrize("code", [libvirt.VIR_ERR_NO_SUPPORT, libvirt.VIR_ERR_SYSTEM_ERROR])
def test_a_host_without_the_part_for_secrets_is_heard_all_the_same(code: int) -> None:
    raw = Raw({"secretEventRegisterAny": code})
    registered(raw)
    assert {method for method, _ in raw.callbacks} == {
        "domainEventRegisterAny",
        "storagePoolEventRegisterAny",
        "networkEventRegisterAny",
        "nodeDeviceEventRegisterAny",
    }


def test_a_connection_that_breaks_meanwhile_is_no_missing_part() -> None:
    with pytest.raises(libvirt.libvirtError):
        registered(Raw({"secretEventRegisterAny": libvirt.VIR_ERR_SYSTEM_ERROR}, alive=False))
    with pytest.raises(libvirt.libvirtError):
        registered(Raw({"domainEventRegisterAny": libvirt.VIR_ERR_SYSTEM_ERROR}))


def test_a_device_that_comes_and_goes_is_heard() -> None:
    """On libvirt's test driver; real ones come from udev, which not every machine has."""
    heard: queue.SimpleQueue[HostEvent] = queue.SimpleQueue()
    with connect(TEST_HOST) as connection:
        connection.listen(heard.put, lambda _why: None)
        raw = libvirt.open(uri_of(TEST_HOST))
        device = raw.nodeDeviceCreateXML(VPORT)
        name = device.name()
        assert heard.get(timeout=5) == ObjectEvent("device", name, "created")
        device.destroy()
        assert heard.get(timeout=5) == ObjectEvent("device", name, "deleted")
        raw.close()

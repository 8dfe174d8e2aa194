"""Tablets and clipboard channels: what is plugged in where, and what QEMU makes of it."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import pytest

from tests.guests import SOCKET, Guest
from tests.hypervisor.domain_specs import PREFIX
from tests.hypervisor.subjects import HERE
from webvirt.hypervisor.connection import connect
from webvirt.hypervisor.errors import WrongState
from webvirt.hypervisor.types import DomainReading
from webvirt.hypervisor.xml.inputs import clipboard_for, tablet_for

USB, VIRTIO = '<input type="tablet" bus="usb"/>', '<input type="tablet" bus="virtio"/>'
VDAGENT = (
    '<channel type="qemu-vdagent"><source><clipboard copypaste="yes"/><mouse mode="server"/></source>'
    '<target type="virtio" name="com.redhat.spice.0"/></channel>'
)


def machine(*devices: str, arch: str = "x86_64") -> str:
    return f"<domain><os><type arch='{arch}'>hvm</type></os><devices>{''.join(devices)}</devices></domain>"


@pytest.mark.parametrize(
    ("xml", "tablet"),
    [
        (machine(), USB),
        (machine("<controller type='usb' model='qemu-xhci'/>", "<input type='mouse' bus='ps2'/>"), USB),
        (machine("<controller type='usb' model='none'/>"), VIRTIO),
        (machine(arch="s390x"), VIRTIO),
        (machine("<input type='tablet' bus='virtio'/>"), ""),
        (machine(USB), ""),
    ],
)
def test_a_tablet_goes_where_there_is_a_place(xml: str, tablet: str) -> None:
    assert tablet_for(xml) == tablet


def test_a_clipboard_has_one_channel() -> None:
    assert clipboard_for(machine()) == VDAGENT
    assert clipboard_for(machine("<channel type='unix'><target name='org.qemu.guest_agent.0'/></channel>")) == VDAGENT
    assert clipboard_for(machine(VDAGENT)) == ""
    for other in (
        "<channel type='spicevmc'><target name='com.redhat.spice.0'/></channel>",
        VDAGENT.replace("yes", "no"),
    ):
        with pytest.raises(WrongState):
            clipboard_for(machine(other))


@pytest.fixture(params=["", "<controller type='virtio-serial'/>"], ids=["bare", "with a controller"])
def guest(request: pytest.FixtureRequest) -> Iterator[Guest]:
    """A machine that stands still and has neither."""
    guest = Guest(f"{PREFIX}inputs-{uuid4().hex[:4]}", graphics=SOCKET + request.param).define()
    guest.virsh("start", "--paused")
    yield guest
    guest.remove()


def has(reading: DomainReading, name: str) -> tuple[bool, bool]:
    """Whether it has it now, and from its next start on."""
    assert reading.live
    assert reading.inactive
    return getattr(reading.live, name), getattr(reading.inactive, name)


def test_a_running_machine_gets_them_now_or_next_time(guest: Guest) -> None:
    has_controller = "virtio-serial" in guest.graphics
    with connect(HERE) as connection:
        domains = connection.domains
        assert has(domains.read(guest.uuid), "has_tablet") == (False, False)
        assert domains.add_tablet(guest.uuid)
        assert has(domains.read(guest.uuid), "has_tablet") == (True, True)
        # No controller for channels can be plugged in.
        assert domains.add_clipboard(guest.uuid) == has_controller
        assert has(domains.read(guest.uuid), "has_clipboard") == (has_controller, True)
        guest.virsh("destroy")
        for again in (domains.add_tablet, domains.add_clipboard):
            with pytest.raises(WrongState):
                again(guest.uuid)
        guest.virsh("start", "--paused")
        assert has(domains.read(guest.uuid), "has_clipboard") == (True, True)

"""Who comes to a real guest's screen without us is known from libvirt's events, and told apart from our consoles."""

from __future__ import annotations

import queue
import re
import socket
from collections.abc import Callable, Iterator

import pytest

from tests.console.proxy import Page, Process, open_page
from tests.console.wsclient import Client
from tests.guests import LOOPBACK, SOCKET, Guest
from tests.people import Cast
from tests.until import until
from webvirt.hypervisor.connection import connect
from webvirt.hypervisor.events import HostEvent
from webvirt.hypervisor.types import HostAddress, Transport, ViewerEvent
from webvirt.models import AuditLine, EndReason, Host, ScreenConnection
from webvirt.services import strangers


@pytest.fixture(params=[SOCKET, LOOPBACK], ids=["socket", "loopback"])
def guest(people: Cast, request: pytest.FixtureRequest) -> Iterator[Guest]:
    guest = Guest("wvsess-seen", graphics=request.param)
    people.domain.uuid = guest.uuid
    people.domain.save()
    guest.define()
    guest.virsh("start")
    yield guest
    guest.remove()


Heard = Callable[[], list[str]]


@pytest.fixture
def heard(people: Cast, guest: Guest) -> Iterator[Heard]:
    """Takes in what libvirt has told until now; the addresses of who did not come by us."""
    events: queue.SimpleQueue[HostEvent | str] = queue.SimpleQueue()
    host = Host.objects.get(pk=people.host.pk)

    def take() -> list[str]:
        while not events.empty():
            event = events.get()
            if isinstance(event, ViewerEvent):
                strangers.hear(host, event)
        return [row.address for row in strangers.among(ScreenConnection.objects.all())]

    with connect(HostAddress(Transport.LOCAL)) as connection:
        connection.listen(events.put, events.put)
        yield take


def come(guest: Guest) -> socket.socket:
    """As a viewer does that knows where the display is."""
    definition = guest.virsh("dumpxml")
    if found := re.search("type='socket' socket='([^']+)'", definition):
        end = socket.socket(socket.AF_UNIX)
        end.connect(found[1])
    else:
        found = re.search(r"type='vnc' port='(\d+)'", definition)
        assert found
        end = socket.create_connection(("127.0.0.1", int(found[1])))
    assert end.recv(12).startswith(b"RFB")
    return end


def ours(people: Cast) -> tuple[Page, Client]:
    page = open_page(people.operator, people.domain)
    client = page.connect()
    client.handshake()
    return page, client


def test_a_viewer_beside_us_is_seen_and_ours_are_not(proxy: Process, people: Cast, guest: Guest, heard: Heard) -> None:
    page, client = ours(people)
    until(lambda: heard() or ScreenConnection.objects.exists(), what="libvirt told of ours")
    assert heard() == []
    stranger = come(guest)
    until(lambda: len(heard()) == 1, what="the stranger is seen")
    (line,) = AuditLine.objects.filter(event="console.foreign")
    assert line.object_id == people.domain.pk
    client.close()
    page.ends(EndReason.CLOSED)
    until(lambda: heard() and ScreenConnection.objects.count() == 1, what="ours is gone, the stranger is not")
    stranger.close()
    until(lambda: not heard(), what="the stranger is gone")
    stranger = come(guest)
    until(lambda: len(heard()) == 1, what="the stranger is seen again")
    # Who comes again is told once an hour.
    assert AuditLine.objects.filter(event="console.foreign").count() == 1
    stranger.close()

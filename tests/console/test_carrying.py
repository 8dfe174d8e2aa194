"""Carrying bytes: back-pressure, limits, silence, and what one console costs the others."""

from __future__ import annotations

import itertools
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from django.conf import settings

from tests.console.displays import WISH, Deaf, Display, Echo, Either, Flood, Server, display, echoed
from tests.console.proxy import (
    USUAL_PATIENCE_SECONDS,
    Page,
    Process,
    memory,
    open_page,
    processes_of,
    start_front,
    start_outer,
    start_proxy,
)
from tests.console.wsclient import Client, Closed, frame, key_event
from tests.people import Cast
from tests.stack import free_port
from tests.until import until
from webvirt.consoleproxy import pump as pumping
from webvirt.consoleproxy.frames import MAX_FRAME
from webvirt.consoleproxy.pump import Ending, Pump
from webvirt.consoleproxy.rfb import ClientFilter
from webvirt.models import EndReason
from webvirt.services import consoles


@pytest.fixture
def shown(request: pytest.FixtureRequest) -> Iterator[Server]:
    kind: type[Display] = request.param
    with display(kind) as server:
        yield server


@pytest.fixture
def proxy_to(shown: Server, no_proxy: None) -> Iterator[Process]:
    process = start_proxy(*shown.address)
    yield process
    assert process.stop() == 0


def viewer(people: Cast) -> tuple[Page, Client]:
    page = open_page(people.operator, people.domain)
    client = page.connect()
    client.handshake()
    return page, client


@pytest.mark.parametrize("shown", [Echo], indirect=True)
def test_bytes_go_through_as_they_are_and_are_counted(proxy_to: Process, shown: Server, people: Cast) -> None:
    page, client = viewer(people)
    for size in (1, 125, 126, 65535, 65536, MAX_FRAME):
        # No message of any client, so all of it passes as it comes.
        payload = b"\x63" + os.urandom(size - 1)
        assert echoed(client, payload) == payload
    client.send(b"", 8)
    assert client.closed(2).code == 1000
    row = page.ends(EndReason.CLOSED)
    sent = 1 + 125 + 126 + 65535 + 65536 + MAX_FRAME
    assert row.bytes_to_guest == sent + 12 + 1 + 1
    assert row.bytes_to_browser > sent


@pytest.mark.parametrize("shown", [Echo], indirect=True)
@pytest.mark.parametrize(
    ("data", "code"),
    [
        (frame(b"x", masked=False), 1002),
        (frame(b"x", 3), 1002),
        (frame(b"x", rsv=4), 1002),
        (frame(b"text", 1), 1003),
        (frame(b"x" * (MAX_FRAME + 1)), 1009),
        (b"\x82\xff" + (64 * 2**20).to_bytes(8, "big") + b"mask", 1009),
    ],
    # The frames have random masks, which would give their tests another name each time.
    ids=itertools.count(),
)
def test_a_malformed_frame_ends_the_console_with_its_code(
    proxy_to: Process, shown: Server, people: Cast, data: bytes, code: int
) -> None:
    page, client = viewer(people)
    # It may be refused before the last byte is out.
    with suppress(OSError):
        client.sock.sendall(data)
    assert client.closed(5).code == code
    page.ends(EndReason.MALFORMED)


@pytest.mark.parametrize("shown", [Echo], indirect=True)
def test_a_message_in_endless_fragments_is_not_gathered(proxy_to: Process, shown: Server, people: Cast) -> None:
    page, client = viewer(people)
    (child,) = set(processes_of(proxy_to.pid)) - {min(processes_of(proxy_to.pid))}
    before = memory(child, "Private_Dirty")
    client.send(b"a", fin=False)
    for _ in range(200):
        client.sock.sendall(frame(b"b", 0, fin=False) * 100)
        client.read(100)
    assert memory(child, "Private_Dirty") - before < 1024
    client.close()
    page.ends(EndReason.CLOSED)


@pytest.mark.parametrize("shown", [Flood], indirect=True)
def test_a_viewer_that_stops_reading_stops_the_guest_and_nobody_else(
    proxy_to: Process, shown: Server, people: Cast
) -> None:
    keeper = processes_of(proxy_to.pid)
    _, stalled = viewer(people)
    (child,) = set(processes_of(proxy_to.pid)) - set(keeper)
    before = memory(child, "Private_Dirty")
    # It is stalled once nothing moves for half a second.
    taken = until(lambda: still(shown), 20, what="the flood is held up")
    assert taken < 12 * 2**20
    assert memory(child, "Private_Dirty") - before < 4096
    _, neighbour = viewer(people)
    started = time.monotonic()
    neighbour.read(50 * 2**20)
    assert time.monotonic() - started < 5
    for client in (stalled, neighbour):
        client.close()


def still(shown: Server) -> int:
    before = shown.sent
    time.sleep(0.5)
    return before if before == shown.sent else 0


@pytest.mark.parametrize("shown", [Either], indirect=True)
def test_many_stalled_viewers_cost_little_and_a_healthy_one_goes_on(
    proxy_to: Process, shown: Server, people: Cast, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.setattr(consoles, "VIEWERS_PER_DOMAIN", 1000)
    monkeypatch.setattr(settings, "WEBVIRT_CONSOLES_PER_USER", 1000)
    port = free_port()
    front = start_front(port)
    request.addfinalizer(front.stop)
    # Who comes last is the one who types.
    *stalled, healthy = [through(port, people) for _ in range(21)]
    ours = [*processes_of(proxy_to.pid), *processes_of(front.pid)]
    before = sum(memory(pid, "Private_Dirty") for pid in ours)
    for client in stalled:
        client.send(WISH)
    flowed = 20 * 2**20
    taken = until(lambda: max(0, still(shown) - flowed), 60, what="all floods are held up") + flowed
    assert sum(memory(pid, "Private_Dirty") for pid in ours) - before < 100 * 1024
    healthy.send(b"E")
    for size in (1, 1000, MAX_FRAME):
        payload = os.urandom(size)
        assert echoed(healthy, payload) == payload
    assert still(shown) == taken
    for client in (healthy, *stalled):
        client.close()


def through(port: int, people: Cast) -> Client:
    """A viewer on the whole way, the front included."""
    client = open_page(people.operator, people.domain).connect(("127.0.0.1", port))
    client.handshake()
    return client


@pytest.mark.parametrize("shown", [Deaf], indirect=True)
def test_a_guest_that_stops_reading_stops_the_browser(proxy_to: Process, shown: Server, people: Cast) -> None:
    keeper = processes_of(proxy_to.pid)
    _, client = viewer(people)
    (child,) = set(processes_of(proxy_to.pid)) - set(keeper)
    before = memory(child, "Private_Dirty")
    client.sock.settimeout(1)
    with pytest.raises(TimeoutError):
        client.sock.sendall(frame(bytes(256 * 1024)) * 256)
    assert memory(child, "Private_Dirty") - before < 4096
    client.close()


@pytest.mark.parametrize("shown", [Echo], indirect=True)
def test_no_zombies_and_no_process_left(proxy_to: Process, shown: Server, people: Cast) -> None:
    keeper = processes_of(proxy_to.pid)
    pages = [viewer(people) for _ in range(5)]
    assert len(processes_of(proxy_to.pid)) == len(keeper) + 5
    for _, client in pages:
        client.close()
    until(lambda: processes_of(proxy_to.pid) == keeper, 5, what="only the keeper is left")
    for page, _ in pages:
        page.ends(EndReason.CLOSED)


@pytest.mark.parametrize("shown", [Echo], indirect=True)
def test_the_death_of_a_consoles_process_is_written_down(proxy_to: Process, shown: Server, people: Cast) -> None:
    keeper = processes_of(proxy_to.pid)
    page, client = viewer(people)
    (child,) = set(processes_of(proxy_to.pid)) - set(keeper)
    os.kill(child, 9)
    assert client.closed(5).code == 0
    page.ends(EndReason.PROXY)
    until(lambda: processes_of(proxy_to.pid) == keeper, 5, what="it is reaped")


# --- time

FASTER = 30
TIMES = 4


@pytest.mark.parametrize("shown", [Echo], indirect=True)
def test_an_idle_console_outlives_the_patience_of_a_proxy(
    shown: Server, no_proxy: None, people: Cast, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Its patience and our pings are both so much shorter: it is the pings that keep it."""
    ends, pings = threading.Event(), round(TIMES * USUAL_PATIENCE_SECONDS / pumping.PING_SECONDS)
    outer, front = free_port(), free_port()
    for process in (
        start_proxy(*shown.address, FASTER),
        start_front(front),
        start_outer(tmp_path, outer, front, USUAL_PATIENCE_SECONDS / FASTER),
    ):
        request.addfinalizer(process.stop)
    client = through(outer, people)

    def listen() -> None:
        with suppress(Closed, OSError):
            assert client.recv() == b"still here"
        ends.set()

    client.sock.settimeout(60)
    threading.Thread(target=listen, daemon=True).start()
    until(lambda: client.pings >= pings or ends.is_set(), 60, what="it was pinged often enough")
    assert not ends.is_set(), f"ended after {client.pings} pings"
    client.send(b"still here")
    assert ends.wait(10)
    client.close()


# --- time, with the pump alone


class Alone:
    """A pump in a thread, with the other ends of its three lines in the test's hands."""

    def __init__(self) -> None:
        browser, self.browser = socket.socketpair()
        guest, self.guest = socket.socketpair()
        keeper, self.keeper = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.endings: list[Ending] = []
        self.pump = Pump(browser, guest, keeper, ClientFilter(view_only=False))
        self.thread = threading.Thread(target=lambda: self.endings.append(self.pump.run()), daemon=True)
        self.thread.start()

    def ending(self, seconds: float = 5) -> Ending:
        self.thread.join(seconds)
        assert self.endings, "the pump goes on"
        return self.endings[0]


def test_it_pings_and_a_silent_browser_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pumping, "PING_SECONDS", 0.2)
    monkeypatch.setattr(pumping, "SILENCE_SECONDS", 0.7)
    alone = Alone()
    alone.browser.settimeout(2)
    for _ in range(6):
        assert alone.browser.recv(2) == b"\x89\x00"
        alone.browser.sendall(frame(b"", 10))
    assert not alone.endings
    assert alone.ending().reason == EndReason.SILENT


def test_a_browser_that_takes_nothing_is_let_go_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pumping, "PING_SECONDS", 0.2)
    monkeypatch.setattr(pumping, "SILENCE_SECONDS", 0.7)
    alone = Alone()
    alone.guest.setblocking(False)
    try:
        while True:
            alone.guest.send(bytes(65536))
    except BlockingIOError:
        pass
    assert alone.ending().reason == EndReason.SILENT


def test_the_keepers_word_ends_it_before_another_byte_moves() -> None:
    alone = Alone()
    alone.keeper.send(b'{"code": 4403, "words": "logout", "reason": "logout"}')
    alone.browser.settimeout(2)
    assert alone.browser.recv(200) == b"\x88\x08" + (4403).to_bytes(2, "big") + b"logout"
    with suppress(OSError):
        alone.browser.sendall(frame(b"RFB 003.008\n\x01\x01" + key_event(97, down=True)))
    alone.browser.close()
    assert alone.ending().reason == EndReason.LOGOUT
    alone.guest.settimeout(1)
    assert alone.guest.recv(100) == b""


def test_without_a_keeper_no_console_goes_on() -> None:
    alone = Alone()
    alone.keeper.close()
    assert alone.ending().code == 1012


def test_a_half_sent_picture_is_finished_before_a_ping_or_the_goodbye() -> None:
    alone = Alone()
    alone.browser.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    picture = os.urandom(pumping.PIECE)
    sender = threading.Thread(target=alone.guest.sendall, args=(picture * 4,), daemon=True)
    sender.start()
    time.sleep(0.3)
    alone.browser.sendall(frame(b"are you there", 9))
    client = Client.__new__(Client)
    client.sock, client._buffer, client._message = alone.browser, bytearray(), bytearray()
    client.answers_pings, client.pings = False, 0
    client.sock.settimeout(5)
    assert client.read(len(picture) * 4) == picture * 4
    alone.guest.close()
    assert client.closed(5).code == 4410

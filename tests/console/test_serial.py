"""The serial line of a real guest, over libvirt's own stream."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.console.conftest import Parts, running
from tests.console.proxy import Page, Process, open_page
from tests.console.wsclient import Client, Closed
from tests.guests import Guest
from tests.lab.lab import tiny_guest
from tests.people import Cast
from tests.until import until
from webvirt.hypervisor.connection import connect
from webvirt.hypervisor.types import HostAddress, Transport
from webvirt.models import ConsoleDevice, ConsoleMode, EndReason, User
from webvirt.services import control
from webvirt.services.consoles import Close


@pytest.fixture(scope="module")
def linux() -> Iterator[Guest]:
    """A running Linux with a shell on its serial line, which nobody reads."""
    guest = Guest("wvc-serial", guest=tiny_guest(), memory=96)
    try:
        yield running(guest)
    finally:
        guest.remove()


@pytest.fixture
def watched(parts: Parts, proxy: Process, people: Cast, linux: Guest) -> Cast:
    """The cast around this guest, with a proxy that has read nothing yet: to the last one it was another host's."""
    parts.without_proxy()
    parts.with_proxy()
    people.domain.uuid = linux.uuid
    people.domain.save()
    return people


def line(people: Cast, user: User, mode: ConsoleMode = ConsoleMode.CONTROL) -> Page:
    return open_page(user, people.domain, mode, device=ConsoleDevice.SERIAL)


def hear(client: Client, words: bytes) -> bytes:
    """What the line says until these words are there."""
    heard = bytearray()
    while words not in heard[-4096:]:
        heard += client.recv()
    return bytes(heard)


def prompt(client: Client) -> None:
    """Type until the shell answers: the guest may still be booting."""
    client.sock.settimeout(2)
    for _ in range(30):
        client.send(b"\necho re''ady\n")
        with suppress(TimeoutError):
            hear(client, b"ready")
            break
    client.sock.settimeout(30)


def test_one_types_all_read_and_who_watches_reaches_nothing(watched: Cast) -> None:
    people = watched
    writer = line(people, people.owner).connect()
    prompt(writer)
    watching = line(people, people.viewer, ConsoleMode.VIEW)
    watcher = watching.connect()
    hear(watcher, b"ready")
    watcher.send(b"echo wr''ong\n")
    writer.send(b"echo rig''ht $((6 * 7))\n")
    assert b"wrong" not in hear(writer, b"right 42")
    assert b"wrong" not in hear(watcher, b"right 42")
    for client in (watcher, writer):
        client.close()
    watching.ends(EndReason.CLOSED)


def test_who_was_handed_the_line_types_and_nobody_else(watched: Cast) -> None:
    first, second = (line(watched, user) for user in (watched.operator, watched.owner))
    holder, asker = first.connect(), second.connect()
    prompt(holder)
    hear(asker, b"ready")
    asker.send(b"echo wr''ong\n")
    holder.send(b"echo fir''st\n")
    assert b"wrong" not in hear(asker, b"first")
    control.hand_over(first.session.pk, second.session.pk)
    until(lambda: second.row.told_mode == ConsoleMode.CONTROL, 2, what="the proxy was told")
    holder.send(b"echo wr''ong\n")
    asker.send(b"echo rig''ht\n")
    assert b"wrong" not in hear(holder, b"right")
    for client in (holder, asker):
        client.close()


def test_a_flood_keeps_up_and_its_end_is_there(watched: Cast) -> None:
    """QEMU's port does not wait: where it has to, it loses some, so how much comes is not ours to say."""
    client = line(watched, watched.owner).connect()
    prompt(client)
    client.send(b"seq 20000; echo do''ne\n")
    assert hear(client, b"done").count(b"\r\n") > 1000
    client.close()


def test_a_line_that_somebody_else_has_says_so(watched: Cast, linux: Guest) -> None:
    with connect(HostAddress(Transport.LOCAL)) as elsewhere:
        held = elsewhere.domains.serial(linux.uuid)
        client = line(watched, watched.owner).connect()
        with pytest.raises(Closed) as refused:
            client.recv()
        assert (refused.value.code, "virsh console" in refused.value.reason) == (Close.TAKEN, True)
        held.close()
    client = line(watched, watched.owner).connect()
    prompt(client)
    client.close()


def test_it_ends_with_the_machine_and_leaves_no_process(watched: Cast, linux: Guest) -> None:
    page = line(watched, watched.owner)
    client = page.connect()
    prompt(client)
    assert taps(linux)
    linux.virsh("destroy")
    with pytest.raises(Closed) as ended:
        hear(client, b"nothing that it says")
    assert ended.value.code == Close.GUEST
    page.ends(EndReason.GUEST)
    until(lambda: not taps(linux), what="nobody reads the line any more")


def taps(guest: Guest) -> list[str]:
    """The processes that listen for who watches this guest's line."""
    sockets = Path("/proc/net/unix").read_text().splitlines()
    return [entry for entry in sockets if guest.uuid in entry and entry.split()[3] == "00010000"]

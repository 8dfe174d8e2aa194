"""What reads a guest's line for all who watch: nobody waits for anybody, and what was said is kept."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.console.lines import Line, Tapped
from webvirt.consoleproxy import tap
from webvirt.consoleproxy.tap import KEPT, Scrollback
from webvirt.hypervisor.errors import HostUnreachable

BLOCK = bytes(range(256)) * 256


@pytest.fixture
def tapped(tmp_path: Path) -> Iterator[Tapped]:
    found = Tapped(tmp_path / "tap.sock")
    yield found
    found.end()


def fill(end: socket.socket) -> int:
    """Send until nothing more is taken; returns how much that was."""
    sent = 0
    with suppress(BlockingIOError):
        while sent < 2**24:
            sent += end.send(b"x" * 4096)
    assert sent < 2**24
    return sent


def read(end: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        piece = end.recv(65536)
        assert piece, bytes(data[-100:])
        data += piece
    return bytes(data)


def test_all_hear_the_guest_and_each_is_heard(tapped: Tapped) -> None:
    viewers = [tapped.viewer() for _ in range(3)]
    tapped.line.here.sendall(b"login: ")
    assert [read(viewer, 7) for viewer in viewers] == [b"login: "] * 3
    for viewer, typed in zip(viewers, (b"a", b"b", b"c"), strict=True):
        viewer.sendall(typed)
        assert tapped.line.heard() == typed


def test_who_comes_late_sees_what_was(tapped: Tapped) -> None:
    first = tapped.viewer()
    tapped.line.here.sendall(b"booting...\r\nlogin: ")
    read(first, 19)
    assert read(tapped.viewer(), 19) == b"booting...\r\nlogin: "


def test_who_does_not_read_holds_up_nobody_and_is_told_what_they_missed(tapped: Tapped) -> None:
    lazy, keen = tapped.viewer(), tapped.viewer()
    tapped.line.here.sendall(b"!")
    assert (read(lazy, 1), read(keen, 1)) == (b"!", b"!")
    count = 160
    sender = threading.Thread(target=tapped.line.here.sendall, args=(BLOCK * count,))
    sender.start()
    assert read(keen, count * len(BLOCK)) == BLOCK * count
    sender.join()
    tapped.line.here.sendall(b"THE END")
    seen = bytearray()
    while not seen.endswith(b"THE END"):
        seen += lazy.recv(65536)
    assert b" B \xe2\x80\xa6]" in seen
    assert len(seen) < count * len(BLOCK)
    # What they see is whole from there on.
    assert (BLOCK * count + b"THE END").endswith(bytes(seen).rpartition(b"]\r\n")[2])


def test_a_guest_that_does_not_read_holds_up_nobodys_picture(tapped: Tapped) -> None:
    viewer, other = tapped.viewer(), tapped.viewer()
    tapped.line.takes.clear()
    other.setblocking(False)
    sent = fill(other)
    tapped.line.here.sendall(b"still here")
    assert read(viewer, 10) == b"still here"
    tapped.line.takes.set()
    heard = 0
    while heard < sent:
        heard += len(tapped.line.heard())
    assert heard == sent


def test_what_was_said_is_there_after_it_ended(tmp_path: Path) -> None:
    first = Tapped(tmp_path / "tap.sock")
    viewer = first.viewer()
    first.line.here.sendall(b"panic: no root\r\n")
    read(viewer, 16)
    first.end()
    assert first.file.stat().st_mode & 0o077 == 0
    second = Tapped(tmp_path / "tap.sock")
    seen = second.viewer().recv(65536)
    second.end()
    assert seen.startswith(b"panic: no root\r\n\r\n")
    assert b"UTC]" in seen


def test_it_ends_with_the_guest_the_proxy_or_when_nobody_watches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for broken in ("line", "proxy"):
        found = Tapped(tmp_path / "tap.sock")
        viewer = found.viewer()
        (found.line.here if broken == "line" else found.proxy).close()
        found.has_ended()
        with suppress(ConnectionResetError):
            assert viewer.recv(1) == b""
    monkeypatch.setattr(tap, "LINGER_SECONDS", 0.5)
    found = Tapped(tmp_path / "tap.sock")
    viewer = found.viewer()
    found.line.here.sendall(b"x")
    read(viewer, 1)
    viewer.close()
    found.has_ended()


def test_a_host_that_is_lost_ends_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(_line: Line) -> bytes:
        raise HostUnreachable("gone")

    monkeypatch.setattr(Line, "receive", lost)
    Tapped(tmp_path / "tap.sock").has_ended()


def test_the_scrollback_keeps_the_last_of_it() -> None:
    kept = Scrollback()
    for _ in range(3 * KEPT // len(BLOCK)):
        kept.add(BLOCK)
    assert KEPT <= len(kept.data) <= 2 * KEPT
    assert kept.end == 3 * KEPT
    assert kept.since(kept.end - 5) == BLOCK[-5:]
    assert kept.since(kept.end) == b""
    assert kept.last() == (BLOCK * (KEPT // len(BLOCK)))[-KEPT:]

"""Sending the audit log to a syslog: every line in order, none lost while it is away, and a real socket at its end."""

from __future__ import annotations

import json
import os
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.utils import timezone

from webvirt.management.commands.watch import SENDER_SECONDS, Watch
from webvirt.models import AuditForward, AuditLine, AuditResult
from webvirt.services import audit, syslog
from webvirt.settings import syslog as setting

NOW = timezone.now()
LATER = NOW + syslog.HELD + timedelta(seconds=1)
FORM = re.compile(r"<(\d+)>1 (\S+Z) (\S+) webvirt - (\S+) - (\{.*\})")


def note_some(count: int) -> None:
    for number in range(count):
        audit.note("person.sign_in", audit.Thing("user", number, f"person {number}\nforged"))


def sent_to(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "WEBVIRT_AUDIT_SYSLOG", address)


def numbers_in(texts: list[bytes]) -> list[int]:
    found = [FORM.fullmatch(text.decode("ascii")) for text in texts]
    return [json.loads(one[5])["number"] for one in found if one]


def frames(data: bytes) -> list[bytes]:
    """The messages of a stream, each of which begins with its length."""
    found = []
    while data:
        length, _space, rest = data.partition(b" ")
        found.append(rest[: int(length)])
        data = rest[int(length) :]
    return found


@contextmanager
def stream(answer: Callable[[socket.socket], None]) -> Iterator[int]:
    """A syslog over TCP on a port of its own, that does with one connection after the other as it is told."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _address = server.accept()
                except OSError:
                    return
                with connection:
                    answer(connection)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
    thread.join()


def test_a_line_as_rfc_5424_has_it(db: None) -> None:
    audit.note("person.sign_in", audit.Thing("user", 1, "eve\n<13>1 forged"), result=AuditResult.DENIED)
    line = AuditLine.objects.get()
    found = FORM.fullmatch(syslog.message(line).decode("ascii"))
    assert found is not None
    assert (found[1], found[4]) == (str(13 * 8 + 4), "person.sign_in")
    assert found[2] == f"{line.at:%Y-%m-%dT%H:%M:%S.%f}Z"
    assert found[5] == audit.exported(line)


def test_over_tcp_each_line_comes_once(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    got = bytearray()

    def take(connection: socket.socket) -> None:
        while piece := connection.recv(4096):
            got.extend(piece)

    monkeypatch.setattr("webvirt.services.auditlog.CHUNK", 3)
    note_some(7)
    with stream(take) as port:
        sent_to(f"tcp://127.0.0.1:{port}", monkeypatch)
        assert syslog.is_due(NOW)
        syslog.forward_all()
        note_some(1)
        syslog.forward_all()
        assert not syslog.is_due(NOW)
    assert numbers_in(frames(bytes(got))) == [1, 2, 3, 4, 5, 6, 7, 8]


def test_what_the_other_side_did_not_take_is_sent_again(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends in the middle, without having read."""
    taken: list[bytes] = []

    def take(connection: socket.socket) -> None:
        if not taken:
            taken.append(connection.recv(10))
            # What was not read makes its end a refusal.
            return
        data = b""
        while piece := connection.recv(4096):
            data += piece
        taken.append(data)

    note_some(50)
    with stream(take) as port:
        sent_to(f"tcp://127.0.0.1:{port}", monkeypatch)
        assert syslog.forward(NOW) == 0
        assert AuditForward.objects.get().sent == 0
        assert not syslog.is_due(NOW)
        assert syslog.is_due(LATER)
        assert syslog.forward(LATER) == 50
    assert numbers_in(frames(taken[1])) == list(range(1, 51))


@pytest.mark.parametrize("scheme", ["tcp", "udp", "unix"])
def test_nothing_is_lost_while_it_is_away(
    db: None, scheme: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    kind = socket.SOCK_STREAM if scheme == "tcp" else socket.SOCK_DGRAM
    with socket.socket(socket.AF_INET, kind) as gone:
        gone.bind(("127.0.0.1", 0))
        port = gone.getsockname()[1]
    sent_to(f"unix://{tmp_path}/log" if scheme == "unix" else f"{scheme}://127.0.0.1:{port}", monkeypatch)
    note_some(3)
    assert syslog.forward(NOW) == 0
    assert AuditForward.objects.get().sent == 0


@pytest.mark.parametrize("scheme", ["udp", "unix"])
def test_over_datagrams(db: None, scheme: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX if scheme == "unix" else socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(str(tmp_path / "log") if scheme == "unix" else ("127.0.0.1", 0))
        where = f"unix://{tmp_path}/log" if scheme == "unix" else f"udp://127.0.0.1:{server.getsockname()[1]}"
        sent_to(where, monkeypatch)
        note_some(5)
        syslog.forward_all()
        server.settimeout(10)
        assert numbers_in([server.recv(65536) for _ in range(5)]) == [1, 2, 3, 4, 5]


def test_one_at_a_time_sends(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    sent_to("udp://127.0.0.1:9", monkeypatch)
    note_some(1)
    turn, _made = AuditForward.objects.get_or_create(pk=1)
    stale = AuditForward(pk=1, sent=99)
    assert syslog.hold(turn, NOW)
    assert not syslog.hold(turn, NOW)
    assert not syslog.is_due(NOW)
    assert not syslog.hold(stale, LATER)
    assert syslog.hold(turn, LATER)


def test_the_watcher_has_a_process_of_its_own_send(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """One at a time; one that hangs is ended, and holds up nobody."""
    watcher = Watch()
    note_some(3)
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(20)
        sent_to(f"tcp://127.0.0.1:{server.getsockname()[1]}", monkeypatch)
        watcher.tend_sender(0.0)
        connection, _address = server.accept()
        first = watcher.sender
        watcher.tend_sender(1.0)
        assert watcher.sender == first
        assert first is not None
        watcher.tend_sender(SENDER_SECONDS + 1)
        connection.close()
        AuditForward.objects.update(held_until=None)
        watcher.tend_sender(SENDER_SECONDS + 2)
        with server.accept()[0] as connection:
            got = b""
            while piece := connection.recv(4096):
                got += piece
        second = watcher.sender
        assert second is not None
        assert second != first
        os.waitpid(second[0], 0)
    assert numbers_in(frames(got)) == [1, 2, 3]
    assert AuditForward.objects.get().sent == 3


@pytest.mark.parametrize(
    "value", ["logs", "udp://logs", "tcp://:601", "tcp://logs:x", "tcp://logs:601/path", "unix:", "http://logs:1"]
)
def test_a_bad_setting_stops_the_start(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEBVIRT_AUDIT_SYSLOG", value)
    with pytest.raises(ImproperlyConfigured, match="WEBVIRT_AUDIT_SYSLOG must look like"):
        setting("WEBVIRT_AUDIT_SYSLOG")


@pytest.mark.parametrize("value", ["", "udp://logs:514", "tcp://[::1]:601", "unix:///dev/log"])
def test_a_good_setting_is_taken(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEBVIRT_AUDIT_SYSLOG", value)
    assert setting("WEBVIRT_AUDIT_SYSLOG") == value


def test_without_the_setting_nothing_is_due(db: None) -> None:
    note_some(1)
    assert not syslog.is_due(NOW)

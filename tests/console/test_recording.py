"""Consoles that are recorded, through the whole proxy: what is kept and what is not, and that they go on."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.utils import timezone

from tests.console.displays import SERVER_INIT, Display, Echo, Flood, Server, display, echoed
from tests.console.proxy import Page, Process, memory, open_page, processes_of, start_proxy
from tests.console.test_carrying import still
from tests.console.wsclient import VERSION, Client
from tests.people import Cast
from tests.until import until
from webvirt.models import AuditLine, ConsoleMode, Domain, EndReason, Recording, RecordingEnd
from webvirt.services import consoles, consoleviews, recordings
from webvirt.services.recordingfile import FRAME, MAGIC, extent_of, frames, path_of

MIB = 2**20
GREETING = VERSION + b"\x01\x01" + bytes(4) + SERVER_INIT


@pytest.fixture
def shown(request: pytest.FixtureRequest) -> Iterator[Server]:
    kind: type[Display] = getattr(request, "param", Echo)
    with display(kind) as server:
        yield server


@pytest.fixture
def proxy_to(shown: Server, no_proxy: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Process]:
    monkeypatch.setenv("WEBVIRT_RECORDING_MIB", "2")
    monkeypatch.setenv("WEBVIRT_RECORDINGS_FREE_MIB", "0")
    process = start_proxy(*shown.address)
    yield process
    assert process.stop() == 0


@pytest.fixture(autouse=True)
def no_files() -> Iterator[None]:
    """The database is emptied between tests and begins to count anew."""
    yield
    for path in path_of(0).parent.glob("*.rec"):
        path.unlink()


def opened(people: Cast, who: str = "owner", *, record: bool = True) -> tuple[Page, Client]:
    page = open_page(people.who(who), people.domain, record=record)
    client = page.connect()
    client.handshake()
    return page, client


def recording_of(page: Page) -> Recording:
    return Recording.objects.get(session=page.session)


def said_in(recording: Recording) -> bytes:
    """All that the guest said, as the file has it."""
    data = path_of(recording.pk).read_bytes()
    at, said = len(MAGIC), b""
    with path_of(recording.pk).open("rb") as file:
        for _milliseconds, length in frames(file):
            said += data[at + FRAME.size : at + FRAME.size + length]
            at += FRAME.size + length
    return said


def ended(page: Page) -> Recording:
    until(lambda: recording_of(page).ended_at, 5, what="the end of the recording")
    return recording_of(page)


class Listener(Display):
    """Says one word for every message, whatever that is."""

    def serve(self) -> None:
        while data := self.request.recv(65536):
            self.server.heard += data
            self.request.sendall(b"heard")


@pytest.mark.parametrize("shown", [Listener], indirect=True)
def test_what_the_guest_says_is_kept_and_never_what_is_typed(proxy_to: Process, shown: Server, people: Cast) -> None:
    page, client = opened(people)
    client.send(b"s3cret")
    assert client.read(5) == b"heard"
    assert consoleviews.look(page.session).recorded.by == ("owner",)
    client.close()
    page.ends(EndReason.CLOSED)
    recording = ended(page)
    assert b"s3cret" in shown.heard
    assert said_in(recording) == GREETING + b"heard"
    assert (recording.person, recording.name, recording.device) == ("owner", people.domain.name, "screen")
    assert recording.end_reason == RecordingEnd.CLOSED
    extent = extent_of(path_of(recording.pk))
    assert (recording.size, recording.milliseconds) == (extent.size, extent.milliseconds)
    assert recording.ended_at
    assert recording.kept_until == recording.ended_at + timedelta(days=30)
    assert str(recording.pk) in AuditLine.objects.filter(result="begun").latest("number").details


def test_whoever_looks_is_told_and_nothing_of_theirs_is_kept(proxy_to: Process, people: Cast) -> None:
    recorded = opened(people)
    other = opened(people, "operator", record=False)
    assert consoleviews.look(other[0].session).recorded.by == ("owner",)
    assert Recording.objects.count() == 1
    recorded[1].close()
    recorded[0].ends(EndReason.CLOSED)
    assert consoleviews.look(other[0].session).recorded.by == ()
    other[1].close()


def test_where_it_is_too_large_the_console_goes_on(proxy_to: Process, people: Cast) -> None:
    page, client = opened(people)
    # What no client of a display says passes as it is.
    said = b"c" * MIB
    for _ in range(4):
        assert echoed(client, said) == said
    recording = ended(page)
    assert recording.end_reason == RecordingEnd.SIZE
    assert MIB < recording.size == path_of(recording.pk).stat().st_size <= 2 * MIB
    assert consoleviews.look(page.session).recorded == recordings.Recorded((), "size")
    assert echoed(client, b"still here") == b"still here"
    client.close()
    assert page.ends(EndReason.CLOSED).bytes_to_guest > 4 * MIB
    assert recording_of(page).end_reason == RecordingEnd.SIZE


def test_where_no_file_can_be_made_the_console_goes_on(proxy_to: Process, people: Cast) -> None:
    folder = path_of(0).parent
    folder.parent.mkdir(exist_ok=True)
    if folder.exists():
        folder.rmdir()
    folder.write_text("no folder")
    try:
        page, client = opened(people)
        assert ended(page).end_reason == RecordingEnd.FAILED
        assert echoed(client, b"still here") == b"still here"
        client.close()
        page.ends(EndReason.CLOSED)
    finally:
        folder.unlink()


def test_what_a_killed_process_has_written_is_good(proxy_to: Process, people: Cast) -> None:
    keeper = processes_of(proxy_to.pid)
    page, client = opened(people)
    (child,) = set(processes_of(proxy_to.pid)) - set(keeper)
    word = b"c" + os.urandom(100_000)
    assert echoed(client, word) == word
    os.kill(child, signal.SIGKILL)
    session = page.ends(EndReason.PROXY)
    recordings.sweep(timezone.now())
    assert recording_of(page).ended_at is None, "somebody may still say how it did"
    recordings.sweep(timezone.now() + timedelta(seconds=11))
    recording = recording_of(page)
    assert (recording.end_reason, recording.ended_at) == (RecordingEnd.CUT, session.ended_at)
    assert said_in(recording) == GREETING + word
    assert recording.size == len(path_of(recording.pk).read_bytes())


@pytest.mark.parametrize("shown", [Flood], indirect=True)
def test_a_viewer_that_stops_reading_costs_no_more_memory_recorded(
    proxy_to: Process, shown: Server, people: Cast
) -> None:
    keeper = processes_of(proxy_to.pid)
    _, stalled = opened(people)
    (child,) = set(processes_of(proxy_to.pid)) - set(keeper)
    before = memory(child, "Private_Dirty")
    assert until(lambda: still(shown), 20, what="the flood is held up") < 12 * MIB
    assert memory(child, "Private_Dirty") - before < 4096
    stalled.close()


def test_a_machine_whose_consoles_are_recorded(proxy_to: Process, people: Cast) -> None:
    """Those that are open without it are closed, for their pages to open them again; nobody needs to ask."""
    page, client = opened(people, "operator", record=False)
    Domain.objects.filter(pk=people.domain.pk).update(is_recorded=True)
    assert client.closed(5).reason == "record"
    page.ends(EndReason.RECORD)
    again, client = opened(people, "operator", record=False)
    assert consoleviews.look(again.session).recorded.by == ("operator",)
    Domain.objects.filter(pk=people.domain.pk).update(is_recorded=False)
    assert echoed(client, b"goes on") == b"goes on"
    client.close()
    again.ends(EndReason.CLOSED)


@pytest.mark.parametrize("who", ["viewer", "operator"])
def test_who_may_not_have_it_recorded(people: Cast, who: str) -> None:
    with pytest.raises(consoles.Refusal) as caught:
        open_page(people.who(who), people.domain, ConsoleMode.VIEW, record=True)
    assert caught.value.code == consoles.Close.WITHDRAWN
    assert AuditLine.objects.latest("number").event == "domain.record"
    assert not Recording.objects.exists()

"""Carries one console's bytes, with back-pressure: reads from either side only while the other keeps up.

What is held in our own memory is one piece from the guest and one frame from the browser, whatever either of them does.
"""

from __future__ import annotations

import json
import mmap
import select
import socket
import time
from contextlib import suppress
from dataclasses import dataclass

from webvirt.consoleproxy.frames import Frame, FrameReader, Malformed, Opcode, close_frame, header
from webvirt.consoleproxy.rfb import ClientFilter, NotRfb
from webvirt.consoleproxy.serial import LineFilter
from webvirt.models import ConsoleMode, EndReason, RecordingEnd
from webvirt.services.consoles import Close
from webvirt.services.recordingfile import CannotRecord, Recorder

PIECE = 256 * 1024
FROM_BROWSER = 64 * 1024
PING_SECONDS = 20.0
SILENCE_SECONDS = 50.0
GOODBYE_SECONDS = 0.5
RESTARTED = 1012
BROKEN = select.POLLERR | select.POLLHUP | select.POLLNVAL


@dataclass(frozen=True)
class Ending:
    """Why a console ends: what the browser is told, and what is written down."""

    code: int
    words: str
    reason: EndReason


class Ended(Exception):
    """Raised inside the pump to end it."""

    def __init__(self, ending: Ending) -> None:
        super().__init__(ending.words)
        self.ending = ending


class Pump:
    """One console: the browser's socket, the display's socket, and the line to the keeper of leases; `recorder` keeps
    what the guest says, as long as it can."""

    def __init__(
        self,
        browser: socket.socket,
        guest: socket.socket,
        keeper: socket.socket,
        client_filter: ClientFilter | LineFilter,
        recorder: Recorder | None = None,
    ) -> None:
        self.browser = browser
        self.guest = guest
        self.keeper = keeper
        self.to_browser = 0
        self.to_guest = 0
        self._filter = client_filter
        self._recorder = recorder
        self._reader = FrameReader()
        # Anonymous pages cost nothing until bytes arrive, so an idle console stays small.
        self._piece = memoryview(mmap.mmap(-1, PIECE))
        self._for_browser: list[bytes | memoryview] = []
        self._control: dict[Opcode, bytes] = {}
        """Control frames that wait for the frame before them: the latest of each kind, as the RFC allows."""
        self._for_guest = memoryview(b"")
        self._heard_at = self._pinged_at = time.monotonic()
        self._due = self._pinged_at
        self._asked: tuple[bool, bool] | None = None
        self._handlers = {
            keeper.fileno(): self._on_keeper,
            browser.fileno(): self._on_browser,
            guest.fileno(): self._on_guest,
        }
        self._poll = select.poll()
        # The kernel answers in this order: the keeper's word comes before any byte.
        self._poll.register(keeper, select.POLLIN)

    def run(self) -> Ending:
        """Carry bytes until something ends it, then say goodbye to the browser."""
        for end in (self.browser, self.guest, self.keeper):
            end.setblocking(False)
        try:
            while True:
                self._wait()
        except Ended as ended:
            ending = ended.ending
        except Malformed as error:
            ending = Ending(error.code, str(error), EndReason.MALFORMED)
        except NotRfb as error:
            ending = Ending(Close.MALFORMED, str(error), EndReason.MALFORMED)
        # First the guest: not one byte more may reach it, however long the goodbye takes.
        self.guest.close()
        self._stop_recording(RecordingEnd.CLOSED)
        self._say_goodbye(ending)
        return ending

    def _wait(self) -> None:
        """Wait for what can be done now, and do it."""
        self._ask()
        for number, events in self._poll.poll(max(0.0, self._due - time.monotonic()) * 1000 + 1):
            self._handlers[number](events)
        if time.monotonic() >= self._due:
            self._keep_time()

    def _ask(self) -> None:
        """Tell the kernel what to wait for, when that has changed."""
        asked = (self._is_behind, bool(self._for_guest))
        if asked == self._asked:
            return
        self._asked = asked
        behind, guest_behind = asked
        self._poll.register(self.browser, (0 if guest_behind else select.POLLIN) | (select.POLLOUT if behind else 0))
        from_guest = (0 if behind else select.POLLIN) | (select.POLLOUT if guest_behind else 0)
        if from_guest:
            self._poll.register(self.guest, from_guest)
        else:
            # A display that went away would wake us for ever while the browser still takes its last picture.
            with suppress(KeyError):
                self._poll.unregister(self.guest)

    def _on_browser(self, events: int) -> None:
        if events & select.POLLOUT:
            self._flush_to_browser()
        if events & (select.POLLIN | BROKEN):
            self._read_browser()

    def _on_guest(self, events: int) -> None:
        if events & select.POLLOUT:
            self._flush_to_guest()
        if events & (select.POLLIN | BROKEN) and not self._is_behind:
            self._read_guest()

    @property
    def _is_behind(self) -> bool:
        """Whether the browser has yet to take what we hold for it."""
        return bool(self._for_browser or self._control)

    # --- guest to browser

    def _read_guest(self) -> None:
        try:
            size = self.guest.recv_into(self._piece)
        except BlockingIOError:
            return
        except OSError:
            size = 0
        if not size:
            raise Ended(Ending(Close.GUEST, "the display went away", EndReason.GUEST))
        self.to_browser += size
        if self._recorder is not None:
            self._record(self._piece[:size])
        self._for_browser = [header(Opcode.BINARY, size), self._piece[:size]]
        self._flush_to_browser()

    def _record(self, data: memoryview) -> None:
        assert self._recorder is not None
        try:
            self._recorder.add(data)
        except CannotRecord as stopped:
            self._stop_recording(stopped.reason)

    def _stop_recording(self, reason: RecordingEnd) -> None:
        """Tell how much there is of it; the console goes on without."""
        if self._recorder is not None:
            self._recorder.close()
            tell(self.keeper, recording=[reason.value, self._recorder.size, self._recorder.milliseconds])
            self._recorder = None

    def _flush_to_browser(self) -> None:
        """Send what waits, the half-sent frame before any control frame."""
        if not self._for_browser and self._control:
            self._for_browser = list(self._control.values())
            self._control = {}
        if not self._for_browser:
            return
        try:
            sent = self.browser.sendmsg(self._for_browser)
        except BlockingIOError:
            return
        except OSError:
            raise browser_left() from None
        self._for_browser = remaining(self._for_browser, sent)

    def _queue_control(self, opcode: Opcode, payload: bytes) -> None:
        self._control[opcode] = header(opcode, len(payload)) + payload
        self._flush_to_browser()

    # --- browser to guest

    def _read_browser(self) -> None:
        try:
            data = self.browser.recv(FROM_BROWSER)
        except BlockingIOError:
            return
        except OSError:
            raise browser_left() from None
        if not data:
            raise browser_left()
        self._heard_at = time.monotonic()
        frames = self._reader.feed(data)
        input_bytes = b"".join([payload for opcode, payload in frames if opcode <= Opcode.BINARY])
        if input_bytes and (passed := self._filter.feed(input_bytes)):
            self._pass(passed)
        for frame in frames:
            if frame.opcode > Opcode.BINARY:
                self._obey(frame)

    def _obey(self, frame: Frame) -> None:
        if frame.opcode == Opcode.CLOSE:
            raise browser_left()
        if frame.opcode == Opcode.PING:
            self._queue_control(Opcode.PONG, frame.payload)

    def _pass(self, passed: bytes) -> None:
        self.to_guest += len(passed)
        self._for_guest = memoryview(bytes(self._for_guest) + passed if self._for_guest else passed)
        self._flush_to_guest()

    def _flush_to_guest(self) -> None:
        try:
            sent = self.guest.send(self._for_guest)
        except BlockingIOError:
            return
        except OSError:
            raise Ended(Ending(Close.GUEST, "the display went away", EndReason.GUEST)) from None
        self._for_guest = self._for_guest[sent:]

    # --- the keeper, and time

    def _on_keeper(self, _events: int) -> None:
        """The keeper ends it, or tells who is here to type or to watch; when the keeper itself is gone, nobody watches
        the lease any more."""
        said = hear(self.keeper)
        if isinstance(said, Ending):
            raise Ended(said)
        if passed := self._filter.switch(view_only=said == ConsoleMode.VIEW):
            self._pass(passed)

    def _keep_time(self) -> None:
        now = time.monotonic()
        if now - self._heard_at >= SILENCE_SECONDS:
            raise Ended(Ending(1001, "the browser fell silent", EndReason.SILENT))
        if now - self._pinged_at >= PING_SECONDS:
            self._pinged_at = now
            self._queue_control(Opcode.PING, b"")
            tell(self.keeper, to_browser=self.to_browser, to_guest=self.to_guest)
        self._due = min(self._pinged_at + PING_SECONDS, self._heard_at + SILENCE_SECONDS)

    def _say_goodbye(self, ending: Ending) -> None:
        """A close frame after what is half sent, and a moment for the browser to take it; no waiting beyond that."""
        self._control[Opcode.CLOSE] = close_frame(ending.code, ending.words)
        try:
            goodbye(self.browser, [*self._for_browser, *self._control.values()])
        except OSError:
            return


def browser_left() -> Ended:
    return Ended(Ending(1000, "", EndReason.CLOSED))


def remaining(pieces: list[bytes | memoryview], sent: int) -> list[bytes | memoryview]:
    """What of these pieces is left after so many bytes."""
    for number, piece in enumerate(pieces):
        if sent < len(piece):
            return [memoryview(piece)[sent:], *pieces[number + 1 :]]
        sent -= len(piece)
    return []


def goodbye(browser: socket.socket, pieces: list[bytes | memoryview]) -> None:
    """Send the last pieces and wait until the browser hangs up, half a second at most. Raises OSError."""
    until = time.monotonic() + GOODBYE_SECONDS
    while (left := until - time.monotonic()) > 0:
        browser.settimeout(left)
        if pieces:
            pieces = remaining(pieces, browser.sendmsg(pieces))
        elif not browser.recv(FROM_BROWSER):
            return


def tell(keeper: socket.socket, **said: object) -> None:
    """Say something to the keeper of leases; a keeper that is gone needs to hear nothing."""
    try:
        keeper.send(json.dumps(said).encode())
    except OSError:
        return


def hear(keeper: socket.socket) -> Ending | ConsoleMode:
    """The end that the keeper has told us of, or the new mode."""
    try:
        said = keeper.recv(4096)
    except OSError:
        said = b""
    if not said:
        return Ending(RESTARTED, "the console proxy stops", EndReason.PROXY)
    heard = json.loads(said)
    if "mode" in heard:
        return ConsoleMode(heard["mode"])
    return Ending(heard["code"], heard["words"], EndReason(heard["reason"]))

"""Watches the leases of all open consoles, in one process: asks the database once a second, for all of them at once.

Each console has a line to the keeper. The keeper speaks on it when the console must end; when the line breaks, the
console's process is gone, whatever ended it, and its end is written down.
"""

from __future__ import annotations

import json
import logging
import os
import selectors
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from django import db
from django.db import connection
from django.utils import timezone

from webvirt.consoleproxy.pump import RESTARTED
from webvirt.models import ConsoleMode, EndReason, RecordingEnd
from webvirt.services import consoles, control, heartbeats, recordings
from webvirt.services.consoles import Admission, Close

log = logging.getLogger(__name__)

WATCH_SECONDS = 1.0
MODES_SECONDS = 0.25
"""So often it is asked who types."""
BEAT_SECONDS = 5.0
FAREWELL_SECONDS = 2.0
EXCUSE_SECONDS = 30.0
"""After the database was away: a lease that nobody could renew has not run out."""
KIND = "consoleproxy"


@dataclass
class Charge:
    """One open console in the keeper's care."""

    admission: Admission
    line: socket.socket
    to_browser: int = 0
    to_guest: int = 0
    ended: EndReason | None = None
    """Why, in the words of the console itself."""
    told: EndReason | None = None
    """Why, in ours."""
    mode: str = field(init=False)
    """What its process was told last."""

    def __post_init__(self) -> None:
        self.mode = self.admission.mode


def introduce(roster: socket.socket, admission: Admission) -> socket.socket:
    """In a console's process: put it into the keeper's care. Returns its line. Raises OSError without a keeper."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        socket.send_fds(roster, [json.dumps(vars(admission)).encode()], [theirs.fileno()])
    return ours


@dataclass
class Keeper:
    """`roster` brings new consoles; `parent` brings the listener's beats, and breaks when the listener is gone.

    Made by the listener before it forks, so that `started` and `name` are its own.
    """

    roster: socket.socket
    parent: socket.socket
    started: datetime = field(default_factory=timezone.now)
    name: str = field(default_factory=lambda: f"{socket.gethostname()}:{os.getpid()}")
    charges: dict[int, Charge] = field(default_factory=dict)
    """By the file descriptor of their line."""
    unwritten: list[Charge] = field(default_factory=list)
    recorded: list[tuple[int, RecordingEnd, int, int]] = field(default_factory=list)
    """Ends of recordings that are to be written down: which, why, how many bytes and milliseconds."""
    _selector: selectors.BaseSelector = field(default_factory=selectors.PollSelector)
    _orphans_ended: bool = False
    _listener_heard_at: float = field(default_factory=time.monotonic)
    _beaten_at: float = 0.0
    _excused_until: float = 0.0
    _stops: bool = False

    def run(self) -> None:
        """Keep watch until the listener is gone; then send every console off and write their ends."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        self._selector.register(self.roster, selectors.EVENT_READ)
        self._selector.register(self.parent, selectors.EVENT_READ)
        due = time.monotonic()
        while not self._stops:
            left = max(0.0, due - time.monotonic())
            self._listen(min(left, MODES_SECONDS) if self.charges else left)
            if time.monotonic() >= due:
                due = time.monotonic() + WATCH_SECONDS
                self._try_database(self._watch)
            elif self.charges:
                self._try_database(self._tell_modes)
        self._farewell()

    def _listen(self, seconds: float) -> None:
        for key, _ in self._selector.select(seconds):
            if key.fileobj is self.roster:
                self._take()
            elif key.fileobj is self.parent:
                self._hear_parent()
            else:
                self._hear(self.charges[key.fd])

    def _take(self) -> None:
        said, fds, _, _ = socket.recv_fds(self.roster, 65536, 1)
        line = socket.socket(fileno=fds[0])
        line.setblocking(False)
        self.charges[line.fileno()] = Charge(Admission(**json.loads(said)), line)
        self._selector.register(line, selectors.EVENT_READ)

    def _hear_parent(self) -> None:
        self._stops = not self.parent.recv(64)
        self._listener_heard_at = time.monotonic()

    def _hear(self, charge: Charge) -> None:
        """A console's counts, its end, or the break of its line."""
        try:
            said = charge.line.recv(4096)
        except OSError:
            said = b""
        if not said:
            del self.charges[charge.line.fileno()]
            self._selector.unregister(charge.line)
            charge.line.close()
            self.unwritten.append(charge)
            return
        heard = json.loads(said)
        charge.to_browser = heard.get("to_browser", charge.to_browser)
        charge.to_guest = heard.get("to_guest", charge.to_guest)
        if "recording" in heard and charge.admission.recording is not None:
            why, size, milliseconds = heard["recording"]
            self.recorded.append((charge.admission.recording, RecordingEnd(why), size, milliseconds))
        if "reason" in heard:
            charge.ended = EndReason(heard["reason"])

    def _try_database(self, *steps: Callable[[], object]) -> None:
        """Do what needs the database. When it cannot be asked, that is not a no: all go on, and we ask again."""
        try:
            for step in steps:
                step()
        except db.Error as error:
            log.warning("the database cannot be asked: %s", error)
            self._excused_until = time.monotonic() + EXCUSE_SECONDS
            connection.close()

    def _watch(self) -> None:
        if not self._orphans_ended:
            consoles.end_orphans(self.started)
            self._orphans_ended = True
        watched = self._watched()
        for pk, reason in consoles.withdrawn(charge.admission for charge in watched.values()).items():
            if reason != EndReason.LEASE or time.monotonic() > self._excused_until:
                self._send_off(watched[pk], Close.WITHDRAWN, reason)
        control.settle(timezone.now())
        self._tell_modes()
        self._write_ends()
        now = time.monotonic()
        if now - self._beaten_at >= BEAT_SECONDS:
            self._beaten_at = now
            consoles.end_unopened()
            # The beat speaks for the listener too, so it stops when the listener does.
            if now - self._listener_heard_at < BEAT_SECONDS:
                heartbeats.beat(KIND, self.name)

    def _watched(self) -> dict[int, Charge]:
        """The consoles that have not been sent off, by the id of their session."""
        return {charge.admission.session: charge for charge in self.charges.values() if not charge.told}

    def _tell_modes(self) -> None:
        """Tell each console whose mode has changed: whoever typed first, so that nobody begins before they end."""
        watched = self._watched()
        modes = control.modes_of(watched)
        changed = [charge for pk, charge in watched.items() if modes.get(pk, charge.mode) != charge.mode]
        for charge in sorted(changed, key=lambda charge: charge.mode != ConsoleMode.CONTROL):
            pk = charge.admission.session
            self._say(charge, mode=modes[pk])
            # What could not be written down is told, and written, again.
            control.was_told(pk, modes[pk])
            charge.mode = modes[pk]

    def _send_off(self, charge: Charge, code: int, reason: EndReason) -> None:
        words = consoles.words_of(charge.admission.session, reason)
        charge.told = reason
        self._say(charge, code=code, words=words, reason=reason.value)

    def _say(self, charge: Charge, **said: object) -> None:
        try:
            charge.line.send(json.dumps(said).encode())
        except OSError:
            log.debug("console %s is gone already", charge.admission.session)

    def _write_ends(self) -> None:
        while self.recorded:
            recordings.finish(*self.recorded[0])
            self.recorded.pop(0)
        while self.unwritten:
            charge = self.unwritten[0]
            pk = charge.admission.session
            consoles.count(pk, charge.to_browser, charge.to_guest)
            consoles.end(pk, charge.ended or charge.told or EndReason.PROXY)
            self.unwritten.pop(0)

    def _farewell(self) -> None:
        self._selector.unregister(self.roster)
        self._selector.unregister(self.parent)
        for charge in self.charges.values():
            if not charge.told:
                self._send_off(charge, RESTARTED, EndReason.PROXY)
        until = time.monotonic() + FAREWELL_SECONDS
        while self.charges and time.monotonic() < until:
            self._listen(0.1)
        self._try_database(self._write_ends, lambda: heartbeats.stop(KIND, self.name))

"""Listens for consoles, and for who fetches a file, on a unix socket behind nginx; each visitor has an own process.

The listener touches neither database nor Redis nor libvirt, so that what it forks starts clean.
"""

from __future__ import annotations

import fcntl
import gc
import logging
import os
import re
import signal
import socket
import time
from collections.abc import Collection
from contextlib import closing
from http import HTTPStatus
from pathlib import Path
from socketserver import ForkingMixIn, UnixStreamServer
from types import FrameType
from typing import Any

from django.conf import settings
from django.http import parse_cookie
from websockify.websocketserver import HttpWebSocket, WebSocketRequestHandler

from webvirt.consoleproxy.downloads import carry
from webvirt.consoleproxy.frames import close_frame
from webvirt.consoleproxy.keeper import Keeper, introduce
from webvirt.consoleproxy.pump import RESTARTED, Ending, Pump, goodbye, tell
from webvirt.consoleproxy.rfb import ClientFilter
from webvirt.consoleproxy.serial import LineFilter
from webvirt.consoleproxy.trial import answer
from webvirt.consoleproxy.usher import Admit, Dial, Knock, ushered
from webvirt.models import ConsoleDevice, ConsoleMode, EndReason
from webvirt.services import consoles
from webvirt.services.consoles import Admission, Refusal
from webvirt.services.recordingfile import CannotRecord, Recorder, path_of

log = logging.getLogger(__name__)

PROTOCOL = "binary"
TICKET_PROTOCOL = re.compile(r"ticket\.([A-Za-z0-9_-]{1,64})")
FILE = re.compile(r"/bytes/([1-9][0-9]{0,17})")
LOOK = re.compile(r"/hops/([A-Za-z0-9_-]{43})")
MOST_PROCESSES = 1000
STOP_SECONDS = 5.0
KEEPER = "keeper"
"""What the process that keeps the leases is called in the table of processes."""
REHEARSALS = 20
"""The interpreter rewrites code that runs often, each process its own copy, until it is done with that."""


class Running(Exception):
    """Another console proxy runs in this place already."""


class ConsoleSocket(HttpWebSocket):  # type: ignore[misc]
    """websockify's handshake; of what the browser offers, only the bytes are ever answered, never the ticket."""

    def select_subprotocol(self, protocols: list[str]) -> str:
        return next((offered for offered in protocols if offered.strip() == PROTOCOL), "")


class ConsoleHandler(WebSocketRequestHandler):  # type: ignore[misc]
    """One visitor, in a process of its own."""

    SocketClass = ConsoleSocket
    protocol_version = "HTTP/1.1"
    server_version = "webvirt"
    sys_version = ""
    timeout = 10
    server: ConsoleServer

    def handle_upgrade(self) -> None:
        """Refuse pages of other origins before any answer that a script could read; then shake hands."""
        origins = self.headers.get_all("Origin", [])
        if len(origins) != 1 or origins[0] not in self.server.origins:
            self.send_error(HTTPStatus.FORBIDDEN, "This origin may not open consoles: see WEBVIRT_PUBLIC_URL")
            return
        if PROTOCOL not in self._offered():
            self.send_error(HTTPStatus.BAD_REQUEST, "A console speaks the subprotocol binary")
            return
        super().handle_upgrade()

    def handle_websocket(self) -> None:
        browser: socket.socket = self.request.socket
        ending = self._serve(browser)
        log.debug("a console ended: %s", ending.reason)

    def do_GET(self) -> None:  # noqa: N802
        """Files that are fetched, and looks at the hops; consoles are upgraded before this is asked."""
        if look := LOOK.fullmatch(self.path):
            self.close_connection = True
            answer(self.connection, look[1], self.server.dial, self.server.roster)
        elif fetched := FILE.fullmatch(self.path):
            self.close_connection = True
            carry(self.connection, int(fetched[1]))
        else:
            self.send_error(HTTPStatus.NOT_FOUND)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Nothing: the front has the access log, and no ticket may come near any."""

    def _offered(self) -> list[str]:
        offered = ",".join(self.headers.get_all("Sec-WebSocket-Protocol", []))
        return [protocol.strip() for protocol in offered.split(",")]

    def _knock(self) -> Knock:
        """What the visitor brings; anything not as it should be is left empty, which admits to nothing."""
        tickets = [match[1] for offered in self._offered() if (match := TICKET_PROTOCOL.fullmatch(offered))]
        cookies = parse_cookie("; ".join(self.headers.get_all("Cookie", [])))
        return Knock(
            ticket=tickets[0] if len(tickets) == 1 else "",
            session_key=cookies.get(settings.SESSION_COOKIE_NAME, ""),
        )

    def _serve(self, browser: socket.socket) -> Ending:
        """Let the visitor in, carry the bytes, and see the keeper told of the end."""
        try:
            with ushered(self.server.admit, self.server.dial, self._knock(), self.server.roster) as usher:
                admission = usher.admission()
                try:
                    line = introduce(self.server.roster, admission)
                except OSError:
                    return refuse(browser, Ending(RESTARTED, "the console proxy stops", EndReason.PROXY))
                try:
                    display = usher.display()
                except Refusal as refusal:
                    tell(line, reason=EndReason.FAILED)
                    return refuse(browser, ending_of(refusal))
        except Refusal as refusal:
            return refuse(browser, ending_of(refusal))
        filters = LineFilter if admission.device == ConsoleDevice.SERIAL else ClientFilter
        recorder = recorder_of(admission, line)
        pump = Pump(browser, display[0], line, filters(view_only=admission.mode == ConsoleMode.VIEW), recorder)
        ending = pump.run()
        tell(line, to_browser=pump.to_browser, to_guest=pump.to_guest, reason=ending.reason)
        return ending


def recorder_of(admission: Admission, line: socket.socket) -> Recorder | None:
    """What keeps what the guest says, if it is to be kept; where it cannot be, the keeper is told why."""
    if admission.recording is None:
        return None
    try:
        return Recorder(path_of(admission.recording))
    except CannotRecord as stopped:
        tell(line, recording=[stopped.reason.value, 0, 0])
        return None


def ending_of(refusal: Refusal) -> Ending:
    return Ending(refusal.code, str(refusal), EndReason.FAILED)


def refuse(browser: socket.socket, ending: Ending) -> Ending:
    """Tell the browser why, in a close frame: the words of an HTTP refusal never reach the page's script."""
    try:
        goodbye(browser, [close_frame(ending.code, ending.words)])
    except OSError:
        log.debug("the browser left before it was refused")
    return ending


class ConsoleServer(ForkingMixIn, UnixStreamServer):
    """The listener. `admit` and `dial` run in the usher's process; `origins` are the exact ones let in."""

    request_queue_size = 128
    # We refuse above the limit instead of waiting for a child to end, as the base class would.
    max_children = MOST_PROCESSES + 1
    block_on_close = False

    def __init__(self, path: Path, origins: Collection[str], admit: Admit, dial: Dial) -> None:
        self.origins = frozenset(origins)
        self.admit = admit
        self.dial = dial
        self._lock = lock(path)
        path.unlink(missing_ok=True)
        before = os.umask(0o117)
        try:
            super().__init__(str(path), ConsoleHandler)
        finally:
            os.umask(before)
        self.roster, self._keepers_roster = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._beats, self._keepers_beats = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._keeper = 0

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT, or until the keeper of leases is lost."""
        consoles.prepare()
        for _ in range(REHEARSALS):
            rehearse(self.origins)
        # What is there by now is shared with every console's process, for as long as nobody writes to it.
        gc.collect()
        gc.freeze()
        try:
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, stop)
            self._keeper = self._start_keeper()
            self.serve_forever(poll_interval=0.5)
        except Stopped:
            log.info("console proxy stops")
        finally:
            self._stop()

    def _start_keeper(self) -> int:
        keeper = Keeper(self._keepers_roster, self._keepers_beats)
        pid = os.fork()
        if pid:
            self._keepers_roster.close()
            self._keepers_beats.close()
            return pid
        status = 1
        try:
            self._beats.close()
            self.roster.close()
            self.socket.close()
            Path("/proc/self/comm").write_text(KEEPER)
            keeper.run()
            status = 0
        except Exception:
            log.exception("the keeper of leases failed")
        finally:
            os._exit(status)

    def service_actions(self) -> None:
        """Twice a second: reap, say that we live, and stop when nobody keeps the leases."""
        super().service_actions()
        ended, status = os.waitpid(self._keeper, os.WNOHANG)
        if ended:
            self._keeper = 0
            log.error("the keeper of leases is lost (status %s)", status)
            raise Stopped
        try:
            self._beats.send(b"b", socket.MSG_DONTWAIT)
        except BlockingIOError:
            log.warning("the keeper of leases is busy")

    def verify_request(self, request: Any, client_address: Any) -> bool:
        return len(self.active_children or ()) < MOST_PROCESSES

    def finish_request(self, request: Any, client_address: Any) -> None:
        """In the visitor's process: let go of what is the listener's, then serve.

        A signal to the whole group must not cut consoles off without a word: their keeper tells them.
        """
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        self.socket.close()
        self._beats.close()
        os.close(self._lock)
        super().finish_request(request, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Called while the error is being handled."""
        log.exception("a console's process failed")  # noqa: LOG004

    def _stop(self) -> None:
        """Stop listening; the keeper sees us gone, sends the consoles off, writes their ends and follows."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        self.server_close()
        Path(str(self.server_address)).unlink(missing_ok=True)
        self._beats.close()
        left = {*(self.active_children or ()), *({self._keeper} if self._keeper else ())}
        until = time.monotonic() + STOP_SECONDS
        while left and time.monotonic() < until:
            left = {pid for pid in left if not os.waitpid(pid, os.WNOHANG)[0]}
            time.sleep(0.05)
        for pid in left:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


class Stage:
    """What a rehearsal has in the server's place: everybody is let in, to a guest that says nothing."""

    def __init__(self, origins: Collection[str]) -> None:
        self.origins = origins
        self.roster, self._keeper = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    def admit(self, knock: Knock) -> Admission:
        return Admission(0, ConsoleMode.VIEW, ConsoleDevice.SCREEN, knock.session_key, "", 0, "")

    def dial(self, _admission: Admission, _life: socket.socket) -> list[socket.socket]:
        return list(socket.socketpair())

    def close(self) -> None:
        self.roster.close()
        self._keeper.close()


def rehearse(origins: Collection[str]) -> None:
    """Do once what each console's process does, so that what the first time makes is made before the fork.

    Measured, it saves 0.7 MB of each idle console, and doing it often 0.2 MB more.
    """
    page, browser = socket.socketpair()
    with page, browser, closing(Stage(origins)) as stage:
        lines = [
            "GET / HTTP/1.1",
            f"Origin: {min(origins)}",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: rehearsal",
            "Sec-WebSocket-Protocol: binary, ticket.rehearsal",
            f"Cookie: {settings.SESSION_COOKIE_NAME}=rehearsal",
        ]
        page.sendall("\r\n".join([*lines, "", ""]).encode())
        page.shutdown(socket.SHUT_WR)
        ConsoleHandler(browser, "", stage)


class Stopped(BaseException):
    """Raised by a signal, past every handler of ordinary errors."""


def stop(_number: int, _frame: FrameType | None) -> None:
    raise Stopped


def lock(path: Path) -> int:
    """Hold this place for one proxy: a second one would take the first one's consoles for orphans."""
    handle = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise Running(f"a console proxy listens on {path} already") from None
    return handle

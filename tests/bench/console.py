"""Consoles against what was asked of them: `python -m tests.bench.console [PART ...] [--json]`.

Speed is measured side by side with stock websockify in one run. Ours is measured as people use it, through nginx with
an installation's configuration; websockify stands alone, without a front and without our checks. The guest is a
stand-in that echoes or floods, since no real one keeps up. Endurance is measured on a whole installation with real
guests. As root; exits with 1 when something falls short.
"""

from __future__ import annotations

import argparse
import json
import os
import selectors
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from socketserver import ForkingMixIn

import django

import tests.home

os.environ["DJANGO_SETTINGS_MODULE"] = "webvirt.settings"
# A flood that is recorded fills what one may be in a second.
os.environ["WEBVIRT_RECORDING_MIB"] = "8192"
django.setup()

from django.conf import settings  # noqa: E402
from django.core.management import call_command  # noqa: E402

from tests.bench.line import Line, median, percentile, say, table  # noqa: E402
from tests.console.crowd import SIZE, Held, crowd, together  # noqa: E402
from tests.console.displays import WISH, Display, Echo, Either, Flood, Server, display  # noqa: E402
from tests.console.lines import Line as GuestLine  # noqa: E402
from tests.console.lines import Tapped  # noqa: E402
from tests.console.proxy import (  # noqa: E402
    USUAL_PATIENCE_SECONDS,
    Page,
    Process,
    listens,
    memory,
    open_page,
    processes_of,
    start_front,
    start_outer,
    start_proxy,
    start_redis,
)
from tests.console.wsclient import Client, Closed, Visitor, frame  # noqa: E402
from tests.people import Cast, make_cast  # noqa: E402
from tests.stack import free_port, running_stack  # noqa: E402
from tests.until import until  # noqa: E402
from webvirt.consoleproxy.pump import PING_SECONDS  # noqa: E402
from webvirt.models import ConsoleDevice, Grant, Recording, Status  # noqa: E402
from webvirt.services import consoles  # noqa: E402
from webvirt.services.recordingfile import path_of  # noqa: E402

KEY = b"\x04\x01" + bytes(6)
"""A press, whole, as the proxy holds it back until it is."""
ECHOES = 2000
FLOOD_SECONDS = 2.0
RECORDED_SECONDS = 1.0
ROUNDS = 3
TOGETHER = 20
IDLE = 200
MIB = 2**20


# --- ways to a display


class Forking(ForkingMixIn, Server):
    """A display with a process for each console, so that none waits for another's interpreter."""

    max_children = 1000


@contextmanager
def display_process(kind: type[Display], server_kind: type[Server] = Forking) -> Iterator[tuple[str, int]]:
    """A display in a process of its own."""
    server = server_kind(kind)
    pid = os.fork()
    if not pid:
        server.serve_forever(0.5)
        os._exit(0)
    server.socket.close()
    try:
        yield server.address
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


@dataclass
class Ours:
    """The console proxy and the front before it."""

    cast: Cast
    proxy: Process
    front: Process
    port: int

    def page(self, *, record: bool = False) -> Page:
        return open_page(self.cast.owner, self.cast.domain, record=record)

    def connect(self, page: Page | None = None) -> Client:
        """A client that is past the handshake."""
        client = (page or self.page()).connect(("127.0.0.1", self.port))
        client.handshake()
        return client

    def child(self, page: Page | None = None) -> tuple[Client, int]:
        """A client, and the process that serves it."""
        before = set(processes_of(self.proxy.pid))
        client = self.connect(page)
        (child,) = set(processes_of(self.proxy.pid)) - before
        return client, child

    def family(self) -> list[int]:
        """All processes that carry consoles, the front's among them."""
        return [self.proxy.pid, *processes_of(self.proxy.pid), *self.fronts()]

    def fronts(self) -> list[int]:
        return [self.front.pid, *processes_of(self.front.pid)]


@contextmanager
def ours(cast: Cast, where: tuple[str, int], faster: float = 1) -> Iterator[Ours]:
    """The whole way to a display, where pings are so many times as fast."""
    port = free_port()
    with ExitStack() as stack:
        proxy = start_proxy(*where, faster)
        stack.callback(proxy.stop)
        front = start_front(port)
        stack.callback(front.stop)
        yield Ours(cast, proxy, front, port)


@contextmanager
def stock(where: tuple[str, int]) -> Iterator[Callable[[], Client]]:
    """websockify before a display; makes clients that are past the handshake."""
    port = free_port()
    words = [sys.executable, "-m", "websockify", f"127.0.0.1:{port}", f"{where[0]}:{where[1]}"]
    process = Process(subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))

    def connect() -> Client:
        client = Client(("127.0.0.1", port), Visitor(protocols="binary"))
        client.handshake()
        return client

    try:
        until(lambda: listens(port), what="websockify listens")
        yield connect
    finally:
        process.stop()


@contextmanager
def both(cast: Cast, kind: type[Display]) -> Iterator[list[Callable[[], Client]]]:
    """Both ways to a display of this kind: websockify's, then ours."""
    with display_process(kind) as where, stock(where) as theirs, ours(cast, where) as way:
        yield [theirs, way.connect]


# --- what is measured of a way


def echo(client: Client, count: int = ECHOES) -> list[float]:
    """Microseconds there and back for what a key press takes, each time."""
    client.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    key = frame(KEY)
    times = []
    for _ in range(count):
        started = time.perf_counter()
        client.sock.sendall(key)
        received = 0
        while received < 10:
            received += len(client.sock.recv(64))
        times.append((time.perf_counter() - started) * 1e6)
    return times


def throughput(clients: list[Client], seconds: float = FLOOD_SECONDS) -> float:
    """MB/s from the guest to all of the browsers; the frames' few bytes are counted in, on every way alike."""
    buffer = memoryview(bytearray(MIB))
    total = 0
    with selectors.EpollSelector() as selector:
        for client in clients:
            selector.register(client.sock, selectors.EVENT_READ)
        started = time.perf_counter()
        while time.perf_counter() - started < seconds:
            for key, _ in selector.select(1):
                end = key.fileobj
                assert isinstance(end, socket.socket)
                total += end.recv_into(buffer)
        return total / (time.perf_counter() - started) / 1e6


def closed(clients: list[Client]) -> None:
    for client in clients:
        client.close()


def spread(times: list[float]) -> str:
    return f"{median(times):.0f} µs (p99 {percentile(times, 99):.0f})"


# --- speed


def echoes(cast: Cast) -> list[Line]:
    with both(cast, Echo) as ways:
        clients = [connect() for connect in ways]
        # Turn by turn, so that whatever else the machine does falls on both.
        rounds = [[echo(client) for client in clients] for _ in range(ROUNDS)]
        closed(clients)
    theirs, mine = (min((turn[which] for turn in rounds), key=median) for which in (0, 1))
    beside = f"websockify alone {spread(theirs)}, ours {spread(mine)}"
    return [Line("echo, times that of websockify alone", median(mine) / median(theirs), 1.3, "x", beside)]


def floods(cast: Cast) -> list[Line]:
    lines = []
    with both(cast, Flood) as ways:
        for count, what in ((1, "one console's throughput"), (TOGETHER, f"throughput of {TOGETHER} consoles together")):
            rates: list[list[float]] = [[], []]
            for _ in range(ROUNDS):
                for rate, connect in zip(rates, ways, strict=True):
                    clients = [connect() for _ in range(count)]
                    rate.append(throughput(clients))
                    closed(clients)
            theirs, mine = map(max, rates)
            beside = f"websockify alone {theirs:.0f} MB/s, ours {mine:.0f} MB/s"
            lines.append(Line(f"{what}, times that of websockify", mine / theirs, 0.8, "x", beside, at_least=True))
    return lines


def neighbours(cast: Cast) -> list[Line]:
    """An echo beside somebody's flood, which is taken by a process of its own as fast as it comes."""
    with both(cast, Either) as ways:
        found = []
        for connect in ways:
            flooded, client = connect(), connect()
            client.send(b"E")
            with draining(flooded):
                times = [each for _ in range(ROUNDS) for each in echo(client, ECHOES // 2)]
            found.append(times)
            closed([flooded, client])
    beside = f"p99 {percentile(found[1], 99) / 1000:.2f} ms; websockify {spread(found[0])}"
    return [Line("echo beside a neighbour at full flood, median", median(found[1]) / 1000, 1, "ms", beside)]


@contextmanager
def draining(client: Client) -> Iterator[None]:
    """Whatever this client asks a display for in a flood is read."""
    client.send(WISH)
    pid = os.fork()
    if not pid:
        throughput([client], 600)
        os._exit(0)
    try:
        time.sleep(0.5)
        yield
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


# --- memory, and viewers that stall


def still(server: Server) -> int:
    """What was taken from a display, when nothing more is."""
    before = server.sent
    time.sleep(1)
    return before if before == server.sent else 0


def stalled(cast: Cast) -> list[Line]:
    with display(Either) as server, ours(cast, server.address) as way:
        viewer, child = way.child()
        held = [child, *way.fronts()]
        before = sum(memory(pid, "Private_Dirty") for pid in held)
        viewer.send(WISH)
        taken = until(lambda: still(server), 60, what="the flood is held up") / 1e6
        mine = (sum(memory(pid, "Private_Dirty") for pid in held) - before) / 1024
        viewer.close()
    return [
        Line("a viewer that stops reading takes from the guest", taken, 12, "MB", "the kernel's buffers with it"),
        Line("a viewer that stops reading costs of our memory", mine, 4, "MiB", "the front's with it"),
    ]


def many_stalled(cast: Cast) -> list[Line]:
    with display_process(Either) as where, ours(cast, where) as way:
        *viewers, healthy = [way.connect() for _ in range(TOGETHER + 1)]
        before = sum(map(memory, way.family()))
        for viewer in viewers:
            viewer.send(WISH)
        healthy.send(b"E")
        times = [each / 1000 for each in echo(healthy)]
        grown = (sum(map(memory, way.family())) - before) / 1024
        closed([healthy, *viewers])
    return [
        Line(f"{TOGETHER} stalled viewers cost", grown, 100, "MiB", "PSS of all that carries them"),
        Line("a healthy one's echo beside them, worst", max(times), 100, "ms", f"median {median(times):.2f} ms"),
    ]


def idle(cast: Cast) -> list[Line]:
    # Nobody answers pings here, however long it takes to open them all.
    with display_process(Echo, Server) as where, ours(cast, where, faster=0.1) as way:
        before, front = set(processes_of(way.proxy.pid)), sum(map(memory, way.fronts()))
        clients = [way.connect() for _ in range(IDLE)]
        children = set(processes_of(way.proxy.pid)) - before
        assert len(children) == IDLE
        each = statistics.mean(memory(child) for child in children) * 1024 / 1e6
        more = (sum(map(memory, way.fronts())) - front) / IDLE
        closed(clients)
    beside = f"PSS; the front's {more:.0f} KiB for each are not in it"
    return [Line(f"memory of each of {IDLE} idle consoles", each, 4, "MB", beside)]


def recorded(cast: Cast) -> list[Line]:
    """What it costs a console to be recorded, beside one that is not."""
    with display_process(Either) as where, ours(cast, where) as way:
        times: list[list[float]] = [[], []]
        rates: list[list[float]] = [[], []]
        sizes: list[list[int]] = [[], []]
        for _ in range(ROUNDS):
            for which, record in enumerate((False, True)):
                page = way.page(record=record)
                client, child = way.child(page)
                client.send(b"E")
                times[which] += echo(client, ECHOES // 2)
                sizes[which].append(memory(child))
                client.close()
                client = way.connect(way.page(record=record))
                client.send(WISH)
                rates[which].append(throughput([client], RECORDED_SECONDS))
                client.close()
            forget_recordings()
    plain, kept = max(rates[0]), max(rates[1])
    more = (median(sizes[1]) - median(sizes[0])) / 1024
    beside = f"{plain:.0f} MB/s, recorded {kept:.0f} MB/s"
    return [
        # Whatever is kept is copied once more, and that is all that a flood is.
        Line("a recorded console's throughput, times another's", kept / plain, 0.5, "x", beside, at_least=True),
        Line(
            "a recorded console's echo, times another's",
            median(times[1]) / median(times[0]),
            1.3,
            "x",
            f"{spread(times[0])}, recorded {spread(times[1])}",
        ),
        Line("memory that being recorded costs a console", more, 0.5, "MiB", "PSS"),
    ]


def forget_recordings() -> None:
    """They are of gigabytes."""
    for pk in Recording.objects.values_list("pk", flat=True):
        path_of(pk).unlink(missing_ok=True)


# --- a serial line

SAID = b"".join(b"line %d\r\n" % number for number in range(800_000))


def serial(cast: Cast) -> list[Line]:
    """Ten megabytes from a stand-in of libvirt's stream, through the process that reads a line and all the way."""
    path = tests.home.HOME / "run" / f"serial-{cast.domain.host_id}-{cast.domain.uuid}.sock"
    port = free_port()
    with ExitStack() as stack:
        for process in (start_proxy(), start_front(port)):
            stack.callback(process.stop)
        line = GuestLine()
        pid = tap_process(path, line)
        stack.callback(os.waitpid, pid, 0)
        stack.callback(os.kill, pid, signal.SIGKILL)
        page = open_page(cast.owner, cast.domain, device=ConsoleDevice.SERIAL)
        client = page.connect(("127.0.0.1", port))
        line.here.sendall(b"login: ")
        assert client.read(7) == b"login: "
        started = time.monotonic()
        threading.Thread(target=line.here.sendall, args=(SAID,), daemon=True).start()
        heard = client.read(len(SAID))
        seconds = time.monotonic() - started
        client.close()
    assert heard == SAID
    beside = "whole and in order; a port of 115,200 baud takes 15 minutes"
    return [Line("10 MB of a serial line are there in", seconds, 2, "s", beside)]


def tap_process(path: Path, line: GuestLine) -> int:
    """Start a process that reads the stand-in; returns its number."""
    pid = os.fork()
    if not pid:
        line.here.close()
        tapped = Tapped(path, line)
        tapped.thread.join()
        os._exit(0)
    line.close()
    until(path.exists, what="the line is read")
    return pid


# --- endurance

HOURS = 2
FASTER = 120


def idle_for_hours(cast: Cast) -> list[Line]:
    """Behind one more proxy, everything so many times as fast: its patience, our pings, and the hours."""
    outer, front = free_port(), free_port()
    with display(Echo) as server, tempfile.TemporaryDirectory(prefix="wvb-") as folder, ExitStack() as stack:
        for process in (
            start_proxy(*server.address, FASTER),
            start_front(front),
            start_outer(Path(folder), outer, front, USUAL_PATIENCE_SECONDS / FASTER),
        ):
            stack.callback(process.stop)
        client = until(lambda: opened(cast, outer), 30, what="a console before that patience is over")
        assert client
        started = time.monotonic()
        client.sock.settimeout(HOURS * 3600 / FASTER)
        with suppress(TimeoutError, Closed):
            client.recv()
        lived = (time.monotonic() - started) * FASTER / 3600
        client.close()
    beside = f"{FASTER} times as fast; {client.pings} pings, one in {PING_SECONDS:.0f} s"
    # A moment less than asked for is the timer's.
    return [Line("an idle console lives behind a proxy of 60 s", lived, 0.99 * HOURS, "h", beside, at_least=True)]


def opened(cast: Cast, port: int) -> Client | None:
    """A client past the handshake, where that is quick enough for the proxies between."""
    with suppress(Closed, OSError):
        client = open_page(cast.owner, cast.domain).connect(("127.0.0.1", port))
        client.handshake()
        return client
    return None


def revoked(cast: Cast) -> list[Line]:
    """From the database's word that a right is gone to the last of those closed that had it."""
    with display_process(Echo, Server) as where, ours(cast, where) as way:
        clients = []
        for _ in range(SIZE):
            client = open_page(cast.operator, cast.domain).connect(("127.0.0.1", way.port))
            client.handshake()
            clients.append(client)
        ends: list[float] = []

        def wait(client: Client) -> None:
            client.closed(30)
            ends.append(time.monotonic())

        threads = [threading.Thread(target=wait, args=(client,)) for client in clients]
        for thread in threads:
            thread.start()
        Grant.objects.filter(user=cast.operator).delete()
        gone = time.monotonic()
        for thread in threads:
            thread.join()
    assert len(ends) == SIZE
    beside = f"of {SIZE}; the first {min(ends) - gone:.2f} s"
    return [Line("a revoked right closes consoles, the last", max(ends) - gone, 2, "s", beside)]


def restarts(_cast: Cast) -> list[Line]:
    """A whole installation, with real guests."""
    with running_stack() as stack:
        stack.manage("addlocalhost")
        with crowd(stack, "wvp-crowd-") as held:
            for name in ("web-1", "web-2", "worker-fast", "worker-slow", "redis"):
                stack.kill(name)
            stack.wait_until_well(60)
            resumed, shown = together(Held.resumes, held), together(Held.shows, held)
            kept = sum(
                resumes and shows and each.times == 1 for each, resumes, shows in zip(held, resumed, shown, strict=True)
            )
            before = [each.times for each in held]
            asked = time.monotonic()
            stack.kill("consoleproxy", signal.SIGTERM)
            until(lambda: all(each.times > times for each, times in zip(held, before, strict=True)), 60)
            back = [each.came - asked for each in held]
    what = f"consoles of {SIZE} that a restart of web, workers and Redis leaves"
    beside = f"half of them in {median(back):.2f} s"
    return [
        Line(what, kept, SIZE, "", at_least=True),
        Line(f"all of {SIZE} are back after a restart of the console proxy", max(back), 5, "s", beside),
    ]


PARTS = {
    part.__name__: part
    for part in (
        *(echoes, floods, neighbours, stalled, many_stalled, idle, recorded, serial),
        *(idle_for_hours, revoked, restarts),
    )
}


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}; all if none is named")
    options.add_argument("--json", action="store_true", help="print the numbers as JSON")
    asked = options.parse_args()
    assert settings.WEBVIRT_HOME == tests.home.HOME
    call_command("migrate", verbosity=0, skip_checks=True)
    settings.WEBVIRT_CONSOLES_PER_USER = consoles.VIEWERS_PER_DOMAIN = 10 * IDLE
    cast = make_cast()
    cast.domain.status = Status.RUNNING
    cast.domain.save()
    redis = start_redis()
    lines: list[Line] = []
    try:
        for name in asked.parts or PARTS:
            say(name)
            found = PARTS[name](cast)
            print(table(found), file=sys.stderr, flush=True)
            lines += found
    finally:
        redis.stop()
        tests.home.pytest_unconfigure()
    print(json.dumps([line.json() for line in lines], indent=1) if asked.json else table(lines))
    return int(not all(line.ok for line in lines))


if __name__ == "__main__":
    sys.exit(main())

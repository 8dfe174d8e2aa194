"""Consoles against stock websockify, side by side in one run: `python -m tests.bench.console`.

Ours is measured as people use it, through nginx with an installation's configuration; websockify stands alone, without
a front and without our checks. The guest is a stand-in that echoes or floods, since no real one keeps up.
"""

from __future__ import annotations

import os
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import django

import tests.home

os.environ["DJANGO_SETTINGS_MODULE"] = "webvirt.settings"
django.setup()

from django.conf import settings  # noqa: E402
from django.core.management import call_command  # noqa: E402

from tests.console.displays import Display, Echo, Flood, Server, display  # noqa: E402
from tests.console.proxy import Process, memory, open_page, processes_of, start_front, start_proxy, start_redis  # noqa: E402
from tests.console.wsclient import Client, Visitor, frame  # noqa: E402
from tests.people import make_cast  # noqa: E402
from tests.stack import free_port  # noqa: E402
from tests.until import until  # noqa: E402
from webvirt.models import Domain, Status, User  # noqa: E402
from webvirt.services import consoles  # noqa: E402

ECHOES = 4000
FLOOD_SECONDS = 3.0
IDLE = 200
MIB = 2**20


@dataclass(frozen=True)
class Way:
    """One way to a display: makes a client that is past the handshake."""

    name: str
    connect: Callable[[], Client]


@contextmanager
def display_process(kind: type[Display]) -> Iterator[tuple[str, int]]:
    """A display in a process of its own, so that it does not wait for our interpreter."""
    server = Server(kind)
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


@contextmanager
def ways(kind: type[Display], user: User, domain: Domain) -> Iterator[list[Way]]:
    """Both ways to a display of this kind."""
    with ExitStack() as stack:
        where = stack.enter_context(display_process(kind))
        proxy = start_proxy(*where)
        stack.callback(proxy.stop)
        port, stock_port = free_port(), free_port()
        front = start_front(port)
        stack.callback(front.stop)
        words = [sys.executable, "-m", "websockify", f"127.0.0.1:{stock_port}", f"{where[0]}:{where[1]}"]
        stock = Process(subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        stack.callback(stock.stop)
        until(lambda: answers(stock_port), what="websockify listens")

        def ours() -> Client:
            client = open_page(user, domain).connect(("127.0.0.1", port))
            client.handshake()
            return client

        def theirs() -> Client:
            client = Client(("127.0.0.1", stock_port), Visitor(protocols="binary"))
            client.handshake()
            return client

        yield [Way("websockify alone", theirs), Way("ours, with nginx", ours)]


def answers(port: int) -> bool:
    with socket.socket() as end:
        return end.connect_ex(("127.0.0.1", port)) == 0


def echo(client: Client) -> tuple[float, float]:
    """Microseconds there and back for what a key press takes: median and 99th percentile."""
    client.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    key = frame(bytes(8))
    times = []
    for _ in range(ECHOES):
        started = time.perf_counter()
        client.sock.sendall(key)
        received = 0
        while received < 10:
            received += len(client.sock.recv(64))
        times.append((time.perf_counter() - started) * 1e6)
    return statistics.median(times), statistics.quantiles(times, n=100)[98]


def throughput(client: Client, seconds: float = FLOOD_SECONDS) -> float:
    """MB/s from the guest to the browser; the frames' few bytes are counted in, on both ways alike."""
    buffer = memoryview(bytearray(MIB))
    total = 0
    started = time.perf_counter()
    while time.perf_counter() - started < seconds:
        total += client.sock.recv_into(buffer)
    return total / (time.perf_counter() - started) / 1e6


def row(what: str, stock: float, ours: float, unit: str, wanted: str) -> None:
    print(f"{what:<42} {stock:>10.0f} {ours:>10.0f} {unit:<5} {ours / stock:>6.2f}x   {wanted}")


def measure_echo(user: User, domain: Domain) -> None:
    with ways(Echo, user, domain) as both:
        clients = [way.connect() for way in both]
        # Turn by turn, so that whatever else the machine does falls on both.
        rounds = [[echo(client) for client in clients] for _ in range(3)]
        stock, ours = (min(turn[which] for turn in rounds) for which in (0, 1))
        row("echo, median", stock[0], ours[0], "µs", "at most 1.3x")
        row("echo, 99th percentile", stock[1], ours[1], "µs", "")


def measure_flood(user: User, domain: Domain) -> None:
    with ways(Flood, user, domain) as both:
        rates: list[list[float]] = [[], []]
        for _ in range(2):
            for which, way in enumerate(both):
                client = way.connect()
                rates[which].append(throughput(client))
                client.close()
        row("one console's throughput", max(rates[0]), max(rates[1]), "MB/s", "at least 0.8x")


def measure_stalled(user: User, domain: Domain) -> None:
    """What a viewer that stops reading costs: taken from the guest, and our own memory."""
    with display(Flood) as server:
        proxy = start_proxy(*server.address)
        before = set(processes_of(proxy.pid))
        page = open_page(user, domain)
        client = page.connect()
        client.handshake()
        (child,) = set(processes_of(proxy.pid)) - before
        empty = memory(child, "Private_Dirty")
        time.sleep(3)
        print(f"{'a viewer that stops reading: taken':<42} {server.sent / MIB:>21.1f} MiB             at most 12")
        own = (memory(child, "Private_Dirty") - empty) / 1024
        print(f"{'a viewer that stops reading: our memory':<42} {own:>21.1f} MiB             at most 4")
        client.close()
        proxy.stop()


def measure_idle(user: User, domain: Domain) -> None:
    with display_process(Echo) as where:
        proxy = start_proxy(*where)
        before = set(processes_of(proxy.pid))
        clients = []
        for _ in range(IDLE):
            client = open_page(user, domain).connect()
            client.handshake()
            clients.append(client)
        children = set(processes_of(proxy.pid)) - before
        assert len(children) == IDLE
        each = [memory(child) / 1024 for child in children]
        what = f"memory of each of {IDLE} idle consoles"
        print(f"{what:<42} {statistics.mean(each):>21.2f} MiB             at most 4")
        for client in clients:
            client.close()
        proxy.stop()


def main() -> None:
    assert settings.WEBVIRT_HOME == tests.home.HOME
    call_command("migrate", verbosity=0, skip_checks=True)
    settings.WEBVIRT_CONSOLES_PER_USER = consoles.VIEWERS_PER_DOMAIN = 10 * IDLE
    cast = make_cast()
    cast.domain.status = Status.RUNNING
    cast.domain.save()
    redis = start_redis()
    try:
        print(f"{'':<42} {'websockify':>10} {'ours':>10}")
        for measure in (measure_echo, measure_flood, measure_stalled, measure_idle):
            measure(cast.owner, cast.domain)
    finally:
        redis.stop()
        tests.home.pytest_unconfigure()


if __name__ == "__main__":
    main()

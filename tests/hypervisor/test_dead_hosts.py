"""Hosts that freeze, vanish, refuse or die: every call ends, in time, with the right word."""

from __future__ import annotations

import os
import queue
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.hypervisor.subjects import HERE, THERE
from tests.lab.lab import SecondHost
from tests.until import until
from webvirt.hypervisor.connection import Connection, connect
from webvirt.hypervisor.errors import HostUnreachable
from webvirt.hypervisor.types import HostAddress, Transport

KEEPALIVE_BOUND = 15.0
Fault = tuple[Callable[[], None], Callable[[], None]]


@pytest.fixture
def host(second: SecondHost) -> Iterator[SecondHost]:
    """The second host, well again after the test."""
    yield second
    second.recover()


@pytest.fixture(params=["frozen", "black hole"])
def fail(request: pytest.FixtureRequest, host: SecondHost) -> Fault:
    """What breaks the host and what mends it."""
    return (host.freeze, host.thaw) if request.param == "frozen" else (host.cut, host.mend)


def took(call: Callable[[], object]) -> float:
    """Seconds until the call said that the host is unreachable."""
    started = time.monotonic()
    with pytest.raises(HostUnreachable):
        call()
    return time.monotonic() - started


def test_connecting_ends_within_its_deadline(fail: Fault) -> None:
    breaks, _mends = fail
    breaks()
    assert took(lambda: connect(THERE, deadline=4)) < 5


def test_a_call_on_an_open_connection_ends_by_keepalive(fail: Fault) -> None:
    breaks, mends = fail
    closed: queue.SimpleQueue[str] = queue.SimpleQueue()
    with connect(THERE) as connection:
        connection.listen(lambda _event: None, closed.put)
        breaks()
        assert took(connection.domains.list) < KEEPALIVE_BOUND
        assert closed.get(timeout=5)
        mends()
        # What was broken stays broken: somebody has to connect anew.
        assert took(connection.host.ping) < 1


def test_closing_does_not_wait_for_a_dead_host(fail: Fault) -> None:
    breaks, _mends = fail
    connection = connect(THERE)
    connection.listen(lambda _event: None, lambda _why: None)
    breaks()
    started = time.monotonic()
    connection.close()
    assert time.monotonic() - started < 3
    assert took(connection.host.ping) < 1


def test_while_one_attempt_hangs_the_next_fails_at_once(host: SecondHost) -> None:
    host.freeze()
    took(lambda: connect(THERE, deadline=1))
    assert took(lambda: connect(THERE, deadline=10)) < 0.5
    assert threads_named(f"open-{THERE.hostname}") == 1
    host.thaw()
    until(lambda: threads_named(f"open-{THERE.hostname}") == 0, what="the hanging attempt is over")
    connect(THERE).close()


def threads_named(name: str) -> int:
    return sum(thread.name == name for thread in threading.enumerate())


def test_several_may_connect_at_once(second: SecondHost) -> None:
    with ThreadPoolExecutor(6) as pool:
        connections = list(pool.map(connect, [THERE] * 6))
    for connection in connections:
        connection.host.ping()
        connection.close()


def test_closing_lets_go_of_everything(second: SecondHost) -> None:
    def open_files() -> int:
        return len(os.listdir("/proc/self/fd"))

    connect(THERE).close()
    before = open_files()
    for _ in range(5):
        with connect(THERE) as connection:
            connection.listen(lambda _event: None, lambda _why: None)
    until(lambda: open_files() <= before, what="every socket is closed")


def test_a_killed_libvirtd_is_told_at_once(host: SecondHost) -> None:
    closed: queue.SimpleQueue[str] = queue.SimpleQueue()
    with connect(THERE) as connection:
        connection.listen(lambda _event: None, closed.put)
        host.kill()
        assert closed.get(timeout=2)
        assert took(connection.host.ping) < 1
    host.up()


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    address = HostAddress(Transport.TCP, "127.0.0.1", port)
    assert took(lambda: connect(address)) < 2


def test_somebody_else_listens() -> None:
    """A server that takes the connection and then says nothing, as a frozen one does."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = HostAddress(Transport.TCP, "127.0.0.1", server.getsockname()[1])
        assert took(lambda: connect(address, deadline=2)) < 3


def test_a_name_that_does_not_resolve() -> None:
    assert took(lambda: connect(HostAddress(Transport.TCP, "nowhere.invalid"))) < 10


def test_calls_wait_for_their_turn() -> None:
    """Four at once on a handle, and all of a crowd come through."""
    with connect(HERE) as connection, ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda _: connection.host.ping(), range(200)))


def forked(work: Callable[[], object]) -> int:
    """The exit code of a fork that does this: 0 when nothing was raised."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


FORK_FIRST = """
import os
from tests.hypervisor.subjects import HERE
from tests.hypervisor.test_dead_hosts import forked
from webvirt.hypervisor.connection import connect
def ping():
    with connect(HERE) as connection:
        connection.host.ping()
assert [forked(ping) for _ in range(3)] == [0, 0, 0]
ping()
"""


def test_forks_may_open_what_their_parent_has_not() -> None:
    """As the watcher, the workers and the console proxy do; importing the room opens nothing."""
    done = subprocess.run([sys.executable, "-c", FORK_FIRST], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_a_fork_of_what_was_open_is_refused_rather_than_hung() -> None:
    with connect(HERE) as connection:
        started = time.monotonic()
        assert forked(lambda: connect(HERE, deadline=30)) == 1
        assert time.monotonic() - started < 5
        connection.host.ping()


def test_a_closed_connection_says_so() -> None:
    connection = connect(HERE)
    connection.close()
    connection.close()
    assert isinstance(connection, Connection)
    assert took(connection.host.ping) < 1

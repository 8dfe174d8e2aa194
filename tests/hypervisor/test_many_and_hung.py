"""Hosts with many domains, and guests whose process hangs: lists stay cheap, and nothing waits that need not."""

from __future__ import annotations

import os
import shutil
import signal
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import libvirt
import pytest

from tests.guests import Guest
from tests.hypervisor.subjects import HERE, PREFIX, THERE
from tests.lab.lab import LAB, SecondHost, tiny_guest
from tests.until import until
from webvirt.hypervisor.connection import Connection, connect
from webvirt.hypervisor.errors import HostUnreachable, NotResponding
from webvirt.hypervisor.types import DomainState

MANY = 200


@pytest.fixture
def crowd(second: SecondHost) -> Iterator[set[str]]:
    """Many domains on the second host; a few of them marked to start with it."""
    uuids = [str(uuid.uuid4()) for _ in range(MANY)]
    raw = libvirt.open(second.uri)
    for number, each in enumerate(uuids):
        raw.defineXML(Guest(f"{PREFIX}crowd-{number}", uuid=each).xml())
    raw.lookupByUUIDString(uuids[0]).setAutostart(1)
    yield set(uuids)
    for each in uuids:
        raw.lookupByUUIDString(each).undefine()
    raw.close()


def test_a_list_takes_five_calls_however_long_it_is(crowd: set[str], count: Counter[str]) -> None:
    with connect(THERE) as connection:
        count.clear()
        listed = connection.domains.list()
        assert sum(count.values()) <= 5, count
        assert {summary.uuid for summary in listed} >= crowd
        assert sum(summary.autostart for summary in listed) == 1
        count.clear()
        connection.domains.summaries([next(iter(crowd))])
        assert sum(count.values()) <= 5, count


@pytest.fixture
def connection() -> Iterator[Connection]:
    with connect(HERE) as connection:
        yield connection


@contextmanager
def running(guest: Guest) -> Iterator[Guest]:
    try:
        guest.define()
        guest.virsh("start")
        yield guest
    finally:
        guest.remove()


@pytest.fixture
def hung() -> Iterator[Guest]:
    """A running guest whose process stands still."""
    with running(Guest(f"{PREFIX}hung")) as guest:
        pid = guest.pid
        os.kill(pid, signal.SIGSTOP)
        yield guest
        if Path(f"/proc/{pid}").exists():
            os.kill(pid, signal.SIGCONT)


@pytest.fixture
def beside() -> Iterator[Guest]:
    with running(Guest(f"{PREFIX}beside")) as guest:
        yield guest


def at_once(call: Callable[[], Any], seconds: float = 2.0) -> Any:
    started = time.monotonic()
    answer = call()
    assert time.monotonic() - started < seconds
    return answer


def test_a_hung_guest_hides_nobody(connection: Connection, hung: Guest, beside: Guest) -> None:
    domains = connection.domains
    listed = {summary.uuid: summary for summary in at_once(domains.list)}
    assert listed[hung.uuid].state == DomainState.RUNNING
    assert at_once(lambda: domains.summaries([hung.uuid]))[0] == listed[hung.uuid]
    assert at_once(lambda: domains.read(hung.uuid)).live is not None
    assert at_once(lambda: domains.usage([beside.uuid]))[0].uuid == beside.uuid
    at_once(lambda: domains.suspend(beside.uuid))
    at_once(lambda: domains.addresses(hung.uuid))
    at_once(connection.host.ping)


def test_a_hung_guest_can_be_forced_off(connection: Connection, hung: Guest) -> None:
    pid = hung.pid
    at_once(lambda: connection.domains.destroy(hung.uuid), 20)
    assert connection.domains.summaries([hung.uuid])[0].state == DomainState.SHUTOFF
    assert not Path(f"/proc/{pid}").exists()


@pytest.mark.slow
def test_who_waits_for_a_hung_guest_is_told(hung: Guest) -> None:
    """Of two calls one gets through to the guest and hangs with it; libvirt has the other wait for 30 s."""
    pool = ThreadPoolExecutor(2)
    calls = [pool.submit(suspend, hung.uuid) for _ in range(2)]
    done, _pending = wait(calls, 40, FIRST_COMPLETED)
    hung_pid = hung.pid
    os.kill(hung_pid, signal.SIGCONT)
    pool.shutdown()
    assert [type(call.exception()) for call in done] == [NotResponding]


def suspend(uuid: str) -> None:
    with connect(HERE) as connection:
        connection.domains.suspend(uuid)


# --- saving


BALLAST = 8 * 1024 * 1024


@pytest.fixture(scope="module")
def heavy() -> Iterator[Path]:
    """A folder with the tiny guest and so much ballast behind its initramfs, which ends up in its memory."""
    folder = LAB / f"heavy-{os.getpid()}"
    shutil.copytree(tiny_guest(), folder)
    with (folder / "initrd.gz").open("ab") as initrd:
        initrd.write(os.urandom(BALLAST))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def slow_to_save(second: SecondHost, heavy: Path) -> Iterator[Guest]:
    """A running guest on the second host, which packs what it saves: that takes some seconds."""
    serial = heavy / "serial.log"
    with running(Guest(f"{PREFIX}slow", uri=second.uri, guest=heavy, memory=160, serial_log=serial)) as guest:
        until(lambda: "guest is up" in serial.read_text(errors="replace"), 60, what="the guest is up")
        yield guest
        second.up()
        until(lambda: guest.virsh("domstate", check=False), what="the guest is known")
    serial.unlink()


class Enough(Exception):
    """What a caller raises to cancel."""


def test_a_save_that_is_cancelled_leaves_the_guest_running(slow_to_save: Guest) -> None:
    seen: list[tuple[int, int]] = []

    def cancel(done: int, total: int) -> None:
        seen.append((done, total))
        raise Enough

    with connect(THERE) as connection:
        with pytest.raises(Enough):
            connection.domains.save(slow_to_save.uuid, cancel)
        (summary,) = connection.domains.summaries([slow_to_save.uuid])
    assert len(seen) == 1
    assert (summary.state, summary.managed_save) == (DomainState.RUNNING, False)


def test_saving_tells_how_far_it_is(slow_to_save: Guest) -> None:
    seen: list[tuple[int, int]] = []
    with connect(THERE) as connection:
        connection.domains.save(slow_to_save.uuid, lambda done, total: seen.append((done, total)))
        (summary,) = connection.domains.summaries([slow_to_save.uuid])
    assert summary.managed_save
    assert any(0 < done < total for done, total in seen), seen
    assert seen == sorted(seen)


def test_a_save_whose_host_dies_says_so(slow_to_save: Guest, second: SecondHost) -> None:
    with connect(THERE) as connection, pytest.raises(HostUnreachable):
        connection.domains.save(slow_to_save.uuid, lambda _done, _total: second.kill())

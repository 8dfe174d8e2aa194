"""Real Redis, real proxy, real guests for the console's tests."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.console.proxy import Process, start_proxy, start_redis
from tests.guests import LOOPBACK, SOCKET, Guest
from tests.lab.lab import tiny_guest
from tests.people import Cast
from tests.until import until
from webvirt import bus
from webvirt.hypervisor.types import Transport
from webvirt.models import Host, Status


@dataclass
class Parts:
    """The processes that tests share until one of them breaks or replaces them."""

    redis: Process | None = None
    proxy: Process | None = None

    def with_redis(self) -> Process:
        if self.redis is None or not self.redis.lives:
            self.redis = start_redis()
        return self.redis

    def with_proxy(self) -> Process:
        if self.proxy is None or not self.proxy.lives:
            self.proxy = start_proxy()
        return self.proxy

    def without_proxy(self) -> None:
        if self.proxy is not None and self.proxy.lives:
            assert self.proxy.stop() == 0
        self.proxy = None


@pytest.fixture(scope="session")
def parts() -> Iterator[Parts]:
    parts = Parts()
    yield parts
    parts.without_proxy()
    if parts.redis is not None:
        parts.redis.stop()


@pytest.fixture
def redis_server(parts: Parts) -> Process:
    bus.store.cache_clear()
    return parts.with_redis()


@pytest.fixture
def no_redis(parts: Parts) -> None:
    """Redis away."""
    bus.store.cache_clear()
    if parts.redis is not None:
        parts.redis.stop()


@pytest.fixture
def people(transactional_db: None, cast: Cast) -> Cast:
    """The cast, written for other processes to see; the machine they share runs on this machine's libvirt."""
    Host.objects.filter(pk=cast.host.pk).update(transport=Transport.LOCAL)
    cast.domain.status = Status.RUNNING
    cast.domain.save()
    return cast


@pytest.fixture
def proxy(parts: Parts, redis_server: Process, people: Cast) -> Process:
    """The console proxy as `manage.py consoleproxy` runs it."""
    return parts.with_proxy()


@pytest.fixture
def no_proxy(parts: Parts, redis_server: Process, people: Cast) -> None:
    """The proxy's place left free, for a test that starts its own."""
    parts.without_proxy()


def running(guest: Guest) -> Guest:
    guest.define()
    guest.virsh("start")
    return guest


@pytest.fixture(scope="session", params=["socket", "loopback"])
def display(request: pytest.FixtureRequest) -> str:
    """Where the guest's display listens."""
    return {"socket": SOCKET, "loopback": LOOPBACK}[request.param]


@pytest.fixture
def blank_guest(people: Cast) -> Iterator[Guest]:
    """A running machine with a display and nothing to boot; the cast's domain is this one."""
    guest = Guest("wvc-blank")
    people.domain.uuid = guest.uuid
    people.domain.save()
    try:
        yield running(guest)
    finally:
        guest.remove()


@pytest.fixture(scope="session")
def booted_guest(tmp_path_factory: pytest.TempPathFactory, display: str) -> Iterator[Guest]:
    """A running Linux with a shell on its screen, whose serial port is written to a file."""
    # libvirt makes the file as root and QEMU writes to what it is handed.
    log = Path("/var/tmp") / f"wvc-serial-{tmp_path_factory.getbasetemp().name}.log"
    guest = Guest("wvc-linux", guest=tiny_guest(), graphics=display, serial_log=log, memory=96)
    try:
        running(guest)
        until(lambda: "guest is up" in log.read_text(errors="replace"), 60, what="the guest is up")
        yield guest
    finally:
        guest.remove()
        log.unlink(missing_ok=True)

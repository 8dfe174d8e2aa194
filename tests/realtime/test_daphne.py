"""The events socket as it is served: a real Daphne on a unix socket, spoken to by hand."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

from tests.console.wsclient import Client, Closed, Rejected, Visitor
from tests.people import Cast
from tests.realtime.conftest import RedisServer, session_cookie
from tests.realtime.test_events import HOSTILE
from tests.until import until
from webvirt.models import LoginSession

OURS = settings.SOCKET_ORIGINS[0]
PATHS = ("/ws/events/", "/ws/console/1/")


class Socket(Client):
    """Speaks JSON."""

    def say(self, message: Any) -> None:
        self.send(json.dumps(message).encode(), 1)

    def hear(self) -> dict[str, Any]:
        while True:
            opcode, payload = self._frame()
            if opcode == 1:
                found: dict[str, Any] = json.loads(payload)
                return found
            if opcode == 8:
                raise Closed(int.from_bytes(payload[:2]), payload[2:].decode())

    def heard(self, seconds: float) -> list[str]:
        """The names that changed by the next message, or nothing for so long."""
        self.sock.settimeout(seconds)
        try:
            return list(self.hear().get("changed", ["other"]))
        except TimeoutError:
            return []
        finally:
            self.sock.settimeout(15)


@dataclass
class Daphne:
    """A web process, its Redis and where it listens: all tests' until one of them ends it."""

    redis: RedisServer
    process: subprocess.Popen[bytes] | None = None

    @property
    def path(self) -> Path:
        return self.redis.folder / "web.sock"

    @property
    def log(self) -> Path:
        return self.redis.folder / "log"

    def start(self) -> None:
        words = [sys.executable, "-m", "daphne", "--unix-socket", str(self.path), "--proxy-headers"]
        self.path.unlink(missing_ok=True)
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*words, "webvirt.asgi:application"],
                env=os.environ | {"WEBVIRT_REDIS": self.redis.address},
                stdout=log,
                stderr=log,
            )
        until(self.listens, 30, what="Daphne")

    def socket(self, user: Any = None, path: str = PATHS[0], origins: tuple[str, ...] = (OURS,), **more: str) -> Socket:
        key = session_cookie(user) if user else ""
        headers = tuple((name.replace("_", "-"), value) for name, value in more.items())
        cookie = settings.SESSION_COOKIE_NAME
        visitor = Visitor(session_key=key, cookie=cookie, origins=origins, protocols="", headers=headers)
        return Socket(self.path, visitor, path)

    def watching(self, user: Any, *names: str) -> Socket:
        """A socket that watches, and has proved that it hears."""
        socket = self.socket(user)
        socket.say({"watch": [*names, "hosts"]})

        def hears() -> bool:
            self.redis.announce("hosts")
            return "hosts" in socket.heard(0.2)

        until(hears, 10, what="a socket that hears")
        while socket.heard(0.3):
            pass
        return socket

    @property
    def lives(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def listens(self) -> bool:
        assert self.lives
        try:
            self.socket().close()
        except (OSError, Rejected):
            return False
        return True

    def ended(self, seconds: float) -> str:
        """What it said until its end, which it is told to come to."""
        assert self.process
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(seconds)
        return self.log.read_text()

    def end(self) -> None:
        if self.process:
            self.process.kill()
            self.process.wait()


@pytest.fixture(scope="module")
def served(django_db_setup: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daphne]:
    redis_server = RedisServer(tmp_path_factory.mktemp("daphne"))
    redis_server.start()
    found = Daphne(redis_server)
    yield found
    found.end()
    redis_server.end()


@pytest.fixture
def daphne(transactional_db: None, served: Daphne) -> Daphne:
    if not served.lives:
        served.start()
    return served


def test_a_change_reaches_the_page(daphne: Daphne, cast: Cast) -> None:
    own, foreign = f"domain:{cast.domain.pk}", f"domain:{cast.other.pk}"
    socket = daphne.watching(cast.viewer, own, foreign)
    started = time.monotonic()
    daphne.redis.announce(own, foreign)
    assert socket.hear() == {"changed": [own]}
    assert time.monotonic() - started < 0.5


def test_signing_out_closes_it(daphne: Daphne, cast: Cast) -> None:
    socket = daphne.watching(cast.viewer, "domains")
    LoginSession.objects.all().delete()
    daphne.redis.announce(f"user:{cast.viewer.pk}")
    assert socket.closed(3).code == 4401


def test_only_our_own_pages_open_sockets(daphne: Daphne, cast: Cast) -> None:
    hostile = [*((origin,) for origin in HOSTILE), (), (OURS, OURS), (OURS, "https://evil.example")]
    assert (OURS,) not in hostile
    for path in PATHS:
        for origins in hostile:
            with pytest.raises(Rejected) as refused:
                daphne.socket(cast.administrator, path, origins)
            # 0: not even a handshake to answer.
            assert refused.value.status in (0, 400, 403), (path, origins)
        # Naming us in other headers does not help.
        named = {"X_Forwarded_Host": "127.0.0.1:8000", "Sec_WebSocket_Origin": OURS}
        with pytest.raises(Rejected):
            daphne.socket(cast.administrator, path, ("https://evil.example",), **named)
        daphne.socket(cast.administrator, path).close()


@pytest.mark.parametrize(("size", "codes"), [(70_000, (4400,)), (2_000_000, (1009, 0))])
def test_too_long_a_message_closes_it(daphne: Daphne, cast: Cast, size: int, codes: tuple[int, ...]) -> None:
    socket = daphne.watching(cast.viewer, "domains")
    # The longest are cut off before they are all there.
    with contextlib.suppress(ConnectionError):
        socket.say({"watch": ["x" * size]})
    assert socket.closed(5).code in codes


def test_it_ends_at_once_with_sockets_open(daphne: Daphne, cast: Cast) -> None:
    sockets = [daphne.watching(cast.viewer, "domains") for _ in range(5)]
    said = daphne.ended(5)
    assert "took too long" not in said
    assert "Traceback" not in said
    for socket in sockets:
        socket.close()


def test_a_socket_that_goes_away_leaves_nothing_behind(daphne: Daphne, cast: Cast) -> None:
    for _ in range(50):
        daphne.watching(cast.viewer, "domains").close()
    last = daphne.watching(cast.viewer, "domains")
    daphne.redis.announce("domains")
    assert last.hear() == {"changed": ["domains"]}
    said = daphne.ended(5)
    assert "Traceback" not in said
    assert "Exception" not in said

"""A real Redis of the test's own, a hub that listens to it, and pages' sockets."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import redis
from channels.auth import AuthMiddlewareStack
from channels.db import database_sync_to_async
from channels.testing import WebsocketCommunicator
from django.conf import settings
from django.test import Client

from tests.people import Cast, make_cast
from tests.until import until
from webvirt import bus
from webvirt.models import User
from webvirt.realtime.events import EventsConsumer
from webvirt.realtime.hub import Hub
from webvirt.realtime.origin import ExactOrigin

ORIGIN = "http://127.0.0.1:8000"


@dataclass
class RedisServer:
    """A redis-server on a unix socket, which can be ended, frozen and brought back."""

    folder: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def socket(self) -> str:
        return str(self.folder / "redis.sock")

    @property
    def address(self) -> str:
        return f"unix://{self.socket}"

    def start(self) -> None:
        binary = shutil.which("redis-server")
        assert binary
        command = [binary, "--port", "0", "--unixsocket", self.socket, "--save", "", "--appendonly", "no"]
        self.process = subprocess.Popen(command, cwd=self.folder, stdout=subprocess.DEVNULL)
        until(self.answers, 10, what="Redis")

    def answers(self) -> bool:
        try:
            return bool(redis.Redis(unix_socket_path=self.socket, socket_timeout=1).ping())
        except redis.RedisError:
            return False

    def signal(self, number: signal.Signals) -> None:
        assert self.process
        os.kill(self.process.pid, number)

    def end(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def announce(self, *names: str) -> None:
        redis.Redis(unix_socket_path=self.socket).publish(bus.CHANNEL, json.dumps(names))

    def burst(self, name: str, seconds: float) -> int:
        """Announce as often as can be, for so long; how often that was."""
        client = redis.Redis(unix_socket_path=self.socket)
        end = time.monotonic() + seconds
        count = 0
        while time.monotonic() < end:
            client.publish(bus.CHANNEL, json.dumps([name]))
            count += 1
        return count

    def wanted_screens(self) -> dict[str, float]:
        found: Any = redis.Redis(unix_socket_path=self.socket).zrange("screens.wanted", 0, -1, withscores=True)
        return {member.decode(): score for member, score in found}


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path)
    server.start()
    yield server
    server.end()


@pytest.fixture
async def hub(redis_server: RedisServer) -> AsyncIterator[Hub]:
    hub = Hub(redis_server.address)
    yield hub
    await hub.close()


def session_cookie(user: User) -> str:
    client = Client()
    client.force_login(user)
    return client.cookies[settings.SESSION_COOKIE_NAME].value


@dataclass
class Page:
    """A page's socket as its browser holds it."""

    communicator: WebsocketCommunicator
    heard: list[dict[str, Any]] = field(default_factory=list)

    async def open(self) -> bool:
        connected, _ = await self.communicator.connect(timeout=5)
        return connected

    async def watch(self, *names: str, **more: Any) -> None:
        await self.communicator.send_json_to({"watch": names, **more})

    async def next(self, seconds: float = 5.0) -> dict[str, Any]:
        message: dict[str, Any] = await self.communicator.receive_json_from(timeout=seconds)
        return message

    async def closed(self, seconds: float = 5.0) -> int:
        """The code with which the server closes, whatever it says before."""
        while True:
            output = await self.communicator.receive_output(timeout=seconds)
            if output["type"] == "websocket.close":
                return int(output["code"])

    async def silent(self, seconds: float = 0.4) -> bool:
        return bool(await self.communicator.receive_nothing(timeout=seconds))


@dataclass
class Pages:
    """Opens pages for people of the cast."""

    cast: Cast
    hub: Hub
    server: RedisServer
    pages: list[Page] = field(default_factory=list)

    def socket(self, cookie: str = "", origin: str = ORIGIN) -> Page:
        headers = [(b"origin", origin.encode()), (b"host", b"127.0.0.1:8000")]
        if cookie:
            headers.append((b"cookie", f"{settings.SESSION_COOKIE_NAME}={cookie}".encode()))
        application = ExactOrigin(AuthMiddlewareStack(EventsConsumer.as_asgi(hub=self.hub)), [ORIGIN])
        page = Page(WebsocketCommunicator(application, "/ws/events/", headers))
        self.pages.append(page)
        return page

    async def of(self, who: str, *names: str) -> Page:
        """An open page of somebody that watches these names, past the hub's beginning."""
        cookie = await database_sync_to_async(session_cookie)(self.cast.who(who))
        page = self.socket(cookie)
        assert await page.open()
        await page.watch(*names)
        await self.listening()
        # What the hub says at its beginning is not part of any test but those about it.
        while not await page.silent(0.15):
            await page.next()
        return page

    async def listening(self) -> None:
        deadline = asyncio.get_running_loop().time() + 10
        while self.hub.missed(0) is None:
            assert asyncio.get_running_loop().time() < deadline
            await asyncio.sleep(0.01)


@pytest.fixture
async def pages(transactional_db: None, redis_server: RedisServer, hub: Hub) -> AsyncIterator[Pages]:
    found = Pages(await database_sync_to_async(make_cast)(), hub, redis_server)
    yield found
    for page in found.pages:
        await page.communicator.disconnect()


@pytest.fixture
def in_database() -> Callable[..., Any]:
    """Runs something with the database from a coroutine."""
    return database_sync_to_async

"""Announcing while Redis is away: nobody waits for it, and what was to be said is said when it is back."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from django.conf import settings

from tests.realtime.conftest import RedisServer
from tests.until import until
from webvirt import bus

pytestmark = pytest.mark.django_db(transaction=True)


class Ear:
    """Hears what is announced."""

    def __init__(self, server: RedisServer) -> None:
        client: Any = redis.Redis(unix_socket_path=server.socket)
        self.pubsub = client.pubsub(ignore_subscribe_messages=True)
        self.pubsub.subscribe(bus.CHANNEL)
        self.names: set[str] = set()

    def has_heard(self, *names: str) -> bool:
        while message := self.pubsub.get_message(timeout=0.05):
            self.names.update(json.loads(message["data"]))
        return self.names.issuperset(names)


@pytest.fixture
def announced(redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[RedisServer]:
    monkeypatch.setattr(settings, "WEBVIRT_REDIS", redis_server.address)
    monkeypatch.setattr(bus, "QUIET_SECONDS", 0.3)
    bus.store.cache_clear()
    yield redis_server
    if redis_server.process is None:
        redis_server.start()
    until(lambda: not bus._unsaid.waiting, 10, what="nothing unsaid")
    bus.store.cache_clear()


def test_what_is_said_while_redis_is_away_is_heard_when_it_is_back(announced: RedisServer) -> None:
    announced.end()
    bus.announce(["domain:1"])
    started = time.monotonic()
    for number in range(2, 100):
        bus.announce([f"domain:{number}"])
    assert time.monotonic() - started < 0.2
    announced.start()
    ear = Ear(announced)
    # Redis is back, and this process does not know it yet.
    bus.announce(["domain:100"])
    until(lambda: ear.has_heard(*(f"domain:{number}" for number in range(1, 101))), 10, what="all of it heard")
    bus.announce(["domain:101"])
    until(lambda: ear.has_heard("domain:101"), 10, what="the next one heard")


def test_a_fork_speaks_for_itself(announced: RedisServer) -> None:
    announced.signal(signal.SIGSTOP)
    bus.announce(["host:1"])
    assert bus._unsaid.waiting
    child = os.fork()
    if child == 0:
        # The thread that would say it is its parent's.
        os._exit(bus._unsaid.waiting + len(bus._unsaid.names))
    _, status = os.waitpid(child, 0)
    announced.signal(signal.SIGCONT)
    assert status == 0

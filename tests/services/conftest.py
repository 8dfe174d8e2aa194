"""A Redis of the test's own, for what is kept there on its way."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis
from django.conf import settings

from tests.realtime.conftest import RedisServer, redis_server
from webvirt import bus

__all__ = ["redis_server"]


@pytest.fixture
def store(redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[redis.Redis]:
    """The client of this process, as everything of ours uses it."""
    monkeypatch.setattr(settings, "WEBVIRT_REDIS", redis_server.address)
    bus.store.cache_clear()
    yield bus.store()
    bus.store.cache_clear()

"""A host in memory behind the rows of the cast, with operations carried out on it at once, and a Redis of its own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import redis
from django.conf import settings

from tests.fakes import FakeConnection
from tests.people import Cast
from tests.realtime.conftest import RedisServer, redis_server
from tests.services.carrying import Worker
from webvirt import bus
from webvirt.hypervisor.types import VolumeInfo
from webvirt.models import Pool, Volume
from webvirt.services import inventory, operations
from webvirt.services.runners import context
from webvirt.services.watcher.stock import Stock

__all__ = ["redis_server"]

GIB = 2**30
IMAGE = VolumeInfo(
    "web-1.qcow2", "/srv/images/web-1.qcow2", "/srv/images/web-1.qcow2", "file", "qcow2", 20 * GIB, 3 * GIB
)


@dataclass
class FakeHost(Worker):
    """The cast's host as it really is, so to speak; `stock` is the watcher's look at it."""

    cast: Cast
    connection: FakeConnection
    stock: Stock
    uuid: str = ""

    def __post_init__(self) -> None:
        super().__init__(self.cast.administrator)

    @property
    def pool(self) -> Pool:
        return Pool.objects.get(uuid=self.uuid)

    def volume(self, name: str) -> Volume:
        return Volume.objects.select_related("pool__host").get(pool__uuid=self.uuid, name=name)

    def names(self) -> list[str]:
        """The volumes that pages show."""
        return list(Volume.objects.filter(pool=self.pool, missing_since=None).values_list("name", flat=True))

    def look_again(self) -> None:
        """What the host's watcher does now and then."""
        self.stock.let_go()
        self.stock.half_made()
        self.stock.pools()

    def traces(self) -> tuple[set[str], dict[str, str]]:
        """All that it has: the volumes that pages show, and its machines with their definitions."""
        return set(self.names()), {uuid: one.xml() for uuid, one in self.connection.domains.known.items()}


@pytest.fixture
def alpha(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> FakeHost:
    """The cast's host with a pool `images` of its own, which holds `web-1.qcow2`."""
    Volume.objects.all().delete()
    Pool.objects.all().delete()
    connection = FakeConnection()
    monkeypatch.setattr(context, "connection_to", lambda address: connection)
    monkeypatch.setattr(operations, "send", lambda operation: None)
    stock = Stock(cast.host)
    stock._connection = connection  # type: ignore[assignment]
    uuid = connection.storage.put("images", IMAGE).uuid
    stock.pools()
    inventory.reconcile_networks(cast.host, [])
    return FakeHost(cast, connection, stock, uuid)


@pytest.fixture
def store(redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[redis.Redis]:
    """The client of this process, as everything of ours uses it."""
    monkeypatch.setattr(settings, "WEBVIRT_REDIS", redis_server.address)
    bus.store.cache_clear()
    yield bus.store()
    bus.store.cache_clear()

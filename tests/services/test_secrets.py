"""Secrets: their values go to the host, once, and are nowhere else."""

from __future__ import annotations

import base64
from dataclasses import asdict
from typing import Any

import pytest
import redis
from django.db import connection

from tests.api.conftest import Caller
from tests.fakes import FakeConnection
from tests.people import Cast, make_pool
from tests.realtime.conftest import RedisServer
from tests.services.carrying import WorkerOnFake, worker_on
from webvirt.hypervisor.types import SecretInfo, SecretUsage
from webvirt.models import Definition, Operation, OperationState, Secret
from webvirt.services import hidden, operations
from webvirt.services.catalogue import Queue
from webvirt.services.watcher.stock import Stock

VALUE = "c0rrect-h0rse"
MASK = "**********"


@pytest.fixture
def host(cast: Cast) -> FakeConnection:
    host = FakeConnection()
    uuid = cast.secret.uuid
    host.secrets.known[uuid] = SecretInfo(uuid, SecretUsage.CEPH, cast.secret.usage_id, private=True)
    host.secrets.values[uuid] = b"before"
    return host


@pytest.fixture
def worker(cast: Cast, host: FakeConnection, store: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> WorkerOnFake:
    return worker_on(host, cast.administrator, monkeypatch)


def new(worker: WorkerOnFake, cast: Cast, **more: Any) -> Operation:
    given = {"usage": "ceph", "usage_id": "client.backup", "value": VALUE} | more
    return worker.ask("secret.create", cast.host, **given)


def whole_database() -> str:
    connection.ensure_connection()
    return "\n".join(connection.connection.iterdump())


# --- the value


@pytest.mark.parametrize("kind", ["secret.create", "secret.set_value"])
def test_a_value_is_handed_on_and_then_nowhere(
    cast: Cast, worker: WorkerOnFake, store: redis.Redis, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    caplog.set_level("DEBUG")
    target = cast.host if kind == "secret.create" else cast.secret
    more = {"usage": "iscsi", "usage_id": "client.backup"} if kind == "secret.create" else {}
    operation = worker.ask(kind, target, value=VALUE, **more)
    # While it waits: sealed, in Redis alone, and not for long.
    (key,) = store.keys()
    assert VALUE not in str(store.get(key))
    assert 0 < store.ttl(key) <= hidden.KEPT_SECONDS[Queue.FAST]
    worker.carry_out(operation)
    assert operation.state == OperationState.SUCCEEDED, operation.error
    assert VALUE.encode() in worker.host.secrets.values.values()
    told = Caller(cast.administrator).get(f"/operations/{operation.pk}").content.decode()
    assert MASK in told
    for text in (whole_database(), told, caplog.text, operation.virsh):
        assert VALUE not in text
        assert base64.b64encode(VALUE.encode()).decode() not in text
    assert store.dbsize() == 0


def test_a_value_in_base64_is_handed_on_as_bytes(cast: Cast, worker: WorkerOnFake) -> None:
    data = bytes(range(256))
    operation = worker.carry_out(new(worker, cast, value=base64.b64encode(data).decode(), base64=True))
    assert operation.state == OperationState.SUCCEEDED, operation.error
    assert data in worker.host.secrets.values.values()


def test_a_value_that_is_kept_no_longer_fails_and_says_so(cast: Cast, worker: WorkerOnFake, store: redis.Redis) -> None:
    operation = new(worker, cast)
    store.flushall()
    worker.carry_out(operation)
    assert operation.state == OperationState.FAILED
    assert "not kept any longer" in operation.error
    assert "again" in operation.remedy
    assert len(worker.host.secrets.known) == 1


def test_without_redis_it_is_not_accepted(cast: Cast, worker: WorkerOnFake, redis_server: RedisServer) -> None:
    redis_server.end()
    with pytest.raises(operations.NotNow, match="try again"):
        new(worker, cast)
    assert not Operation.objects.exists()


def test_the_same_request_key_asks_once_and_keeps_no_value(
    cast: Cast, worker: WorkerOnFake, store: redis.Redis
) -> None:
    caller, body = Caller(cast.administrator), {"value": VALUE}
    path = f"/secrets/{cast.secret.pk}/set_value"
    ids = {caller.post(path, body, Idempotency_Key="k").json()["id"] for _ in range(2)}
    assert len(ids) == 1
    assert store.dbsize() == 1


@pytest.mark.parametrize(
    "given",
    [
        {"value": ""},
        {"value": "x" * 8193},
        {"value": "not base64!", "base64": True},
        {"value": VALUE, "usage_id": ""},
        {"value": VALUE, "usage": "volume", "usage_id": "no-path"},
        {"value": VALUE, "usage": "none"},
        {"value": VALUE, "description": "two\nlines"},
        {"value": {"of": VALUE}},
    ],
)
def test_what_cannot_be_is_refused_without_repeating_the_value(
    cast: Cast, worker: WorkerOnFake, given: dict[str, Any]
) -> None:
    with pytest.raises(operations.Invalid) as refused:
        new(worker, cast, **given)
    assert VALUE not in str(refused.value)
    assert not Operation.objects.exists()


# --- the rest


def test_one_that_is_made_is_known_at_once(cast: Cast, worker: WorkerOnFake) -> None:
    operation = worker.carry_out(new(worker, cast, description="of the backup"))
    assert operation.result == {"secret": "client.backup"}
    made = Secret.objects.get(name="client.backup")
    assert (made.usage, made.description, made.private) == ("ceph", "of the backup", True)


def test_it_is_called_by_what_it_belongs_to_or_its_description_or_uuid(cast: Cast, host: FakeConnection) -> None:
    told = [
        SecretInfo("u1", "volume", "/v/" + "x" * 300),
        SecretInfo("u2", "none", description="for later"),
        SecretInfo("u3", "none"),
    ]
    host.secrets.known |= {info.uuid: info for info in told}
    Stock(cast.host, _connection=host).secrets()  # type: ignore[arg-type]
    names = dict(Secret.objects.values_list("uuid", "name"))
    assert len(names.pop("u1")) == 255
    assert names == {cast.secret.uuid: "client.libvirt", "u2": "for later", "u3": "u3"}


def test_one_is_deleted_unless_something_needs_it(cast: Cast, worker: WorkerOnFake) -> None:
    pool = make_pool(cast.host, "rbd", 9, info={"auth_secret": cast.secret.usage_id})
    with pytest.raises(operations.NotNow, match="rbd signs in with it"):
        worker.ask("secret.undefine", cast.secret)
    pool.info = {"auth_secret": cast.secret.uuid}
    pool.save()
    with pytest.raises(operations.NotNow, match="rbd"):
        worker.ask("secret.undefine", cast.secret)
    pool.delete()
    definition = Definition(domain=cast.domain, read_at=cast.domain.first_seen_at)
    definition.inactive_xml = f"<encryption><secret type='passphrase' uuid='{cast.secret.uuid}'/></encryption>"
    definition.save()
    with pytest.raises(operations.NotNow, match="web-1 needs it"):
        worker.ask("secret.undefine", cast.secret)
    definition.delete()
    assert worker.do("secret.undefine", cast.secret).state == OperationState.SUCCEEDED
    cast.secret.refresh_from_db()
    assert cast.secret.missing_since
    assert worker.host.secrets.values == {}


def test_the_rows_have_no_place_for_a_value() -> None:
    assert "value" not in {part.name for part in Secret._meta.get_fields()}
    assert "value" not in asdict(SecretInfo("u", "ceph"))

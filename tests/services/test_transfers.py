"""Images on their own way: from one host to another, and out to who asked for the file."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import timedelta

import pytest
from django.utils import timezone

from tests.fakes import FakeConnection
from tests.people import Cast, make_host
from tests.services.conftest import GIB, IMAGE, FakeHost
from tests.services.test_storage import uses_image
from webvirt.hypervisor.errors import HostUnreachable, HypervisorError
from webvirt.hypervisor.types import HostAddress
from webvirt.models import Grant, Operation, OperationState, Pool, Role, Upload, Volume
from webvirt.services import operations, runners, uploads
from webvirt.services.catalogue import BY_KIND
from webvirt.services.runners import arrivals, context
from webvirt.services.runners.arrivals import Rest
from webvirt.services.watcher.stock import Stock

S = OperationState
MIB = 2**20
DATA = os.urandom(3 * MIB + 17) + bytes(MIB)


@pytest.fixture
def omega(alpha: FakeHost, monkeypatch: pytest.MonkeyPatch) -> FakeHost:
    """A second host with an empty pool `store`."""
    host = make_host("omega", hostname="o")
    connection = FakeConnection()
    handles: dict[HostAddress, FakeConnection] = {
        host.address: connection,
        alpha.cast.host.address: alpha.connection,
    }
    monkeypatch.setattr(context, "connection_to", handles.__getitem__)
    stock = Stock(host)
    stock._connection = connection  # type: ignore[assignment]
    uuid = connection.storage.put("store").uuid
    stock.pools()
    return FakeHost(alpha.cast, connection, stock, uuid)


@pytest.fixture(autouse=True)
def in_small_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrivals, "SEGMENT", MIB)


@pytest.fixture
def source(alpha: FakeHost) -> Volume:
    """A raw volume of the first host, with something in it."""
    kept = alpha.connection.storage.known[alpha.uuid]
    kept.volumes["data.img"] = replace(
        kept.volumes["web-1.qcow2"],
        info=replace(IMAGE, name="data.img", path="/srv/images/data.img", format="raw", capacity=len(DATA)),
        data=bytearray(DATA),
    )
    alpha.stock.pools()
    return alpha.volume("data.img")


def content(host: FakeHost, name: str) -> bytes:
    return bytes(host.connection.storage.known[host.uuid].volumes[name].data)


# --- from host to host


def test_a_copy_is_the_same_on_the_other_host(alpha: FakeHost, omega: FakeHost, source: Volume) -> None:
    done = alpha.do("volume.copy", source, name="copy.img", pool=omega.pool.pk)
    assert (done.state, done.result) == (S.SUCCEEDED, {"volume": "copy.img", "pool": "store", "bytes": len(DATA)})
    assert content(omega, "copy.img") == DATA
    assert omega.volume("copy.img").making is None
    assert f"vol-upload --sparse --pool {omega.pool.name} copy.img" in done.virsh


@pytest.mark.parametrize("written", [False, True])
def test_a_copy_has_the_checksum_of_the_bytes_it_is_of(
    alpha: FakeHost, omega: FakeHost, source: Volume, written: bool
) -> None:
    Volume.objects.filter(pk=source.pk).update(
        sha256="a" * 64, sha256_at=timezone.now(), source_url="https://example.org/a.img"
    )
    if written:
        # Since the last look at its pool.
        kept = alpha.connection.storage.known[alpha.uuid].volumes[source.name]
        kept.info = replace(kept.info, modified_at=1_700_000_000)
    assert alpha.do("volume.copy", source, name="copy.img", pool=omega.pool.pk).state == S.SUCCEEDED
    assert omega.volume("copy.img").sha256 == ("" if written else "a" * 64)
    assert omega.volume("copy.img").source_url == ("" if written else "https://example.org/a.img")
    assert alpha.volume(source.name).sha256 == ("" if written else "a" * 64)


def test_another_worker_goes_on_with_a_copy(
    alpha: FakeHost, omega: FakeHost, source: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first one dies after two streams, without a word."""
    operation = alpha.ask("volume.copy", source, name="copy.img", pool=omega.pool.pk)
    upload, streams = omega.connection.storage.upload, []

    def dying(*arguments: object) -> int:
        streams.append(arguments[2])
        if len(streams) == 3:
            raise SystemExit
        return upload(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(omega.connection.storage, "upload", dying)
    with pytest.raises(SystemExit):
        alpha.carry_out(operation)
    Operation.objects.filter(pk=operation.pk).update(heartbeat_at=timezone.now() - timedelta(minutes=2))
    assert operations.reap(timezone.now()) == 1
    # Where nobody heard of it at that moment, the clerk says it again.
    sent: list[Operation] = []
    monkeypatch.setattr(operations, "send", sent.append)
    uploads.look_after(timezone.now())
    assert sent == [operation]
    assert alpha.carry_out(operation).state == S.SUCCEEDED
    assert streams == [0, MIB, 2 * MIB, 2 * MIB, 3 * MIB, 4 * MIB]
    assert content(omega, "copy.img") == DATA


def test_a_name_that_is_taken_there_is_refused(alpha: FakeHost, omega: FakeHost, source: Volume) -> None:
    omega.do("volume.create", omega.pool, name="copy.img", capacity=GIB)
    done = alpha.do("volume.copy", source, name="copy.img", pool=omega.pool.pk)
    assert (done.state, done.error) == (S.FAILED, "There is a volume of this name already.")
    assert content(omega, "copy.img") == b""


def test_what_has_no_room_there_is_refused(alpha: FakeHost, omega: FakeHost, source: Volume) -> None:
    omega.connection.storage.known[omega.uuid].capacity = MIB
    done = alpha.do("volume.copy", source, name="copy.img", pool=omega.pool.pk)
    assert (done.state, done.error[:33]) == (S.FAILED, "The pool has not enough room: 0.0")
    omega.stock.pools()
    assert omega.names() == []


def test_an_image_without_its_base_is_no_copy(alpha: FakeHost, omega: FakeHost) -> None:
    base = alpha.volume("web-1.qcow2")
    alpha.do("volume.create", alpha.pool, name="linked.qcow2", backing=base.pk)
    volumes = alpha.connection.storage.known[alpha.uuid].volumes
    path = b"/srv/images/web-1.qcow2"
    head = b"QFI\xfb" + (3).to_bytes(4) + (104).to_bytes(8) + len(path).to_bytes(4) + bytes(84) + path
    volumes["linked.qcow2"].data[:] = head
    done = alpha.do("volume.copy", alpha.volume("linked.qcow2"), name="copy.img", pool=omega.pool.pk)
    assert (done.state, done.error[:30]) == (S.FAILED, "It is based on another image, ")


def test_an_image_is_no_disk_of_its_own(alpha: FakeHost, omega: FakeHost) -> None:
    """Where a volume is a device, a guest would see the tables of the image instead of its disk."""
    Pool.objects.filter(pk=omega.pool.pk).update(type="logical")
    alpha.connection.storage.known[alpha.uuid].volumes["web-1.qcow2"].data[:] = b"QFI\xfb" + bytes(200)
    done = alpha.do("volume.copy", alpha.volume("web-1.qcow2"), name="copy.img", pool=omega.pool.pk)
    assert (done.state, done.error[:31]) == (S.FAILED, "In that pool a volume is the di")


def test_a_host_that_goes_away_keeps_nothing_half_made(alpha: FakeHost, omega: FakeHost, source: Volume) -> None:
    operation = alpha.ask("volume.copy", source, name="copy.img", pool=omega.pool.pk)
    extents = alpha.connection.storage.extents

    def breaking(*arguments: object) -> object:
        yield next(extents(*arguments))  # type: ignore[arg-type]
        raise HostUnreachable("away")

    alpha.connection.storage.extents = breaking  # type: ignore[assignment, method-assign]
    assert alpha.carry_out(operation).state == S.FAILED
    omega.stock.pools()
    omega.stock.pools()
    assert omega.connection.storage.volumes(omega.uuid) == []
    assert omega.names() == []


def test_a_copy_that_is_cancelled_on_its_way(
    alpha: FakeHost, omega: FakeHost, source: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(context, "REPORT_SECONDS", 0.0)
    operation = alpha.ask("volume.copy", source, name="copy.img", pool=omega.pool.pk)
    Operation.objects.filter(pk=operation.pk).update(cancel_asked_at=timezone.now())
    assert alpha.carry_out(operation).state == S.CANCELLED
    omega.stock.pools()
    assert omega.connection.storage.volumes(omega.uuid) == []


def test_a_pool_that_one_may_not_fill_is_out_of_reach(cast: Cast, alpha: FakeHost, omega: FakeHost) -> None:
    Grant.objects.create(user=cast.owner, host=cast.host, role=Role.OWNER)
    actor = replace(alpha.actor, user=cast.owner)
    volume, verb = alpha.volume("web-1.qcow2"), BY_KIND["volume.copy"]
    # What one may not know of is answered like what is not there.
    for pool in (omega.pool.pk, 999_999):
        with pytest.raises(operations.Invalid, match="nothing of this number"):
            operations.submit(actor, verb, volume, {"name": "c", "pool": pool})
    grant = Grant.objects.create(user=cast.owner, host=omega.pool.host, role=Role.OPERATOR)
    with pytest.raises(operations.Denied):
        operations.submit(actor, verb, volume, {"name": "c", "pool": omega.pool.pk})
    Grant.objects.filter(pk=grant.pk).update(role=Role.OWNER)
    operation = operations.submit(actor, verb, volume, {"name": "c", "pool": omega.pool.pk})
    # Withdrawn while it waited.
    grant.delete()
    runners.run(operation.pk)
    operation.refresh_from_db()
    assert operation.state == S.DENIED
    assert not Upload.objects.exists()


def test_what_is_left_of_a_source() -> None:
    rest = Rest(iter([b"abc", 5, b"defg", 2]))
    assert list(rest.take(2)) == [b"ab"]
    assert list(rest.take(3)) == [b"c", 2]
    assert list(rest.take(4)) == [3, b"d"]
    assert list(rest.take(100)) == [b"efg", 2]
    assert list(rest.take(1)) == []


# --- out to a person


class Basket:
    """Takes what is sent, up to `most` bytes; then it is gone."""

    def __init__(self, most: int = 2**40) -> None:
        self.name, self.size, self.data, self.most = "", 0, b"", most

    def begin(self, name: str, size: int) -> None:
        self.name, self.size = name, size

    def write(self, data: bytes, meanwhile: object) -> None:
        if len(self.data) + len(data) > self.most:
            raise operations.Cancelled
        self.data += data


def fetched(operation: Operation, basket: Basket) -> Operation:
    claimed = operations.claim(operation.pk)
    assert claimed is not None
    runners.carry_out(claimed, basket)
    operation.refresh_from_db()
    return operation


def test_a_download_is_the_whole_volume(alpha: FakeHost, source: Volume) -> None:
    basket = Basket()
    done = fetched(alpha.ask("volume.download", source), basket)
    assert (done.state, done.result) == (S.SUCCEEDED, {"bytes": len(DATA)})
    assert (basket.name, basket.size, basket.data) == ("data.img", len(DATA), DATA)


def test_who_goes_away_ends_it(alpha: FakeHost, source: Volume) -> None:
    assert fetched(alpha.ask("volume.download", source), Basket(most=MIB)).state == S.CANCELLED


def test_a_host_that_fails_says_so(alpha: FakeHost, source: Volume) -> None:
    operation = alpha.ask("volume.download", source)
    alpha.connection.fails_with = HypervisorError("no")
    done = fetched(operation, Basket())
    assert (done.state, done.error) == (S.FAILED, "no")


def test_no_worker_is_sent_a_download_and_nobody_waits_for_ever(alpha: FakeHost, source: Volume) -> None:
    operation = alpha.ask("volume.download", source)
    Operation.objects.filter(pk=operation.pk).update(created_at=timezone.now() - timedelta(minutes=9))
    assert operations.resend(timezone.now()) == 0
    operation.refresh_from_db()
    assert operation.state == S.QUEUED
    operations.resend(timezone.now() + timedelta(minutes=2))
    operation.refresh_from_db()
    assert operation.state == S.CANCELLED


def test_a_volume_that_a_machine_writes_is_not_handed_out(alpha: FakeHost) -> None:
    uses_image(alpha, running=True)
    with pytest.raises(operations.NotNow, match="web-1 runs on it"):
        alpha.ask("volume.download", alpha.volume("web-1.qcow2"))

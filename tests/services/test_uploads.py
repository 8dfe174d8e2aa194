"""Uploads: pieces in order, workers that die, pools that are full, and images that lie."""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from django.conf import settings
from django.utils import timezone

from tests.services.conftest import GIB, FakeHost
from tests.services.shop import make_shop
from webvirt.hypervisor.errors import HostUnreachable
from webvirt.models import Operation, OperationState, Upload, Volume
from webvirt.services import operations, uploads
from webvirt.services.quotas import Amounts, used_in
from webvirt.services.runners import uploads as runner

S = OperationState
MIB = 2**20
DATA = os.urandom(3 * MIB + 17)


@pytest.fixture(autouse=True)
def spool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(settings, "WEBVIRT_HOME", tmp_path)
    monkeypatch.setattr(runner, "WAIT_SECONDS", 0.0)
    monkeypatch.setattr(runner, "PAUSE_SECONDS", 0.0)
    return tmp_path / "uploads"


def begin(alpha: FakeHost, data: bytes = DATA, name: str = "disk.img", **more: str) -> Operation:
    return alpha.ask("volume.upload", alpha.pool, name=name, size=len(data), **more)


def send(operation: Operation, data: bytes, offset: int, digest: str | None = None) -> int:
    upload = uploads.upload_of(operation)
    digest = hashlib.sha256(data).hexdigest() if digest is None else digest
    body = settings.WEBVIRT_HOME / "body"
    body.write_bytes(data)
    try:
        uploads.take(upload, offset, body, digest)
    finally:
        # As the front does once it has its answer.
        body.unlink()
    return upload.received


def send_all(operation: Operation, data: bytes = DATA, size: int = MIB) -> None:
    for offset in range(0, len(data), size):
        send(operation, data[offset : offset + size], offset)


def content(alpha: FakeHost, name: str = "disk.img") -> bytes:
    return bytes(alpha.connection.storage.known[alpha.uuid].volumes[name].data)


def test_all_of_it_arrives_and_nothing_is_left_behind(alpha: FakeHost, spool: Path) -> None:
    operation = begin(alpha, sha256=hashlib.sha256(DATA).hexdigest())
    send_all(operation)
    done = alpha.carry_out(operation)
    assert (done.state, done.result) == (S.SUCCEEDED, {"volume": "disk.img", "bytes": len(DATA)})
    assert content(alpha) == DATA
    assert alpha.volume("disk.img").making is None
    uploads.look_after(timezone.now())
    assert list(spool.iterdir()) == []


def test_it_lies_still_while_nothing_comes_and_another_worker_goes_on(alpha: FakeHost) -> None:
    operation = begin(alpha, sha256=hashlib.sha256(DATA).hexdigest())
    send(operation, DATA[:MIB], 0)
    still = alpha.carry_out(operation)
    assert (still.state, still.worker, still.upload.carried) == (S.RUNNING, "", MIB)
    assert alpha.volume("disk.img").is_made
    send(operation, DATA[MIB : 2 * MIB], MIB)
    send(operation, DATA[2 * MIB :], 2 * MIB)
    assert alpha.carry_out(operation).state == S.SUCCEEDED
    assert content(alpha) == DATA


def test_a_worker_that_died_at_it_costs_nothing(alpha: FakeHost) -> None:
    operation = begin(alpha)
    send(operation, DATA[:MIB], 0)
    alpha.carry_out(operation)
    claimed = operations.claim(operation.pk)
    assert claimed is not None
    Operation.objects.filter(pk=operation.pk).update(heartbeat_at=timezone.now() - timedelta(minutes=2))
    assert operations.reap(timezone.now()) == 1
    operation.refresh_from_db()
    assert (operation.state, operation.worker) == (S.RUNNING, "")
    send(operation, DATA[MIB:], MIB)
    assert alpha.carry_out(operation).state == S.SUCCEEDED
    assert content(alpha) == DATA


def test_a_host_that_goes_away_in_the_middle_ends_it_and_nothing_half_made_stays(alpha: FakeHost) -> None:
    operation = begin(alpha)
    send(operation, DATA[:MIB], 0)
    alpha.carry_out(operation)
    send(operation, DATA[MIB:], MIB)
    alpha.connection.fails_with = HostUnreachable("away")
    assert alpha.carry_out(operation).state == S.FAILED
    alpha.connection.fails_with = None
    alpha.stock.pools()
    assert alpha.connection.storage.volumes(alpha.uuid) == ["web-1.qcow2"]


@pytest.mark.parametrize(
    ("offset", "piece", "digest", "kind"),
    [
        (MIB, DATA[MIB : 2 * MIB], None, uploads.Misplaced),
        (0, b"", None, operations.Invalid),
        (0, DATA + b"more", None, operations.Invalid),
        (0, DATA[:MIB], "../" + "0" * 61, operations.Invalid),
        (-1, DATA[:MIB], None, uploads.Misplaced),
    ],
    ids=["ahead", "empty", "beyond the end", "no checksum", "before the beginning"],
)
def test_a_piece_that_does_not_fit_changes_nothing(
    alpha: FakeHost, spool: Path, offset: int, piece: bytes, digest: str | None, kind: type[Exception]
) -> None:
    operation = begin(alpha)
    with pytest.raises(kind):
        send(operation, piece, offset, digest)
    assert Upload.objects.get(pk=operation.pk).received == 0
    assert not spool.exists() or not any(path.is_file() for path in spool.rglob("*"))


def test_a_repeated_piece_is_told_where_to_go_on(alpha: FakeHost) -> None:
    operation = begin(alpha)
    assert send(operation, DATA[:MIB], 0) == MIB
    with pytest.raises(uploads.Misplaced) as told:
        send(operation, DATA[:MIB], 0)
    assert told.value.received == MIB


@pytest.mark.parametrize("damaged", [0, 1, 3], ids=["the first", "one between", "the last"])
def test_a_damaged_piece_never_gets_there_and_is_asked_for_again(alpha: FakeHost, spool: Path, damaged: int) -> None:
    operation = begin(alpha)
    for number, offset in enumerate(range(0, len(DATA), MIB)):
        send(operation, DATA[offset : offset + MIB], offset, "0" * 64 if number == damaged else None)
    still = alpha.carry_out(operation)
    at = damaged * MIB
    assert (still.state, still.worker) == (S.RUNNING, "")
    assert (still.upload.carried, still.upload.received) == (at, at)
    assert content(alpha).ljust(len(DATA), b"\0") == DATA[:at].ljust(len(DATA), b"\0")
    assert not any(path.is_file() for path in spool.rglob("*"))
    for offset in range(at, len(DATA), MIB):
        send(operation, DATA[offset : offset + MIB], offset)
    assert alpha.carry_out(operation).state == S.SUCCEEDED
    assert content(alpha) == DATA


def lose(path: Path) -> None:
    path.unlink()


def cut(path: Path) -> None:
    os.truncate(path, MIB // 2)


@pytest.mark.parametrize("harm", [lose, cut])
def test_what_our_own_disk_lost_is_asked_for_again(alpha: FakeHost, spool: Path, harm: Callable[[Path], None]) -> None:
    """A machine that loses its power may forget what was in a file, or the file; these have no checksum."""
    operation = begin(alpha)
    for offset in (0, MIB, 2 * MIB):
        send(operation, DATA[offset : offset + MIB], offset, "")
    second = sorted(path for path in spool.rglob("*") if path.is_file())[1]
    harm(second)
    for _ in range(2):
        still = alpha.carry_out(operation)
    assert (still.state, still.upload.carried, still.upload.received) == (S.RUNNING, MIB, MIB)
    for offset in (MIB, 2 * MIB, 3 * MIB):
        send(operation, DATA[offset : offset + MIB], offset, "")
    assert alpha.carry_out(operation).state == S.SUCCEEDED
    assert content(alpha) == DATA


def test_only_what_was_said_to_be_received_counts(alpha: FakeHost, spool: Path) -> None:
    """A web process that dies while it takes a piece in leaves a file that nobody was told of."""
    operation = begin(alpha)
    upload = uploads.upload_of(operation)
    left = uploads.folder(upload.pk) / f"{0:020d}-{MIB:020d}-"
    left.parent.mkdir(parents=True)
    left.write_bytes(bytes(MIB))
    assert alpha.carry_out(operation).upload.carried == 0
    send_all(operation)
    assert alpha.carry_out(operation).state == S.SUCCEEDED
    assert content(alpha) == DATA


@pytest.mark.parametrize("known", [True, False])
def test_the_whole_is_summed_up_where_there_is_something_to_compare_it_to(alpha: FakeHost, known: bool) -> None:
    digest = hashlib.sha256(DATA).hexdigest() if known else ""
    operation = begin(alpha, sha256=digest)
    send_all(operation)
    assert alpha.carry_out(operation).state == S.SUCCEEDED
    assert alpha.volume("disk.img").sha256 == digest


def test_a_slow_host_slows_the_browser_rather_than_filling_our_disk(
    alpha: FakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "SPOOL_MOST", 2 * MIB)
    operation = begin(alpha)
    send(operation, DATA[:MIB], 0)
    send(operation, DATA[MIB : 2 * MIB], MIB)
    with pytest.raises(uploads.NotNow):
        send(operation, DATA[2 * MIB : 3 * MIB], 2 * MIB)
    alpha.carry_out(operation)
    assert send(operation, DATA[2 * MIB : 3 * MIB], 2 * MIB) == 3 * MIB


def test_another_checksum_of_the_whole_is_refused_and_removed(alpha: FakeHost) -> None:
    operation = begin(alpha, sha256="0" * 64)
    send_all(operation)
    done = alpha.carry_out(operation)
    assert done.state == S.FAILED
    assert "its SHA-256 is" in done.error
    alpha.stock.pools()
    assert alpha.names() == ["web-1.qcow2"]


def test_of_two_that_race_for_the_last_room_one_gets_it(alpha: FakeHost) -> None:
    alpha.connection.storage.known[alpha.uuid].capacity = 3 * GIB + 4 * MIB
    first, second = begin(alpha, name="one.img"), begin(alpha, name="two.img")
    for operation in (first, second):
        alpha.carry_out(operation)
    assert (first.state, second.state) == (S.RUNNING, S.FAILED)
    assert second.error.startswith("The pool has not enough room")
    assert not Volume.objects.filter(name="two.img", missing_since=None).exists()


def test_cancelled_while_it_lies_still_it_ends_at_once(alpha: FakeHost) -> None:
    operation = begin(alpha)
    send(operation, DATA[:MIB], 0)
    alpha.carry_out(operation)
    assert operations.cancel(operation)
    operation.refresh_from_db()
    assert operation.state == S.CANCELLED
    with pytest.raises(operations.NotNow, match="has ended"):
        send(operation, DATA[MIB : 2 * MIB], MIB)
    alpha.stock.pools()
    assert alpha.connection.storage.volumes(alpha.uuid) == ["web-1.qcow2"]


def test_one_that_nobody_sends_is_given_up(alpha: FakeHost) -> None:
    operation = begin(alpha)
    alpha.carry_out(operation)
    Upload.objects.filter(pk=operation.pk).update(touched_at=timezone.now() - timedelta(days=2))
    uploads.look_after(timezone.now())
    operation.refresh_from_db()
    assert (operation.state, operation.error) == (S.FAILED, "Nothing more came for a day.")


def test_an_image_that_names_another_file_is_refused(alpha: FakeHost) -> None:
    """The host takes it for a raw one until it looks, and it is a qcow2 on /etc/shadow."""
    name = b"/etc/shadow"
    head = struct.pack(">4sIQI", b"QFI\xfb", 2, 512, len(name)).ljust(512, b"\0") + name
    operation = begin(alpha, head, "lie.img")
    send_all(operation, head)
    assert alpha.carry_out(operation).state == S.FAILED
    alpha.stock.pools()
    assert alpha.names() == ["web-1.qcow2"]


def test_an_image_counts_in_its_project_as_the_disk_that_it_is(
    alpha: FakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its file is a few MiB long, and the disk in it 40 GiB."""
    shop = make_shop(most_disk=30 * GIB)
    storage = alpha.connection.storage
    real = storage.inspect
    monkeypatch.setattr(storage, "inspect", lambda uuid, name: replace(real(uuid, name), capacity=40 * GIB))
    operation = alpha.ask("volume.upload", alpha.pool, name="disk.img", size=len(DATA), project=shop.pk)
    assert used_in(shop.pk) == Amounts(disk=len(DATA))
    send_all(operation)
    done = alpha.carry_out(operation)
    assert (done.state, done.error[:21]) == (S.FAILED, "40 GiB of disk asked,"), done.error
    alpha.stock.pools()
    assert alpha.connection.storage.volumes(alpha.uuid) == ["web-1.qcow2"]
    assert used_in(shop.pk) == Amounts()

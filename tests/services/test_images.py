"""The image library: systems recognized by the watcher, checksums, and which volumes are images."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from django.conf import settings

from tests.discs import disc, small_database
from tests.fake_storage import FakeStorageCalls, FakeVolume
from tests.people import make_domain, make_host, make_pool, make_volume
from tests.services.conftest import GIB, IMAGE, FakeHost
from tests.services.test_uploads import begin, send, send_all
from webvirt.hypervisor.errors import HostUnreachable, HypervisorError
from webvirt.hypervisor.types import ObjectEvent, VolumeInfo
from webvirt.models import DiskUse, OperationState, Status, Volume
from webvirt.services import images, inventory, operations, osinfo, uses
from webvirt.services.runners import context
from webvirt.services.runners import uploads as upload_runner
from webvirt.services.watcher import stock

S = OperationState
MIB = 2**20
DATA = os.urandom(MIB + 17)


@pytest.fixture(autouse=True)
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(osinfo, "FOLDER", small_database(tmp_path))
    yield
    osinfo.database.cache_clear()


def lay(alpha: FakeHost, name: str, data: bytes = b"", **parts: object) -> None:
    """A volume on the host that somebody brought there by hand."""
    path = f"/srv/images/{name}"
    info = VolumeInfo(name, path, path, "file", "raw", len(data), len(data), modified_at=1_000_000.0)
    changed = replace(info, **parts)  # type: ignore[arg-type]
    alpha.connection.storage.known[alpha.uuid].volumes[name] = FakeVolume(changed, bytearray(data))


def look(alpha: FakeHost, name: str) -> Volume:
    alpha.stock.pools()
    alpha.stock.systems()
    return alpha.volume(name)


# --- recognizing


def test_a_disc_is_told_by_its_label(alpha: FakeHost) -> None:
    lay(alpha, "cd.iso", disc("Debian 11.5.0 amd64 n"), format="iso")
    found = look(alpha, "cd.iso")
    assert (found.os, found.os_name, found.is_iso) == ("debian11", "Debian 11", True)


def test_a_disc_that_its_host_calls_raw_is_one(alpha: FakeHost) -> None:
    lay(alpha, "upload", disc("cidata"))
    lay(alpha, "disk.img", b"x" * 100_000)
    found = look(alpha, "upload")
    assert (found.os, found.is_iso, found.looked_at is not None) == ("", True, True)
    assert not alpha.volume("disk.img").is_iso


def test_a_disk_image_is_told_by_its_name_and_not_read(alpha: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeStorageCalls, "download", lambda *_given: pytest.fail("it was read"))
    lay(alpha, "debian-12-generic-amd64.qcow2", format="qcow2", capacity=GIB)
    assert look(alpha, "debian-12-generic-amd64.qcow2").os_name == "Debian 12"


def counting(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the volumes whose bytes are asked for."""
    asked: list[str] = []
    original = FakeStorageCalls.download

    def download(self: FakeStorageCalls, uuid: str, name: str, *rest: object) -> None:
        asked.append(name)
        original(self, uuid, name, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(FakeStorageCalls, "download", download)
    return asked


def test_it_is_done_once_until_it_is_another_image(alpha: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = counting(monkeypatch)
    lay(alpha, "cd.iso", disc("Debian 11.5.0 amd64 n"), format="iso")
    for _ in range(3):
        look(alpha, "cd.iso")
    assert asked == ["cd.iso"]
    lay(alpha, "cd.iso", disc("Fedora-S-dvd-x86_64-37"), format="iso", modified_at=2_000_000.0)
    assert look(alpha, "cd.iso").os == "fedora37"
    assert asked == ["cd.iso"] * 2


def test_a_disk_that_a_machine_writes_to_is_not_looked_into_again(
    alpha: FakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = counting(monkeypatch)
    for at in range(3):
        lay(alpha, "root.img", b"x" * 100_000, modified_at=1_000_000.0 + at)
        look(alpha, "root.img")
    assert asked == ["root.img"]


def test_labels_are_read_a_few_at_a_time_the_newest_first(alpha: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = counting(monkeypatch)
    monkeypatch.setattr(stock, "LABELS", 3)
    for number in range(8):
        lay(alpha, f"{number}.iso", disc("CD"), format="iso", modified_at=1_000_000.0 + number)
        lay(alpha, f"debian-11-{number}.qcow2", format="qcow2", capacity=GIB)
    look(alpha, "7.iso")
    assert asked == ["7.iso", "6.iso", "5.iso"]
    assert Volume.objects.filter(os="debian11").count() == 8, "names cost nothing"
    for _ in range(2):
        alpha.stock.systems()
    assert len(asked) == 8


def test_an_event_goes_first(alpha: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = counting(monkeypatch)
    lay(alpha, "a.iso", disc("CD"), format="iso")
    alpha.stock.pools()
    alpha.stock.events.put(ObjectEvent("pool", alpha.uuid, "refreshed"))
    alpha.stock.systems()
    assert asked == []
    alpha.stock.events.get_nowait()
    alpha.stock.systems()
    assert asked == ["a.iso"]


def failing(monkeypatch: pytest.MonkeyPatch, failure: Callable[[], None]) -> None:
    monkeypatch.setattr(FakeStorageCalls, "download", lambda *_given: failure())


def test_one_that_cannot_be_read_is_told_by_its_name_and_holds_up_nobody(
    alpha: FakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> None:
        raise HypervisorError("cannot open file: Permission denied")

    failing(monkeypatch, refuse)
    lay(alpha, "debian-11.iso", format="iso")
    assert look(alpha, "debian-11.iso").os == "debian11"


def test_a_host_that_goes_away_leaves_the_rest_for_later(alpha: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone() -> None:
        raise HostUnreachable("away")

    failing(monkeypatch, gone)
    lay(alpha, "cd.iso", format="iso")
    alpha.stock.pools()
    with pytest.raises(HostUnreachable):
        alpha.stock.systems()
    assert alpha.volume("cd.iso").looked_at is None


def test_a_pool_that_hangs_is_left_out(alpha: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    hung = threading.Event()
    failing(monkeypatch, lambda: (hung.wait(), None)[1])
    monkeypatch.setattr(stock, "DEADLINE_SECONDS", 0.05)
    lay(alpha, "cd.iso", format="iso")
    inventory.reconcile_volumes(alpha.pool, ["cd.iso"])
    inventory.remember_volumes(alpha.pool, [alpha.connection.storage.volume(alpha.uuid, "cd.iso")])
    alpha.stock.systems()
    hung.set()
    assert list(alpha.stock.left_out) == [alpha.pool.pk]
    assert alpha.volume("cd.iso").looked_at is None


def test_what_became_another_image_meanwhile_is_looked_at_again(alpha: FakeHost) -> None:
    lay(alpha, "cd.iso", disc("CD"), format="iso")
    alpha.stock.pools()
    seen = alpha.volume("cd.iso")
    lay(alpha, "cd.iso", disc("CD") * 2, format="iso")
    alpha.stock.pools()
    inventory.remember_system(seen, ("debian11", "Debian 11"), has_label=True)
    assert (alpha.volume("cd.iso").os, alpha.volume("cd.iso").looked_at) == ("", None)


def test_a_name_longer_than_its_column_is_kept_as_far_as_it_goes(alpha: FakeHost) -> None:
    inventory.remember_system(alpha.volume("web-1.qcow2"), ("x" * 300, "y" * 300), has_label=False)
    assert (len(alpha.volume("web-1.qcow2").os), len(alpha.volume("web-1.qcow2").os_name)) == (64, 160)


# --- checksums


def test_the_checksum_of_a_volume(alpha: FakeHost) -> None:
    lay(alpha, "a.img", DATA)
    alpha.stock.pools()
    done = alpha.do("volume.checksum", alpha.volume("a.img"))
    digest = hashlib.sha256(DATA).hexdigest()
    assert (done.state, done.result) == (S.SUCCEEDED, {"sha256": digest, "bytes": len(DATA)})
    assert (alpha.volume("a.img").sha256, alpha.volume("a.img").sha256_at is not None) == (digest, True)
    assert done.virsh.endswith("--quiet vol-download --pool images a.img /dev/stdout | sha256sum")


def test_it_stays_while_nobody_writes_and_goes_when_somebody_has(alpha: FakeHost) -> None:
    lay(alpha, "a.img", DATA)
    alpha.stock.pools()
    alpha.do("volume.checksum", alpha.volume("a.img"))
    alpha.stock.pools()
    assert alpha.volume("a.img").sha256
    lay(alpha, "a.img", DATA[::-1], modified_at=1_000_001.5)
    alpha.stock.pools()
    assert (alpha.volume("a.img").sha256, alpha.volume("a.img").sha256_at) == ("", None)


def test_where_the_pool_tells_no_times_the_size_says_that_it_changed(alpha: FakeHost) -> None:
    lay(alpha, "a.img", DATA, modified_at=None)
    alpha.stock.pools()
    alpha.do("volume.checksum", alpha.volume("a.img"))
    lay(alpha, "a.img", DATA + b"x", modified_at=None)
    alpha.stock.pools()
    assert alpha.volume("a.img").sha256 == ""


@pytest.mark.parametrize("modified_at", [1_000_000.0, None])
def test_one_that_went_and_came_back_is_believed_if_it_has_its_time(alpha: FakeHost, modified_at: float | None) -> None:
    lay(alpha, "a.img", DATA, modified_at=modified_at)
    alpha.stock.pools()
    alpha.do("volume.checksum", alpha.volume("a.img"))
    gone = alpha.connection.storage.known[alpha.uuid].volumes.pop("a.img")
    alpha.stock.pools()
    alpha.connection.storage.known[alpha.uuid].volumes["a.img"] = gone
    alpha.stock.pools()
    assert bool(alpha.volume("a.img").sha256) == (modified_at is not None)


def test_one_made_anew_under_an_old_name_has_no_checksum(alpha: FakeHost) -> None:
    inventory.remember_checksum(alpha.pool, IMAGE, "a" * 64)
    alpha.connection.storage.known[alpha.uuid].volumes.pop("web-1.qcow2")
    alpha.stock.pools()
    assert alpha.do("volume.create", alpha.pool, name="web-1.qcow2", capacity=20 * GIB).state == S.SUCCEEDED
    assert alpha.volume("web-1.qcow2").sha256 == ""


def test_what_is_written_while_it_is_read_has_none(alpha: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    lay(alpha, "a.img", DATA)
    alpha.stock.pools()
    original = FakeStorageCalls.download

    def download(self: FakeStorageCalls, *given: object) -> None:
        original(self, *given)  # type: ignore[arg-type]
        lay(alpha, "a.img", DATA[::-1], modified_at=1_000_003.0)

    monkeypatch.setattr(FakeStorageCalls, "download", download)
    done = alpha.do("volume.checksum", alpha.volume("a.img"))
    assert done.state == S.FAILED
    assert done.error.startswith("Somebody wrote to it")
    assert alpha.volume("a.img").sha256 == ""


def test_it_tells_how_far_it_is_and_can_be_cancelled(alpha: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[str, int, int]] = []

    def report(_operation: object, phase: str, done: int, total: int) -> None:
        told.append((phase, done, total))
        if len(told) == 3:
            raise operations.Cancelled

    monkeypatch.setattr(context, "REPORT_SECONDS", 0.0)
    monkeypatch.setattr(operations, "report", report)
    lay(alpha, "a.img", DATA)
    alpha.stock.pools()
    done = alpha.do("volume.checksum", alpha.volume("a.img"))
    assert done.state == S.CANCELLED
    assert [phase for phase, _done, _total in told] == ["reading"] * 3
    assert 0 < told[0][1] < told[1][1] < told[2][1] <= len(DATA)
    assert {total for _phase, _done, total in told} == {len(DATA)}
    assert alpha.volume("a.img").sha256 == ""


@pytest.mark.parametrize(("device", "allowed"), [("disk", False), ("lun", False), ("cdrom", True), ("file", True)])
def test_what_a_running_machine_writes_to_has_none(alpha: FakeHost, device: str, allowed: bool) -> None:
    domain, volume = alpha.cast.domain, alpha.volume("web-1.qcow2")
    type(domain).objects.filter(pk=domain.pk).update(status=Status.RUNNING)
    DiskUse.objects.create(domain=domain, slot="vda", device=device, path=volume.path, live=True)
    if allowed:
        assert alpha.do("volume.checksum", volume).state == S.SUCCEEDED
        return
    with pytest.raises(operations.NotNow, match="web-1 runs on it: shut it down first"):
        alpha.ask("volume.checksum", volume)


def test_a_machine_that_started_while_it_waited_is_seen(alpha: FakeHost) -> None:
    domain, volume = alpha.cast.domain, alpha.volume("web-1.qcow2")
    waiting = alpha.ask("volume.checksum", volume)
    type(domain).objects.filter(pk=domain.pk).update(status=Status.RUNNING)
    DiskUse.objects.create(domain=domain, slot="vda", path=volume.path, live=True)
    done = alpha.carry_out(waiting)
    assert (done.state, done.error) == (
        S.FAILED,
        "It cannot be done any more: web-1 runs on it: shut it down first.",
    )


def test_it_takes_no_lock_and_waits_for_none(alpha: FakeHost) -> None:
    volume = alpha.volume("web-1.qcow2")
    alpha.ask("volume.resize", volume, capacity=40 * GIB)
    alpha.ask("volume.checksum", volume)


def test_an_upload_whose_sender_knows_its_checksum_leaves_it(
    alpha: FakeHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "WEBVIRT_HOME", tmp_path)
    monkeypatch.setattr(upload_runner, "WAIT_SECONDS", 0.0)
    operation = begin(alpha, DATA, "new.iso", sha256=hashlib.sha256(DATA).hexdigest())
    send_all(operation, DATA)
    assert alpha.carry_out(operation).state == S.SUCCEEDED
    alpha.stock.pools()
    assert alpha.volume("new.iso").sha256 == hashlib.sha256(DATA).hexdigest()


def test_one_that_went_through_two_workers_hands_has_none_unless_its_sender_knows_it(
    alpha: FakeHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "WEBVIRT_HOME", tmp_path)
    monkeypatch.setattr(upload_runner, "WAIT_SECONDS", 0.0)
    digest = hashlib.sha256(DATA).hexdigest()
    for name, known in (("a.img", ""), ("b.img", digest)):
        operation = begin(alpha, DATA, name, sha256=known)
        send(operation, DATA[:100], 0)
        alpha.carry_out(operation)
        send(operation, DATA[100:], 100)
        assert alpha.carry_out(operation).state == S.SUCCEEDED
        assert alpha.volume(name).sha256 == known


# --- what is an image


def test_which_volumes_are_images(alpha: FakeHost) -> None:
    pool, domain = alpha.pool, alpha.cast.domain
    Volume.objects.all().delete()
    for name, parts in (
        ("cd.iso", {"format": "iso"}),
        ("labelled", {"format": "raw", "kind": "network", "has_label": True}),
        ("cloud.qcow2", {}),
        ("cloud.img", {"format": "raw"}),
        ("base.qcow2", {}),
        ("over.qcow2", {"backing_path": "/i/base.qcow2"}),
        ("own.qcow2", {}),
        ("named.qcow2", {}),
        ("kernel", {"format": "raw"}),
        ("lv", {"kind": "block", "format": "raw"}),
        ("notes.txt", {"format": "raw", "capacity": 0}),
        ("old.vmdk", {"format": "vmdk"}),
    ):
        make_volume(pool, name, path=f"/i/{name}", **parts)
    uses_of = (("cd.iso", "cdrom"), ("base.qcow2", "disk"), ("over.qcow2", "disk"), ("own.qcow2", "disk"))
    for name, device in (*uses_of, ("kernel", "file")):
        DiskUse.objects.create(domain=domain, slot=name, device=device, path=f"/i/{name}")
    DiskUse.objects.create(domain=domain, slot="vdz", pool=pool.name, volume="named.qcow2")
    elsewhere = make_domain(make_host("omega", hostname="o"), "web-9", 9)
    DiskUse.objects.create(domain=elsewhere, slot="vda", path="/i/cloud.img")
    found = images.images_of(Volume.objects.all())
    assert set(found.values_list("name", flat=True)) == {
        "cd.iso",
        "labelled",
        "cloud.qcow2",
        "cloud.img",
        "base.qcow2",
        "kernel",
    }
    assert set(images.chosen(found, kind="iso").values_list("name", flat=True)) == {"cd.iso", "labelled"}


def test_on_shared_storage_a_disk_of_another_hosts_machine_is_none(alpha: FakeHost) -> None:
    omega = make_host("omega", hostname="o")
    here = make_pool(alpha.cast.host, "nas", 5, origin="netfs nas:/srv")
    there = make_pool(omega, "nas-there", 6, origin="netfs nas:/srv")
    for name in ("own.qcow2", "cloud.qcow2"):
        make_volume(here, name, path=f"/mnt/nas/{name}")
        make_volume(there, name, path=f"/media/{name}")
    elsewhere = make_domain(omega, "web-9", 9)
    DiskUse.objects.create(domain=elsewhere, slot="vda", path="/media/own.qcow2")
    found = images.images_of(Volume.objects.filter(pool__in=(here, there)))
    assert list(found.values_list("name", flat=True).order_by("pk")) == ["cloud.qcow2"] * 2
    users = uses.names_of_users(list(Volume.objects.filter(pool__in=(here, there)).select_related("pool")))
    assert {Volume.objects.get(pk=pk).name: names for pk, names in users.items()} == {
        "own.qcow2": ["web-9"],
        "cloud.qcow2": [],
    }
    assert [names for names in users.values() if names] == [["web-9"]] * 2

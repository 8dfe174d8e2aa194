"""Pools and volumes: what a host says made into rows, verbs on them, and what is never deleted."""

from __future__ import annotations

import time
from dataclasses import asdict, replace
from typing import Any

import pytest
from django.utils import timezone

from tests.people import make_domain, make_host, make_pool, make_volume
from tests.services.conftest import GIB, IMAGE, FakeHost
from webvirt.hypervisor.errors import HostUnreachable, HypervisorError
from webvirt.hypervisor.types import DiskInfo, DomainInfo, DomainReading, DomainState, DomainSummary, PoolSupport
from webvirt.models import DiskUse, Domain, Host, Operation, OperationState, Pool, Volume
from webvirt.services import inventory, operations, uses

S = OperationState


def reading(domain: Domain, *disks: DiskInfo, running: bool = False) -> DomainReading:
    """A definition with these disks."""
    info = DomainInfo(domain.uuid, domain.name, disks=disks)
    summary = DomainSummary(domain.uuid, domain.name, DomainState.RUNNING if running else DomainState.SHUTOFF)
    return DomainReading(summary, info, f"<domain>{disks}</domain>", info if running else None, "x" * running)


def uses_image(alpha: FakeHost, *, running: bool = False) -> None:
    domain = alpha.cast.domain
    inventory.reconcile(domain.host, [reading(domain, running=running).summary])
    inventory.remember_definition(domain.host, reading(domain, DiskInfo("vda", source=IMAGE.path), running=running))


# --- what a host says


def test_pools_and_volumes_become_rows(alpha: FakeHost) -> None:
    pool, volume = alpha.pool, alpha.volume("web-1.qcow2")
    assert (pool.name, pool.status, pool.type, pool.capacity) == ("images", "running", "dir", 100 * GIB)
    assert (volume.format, volume.capacity, volume.path) == ("qcow2", 20 * GIB, IMAGE.path)


def test_what_is_gone_is_missing_and_comes_back_the_same(alpha: FakeHost) -> None:
    volume, kept = alpha.volume("web-1.qcow2"), alpha.connection.storage.known[alpha.uuid]
    gone = kept.volumes.pop("web-1.qcow2")
    alpha.stock.pools()
    assert alpha.names() == []
    kept.volumes["web-1.qcow2"] = gone
    alpha.stock.pools()
    assert alpha.volume("web-1.qcow2").pk == volume.pk
    assert alpha.names() == ["web-1.qcow2"]
    del alpha.connection.storage.known[alpha.uuid]
    alpha.stock.pools()
    assert alpha.pool.missing_since is not None
    assert Pool.objects.kept().count() == 0


def test_a_stopped_pool_keeps_what_was_known_of_it(alpha: FakeHost) -> None:
    alpha.connection.storage.stop(alpha.uuid)
    alpha.stock.pools()
    assert (alpha.pool.status, alpha.pool.capacity) == ("inactive", 100 * GIB)
    assert alpha.names() == ["web-1.qcow2"]


def test_one_that_is_stopped_during_a_look_keeps_no_other_from_it(
    alpha: FakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = alpha.connection.storage
    later = storage.put("later", IMAGE)
    listed = storage.list()
    storage.stop(alpha.uuid)
    monkeypatch.setattr(storage, "list", lambda: listed)
    alpha.stock.pools()
    assert list(Volume.objects.filter(pool__uuid=later.uuid).values_list("name", flat=True)) == [IMAGE.name]


def test_a_thousand_volumes_are_read_once_and_then_a_few_at_a_time(alpha: FakeHost) -> None:
    kept = alpha.connection.storage.known[alpha.uuid]
    for number in range(1000):
        name = f"v-{number:04d}"
        kept.volumes[name] = replace(kept.volumes["web-1.qcow2"], info=replace(IMAGE, name=name, path=f"/srv/{name}"))
    alpha.stock.pools()
    assert Volume.objects.filter(read_at=None).count() == 0
    before = timezone.now()
    alpha.stock.pools()
    assert 0 < Volume.objects.filter(read_at__gte=before).count() <= 100


# --- who uses what


def test_a_disk_by_path_and_one_by_volume_are_uses(alpha: FakeHost) -> None:
    domain = alpha.cast.domain
    for disk in (DiskInfo("vda", source=IMAGE.path), DiskInfo("vdb", type="volume", source="images/web-1.qcow2")):
        inventory.remember_definition(domain.host, reading(domain, disk))
        assert [(use.name, use.slot) for use in uses.uses_of(alpha.volume("web-1.qcow2"))] == [
            (domain.name, disk.target)
        ]
    inventory.remember_definition(domain.host, reading(domain))
    assert uses.uses_of(alpha.volume("web-1.qcow2")) == []
    assert not DiskUse.objects.exists()


def test_the_same_path_on_another_host_is_another_file(alpha: FakeHost) -> None:
    elsewhere = make_domain(make_host("omega", hostname="o"), "web-9", 9)
    inventory.remember_definition(elsewhere.host, reading(elsewhere, DiskInfo("vda", source=IMAGE.path)))
    assert uses.uses_of(alpha.volume("web-1.qcow2")) == []


def test_shared_storage_is_used_by_machines_of_every_host(alpha: FakeHost) -> None:
    omega = make_host("omega", hostname="o")
    here = make_pool(alpha.cast.host, "nas", 5, origin="netfs nas:/srv")
    there = make_pool(omega, "nas-there", 6, origin="netfs nas:/srv")
    volume = make_volume(here, "a.img", path="/mnt/nas/a.img")
    make_volume(there, "a.img", path="/media/a.img")
    elsewhere = make_domain(omega, "web-9", 9)
    inventory.remember_definition(omega, reading(elsewhere, DiskInfo("vda", source="/media/a.img")))
    assert [use.name for use in uses.uses_of(volume)] == ["web-9"]


def test_a_chain_is_followed_to_its_bottom_even_in_a_circle(alpha: FakeHost) -> None:
    pool = alpha.pool
    base = make_volume(pool, "base", path="/b", backing_path="/elsewhere")
    middle = make_volume(pool, "middle", path="/m", backing_path="/b")
    top = make_volume(pool, "top", path="/t", backing_path="/m")
    assert uses.chain_of(top) == [middle, base, "/elsewhere"]
    Volume.objects.filter(pk=base.pk).update(backing_path="/t")
    assert uses.chain_of(top) == [middle, base]


# --- verbs


def test_create_clone_resize_delete(alpha: FakeHost) -> None:
    assert alpha.do("volume.create", alpha.pool, name="a.qcow2", capacity=GIB).state == S.SUCCEEDED
    assert alpha.volume("a.qcow2").capacity == GIB
    assert alpha.do("volume.clone", alpha.volume("a.qcow2"), name="b.img", format="raw").state == S.SUCCEEDED
    assert alpha.volume("b.img").format == "raw"
    assert alpha.do("volume.resize", alpha.volume("b.img"), capacity=2 * GIB).state == S.SUCCEEDED
    assert alpha.volume("b.img").capacity == 2 * GIB
    shrunk = alpha.do("volume.resize", alpha.volume("b.img"), capacity=GIB)
    assert (shrunk.state, shrunk.error[:35]) == (S.FAILED, "A volume cannot be made smaller: th")
    assert alpha.do("volume.delete", alpha.volume("b.img")).state == S.SUCCEEDED
    assert alpha.names() == ["a.qcow2", "web-1.qcow2"]


def test_a_linked_one_names_its_base_and_protects_it(alpha: FakeHost) -> None:
    base = alpha.volume("web-1.qcow2")
    assert alpha.do("volume.create", alpha.pool, name="linked.qcow2", backing=base.pk).state == S.SUCCEEDED
    assert alpha.volume("linked.qcow2").backing_path == base.path
    with pytest.raises(operations.NotNow, match=r"based on it: linked\.qcow2"):
        alpha.ask("volume.delete", base)


@pytest.mark.parametrize("kind", ["volume.delete", "volume.wipe"])
def test_what_is_in_use_is_refused_by_name(alpha: FakeHost, kind: str) -> None:
    uses_image(alpha)
    with pytest.raises(operations.NotNow, match="a disk of web-1"):
        alpha.ask(kind, alpha.volume("web-1.qcow2"))


@pytest.mark.parametrize("kind", ["volume.delete", "volume.wipe"])
def test_what_came_into_use_while_it_waited_is_not_lost(alpha: FakeHost, kind: str) -> None:
    operation = alpha.ask(kind, alpha.volume("web-1.qcow2"))
    uses_image(alpha)
    done = alpha.carry_out(operation)
    assert (done.state, done.error) == (S.FAILED, "It cannot be done any more: it is a disk of web-1.")
    assert alpha.names() == ["web-1.qcow2"]


def test_what_only_the_host_knows_to_be_in_use_is_not_lost(alpha: FakeHost) -> None:
    """Somebody attached it a moment ago, and no event has told us yet."""
    operation = alpha.ask("volume.delete", alpha.volume("web-1.qcow2"))
    alpha.connection.define("by-virsh", files=(IMAGE.path,))
    done = alpha.carry_out(operation)
    assert done.state == S.FAILED
    assert "it is a disk of" in done.error
    assert "web-1.qcow2" in alpha.connection.storage.volumes(alpha.uuid)


def test_a_copy_of_what_a_machine_writes_to_is_refused(alpha: FakeHost) -> None:
    uses_image(alpha, running=True)
    with pytest.raises(operations.NotNow, match="web-1 runs on it"):
        alpha.ask("volume.clone", alpha.volume("web-1.qcow2"), name="copy.qcow2")


def test_a_name_that_is_taken_is_refused_and_what_has_it_stays(alpha: FakeHost) -> None:
    done = alpha.do("volume.create", alpha.pool, name="web-1.qcow2", capacity=GIB)
    assert (done.state, done.error) == (S.FAILED, "There is a volume of this name already.")
    alpha.stock.pools()
    assert "web-1.qcow2" in alpha.connection.storage.volumes(alpha.uuid)


# --- what is left half made


def test_a_copy_whose_worker_died_is_removed_by_the_watcher(alpha: FakeHost) -> None:
    operation = operations.claim(alpha.ask("volume.clone", alpha.volume("web-1.qcow2"), name="half.qcow2").pk)
    assert operation is not None
    inventory.expect_volume(alpha.pool, "half.qcow2", operation)
    kept = alpha.connection.storage.known[alpha.uuid]
    kept.volumes["half.qcow2"] = replace(kept.volumes["web-1.qcow2"], info=replace(IMAGE, name="half.qcow2"))
    alpha.stock.pools()
    assert alpha.volume("half.qcow2").is_made
    with pytest.raises(operations.NotNow, match="still being made"):
        alpha.ask("volume.delete", alpha.volume("half.qcow2"))
    assert operations.finish(operation, S.FAILED, error="The worker that ran this was lost.")
    alpha.stock.pools()
    assert alpha.connection.storage.volumes(alpha.uuid) == ["web-1.qcow2"]
    alpha.stock.pools()
    assert alpha.names() == ["web-1.qcow2"]


def test_what_was_there_before_the_operation_is_never_removed(alpha: FakeHost) -> None:
    operation = operations.claim(alpha.ask("volume.create", alpha.pool, name="theirs.qcow2", capacity=GIB).pk)
    assert operation is not None
    inventory.expect_volume(alpha.pool, "theirs.qcow2", operation)
    kept = alpha.connection.storage.known[alpha.uuid]
    theirs = replace(IMAGE, name="theirs.qcow2", modified_at=1_000_000.0)
    kept.volumes["theirs.qcow2"] = replace(kept.volumes["web-1.qcow2"], info=theirs)
    operations.finish(operation, S.FAILED, error="lost")
    alpha.stock.pools()
    assert alpha.names() == ["theirs.qcow2", "web-1.qcow2"]


def left_half_made(alpha: FakeHost, name: str = "half.qcow2", *, there: bool = True) -> Operation:
    """A copy whose operation has failed, as when libvirt dies under it; its copier may have made the file."""
    operation = operations.claim(alpha.ask("volume.clone", alpha.volume("web-1.qcow2"), name=name).pk)
    assert operation is not None
    inventory.expect_volume(alpha.pool, name, operation)
    assert operations.finish(operation, S.FAILED, error="client socket is closed")
    if there:
        appears(alpha, name)
    return operation


def appears(alpha: FakeHost, name: str) -> None:
    kept = alpha.connection.storage.known[alpha.uuid].volumes
    info = replace(IMAGE, name=name, path=f"/srv/images/{name}", modified_at=time.time())
    kept[name] = replace(kept["web-1.qcow2"], info=info)


def test_what_is_left_half_made_is_for_no_use_until_it_is_removed(alpha: FakeHost) -> None:
    left_half_made(alpha)
    half = alpha.volume("half.qcow2")
    assert not half.is_whole
    for kind, parameters in (("volume.clone", {"name": "c"}), ("volume.resize", {"capacity": 30 * GIB})):
        with pytest.raises(operations.NotNow, match="left half made"):
            alpha.ask(kind, half, **parameters)
    with pytest.raises(operations.Invalid) as refused:
        alpha.ask("volume.create", alpha.pool, name="c", backing=half.pk)
    assert "not whole" in refused.value.fields["backing"]
    assert alpha.do("volume.delete", half).state == S.SUCCEEDED
    assert (alpha.names(), alpha.volume("half.qcow2").making) == (["web-1.qcow2"], None)


def test_what_libvirt_has_not_listed_yet_is_looked_for(alpha: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    """libvirt looked at the pool when it started; the copier that it left behind made its file a moment later."""
    left_half_made(alpha, there=False)
    monkeypatch.setattr(alpha.connection.storage, "refresh", lambda uuid: appears(alpha, "half.qcow2"))
    alpha.stock.pools()
    assert alpha.connection.storage.volumes(alpha.uuid) == ["web-1.qcow2"]
    assert alpha.names() == ["web-1.qcow2"]


def test_what_somebody_else_makes_later_under_its_name_is_theirs(alpha: FakeHost) -> None:
    left_half_made(alpha, there=False)
    alpha.stock.pools()
    assert alpha.volume("half.qcow2").making is None
    appears(alpha, "half.qcow2")
    alpha.stock.pools()
    alpha.stock.pools()
    assert alpha.connection.storage.volumes(alpha.uuid) == ["half.qcow2", "web-1.qcow2"]
    assert alpha.volume("half.qcow2").is_whole


def test_what_cannot_be_removed_yet_keeps_nothing_waiting(alpha: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    left_half_made(alpha, "a.qcow2")
    left_half_made(alpha, "b.qcow2")
    delete = alpha.connection.storage.delete_volume

    def in_use(uuid: str, name: str) -> None:
        if name == "a.qcow2":
            raise HypervisorError("lvremove: Logical volume a.qcow2 in use.")
        delete(uuid, name)

    monkeypatch.setattr(alpha.connection.storage, "delete_volume", in_use)
    alpha.stock.pools()
    assert alpha.names() == ["a.qcow2", "web-1.qcow2"]
    assert not alpha.volume("a.qcow2").is_whole
    monkeypatch.undo()
    alpha.connection.storage.delete_volume(alpha.uuid, "a.qcow2")
    alpha.stock.pools()
    assert alpha.names() == ["web-1.qcow2"]


def test_the_same_asked_again_waits_until_what_was_left_is_removed(
    alpha: FakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    left_half_made(alpha)
    monkeypatch.setattr("time.sleep", lambda seconds: alpha.stock.pools())
    done = alpha.do("volume.clone", alpha.volume("web-1.qcow2"), name="half.qcow2")
    assert done.state == S.SUCCEEDED, done.error
    assert alpha.volume("half.qcow2").is_whole


def test_the_watcher_that_was_slower_takes_nothing_from_the_next_operation(alpha: FakeHost) -> None:
    left_half_made(alpha)
    (old,) = inventory.left_half_made(alpha.pool)
    alpha.connection.storage.delete_volume(alpha.uuid, "half.qcow2")
    again = operations.claim(alpha.ask("volume.clone", alpha.volume("web-1.qcow2"), name="half.qcow2").pk)
    assert again is not None
    inventory.expect_volume(alpha.pool, "half.qcow2", again)
    appears(alpha, "half.qcow2")
    alpha.stock.remove(alpha.pool, old)
    assert alpha.connection.storage.volumes(alpha.uuid) == ["half.qcow2", "web-1.qcow2"]
    assert (alpha.volume("half.qcow2").making, alpha.volume("half.qcow2").missing_since) == (again, None)


# --- pools


def test_a_pool_from_its_making_to_its_end(alpha: FakeHost) -> None:
    host = alpha.cast.host
    made = alpha.do("pool.create", host, name="new", type="dir", target_path="/srv/new", build=True)
    assert made.state == S.SUCCEEDED
    pool = Pool.objects.get(name="new")
    assert (pool.status, pool.autostart, pool.info["target_path"]) == ("running", True, "/srv/new")
    assert alpha.do("pool.stop", pool).state == S.SUCCEEDED
    pool.refresh_from_db()
    assert alpha.do("pool.delete", pool).state == S.SUCCEEDED
    assert not Pool.objects.kept().filter(name="new").exists()


def test_a_pool_that_cannot_start_leaves_no_definition(alpha: FakeHost) -> None:
    made = alpha.do("pool.create", alpha.cast.host, name="new", type="dir", target_path="/srv/new")
    assert made.state == S.FAILED
    assert "No such file or directory" in made.error
    assert [pool.name for pool in alpha.connection.storage.list()] == ["images"]


def test_a_pool_under_running_machines_is_not_stopped(alpha: FakeHost) -> None:
    uses_image(alpha, running=True)
    with pytest.raises(operations.NotNow, match="web-1 runs on its volumes"):
        alpha.ask("pool.stop", alpha.pool)


def test_a_pool_with_volumes_is_not_deleted(alpha: FakeHost) -> None:
    assert alpha.do("pool.stop", alpha.pool).state == S.SUCCEEDED
    with pytest.raises(operations.NotNow, match="there are 1 volumes in it"):
        alpha.ask("pool.delete", alpha.pool)


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"type": "dir", "target_path": "/etc"}, "host's own system"),
        ({"type": "dir", "target_path": "/srv/../etc"}, "no '..'"),
        ({"type": "netfs", "target_path": "/srv/x", "source_format": "nfs", "source_host": "nas"}, "exported path"),
        ({"type": "dir", "target_path": "/srv/x", "source_host": "nas"}, "no such part"),
    ],
)
def test_what_no_pool_can_be_is_refused_before_the_host_is_asked(
    alpha: FakeHost, parameters: dict[str, str], words: str
) -> None:
    alpha.connection.fails_with = HostUnreachable("away")
    with pytest.raises(operations.Invalid, match=words):
        alpha.ask("pool.create", alpha.cast.host, name="p", **parameters)


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"type": "zfs", "source_name": "tank"}, "cannot run such pools"),
        (
            {"type": "fs", "source_devices": ["/dev/sdb1"], "target_path": "/srv/x", "source_format": "gfs"},
            "ext4, xfs",
        ),
    ],
)
def test_what_this_host_cannot_run_is_refused_at_the_form(
    alpha: FakeHost, parameters: dict[str, Any], words: str
) -> None:
    told = [PoolSupport("dir", True), PoolSupport("zfs", False), PoolSupport("fs", True, ("ext4", "xfs"))]
    host = alpha.cast.host
    host.info = {"pools": [asdict(support) for support in told]}
    host.save()
    with pytest.raises(operations.Invalid, match=words):
        alpha.ask("pool.create", host, name="p", **parameters)
    # One that tells nothing is asked when it comes to it.
    Host.objects.filter(pk=host.pk).update(info={})
    assert alpha.ask("pool.create", host, name="p", **parameters).state == S.QUEUED

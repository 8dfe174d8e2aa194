"""Machines cloned on their own host: what is made, what is refused, and that nothing half made stays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import redis

from tests.people import make_volume
from tests.services.carrying import Step, Taken, demand_nothing_left
from tests.services.cloned import FILES, KIND, fake_volumes, host, machine, sources, template
from tests.services.conftest import GIB, IMAGE, FakeHost
from tests.services.shop import make_shop, really_there
from tests.services.test_bin import again, reconcile
from tests.services.test_creation import ISO, KEY, made, wish
from webvirt.hypervisor.errors import HypervisorError
from webvirt.hypervisor.types import DomainState
from webvirt.hypervisor.xml.parse import parse_domain
from webvirt.models import Domain, Grant, Host, Operation, OperationState, Pool, Role, Status, Volume
from webvirt.services import bulk, inventory, operations, runners, uses
from webvirt.services.catalogue import BY_KIND
from webvirt.services.catalogue.cloned_disks import Disk, disks_of, ways_for
from webvirt.services.catalogue.wishes import Way, names_of
from webvirt.services.quotas import Amounts, used_in
from webvirt.services.runners.context import Context

__all__ = ["host", "machine", "template"]

S = OperationState


# --- what is made


def test_a_clone_has_copies_of_the_disks_and_shares_the_disc(alpha: FakeHost, machine: Domain) -> None:
    before = alpha.connection.domains.known[machine.uuid].xml()
    done = alpha.do(KIND, machine, name="new-2", start=True)
    assert done.state == S.SUCCEEDED, done.error
    row = Domain.objects.get(name="new-2")
    assert (done.result, done.domain, done.subject) == ({"domain": "new-2", "id": row.pk}, row, f"domain:{machine.pk}")
    assert (row.making, row.status, row.title, row.is_template) == (None, Status.RUNNING, "Shop", False)
    assert sources(alpha, "new-2") == {
        "vda": f"{FILES}/new-2.qcow2",
        "vdb": f"{FILES}/new-2-2.raw",
        "sda": f"{FILES}/{ISO.name}",
    }
    assert bytes(fake_volumes(alpha)["new-2.qcow2"].data) == b"what is on it"
    copies = [alpha.volume(name) for name in ("new-2.qcow2", "new-2-2.raw")]
    assert [(one.making, one.backing_path, one.format) for one in copies] == [(None, "", "qcow2"), (None, "", "raw")]
    old, new = (parse_domain(alpha.connection.domains.known[one.uuid].xml()) for one in (machine, row))
    assert old.interfaces[0].mac != new.interfaces[0].mac
    assert (new.interfaces[0].source, new.memory_kib, new.os_id) == ("lan", old.memory_kib, old.os_id)
    assert alpha.connection.domains.known[machine.uuid].xml() == before


def test_each_disk_goes_as_it_was_said(alpha: FakeHost, machine: Domain) -> None:
    fast = alpha.connection.storage.put("fast").uuid
    alpha.stock.pools()
    disks = [
        {"target": "vda", "way": "copy", "pool": Pool.objects.get(uuid=fast).pk},
        {"target": "vdb", "way": "leave"},
        {"target": "sda", "way": "leave"},
    ]
    done = alpha.do(KIND, machine, name="new-2", title="", disks=disks)
    assert done.state == S.SUCCEEDED, done.error
    # The drive stays, and is empty.
    assert sources(alpha, "new-2") == {"vda": "/srv/fast/new-2.qcow2", "sda": ""}
    assert Domain.objects.get(name="new-2").title == ""
    assert "new-2-2.raw" not in alpha.names()


def test_the_disc_with_settings_stays_with_the_old_one_and_the_new_one_has_its_own(
    alpha: FakeHost, host: Host, store: redis.Redis
) -> None:
    done = alpha.do("domain.create", host, **wish(alpha, setup={"user": "old"}, start=False))
    assert done.state == S.SUCCEEDED, done.error
    machine = Domain.objects.get(name="new-1")
    setup = {"user": "ann", "ssh_keys": [KEY], "hostname": "clone.example.org"}
    done = alpha.do(KIND, machine, name="new-2", setup=setup, password="never-to-be-seen")
    assert done.state == S.SUCCEEDED, done.error
    assert sources(alpha, "new-2") == {"vda": f"{FILES}/new-2.qcow2", "sda": f"{FILES}/new-2-setup.iso"}
    row = Domain.objects.get(name="new-2")
    assert row.seed == alpha.volume("new-2-setup.iso")
    disc = bytes(fake_volumes(alpha)["new-2-setup.iso"].data).replace(b"\n", b"")
    for text in (
        "name: ann",
        "clone.example.org",
        row.uuid,
        parse_domain(made(alpha, "new-2").xml()).interfaces[0].mac,
    ):
        assert text.encode() in disc, text
    assert b"never-to-be-seen" not in disc
    # And without settings it has none.
    assert alpha.do(KIND, machine, name="new-3").state == S.SUCCEEDED
    assert sources(alpha, "new-3")["sda"] == ""
    assert Domain.objects.get(name="new-3").seed is None


def test_of_a_template_layers_are_made(alpha: FakeHost, template: Domain) -> None:
    names = names_of("shop-{1..3}")
    asked = bulk.submit_all(
        alpha.actor, BY_KIND[KIND], again(template), [{"name": name, "start": True} for name in names]
    )
    for operation in asked:
        assert alpha.carry_out(operation).state == S.SUCCEEDED, operation.error
    layers = [alpha.volume(f"{name}.qcow2") for name in names]
    assert {(one.backing_path, one.backing_format, one.capacity) for one in layers} == {
        (f"{FILES}/new-1.qcow2", "qcow2", 5 * GIB)
    }
    raw = alpha.volume("shop-1-2.qcow2")
    assert (raw.backing_path, raw.backing_format) == (f"{FILES}/new-1-2.raw", "raw")
    assert [made(alpha, name).state for name in names] == [DomainState.RUNNING] * 3


def test_a_full_copy_of_a_template_is_one(alpha: FakeHost, template: Domain) -> None:
    disks = [{"target": "vda", "way": "copy"}, {"target": "vdb", "way": "leave"}]
    assert alpha.do(KIND, template, name="new-2", disks=disks).state == S.SUCCEEDED
    assert alpha.volume("new-2.qcow2").backing_path == ""
    assert alpha.do("domain.from_template", again(template)).state == S.SUCCEEDED


def test_a_clone_that_does_not_start_stays(alpha: FakeHost, machine: Domain, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(uuid: str) -> None:
        raise HypervisorError("no more memory")

    monkeypatch.setattr(alpha.connection.domains, "start", refuses)
    done = alpha.do(KIND, machine, name="new-2", start=True)
    assert (done.state, done.error) == (S.FAILED, "It was made, but does not start: no more memory")
    alpha.look_again()
    assert Domain.objects.get(name="new-2").status == Status.SHUTOFF


# --- what becomes of a disk


def disk(alpha: FakeHost, **more: Any) -> Disk:
    image, pool = alpha.volume(IMAGE.name), alpha.pool
    plain = Disk("vda", "disk", IMAGE.path, False, image, image, place=pool, layer_place=pool)
    return replace(plain, **more)


FULL, LINKED = (Way.COPY, Way.LEAVE), (Way.LINK, Way.COPY, Way.LEAVE)
CHOICES: dict[str, tuple[dict[str, Any], tuple[Way, ...], str]] = {
    "a disk": ({}, FULL, "its own to write to"),
    "a disk of a template": ({"of_template": True}, LINKED, "never changes"),
    "a disc": ({"is_read_only": True, "device": "cdrom"}, (Way.SHARE, Way.LEAVE), "only read"),
    "a disc that is no volume": ({"is_read_only": True, "volume": None}, (Way.SHARE, Way.LEAVE), "only read"),
    "the disc with settings": ({"is_read_only": True, "is_seed": True}, (Way.LEAVE,), "old machine"),
    "in no pool": ({"volume": None}, (Way.LEAVE,), "in no pool"),
    "in no pool, of a template": ({"volume": None, "of_template": True}, (Way.LEAVE,), "in no pool"),
    "nowhere to copy to": ({"place": None}, (Way.LEAVE,), "no pool is running"),
    "nowhere for a layer": ({"of_template": True, "layer_place": None}, FULL, "no layer over it"),
}


@pytest.mark.parametrize("case", CHOICES)
def test_what_becomes_of_a_disk_has_a_reason(alpha: FakeHost, case: str) -> None:
    more, ways, words = CHOICES[case]
    found, reason = ways_for(disk(alpha, **more))
    assert found == ways
    assert words in str(reason)


@pytest.mark.parametrize("more", [{"encrypted": True}, {"format": "vmdk"}, {"path": "images/web"}])
def test_there_is_no_layer_over_what_libvirt_could_not_open_below(alpha: FakeHost, more: dict[str, Any]) -> None:
    Volume.objects.filter(name=IMAGE.name).update(**more)
    assert ways_for(disk(alpha, of_template=True))[0] == FULL


def test_a_half_made_volume_is_left_out(alpha: FakeHost, machine: Domain) -> None:
    Volume.objects.filter(name=IMAGE.name).update(making=Operation.objects.first())
    ways, reason = ways_for(disk(alpha))
    assert (ways, str(reason)) == ((Way.LEAVE,), uses.volume_is_half_made(alpha.volume(IMAGE.name)))


def test_a_copy_goes_where_its_disk_is(alpha: FakeHost, machine: Domain) -> None:
    alpha.connection.storage.put("larger").capacity = 1000 * GIB
    alpha.stock.pools()
    assert {one.place for one in disks_of(machine) if one.volume} == {alpha.pool}


# --- what is refused


WRONG: dict[str, tuple[dict[str, Any], str, str]] = {
    "a disk that both write to": ({"disks": [{"target": "vda", "way": "share"}]}, "disks.0.way", "Two machines"),
    "a layer over what changes": ({"disks": [{"target": "vda", "way": "link"}]}, "disks.0.way", "a template first"),
    "a copy of a disc": ({"disks": [{"target": "sda", "way": "copy"}]}, "disks.0.way", "No copy"),
    "a disk that is not there": ({"disks": [{"target": "vdz", "way": "copy"}]}, "disks.0.target", "no such disk"),
    "a pool of nobody": ({"disks": [{"target": "vda", "way": "copy", "pool": 4711}]}, "disks.0.pool", "not on this"),
    "a disk named twice": ({"disks": [{"target": "vda", "way": "copy"}] * 2}, "", "once"),
    "a name that is taken": ({"name": "web-1"}, "name", "of this name"),
    "its own name": ({"name": "new-1"}, "name", "of this name"),
    "a name that is none": ({"name": "../x"}, "name", "must not start"),
    "an address that is none": ({"setup": {"address": "192.0.2.300/24"}}, "setup", "address"),
    "a password of nobody": ({"password": "secret-1"}, "", "a password is for the user"),
    "what nobody knows": ({"uuid": "x"}, "uuid", "Extra"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_does_not_fit_is_refused_with_the_field(alpha: FakeHost, machine: Domain, wrong: str) -> None:
    more, field, words = WRONG[wrong]
    with pytest.raises(operations.Invalid) as refused:
        alpha.ask(KIND, machine, **{"name": "new-2"} | more)
    assert list(refused.value.fields) == [field]
    assert words in refused.value.fields[field]


def test_its_disks_names_have_to_be_free(alpha: FakeHost, machine: Domain) -> None:
    make_volume(alpha.pool, "new-2-2.raw")
    with pytest.raises(operations.Invalid, match=r"Its disk would be new-2-2\.raw"):
        alpha.ask(KIND, machine, name="new-2")


def test_what_both_would_write_to_is_refused_whatever_it_is(alpha: FakeHost, machine: Domain) -> None:
    there = alpha.connection.domains.known[machine.uuid]
    memory = "<memory model='nvdimm'><source><path>/srv/nv</path></source></memory></devices>"
    there.made = there.made.replace("</devices>", memory)
    inventory.remember_definition(machine.host, alpha.connection.domains.read(machine.uuid))
    with pytest.raises(operations.Invalid, match="kept in a file"):
        alpha.ask(KIND, machine, name="new-2")


def test_one_whose_disks_are_not_all_of_it_is_not_cloned(alpha: FakeHost, machine: Domain) -> None:
    operation = alpha.ask(KIND, machine, name="new-2")
    alpha.connection.domains.known[machine.uuid].saved = True
    reconcile(alpha)
    with pytest.raises(operations.Refused, match="restore it"):
        alpha.ask(KIND, machine, name="new-3")
    assert alpha.carry_out(operation).state == S.FAILED
    alpha.look_again()
    assert not Domain.objects.filter(name="new-2").exists()


def test_only_who_owns_the_host_too_may_clone(alpha: FakeHost, machine: Domain) -> None:
    someone = alpha.cast.owner
    Grant.objects.create(user=someone, role=Role.OWNER, domain=machine)
    alpha.actor = replace(alpha.actor, user=someone)
    with pytest.raises(operations.Denied):
        alpha.ask(KIND, machine, name="new-2")
    grant = Grant.objects.create(user=someone, role=Role.OWNER, host=machine.host)
    operation = alpha.ask(KIND, machine, name="new-2")
    grant.delete()
    runners.run(operation.pk)
    operation.refresh_from_db()
    assert operation.state == S.DENIED


# --- what happens meanwhile


def test_nothing_else_is_done_to_it_while_it_is_cloned(alpha: FakeHost, machine: Domain) -> None:
    cloning = alpha.ask(KIND, machine, name="new-2")
    other = alpha.ask(KIND, machine, name="new-3")
    for kind, more in (
        ("domain.start", {}),
        ("domain.delete", {}),
        ("domain.to_template", {}),
        ("domain.edit", {"title": "x"}),
    ):
        with pytest.raises(operations.Busy) as busy:
            alpha.ask(kind, machine, **more)
        assert busy.value.holder in (cloning, other)
    operations.cancel(cloning)
    operations.cancel(other)
    alpha.ask("domain.start", machine)
    with pytest.raises(operations.Busy, match="Start"):
        alpha.ask(KIND, machine, name="new-2")


def test_what_was_written_meanwhile_is_no_clone(
    alpha: FakeHost, machine: Domain, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = alpha.connection.storage
    real = storage.clone_volume

    def written(*args: Any) -> None:
        real(*args)
        volume = fake_volumes(alpha)["new-1.qcow2"]
        volume.info = replace(volume.info, modified_at=(volume.info.modified_at or 0) + 1)

    monkeypatch.setattr(storage, "clone_volume", written)
    done = alpha.do(KIND, machine, name="new-2")
    assert (done.state, "while they were copied" in done.error) == (S.FAILED, True)
    alpha.look_again()
    assert sorted(alpha.names()) == sorted(["new-1.qcow2", "new-1-2.raw", ISO.name, IMAGE.name])


def test_started_on_its_host_meanwhile_it_is_no_clone(
    alpha: FakeHost, machine: Domain, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = alpha.connection.storage
    real = storage.clone_volume

    def started(*args: Any) -> None:
        real(*args)
        alpha.connection.domains.known[machine.uuid].state = DomainState.RUNNING

    monkeypatch.setattr(storage, "clone_volume", started)
    done = alpha.do(KIND, machine, name="new-2")
    assert (done.state, done.error) == (S.FAILED, "It is running: shut it down first.")
    alpha.look_again()
    assert not Domain.objects.kept().filter(name="new-2").exists()


def test_a_disk_that_was_plugged_in_meanwhile_is_never_shared(
    alpha: FakeHost, machine: Domain, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage, there = alpha.connection.storage, alpha.connection.domains.known[machine.uuid]
    real = storage.clone_volume
    more = (
        "<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='/srv/more.img'/>"
        "<target dev='vdc' bus='virtio'/></disk></devices>"
    )

    def plugged(*args: Any) -> None:
        real(*args)
        if "vdc" not in there.made:
            there.made = there.made.replace("</devices>", more)

    monkeypatch.setattr(storage, "clone_volume", plugged)
    done = alpha.do(KIND, machine, name="new-2")
    assert (done.state, "changed meanwhile" in done.error) == (S.FAILED, True)
    alpha.look_again()
    assert "new-2.qcow2" not in alpha.names()


STEPS: dict[str, Callable[[FakeHost], Step]] = {
    "copy": lambda alpha: (alpha.connection.storage, "clone_volume"),
    "disc": lambda alpha: (alpha.connection.storage, "upload"),
    "definition": lambda alpha: (alpha.connection.domains, "define_copy"),
}


@pytest.mark.parametrize("linked", [False, True], ids=["copied", "linked"])
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", STEPS)
def test_a_worker_that_dies_leaves_nothing(
    alpha: FakeHost, machine: Domain, monkeypatch: pytest.MonkeyPatch, step: str, after: bool, linked: bool
) -> None:
    if linked:
        assert alpha.do("domain.to_template", machine).state == S.SUCCEEDED
    # With room for one clone and no more.
    shop = make_shop(most_machines=1, most_disk=6 * GIB)
    asked = {"name": "new-2", "setup": {"user": "ann"}, "project": shop.pk}
    all_of_it = Amounts(1, machine.vcpus, machine.memory_kib, 6 * GIB)
    takes = Taken(shop.pk, all_of_it, lambda: really_there(alpha, shop))
    where, name = STEPS[step](alpha)
    name = "create_volume" if linked and step == "copy" else name
    demand_nothing_left(
        alpha,
        alpha.ask(KIND, machine, **asked),
        (where, name),
        monkeypatch,
        after=after,
        traces=alpha.traces,
        look=alpha.look_again,
        takes=takes,
    )
    # And its name is free again, and its quota.
    assert alpha.do(KIND, machine, **asked).state == S.SUCCEEDED
    assert used_in(shop.pk) == takes.there() == all_of_it


def test_cancelled_while_a_disk_is_copied_nothing_stays(
    alpha: FakeHost, machine: Domain, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = set(alpha.names())
    operation = alpha.ask(KIND, machine, name="new-2")

    def cancel(context: Any, phase: str, *figures: int) -> None:
        if phase == "copying its disks":
            operations.cancel(operation)
            operations.report(context.operation, phase, *figures)

    monkeypatch.setattr(Context, "progress", cancel)
    assert alpha.carry_out(operation).state == S.CANCELLED
    alpha.look_again()
    assert set(alpha.names()) == before

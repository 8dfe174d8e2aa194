"""Machines cloned to another host: what goes there and how, what that host lacks, and that nothing half made stays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

import pytest

from tests.fake_storage import FakeVolume
from tests.people import make_network
from tests.services.carrying import Step, Taken, demand_nothing_left
from tests.services.cloned import FILES, KIND, fake_volumes, host, machine, template
from tests.services.conftest import FakeHost
from tests.services.shop import make_shop, really_there
from tests.services.test_creation import ISO, made
from tests.services.test_moving import QCOW2
from tests.services.test_transfers import omega
from webvirt.hypervisor.types import DomainState
from webvirt.hypervisor.xml.parse import parse_domain
from webvirt.models import Definition, Domain, Grant, Host, Operation, OperationState, Pool, Role, Volume
from webvirt.services import operations, runners
from webvirt.services.quotas import Amounts, used_in
from webvirt.services.runners.context import Context

__all__ = ["host", "machine", "omega", "template"]

S = OperationState
RAW = b"raw bytes".ljust(2**20, b"\0")


@pytest.fixture
def other(omega: FakeHost, machine: Domain, alpha: FakeHost) -> Host:
    """The second host, which can run the machine; the machine's disks hold something."""
    volumes = fake_volumes(alpha)
    for name, data in (("new-1.qcow2", QCOW2), ("new-1-2.raw", RAW)):
        size = len(data)
        info = replace(volumes[name].info, allocation=size, physical=size)
        volumes[name].info = replace(info, capacity=size) if name.endswith("raw") else info
        volumes[name].data = bytearray(data)
    alpha.stock.pools()
    Host.objects.filter(name="omega").update(info=asdict(omega.connection.host.info()))
    found = Host.objects.get(name="omega")
    make_network(found, "lan", 8)
    return found


def data_on(host: FakeHost, name: str) -> bytes:
    return bytes(host.connection.storage.known[host.uuid].volumes[name].data)


# --- what is made


def test_its_disks_go_to_the_other_host_as_they_are(
    alpha: FakeHost, omega: FakeHost, other: Host, machine: Domain
) -> None:
    before = alpha.traces()
    done = alpha.do(KIND, machine, name="new-2", host=other.pk, start=True)
    assert done.state == S.SUCCEEDED, done.error
    row = Domain.objects.get(name="new-2")
    assert (row.host, row.making, row.status, done.result) == (
        other,
        None,
        "running",
        {"domain": "new-2", "id": row.pk},
    )
    there, old = made(omega, "new-2"), parse_domain(made(alpha).xml())
    new = parse_domain(there.xml())
    assert {disk.target: disk.source for disk in new.disks} == {
        "vda": "/srv/store/new-2.qcow2",
        "vdb": "/srv/store/new-2-2.raw",
        # Which the other host has not.
        "sda": "",
    }
    assert (data_on(omega, "new-2.qcow2"), data_on(omega, "new-2-2.raw")) == (QCOW2, RAW)
    assert [omega.volume(name).making for name in ("new-2.qcow2", "new-2-2.raw")] == [None, None]
    assert new.interfaces[0].mac not in ("", old.interfaces[0].mac)
    assert (new.interfaces[0].source, new.memory_kib, new.title) == ("lan", old.memory_kib, "Shop")
    assert alpha.traces() == before


def test_it_says_the_same_with_virsh(alpha: FakeHost, other: Host, machine: Domain) -> None:
    lines = alpha.ask(KIND, machine, name="new-2", host=other.pk).virsh.splitlines()
    assert "vol-download --sparse --pool images new-1.qcow2 new-2.qcow2" in lines[0]
    assert "vol-upload --sparse --pool store new-2.qcow2 new-2.qcow2" in lines[2]
    assert lines[-2].endswith("dumpxml new-1 --inactive > new-2.xml")
    assert lines[-1].endswith("define new-2.xml --validate")


def put_disc(omega: FakeHost) -> Volume:
    info = replace(ISO, path=f"/srv/store/{ISO.name}")
    omega.connection.storage.known[omega.uuid].volumes[ISO.name] = FakeVolume(info)
    omega.stock.pools()
    return omega.volume(ISO.name)


def test_a_disc_is_shared_where_the_other_host_has_it(
    alpha: FakeHost, omega: FakeHost, other: Host, machine: Domain
) -> None:
    disc = put_disc(omega)
    done = alpha.do(KIND, machine, name="new-2", host=other.pk)
    assert done.state == S.SUCCEEDED, done.error
    assert parse_domain(made(omega, "new-2").xml()).disks[-1].source == disc.path


def test_one_with_another_checksum_is_another_disc(
    alpha: FakeHost, omega: FakeHost, other: Host, machine: Domain
) -> None:
    put_disc(omega)
    for digit, disc in enumerate(Volume.objects.filter(name=ISO.name)):
        Volume.objects.filter(pk=disc.pk).update(sha256=str(digit) * 64)
    with pytest.raises(operations.Invalid, match="omega has no such disc"):
        alpha.ask(KIND, machine, name="new-2", host=other.pk, disks=[{"target": "sda", "way": "share"}])


def test_pools_networks_and_settings_are_those_of_the_other_host(
    alpha: FakeHost, omega: FakeHost, other: Host, machine: Domain
) -> None:
    omega.connection.storage.put("fast")
    omega.stock.pools()
    fast, dmz = Pool.objects.get(host=other, name="fast"), make_network(other, "dmz", 9)
    disks = [{"target": "vda", "way": "copy", "pool": fast.pk}, {"target": "vdb", "way": "leave"}]
    wish: dict[str, Any] = {"host": other.pk, "disks": disks, "cards": [{"network": dmz.pk}]}
    done = alpha.do(KIND, machine, name="new-2", setup={"user": "ann"}, **wish)
    assert done.state == S.SUCCEEDED, done.error
    info = parse_domain(made(omega, "new-2").xml())
    sources = {disk.target: disk.source for disk in info.disks}
    assert sources == {"vda": "/srv/fast/new-2.qcow2", "sda": "/srv/fast/new-2-setup.iso"}
    assert [card.source for card in info.interfaces] == ["dmz"]
    assert Domain.objects.get(name="new-2").seed == Volume.objects.get(name="new-2-setup.iso", pool=fast)
    assert alpha.do(KIND, machine, name="new-3", **wish | {"cards": [None]}).state == S.SUCCEEDED
    assert parse_domain(made(omega, "new-3").xml()).interfaces == ()


# --- templates


def test_a_layer_is_only_where_its_template_is(alpha: FakeHost, omega: FakeHost, other: Host, template: Domain) -> None:
    link = [{"target": "vda", "way": "link"}, {"target": "vdb", "way": "leave"}]
    with pytest.raises(operations.Invalid, match="omega does not have it: make a full copy"):
        alpha.ask(KIND, template, name="new-2", host=other.pk, disks=link)
    done = alpha.do(KIND, template, name="new-2", host=other.pk)
    assert done.state == S.SUCCEEDED, done.error
    assert omega.volume("new-2.qcow2").backing_path == ""
    # The same storage on both: what is on it both have.
    pool = omega.connection.storage.known[omega.uuid]
    for name in ("new-1.qcow2", "new-1-2.raw"):
        kept = fake_volumes(alpha)[name]
        pool.volumes[name] = replace(kept, info=replace(kept.info, path=f"/srv/store/{name}"))
    omega.stock.pools()
    Pool.objects.filter(pk__in=(alpha.pool.pk, omega.pool.pk)).update(origin="netfs nas /images")
    done = alpha.do(KIND, template, name="new-3", host=other.pk)
    assert done.state == S.SUCCEEDED, done.error
    assert omega.volume("new-3.qcow2").backing_path == "/srv/store/new-1.qcow2"


# --- what is refused

LACKS: dict[str, tuple[dict[str, Any], str]] = {
    "a machine type": ({"machine": "pc-q35-9.9"}, "omega has no machine type pc-q35-9.9"),
    "a way to run": ({"domain_type": "kvm"}, "omega cannot run kvm"),
    "an architecture": ({"arch": "s390x"}, "omega runs no machines of s390x"),
    "a processor": ({"cpu_mode": "host-passthrough"}, "omega cannot give a machine the processor host-passthrough"),
    "a graphics card": ({"video": "qxl"}, "omega has no graphics card qxl"),
    "devices": ({"handed": [{"kind": "pci", "address": "0000:01:00.0"}]}, "does not have: 0000:01:00.0"),
    "its kernel": ({"kernel": "/boot/vmlinuz"}, "a file of its host: /boot/vmlinuz"),
    "memory": ({"memory_kib": 9 * 2**20}, "omega has 8.0 GiB of memory in all"),
    "processors": ({"vcpus_max": 300}, "so many processors"),
}


def change(machine: Domain, /, **more: Any) -> None:
    definition = Definition.objects.get(domain=machine)
    Definition.objects.filter(pk=definition.pk).update(inactive=definition.inactive | more)


@pytest.mark.parametrize("lack", LACKS)
def test_what_the_other_host_lacks_is_refused_by_name(alpha: FakeHost, other: Host, machine: Domain, lack: str) -> None:
    more, words = LACKS[lack]
    change(machine, **more)
    with pytest.raises(operations.Invalid) as refused:
        alpha.ask(KIND, machine, name="new-2", host=other.pk)
    assert list(refused.value.fields) == ["host"]
    assert words in refused.value.fields["host"]


@pytest.mark.parametrize(
    ("cannot", "needs", "words"),
    [
        ({"efi": False}, {"firmware": "efi"}, "omega has no UEFI firmware"),
        ({"tpm": False}, {"devices": [{"kind": "tpm", "description": ""}]}, "omega has no TPM for machines"),
    ],
)
def test_firmware_and_tpm_are_looked_for(
    alpha: FakeHost, other: Host, machine: Domain, cannot: dict[str, bool], needs: dict[str, Any], words: str
) -> None:
    change(machine, **needs)
    assert alpha.ask(KIND, machine, name="new-2", host=other.pk).is_active
    other.info["machines"] = [one | cannot for one in other.info["machines"]]
    other.save()
    with pytest.raises(operations.Invalid, match=words):
        alpha.ask(KIND, machine, name="new-3", host=other.pk)


def test_a_network_that_is_not_there_is_to_be_chosen(alpha: FakeHost, other: Host, machine: Domain) -> None:
    other.networks.update(missing_since="2026-01-01T00:00Z")
    with pytest.raises(operations.Invalid) as refused:
        alpha.ask(KIND, machine, name="new-2", host=other.pk)
    assert "omega has no network or bridge “lan”" in refused.value.fields["cards.0.network"]
    for cards, field in (([], "cards"), ([{"network": 4711}], "cards.0.network")):
        with pytest.raises(operations.Invalid) as refused:
            alpha.ask(KIND, machine, name="new-2", host=other.pk, cards=cards)
        assert list(refused.value.fields) == [field]


def test_a_filter_that_is_not_there_is_never_just_left_out(alpha: FakeHost, other: Host, machine: Domain) -> None:
    cards = Definition.objects.get(domain=machine).inactive["interfaces"]
    change(machine, interfaces=[card | {"filter": "no-mail"} for card in cards])
    with pytest.raises(operations.Invalid, match="no filter of this name"):
        alpha.ask(KIND, machine, name="new-2", host=other.pk)


DISKS: dict[str, tuple[dict[str, Any], str]] = {
    "encrypted": ({"encrypted": True}, "its secret stays on its host"),
    "a layer": ({"backing_path": "/srv/base.qcow2"}, "clone it on its own host first"),
    "of another format": ({"format": "vmdk"}, "an image of format vmdk"),
}


@pytest.mark.parametrize("case", DISKS)
def test_a_disk_that_cannot_come_along_is_not_just_left_out(
    alpha: FakeHost, other: Host, machine: Domain, case: str
) -> None:
    more, words = DISKS[case]
    Volume.objects.filter(name="new-1.qcow2").update(**more)
    with pytest.raises(operations.Invalid, match=words):
        alpha.ask(KIND, machine, name="new-2", host=other.pk)
    assert alpha.ask(KIND, machine, name="new-2", host=other.pk, disks=[{"target": "vda", "way": "leave"}]).is_active


WRONG: dict[str, tuple[Callable[[FakeHost, Host], dict[str, Any]], str, str]] = {
    "a pool of the old host": (
        lambda alpha, other: {"host": other.pk, "disks": [{"target": "vda", "way": "copy", "pool": alpha.pool.pk}]},
        "disks.0.pool",
        "not on this host",
    ),
    "a host of nobody": (lambda _alpha, _other: {"host": 4711}, "host", "nothing of this number"),
    "cards at home": (lambda _alpha, _other: {"cards": []}, "", "name that"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_does_not_fit_is_refused_with_the_field(alpha: FakeHost, other: Host, machine: Domain, wrong: str) -> None:
    more, field, words = WRONG[wrong]
    with pytest.raises(operations.Invalid) as refused:
        alpha.ask(KIND, machine, name="new-2", **more(alpha, other))
    assert list(refused.value.fields) == [field]
    assert words in refused.value.fields[field]


def test_one_that_runs_stays_on_its_host(alpha: FakeHost, other: Host, machine: Domain) -> None:
    operation = alpha.ask(KIND, machine, name="new-2", host=other.pk)
    alpha.connection.domains.known[machine.uuid].state = DomainState.RUNNING
    alpha.carry_out(operation)
    assert (operation.state, "only while it is off" in operation.error) == (S.FAILED, True)


def test_an_image_goes_into_no_pool_where_a_volume_is_the_disk_itself(
    alpha: FakeHost, omega: FakeHost, other: Host, machine: Domain
) -> None:
    Pool.objects.filter(pk=omega.pool.pk).update(type="logical")
    choice = {"target": "vda", "way": "copy", "pool": omega.pool.pk}
    with pytest.raises(operations.Invalid, match="No copy can be made of it: no pool is running"):
        alpha.ask(KIND, machine, name="new-2", host=other.pk, disks=[choice])
    omega.connection.storage.put("files")
    omega.stock.pools()
    Pool.objects.filter(pk=omega.pool.pk).update(type="logical")
    with pytest.raises(operations.Invalid, match="this one is an image"):
        alpha.ask(KIND, machine, name="new-2", host=other.pk, disks=[choice])


def test_only_who_may_make_machines_there_may_clone_there(alpha: FakeHost, other: Host, machine: Domain) -> None:
    someone = alpha.cast.owner
    Grant.objects.create(user=someone, role=Role.OWNER, host=machine.host)
    alpha.actor = replace(alpha.actor, user=someone)
    with pytest.raises(operations.Invalid, match="nothing of this number"):
        alpha.ask(KIND, machine, name="new-2", host=other.pk)
    grant = Grant.objects.create(user=someone, role=Role.OPERATOR, host=other)
    with pytest.raises(operations.Denied, match="Create a machine"):
        alpha.ask(KIND, machine, name="new-2", host=other.pk)
    Grant.objects.filter(pk=grant.pk).update(role=Role.OWNER)
    operation = alpha.ask(KIND, machine, name="new-2", host=other.pk)
    grant.delete()
    runners.run(operation.pk)
    assert Operation.objects.get(pk=operation.pk).state == S.DENIED


# --- what goes wrong half way


def test_without_room_there_nothing_is_begun(alpha: FakeHost, omega: FakeHost, other: Host, machine: Domain) -> None:
    omega.connection.storage.known[omega.uuid].capacity = len(QCOW2)
    done = alpha.do(KIND, machine, name="new-2", host=other.pk)
    assert (done.state, "not enough room" in done.error) == (S.FAILED, True)
    assert omega.traces() == (set(), {})


STEPS: dict[str, Callable[[FakeHost], Step]] = {
    "volume": lambda omega: (omega.connection.storage, "create_volume"),
    "copy": lambda omega: (omega.connection.storage, "upload"),
    "look": lambda omega: (omega.connection.storage, "refresh"),
    "definition": lambda omega: (omega.connection.domains, "define_moved"),
}


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", STEPS)
def test_a_worker_that_dies_leaves_nothing(
    alpha: FakeHost,
    omega: FakeHost,
    other: Host,
    machine: Domain,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
    after: bool,
) -> None:
    def traces() -> object:
        return alpha.traces(), omega.traces()

    def look() -> None:
        alpha.look_again()
        omega.look_again()

    disk = sum(Volume.objects.get(name=name).capacity for name in ("new-1.qcow2", "new-1-2.raw"))
    # With room for one clone and no more.
    shop = make_shop(most_machines=1, most_disk=disk)
    wish: dict[str, Any] = {"name": "new-2", "host": other.pk, "setup": {"user": "ann"}, "project": shop.pk}
    takes = Taken(
        shop.pk,
        Amounts(1, machine.vcpus, machine.memory_kib, disk),
        lambda: really_there(alpha, shop) + really_there(omega, shop),
    )
    demand_nothing_left(
        alpha,
        alpha.ask(KIND, machine, **wish),
        STEPS[step](omega),
        monkeypatch,
        after=after,
        traces=traces,
        look=look,
        takes=takes,
    )
    # And its name is free again, and its quota.
    assert alpha.do(KIND, machine, **wish).state == S.SUCCEEDED
    # Its disks are as large as what is in them, which is less.
    assert used_in(shop.pk) == takes.there() == replace(takes.amounts, disk=len(QCOW2) + len(RAW))


def test_cancelled_while_a_disk_is_on_its_way_nothing_stays(
    alpha: FakeHost, omega: FakeHost, other: Host, machine: Domain, monkeypatch: pytest.MonkeyPatch
) -> None:
    operation = alpha.ask(KIND, machine, name="new-2", host=other.pk)
    seen: list[tuple[int, ...]] = []

    def cancel(context: Any, phase: str, *figures: int) -> None:
        if phase == "copying its disks":
            seen.append(figures)
            operations.cancel(operation)
            operations.report(context.operation, phase, *figures)

    monkeypatch.setattr(Context, "progress", cancel)
    assert alpha.carry_out(operation).state == S.CANCELLED
    assert seen == [(0, len(QCOW2))]
    omega.look_again()
    assert omega.traces() == (set(), {})
    assert FILES in made(alpha).xml()

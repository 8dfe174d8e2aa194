"""Machines made from a wish: what is made where, what is refused, and that nothing half made stays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

import pytest
import redis

from tests.fakes import MACHINES, FakeDomain
from tests.people import make_domain, make_network, make_pool, make_volume
from tests.services.carrying import Step, Taken, demand_nothing_left
from tests.services.conftest import GIB, IMAGE, FakeHost
from tests.services.shop import make_shop, really_there
from tests.services.test_secrets import whole_database
from webvirt.hypervisor.errors import HypervisorError, WrongState
from webvirt.hypervisor.types import DomainState, VolumeInfo
from webvirt.hypervisor.xml.parse import parse_domain
from webvirt.models import Domain, Host, Network, Operation, OperationState, Status
from webvirt.services import bulk, operations
from webvirt.services.catalogue import BY_KIND
from webvirt.services.catalogue.building import Plan, plan_of
from webvirt.services.catalogue.creation import NOBODY
from webvirt.services.catalogue.wishes import CreateDomainSpec, names_of
from webvirt.services.placement import places_for
from webvirt.services.quotas import Amounts, used_in
from webvirt.services.runners.context import Context

S = OperationState
MIB = 2**20
KIND = "domain.create"
ISO = VolumeInfo("debian.iso", "/srv/images/debian.iso", "/srv/images/debian.iso", "file", "iso", 600 * MIB)
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ1e7sXJqkJtmUHqrgXKBPvTCHVJ1NOX7gWbFw1ygKq4 ann@laptop"


@pytest.fixture
def host(alpha: FakeHost) -> Host:
    """The cast's host as it tells of itself, with a network and a disc."""
    info = asdict(alpha.connection.host.info())
    Host.objects.filter(pk=alpha.cast.host.pk).update(info=info, memory_used_kib=2**20)
    alpha.connection.storage.known[alpha.uuid].volumes[ISO.name] = replace(
        alpha.connection.storage.known[alpha.uuid].volumes[IMAGE.name], info=ISO
    )
    alpha.stock.pools()
    Network.objects.filter(host=alpha.cast.host).delete()
    make_network(alpha.cast.host, "lan", 7)
    return Host.objects.get(pk=alpha.cast.host.pk)


def wish(alpha: FakeHost, **more: Any) -> dict[str, Any]:
    network = Network.objects.get(name="lan")
    plain = {
        "name": "new-1",
        "os": "debian12",
        "vcpus": 2,
        "memory_mib": 1024,
        "disks": [{"pool": alpha.pool.pk, "size": 5 * GIB}],
        "cards": [{"network": network.pk}],
    }
    return plain | more


def made(alpha: FakeHost, name: str = "new-1") -> FakeDomain:
    return next(domain for domain in alpha.connection.domains.known.values() if domain.name == name)


def disks(domain: FakeDomain) -> list[tuple[str, str, str, int | None]]:
    return [(disk.device, disk.source, disk.format, disk.boot_order) for disk in parse_domain(domain.xml()).disks]


# --- what is made


def test_a_machine_is_made_from_a_disc_and_started(alpha: FakeHost, host: Host) -> None:
    iso = alpha.volume(ISO.name)
    done = alpha.do(KIND, host, **wish(alpha, begins="disc", volume=iso.pk, autostart=True))
    assert done.state == S.SUCCEEDED, done.error
    there, row = made(alpha), Domain.objects.get(name="new-1")
    assert (there.state, there.autostart) == (DomainState.RUNNING, True)
    assert disks(there) == [("disk", "/srv/images/new-1.qcow2", "qcow2", 1), ("cdrom", ISO.path, "raw", 2)]
    assert [card.source for card in parse_domain(there.xml()).interfaces] == ["lan"]
    assert (row.uuid, row.status, row.making, done.domain) == (there.uuid, Status.RUNNING, None, row)
    assert done.result == {"domain": "new-1", "id": row.pk}
    disk = alpha.volume("new-1.qcow2")
    assert (disk.making, disk.capacity, disk.format) == (None, 5 * GIB, "qcow2")


def test_an_image_is_copied_and_grows_to_the_size_asked_for(alpha: FakeHost, host: Host) -> None:
    image = alpha.volume(IMAGE.name)
    more = {"begins": "image", "volume": image.pk, "disks": [{"pool": alpha.pool.pk, "size": 30 * GIB}]}
    assert alpha.do(KIND, host, **wish(alpha, **more)).state == S.SUCCEEDED
    disk = alpha.volume("new-1.qcow2")
    assert (disk.capacity, disk.backing_path) == (30 * GIB, "")


def test_a_layer_over_an_image_is_as_large_as_the_image_where_nothing_is_said(alpha: FakeHost, host: Host) -> None:
    image = alpha.volume(IMAGE.name)
    more = {"begins": "image", "volume": image.pk, "linked": True, "disks": [{"pool": alpha.pool.pk}]}
    done = alpha.do(KIND, host, **wish(alpha, **more))
    assert done.state == S.SUCCEEDED, done.error
    disk = alpha.volume("new-1.qcow2")
    assert (disk.capacity, disk.backing_path, disk.backing_format) == (IMAGE.capacity, IMAGE.path, "qcow2")


def test_a_volume_becomes_its_disk_as_it_is(alpha: FakeHost, host: Host) -> None:
    volume = alpha.volume(IMAGE.name)
    done = alpha.do(KIND, host, **wish(alpha, begins="volume", volume=volume.pk, disks=[], start=False))
    assert done.state == S.SUCCEEDED, done.error
    assert disks(made(alpha)) == [("disk", IMAGE.path, "qcow2", 1), ("cdrom", "", "", None)]
    assert made(alpha).state == DomainState.SHUTOFF


def test_a_disc_is_put_into_an_empty_machine_which_starts_from_it(alpha: FakeHost, host: Host) -> None:
    assert alpha.do(KIND, host, **wish(alpha, start=False)).state == S.SUCCEEDED
    assert disks(made(alpha))[1] == ("cdrom", "", "", 2)
    domain, iso = Domain.objects.get(name="new-1"), alpha.volume(ISO.name)
    with pytest.raises(operations.NotNow, match="there is no disc in its drives"):
        alpha.ask("domain.eject", domain, drive="sda")
    for target, pk, field in (("sdz", iso.pk, "drive"), ("sda", alpha.volume(IMAGE.name).pk, "volume")):
        with pytest.raises(operations.Invalid) as refused:
            alpha.ask("domain.insert", domain, drive=target, volume=pk)
        assert list(refused.value.fields) == [field]
    assert alpha.do("domain.insert", domain, drive="sda", volume=iso.pk).state == S.SUCCEEDED
    assert disks(made(alpha))[1] == ("cdrom", ISO.path, "raw", 2)
    assert alpha.do("domain.eject", Domain.objects.get(pk=domain.pk), drive="sda").state == S.SUCCEEDED
    assert disks(made(alpha))[1] == ("cdrom", "", "", 2)


def test_a_kernel_is_for_the_first_start_alone(alpha: FakeHost, host: Host) -> None:
    iso = alpha.volume(ISO.name)
    done = alpha.do(KIND, host, **wish(alpha, begins="kernel", kernel=iso.pk, arguments="auto=true"))
    assert done.state == S.SUCCEEDED, done.error
    once = alpha.connection.domains.started_once[made(alpha).uuid]
    assert (once.path, once.initrd, once.arguments) == (ISO.path, "", "auto=true")
    assert parse_domain(made(alpha).xml()).kernel == ""


def test_what_the_guest_is_told_is_on_a_disc_and_the_password_nowhere(
    alpha: FakeHost, host: Host, store: redis.Redis
) -> None:
    image = alpha.volume(IMAGE.name)
    setup = {"user": "ann", "ssh_keys": [KEY], "address": "192.0.2.10/24", "gateway": "192.0.2.1", "dns": ["192.0.2.1"]}
    more = {"begins": "image", "volume": image.pk, "setup": setup, "password": "never-to-be-seen"}
    done = alpha.do(KIND, host, **wish(alpha, **more, disks=[{"pool": alpha.pool.pk}]))
    assert done.state == S.SUCCEEDED, done.error
    disc = bytes(alpha.connection.storage.known[alpha.uuid].volumes["new-1-setup.iso"].data)
    for text in ("hostname: new-1", "name: ann", KEY.split()[1], "192.0.2.10/24", "$6$"):
        assert text.encode() in disc.replace(b"\n", b""), text
    mac = parse_domain(made(alpha).xml()).interfaces[0].mac
    assert mac.encode() in disc
    seed = alpha.volume("new-1-setup.iso")
    assert (Domain.objects.get(name="new-1").seed, seed.making) == (seed, None)
    assert disks(made(alpha))[-1] == ("cdrom", "/srv/images/new-1-setup.iso", "raw", None)
    # Where a kernel for clouds finds it.
    assert parse_domain(made(alpha).xml()).disks[-1].bus == "scsi"
    assert "never-to-be-seen" not in whole_database()
    assert b"never-to-be-seen" not in disc
    assert store.dbsize() == 0


def test_a_machine_that_does_not_start_stays(alpha: FakeHost, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(uuid: str) -> None:
        raise HypervisorError("no more memory")

    monkeypatch.setattr(alpha.connection.domains, "start", refuses)
    done = alpha.do(KIND, host, **wish(alpha))
    assert (done.state, done.error) == (S.FAILED, "It was made, but does not start: no more memory")
    alpha.look_again()
    assert Domain.objects.get(name="new-1").status == Status.SHUTOFF
    assert alpha.volume("new-1.qcow2").missing_since is None


# --- what goes wrong half way


STEPS: dict[str, Callable[[FakeHost], Step]] = {
    "volume": lambda alpha: (alpha.connection.storage, "create_volume"),
    "disc": lambda alpha: (alpha.connection.storage, "upload"),
    "definition": lambda alpha: (alpha.connection.domains, "define"),
    "autostart": lambda alpha: (alpha.connection.domains, "set_autostart"),
}


def with_everything(alpha: FakeHost) -> dict[str, Any]:
    image = alpha.volume(IMAGE.name)
    more = {"begins": "image", "volume": image.pk, "linked": True, "setup": {"user": "ann"}, "autostart": True}
    return wish(alpha, **more, disks=[{"pool": alpha.pool.pk}, {"pool": alpha.pool.pk, "size": GIB, "format": "raw"}])


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", STEPS)
def test_a_worker_that_dies_leaves_nothing(
    alpha: FakeHost, host: Host, monkeypatch: pytest.MonkeyPatch, step: str, after: bool
) -> None:
    # With room for one such machine.
    shop = make_shop(most_machines=1, most_vcpus=2, most_memory_kib=2**20, most_disk=IMAGE.capacity + GIB)
    asked = with_everything(alpha) | {"project": shop.pk}
    takes = Taken(shop.pk, Amounts(1, 2, 2**20, IMAGE.capacity + GIB), lambda: really_there(alpha, shop))
    demand_nothing_left(
        alpha,
        alpha.ask(KIND, host, **asked),
        STEPS[step](alpha),
        monkeypatch,
        after=after,
        traces=alpha.traces,
        look=alpha.look_again,
        takes=takes,
    )
    # And its name is free again, and its quota.
    done = alpha.do(KIND, host, **asked)
    assert done.state == S.SUCCEEDED, done.error
    assert used_in(shop.pk) == takes.there() == takes.amounts


def test_what_the_host_refuses_leaves_nothing_and_what_was_there_stays(alpha: FakeHost, host: Host) -> None:
    other = alpha.connection.define("new-1")
    done = alpha.do(KIND, host, **wish(alpha))
    assert (done.state, done.error) == (S.FAILED, "There is a machine of that name already: choose another.")
    alpha.look_again()
    assert set(alpha.connection.domains.known) == {other.uuid}
    assert alpha.names() == [ISO.name, IMAGE.name]


def test_a_volume_that_somebody_made_meanwhile_is_not_ours_to_remove(
    alpha: FakeHost, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = alpha.connection.storage
    real = storage.create_volume

    def quicker(uuid: str, spec: Any) -> None:
        real(uuid, spec)
        raise WrongState("storage volume name already in use")

    monkeypatch.setattr(storage, "create_volume", quicker)
    assert alpha.do(KIND, host, **wish(alpha)).state == S.FAILED
    alpha.look_again()
    assert "new-1.qcow2" in alpha.names()


def test_a_machine_that_is_still_made_is_removed_before_its_disks(
    alpha: FakeHost, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A host that cannot remove the machine keeps its disks too: they are in use."""
    domains = alpha.connection.domains

    def busy(uuid: str) -> None:
        raise HypervisorError("busy")

    def dies(*args: Any) -> None:
        raise HypervisorError("no")

    monkeypatch.setattr(domains, "set_autostart", dies)
    monkeypatch.setattr(domains, "undefine", busy)
    assert alpha.do(KIND, host, **wish(alpha, autostart=True)).state == S.FAILED
    alpha.look_again()
    assert "new-1.qcow2" in alpha.names()
    monkeypatch.undo()
    alpha.look_again()
    assert alpha.names() == [ISO.name, IMAGE.name]
    assert domains.known == {}


def test_cancelled_while_the_image_is_copied_nothing_stays(
    alpha: FakeHost, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = alpha.volume(IMAGE.name)
    more = {"begins": "image", "volume": image.pk, "disks": [{"pool": alpha.pool.pk}]}
    operation = alpha.ask(KIND, host, **wish(alpha, **more))

    def cancel(context: Any, phase: str, *figures: int) -> None:
        if phase == "copying the image":
            operations.cancel(operation)
            operations.report(context.operation, phase, *figures)

    monkeypatch.setattr(Context, "progress", cancel)
    assert alpha.carry_out(operation).state == S.CANCELLED
    alpha.look_again()
    assert alpha.names() == [ISO.name, IMAGE.name]
    assert not Domain.objects.kept().filter(name="new-1").exists()


def test_while_it_is_made_it_is_listed_and_nothing_else_can_be_done(alpha: FakeHost, host: Host) -> None:
    operation = alpha.ask(KIND, host, **wish(alpha))
    row = make_domain(host, "half", 55, status=Status.MAKING, making=operation)
    alpha.look_again()
    with pytest.raises(operations.NotNow, match="it is being made"):
        alpha.ask("domain.edit", row, title="x")


# --- what is refused


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "a pool of nobody": ({"disks": [{"pool": 4711, "size": GIB}]}, "disks.0.pool"),
    "a network of nobody": ({"cards": [{"network": 4711}]}, "cards.0.network"),
    "a filter of nobody": ({"cards": [{"bridge": "br0", "filter": "none"}]}, "cards.0.filter"),
    "a disc of nobody": ({"begins": "disc", "volume": 4711}, "volume"),
    "more memory than the host has": ({"memory_mib": 9 * 1024}, "memory_mib"),
    "kvm where there is none": ({"type": "kvm"}, "type"),
    "settings without a pool for them": ({"disks": [], "setup": {"user": "ann"}}, "setup"),
    "an address that is none": ({"setup": {"address": "192.0.2.300/24"}}, "setup"),
    "more cloud-config that is no YAML": ({"setup": {"user_data": "a: [b"}}, "setup"),
    "a name that is taken": ({"name": "web-1"}, "name"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_does_not_fit_the_host_is_refused_with_the_field(alpha: FakeHost, host: Host, wrong: str) -> None:
    more, field = WRONG[wrong]
    with pytest.raises(operations.Invalid) as refused:
        alpha.ask(KIND, host, **wish(alpha, **more))
    assert list(refused.value.fields) == [field]
    assert not Domain.objects.filter(name="new-1").exists()


UNFIT: dict[str, tuple[dict[str, Any], str]] = {
    "no size": ({"disks": [{"pool": 1}]}, "say how large the disk is"),
    "no volume": ({"begins": "disc"}, "say which volume it begins with"),
    "no card": ({"begins": "network", "cards": []}, "to boot from the network it needs a card"),
    "a card on two": ({"cards": [{"network": 1, "bridge": "br0"}]}, "name one of them"),
    "a group's MAC": ({"cards": [{"bridge": "br0", "mac": "01:00:00:00:00:01"}]}, "cards.0.mac"),
    "a key with options": ({"setup": {"ssh_keys": [f'command="reboot" {KEY}']}}, "An SSH key begins with its type"),
    "a password of nobody": ({"password": "secret-1"}, "a password is for the user"),
    "what nobody knows": ({"owner_id": 3}, "owner_id"),
}


@pytest.mark.parametrize("unfit", UNFIT)
def test_what_makes_no_sense_is_refused_in_words(alpha: FakeHost, host: Host, unfit: str) -> None:
    more, words = UNFIT[unfit]
    with pytest.raises(operations.Invalid, match=words):
        alpha.ask(KIND, host, **wish(alpha, **more))


def test_of_an_image_that_is_larger_than_the_disk(alpha: FakeHost, host: Host) -> None:
    image = alpha.volume(IMAGE.name)
    more = {"begins": "image", "volume": image.pk, "disks": [{"pool": alpha.pool.pk, "size": GIB}]}
    with pytest.raises(operations.Invalid) as refused:
        alpha.ask(KIND, host, **wish(alpha, **more))
    assert list(refused.value.fields) == ["disks.0.size"]


def test_a_layer_is_never_over_what_a_machine_writes_to(alpha: FakeHost, host: Host) -> None:
    volume = alpha.volume(IMAGE.name)
    done = alpha.do(KIND, host, **wish(alpha, begins="volume", volume=volume.pk, disks=[], start=False))
    assert done.state == S.SUCCEEDED, done.error
    more = {"name": "new-2", "begins": "image", "volume": volume.pk, "disks": [{"pool": alpha.pool.pk}]}
    with pytest.raises(operations.Invalid, match=r"It is a disk of new-1, which writes to it"):
        alpha.ask(KIND, host, **wish(alpha, **more, linked=True))
    assert alpha.do(KIND, host, **wish(alpha, **more)).state == S.SUCCEEDED


def test_a_volume_of_another_host_is_to_be_copied_first(alpha: FakeHost, host: Host) -> None:
    omega = Host.objects.create(name="omega", transport="test", hostname="o")
    elsewhere = make_volume(make_pool(omega, "far", 9), "far.iso")
    with pytest.raises(operations.Invalid, match="copy it there first"):
        alpha.ask(KIND, host, **wish(alpha, begins="disc", volume=elsewhere.pk))


def test_a_disk_that_a_machine_has_is_no_other_machines(alpha: FakeHost, host: Host) -> None:
    volume = alpha.volume(IMAGE.name)
    assert alpha.do(KIND, host, **wish(alpha, begins="volume", volume=volume.pk, disks=[])).state == S.SUCCEEDED
    with pytest.raises(operations.Invalid, match="it is a disk of new-1"):
        alpha.ask(KIND, host, **wish(alpha, name="new-2", begins="volume", volume=volume.pk, disks=[]))


def test_only_who_owns_the_host_makes_machines_on_it(alpha: FakeHost, host: Host) -> None:
    alpha.actor = replace(alpha.actor, user=alpha.cast.owner)
    with pytest.raises(operations.Denied):
        alpha.ask(KIND, host, **wish(alpha))


# --- how it is chosen


def spec_of(alpha: FakeHost, host: Host, **more: Any) -> Plan:
    return plan_of(host, CreateDomainSpec.model_validate(wish(alpha, **more)), NOBODY)


def with_machines(host: Host, *machines: Any) -> Host:
    host.info = host.info | {"machines": [asdict(one) for one in machines]}
    return host


def test_kvm_and_the_hosts_own_processor_where_there_is_kvm(alpha: FakeHost, host: Host) -> None:
    kvm = replace(MACHINES[0], type="kvm", cpu_modes=("host-passthrough", "host-model"))
    domain = spec_of(alpha, with_machines(host, *MACHINES, kvm)).domain
    assert (domain.type, domain.machine, domain.cpu) == ("kvm", "q35", "host-passthrough")
    emulated = spec_of(alpha, with_machines(host, *MACHINES)).domain
    assert (emulated.type, emulated.cpu) == ("qemu", "maximum")


def test_windows_gets_what_it_wants(alpha: FakeHost, host: Host) -> None:
    kvm = replace(MACHINES[0], type="kvm", cpu_modes=("host-passthrough",))
    iso = alpha.volume(ISO.name)
    plain = spec_of(alpha, with_machines(host, kvm), os="win11", begins="disc", volume=iso.pk).domain
    assert (plain.firmware, plain.tpm, plain.hyperv, plain.clock) == ("secure", True, True, "localtime")
    assert (plain.disks[0].bus, plain.cards[0].model) == ("sata", "e1000e")
    drivers = spec_of(alpha, host, os="win11", begins="disc", volume=iso.pk, drivers=iso.pk).domain
    assert (drivers.disks[0].bus, drivers.cards[0].model) == ("virtio", "virtio")


def test_windows_is_told_its_answers(alpha: FakeHost, host: Host, store: redis.Redis) -> None:
    iso = alpha.volume(ISO.name)
    more = {"begins": "disc", "volume": iso.pk, "os": "win11", "password": "Secret-1", "setup": {"user": "ann"}}
    done = alpha.do(KIND, host, **wish(alpha, **more))
    assert done.state == S.SUCCEEDED, done.error
    disc = bytes(alpha.connection.storage.known[alpha.uuid].volumes["new-1-setup.iso"].data)
    assert b"<ComputerName>new-1</ComputerName>" in disc
    assert parse_domain(made(alpha).xml()).disks[-1].bus == "sata"
    assert b"Secret-1" not in disc
    with pytest.raises(operations.Invalid, match="setup"):
        alpha.ask(KIND, host, **wish(alpha, **more | {"name": "a-name-that-is-too-long-for-windows"}))


def test_it_can_grow_as_far_as_its_host(alpha: FakeHost, host: Host) -> None:
    domain = spec_of(alpha, host, vcpus=2, memory_mib=1024).domain
    assert (domain.vcpus, domain.vcpus_max) == (2, 4)
    assert (domain.memory_kib, domain.memory_max_kib) == (2**20, 4 * 2**20)
    large = spec_of(alpha, host, vcpus=4, memory_mib=7 * 1024).domain
    assert (large.vcpus_max, large.memory_max_kib) == (4, 8 * 2**20)


def test_names_that_stand_for_many() -> None:
    assert names_of("web") == ["web"]
    assert names_of("web-{08..11}.eu") == ["web-08.eu", "web-09.eu", "web-10.eu", "web-11.eu"]
    assert len(names_of("w{1..50}")) == 50
    for wrong in ("w{2..1}", "w{1..51}"):
        with pytest.raises(ValueError, match=r"backwards|at most"):
            names_of(wrong)


def test_of_several_all_are_asked_for_or_none(alpha: FakeHost, host: Host) -> None:
    verb = BY_KIND[KIND]
    asked = bulk.submit_all(alpha.actor, verb, host, [wish(alpha, name=name) for name in names_of("n{1..3}")])
    assert [operation.parameters["name"] for operation in asked] == ["n1", "n2", "n3"]
    count = Operation.objects.count()
    with pytest.raises(operations.Invalid):
        bulk.submit_all(alpha.actor, verb, host, [wish(alpha, name="n4"), wish(alpha, name="web-1")])
    assert Operation.objects.count() == count


def test_the_best_place_is_the_one_with_room(alpha: FakeHost, host: Host) -> None:
    busy = Host.objects.create(
        name="busy", transport="test", state="up", hostname="b", info=host.info, memory_used_kib=0, cpu_percent=90
    )
    make_pool(busy, "images", 8)
    make_network(busy, "lan", 9)
    down = Host.objects.create(name="down", transport="test", state="down", hostname="d", info=host.info)
    places = places_for([down, busy, host], 2 * 2**20)
    assert [(place.host, bool(place.lacks)) for place in places] == [(host, False), (busy, False), (down, True)]
    assert places[0].reason == "7.0 GiB of memory free"
    # More than the first has free, and the second has.
    assert places_for([busy, host], 15 * 2**19)[0].host == busy

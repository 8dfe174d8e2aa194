"""Making things inside a project: of what it may use and of nothing else, by who holds nothing on its hosts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from tests.people import make_host, make_network, make_pool, make_volume
from tests.services.carrying import Worker
from tests.services.conftest import GIB, IMAGE, FakeHost
from tests.services.shop import make_shop, really_there
from tests.services.test_creation import ISO, host, wish
from webvirt.models import (
    CloudImage,
    CustomRole,
    Domain,
    Flavour,
    Grant,
    Host,
    Network,
    Operation,
    OperationState,
    Project,
    Role,
    Volume,
)
from webvirt.services import grounds, images, operations, runners
from webvirt.services.access import access_of
from webvirt.services.catalogue import BY_KIND
from webvirt.services.catalogue.wishes import CreateDomainSpec
from webvirt.services.quotas import used_in

__all__ = ["host"]

S = OperationState
CREATE = BY_KIND["domain.create"]


@dataclass
class Shop:
    """A project of which `worker` is a member who holds nothing else, and another that is nothing to them."""

    project: Project
    other: Project
    worker: Worker
    alpha: FakeHost

    def wish(self, **more: Any) -> dict[str, Any]:
        return wish(self.alpha, project=self.project.pk, **more)


@pytest.fixture
def shop(alpha: FakeHost, host: Host) -> Shop:
    member = alpha.cast.stranger
    project = make_shop(member)
    project.allowed_images.set([alpha.volume(ISO.name)])
    return Shop(project, Project.objects.create(name="theirs"), Worker(member), alpha)


def test_a_member_makes_a_machine_that_is_the_projects_and_learns_of_no_host(shop: Shop, host: Host) -> None:
    disc = shop.alpha.volume(ISO.name)
    done = shop.worker.do("domain.create", host, **shop.wish(begins="disc", volume=disc.pk, setup={"user": "ann"}))
    assert (done.state, done.error) == (S.SUCCEEDED, "")
    access = access_of(shop.alpha.cast.stranger)
    assert [machine.name for machine in access.domains()] == ["new-1"]
    assert {volume.name for volume in access.volumes()} == {"new-1.qcow2", "new-1-setup.iso"}
    assert not [*access.hosts(), *access.pools(), *access.networks()]
    assert shop.alpha.volume(ISO.name).project is None
    assert used_in(shop.project.pk) == really_there(shop.alpha, shop.project)


def other_pool(shop: Shop) -> dict[str, Any]:
    pool = make_pool(shop.alpha.cast.host, "vault", 9)
    return shop.wish(disks=[{"pool": pool.pk, "size": GIB}])


def other_network(shop: Shop) -> dict[str, Any]:
    return shop.wish(cards=[{"network": make_network(shop.alpha.cast.host, "dmz", 9).pk}])


def shared_disk(shop: Shop) -> dict[str, Any]:
    image = shop.alpha.volume(IMAGE.name)
    shop.project.allowed_images.add(image)
    return shop.wish(begins="volume", volume=image.pk, disks=[])


def other_size(shop: Shop) -> dict[str, Any]:
    Project.objects.update(of_flavours_only=True)
    shop.project.allowed_flavours.set(Flavour.objects.filter(name="S"))
    return shop.wish(vcpus=3)


def not_in_the_catalogue_of_it(shop: Shop) -> dict[str, Any]:
    image = CloudImage.objects.create(name="Tux", url="https://example.org/tux.img", arch="x86_64")
    return shop.wish(begins="image", cloud_image=image.pk)


REFUSED: dict[str, tuple[Callable[[Shop], dict[str, Any]], str]] = {
    "another pool": (other_pool, "disks.0.pool"),
    "another network": (other_network, "cards.0.network"),
    "a bridge": (lambda shop: shop.wish(cards=[{"bridge": "br0"}]), "cards.0.bridge"),
    "a filter": (
        lambda shop: shop.wish(cards=[{"network": Network.objects.get().pk, "filter": "no-mail"}]),
        "cards.0.filter",
    ),
    "an image": (lambda shop: shop.wish(begins="image", volume=shop.alpha.volume(IMAGE.name).pk), "volume"),
    "a shared disk to write to": (shared_disk, "volume"),
    "another size": (other_size, "vcpus"),
    "an image of the catalogue": (not_in_the_catalogue_of_it, "cloud_image"),
    "no project": (lambda shop: wish(shop.alpha), "project"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_the_project_may_not_use_is_refused(shop: Shop, host: Host, what: str) -> None:
    asked, field = REFUSED[what]
    with pytest.raises(operations.Invalid) as refused:
        shop.worker.ask("domain.create", host, **asked(shop))
    assert list(refused.value.fields)[:1] == [field], refused.value.fields
    assert not Operation.objects.exists()


def test_a_project_is_not_chosen_by_who_has_no_say_in_it(shop: Shop, host: Host) -> None:
    with pytest.raises(operations.Denied):
        shop.worker.ask("domain.create", host, **shop.wish() | {"project": shop.other.pk})
    # Nor by who may make machines on the host.
    Grant.objects.create(user=shop.alpha.cast.viewer, role=Role.OWNER, host=host)
    owner = Worker(shop.alpha.cast.viewer)
    with pytest.raises(operations.Invalid) as refused:
        owner.ask("domain.create", host, **shop.wish())
    assert list(refused.value.fields) == ["project"]
    Grant.objects.create(user=shop.alpha.cast.viewer, role=Role.VIEWER, project=shop.project)
    with pytest.raises(operations.Denied):
        owner.ask("domain.create", host, **shop.wish())
    # Who may there, too, is not kept to what the project may use.
    Grant.objects.filter(project=shop.project).update(role=Role.OWNER)
    shop.project.allowed_pools.clear()
    assert owner.do("domain.create", host, **shop.wish()).state == S.SUCCEEDED
    assert Domain.objects.get(name="new-1").project == shop.project


@pytest.mark.parametrize("role", [Role.VIEWER, Role.OPERATOR])
def test_a_lower_role_is_not_enough(shop: Shop, host: Host, role: Role) -> None:
    Grant.objects.filter(project=shop.project).update(role=role)
    access = access_of(shop.alpha.cast.stranger)
    assert not access.targets(CREATE).exists()
    with pytest.raises(operations.Denied):
        shop.worker.ask("domain.create", host, **shop.wish())


def test_a_role_of_ones_own_is_enough(shop: Shop, host: Host) -> None:
    creator = CustomRole.objects.create(name="Creator", kinds=["domain.create"])
    Grant.objects.filter(project=shop.project).update(role="", custom_role=creator)
    assert list(access_of(shop.alpha.cast.stranger).targets(CREATE)) == [host]
    assert shop.worker.do("domain.create", host, **shop.wish()).state == S.SUCCEEDED
    with pytest.raises(operations.Denied):
        shop.worker.ask("volume.create", shop.alpha.pool, name="v", capacity=GIB, project=shop.project.pk)


@pytest.mark.parametrize("what", ["allowed_hosts", "allowed_pools", "allowed_networks", "role"])
def test_what_is_withdrawn_while_it_waits_is_not_used(shop: Shop, host: Host, what: str) -> None:
    operation = shop.worker.ask("domain.create", host, **shop.wish())
    if what == "role":
        Grant.objects.filter(project=shop.project).delete()
    else:
        getattr(shop.project, what).clear()
    runners.run(operation.pk)
    operation.refresh_from_db()
    assert operation.state in (S.DENIED, S.FAILED)
    assert not shop.alpha.connection.domains.known
    assert not Domain.objects.filter(name="new-1").exists()


@pytest.mark.parametrize("what", ["allowed_hosts", "allowed_pools", "role"])
def test_a_volume_is_not_made_after_the_right_was_withdrawn(shop: Shop, host: Host, what: str) -> None:
    asked = {"name": "late.qcow2", "capacity": GIB, "project": shop.project.pk}
    operation = shop.worker.ask("volume.create", shop.alpha.pool, **asked)
    if what == "role":
        Grant.objects.filter(project=shop.project).update(role=Role.OPERATOR)
    else:
        getattr(shop.project, what).clear()
    runners.run(operation.pk)
    operation.refresh_from_db()
    assert operation.state == S.DENIED
    assert "late.qcow2" not in shop.alpha.names()


def test_a_volume_stays_out_of_a_project_whose_say_was_lost(shop: Shop, host: Host) -> None:
    """Who may fill the pool by a role there may not fill the project's quota any more."""
    Grant.objects.create(user=shop.alpha.cast.stranger, role=Role.OWNER, pool=shop.alpha.pool)
    asked = {"name": "late.qcow2", "capacity": GIB, "project": shop.project.pk}
    operation = shop.worker.ask("volume.create", shop.alpha.pool, **asked)
    Grant.objects.filter(project=shop.project).delete()
    runners.run(operation.pk)
    operation.refresh_from_db()
    assert operation.state == S.DENIED


def test_hosts_that_it_may_not_use_are_not_found(shop: Shop, host: Host) -> None:
    beta = make_host("beta", hostname="beta.example.org")
    access = access_of(shop.alpha.cast.stranger)
    assert list(access.targets(CREATE)) == [host]
    assert not access.may(CREATE, beta)
    # A pool of a host that it may not use is none of its pools.
    pool = make_pool(beta, "far", 9)
    shop.project.allowed_pools.add(pool)
    assert not access_of(shop.alpha.cast.stranger).may(BY_KIND["volume.create"], pool)


def test_a_member_clones_the_projects_machines_within_its_pools(shop: Shop, host: Host) -> None:
    assert shop.worker.do("domain.create", host, **shop.wish(start=False)).state == S.SUCCEEDED
    machine = Domain.objects.get(name="new-1")
    done = shop.worker.do("domain.clone", machine, name="new-2")
    assert (done.state, done.error) == (S.SUCCEEDED, "")
    clone = Domain.objects.get(name="new-2")
    assert (clone.project, shop.alpha.volume("new-2.qcow2").project) == (shop.project, shop.project)
    assert used_in(shop.project.pk) == really_there(shop.alpha, shop.project)
    vault = make_pool(host, "vault", 9)
    chosen = [{"target": "vda", "way": "copy", "pool": vault.pk}]
    with pytest.raises(operations.Invalid) as refused:
        shop.worker.ask("domain.clone", machine, name="new-3", disks=chosen)
    assert list(refused.value.fields) == ["disks.0.pool"]
    shop.project.allowed_pools.set([vault])
    # By default it goes where the project may.
    assert shop.worker.ask("domain.clone", machine, name="new-3").parameters["name"] == "new-3"
    shop.project.allowed_pools.clear()
    with pytest.raises(operations.Invalid) as refused:
        shop.worker.ask("domain.clone", machine, name="new-4")
    assert list(refused.value.fields) == ["disks"]
    shop.project.allowed_hosts.clear()
    with pytest.raises(operations.Denied):
        shop.worker.ask("domain.clone", machine, name="new-4")


def test_of_who_has_no_say_in_its_project_a_clone_is_in_none(shop: Shop, host: Host) -> None:
    assert shop.worker.do("domain.create", host, **shop.wish(start=False)).state == S.SUCCEEDED
    Grant.objects.create(user=shop.alpha.cast.viewer, role=Role.OWNER, host=host)
    owner, machine = Worker(shop.alpha.cast.viewer), Domain.objects.get(name="new-1")
    assert owner.do("domain.clone", machine, name="new-2").state == S.SUCCEEDED
    assert Domain.objects.get(name="new-2").project is None
    assert used_in(shop.project.pk).machines == 1


def test_volumes_are_made_in_the_projects_pools_alone(shop: Shop, host: Host) -> None:
    pool, vault = shop.alpha.pool, make_pool(host, "vault", 9)
    done = shop.worker.do("volume.create", pool, name="data.qcow2", capacity=GIB, project=shop.project.pk)
    assert done.state == S.SUCCEEDED
    volume = shop.alpha.volume("data.qcow2")
    assert volume.project == shop.project
    with pytest.raises(operations.Denied):
        shop.worker.ask("volume.create", vault, name="data.qcow2", capacity=GIB, project=shop.project.pk)
    for kind, more in (("volume.clone", {"pool": vault.pk}), ("volume.copy", {"pool": vault.pk})):
        with pytest.raises(operations.Refused):
            shop.worker.ask(kind, volume, name="copy.qcow2", **more)
    assert shop.worker.do("volume.clone", volume, name="copy.qcow2").state == S.SUCCEEDED
    assert shop.alpha.volume("copy.qcow2").project == shop.project
    # What somebody else has in the pool is nothing to base it on.
    base = {"name": "layer.qcow2", "backing": shop.alpha.volume(IMAGE.name).pk, "project": shop.project.pk}
    with pytest.raises(operations.Invalid):
        shop.worker.ask("volume.create", pool, **base)
    # An arbitrary address is for those who may fetch.
    with pytest.raises(operations.Denied):
        shop.worker.ask("volume.fetch", pool, url="https://example.org/a.img", project=shop.project.pk)


def test_an_image_of_the_catalogue_that_it_has_is_fetched_into_its_pools(shop: Shop, host: Host) -> None:
    image = CloudImage.objects.create(name="Tux", url="https://example.org/tux.img", arch="x86_64")
    shop.project.allowed_cloud_images.add(image)
    asked = shop.wish(begins="image", cloud_image=image.pk)
    assert shop.worker.ask("domain.create", host, **asked).parameters["cloud_image"] == image.pk
    # With it, no other address is fetched.
    tree = {"begins": "tree", "tree": "https://example.org/tree/", "cloud_image": image.pk}
    with pytest.raises(operations.Refused):
        shop.worker.ask("domain.create", host, **shop.wish(name="new-2", **tree))
    # One that another project has fetched for itself is that one's.
    theirs = make_volume(shop.alpha.pool, "tux.img", source_url=image.url, project=shop.other)
    access = access_of(shop.alpha.cast.stranger)
    inside = grounds.ground_of(access, CREATE, host, CreateDomainSpec.model_validate(asked))
    assert inside is not None
    assert theirs not in inside.rows("volume")
    assert images.on_host_of(shop.alpha.pool, image.url) is None
    Volume.objects.filter(pk=theirs.pk).update(project=None)
    assert images.on_host_of(shop.alpha.pool, image.url) == theirs
    assert theirs in inside.rows("volume")


def test_the_discs_that_it_may_use_go_into_its_machines(shop: Shop, host: Host) -> None:
    assert shop.worker.do("domain.create", host, **shop.wish(start=False)).state == S.SUCCEEDED
    machine, disc = Domain.objects.get(name="new-1"), shop.alpha.volume(ISO.name)
    assert shop.worker.do("domain.insert", machine, drive="sda", volume=disc.pk).state == S.SUCCEEDED
    assert shop.worker.do("domain.eject", Domain.objects.get(pk=machine.pk), drive="sda").state == S.SUCCEEDED
    shop.project.allowed_images.clear()
    with pytest.raises(operations.Invalid):
        shop.worker.ask("domain.insert", Domain.objects.get(pk=machine.pk), drive="sda", volume=disc.pk)


def test_closed_projects_allow_nothing(shop: Shop, host: Host) -> None:
    Project.objects.filter(pk=shop.project.pk).update(closed_at="2025-01-01T00:00Z")
    access = access_of(shop.alpha.cast.stranger)
    assert not access.targets(CREATE).exists()
    assert not access.may(CREATE, host)

"""Machines that begin with what is on the web: an image of the catalogue, or an installer's kernel."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import timedelta
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest
from django.utils import timezone

from tests.people import make_domain, make_host, make_pool, make_volume
from tests.services.conftest import GIB, FakeHost
from tests.services.test_creation import disks, made
from tests.services.test_fetching import Server, give, inside, opened, server
from webvirt.hypervisor.errors import HypervisorError
from webvirt.hypervisor.xml.parse import parse_domain
from webvirt.models import CloudImage, DiskUse, Domain, Grant, Host, Operation, OperationState, Role, Status, Volume
from webvirt.services import cloudimages, inventory, machines, operations
from webvirt.services.catalogue.building import plan_of
from webvirt.services.catalogue.creation import NOBODY
from webvirt.services.catalogue.wishes import CreateDomainSpec
from webvirt.services.runners import fetched
from webvirt.services.runners.storage import LOOK_SECONDS
from webvirt.services.runners.transfers import brought
from webvirt.web.forms.creation import foreseen

__all__ = ["inside", "opened", "server"]

S = OperationState
KIND = "domain.create"
IMAGE, KERNEL, INITRD = b"an image " * 1000, b"a kernel " * 700, b"an initrd " * 900
FILES = {
    "/tux.img": IMAGE,
    "/os/images/pxeboot/vmlinuz": KERNEL,
    "/os/images/pxeboot/initrd.img": INITRD,
    "/dists/main/installer-amd64/current/images/netboot/debian-installer/amd64/linux": KERNEL,
    "/dists/main/installer-amd64/current/images/netboot/debian-installer/amd64/initrd.gz": INITRD,
}
TREEINFO = """[images-x86_64]
kernel = images/pxeboot/vmlinuz
initrd = images/pxeboot/initrd.img
[checksums]
images/pxeboot/vmlinuz = sha256:{kernel}
"""


@pytest.fixture
def host(alpha: FakeHost) -> Host:
    info = asdict(alpha.connection.host.info())
    Host.objects.filter(pk=alpha.cast.host.pk).update(info=info, memory_used_kib=2**20)
    return Host.objects.get(pk=alpha.cast.host.pk)


@pytest.fixture
def web(inside: Server) -> Server:
    """A server with an image and two trees."""
    give_files(inside, {})
    return inside


def give_files(web: Server, more: dict[str, str]) -> None:
    files = FILES | {path: text.encode() for path, text in more.items()}

    def answer(handler: BaseHTTPRequestHandler) -> None:
        data = files.get(handler.path)
        if data is None:
            handler.send_error(404)
        else:
            give(handler, data=data)

    web.answer = answer


@pytest.fixture
def image(web: Server) -> CloudImage:
    CloudImage.objects.all().delete()
    digest = hashlib.sha256(IMAGE).hexdigest()
    return cloudimages.add({"name": "Tux 9", "os": "debian12", "url": web.url("/tux.img"), "checksum": digest})


def wish(alpha: FakeHost, **more: Any) -> dict[str, Any]:
    return {"name": "new-1", "disks": [{"pool": alpha.pool.pk, "size": 5 * GIB}]} | more


def from_catalogue(alpha: FakeHost, image: CloudImage, **more: Any) -> dict[str, Any]:
    return wish(alpha, begins="image", cloud_image=image.pk, **more)


def asked_for(web: Server, path: str) -> int:
    return sum(asked == path for asked, _headers in web.requests)


# --- an image of the catalogue


def test_an_image_is_fetched_once_and_stays(alpha: FakeHost, host: Host, web: Server, image: CloudImage) -> None:
    done = alpha.do(KIND, host, **from_catalogue(alpha, image))
    assert done.state == S.SUCCEEDED, done.error
    kept = alpha.volume("tux.img")
    assert (kept.source_url, kept.sha256, kept.making) == (image.url, image.checksum, None)
    assert cloudimages.volume_of(alpha.pool, image) == kept
    assert [disk[1] for disk in disks(made(alpha))][:1] == ["/srv/images/new-1.qcow2"]
    again = alpha.do(KIND, host, **from_catalogue(alpha, image, name="new-2", linked=True))
    assert again.state == S.SUCCEEDED, again.error
    assert alpha.volume("new-2.qcow2").backing_path == kept.path
    assert asked_for(web, "/tux.img") == 1


def test_one_that_is_damaged_leaves_nothing(alpha: FakeHost, host: Host, web: Server, image: CloudImage) -> None:
    cloudimages.change(image, {"name": "Tux 9", "url": image.url, "checksum": "0" * 64})
    before = alpha.names()
    done = alpha.do(KIND, host, **from_catalogue(alpha, image))
    assert (done.state, done.error[:30]) == (S.FAILED, "The file is not what it should")
    alpha.look_again()
    assert alpha.names() == before
    assert not Domain.objects.kept().filter(name="new-1").exists()


def test_while_another_fetches_it_one_waits_and_has_the_same(
    alpha: FakeHost, host: Host, web: Server, image: CloudImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (alpha.ask(KIND, host, **from_catalogue(alpha, image, name=name)) for name in ("n-1", "n-2"))
    waits: list[float] = []

    def half_way(*args: Any) -> Any:
        """When it has all arrived and is not whole yet, the other begins, and waits until this one goes on."""
        monkeypatch.setattr(fetched, "brought", brought)
        found = brought(*args)

        def goes_on(seconds: float) -> None:
            waits.append(seconds)
            found[0].is_whole()

        monkeypatch.setattr(time, "sleep", goes_on)
        alpha.carry_out(second)
        return found

    monkeypatch.setattr(fetched, "brought", half_way)
    alpha.carry_out(first)
    states = list(Operation.objects.filter(kind=KIND).values_list("state", "error"))
    assert states == [(S.SUCCEEDED, "")] * 2, states
    assert waits == [LOOK_SECONDS]
    assert asked_for(web, "/tux.img") == 1


def test_nobody_waits_for_ever_for_who_has_no_worker(
    alpha: FakeHost, host: Host, web: Server, image: CloudImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Claimed by nobody: its worker died.
    other = alpha.ask("volume.fetch", alpha.pool, url=image.url, name="elsewhere.img")
    make_volume(alpha.pool, "elsewhere.img", making=other)
    monkeypatch.setattr(fetched, "LOST_SECONDS", -1.0)
    done = alpha.do(KIND, host, **from_catalogue(alpha, image))
    assert (done.state, done.error) == (S.FAILED, "Another operation fetches this image, and makes no progress.")
    assert asked_for(web, "/tux.img") == 0


def test_what_has_its_name_already_is_left_alone(alpha: FakeHost, host: Host, web: Server, image: CloudImage) -> None:
    make_volume(alpha.pool, "tux.img")
    spec = CreateDomainSpec.model_validate(from_catalogue(alpha, image))
    (fetch,) = plan_of(host, spec, NOBODY).fetches
    assert (fetch.name, fetch.url) == ("tux-2.img", image.url)


def test_the_plan_says_what_is_fetched_and_how_much_where_that_is_known(
    alpha: FakeHost, host: Host, web: Server, image: CloudImage
) -> None:
    spec = CreateDomainSpec.model_validate(from_catalogue(alpha, image))
    steps = dict(foreseen(host, spec)["steps"])
    assert steps["Fetched"] == "images/tux.img · size not known yet · 127.0.0.1 · stays in the pool for others"
    far = make_pool(make_host("omega", hostname="o"), "far", 9)
    make_volume(far, "t.img", source_url=image.url, allocation=3 * GIB, capacity=7 * GIB)
    shown = foreseen(
        host, CreateDomainSpec.model_validate(from_catalogue(alpha, image, disks=[{"pool": alpha.pool.pk}]))
    )
    assert "3\N{NO-BREAK SPACE}GiB" in dict(shown["steps"])["Fetched"]
    assert "7\N{NO-BREAK SPACE}GiB · a copy of tux.img" in dict(shown["steps"])["Disk"]


def test_only_who_may_fetch_has_it_fetched(alpha: FakeHost, host: Host, web: Server, image: CloudImage) -> None:
    Grant.objects.create(user=alpha.cast.stranger, host=host, role=Role.OWNER)
    alpha.actor = replace(alpha.actor, user=alpha.cast.stranger)
    with pytest.raises(operations.Denied, match="Fetch an image"):
        alpha.ask(KIND, host, **from_catalogue(alpha, image))
    with pytest.raises(operations.Denied, match="Fetch an image"):
        alpha.ask(KIND, host, **wish(alpha, begins="tree", tree=web.url("/os")))
    # What is there already is anybody's who may make machines.
    make_volume(alpha.pool, "tux.img", source_url=image.url, path="/srv/images/tux.img", capacity=GIB)
    alpha.ask(KIND, host, **from_catalogue(alpha, image))


# --- an installer's kernel


def kernel_files(alpha: FakeHost) -> list[str]:
    return [name for name in alpha.names() if name.startswith("new-1-")]


@pytest.mark.parametrize("tree", ["/os/", "/dists/main/installer-amd64"])
def test_an_installer_is_found_in_its_tree_fetched_and_started(
    alpha: FakeHost, host: Host, web: Server, tree: str
) -> None:
    done = alpha.do(KIND, host, **wish(alpha, begins="tree", tree=web.url(tree), os="fedora37"))
    assert done.state == S.SUCCEEDED, done.error
    there, stored = made(alpha), alpha.connection.storage.known[alpha.uuid].volumes
    once = alpha.connection.domains.started_once[there.uuid]
    assert (once.path, once.initrd) == ("/srv/images/new-1-kernel", "/srv/images/new-1-initrd")
    assert once.arguments == f"inst.repo={web.url(tree)}"
    assert (bytes(stored["new-1-kernel"].data), bytes(stored["new-1-initrd"].data)) == (KERNEL, INITRD)
    # What it will start with afterwards knows nothing of them.
    assert parse_domain(there.xml()).kernel == ""
    row = Domain.objects.get(name="new-1")
    kernel = alpha.volume("new-1-kernel")
    assert (kernel.starts, kernel.making) == (row, None)


def test_what_a_tree_says_of_its_kernel_is_compared(alpha: FakeHost, host: Host, web: Server) -> None:
    give_files(web, {"/os/.treeinfo": TREEINFO.format(kernel=hashlib.sha256(KERNEL).hexdigest())})
    assert alpha.do(KIND, host, **wish(alpha, begins="tree", tree=web.url("/os"))).state == S.SUCCEEDED
    give_files(web, {"/os/.treeinfo": TREEINFO.format(kernel="0" * 64)})
    more = {"name": "new-2", "begins": "tree", "tree": web.url("/os")}
    done = alpha.do(KIND, host, **wish(alpha, **more))
    assert (done.state, done.error[:30]) == (S.FAILED, "The file is not what it should")
    alpha.look_again()
    assert not [name for name in alpha.names() if name.startswith("new-2")]


def test_a_list_of_checksums_beside_the_kernel_is_compared(alpha: FakeHost, host: Host, web: Server) -> None:
    folder = "/dists/main/installer-amd64"
    give_files(web, {f"{folder}/current/images/SHA256SUMS": f"{'0' * 64}  ./netboot/debian-installer/amd64/linux\n"})
    done = alpha.do(KIND, host, **wish(alpha, begins="tree", tree=web.url(folder)))
    assert (done.state, done.error[:30]) == (S.FAILED, "The file is not what it should")


def test_kernel_and_initrd_may_be_named_themselves(alpha: FakeHost, host: Host, web: Server) -> None:
    urls = {"kernel_url": web.url("/os/images/pxeboot/vmlinuz"), "arguments": "console=ttyS0"}
    done = alpha.do(KIND, host, **wish(alpha, begins="tree", **urls))
    assert done.state == S.SUCCEEDED, done.error
    once = alpha.connection.domains.started_once[made(alpha).uuid]
    assert (once.path, once.initrd, once.arguments) == ("/srv/images/new-1-kernel", "", "console=ttyS0")


@pytest.mark.parametrize(
    ("tree", "error"),
    [
        ("/nowhere", "There is no installer's kernel in this tree."),
        ("http://10.0.0.1/os", "10.0.0.1 is not on the public internet"),
    ],
)
def test_a_tree_that_is_none_leaves_nothing(alpha: FakeHost, host: Host, web: Server, tree: str, error: str) -> None:
    before = alpha.names()
    url = tree if tree.startswith("http") else web.url(tree)
    done = alpha.do(KIND, host, **wish(alpha, begins="tree", tree=url))
    assert done.state == S.FAILED
    assert done.error.startswith(error)
    alpha.look_again()
    assert alpha.names() == before
    assert alpha.connection.domains.known == {}


def test_a_machine_that_does_not_start_keeps_no_kernel(
    alpha: FakeHost, host: Host, web: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(uuid: str) -> None:
        raise HypervisorError("no more memory")

    monkeypatch.setattr(alpha.connection.domains, "start", refuses)
    done = alpha.do(KIND, host, **wish(alpha, begins="tree", tree=web.url("/os")))
    assert (done.state, "its installer is gone" in done.remedy) == (S.FAILED, True)
    alpha.look_again()
    assert kernel_files(alpha) == []
    assert Domain.objects.get(name="new-1").status == Status.SHUTOFF


class Died(BaseException):
    """A worker is killed."""


STEPS: dict[str, Callable[[FakeHost], tuple[Any, str]]] = {
    "a file arrives": lambda alpha: (alpha.connection.storage, "upload"),
    "definition": lambda alpha: (alpha.connection.domains, "define"),
    "first start": lambda alpha: (alpha.connection.domains, "start_once"),
}


@pytest.mark.parametrize("step", STEPS)
def test_a_worker_that_dies_leaves_nothing_that_was_fetched(
    alpha: FakeHost, host: Host, web: Server, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    where, name = STEPS[step](alpha)

    def dies(*args: Any, **more: Any) -> None:
        raise Died

    monkeypatch.setattr(where, name, dies)
    operation = alpha.ask(KIND, host, **wish(alpha, begins="tree", tree=web.url("/os")))
    with pytest.raises(Died):
        alpha.carry_out(operation)
    Operation.objects.filter(pk=operation.pk).update(heartbeat_at=timezone.now() - timedelta(minutes=1))
    operations.reap(timezone.now())
    alpha.look_again()
    assert kernel_files(alpha) == []


# --- and when the installer is done


def clerk_asks_for(now: Any = None) -> list[str]:
    machines.look_after(now or timezone.now())
    found = Operation.objects.filter(kind="volume.delete", user=None).order_by("pk")
    return list(found.values_list("target", flat=True))


def test_the_kernel_stays_while_the_machine_runs_with_it_and_no_longer(
    alpha: FakeHost, host: Host, web: Server
) -> None:
    assert alpha.do(KIND, host, **wish(alpha, begins="tree", tree=web.url("/os"))).state == S.SUCCEEDED
    row = Domain.objects.get(name="new-1")
    for slot, name in (("kernel", "new-1-kernel"), ("initrd", "new-1-initrd")):
        path = f"/srv/images/{name}"
        DiskUse.objects.create(domain=row, slot=slot, device="file", path=path, live=True)
    assert clerk_asks_for() == []
    DiskUse.objects.filter(slot__in=("kernel", "initrd")).delete()
    # What was saved while it ran goes on with its kernel.
    Domain.objects.filter(pk=row.pk).update(status=Status.SAVED)
    assert clerk_asks_for() == []
    Domain.objects.filter(pk=row.pk).update(status=Status.SHUTOFF)
    assert sorted(clerk_asks_for()) == ["new-1-initrd", "new-1-kernel"]


def test_another_volume_of_the_name_is_nobodys_to_delete(alpha: FakeHost, host: Host) -> None:
    row = make_domain(host, "done", 33)
    make_volume(alpha.pool, "done-kernel", starts=row)
    inventory.reconcile_volumes(alpha.pool, [])
    inventory.reconcile_volumes(alpha.pool, ["done-kernel"])
    assert Volume.objects.get(name="done-kernel").starts is None
    assert clerk_asks_for() == []


UNFIT: dict[str, tuple[dict[str, Any], str]] = {
    "no address": ({}, "give the address of the tree"),
    "two": ({"tree": "https://a.example/", "kernel_url": "https://a.example/k"}, "give the address of the tree"),
    "a file of ours": ({"tree": "file:///etc/"}, "must begin with https"),
    "no disk": ({"tree": "https://a.example/", "disks": []}, "say in which pool the disk is"),
    "not started": ({"tree": "https://a.example/", "start": False}, "for the first start alone"),
    "an image twice": ({"begins": "image", "cloud_image": 1, "volume": 1}, "name one of them"),
    "an image of nobody": ({"begins": "image", "cloud_image": 4711}, "no such image in the catalogue"),
}


@pytest.mark.parametrize("unfit", UNFIT)
def test_what_makes_no_sense_is_refused_in_words(alpha: FakeHost, host: Host, unfit: str) -> None:
    more, words = UNFIT[unfit]
    with pytest.raises(operations.Invalid, match=words):
        alpha.ask(KIND, host, **wish(alpha, **({"begins": "tree"} | more)))

"""Whoever dies while a machine is made or purged: nothing half made stays, and asked again, it works."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.api_client import Api
from tests.faults.copiers import MIB, held
from tests.guests import virsh
from tests.lab.lab import PORT, SecondHost, run
from tests.stack import Stack
from tests.until import until

NUMBER = 6
HOST = "maker"
NAME = "wvf-made"
IMAGE = "image.img"
SIZE = 32 * MIB
DISKS = 12
GONE_SECONDS = 60
"""After the end of the operation."""


@pytest.fixture(scope="module")
def second() -> Iterator[SecondHost]:
    host = SecondHost(NUMBER, copies_slowly=True)
    host.up()
    yield host
    host.down()


@dataclass
class Maker:
    """The second host as a host of ours, with an image of which every byte is something."""

    api: Api
    stack: Stack
    second: SecondHost
    id: int
    pool: int
    image: int

    @property
    def images(self) -> Path:
        return self.second.home / "lib/images"

    def wish(self, **more: Any) -> dict[str, Any]:
        disks = [{"pool": self.pool, "format": "qcow2"}]
        plain = {"name": NAME, "type": "qemu", "memory_mib": 64, "begins": "image", "volume": self.image}
        return plain | {"disks": disks, "setup": {"user": "ann"}, "firmware": "efi"} | more

    def create(self, **more: Any) -> int:
        answer = self.api.call("POST", f"/hosts/{self.id}/create-domain", json=self.wish(**more))
        assert answer.status_code == 202, answer.text
        return int(answer.json()["id"])

    def traces(self) -> list[str]:
        """Everything that there is of the machine, on the host and with us."""
        nvram = (self.second.home / "lib/qemu/nvram").glob(f"{NAME}*")
        domains = run("virsh", "-q", "-c", self.second.uri, "list", "--all", "--name").split()
        rows = [row["name"] for row in self.api.get(f"/pools/{self.pool}/volumes")["items"]]
        rows += [row["name"] for row in self.api.get("/domains", q=NAME)["items"]]
        return [*map(str, [*self.images.glob(f"{NAME}*"), *nvram]), *(d for d in domains if d == NAME), *rows]

    def leaves_nothing(self) -> None:
        until(lambda: self.traces() == [IMAGE], GONE_SECONDS, every=0.5, what="nothing but the image is left")

    def works(self, pk: int) -> None:
        ended = self.api.ends(pk, 120)
        assert ended["state"] == "succeeded", ended["error"]
        until(lambda: self.api.status(NAME) == "running", what="the machine runs")
        disks = [f"{NAME}.qcow2", f"{NAME}-setup.iso"]
        assert sorted(path.name for path in self.images.glob(f"{NAME}*")) == sorted(disks)

    def kill_worker(self, *, whole: bool) -> None:
        """End the processes that carry out operations at once; they are children of the worker."""
        worker = self.stack.process("worker-slow")
        children = Path(f"/proc/{worker}/task/{worker}/children").read_text().split()
        for pid in [*([worker] if whole else []), *map(int, children)]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def maker(stack: Stack, second: SecondHost) -> Iterator[Maker]:
    stack.manage("addlocalhost")
    api = Api(stack.url, stack.administrator_token())
    piece = secrets.token_bytes(MIB)
    with (second.home / "lib/images" / IMAGE).open("wb") as file:
        file.writelines(piece for _ in range(SIZE // MIB))
    run("virsh", "-q", "-c", second.uri, "pool-refresh", "default")
    body = {"name": HOST, "transport": "tcp", "hostname": second.hostname, "port": PORT, "unencrypted": True}
    answer = api.call("POST", "/hosts", json=body)
    assert answer.status_code == 202, answer.text
    until(lambda: api.host(HOST)["state"] == "up", 30, what="the second host up")
    host = api.host(HOST)["id"]
    pool = known(api, "/pools", "default", host=host)
    yield Maker(api, stack, second, host, pool, known(api, f"/pools/{pool}/volumes", IMAGE))
    answer = api.call("POST", f"/hosts/{host}/remove", json={})
    assert api.ends(answer.json()["id"])["state"] == "succeeded"


def known(api: Api, path: str, name: str, **params: Any) -> int:
    """The id of what has this name, once its figures are known."""

    def found() -> list[int]:
        rows = api.get(path, **params)["items"]
        return [row["id"] for row in rows if row["name"] == name and row.get("read_at", "now")]

    return (until(found, 40, what=f"{name} known") or [0])[0]


@pytest.fixture(autouse=True)
def nothing_left(maker: Maker) -> Iterator[None]:
    yield
    uri = ("virsh", "-q", "-c", maker.second.uri)
    run(*uri, "destroy", NAME, check=False)
    if maker.api.domain(NAME):
        maker.api.ends(purge(maker))
    maker.leaves_nothing()


def purge(maker: Maker) -> int:
    until(lambda: maker.api.status(NAME) == "shutoff", what="the machine is off")
    return maker.api.submit(NAME, "purge")


@pytest.mark.parametrize("whole", [False, True], ids=["child", "worker"])
def test_a_worker_killed_while_an_image_is_copied(maker: Maker, whole: bool) -> None:
    pk = maker.create()
    with held(maker.images / f"{NAME}.qcow2"):
        killed = time.monotonic()
        maker.kill_worker(whole=whole)
    ended = maker.api.ends(pk, 60)
    assert time.monotonic() - killed < 60
    assert (ended["state"], ended["error"]) == ("failed", "The worker that ran this was lost.")
    if whole:
        maker.leaves_nothing()
    # At once, it waits until what was left half made is removed.
    maker.works(maker.create())
    maker.stack.wait_until_well()


def test_libvirtd_killed_while_an_image_is_copied(maker: Maker) -> None:
    pk = maker.create()
    with held(maker.images / f"{NAME}.qcow2"):
        maker.second.kill()
        ended = maker.api.ends(pk, 60)
        assert ended["state"] == "failed"
        assert "not known" in ended["remedy"]
        maker.second.up()
        until(lambda: maker.api.host(HOST)["state"] == "up", 30, what="the host back")
        # While the copier, which outlived it, still has its file open.
        maker.leaves_nothing()
    maker.works(maker.create())


def test_a_worker_killed_in_the_middle_of_a_purge_and_another_sees_to_the_rest(maker: Maker) -> None:
    more = [{"pool": maker.pool, "size": MIB, "format": "qcow2"} for _ in range(DISKS - 1)]
    assert maker.api.ends(maker.create(disks=[*maker.wish()["disks"], *more], setup=None), 120)["state"] == "succeeded"
    run("virsh", "-q", "-c", maker.second.uri, "destroy", NAME)
    assert any(NAME in trace for trace in maker.traces() if "nvram" in trace)
    pk = purge(maker)
    left = until_fewer(lambda: len(list(maker.images.glob(f"{NAME}*"))))
    maker.kill_worker(whole=False)
    assert left > 0, "it was killed too late for this to show anything"
    ended = maker.api.ends(pk, 90)
    assert ended["state"] == "succeeded", ended["error"]
    maker.leaves_nothing()


def until_fewer(count: Callable[[], int]) -> int:
    """How many of its disks there are, as soon as one is gone."""
    assert count() == DISKS
    return until(lambda: 0 < count() < DISKS and count(), 20, every=0.0005, what="the first disk gone") or 0


# --- a pool without room


@pytest.fixture
def small() -> Iterator[Path]:
    """A pool of the same name on this machine, with room for 24 MiB."""
    name = f"wvf-pool-{secrets.token_hex(2)}"
    folder = Path(f"/var/tmp/{name}")
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", name, str(folder)], check=True)
    (folder / IMAGE).write_bytes(os.urandom(16 * MIB))
    virsh("pool-define-as", name, "dir", "--target", str(folder))
    virsh("pool-start", name)
    yield folder
    virsh("destroy", name, check=False)
    virsh("undefine", name, check=False)
    virsh("pool-destroy", name, check=False)
    virsh("pool-undefine", name, check=False)
    subprocess.run(["umount", "-l", str(folder)], check=False)
    shutil.rmtree(folder, ignore_errors=True)


def test_a_pool_that_fills_up_keeps_nothing_of_it(maker: Maker, small: Path) -> None:
    api, name = maker.api, small.name
    pool = known(api, "/pools", name)
    image = known(api, f"/pools/{pool}/volumes", IMAGE)
    host = api.get(f"/pools/{pool}")["host"]["id"]
    wish = maker.wish(name=name, volume=image, disks=[{"pool": pool, "format": "qcow2"}], firmware="bios")

    def ends() -> dict[str, Any]:
        answer = api.call("POST", f"/hosts/{host}/create-domain", json=wish)
        assert answer.status_code == 202, answer.text
        return api.ends(answer.json()["id"])

    ended = ends()
    assert (ended["state"], "No space left" in ended["error"]) == ("failed", True), ended
    until(lambda: os.listdir(small) == [IMAGE], GONE_SECONDS, what="nothing but the image in the pool")
    assert name not in virsh("list", "--all", "--name").split()
    until(lambda: api.domain(name) is None, GONE_SECONDS, what="no machine in the list")
    subprocess.run(["mount", "-o", "remount,size=64m", str(small)], check=True)
    ended = ends()
    assert ended["state"] == "succeeded", ended["error"]

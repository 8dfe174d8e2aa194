"""libvirtd dies in the middle of a copy, and its copier outlives it: what is half made is nobody's to use, and goes."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.api_client import Api
from tests.faults.copiers import MIB, held
from tests.lab.lab import PORT, SecondHost, run
from tests.stack import Stack
from tests.until import until

NUMBER = 7
HOST = "copier"
SIZE = 32 * MIB
COPY = "copy.qcow2"


@pytest.fixture(scope="module")
def second() -> Iterator[SecondHost]:
    host = SecondHost(NUMBER, copies_slowly=True)
    host.up()
    yield host
    host.down()


@pytest.fixture(scope="module")
def api(stack: Stack, second: SecondHost) -> Iterator[Api]:
    """An administrator's token, with the second host added for as long as this takes."""
    stack.manage("addlocalhost")
    api = Api(stack.url, stack.administrator_token())
    body = {"name": HOST, "transport": "tcp", "hostname": second.hostname, "port": PORT, "unencrypted": True}
    answer = api.call("POST", "/hosts", json=body)
    assert answer.status_code == 202, answer.text
    yield api
    answer = api.call("POST", f"/hosts/{api.host(HOST)['id']}/remove", json={})
    assert api.ends(answer.json()["id"])["state"] == "succeeded"


@pytest.fixture
def source(api: Api, second: SecondHost) -> dict[str, Any]:
    """A volume with something in every byte."""
    piece = secrets.token_bytes(MIB)
    with (second.home / "lib/images/source.img").open("wb") as file:
        file.writelines(piece for _ in range(SIZE // MIB))
    run("virsh", "-q", "-c", second.uri, "pool-refresh", "default")
    until(lambda: "source.img" in volumes(api), 40, what="the source known")
    return volumes(api)["source.img"]


def volumes(api: Api) -> dict[str, dict[str, Any]]:
    """What the API tells of the pool's volumes, by name."""
    pools = api.get("/pools", host=api.host(HOST)["id"])["items"]
    return {row["name"]: row for pool in pools for row in api.get(f"/pools/{pool['id']}/volumes")["items"]}


@contextmanager
def seen_meanwhile(look: Callable[[], Any]) -> Iterator[list[Any]]:
    """What somebody sees who looks all the time."""
    over, seen = threading.Event(), list[Any]()

    def keep_looking() -> None:
        while not over.wait(0.05):
            with suppress(requests.RequestException):
                seen.append(look())

    thread = threading.Thread(target=keep_looking)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


def clone(api: Api, source: dict[str, Any]) -> int:
    answer = api.call("POST", f"/volumes/{source['id']}/clone", json={"name": COPY, "format": "qcow2"})
    assert answer.status_code == 202, answer.text
    return int(answer.json()["id"])


def test_libvirtd_killed_in_the_middle_of_a_copy(api: Api, second: SecondHost, source: dict[str, Any]) -> None:
    file = second.home / "lib/images" / COPY
    with seen_meanwhile(lambda: volumes(api).get(COPY)) as seen:
        first = clone(api, source)
        with held(file) as pid:
            second.kill()
            until(lambda: api.host(HOST)["state"] == "down", 20, what="the host down")
            second.up()
            ended = api.ends(first, 60)
            assert ended["state"] == "failed"
            assert "not known" in ended["remedy"]
            until(lambda: api.host(HOST)["state"] == "up", 30, what="the host back")
            # At once, while the copier still has the file of the first try open.
            asked_again = len(seen)
            again = clone(api, source)
            assert Path(f"/proc/{pid}").exists(), "libvirt's death is not the copier's"
            ended = api.ends(again, 120)
            assert ended["state"] == "succeeded", ended["error"]
            until(lambda: seen[-1] and seen[-1]["whole"], what="the second copy told to be whole")
    flags = [row["whole"] for row in seen if row]
    # Never whole before the second copy was, and from then on always.
    assert not any(row["whole"] for row in seen[:asked_again] if row)
    assert (flags[0], flags[-1], flags) == (False, True, sorted(flags))
    run("qemu-img", "compare", "-f", "raw", "-F", "qcow2", str(second.home / "lib/images/source.img"), str(file))
    assert set(volumes(api)) == {"source.img", COPY}

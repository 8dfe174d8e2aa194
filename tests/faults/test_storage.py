"""Storage while things die under it: nothing half made stays, nothing is lost, and an upload goes on."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from secrets import token_hex
from typing import Any
from uuid import uuid4

import pytest
import requests

from tests.api_client import Api
from tests.guests import virsh
from tests.stack import Stack
from tests.until import until

MIB = 2**20
PIECE = 4 * MIB
TMPFS_MIB = 24


@pytest.fixture(scope="module")
def api(stack: Stack) -> Api:
    stack.manage("addlocalhost")
    return Api(stack.url, stack.administrator_token())


@dataclass
class SmallPool:
    """A pool on a file system of its own, with room for 24 MiB."""

    api: Api
    id: int
    name: str
    folder: Path

    def volumes(self) -> list[str]:
        return sorted(row["name"] for row in self.api.get(f"/pools/{self.id}/volumes")["items"])

    def on_the_host(self) -> list[str]:
        virsh("pool-refresh", self.name)
        return [line.split()[0] for line in virsh("vol-list", self.name).splitlines() if line.strip()]

    def begin(self, name: str, data: bytes) -> int:
        answer = self.api.call(
            "POST",
            f"/pools/{self.id}/upload-volume",
            json={"name": name, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()},
        )
        assert answer.status_code == 202, answer.text
        return int(answer.json()["id"])

    def send(self, pk: int, data: bytes, offset: int, digest: str = "") -> requests.Response:
        piece = data[offset : offset + PIECE]
        digest = digest or hashlib.sha256(piece).hexdigest()
        return self.api.call("PUT", f"/uploads/{pk}", params={"offset": offset, "sha256": digest}, data=piece)

    def send_on(self, pk: int, data: bytes) -> None:
        """Go on until all is sent, as a browser does: whatever the answer, ask again where we are."""
        deadline = time.monotonic() + 60
        while (at := self.received(pk)) < len(data):
            assert time.monotonic() < deadline, f"{at} of {len(data)} bytes are sent"
            try:
                self.send(pk, data, at)
            except requests.RequestException:
                time.sleep(0.1)

    def received(self, pk: int) -> int:
        try:
            answer = self.api.call("GET", f"/uploads/{pk}")
            return int(answer.json()["received"]) if answer.status_code == 200 else 0
        except requests.RequestException:
            return 0


@pytest.fixture
def small(api: Api) -> Iterator[SmallPool]:
    name = f"wvf-pool-{token_hex(2)}"
    folder = Path(f"/var/tmp/{name}")
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={TMPFS_MIB}m", name, str(folder)], check=True)
    virsh("pool-define-as", name, "dir", "--target", str(folder))
    virsh("pool-start", name)

    def known() -> list[dict[str, Any]]:
        return [row for row in api.get("/pools", q=name)["items"] if row["status"] == "running"]

    (row,) = until(known, 30, what=f"{name} known") or [{}]
    yield SmallPool(api, row["id"], name, folder)
    virsh("pool-destroy", name, check=False)
    virsh("pool-undefine", name, check=False)
    subprocess.run(["umount", str(folder)], check=False)
    shutil.rmtree(folder, ignore_errors=True)


def test_an_upload_outlives_its_worker_and_the_web(stack: Stack, api: Api, small: SmallPool) -> None:
    data = os.urandom(3 * PIECE + 5)
    pk = small.begin("system.img", data)
    assert small.send(pk, data, 0).status_code == 200
    until(lambda: api.get(f"/uploads/{pk}")["carried"] == PIECE, 30, what="the host has the first piece")
    stack.kill("worker-slow")
    for web in ("web-1", "web-2"):
        stack.kill(web)
    small.send_on(pk, data)
    # Its worker is taken for dead after half a minute; another one goes on where it was.
    assert api.ends(pk, 90)["state"] == "succeeded"
    assert (small.folder / "system.img").read_bytes() == data
    stack.wait_until_well()


@pytest.mark.parametrize("damaged", [PIECE, 2 * PIECE], ids=["one between", "the last"])
def test_a_damaged_piece_never_reaches_the_host_and_its_sender_learns_it(
    api: Api, small: SmallPool, damaged: int
) -> None:
    data = os.urandom(2 * PIECE + 5)
    pk = small.begin("system.img", data)
    for offset in range(0, damaged + 1, PIECE):
        assert small.send(pk, data, offset, "0" * 64 if offset == damaged else "").status_code == 200
    until(lambda: small.received(pk) == damaged, 30, what="the damaged piece is asked for again")
    assert api.get(f"/uploads/{pk}")["carried"] <= damaged
    assert not (small.folder / "system.img").read_bytes()[damaged:].strip(b"\0")
    small.send_on(pk, data)
    assert api.ends(pk)["state"] == "succeeded"
    assert (small.folder / "system.img").read_bytes() == data


def test_a_piece_is_what_was_sent_whatever_its_sender_names(api: Api, small: SmallPool) -> None:
    """The front hands pieces on as files, by a header that is its own."""
    data = os.urandom(PIECE)
    pk = small.begin("system.img", data)
    headers = {"Authorization": f"Bearer {api.token}", "X-Body-File": "/etc/passwd"}
    address = f"{api.url}/api/v1/uploads/{pk}?offset=0"
    for path in (f"{api.url}/api/v1/uploads/../uploads/{pk}?offset=0", address):
        answer = requests.put(path, data=data, headers=headers, timeout=10)
    assert answer.status_code in (200, 409), answer.text
    assert api.ends(pk)["state"] == "succeeded"
    assert (small.folder / "system.img").read_bytes() == data


def test_a_pool_that_fills_up_under_an_upload_keeps_nothing_of_it(api: Api, small: SmallPool) -> None:
    data = os.urandom(4 * PIECE)
    pk = small.begin("system.img", data)
    assert small.send(pk, data, 0).status_code == 200
    until(lambda: api.get(f"/uploads/{pk}")["carried"] == PIECE, 30, what="the host has the first piece")
    (small.folder / "somebody-elses").write_bytes(bytes((TMPFS_MIB - 6) * MIB))
    for offset in range(PIECE, len(data), PIECE):
        small.send(pk, data, offset)
    ended = api.ends(pk, 60)
    assert ended["state"] == "failed", (shutil.disk_usage(small.folder), os.listdir(small.folder))
    assert "No space left on device" in ended["error"]
    until(lambda: "system.img" not in small.on_the_host(), 40, what="nothing of it on the host")
    until(lambda: "system.img" not in small.volumes(), 40, what="nothing of it on the pages")


def test_what_has_no_room_is_refused_before_anything_is_made(api: Api, small: SmallPool) -> None:
    data = os.urandom(PIECE)
    answer = api.call("POST", f"/pools/{small.id}/upload-volume", json={"name": "big.img", "size": 30 * MIB})
    ended = api.ends(int(answer.json()["id"]), 30)
    assert ended["state"] == "failed"
    assert ended["error"].startswith("The pool has not enough room")
    first, second = small.begin("one.img", data * 4), small.begin("two.img", data * 4)
    states = {pk: until(partial(settled, api, pk), 30, what="both have settled") for pk in (first, second)}
    assert sorted(state or "" for state in states.values()) == ["failed", "running"]
    small.send_on(first if states[first] == "running" else second, data * 4)
    assert len(small.on_the_host()) == 1


# --- what leaves a host, and what goes to another place on one


def put(small: SmallPool, name: str, data: bytes) -> int:
    """A volume with something in it that is really there; its id."""
    (small.folder / name).write_bytes(data)
    asked = small.api.call("POST", f"/pools/{small.id}/refresh", json={}).json()["id"]
    assert small.api.ends(asked)["state"] == "succeeded"

    def known() -> list[int]:
        rows = small.api.get(f"/pools/{small.id}/volumes")["items"]
        return [row["id"] for row in rows if row["name"] == name and row["read_at"]]

    return (until(known, 30, what=f"{name} known") or [0])[0]


def ask_for(api: Api, volume: int) -> int:
    answer = api.call("POST", f"/volumes/{volume}/download")
    assert answer.status_code == 202, answer.text
    return int(answer.json()["id"])


def test_a_download_is_the_volume_and_is_there_once(stack: Stack, api: Api, small: SmallPool) -> None:
    data = os.urandom(3 * MIB) + bytes(5 * MIB) + os.urandom(MIB + 3)
    pk = ask_for(api, put(small, "disk.img", data))
    stranger = Api(stack.url, stack.administrator_token("another"))
    assert stranger.call("GET", f"/operations/{pk}/file").status_code == 404
    assert requests.get(f"{stack.url}/bytes/{pk}", timeout=10).status_code == 404
    assert api.operation(pk)["state"] == "queued"
    answer = api.call("GET", f"/operations/{pk}/file")
    assert answer.content == data
    assert answer.headers["Content-Disposition"] == 'attachment; filename="disk.img"'
    assert api.ends(pk)["state"] == "succeeded"
    assert api.call("GET", f"/operations/{pk}/file").status_code == 409


def test_a_download_of_what_is_gone_leads_to_why(api: Api, small: SmallPool) -> None:
    pk = ask_for(api, put(small, "disk.img", b"x" * MIB))
    virsh("vol-delete", "--pool", small.name, "disk.img")
    answer = api.call("GET", f"/operations/{pk}/file", allow_redirects=False)
    assert (answer.status_code, answer.headers["Location"]) == (303, f"/operations/{pk}/")
    ended = api.operation(pk)
    assert (ended["state"], "disk.img" in ended["error"]) == ("failed", True)


def test_a_download_that_nobody_takes_further_ends_and_holds_nothing(api: Api, small: SmallPool) -> None:
    pk = ask_for(api, put(small, "disk.img", os.urandom(20 * MIB)))
    with api.call("GET", f"/operations/{pk}/file", stream=True) as answer:
        assert len(answer.raw.read(MIB)) == MIB
        assert api.operation(pk)["state"] == "running"
    assert api.ends(pk)["state"] == "cancelled"


def children(pid: int) -> set[int]:
    return {int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}


def test_a_proxy_that_dies_ends_its_downloads(stack: Stack, api: Api, small: SmallPool) -> None:
    pk = ask_for(api, put(small, "disk.img", os.urandom(20 * MIB)))
    before = children(stack.process("consoleproxy"))
    with api.call("GET", f"/operations/{pk}/file", stream=True) as answer:
        assert len(answer.raw.read(MIB)) == MIB
        (carrier,) = children(stack.process("consoleproxy")) - before
        os.kill(carrier, signal.SIGKILL)
        with pytest.raises(requests.RequestException):
            assert len(answer.content) == 19 * MIB
    assert api.ends(pk, 60)["error"] == "The worker that ran this was lost."
    stack.wait_until_well()


def test_a_download_that_is_cancelled_is_not_taken_for_whole(api: Api, small: SmallPool) -> None:
    pk = ask_for(api, put(small, "disk.img", os.urandom(20 * MIB)))
    with api.call("GET", f"/operations/{pk}/file", stream=True) as answer:
        assert len(answer.raw.read(MIB)) == MIB
        assert api.call("POST", f"/operations/{pk}/cancel").status_code == 202
        # Though nobody takes a byte of it.
        assert api.ends(pk)["state"] == "cancelled"
        with pytest.raises(requests.RequestException):
            assert len(answer.content) == 19 * MIB


def test_a_copy_to_another_pool_keeps_its_holes(api: Api, small: SmallPool, tmp_path: Path) -> None:
    volume = put(small, "disk.img", b"")
    with (small.folder / "disk.img").open("wb") as file:
        file.seek(500 * MIB)
        file.write(os.urandom(MIB))
    name, folder = f"{small.name}-2", Path(f"/var/tmp/{small.name}-2")
    folder.mkdir()
    try:
        virsh("pool-define-as", name, "dir", "--target", str(folder))
        virsh("pool-start", name)
        (row,) = until(lambda: api.get("/pools", q=name)["items"], 30, what=f"{name} known") or [{}]
        until(lambda: api.get(f"/pools/{row['id']}")["status"] == "running", 30, what=f"{name} running")
        answer = api.call("POST", f"/volumes/{volume}/copy", json={"name": "copy.img", "pool": row["id"]})
        assert api.ends(answer.json()["id"])["state"] == "succeeded"
        assert (folder / "copy.img").read_bytes() == (small.folder / "disk.img").read_bytes()
        assert (folder / "copy.img").stat().st_blocks * 512 < 3 * MIB
        assert [each["name"] for each in api.get(f"/pools/{row['id']}/volumes")["items"]] == ["copy.img"]
    finally:
        virsh("pool-destroy", name, check=False)
        virsh("pool-undefine", name, check=False)
        shutil.rmtree(folder)


def settled(api: Api, pk: int) -> str:
    """Whether an upload has been refused, or has its room: a volume that is being made."""
    operation = api.operation(pk)
    placed = operation["phase"] == "writing to the host"
    return str(operation["state"]) if operation["state"] == "failed" or placed else ""


def test_a_secret_made_behind_our_back_shows_by_its_event(api: Api, tmp_path: Path) -> None:
    """Well before the list of secrets would be read again."""
    name, uuid = f"wvf-{token_hex(3)}", str(uuid4())

    def shown() -> bool:
        return bool(api.get("/secrets", q=name)["items"])

    until(lambda: states(api).get("local") == "up", 30, what="this machine up")
    definition = tmp_path / "secret.xml"
    definition.write_text(f"<secret><uuid>{uuid}</uuid><usage type='ceph'><name>{name}</name></usage></secret>")
    virsh("secret-define", str(definition))
    try:
        until(shown, 5, what="the secret shown")
    finally:
        virsh("secret-undefine", uuid)
    until(lambda: not shown(), 5, what="the secret gone")


def states(api: Api) -> dict[str, str]:
    """The states of the hosts by how they are reached."""
    return {row["address"]["transport"]: row["state"] for row in api.get("/hosts")["items"]}

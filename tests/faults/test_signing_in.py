"""A host by SSH whose key is swapped, and one with a password, on a whole installation."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.api_client import Api
from tests.lab.guarded import Authority, GuardedHost
from tests.lab.sshd import Sshd, running_sshd
from tests.stack import Stack
from tests.until import until

NUMBER = 9
USER, CANARY = "ada", "canary-5f3a9c71e0"
BY_SSH, BY_PASSWORD = "by-ssh", "by-password"


@pytest.fixture(scope="module")
def second() -> Iterator[GuardedHost]:
    host = GuardedHost(NUMBER, Authority("webvirt's tests"), USER, CANARY)
    host.up()
    yield host
    host.down()


@pytest.fixture(scope="module")
def sshd(second: GuardedHost, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with running_sshd(tmp_path_factory.mktemp("sshd") / "second", second) as host:
        yield host


@pytest.fixture(scope="module")
def api(stack: Stack) -> Api:
    return Api(stack.url, stack.administrator_token())


@pytest.fixture(autouse=True)
def removed(api: Api) -> Iterator[None]:
    yield
    for row in api.get("/hosts")["items"]:
        if row["name"] in (BY_SSH, BY_PASSWORD):
            assert api.ends(do(api, row["id"], "remove"))["state"] == "succeeded"


def add(api: Api, **parts: Any) -> int:
    answer = api.call("POST", "/hosts", json=parts)
    assert answer.status_code == 202, answer.text
    api.ends(answer.json()["id"])
    return int(answer.json()["host"])


def do(api: Api, host: int, verb: str, **parameters: Any) -> int:
    answer = api.call("POST", f"/hosts/{host}/{verb}", json=parameters)
    assert answer.status_code == 202, answer.text
    return int(answer.json()["id"])


def turns(api: Api, host: int, state: str) -> dict[str, Any]:
    """The host, once it is in this state."""

    def look() -> dict[str, Any] | None:
        told: dict[str, Any] = api.get(f"/hosts/{host}")
        return told if told["state"] == state else None

    return until(look, 40, what=f"the host {state}") or {}


def test_a_host_key_is_confirmed_and_a_swapped_one_stops_everything(api: Api, sshd: Sshd) -> None:
    host = add(api, name=BY_SSH, transport="ssh", hostname=sshd.listen, user="root")
    told = turns(api, host, "unconfirmed")
    assert told["offered"] == [sshd.fingerprint]
    sshd.type(api.get("/hosts/our_keys")[0]["command"])
    assert sshd.signed_in == 0, "nobody signs in to whom we do not know"
    trusted = api.ends(do(api, host, "trust", fingerprints=told["offered"]))
    assert trusted["state"] == "succeeded", trusted
    turns(api, host, "up")

    old = sshd.fingerprint
    sshd.new_host_key()
    told = turns(api, host, "changed")
    assert (told["keys"], told["offered"]) == ([old], [sshd.fingerprint])
    assert old in told["state_reason"]
    assert sshd.fingerprint in told["state_reason"]
    pool = {"name": "p", "type": "dir", "target_path": "/p"}
    assert api.call("POST", f"/hosts/{host}/create-pool", json=pool).status_code == 409
    checked = api.ends(do(api, host, "check"))
    assert (checked["state"], checked["error"]) == ("failed", told["state_reason"])
    assert sshd.signed_in == 0

    stale = api.ends(do(api, host, "trust", fingerprints=[old]))
    assert stale["state"] == "failed"
    accepted = api.ends(do(api, host, "trust", fingerprints=[sshd.fingerprint], replaces=[old]))
    assert accepted["state"] == "succeeded", accepted
    assert accepted["parameters"] == {"fingerprints": [sshd.fingerprint], "replaces": [old]}
    turns(api, host, "up")


def test_a_password_is_kept_and_found_nowhere(api: Api, stack: Stack, second: GuardedHost) -> None:
    address = {"hostname": second.hostname, "user": USER, "password": CANARY}
    host = add(api, name=BY_PASSWORD, transport="tcp", unencrypted=True, **address)
    since = turns(api, host, "up")["state_since"]
    lines = command_lines()
    for _ in range(3):
        assert "1 passwords" in stack.manage("rotatekeys")
        assert api.ends(do(api, host, "check"))["state"] == "succeeded"
    assert api.get(f"/hosts/{host}")["state_since"] == since, "no connection was broken"

    # A web process that did not take it in never has it.
    for name in ("web-1", "web-2"):
        stack.restart(name)
    stack.wait_until_well()
    stack.restart("watch")
    turns(api, host, "up")
    told = [api.call("GET", path).text for path in (f"/hosts/{host}", "/hosts", "/operations", "/openapi.json")]
    store = redis.Redis.from_url(f"unix://{stack.home}/run/redis.sock")
    told += [str(store.dump(key)) for key in store.scan_iter()]
    told += [lines, command_lines(), stack.log.read_text(errors="replace")]
    assert not any(CANARY in text for text in told)
    files = [path for path in stack.home.rglob("*") if path.is_file() and "front" not in path.parts]
    assert [path for path in files if CANARY.encode() in path.read_bytes()] == []
    assert not any(holds(stack.process(name), CANARY.encode()) for name in ("web-1", "web-2"))

    # Its database without the keys, as after a restore.
    (stack.home / "keys").rename(stack.home / "away")
    stack.restart("watch")
    turns(api, host, "locked")
    assert api.ends(do(api, host, "check"))["state"] == "failed"
    (stack.home / "away").rename(stack.home / "keys")
    turns(api, host, "up")


def command_lines() -> str:
    """Of everything that runs now."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            found.append(path.read_text(errors="replace"))
    return "\n".join(found)


def holds(pid: int, text: bytes) -> bool:
    """Whether a process has this in its memory."""
    with Path(f"/proc/{pid}/mem").open("rb", 0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            found = re.match(r"([0-9a-f]+)-([0-9a-f]+) rw", line)
            if not found:
                continue
            start, end = int(found[1], 16), int(found[2], 16)
            with suppress(OSError, OverflowError, ValueError):
                memory.seek(start)
                if text in memory.read(end - start):
                    return True
    return False

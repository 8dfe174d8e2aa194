"""The whole installation: it comes up, heals, and leaves nothing behind."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.stack import Stack, is_running, wait_for

pytestmark = [pytest.mark.stack, pytest.mark.slow]


@pytest.fixture(scope="module")
def own() -> Iterator[Stack]:
    """A stack that these tests may hurt."""
    with tempfile.TemporaryDirectory(prefix="wv-", ignore_cleanup_errors=True) as home:
        stack = Stack(Path(home))
        stack.prepare()
        stack.start(20)
        yield stack
        if stack.supervisor and stack.supervisor.poll() is None:
            stack.stop()


def members(stack: Stack) -> list[int]:
    """Every process of the stack: those of the groups that the supervisor's children lead."""
    groups = {path.read_text() for path in (stack.home / "run").glob("*.pid")}
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(FileNotFoundError, ProcessLookupError):
            if stat.read_text().rpartition(")")[2].split()[2] in groups:
                found.append(int(stat.parent.name))
    return found


def get(stack: Stack, path: str, **headers: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", stack.port, timeout=10)
    connection.request("GET", path, headers=headers)
    response = connection.getresponse()
    response.read()
    return response


def test_nothing_in_the_home_is_for_others_to_read(own: Stack) -> None:
    assert own.home.stat().st_mode & 0o077 == 0
    assert (own.home / "secret_key").stat().st_mode & 0o077 == 0


def test_only_nginx_listens_on_a_port(own: Stack) -> None:
    sockets = {os.readlink(link) for pid in members(own) for link in Path(f"/proc/{pid}/fd").iterdir()}
    listening = [
        line.split()
        for table in ("tcp", "tcp6")
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]
        if line.split()[3] == "0A"
    ]
    ports = {int(line[1].split(":")[1], 16) for line in listening if f"socket:[{line[9]}]" in sockets}
    assert ports == {own.port}


@pytest.mark.parametrize(
    "name", ["redis", "web-1", "web-2", "worker-fast", "worker-slow", "watch", "consoleproxy", "nginx"]
)
def test_what_is_killed_comes_back(own: Stack, name: str) -> None:
    assert own.restart(name, signal.SIGKILL)
    own.wait_until_well(60)


def test_a_page_while_one_web_process_is_away_comes_from_the_other(own: Stack) -> None:
    own.kill("web-1")
    assert [get(own, "/healthz").status for _ in range(20)] == [200] * 20
    own.process("web-1")


def test_a_page_while_the_web_processes_are_away_says_so(own: Stack) -> None:
    for pid in [own.kill(name, signal.SIGSTOP) for name in ("web-1", "web-2")]:
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: get(own, "/").headers["Retry-After"] == "3", "503 while web is away", 5)
    own.wait_until_well(30)


def test_a_body_too_large_never_reaches_the_web_process(own: Stack) -> None:
    with socket.create_connection(("127.0.0.1", own.port), timeout=2) as client:
        client.sendall(b"POST /accounts/login/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000000000\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 413")


def test_a_static_file_with_a_hash_is_kept_for_ever(own: Stack) -> None:
    files = [path.relative_to(own.home) for path in (own.home / "static").rglob("*.js")]
    hashed = next(path for path in files if len(path.suffixes) > 1 and len(path.suffixes[-2]) == 13)
    response = get(own, f"/{hashed}", **{"Accept-Encoding": "gzip"})
    assert response.status == 200
    assert response.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    plain = hashed.with_name(hashed.name.replace(hashed.suffixes[-2], ""))
    assert get(own, f"/{plain}").headers["Cache-Control"] == "no-cache"


def test_ctrl_c_leaves_nothing_behind(own: Stack) -> None:
    before = members(own)
    assert len(before) > 7
    start = time.monotonic()
    assert own.stop() == 0
    assert time.monotonic() - start < 12
    assert not [pid for pid in before if is_running(pid)]

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


def test_a_body_without_an_end_is_cut_off(own: Stack) -> None:
    """Eleven MiB are sent of what would never end; none of it is kept, and none reaches a web process."""
    piece = b"%x\r\n%b\r\n" % (2**16, bytes(2**16))
    with socket.create_connection(("127.0.0.1", own.port), timeout=10) as client:
        client.sendall(b"POST /login/ HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
        with suppress(ConnectionError):
            for _ in range(11 * 16):
                client.sendall(piece)
        with suppress(ConnectionError):
            assert client.recv(100).startswith(b"HTTP/1.1 413")
    wait_for(lambda: not list((own.home / "run/nginx/body").rglob("[0-9]*")), "nothing of it is left")


def test_slow_clients_hold_up_nobody(own: Stack) -> None:
    """Five hundred that began a request and say no more, and as many that say nothing at all."""
    waiting = [socket.create_connection(("127.0.0.1", own.port), timeout=10) for _ in range(1000)]
    try:
        for client in waiting[::2]:
            client.sendall(b"GET /login/ HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
        assert [get(own, "/healthz").status for _ in range(10)] == [200] * 10
    finally:
        for client in waiting:
            client.close()


FRONTS_HEADERS = {
    "Content-Security-Policy": "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "X-Frame-Options": "DENY",
}


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/login/", {}, 200),
        ("/healthz", {}, 200),
        ("/nothing/", {}, 404),
        ("/static/logo.svg", {}, 200),
        ("/static/nothing.js", {}, 404),
        ("/bytes/1", {}, 404),
        ("/away.html", {}, 404),
        ("/login/", {"Host": "evil.example"}, 400),
        ("/login/", {"Content-Length": "1000000000000"}, 413),
        ("/login/", {"X-Large": "x" * 40_000}, 400),
        ("/ws/console/bytes/", {"Upgrade": "websocket", "Connection": "Upgrade"}, 403),
    ],
)
def test_every_answer_of_the_front_carries_the_policies(
    own: Stack, path: str, headers: dict[str, str], status: int
) -> None:
    """Whoever gives it: a web process, the disk, nginx itself; and each once."""
    answer = get(own, path, **headers)
    assert answer.status == status
    for name, value in FRONTS_HEADERS.items():
        (said,) = answer.headers.get_all(name, [])
        assert value in said
    assert "nginx/" not in str(answer.headers)


@pytest.mark.parametrize(
    "path",
    ["//evil.example/%2F..", "///evil.example/%2F..", "/%5Cevil.example", "/static//evil.example", "/vms%2F%2Fevil"],
)
def test_no_path_leads_to_another_host(own: Stack, path: str) -> None:
    where = get(own, path).headers.get("Location", "/")
    assert where.startswith("/")
    assert not where.startswith(("//", "/\\"))


@pytest.mark.parametrize("kind", ["setup", "link", "guest"])
def test_a_one_time_link_is_not_in_the_log(own: Stack, kind: str) -> None:
    before = own.log.read_text().count(f"/{kind}/...")
    assert get(own, f"/{kind}/a-secret-of-one-use/").status == 404
    wait_for(lambda: own.log.read_text().count(f"/{kind}/...") > before, "the request is in the log")
    assert "a-secret-of-one-use" not in own.log.read_text()


def test_nobody_says_themselves_where_they_come_from(own: Stack) -> None:
    token = own.administrator_token()
    claims = {"X-Forwarded-For": "203.0.113.9", "X-Real-IP": "203.0.113.9", "Forwarded": "for=203.0.113.9"}
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json", **claims}
    connection = http.client.HTTPConnection("127.0.0.1", own.port, timeout=10)
    body = '{"name": "nowhere", "transport": "tcp", "hostname": "127.0.0.1", "port": 1, "unencrypted": true}'
    connection.request("POST", "/api/v1/hosts", body, headers)
    assert connection.getresponse().status == 202
    connection.close()
    told = "from webvirt.models import Operation; print(*Operation.objects.values_list('address', flat=True))"
    assert set(own.manage("shell", "--no-imports", "--command", told).split()) == {"127.0.0.1"}


def test_redis_is_for_this_user_alone(own: Stack) -> None:
    assert (own.home / "run/redis.sock").stat().st_mode & 0o077 == 0


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

"""A console proxy of its own process for tests, with the Redis and the logins it needs."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import redis
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY

from tests.console.wsclient import ORIGIN, Client, Visitor
from tests.home import HOME
from tests.until import until
from webvirt.consoleproxy.server import KEEPER
from webvirt.models import ConsoleDevice, ConsoleMode, ConsoleSession, Domain, EndReason, GuestLink, User
from webvirt.services import consoles
from webvirt.services.sessions import SessionStore

PROJECT = Path(__file__).resolve().parents[2]
SOCKET = HOME / "run" / "console.sock"


def environment() -> dict[str, str]:
    return {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "webvirt.settings",
        "WEBVIRT_HOME": str(HOME),
        "WEBVIRT_PUBLIC_URL": ORIGIN,
        "PYTHONPATH": str(PROJECT),
    }


@dataclass
class Process:
    """Something started for a test and ended with it."""

    popen: subprocess.Popen[bytes]

    @property
    def pid(self) -> int:
        return self.popen.pid

    @property
    def lives(self) -> bool:
        return self.popen.poll() is None

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        if self.lives:
            self.popen.send_signal(number)
        return self.popen.wait(timeout=15)


def start_redis() -> Process:
    path = HOME / "run" / "redis.sock"
    path.unlink(missing_ok=True)
    words = ["redis-server", "--port", "0", "--unixsocket", str(path), "--save", "", "--appendonly", "no"]
    process = Process(subprocess.Popen(words, cwd=HOME / "run", stdout=subprocess.DEVNULL))

    def answers() -> bool:
        try:
            return bool(redis.Redis(unix_socket_path=str(path)).ping())
        except redis.RedisError:
            return False

    until(answers, what="Redis answers")
    return process


def start_proxy(*lone: object) -> Process:
    """The real command; with an address, the one whose every display is there, and what else `lone_proxy` takes."""
    words = [sys.executable, "manage.py", "consoleproxy"]
    if lone:
        words = [sys.executable, "-m", "tests.console.lone_proxy", str(SOCKET), *map(str, lone)]
    log = (HOME / "proxy.log").open("ab")
    process = Process(subprocess.Popen(words, cwd=PROJECT, env=environment(), stdout=log, stderr=log))

    def is_up() -> bool:
        return process.popen.poll() is not None or any(map(is_keeper, processes_of(process.pid)))

    until(is_up, 20, what="the proxy listens and its keeper runs")
    assert process.popen.poll() is None, (HOME / "proxy.log").read_text()
    return process


def start_front(port: int) -> Process:
    """nginx with the configuration of an installation, on this port of loopback."""
    environment = {"WEBVIRT_HOME": str(HOME), "WEBVIRT_PORT": str(port), "WEBVIRT_PUBLIC_URL": ORIGIN}
    words = [sys.executable, "-m", "deploy.nginx"]
    log = (HOME / "front.log").open("ab")
    process = Process(subprocess.Popen(words, cwd=PROJECT, env=os.environ | environment, stdout=log, stderr=log))
    until(lambda: listens(port), what="nginx listens")
    return process


OUTER = """
daemon off; pid {folder}/pid; error_log stderr warn; worker_processes 1;
events {{ worker_connections 100; }}
http {{
    access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/f;
    uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
    map $http_upgrade $connection_upgrade {{ default upgrade; "" ""; }}
    proxy_read_timeout {patience}ms; proxy_send_timeout {patience}ms;
    server {{ listen 127.0.0.1:{port}; {location} }}
}}
"""
USUAL_PATIENCE_SECONDS = 60.0
"""What proxies give a connection on which nothing is said, nginx among them."""


def start_outer(folder: Path, port: int, front: int, patience: float = USUAL_PATIENCE_SECONDS) -> Process:
    """nginx before the front, as deploy/proxy.conf.example says, which gives up after so many seconds of silence."""
    example = (PROJECT / "deploy" / "proxy.conf.example").read_text()
    location = example.replace("/webvirt/ {", "/ {").replace("127.0.0.1:8000;", f"127.0.0.1:{front};")
    conf = OUTER.format(folder=folder, port=port, patience=round(1000 * patience), location=location)
    (folder / "conf").write_text(conf)
    folder.chmod(0o755)
    words = ["nginx", "-p", str(folder), "-e", "stderr", "-c", str(folder / "conf")]
    process = Process(subprocess.Popen(words))
    until(lambda: listens(port), what="the outer nginx listens")
    return process


def listens(port: int) -> bool:
    with socket.socket() as end:
        return end.connect_ex(("127.0.0.1", port)) == 0


def sign_in(user: User) -> str:
    """The key of a login session such as the login page makes."""
    login = SessionStore()
    login[SESSION_KEY] = str(user.pk)
    login[BACKEND_SESSION_KEY] = "allauth.account.auth_backends.AuthenticationBackend"
    login[HASH_SESSION_KEY] = user.get_session_auth_hash()
    login.create()
    assert login.session_key
    return login.session_key


@dataclass
class Page:
    """What a browser's page holds when it is about to open its console."""

    session: ConsoleSession
    visitor: Visitor

    @property
    def row(self) -> ConsoleSession:
        return ConsoleSession.objects.get(pk=self.session.pk)

    def connect(self, where: Path | tuple[str, int] = SOCKET) -> Client:
        return Client(where, self.visitor)

    def ends(self, reason: EndReason, seconds: float = 5) -> ConsoleSession:
        """Wait until the row tells this end."""
        row = until(lambda: (found := self.row).ended_at and found, seconds, what="the session has ended")
        assert row
        assert row.end_reason == reason
        return row


def open_page(
    who: User | GuestLink,
    domain: Domain,
    mode: ConsoleMode = ConsoleMode.CONTROL,
    session_key: str | None = None,
    device: ConsoleDevice = ConsoleDevice.SCREEN,
    record: bool = False,
) -> Page:
    """A session with its ticket, as the page's socket gets them."""
    key = session_key or sign_in(who if isinstance(who, User) else who.made_by)
    session = consoles.open_session(who, key, domain.pk, mode, "192.0.2.7", device=device, record=record)
    return Page(session, Visitor(ticket=consoles.issue_ticket(session), session_key=key))


def processes_of(pid: int) -> list[int]:
    """The children of a process."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_keeper(pid: int) -> bool:
    """Whether this is the process of a proxy that comes last when it starts."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().strip() == KEEPER
    return False


def memory(pid: int, which: str = "Pss") -> int:
    """A process's memory in KiB."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith(f"{which}:"):
            return int(line.split()[1])
    raise AssertionError(f"no {which} of {pid}")

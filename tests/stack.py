"""The whole installation in a home of its own, started as `deploy/run` does but with the packages that are here."""

from __future__ import annotations

import http.client
import json
import os
import secrets
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import pytest

from tests.ready import CACHE, made_once

T = TypeVar("T")

PROJECT = Path(__file__).resolve().parent.parent
OF_DATABASE = [
    PROJECT / name for name in ("requirements.txt", "webvirt/settings.py", "webvirt/models", "webvirt/migrations")
]
OF_STATIC = [
    *(PROJECT / name for name in ("requirements.txt", "webvirt/settings.py", "webvirt/web/assets.py", "static")),
    CACHE / "cache" / "front",
]
"""What an empty database, and what the static files are made of."""


def wait_for(condition: Callable[[], T], what: str, seconds: float = 20.0) -> T:
    """The first true value of `condition`, asked twenty times a second; fails with `what` after so many seconds."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not after {seconds:g} s: {what}"
        time.sleep(0.05)
    return value


def text_of(path: Path) -> str:
    """What is in a file that others make and take away; nothing when it is not there."""
    with suppress(FileNotFoundError):
        return path.read_text()
    return ""


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def is_running(pid: int) -> bool:
    """Whether a process is there and not merely waiting to be reaped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


class Stack:
    """Every process of deploy/Procfile under deploy/supervise.py. `settings` are further environment variables.

    `home` must be short (unix sockets lie in it) and is made if need be; nothing in it is removed at the end.
    """

    def __init__(self, home: Path, port: int | None = None, settings: dict[str, str] | None = None) -> None:
        self.home = home
        self.port = port or free_port()
        self.log = home / "log"
        self.supervisor: subprocess.Popen[bytes] | None = None
        ours = {name: value for name, value in os.environ.items() if not name.startswith(("WEBVIRT_", "DATABASE_"))}
        self.env = ours | {
            "WEBVIRT_HOME": str(home),
            "WEBVIRT_BIND": "127.0.0.1",
            "WEBVIRT_PORT": str(self.port),
            "DJANGO_SETTINGS_MODULE": "webvirt.settings",
            "PYTHONUNBUFFERED": "1",
            "MALLOC_ARENA_MAX": "2",
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}:/usr/sbin",
            **(settings or {}),
        }

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def prepare(self) -> None:
        """What `deploy/run` does before it starts anything, the system's packages and Python's left out."""
        self.make_home()
        self.bring_front()
        lay_database(self.home / "webvirt.sqlite3")
        self.manage("makekeys")
        with made_once("static", OF_STATIC, collect_static) as made:
            shutil.copytree(made, self.home / "static")

    def make_home(self) -> None:
        """A folder of this user's with a key of its own."""
        (self.home / "run").mkdir(mode=0o700, parents=True, exist_ok=True)
        self.home.chmod(0o700)
        key = self.home / "secret_key"
        if not key.exists():
            key.touch(mode=0o600)
            key.write_text(secrets.token_urlsafe(60))

    def bring_front(self) -> None:
        """The front-end packages, which all share."""
        CACHE.mkdir(parents=True, exist_ok=True)
        subprocess.run([PROJECT / "deploy/front"], env=self.env | {"WEBVIRT_HOME": str(CACHE)}, check=True)
        if not (self.home / "front").exists():
            (self.home / "front").symlink_to(CACHE / "front")

    def start(self, seconds: float = 40.0) -> None:
        """Start everything and wait until /healthz says that all of it is alive."""
        with self.log.open("ab") as log:
            command = [sys.executable, "deploy/supervise.py", "deploy/Procfile", str(self.home / "run")]
            self.supervisor = subprocess.Popen(
                [*command, "--preload", "deploy.preload"],
                cwd=PROJECT,
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.wait_until_well(seconds)

    def stop(self) -> int:
        """End everything as Ctrl-C does; returns the exit status."""
        assert self.supervisor
        self.supervisor.send_signal(signal.SIGINT)
        return self.supervisor.wait(timeout=30)

    def health(self) -> tuple[int, dict[str, object]]:
        """What /healthz says: the status (0 when nothing answers) and the document."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/healthz")
            response = connection.getresponse()
            body = response.read()
            return response.status, json.loads(body) if response.headers.get_content_subtype() == "json" else {}
        except (OSError, http.client.HTTPException):
            return 0, {}
        finally:
            connection.close()

    def wait_until_well(self, seconds: float = 40.0) -> None:
        """Wait until everything is alive; fails with the log's end."""

        def well() -> bool:
            assert self.supervisor
            assert self.supervisor.poll() is None, f"the stack ended:\n{self.tail()}"
            return self.health()[0] == 200

        try:
            wait_for(well, "the stack is well", seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}\n/healthz: {self.health()}\n{self.tail()}") from None

    def tail(self, lines: int = 40) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def process(self, name: str) -> int:
        """The number of the process of this name in deploy/Procfile, waiting while it is being started again."""
        path = self.home / "run" / f"{name}.pid"
        return int(wait_for(lambda: text_of(path), f"{name} runs"))

    def memory(self) -> dict[int, int]:
        """The memory of every process of the stack in KiB, by its number; what several share is split among them."""
        assert self.supervisor
        parents = {}
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with suppress(FileNotFoundError, ProcessLookupError):
                parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
        ours = {self.supervisor.pid}
        while more := {pid for pid, parent in parents.items() if parent in ours} - ours:
            ours |= more
        found = {}
        for pid in ours:
            with suppress(FileNotFoundError, ProcessLookupError):
                rolled = Path(f"/proc/{pid}/smaps_rollup").read_text()
                found[pid] = int(rolled.partition("\nPss:")[2].split()[0])
        return found

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> int:
        """Send a signal to a process without waiting; returns its number. One that ends is started again."""
        pid = self.process(name)
        os.kill(pid, number)
        return pid

    def restart(self, name: str, number: signal.Signals = signal.SIGTERM) -> int:
        """End a process and wait until another took its place; returns the new one's number."""
        old = self.kill(name, number)
        return wait_for(lambda: (new := self.process(name)) != old and new, f"{name} runs again", 30)

    def manage(self, *arguments: str) -> str:
        """The output of a command of manage.py in this home."""
        return subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=PROJECT,
            env=self.env,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        ).stdout

    def administrator_token(self, name: str = "tester") -> str:
        """An API token of an administrator, who is made if need be."""
        return self.manage("shell", "--no-imports", "--command", TOKEN_OF.format(name=name)).strip()


TOKEN_OF = """
from webvirt.models import Grant, Role, User
from webvirt.services.tokens import create_token
user, _ = User.objects.get_or_create(username="{name}")
Grant.objects.get_or_create(user=user, role=Role.ADMINISTRATOR, host=None, domain=None)
print(create_token(user, "tests", 1))
"""


def lay_database(path: Path) -> None:
    """Put an empty database of this version there."""
    with made_once("empty.sqlite3", OF_DATABASE, migrate) as made:
        shutil.copyfile(made, path)


def migrate(path: Path) -> None:
    """Make an SQLite file as the migrations make it from nothing."""
    with new_home() as stack:
        stack.manage("migrate", "--verbosity", "0")
        with closing(sqlite3.connect(stack.home / "webvirt.sqlite3")) as database:
            database.execute("VACUUM INTO ?", [str(path)])


def collect_static(folder: Path) -> None:
    """Make the folder of static files under names with their hash."""
    with new_home() as stack:
        stack.bring_front()
        stack.manage("collectstatic", "--noinput", "--verbosity", "0")
        (stack.home / "static").rename(folder)


@contextmanager
def new_home() -> Iterator[Stack]:
    """A stack of which there is nothing but its home."""
    with tempfile.TemporaryDirectory(prefix="wv-", dir=CACHE) as home:
        stack = Stack(Path(home))
        stack.make_home()
        yield stack


@contextmanager
def running_stack(settings: dict[str, str] | None = None, port: int | None = None) -> Iterator[Stack]:
    """A prepared and started stack in a new home, which is ended and removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="wv-", ignore_cleanup_errors=True) as home:
        stack = Stack(Path(home), port, settings)
        stack.prepare()
        try:
            stack.start()
            yield stack
        finally:
            stack.stop()


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """One stack for all tests that do not break it for the others."""
    with running_stack() as started:
        yield started

"""A PostgreSQL of the tests' own: on a unix socket alone, and with no care for power cuts."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psycopg

from tests.until import until

USER = NAME = "webvirt"
CARELESS = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")
SMALL = ("listen_addresses=", "shared_buffers=16MB", "autovacuum=off", "max_connections=60")


def programs() -> Path:
    """The folder of the server's programs, of the newest version that is here; Debian has it in no PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[4]))
    return found[-1].parent if found else Path(shutil.which("initdb") or "").parent


def unprivileged() -> dict[str, Any]:
    """For Popen: as whom the server runs, since it refuses to be root's."""
    return {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}


@dataclass
class Server:
    """A server whose files and socket are in `folder`, with an empty database."""

    folder: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def environment(self) -> dict[str, str]:
        """What leads the processes of an installation here: an address without a host, whose socket libpq is told."""
        return {"DATABASE_URL": f"postgres://{USER}@/{NAME}", "PGHOST": str(self.folder)}

    def make(self) -> None:
        if os.geteuid() == 0:
            os.chown(self.folder, pwd.getpwnam("postgres").pw_uid, -1)
        words = [str(programs() / "initdb"), "--pgdata", f"{self.folder}/data", "--username", USER, "--auth", "trust"]
        words += ["--encoding", "UTF8", "--locale", "C.UTF-8", "--no-sync", "--no-instructions"]
        subprocess.run(words, cwd=self.folder, stdout=subprocess.DEVNULL, check=True, **unprivileged())

    def start(self) -> None:
        settings = [word for setting in (*CARELESS, *SMALL) for word in ("-c", setting)]
        words = [str(programs() / "postgres"), "-D", f"{self.folder}/data", "-k", str(self.folder), *settings]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(words, cwd=self.folder, stdout=log, stderr=log, **unprivileged())
        until(self.answers, 20, what="PostgreSQL")

    def answers(self) -> bool:
        assert self.process
        assert self.process.poll() is None, (self.folder / "log").read_text()
        try:
            psycopg.connect(host=str(self.folder), user=USER, dbname="postgres").close()
        except psycopg.OperationalError:
            return False
        return True

    def stop(self) -> None:
        """As its service does: whoever is connected is cut off."""
        if self.process:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(20)
            self.process = None

    def restart(self) -> None:
        self.stop()
        self.start()


@contextmanager
def running_server() -> Iterator[Server]:
    """A server with an empty database, which is ended and removed afterwards."""
    with TemporaryDirectory(prefix="wv-postgresql-", ignore_cleanup_errors=True) as folder:
        server = Server(Path(folder))
        server.make()
        try:
            server.start()
            with psycopg.connect(host=folder, user=USER, dbname="postgres", autocommit=True) as connection:
                connection.execute(f"CREATE DATABASE {NAME}")
            yield server
        finally:
            server.stop()

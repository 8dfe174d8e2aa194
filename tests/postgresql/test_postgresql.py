"""On PostgreSQL: what databases differ in, and that an installation outlives a restart of its server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from tests.postgresql.inside import CHECKS, migrate_and_seed
from tests.postgresql.server import Server, running_server
from tests.stack import PROJECT


@dataclass
class Inside:
    """A process that has this server for its database."""

    server: Server
    process: subprocess.Popen[str]

    def ask(self, function: Callable[[], None]) -> str:
        """What went wrong in a function of tests/postgresql/inside.py; empty if nothing did."""
        self.say(function.__name__)
        while (heard := self.hear()) == "restart":
            self.server.restart()
            self.say("restarted")
        return heard

    def say(self, line: str) -> None:
        assert self.process.stdin
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def hear(self) -> str:
        assert self.process.stdout
        return str(json.loads(self.process.stdout.readline()))


@pytest.fixture(scope="module")
def inside() -> Iterator[Inside]:
    with running_server() as server:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.postgresql"],
            cwd=PROJECT,
            env=os.environ | server.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        with process:
            found = Inside(server, process)
            assert found.ask(migrate_and_seed) == ""
            yield found


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_it(inside: Inside, check: Callable[[], None]) -> None:
    assert inside.ask(check) == ""

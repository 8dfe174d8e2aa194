"""What deploy/run does before it starts anything: it says what it installs, and stops where it would do harm."""

from __future__ import annotations

import fcntl
import os
import socket
import subprocess
from pathlib import Path

import pytest

from tests.stack import PROJECT, free_port

FAKE_APT = """#!/bin/sh
echo "apt-get $*"
"""


def run(home: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    environment = {"WEBVIRT_HOME": str(home), "WEBVIRT_PORT": str(free_port()), **settings}
    return subprocess.run(
        [PROJECT / "deploy/run"], env=os.environ | environment, capture_output=True, text=True, check=False, timeout=20
    )


def shell(script: str, **settings: str) -> str:
    """The output of a script that has sourced deploy/lib.sh."""
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", f"source {PROJECT}/deploy/lib.sh; {script}"],
        env=os.environ | settings,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout


def test_two_runs_on_one_home(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    with (tmp_path / "run/lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        second = run(tmp_path)
    assert second.returncode == 1
    assert "it is running already in" in second.stderr


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = run(tmp_path, WEBVIRT_PORT=str(taken.getsockname()[1]))
    assert done.returncode == 1
    assert "choose another with WEBVIRT_PORT" in done.stderr


def test_listening_everywhere_needs_the_name_that_people_type(tmp_path: Path) -> None:
    done = run(tmp_path, WEBVIRT_BIND="0.0.0.0")
    assert done.returncode == 1
    assert "WEBVIRT_PUBLIC_URL=http://" in done.stderr


def test_it_says_what_it_installs_before_it_does_and_installs_no_more(tmp_path: Path) -> None:
    apt = tmp_path / "apt-get"
    apt.write_text(FAKE_APT)
    apt.chmod(0o755)
    table = "some-package:no-such-command   to do this\nbash:bash   is here\nother:/no/such/file   to do that\n"
    said = shell(f"as_root() {{ \"$@\"; }}; install_packages '{table}'", PATH=f"{tmp_path}:{os.environ['PATH']}")
    announced, installed = said.index("some-package             to do this"), said.index("apt-get -q install")
    assert announced < installed
    assert said[installed:].split("\n")[0].endswith("--no-install-recommends some-package other")
    assert "is here" not in said


def test_it_is_silent_when_nothing_is_missing() -> None:
    assert shell("install_packages 'bash:bash  a shell'") == ""


def test_state_and_secrets_are_for_nobody_else(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o755)
    shell("load_settings; make_home; make_home", WEBVIRT_HOME=str(home))
    assert home.stat().st_mode & 0o777 == 0o700
    key = home / "secret_key"
    assert key.stat().st_mode & 0o777 == 0o600
    assert len(key.read_text().strip()) >= 50
    before = key.read_text()
    shell("load_settings; make_home", WEBVIRT_HOME=str(home))
    assert key.read_text() == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a home of another's")
def test_a_home_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / "run").mkdir(parents=True)
    os.chown(home, 12345, 12345)
    done = run(home)
    assert done.returncode == 1
    assert "belongs to another user" in done.stderr

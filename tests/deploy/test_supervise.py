"""The supervisor: restarts, endings, and nothing left behind, with real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deploy.supervise import END_SECONDS, WELL_AFTER_SECONDS, read_procfile
from tests.stack import PROJECT, is_running, text_of, wait_for

Supervise = Callable[..., "Supervised"]


class Supervised:
    """A supervisor over a table of shell commands."""

    def __init__(self, folder: Path, table: dict[str, str], *options: str) -> None:
        self.run = folder / "run"
        self.run.mkdir()
        procfile = folder / "Procfile"
        procfile.write_text("".join(f"{name}: {command}\n" for name, command in table.items()))
        self.out = folder / "out"
        with self.out.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, PROJECT / "deploy/supervise.py", procfile, self.run, *options],
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def pid(self, name: str) -> int:
        path = self.run / f"{name}.pid"
        return int(wait_for(lambda: text_of(path), f"{name} runs"))

    def said(self) -> str:
        return self.out.read_text(errors="replace")

    def hear(self, text: str) -> None:
        wait_for(lambda: text in self.said(), f"the log says {text!r}")

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(timeout=25)


@pytest.fixture
def supervise(tmp_path: Path) -> Iterator[Supervise]:
    started: list[Supervised] = []

    def start(table: dict[str, str], *options: str) -> Supervised:
        started.append(Supervised(tmp_path, table, *options))
        return started[-1]

    yield start
    for supervised in started:
        if supervised.process.poll() is None:
            supervised.process.kill()
            supervised.process.wait()


def sleeper(word: str) -> str:
    """A command that says a word and then waits, with a child of its own that it does not look after."""
    return f"sh -c 'sleep 600 & echo {word} $!; sleep 600'"


def grandchild(supervised: Supervised, word: str) -> int:
    supervised.hear(word)
    return int(supervised.said().split(word)[-1].split()[0])


def test_every_line_says_who_wrote_it_and_cannot_drive_a_terminal(supervise: Supervise) -> None:
    supervised = supervise({"one": "sh -c 'printf \"a\\033[2Jb\\n\"; exec sleep 600'", "second": "sleep 600"})
    supervised.hear("one    | a?[2Jb")
    assert supervised.end() == 0


def test_what_dies_is_started_again_and_its_children_are_swept(supervise: Supervise) -> None:
    supervised = supervise({"base": "sleep 600", "victim": sleeper("here")})
    first, orphan = supervised.pid("victim"), grandchild(supervised, "here")
    os.kill(first, signal.SIGKILL)
    wait_for(lambda: supervised.pid("victim") != first, "another one runs")
    supervised.hear("victim ended (signal 9): starting it again in 0.5 s")
    assert not is_running(orphan)
    assert is_running(supervised.pid("base"))


def test_what_was_well_is_started_again_at_once(supervise: Supervise) -> None:
    supervised = supervise({"base": "sleep 600", "victim": f"sleep {WELL_AFTER_SECONDS + 0.1}"})
    supervised.hear("victim ended (status 0): starting it again in 0 s")
    assert is_running(supervised.pid("victim"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_the_first_of_the_table_ends_last(supervise: Supervise, number: signal.Signals) -> None:
    slow = "sh -c 'trap \"sleep 0.3; echo bye {0}; exit 0\" TERM; echo up {0}; while :; do sleep 0.05; done'"
    supervised = supervise({"base": slow.format("base"), "top": slow.format("top")})
    supervised.hear("up base")
    supervised.hear("up top")
    pids = [supervised.pid("base"), supervised.pid("top")]
    assert supervised.end(number) == 0
    assert supervised.said().index("bye top") < supervised.said().index("bye base")
    assert not any(map(is_running, pids))
    assert not list(supervised.run.iterdir())


def test_a_second_signal_kills_what_does_not_end(supervise: Supervise) -> None:
    deaf = "sh -c 'trap \"echo heard\" TERM; echo deaf; while :; do sleep 0.05; done'"
    supervised = supervise({"base": "sleep 600", "deaf": deaf})
    supervised.hear("deaf | deaf")
    pid = supervised.pid("deaf")
    supervised.process.send_signal(signal.SIGINT)
    supervised.hear("deaf | heard")
    supervised.process.send_signal(signal.SIGINT)
    assert supervised.process.wait(timeout=END_SECONDS / 2) == 0
    assert "deaf does not end: killing it" in supervised.said()
    assert not is_running(pid)


def test_nothing_outlives_a_killed_supervisor(supervise: Supervise) -> None:
    supervised = supervise({"base": sleeper("base"), "other": sleeper("other")})
    pids = [supervised.pid("base"), supervised.pid("other"), grandchild(supervised, "base")]
    pids.append(grandchild(supervised, "| other"))
    supervised.process.kill()
    supervised.process.wait()
    wait_for(lambda: not any(map(is_running, pids)), "the guard killed them all")


def test_what_cannot_be_found_ends_everything(supervise: Supervise) -> None:
    supervised = supervise({"base": "sleep 600", "nothing": "/no/such/command"})
    assert supervised.process.wait(timeout=15) == 1
    assert "nothing cannot start (status 127)" in supervised.said()


def test_what_never_came_up_ends_everything(supervise: Supervise) -> None:
    supervised = supervise({"base": "sleep 600", "broken": "sh -c 'echo port taken; exit 3'"})
    pid = supervised.pid("base")
    assert supervised.process.wait(timeout=30) == 1
    assert supervised.said().count("port taken") == 5
    assert "broken cannot start (status 3): see its lines above" in supervised.said()
    assert not is_running(pid)


def test_a_command_beside_them_runs_once(supervise: Supervise) -> None:
    supervised = supervise({"base": "sleep 600"}, "--then", "echo ready")
    supervised.hear("webvirt | ready")
    os.kill(supervised.pid("base"), signal.SIGKILL)
    supervised.hear("starting it again")
    supervised.pid("base")
    assert supervised.end() == 0
    assert supervised.said().count("ready") == 1


def test_a_terminal_that_stands_still_holds_up_no_process(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "Procfile").write_text(f"loud: sh -c 'seq 200000; touch {tmp_path}/through; exec sleep 600'\n")
    nobody_reads, writing = os.pipe()
    process = subprocess.Popen(
        [sys.executable, PROJECT / "deploy/supervise.py", tmp_path / "Procfile", tmp_path / "run"], stdout=writing
    )
    try:
        wait_for((tmp_path / "through").exists, "everything was written")
        process.terminate()
        assert process.wait(timeout=10) == 0
    finally:
        process.kill()
        os.close(nobody_reads)
        os.close(writing)


def test_a_table_with_a_broken_line_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "Procfile"
    path.write_text("# fine\n\nweb: daphne\nNo colon here\n")
    with pytest.raises(ValueError, match=":4: expected"):
        read_procfile(path)

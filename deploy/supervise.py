#!/usr/bin/env python3
"""Runs the processes of a Procfile in the foreground, with one log, and starts again what dies.

    supervise.py PROCFILE RUN_DIR [--preload MODULE] [--then COMMAND]

Each process leads a group of its own; its number is in RUN_DIR/NAME.pid. SIGTERM, SIGINT or SIGHUP ends them: TERM to
all but the first of the table, KILL to what is left after ten seconds, then the first in the same way; a second signal
kills at once. When this process is itself killed, a guard it made at the start kills the groups. `--then` runs a
command once beside them. The exit status is 1 when a process could not be started at all, else 0.

With `--preload`, commands of the form `python SCRIPT ...` and `python -m MODULE ...` are forked from this process, that
has imported that module: they share the memory of what all of them import, and start sooner.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import os
import re
import runpy
import select
import selectors
import shlex
import signal
import sys
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

END_SECONDS = 10.0
"""What a process may take to end by itself."""
LONGEST_PAUSE_SECONDS = 15.0
WELL_AFTER_SECONDS = 10.0
"""A process that lived so long has been started; before that, an end counts as a failed start."""
TRIES = 5
NO_SUCH_COMMAND = (126, 127)
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
LONGEST_LINE = 16384
MOST_LINES = 10_000
"""Lines kept for an output that stands still."""
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
COLOURS = (36, 32, 33, 35, 34, 96, 92, 93, 95, 94)


class Log:
    """Prefixed lines on standard output, never waiting for it: a terminal that stands still must hold up nobody."""

    def __init__(self, width: int) -> None:
        self.width = width
        self.out = sys.stdout.fileno()
        self.colours: dict[str, int] | None = {} if os.isatty(self.out) else None
        self.waiting: deque[bytes] = deque()
        self.lost = 0
        self.poll = select.poll()
        self.poll.register(self.out, select.POLLOUT)

    def say(self, name: str, text: str) -> None:
        if len(self.waiting) >= MOST_LINES:
            self.lost += 1
            return
        if self.lost:
            text, self.lost = f"{text} [{self.lost} lines before this one are lost: the output stood still]", 0
        # A guest's or a client's name may stand in a line: nothing in it may drive the terminal.
        line = f"{self.prefix(name)} {CONTROL.sub('?', text)}\n".encode()
        # So much can be written without waiting where anything can.
        self.waiting.extend(line[at : at + select.PIPE_BUF] for at in range(0, len(line), select.PIPE_BUF))
        self.flush()

    def flush(self) -> None:
        """Write what can be written now."""
        while self.waiting and self.poll.poll(0):
            with suppress(OSError):
                os.write(self.out, self.waiting[0])
            self.waiting.popleft()

    def prefix(self, name: str) -> str:
        plain = f"{name:<{self.width}} |"
        if self.colours is None:
            return plain
        colour = self.colours.setdefault(name, COLOURS[len(self.colours) % len(COLOURS)])
        return f"\033[{colour}m{plain}\033[0m"


@dataclass(eq=False)
class Child:
    """One process of the table; times are monotonic."""

    name: str
    command: str
    once: bool = False
    pid: int = 0
    """0 while it does not run."""
    output: int = -1
    """The reading end of its output; -1 when nothing more can come."""
    started_at: float = 0.0
    due_at: float = 0.0
    was_well: bool = False
    failures: int = 0
    rest: bytes = field(default=b"", repr=False)


def read_procfile(path: Path) -> list[Child]:
    """The table's processes in order; raises ValueError for a line that is neither `name: command` nor a comment."""
    children = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        match = re.fullmatch(r"([a-z][a-z0-9-]*): *(\S.*)", line)
        if not match:
            raise ValueError(f"{path}:{number}: expected `name: command`")
        children.append(Child(match[1], match[2]))
    return children


# What outlives us by a moment, to kill the groups that we leave behind. A line "+ 12" says that group 12 lives, "- 12"
# that it ended; the end of the pipe, that we did. In sh, since it is there all the time and should weigh nothing.
GUARD = """
trap "" TERM INT HUP
while read -r sign group; do
    for known; do shift; [ "$known" = "$group" ] || set -- "$@" "$known"; done
    [ "$sign" = - ] || set -- "$@" "$group"
done
for known; do kill -KILL -"$known"; done
"""


def start_guard() -> int:
    """Start the guard; returns the pipe it reads."""
    reading, writing = os.pipe()
    if not os.fork():
        os.setsid()
        os.dup2(reading, 0)
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        os.execv("/bin/sh", ["sh", "-c", GUARD])
    os.close(reading)
    return writing


def signal_group(group: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(group, number)


class Become(BaseException):
    """Raised in a forked child, up to the end of this program, to go on as the Python program of these arguments."""

    def run(self) -> None:
        arguments = list(self.args)
        if arguments[0] == "-m":
            sys.argv = arguments[1:]
            runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
        else:
            sys.argv = arguments
            runpy.run_path(sys.argv[0], run_name="__main__")


class Supervisor:
    """Keeps the children running until it is told to end, or one cannot be started."""

    def __init__(self, children: list[Child], run: Path, preload: str) -> None:
        self.children = children
        self.run_dir = run
        self.preloaded = bool(preload)
        self.guard = start_guard()
        if preload:
            sys.path[0] = os.getcwd()
            importlib.import_module(preload)
            # The collector must not touch, and so copy, what the children share.
            gc.collect()
            gc.freeze()
        self.selector = selectors.DefaultSelector()
        self.log = Log(max(len(child.name) for child in children))
        self.signals = 0
        self.status = 0
        self.wake_up_for_signals()

    def wake_up_for_signals(self) -> None:
        waking, wake = os.pipe()
        os.set_blocking(waking, False)
        os.set_blocking(wake, False)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        self.selector.register(waking, selectors.EVENT_READ)
        for number in SIGNALS:
            signal.signal(number, self.count_signal)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def count_signal(self, *_: object) -> None:
        self.signals += 1

    def run(self) -> int:
        """Start everything, keep it running, end it; returns the exit status."""
        while not self.signals and not self.status:
            now = time.monotonic()
            for child in self.children:
                if not child.pid and child.due_at <= now:
                    self.start(child)
            self.turn(min([now + 60, *(child.due_at for child in self.children if not child.pid)]) - now)
        self.end(self.children[1:])
        self.end(self.children[:1])
        deadline = time.monotonic() + 1
        while self.log.waiting and time.monotonic() < deadline:
            self.turn(0.1)
        return self.status

    def start(self, child: Child) -> None:
        child.output, writing = os.pipe()
        child.pid = os.fork()
        if not child.pid:
            self.become(child, writing)
        os.close(writing)
        self.tell_guard(f"+ {child.pid}\n")
        child.started_at = time.monotonic()
        self.pid_file(child).write_text(str(child.pid))
        os.set_blocking(child.output, False)
        self.selector.register(child.output, selectors.EVENT_READ, child)

    def become(self, child: Child, output: int) -> None:
        """In the forked process: turn into the child's program."""
        os.setsid()
        signal.set_wakeup_fd(-1)
        for number in (*SIGNALS, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        self.selector.close()
        os.closerange(3, 256)
        words = shlex.split(os.path.expandvars(child.command))
        if self.preloaded and words[0] == "python":
            Path("/proc/self/comm").write_text(child.name)
            raise Become(*words[1:])
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        os.execv("/bin/sh", ["sh", "-c", f"exec {child.command}"])

    def tell_guard(self, note: str) -> None:
        with suppress(OSError):
            os.write(self.guard, note.encode())

    def pid_file(self, child: Child) -> Path:
        return self.run_dir / f"{child.name}.pid"

    def turn(self, timeout: float) -> None:
        """Wait for output, a signal or the end of a process, at most `timeout` seconds, and see to it."""
        if self.log.waiting:
            timeout = min(timeout, 0.05)
        for key, _ in self.selector.select(max(0.0, timeout)):
            if key.data is None:
                os.read(key.fd, 4096)
            else:
                self.pass_on(key.data)
        self.log.flush()
        for child in self.children:
            if child.pid:
                pid, status = os.waitpid(child.pid, os.WNOHANG)
                if pid:
                    self.ended(child, os.waitstatus_to_exitcode(status))

    def pass_on(self, child: Child) -> None:
        """Say the lines of a child that are whole, and the rest when nothing more can come."""
        try:
            output = os.read(child.output, 65536)
        except BlockingIOError:
            return
        if not output:
            self.forget_output(child)
        *lines, child.rest = (child.rest + output).split(b"\n")
        if child.rest and (not output or len(child.rest) > LONGEST_LINE):
            lines.append(child.rest)
            child.rest = b""
        for line in lines:
            self.log.say(child.name, line.decode(errors="replace"))

    def forget_output(self, child: Child) -> None:
        if child.output >= 0:
            self.selector.unregister(child.output)
            os.close(child.output)
            child.output = -1

    def ended(self, child: Child, code: int) -> None:
        """Tidy up after a process that ended, and say when it is to start again."""
        # What it forked must not hold its port, its socket or its work.
        signal_group(child.pid, signal.SIGKILL)
        self.tell_guard(f"- {child.pid}\n")
        if child.output >= 0:
            self.pass_on(child)
        self.forget_output(child)
        child.pid = 0
        self.pid_file(child).unlink(missing_ok=True)
        if self.signals or self.status:
            return
        if child.once:
            child.due_at = float("inf")
            return
        well = time.monotonic() - child.started_at >= WELL_AFTER_SECONDS
        child.was_well |= well
        child.failures = 1 if well else child.failures + 1
        if code in NO_SUCH_COMMAND or (child.failures >= TRIES and not child.was_well):
            self.log.say("webvirt", f"{child.name} cannot start ({reason(code)}): see its lines above. Ending.")
            self.status = 1
            return
        pause = 0.0 if well else min(LONGEST_PAUSE_SECONDS, 0.5 * 2 ** (child.failures - 1))
        child.due_at = time.monotonic() + pause
        self.log.say("webvirt", f"{child.name} ended ({reason(code)}): starting it again in {pause:g} s")

    def end(self, children: list[Child]) -> None:
        """TERM to these, KILL to what is left of them after ten seconds or at one more signal."""
        for child in reversed(children):
            if child.pid:
                os.kill(child.pid, signal.SIGTERM)
        deadline, seen = time.monotonic() + END_SECONDS, self.signals
        while any(child.pid for child in children):
            left = deadline - time.monotonic()
            if left <= 0 or self.signals > seen:
                for child in children:
                    if child.pid:
                        self.log.say("webvirt", f"{child.name} does not end: killing it")
                        signal_group(child.pid, signal.SIGKILL)
                left = 1.0
            self.turn(left)


def reason(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"status {code}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("procfile", type=Path)
    parser.add_argument("run_dir", type=Path)
    parser.add_argument("--preload", default="", help="a module that all Python processes share")
    parser.add_argument("--then", default="", help="a command to run once beside the processes")
    options = parser.parse_args()
    children = read_procfile(options.procfile)
    if options.then:
        children.append(Child("webvirt", options.then, once=True))
    return Supervisor(children, options.run_dir, options.preload).run()


if __name__ == "__main__":
    child: Become
    try:
        sys.exit(main())
    except Become as become:
        child = become
    child.run()

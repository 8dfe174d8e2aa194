"""`manage.py watch`: a process for each host, and the clerk who ends what nobody ends.

1. Every second, see which hosts there are and which of them are ours (a lease in Redis, so several can share them).
2. Start a child for each that has none, waiting longer after each failure.
3. Kill the child whose pulse stopped: a frozen daemon can hang any call for ever.
4. Every few seconds, the clerk ends lost operations and sends undelivered ones again.
"""

from __future__ import annotations

import gc
import logging
import os
import random
import select
import signal
import socket
import sys
import time
from dataclasses import dataclass, field
from types import FrameType

from django.core.management.base import BaseCommand
from django.db import DatabaseError, close_old_connections, connections
from django.utils import timezone
from redis.exceptions import RedisError

from webvirt import bus
from webvirt.hypervisor.errors import HypervisorError
from webvirt.models import Host, HostState
from webvirt.services import (
    consoles,
    guessing,
    heartbeats,
    inventory,
    machines,
    operations,
    quotas,
    recordings,
    sessions,
    showback,
    syslog,
    uploads,
)
from webvirt.services.watcher.watch import HostWatch

log = logging.getLogger(__name__)

TURN_SECONDS = 1.0
SILENT_SECONDS = 7.0
"""A child that is connected and silent for so long has a frozen or vanished host."""
CONNECT_SECONDS = 20.0
"""How long a child may take from its start to its first pulse."""
LONGEST_PAUSE_SECONDS = 8.0
LEASE_SECONDS = 15
CLERK_SECONDS = 5.0
SENDER_SECONDS = 60.0
"""How long sending the audit log may take before its process is taken to hang; the next one goes on."""


@dataclass
class Child:
    """A host's process as its parent sees it; times are monotonic."""

    pid: int
    pulse: int
    """The reading end of the pipe on which it says that its host answers."""
    way: object
    """How it reaches the host: when that is another, the child is too."""
    started_at: float = field(default_factory=time.monotonic)
    heard_at: float | None = None

    def is_silent(self, now: float) -> bool:
        if self.heard_at is None:
            return now - self.started_at > CONNECT_SECONDS
        return now - self.heard_at > SILENT_SECONDS


@dataclass
class Pause:
    """After how many failures, and until when, a host is left alone."""

    failures: int = 0
    until: float = 0.0

    def again(self) -> None:
        self.failures += 1
        seconds = min(LONGEST_PAUSE_SECONDS, 2.0 ** (self.failures - 1))
        self.until = time.monotonic() + seconds * random.uniform(0.7, 1.0)


class Command(BaseCommand):
    help = "Watch all hosts: events, states and use; end the operations whose worker died."
    # The checks would load all pages into a process whose memory every host's child shares.
    requires_system_checks: list[str] = []

    def handle(self, *args: object, **options: object) -> None:
        Watch().run()


class Watch:
    """The parent. It opens no hypervisor connection itself, so nothing can hang it."""

    def __init__(self) -> None:
        self.name = f"{socket.gethostname()}:{os.getpid()}"
        self.children: dict[int, Child] = {}
        self.pauses: dict[int, Pause] = {}
        self.sender: tuple[int, float] | None = None
        """The process that sends the audit log to a syslog, and since when (monotonic)."""
        self.ending = False
        self.clerk_at = 0.0

    def run(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self.end)
        gc.freeze()
        while not self.ending:
            try:
                close_old_connections()
                self.tend(time.monotonic())
            except DatabaseError as error:
                log.warning("database: %s", error)
            self.listen(TURN_SECONDS)
        for pk in list(self.children):
            self.drop(pk)
        self.drop_sender()
        heartbeats.stop("watch", self.name)

    def end(self, number: int, frame: FrameType | None) -> None:
        self.ending = True

    def tend(self, now: float) -> None:
        """One turn: reap, kill the silent, start the missing, let the clerk work."""
        self.reap()
        for pk, child in list(self.children.items()):
            if child.is_silent(now):
                self.drop(pk)
                inventory.host_is(pk, HostState.DOWN, "It does not answer any more.")
                self.pauses.setdefault(pk, Pause()).again()
        wanted = {host.pk: host for host in Host.objects.kept() if self.is_ours(host)}
        for pk, child in list(self.children.items()):
            if pk not in wanted or way_of(wanted[pk]) != child.way:
                self.drop(pk)
        for pk, host in wanted.items():
            if pk not in self.children and self.pauses.setdefault(pk, Pause()).until <= now:
                self.start(host)
        if now >= self.clerk_at:
            self.clerk_at = now + CLERK_SECONDS
            operations.reap(timezone.now())
            operations.resend(timezone.now())
            uploads.look_after(timezone.now())
            machines.look_after(timezone.now())
            quotas.clear_away()
            showback.look_after(timezone.now())
            sessions.sweep(timezone.now())
            guessing.sweep(timezone.now())
            consoles.sweep(timezone.now())
            recordings.sweep(timezone.now())
            self.tend_sender(now)
            heartbeats.beat("watch", self.name)

    def is_ours(self, host: Host) -> bool:
        """Whether we hold the lease of a host. Without Redis nobody can tell, and two watchers do no harm."""
        key = f"watch.host:{host.pk}"
        try:
            bus.store().set(key, self.name, nx=True, ex=LEASE_SECONDS)
            if bus.store().get(key) != self.name.encode():
                return False
            bus.store().expire(key, LEASE_SECONDS)
        except RedisError as error:
            log.debug("lease of %s: %s", host.name, error)
        return True

    def start(self, host: Host) -> None:
        reading, writing = os.pipe()
        connections.close_all()
        pid = os.fork()
        if pid == 0:
            os.close(reading)
            watch_in_child(host, writing, [child.pulse for child in self.children.values()])
        os.close(writing)
        self.children[host.pk] = Child(pid, reading, way_of(host))

    def tend_sender(self, now: float) -> None:
        """Have a process of its own send the audit log, when there is something to send.

        Neither a name server nor a syslog that hangs may hang us.
        """
        if self.sender is not None:
            pid, since = self.sender
            if os.waitpid(pid, os.WNOHANG)[0]:
                self.sender = None
            elif now - since > SENDER_SECONDS:
                self.drop_sender()
        if self.sender is None and syslog.is_due(timezone.now()):
            connections.close_all()
            pid = os.fork()
            if pid == 0:
                send_in_child([child.pulse for child in self.children.values()])
            self.sender = pid, now

    def drop_sender(self) -> None:
        """End the sender, wherever it hangs: what it has not sent the next one sends."""
        if self.sender is not None:
            os.kill(self.sender[0], signal.SIGKILL)
            os.waitpid(self.sender[0], 0)
            self.sender = None

    def listen(self, seconds: float) -> None:
        """Take the children's pulses for up to `seconds`."""
        by_pipe = {child.pulse: pk for pk, child in self.children.items()}
        deadline = time.monotonic() + seconds
        while not self.ending and (left := deadline - time.monotonic()) > 0:
            ready, _, _ = select.select(list(by_pipe), [], [], left)
            for pipe in ready:
                pk = by_pipe[pipe]
                if os.read(pipe, 4096):
                    self.children[pk].heard_at = time.monotonic()
                    self.pauses.pop(pk, None)
                else:
                    # It ended; the next turn reaps it.
                    del by_pipe[pipe]
                    deadline = 0.0

    def reap(self) -> None:
        for pk, child in list(self.children.items()):
            pid, _ = os.waitpid(child.pid, os.WNOHANG)
            if pid:
                os.close(child.pulse)
                del self.children[pk]
                self.pauses.setdefault(pk, Pause()).again()

    def drop(self, pk: int) -> None:
        """End a child at once: it holds nothing that another could not read again."""
        child = self.children.pop(pk)
        os.kill(child.pid, signal.SIGKILL)
        os.waitpid(child.pid, 0)
        os.close(child.pulse)


def send_in_child(pipes: list[int]) -> None:
    """The life of the process that sends the audit log; never returns."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    for pipe in pipes:
        os.close(pipe)
    try:
        syslog.forward_all()
    except Exception:
        log.exception("sending the audit log")
    finally:
        sys.stderr.flush()
        os._exit(0)


def way_of(host: Host) -> object:
    """What changes when a host is to be reached otherwise; nothing is opened for it."""
    return host.address, host.password_at


def watch_in_child(host: Host, pipe: int, others: list[int]) -> None:
    """The life of a host's process; never returns."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    for other in others:
        os.close(other)
    parent = os.getppid()

    def pulse() -> None:
        # A parent that was killed leaves us behind: nobody would end us when the host freezes.
        if os.getppid() != parent:
            os._exit(1)
        os.write(pipe, b".")

    code = 1
    try:
        HostWatch(host, pulse).run()
    except HypervisorError as error:
        log.warning("%s: %s", host.name, error)
    except Exception:
        log.exception("watching %s", host.name)
    finally:
        sys.stderr.flush()
        # Not sys.exit: threads may hang in libvirt, and the parent's clean-up is not ours to run.
        os._exit(code)

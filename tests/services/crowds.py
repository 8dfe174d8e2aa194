"""Many processes that ask for the same thing at the very same time."""

from __future__ import annotations

import os
import signal
import traceback
from collections.abc import Callable
from functools import partial

from django.db import connections

from webvirt.models import Host, Origin, Project, User
from webvirt.services import operations
from webvirt.services.catalogue import BY_KIND

PROCESSES, EACH = 10, 5


def all_at_once(count: int, body: Callable[[int], int]) -> list[int]:
    """What `body` says, a byte, in each of so many children that begin together, with connections of their own."""
    begin, ready = os.pipe()

    def held_back(number: int) -> int:
        os.close(ready)
        # Nothing comes: it ends for all of them at once.
        os.read(begin, 1)
        return body(number)

    connections.close_all()
    children = [in_a_process(partial(held_back, number)) for number in range(count)]
    os.close(ready)
    answers = [os.read(pipe, 1) for _pid, pipe in children]
    for pid, pipe in children:
        os.waitpid(pid, 0)
        os.close(pipe)
    os.close(begin)
    assert len(b"".join(answers)) == count, "a process died"
    return list(b"".join(answers))


def in_a_process(body: Callable[[], int]) -> tuple[int, int]:
    """Runs `body` in a child; returns the child and the pipe that tells what came of it, a byte."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 1
        # One that waits for ever would keep everybody waiting.
        signal.alarm(60)
        try:
            os.close(reading)
            os.write(writing, bytes([body()]))
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    os.close(writing)
    return pid, reading


def machines_given(user: User, host: Host, project: Project) -> int:
    """Ten processes ask for five machines each in a project: how many they get, the others being over its quota."""
    actor = operations.Actor(user, Origin.API)

    def asks(number: int) -> int:
        accepted = 0
        for one in range(EACH):
            parameters = {"name": f"web-{number}-{one}", "vcpus": 1, "memory_mib": 64, "project": project.pk}
            try:
                operations.submit(actor, BY_KIND["domain.create"], host, parameters)
                accepted += 1
            except operations.OverQuota:
                pass
        return accepted

    return sum(all_at_once(PROCESSES, asks))

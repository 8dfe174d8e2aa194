"""What the idle stack holds of memory, with 1,000 machines on a second host."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from tests.bench.house import LIST, House, remote, second_host
from tests.bench.line import Line, say
from tests.until import until
from webvirt.models import Domain

MACHINES = 1000
LIMIT_MIB = 400
LOOKS = 20


def memory(house: House) -> list[Line]:
    """The memory of all processes after everything was read and every kind of page was looked at."""
    with second_host(7, MACHINES) as second, second_host(8, 1) as other, house.hosts(remote(second), remote(other)):
        until(lambda: Domain.objects.kept().count() >= MACHINES, 60, what="all machines in the list")
        visitor = house.visitor()
        for number in range(1, LOOKS + 1):
            for path in ("/", f"{LIST}?page={number}", "/hosts/", "/operations/"):
                visitor.page(path)
        assert house.stack.supervisor
        found = [(pss(pid), name_of(pid)) for pid in family(house.stack.supervisor.pid)]
    for kib, name in sorted(found, reverse=True):
        say(f"{kib / 1024:6.1f} MiB  {name}")
    total = sum(kib for kib, _ in found) / 1024
    beside = f"{len(found)} processes, PSS"
    return [Line(f"memory of the idle stack, {MACHINES} machines", total, LIMIT_MIB, "MiB", beside)]


def family(pid: int) -> Iterator[int]:
    """A process and everything below it, and the guard that left its group."""
    yield pid
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            yield from family(int(child))


def pss(pid: int) -> int:
    """Proportional set size in KiB: shared pages count by how many share them."""
    found = re.search(r"^Pss:\s+(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
    return int(found[1]) if found else 0


def name_of(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text().strip()


PARTS = (memory,)

"""What pages cost: the list at 100, 1,000 and 10,000 machines, twenty people at once, hosts that are black holes."""

from __future__ import annotations

import gzip
import random
import re
import resource
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import libvirt
from django.conf import settings
from django.contrib.auth.models import Group
from django.db import connection
from django.db.models import F
from django.test import Client
from django.test.utils import CaptureQueriesContext

from tests.bench.house import LIST, Answer, House, Visitor, remote, second_host
from tests.bench.line import Line, median, percentile, say
from tests.lab.lab import SecondHost
from tests.until import until
from webvirt.models import Domain, Grant, Host, HostState, Project, Role, User

ROUNDS = 15
PER_ROUND = 20
PEERS_PER_SECOND = 5.3
"""What WebVirtCloud's list of 100 machines gave twenty people at once on a machine of this size."""
PEERS_MS = 2856.0
"""And what its list of 1,000 took one."""


@dataclass(frozen=True)
class Cost:
    """What a page cost: milliseconds of each asking, compressed bytes, queries of one asking."""

    times: list[float]
    bytes: int
    queries: int

    def __str__(self) -> str:
        return (
            f"median {median(self.times):.1f} ms, p95 {percentile(self.times, 95):.1f}, min {min(self.times):.1f}, "
            f"{self.bytes:,} B gzip, {self.queries} queries"
        )


def queries(house: House, path: str) -> int:
    """How many queries the page makes, the session's and the person's among them."""
    client = Client(headers={"host": f"127.0.0.1:{house.stack.port}"})
    client.force_login(house.administrator)
    client.get(path)
    with CaptureQueriesContext(connection) as caught:
        assert client.get(path).status_code == 200
    return len(caught)


def new_figures() -> None:
    """What the watchers do every five seconds: no line of the list is as it was."""
    Domain.objects.filter(cpu_percent__isnull=False).update(cpu_percent=1 + (F("cpu_percent") * 7 + 1) % 97)


def cost(house: House, visitor: Visitor, paths: list[str], *, changing: bool) -> Cost:
    times = []
    for path in paths:
        answer = visitor.page(path)
    for _ in range(ROUNDS):
        for number in range(PER_ROUND):
            if changing and number % 5 == 0:
                new_figures()
            answer = visitor.page(paths[number % len(paths)])
            times.append(answer.ms)
    assert answer.encoding == "gzip"
    assert b'id="vm-' in gzip.decompress(answer.body)
    return Cost(times, len(answer.body), queries(house, paths[0]))


def lists(house: House) -> list[Line]:
    """The list of machines over seeded rows, as often opened and with all figures new; and the peer's way beside it."""
    found: dict[int, list[Cost]] = {}
    # Each twice, in turns: a machine that is busy for a while shall not decide which of them is slow.
    for hosts, machines in ((2, 100), (10, 1000), (50, 10_000)) * 2:
        with house.seeded(hosts, machines):
            visitor = house.visitor()
            still = cost(house, visitor, [LIST], changing=False)
            last = machines // 50
            spread = [LIST, *(f"{LIST}?page={random.randint(2, last)}" for _ in range(4))]
            found.setdefault(machines, []).append(cost(house, visitor, spread, changing=True))
            say(f"{machines} machines, the first page: {still}")
            say(f"{machines} machines, any page, figures new: {found[machines][-1]}")
    peer, simple = plain_libvirt(1000)
    say(f"plain libvirt calls for 1,000: as a peer does {peer:.0f} ms, in a simple loop {simple:.0f} ms")
    best = {machines: min(costs, key=lambda one: median(one.times)) for machines, costs in found.items()}
    at = {machines: median(one.times) for machines, one in best.items()}
    thousand = best[1000]
    calls = ((name, ms, ms / at[1000]) for name, ms in (("a peer's", peer), ("the simplest", simple)))
    beside = "libvirt calls: " + ", ".join(f"{name} {ms:,.0f} ms = {times:.0f}x" for name, ms, times in calls)
    return [
        Line("list of 1,000 machines, median", at[1000], PEERS_MS / 100, "ms", beside),
        Line("list of 1,000, compressed", thousand.bytes / 1000, 100, "kB", f"{thousand.queries} queries"),
        Line("list of 10,000 on 50 hosts against 1,000", at[10_000] / at[1000], 1.5, "times", str(best[10_000])),
    ]


def a_members_list(house: House) -> list[Line]:
    """The list of 10,000 machines for a member of 5 projects of 200, by a group, against the administrator's."""
    with house.seeded(50, 10_000) as hosts, projects(hosts) as member:
        visitors = house.visitor(), house.visitor(member)
        paths = [LIST, f"{LIST}?page=2", f"{LIST}?sort=-cpu", f"{LIST}?q=web"]
        times: tuple[list[float], list[float]] = ([], [])
        # In turns, and each with all figures new: nothing is kept from the other's page.
        for _ in range(ROUNDS):
            for path in paths:
                for visitor, taken in zip(visitors, times, strict=True):
                    new_figures()
                    taken.append(visitor.page(path).ms)
        own = int(re.findall(r"([\d,]+) virtual machines", text_of(visitors[1].page(LIST)))[0].replace(",", ""))
    assert own == 250
    whole, part = map(median, times)
    beside = f"{part:.1f} ms, the administrator's {whole:.1f} ms"
    return [Line("list of a member of 5 projects of 200, at 10,000 machines", part / whole, 1.3, "times", beside)]


def text_of(answer: Answer) -> str:
    return gzip.decompress(answer.body).decode()


@contextmanager
def projects(hosts: list[Host]) -> Iterator[User]:
    """All machines of these hosts spread over 200 projects; gives somebody whose group is in 5 of them."""
    made = Project.objects.bulk_create(Project(name=f"project {number:03d}") for number in range(200))
    for number, project in enumerate(made):
        here = Domain.objects.filter(host__in=hosts).annotate(turn=F("pk") % len(made)).filter(turn=number)
        here.update(project=project)
    member, team = User.objects.create_user("member"), Group.objects.create(name="team")
    member.groups.add(team)
    Grant.objects.bulk_create(Grant(group=team, role=Role.OPERATOR, project=project) for project in made[:5])
    try:
        yield member
    finally:
        Domain.objects.filter(host__in=hosts).update(project=None)
        Project.objects.filter(pk__in=[project.pk for project in made]).delete()


def plain_libvirt(machines: int) -> tuple[float, float]:
    """Milliseconds that the same list costs with libvirt calls: as the peer does it, and in the simplest loop."""
    with second_host(7, machines) as second:
        conn = libvirt.open(second.uri)
        try:
            return min(timed(conn, as_the_peer) for _ in range(2)), min(timed(conn, in_a_loop) for _ in range(2))
        finally:
            conn.close()


def timed(conn: libvirt.virConnect, read: Callable[[libvirt.virConnect], int]) -> float:
    started = time.perf_counter()
    assert read(conn) >= 1000
    return 1000 * (time.perf_counter() - started)


def as_the_peer(conn: libvirt.virConnect) -> int:
    """Ten calls a machine, one after the other: found by name, and one definition read for each of its attributes."""
    names = conn.listDefinedDomains()
    for name in names:
        domain = conn.lookupByName(name)
        domain.info()
        domain.autostart()
        domain.state()
        for pattern in ("<title>", "<description>", "<vcpu", "<memory", "<source dev", "<host"):
            re.search(pattern, domain.XMLDesc(0))
    return len(names)


def in_a_loop(conn: libvirt.virConnect) -> int:
    domains = conn.listAllDomains()
    for domain in domains:
        domain.info()
        domain.XMLDesc(0)
    return len(domains)


# --- twenty at once

LUA = """local n = 0
local cookies = {%s}
request = function()
  n = n + 1
  return wrk.format("GET", "%s", {Cookie = "%s=" .. cookies[n %% #cookies + 1], ["Accept-Encoding"] = "gzip"})
end
"""


def twenty_at_once(house: House) -> list[Line]:
    """Requests a second that twenty people get of the list of 100 machines."""
    wrk = shutil.which("wrk")
    assert wrk, "the load comes from wrk: apt install wrk"
    with house.seeded(2, 100), tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(LUA % (",".join(f'"{house.cookie()}"' for _ in range(20)), LIST, settings.SESSION_COOKIE_NAME))
        script.flush()
        load(wrk, house, script.name, 3)
        rates, shares = [], []
        for _ in range(3):
            new_figures()
            rate, share = load(wrk, house, script.name, 8)
            rates.append(rate)
            shares.append(share)
        say(f"twenty at once: {', '.join(f'{rate:.0f}' for rate in rates)} requests/s")
    beside = f"wrk takes {100 * max(shares):.0f} % of one CPU of {len(os_cpus())}"
    return [
        Line("20 people at once, 100 machines", max(rates), 50 * PEERS_PER_SECOND, "requests/s", beside, at_least=True)
    ]


def os_cpus() -> list[str]:
    return re.findall(r"^processor", Path("/proc/cpuinfo").read_text(), re.MULTILINE)


def load(wrk: str, house: House, script: str, seconds: int) -> tuple[float, float]:
    """Requests a second, and the share of one processor that the generator took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [wrk, "-t1", "-c20", f"-d{seconds}s", "-s", script, house.stack.url]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert "Non-2xx" not in said, said
    assert "Socket errors" not in said, said
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    rate = re.search(r"Requests/sec:\s+([\d.]+)", said)
    assert rate
    return float(rate[1]), used / seconds


# --- black holes

PATHS = ("/", LIST, "/hosts/", "/operations/", "/login/")


def black_holes(house: House) -> list[Line]:
    """Pages while four of five hosts answer nothing, against the same pages while all are well."""
    with second_host(7, 25) as kept, second_host(8, 25) as first, second_host(9, 25) as other:
        holes = (first, other)
        rows = [remote(kept), *(remote(second, port) for second in holes for port in (None, 16509))]
        with house.hosts(*rows):
            visitor = house.visitor()
            well, dead = [pages(visitor)], []
            for _ in range(3):
                with cut(holes) as at:
                    until(lambda: down(rows) == 4, 30, what="four hosts down")
                    marked = time.monotonic() - at
                    dead.append(pages(visitor))
                mended = time.monotonic()
                until(lambda: down(rows) == 0, 60, what="all hosts up again")
                back = time.monotonic() - mended
                well.append(pages(visitor))
    best = min(percentile(times, 95) for times in dead), min(percentile(times, 95) for times in well)
    medians = min(map(median, dead)), min(map(median, well))
    beside = f"{best[0]:.1f} ms, all well {best[1]:.1f} ms; medians {medians[0]:.1f} and {medians[1]:.1f}"
    return [
        Line("pages with 4 of 5 hosts black holes, p95", best[0] / best[1], 1.1, "times", beside),
        Line("a black hole is marked", marked, 10, "s"),
        Line("and is back", back, 15, "s"),
    ]


def pages(visitor: Visitor) -> list[float]:
    return [visitor.get(path).ms for _ in range(80) for path in PATHS]


def down(rows: list[Host]) -> int:
    return Host.objects.filter(pk__in=[row.pk for row in rows]).exclude(state=HostState.UP).count()


@contextmanager
def cut(holes: tuple[SecondHost, ...]) -> Iterator[float]:
    """The hosts are black holes for as long; gives the time of the cut."""
    for second in holes:
        second.cut()
    try:
        yield time.monotonic()
    finally:
        for second in holes:
            second.mend()


PARTS = (lists, a_members_list, twenty_at_once, black_holes)

"""How soon what happens is known: on screens, to many at once, to libvirt; and how fresh it stays when things hang."""

from __future__ import annotations

import gzip
import json
import os
import random
import re
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.client import HTTPException
from types import FrameType
from typing import Any

import libvirt
from django.conf import settings
from django.db.models import Min
from playwright.sync_api import Page, sync_playwright

from tests.bench.house import LIST, PREFIX, House, Visitor, lab, remote, second_host
from tests.bench.line import Line, median, percentile
from tests.console.wsclient import Client, Closed
from tests.console.wsclient import Visitor as Handshake
from tests.guests import Guest
from tests.lab.lab import SecondHost
from tests.until import until
from webvirt import bus
from webvirt.hypervisor.connection import connect
from webvirt.models import Domain

TIMES = 30


# --- behind our back, on screen

SEES = """([id, state]) => new Promise((resolve, reject) => {
  setTimeout(() => reject(new Error(`${state} is not on screen`)), 20000);
  const there = () => document.querySelector(`#vm-${id} .s-${state}`) && resolve(Date.now());
  new MutationObserver(there).observe(document, {subtree: true, childList: true, attributes: true});
  there();
})"""


@contextmanager
def open_page(house: House, path: str) -> Iterator[Page]:
    """A page in Chromium, signed in, its socket open."""
    # Before: where Playwright is, Django's database is not.
    cookie = house.cookie()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        context = browser.new_context()
        context.add_cookies([{"name": settings.SESSION_COOKIE_NAME, "value": cookie, "url": house.stack.url}])
        page = context.new_page()
        with page.expect_websocket() as socket:
            page.goto(house.stack.url + path)
        socket.value.wait_for_event("framesent")
        yield page
        browser.close()


def on_screen(house: House) -> list[Line]:
    """From libvirt's call to pause a machine to the new state in the browser's document."""
    with lab(house, "seen") as (second, [guest]):
        row = Domain.objects.kept().get(uuid=guest.uuid)
        until(lambda: Domain.objects.get(pk=row.pk).status == "running", what="running in the list")
        domain = libvirt.open(second.uri).lookupByUUIDString(guest.uuid)
        times = []
        with open_page(house, f"{LIST}?q={PREFIX}") as page:
            for number in range(2 * TIMES):
                verb, state = (domain.resume, "running") if number % 2 else (domain.suspend, "paused")
                page.evaluate(f"void (window.seen = ({SEES})({json.dumps([row.pk, state])}))")
                # Longer than any gathering of a burst, and never in step with it.
                page.wait_for_timeout(700 + 300 * random.random())
                asked = time.time()
                verb()
                ms = page.evaluate("window.seen") - 1000 * asked
                if state == "paused":
                    times.append(ms)
    beside = f"of {TIMES}: fastest {min(times):.0f}, p95 {percentile(times, 95):.0f} ms"
    return [
        Line("suspended behind our back, on screen: median", median(times), 100, "ms", beside),
        Line("the same, worst", max(times), 500, "ms"),
    ]


def without_events(house: House) -> list[Line]:
    """Autostart has no event: as good as a lost one."""
    times = []
    with lab(house, "quiet") as (_, [guest]):
        for value in (True, False, True):
            started = time.monotonic()
            guest.virsh("autostart", *([] if value else ["--disable"]))
            changed = Domain.objects.filter(uuid=guest.uuid, autostart=value)
            until(changed.exists, 60, what="autostart seen")
            times.append(time.monotonic() - started)
    return [Line("a change without an event is known, worst", max(times), 15, "s", f"of {len(times)}")]


# --- many events, many pages

EVENTS = 2000
PAGES = 50
ACTORS = 8
BETWEEN_SECONDS = 0.5
ROW = re.compile(rb'id="vm-(\d+)".*?class="state s-(\w+)"', re.DOTALL)


@dataclass
class OpenPage:
    """A page of the list as its browser holds it: hears on its socket, reads the page again as live.js does."""

    house: House
    cookie: str
    path: str
    shows: dict[int, str] = field(default_factory=dict)
    changed_at: float = 0.0
    """When (monotonic) what it shows last changed."""
    reads: int = 0
    due: threading.Event = field(default_factory=threading.Event)

    def open(self) -> None:
        self.visitor = Visitor(self.house.stack.port, self.cookie)
        names = re.search(rb'id="machines"[^>]*data-live="([^"]+)"', self.read())
        assert names
        handshake = Handshake(session_key=self.cookie, origins=(self.house.stack.url,), protocols="")
        self.socket = Client(("127.0.0.1", self.house.stack.port), handshake, "/ws/events/")
        self.socket.sock.settimeout(None)
        self.socket.send(json.dumps({"watch": names[1].decode().split(), "age": 1000}).encode(), 1)
        threading.Thread(target=self.hear, daemon=True).start()
        threading.Thread(target=self.follow, daemon=True).start()

    def read(self) -> bytes:
        body = gzip.decompress(self.visitor.page(self.path).body)
        self.reads += 1
        shows = {int(pk): state.decode() for pk, state in ROW.findall(body)}
        if shows != self.shows:
            self.shows, self.changed_at = shows, time.monotonic()
        return body

    def hear(self) -> None:
        while True:
            try:
                message = json.loads(self.socket.recv())
            except (Closed, OSError):
                return
            # Figures of use alone may wait five seconds.
            if message.get("resync") or any(not name.startswith("use:") for name in message.get("changed", ())):
                self.due.set()

    def follow(self) -> None:
        while self.due.wait():
            self.due.clear()
            started = time.monotonic()
            try:
                self.read()
            except (OSError, HTTPException):
                # The stack has ended.
                return
            time.sleep(max(0.0, BETWEEN_SECONDS - (time.monotonic() - started)))


def many_events(house: House) -> list[Line]:
    """2,000 events as fast as libvirt makes them, fifty pages open: when does the last one show the truth?"""
    with lab(house, *(f"many-{number}" for number in range(ACTORS))) as (second, made):
        pages = [OpenPage(house, house.cookie(), f"{LIST}?q={PREFIX}many") for _ in range(PAGES)]
        for page in pages:
            page.open()
        until(lambda: all(len(page.shows) == ACTORS for page in pages), what="all pages open")
        reads = sum(page.reads for page in pages)
        ended, seconds, truth = storm(second, made)
        rows = dict(Domain.objects.filter(uuid__in=truth).values_list("uuid", "pk"))
        wanted = {rows[uuid]: state for uuid, state in truth.items()}
        until(lambda: all(page.shows == wanted for page in pages), 60, what="all pages show the truth")
        late = [max(0.0, page.changed_at - ended) for page in pages]
        reads = sum(page.reads for page in pages) - reads
    beside = f"{EVENTS} events in {seconds:.1f} s, median page {median(late):.2f} s, {reads} reads"
    return [Line(f"{EVENTS} events, {PAGES} pages: all show the truth", max(late), 3, "s", beside)]


def storm(second: SecondHost, made: list[Guest]) -> tuple[float, float, dict[str, str]]:
    """Pause and resume all machines at once; gives when it ended, how long it took, and what each is at the end."""
    truth = {}

    def act(number: int, guest: Guest) -> None:
        domain = libvirt.open(second.uri).lookupByUUIDString(guest.uuid)
        for _ in range(EVENTS // ACTORS // 2):
            domain.suspend()
            domain.resume()
        if number % 2:
            domain.suspend()
        truth[guest.uuid] = "paused" if number % 2 else "running"

    started = time.monotonic()
    threads = [threading.Thread(target=act, args=pair) for pair in enumerate(made)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ended = time.monotonic()
    return ended, ended - started, truth


def at_full_rate(house: House) -> list[Line]:
    """The same at the rate that no libvirt here makes: 2,000 changes of rows, each announced, in two seconds."""
    with house.seeded(1, 40) as hosts:
        rows = list(Domain.objects.filter(host__in=hosts).values_list("pk", flat=True))
        pages = [OpenPage(house, house.cookie(), LIST) for _ in range(PAGES)]
        for page in pages:
            page.open()
        started = time.monotonic()
        for number in range(EVENTS):
            pk, state = rows[number % len(rows)], "paused" if number // len(rows) % 2 else "running"
            Domain.objects.filter(pk=pk).update(status=state)
            bus.announce([f"domain:{pk}", "domains"])
            time.sleep(max(0.0, started + 2 * number / EVENTS - time.monotonic()))
        ended = time.monotonic()
        wanted = dict(Domain.objects.filter(pk__in=rows).values_list("pk", "status"))
        until(lambda: all(page.shows == wanted for page in pages), 60, what="all pages show the truth")
        late = [max(0.0, page.changed_at - ended) for page in pages]
    beside = f"{EVENTS} changes in {ended - started:.1f} s, median page {median(late):.2f} s"
    return [Line(f"{EVENTS} changes announced at full rate, {PAGES} pages", max(late), 3, "s", beside)]


# --- Start


class Ear:
    """A libvirt connection of the bench's own that hears when machines start."""

    def __init__(self, uri: str) -> None:
        libvirt.virEventRegisterDefaultImpl()
        threading.Thread(target=self.turn, daemon=True).start()
        self.heard: dict[str, float] = {}
        self.conn = libvirt.open(uri)
        self.conn.domainEventRegisterAny(None, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, self.hear, None)

    def turn(self) -> None:
        while True:
            libvirt.virEventRunDefaultImpl()

    def hear(self, conn: Any, domain: Any, event: int, detail: int, opaque: Any) -> None:
        if event == libvirt.VIR_DOMAIN_EVENT_STARTED:
            self.heard[domain.UUIDString()] = time.perf_counter()

    def started(self, guest: Guest, press: Callable[[], object]) -> float:
        """Milliseconds from pressing to the event that it runs."""
        self.heard.pop(guest.uuid, None)
        asked = time.perf_counter()
        press()
        until(lambda: guest.uuid in self.heard, 30, every=0.002, what="started")
        return 1000 * (self.heard[guest.uuid] - asked)


def start_pressed(house: House) -> list[Line]:
    """Start on a page, to libvirt's event that the machine runs, against the same with virsh; taken in turns."""
    ours, virsh = [], []
    with lab(house, "start") as (second, [guest]):
        ear = Ear(second.uri)
        pk = Domain.objects.kept().get(uuid=guest.uuid).pk
        off(guest, pk)
        visitor = house.visitor()
        for _ in range(TIMES // 2):
            token = csrf(visitor)
            ours.append(ear.started(guest, partial(press, visitor, f"{LIST}{pk}/start/", token)))
            off(guest, pk)
            virsh.append(ear.started(guest, lambda: guest.virsh("start")))
            off(guest, pk)
    beside = (
        f"median of ours {median(ours):.0f} ms, virsh {median(virsh):.0f} ms; fastest {min(ours):.0f}, {min(virsh):.0f}"
    )
    return [Line("Start pressed to libvirt's event, over virsh", median(ours) - median(virsh), 50, "ms", beside)]


def off(guest: Guest, pk: int) -> None:
    guest.virsh("destroy")
    until(lambda: Domain.objects.get(pk=pk).status == "shutoff", what="off")


def csrf(visitor: Visitor) -> str:
    """A page's token and its cookie, which the visitor keeps."""
    visitor.connection.request("GET", LIST, headers=visitor.headers | {"Accept-Encoding": "identity"})
    response = visitor.connection.getresponse()
    body = response.read().decode()
    cookie = re.search(rf"{settings.CSRF_COOKIE_NAME}=[^;]+", response.headers.get("Set-Cookie", ""))
    if cookie:
        visitor.headers["Cookie"] = f"{visitor.headers['Cookie'].partition(';')[0]}; {cookie[0]}"
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', body)
    assert token
    return token[1]


def press(visitor: Visitor, path: str, token: str) -> None:
    headers = visitor.headers | {"X-CSRFToken": token, "Accept": "application/json"}
    visitor.connection.request("POST", path, body=b"", headers=headers)
    response = visitor.connection.getresponse()
    body = response.read()
    assert response.status == 202, f"{path}: {response.status} {body[:300]!r}"


# --- one of them hangs


def hung_guest(house: House) -> list[Line]:
    """The figures of two machines while a third one's QEMU stands still for a minute; then Force off on that one."""
    with lab(house, "hung", "well-1", "well-2") as (second, [hung, *well]):
        measured = Domain.objects.kept().filter(uuid__in=[guest.uuid for guest in well])
        until(lambda: measured.filter(usage_at__isnull=False).count() == 2, 30, what="figures of both")
        pk = Domain.objects.kept().get(uuid=hung.uuid).pk
        os.kill(pid_of(second, hung), signal.SIGSTOP)
        worst, deadline = 0.0, time.monotonic() + 60
        while time.monotonic() < deadline:
            oldest = measured.aggregate(oldest=Min("usage_at"))["oldest"]
            worst = max(worst, time.time() - oldest.timestamp())
            time.sleep(0.1)
        visitor = house.visitor()
        token = csrf(visitor)
        started = time.monotonic()
        press(visitor, f"{LIST}{pk}/destroy/", token)
        until(lambda: Domain.objects.get(pk=pk).status == "shutoff", 60, what="the hung one off")
        took = time.monotonic() - started
    return [
        Line("figures of the others while one QEMU hangs, oldest", worst, 10, "s", "in a minute"),
        Line("Force off of the hung one shows", took, 20, "s"),
    ]


def pid_of(second: SecondHost, guest: Guest) -> int:
    """The number of the QEMU process."""
    return int((second.home / "run/qemu" / f"{guest.name}.pid").read_text())


# --- a host's whole list

ASKS_NOBODY = re.compile(r"virDomain(GetName|GetUUID|GetUUIDString|GetID|Free|Ref)|virConnectRef|virConnectClose")
"""Functions of libvirt that answer out of what is there already."""


def refresh(house: House) -> list[Line]:
    """Reading the list of a host with 1,000 machines: its calls and its time, and a peer's calls for the same."""
    with second_host(7, 1000) as second, connect(remote(second).address) as connection:
        with counted() as calls:
            found = connection.domains.list()
        times = []
        for _ in range(5):
            started = time.perf_counter()
            connection.domains.list()
            times.append(1000 * (time.perf_counter() - started))
    assert len(found) >= 1000
    beside = f"{median(times):.0f} ms, {', '.join(sorted(set(calls)))}"
    return [Line("calls for the list of a host with 1,000 machines", len(calls), 5, "calls", beside)]


@contextmanager
def counted() -> Iterator[list[str]]:
    """The names of libvirt's functions that this thread calls and that have to ask the host."""
    calls: list[str] = []

    def note(frame: FrameType, event: str, function: Any) -> None:
        name = getattr(function, "__name__", "")
        if event == "c_call" and name.startswith("vir") and not ASKS_NOBODY.fullmatch(name):
            calls.append(name)

    sys.setprofile(note)
    try:
        yield calls
    finally:
        sys.setprofile(None)


PARTS = (on_screen, many_events, at_full_rate, start_pressed, hung_guest, refresh, without_events)

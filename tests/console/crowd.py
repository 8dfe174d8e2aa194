"""Many consoles of a whole installation, each held as a page holds it: by a lease, and coming back by itself."""

from __future__ import annotations

import json
import random
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from tests.api_client import Api
from tests.console.wsclient import Client, Closed, Rejected, Visitor, update_request
from tests.guests import Guest
from tests.stack import PROJECT, Stack
from tests.until import until
from webvirt.consoleproxy.pump import RESTARTED

T = TypeVar("T")

SIZE = 50
GUESTS = 3
"""No machine has more than 20 viewers, and no person more than 10 consoles."""
PEOPLE = SIZE // 10
SIGN_IN = f"""
import json
from django.conf import settings
from django.test import Client
from webvirt.models import Grant, Role, User
for number in range({PEOPLE}):
    user, _ = User.objects.get_or_create(username=f"watcher-{{number}}")
    Grant.objects.get_or_create(user=user, role=Role.ADMINISTRATOR, host=None, domain=None)
    client = Client()
    client.force_login(user)
    print(json.dumps([settings.SESSION_COOKIE_NAME, client.cookies[settings.SESSION_COOKIE_NAME].value]))
"""


def pauses() -> list[float]:
    """Seconds after which a page tries again, the last for ever: as its script has it."""
    script = (PROJECT / "static" / "js" / "console_line.js").read_text()
    found = re.search(r"RETRY_SECONDS = (\[.*?\]);", script)
    assert found
    return [float(seconds) for seconds in json.loads(found[1])]


@dataclass
class Held:
    """The console of a screen. `times` is how often it was connected, `came` (monotonic) when that was last."""

    port: int
    cookie: tuple[str, str]
    """Its name and its value."""
    domain: int
    session: int = 0
    times: int = 0
    came: float = 0.0
    heard: int = 0
    """Messages from the guest."""
    client: Client | None = None
    lease: Client | None = None
    left: threading.Event = field(default_factory=threading.Event)

    def visitor(self, **more: Any) -> Visitor:
        name, key = self.cookie
        return Visitor(session_key=key, cookie=name, origins=(f"http://127.0.0.1:{self.port}",), **more)

    def hold(self, query: str) -> dict[str, Any]:
        """Take a lease; returns what is said first on it."""
        path = f"/ws/console/{self.domain}/{query}"
        self.lease = Client(("127.0.0.1", self.port), self.visitor(protocols=""), path)
        said: dict[str, Any] = json.loads(self.lease.recv())
        return said

    def open(self) -> None:
        """Raises OSError, Rejected or Closed."""
        said = self.hold("?mode=control" + (f"&replaces={self.session}" if self.session else ""))
        self.session = said.get("session", 0)
        if not self.session:
            raise Closed(0, str(said))
        self.client = Client(("127.0.0.1", self.port), self.visitor(ticket=said["ticket"]))
        self.client.handshake()
        self.came, self.times = time.monotonic(), self.times + 1

    def stay(self) -> None:
        """Until `leave`: hear the guest, and come back whenever that ends, after the pauses that a page makes."""
        seconds, attempt = pauses(), 0
        while not self.left.is_set():
            try:
                if self.client is None:
                    self.open()
                assert self.client
                attempt = 0
                self.client.sock.settimeout(None)
                while True:
                    self.client.recv()
                    self.heard += 1
            except (OSError, Rejected, Closed) as error:
                self.close()
                if isinstance(error, Closed) and error.code == RESTARTED:
                    attempt = max(attempt, 1)
                self.left.wait(seconds[min(attempt, len(seconds) - 1)] * random.uniform(0.75, 1.25))
                attempt += 1

    def shows(self) -> bool:
        """Whether its guest still says what it looks like."""
        before = self.heard
        with suppress(OSError, AttributeError):
            assert self.client
            self.client.send(update_request(16, 16))
            until(lambda: self.heard > before, what="a picture")
            return True
        return False

    def resumes(self) -> bool:
        """Whether its lease can be taken up again, as when the web process that held it is gone."""
        with suppress(OSError, Rejected, Closed):
            return "others" in self.hold(f"?session={self.session}")
        return False

    def close(self) -> None:
        for end in (self.client, self.lease):
            if end is not None:
                end.close()
        self.client = self.lease = None

    def leave(self) -> None:
        self.left.set()
        if self.client is not None:
            with suppress(OSError):
                self.client.sock.shutdown(socket.SHUT_RDWR)


def together(do: Callable[[Held], T], held: list[Held]) -> list[T]:
    """What each of them answers, a few at a time."""
    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(do, held))


@contextmanager
def crowd(stack: Stack, prefix: str) -> Iterator[list[Held]]:
    """Open consoles of running guests with nothing to boot, whose names begin with `prefix`."""
    guests = [Guest(f"{prefix}{number}") for number in range(GUESTS)]
    held: list[Held] = []
    threads: list[threading.Thread] = []
    try:
        for guest in guests:
            guest.define().virsh("start")
        domains = known(stack, guests)
        cookies = signed_in(stack)
        held += [Held(stack.port, cookies[number % PEOPLE], domains[number % GUESTS]) for number in range(SIZE)]
        together(Held.open, held)
        threads += [threading.Thread(target=each.stay) for each in held]
        for thread in threads:
            thread.start()
        yield held
    finally:
        for each in held:
            each.leave()
        for thread in threads:
            thread.join()
        for guest in guests:
            guest.remove()


def known(stack: Stack, guests: list[Guest]) -> list[int]:
    """The installation's numbers of guests, from when it knows that they run."""
    api = Api(stack.url, stack.administrator_token())
    for guest in guests:
        until(partial(runs, api, guest), 30, what=f"{guest.name} runs")
    return [int(api.appears(guest.name)["id"]) for guest in guests]


def runs(api: Api, guest: Guest) -> bool:
    return api.status(guest.name) == "running"


def signed_in(stack: Stack) -> list[tuple[str, str]]:
    """The cookies of people who may open every console."""
    said = stack.manage("shell", "--no-imports", "--command", SIGN_IN)
    return [(name, key) for name, key in map(json.loads, said.splitlines())]

"""Whether the time that a sign-in takes tells which names and which links there are.

In this process, on the installation's own database: what is measured is what the code does, and not the wire.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable

from django.test import Client
from django.utils import timezone

from tests.bench.house import House
from tests.bench.line import Line, median, percentile, say
from webvirt.models import Guesses, PasswordLink
from webvirt.services import links, people

TRIES = 500
MOST_MS = 5.0
PASSWORD = "eleven green apples"
Ask = Callable[[Client], int]


def signing_in(house: House) -> list[Line]:
    """Wrong passwords for a name of somebody, of somebody who has chosen none yet, and of nobody; a link that was good
    once, and one that never was."""
    # A thousand words of links that are none would hide the numbers.
    logging.getLogger("django.request").setLevel(logging.ERROR)
    people.create("somebody", PASSWORD)
    expired = links.make(people.create("invited1", None))
    PasswordLink.objects.update(expires_at=timezone.now())
    names = {name: with_name(name) for name in ("nobody01", "somebody", "invited1")}
    ways = {"an unknown link": with_link("x" * len(expired)), "an expired link": with_link(expired)}
    return [*against(house, names), *against(house, ways)]


def with_name(name: str) -> Ask:
    form = {"login": name, "password": "not theirs"}
    return lambda client: client.post("/login/", form).status_code


def with_link(link: str) -> Ask:
    return lambda client: client.post(f"/link/{link}/", {"password": PASSWORD, "again": PASSWORD}).status_code


def against(house: House, asked: dict[str, Ask]) -> list[Line]:
    """Each TRIES times in turns, every time in another order: the first against all others, by their medians."""
    names = list(asked)
    times: dict[str, list[float]] = {name: [] for name in names}
    client = Client(headers={"host": f"127.0.0.1:{house.stack.port}"})
    for turn in range(TRIES + 5):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            # The limits on guessing are not what is measured.
            Guesses.objects.all().delete()
            client.cookies.clear()
            started = time.perf_counter()
            assert asked[name](client) in (200, 404)
            # The first few load what all later ones find loaded.
            times[name] += [1000 * (time.perf_counter() - started)] * (turn >= 5)
    for name in names:
        say(f"{name}: median {median(times[name]):.2f} ms, p95 {percentile(times[name], 95):.2f}")
    load = f"of {TRIES} each; load {os.getloadavg()[0]:.1f}"
    first = median(times[names[0]])
    return [
        Line(f"{names[0]} against {name}", abs(median(times[name]) - first), MOST_MS, "ms", f"{first:.2f} ms, {load}")
        for name in names[1:]
    ]


PARTS = (signing_in,)

"""The wall of screens with real guests: what it shows, fetches and has taken; and from it several consoles at once."""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import cast
from uuid import uuid4

import pytest
import redis
from playwright.sync_api import Locator, Page, ViewportSize, expect

from tests.browser.conftest import says, serial
from tests.browser.window import EVENT_MS, WIDE, Window, assert_not_reloaded, mark, row, type_keys
from tests.guests import Guest
from tests.lab.lab import tiny_guest
from tests.stack import Stack
from tests.until import until

pytestmark = [pytest.mark.browser, pytest.mark.stack]

STILL = 28
LOW, HIGH = ViewportSize(width=1440, height=500), ViewportSize(width=1440, height=2400)
USUAL = ViewportSize(width=WIDE[0], height=WIDE[1])
NEAR_VIEW = """() => [...document.querySelectorAll(".tile:has(img)")].filter((tile) => {
    const { top, bottom } = tile.querySelector("img").getBoundingClientRect();
    return bottom > -80 && top < innerHeight + 80;
}).map((tile) => Number(tile.id.slice(3)))"""
ALL_DRAWN = """(count) => {
    const pictures = [...document.querySelectorAll(".tile img[src]")];
    return pictures.length === count && pictures.every((one) => one.complete && one.naturalWidth);
}"""


@dataclass(frozen=True)
class Crowd:
    """Thirty machines: most of them have not taken a step, so that they cost next to nothing and have a screen all the
    same; two are a small Linux that runs. Sorted by name, these are the last."""

    name: str
    still: list[Guest]
    talking: list[Guest]

    @property
    def all(self) -> list[Guest]:
        return [*self.still, *self.talking]


def new_crowd() -> Crowd:
    name = f"wvb-wall-{uuid4().hex[:4]}"
    still = [Guest(f"{name}-{number:02}", memory=16) for number in range(STILL)]
    logs = [Path(f"/var/tmp/{name}-z{number}.log") for number in range(2)]
    talking = [Guest(log.stem, guest=tiny_guest(), serial_log=log, memory=96) for log in logs]
    return Crowd(name, still, talking)


def begin(guest: Guest) -> None:
    guest.define().virsh("start", *(["--paused"] if guest.guest is None else []))


@pytest.fixture
def crowd(live_stack: Stack) -> Iterator[Crowd]:
    found = new_crowd()
    with ThreadPoolExecutor(4) as pool:
        try:
            list(pool.map(begin, [*found.talking, *found.still]))
            yield found
        finally:
            list(pool.map(Guest.remove, found.all))
            for guest in found.talking:
                assert guest.serial_log
                guest.serial_log.unlink(missing_ok=True)


def wanted(stack: Stack) -> set[int]:
    """The machines whose screens the watcher is asked to take now."""
    with closing(redis.Redis(unix_socket_path=str(stack.home / "run" / "redis.sock"))) as store:
        return {int(pk) for pk in cast(list[bytes], store.zrangebyscore("screens.wanted", time.time(), "+inf"))}


def picture_kept(stack: Stack, guest: Guest) -> str:
    """What tells the picture of a guest that is kept from others."""
    query = "SELECT digest FROM webvirt_screen JOIN webvirt_domain ON id = domain_id WHERE uuid = ?"
    with closing(sqlite3.connect(stack.home / "webvirt.sqlite3")) as database:
        return str(database.execute(query, [guest.uuid]).fetchone()[0])


def screen_now(guest: Guest, file: Path) -> bytes:
    """The screen of a guest as its host shows it, by nobody's watcher."""
    guest.virsh("screenshot", "--file", str(file))
    return file.read_bytes()


def pictures(page: Page) -> dict[str, str]:
    """The picture that each tile shows, by the machine's name."""
    tiles = page.locator(".tile").evaluate_all(
        "(tiles) => tiles.map((tile) => [tile.querySelector('.main-link').textContent, tile.querySelector('img').src])"
    )
    return dict(tiles)


def place(page: Page, guest: Guest) -> Locator:
    """One of several consoles side by side."""
    return page.get_by_role("region", name=f"Console of {guest.name}")


def test_thirty_screens(ada: Window, live_stack: Stack, crowd: Crowd, tmp_path: Path) -> None:
    page = ada.page
    ada.go(f"/vms/?view=list&q={crowd.name}")
    expect(page.locator("tbody tr")).to_have_count(len(crowd.all), timeout=60_000)
    page.set_viewport_size(LOW)
    asked: set[int] = set()
    page.on("request", lambda one: asked.update(map(int, re.findall(r"/vms/(\d+)/screen", one.url))))
    ada.go(f"/vms/?view=wall&q={crowd.name}")
    mark(page)
    only_what_is_in_view(page, live_stack, asked)
    page.set_viewport_size(HIGH)
    page.wait_for_function(ALL_DRAWN, arg=len(crowd.all), timeout=60_000)
    only_what_changed(page, crowd.still[3], crowd)
    page.set_viewport_size(USUAL)
    page.get_by_role("link", name=f"Console of {crowd.still[0].name}").click()
    expect(page.locator("#console[data-state=connected]")).to_be_visible()
    two_take_keys_by_themselves(ada, crowd)
    nothing_is_taken_any_more(page, live_stack, crowd, tmp_path / "screen")


def only_what_is_in_view(page: Page, stack: Stack, asked: set[int]) -> None:
    near = set(page.evaluate(NEAR_VIEW))
    assert 5 <= len(near) < STILL
    until(lambda: wanted(stack) == near, 30, what="the screens in view are wanted, and no others")
    page.wait_for_function(ALL_DRAWN, arg=len(near), timeout=30_000)
    assert asked == near


def only_what_changed(page: Page, guest: Guest, crowd: Crowd) -> None:
    before = pictures(page)
    guest.virsh("resume")
    until(lambda: pictures(page)[guest.name] != before[guest.name], 20, what="another picture on its tile")
    after = pictures(page)
    assert [one.name for one in crowd.still if after[one.name] != before[one.name]] == [guest.name]
    assert_not_reloaded(page)


def two_take_keys_by_themselves(ada: Window, crowd: Crowd) -> None:
    page, (first, second) = ada.page, crowd.talking
    ada.go(f"/vms/?view=list&q={crowd.name}")
    for guest in (first, second):
        row(page, guest.name).get_by_role("checkbox").check()
    page.get_by_role("button", name="Open consoles").click()
    for guest in (first, second):
        expect(place(page, guest)).to_have_attribute("data-state", "connected")
        says(guest, "guest is up")
    assert page.evaluate("document.activeElement === document.body")
    for guest, word in ((first, "one"), (second, "two"), (first, "three")):
        echoes(page, guest, word)
    assert "one-2" not in serial(second)
    assert "two-2" not in serial(first)
    second.virsh("destroy")
    expect(place(page, second)).to_have_attribute("data-state", "waiting", timeout=EVENT_MS)
    expect(place(page, second)).to_contain_text("The console comes back by itself")
    type_keys(page, "echo four-$((1+1)) > /dev/ttyS0\n")
    says(first, "four-2", seconds=20)
    place(page, second).get_by_role("button", name="Close this console").click()
    expect(page.locator(".console")).to_have_count(1)
    assert len(re.findall(r"\d+", page.url.rpartition("?")[2])) == 1
    expect(place(page, first)).to_have_attribute("data-state", "connected")


def echoes(page: Page, guest: Guest, word: str) -> None:
    """What is typed after a click on its screen comes to it."""
    place(page, guest).locator("canvas").click()
    type_keys(page, f"echo {word}-$((1+1)) > /dev/ttyS0\n")
    says(guest, f"{word}-2", seconds=20)


def nothing_is_taken_any_more(page: Page, stack: Stack, crowd: Crowd, file: Path) -> None:
    """Of two screens that change, the one that a page shows is taken. They would be taken in turns."""
    shown, unseen = crowd.talking[0], crowd.still[6]
    place(page, shown).locator("canvas").click()
    type_keys(page, "while sleep 1; do cat /proc/uptime; done\n")
    until(lambda: not wanted(stack), 40, what="nobody wants a screen")
    place(page, shown).get_by_role("link", name=shown.name).click()
    expect(page.get_by_role("heading", name=shown.name)).to_be_visible()
    is_taken_again(stack, shown)
    before, still = picture_kept(stack, unseen), screen_now(unseen, file)
    unseen.virsh("resume")
    until(lambda: screen_now(unseen, file) != still, 20, what="the screen that nobody looks at changed")
    is_taken_again(stack, shown)
    is_taken_again(stack, shown)
    assert picture_kept(stack, unseen) == before


def is_taken_again(stack: Stack, guest: Guest) -> None:
    before = picture_kept(stack, guest)
    until(lambda: picture_kept(stack, guest) != before, 20, what="another picture of the screen that is shown")

"""A guest's screen and its serial line, recorded in one browser and played again, by their owner."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import pytest
from playwright.sync_api import Page, expect

from tests.browser.test_serial import answers, said
from tests.browser.window import Window, console, lit_pixels, row, type_keys
from tests.guests import Guest
from tests.lab.lab import tiny_guest
from tests.stack import Stack
from tests.until import until

pytestmark = [pytest.mark.browser, pytest.mark.stack]


@pytest.fixture
def talker() -> Iterator[Guest]:
    """A small Linux with a shell on its screen, and one on its serial line."""
    guest = Guest(f"wvrec-{uuid4().hex[:4]}", guest=tiny_guest(), memory=96)
    yield guest.define()
    guest.remove()


def picture(page: Page, root: str) -> str:
    """All pixels of a guest's screen as it is drawn, by their sum."""
    return str(
        page.evaluate(
            """async (root) => {
                const canvas = document.querySelector(`${root} canvas`);
                if (!canvas || !canvas.width) return "";
                const own = new OffscreenCanvas(canvas.width, canvas.height);
                const copy = own.getContext("2d", { willReadFrequently: true });
                copy.drawImage(canvas, 0, 0);
                const data = copy.getImageData(0, 0, canvas.width, canvas.height).data;
                const sum = await crypto.subtle.digest("SHA-256", data);
                return `${canvas.width}x${canvas.height} ${[...new Uint8Array(sum)].join(" ")}`;
            }""",
            root,
        )
    )


def record(page: Page) -> None:
    """Have it recorded: the console is opened again, and says so."""
    page.get_by_role("button", name="Record", exact=True).click()
    expect(page.get_by_text("Recorded", exact=True)).to_be_visible()
    expect(console(page, "connected")).to_be_visible()


def open_recording(page: Page) -> None:
    """The newest of this machine, whose console is left for it."""
    page.get_by_role("link", name="Recordings of its consoles").click()
    newest = page.locator("tr:has(.main-link)").first
    expect(newest).to_contain_text("its console was closed")
    newest.locator(".main-link").click()
    expect(page.locator("#replay[data-state=ready]")).to_be_visible()


def test_recordings(ada: Window, live_stack: Stack, talker: Guest) -> None:
    ada.go(f"/vms/?q={talker.name}")
    talker.virsh("start")
    row(ada.page, talker.name).get_by_role("link", name=talker.name).click()
    ada.page.locator("#header").get_by_role("link", name="Console").click()
    plays_a_screen(ada.page, talker)
    ada.page.go_back()
    ada.page.go_back()
    plays_a_serial_line(ada.page, talker)
    is_deleted(ada.page)


def plays_a_screen(page: Page, talker: Guest) -> None:
    """To its end, where the pixels are those of the last that was seen of it; and back to its beginning."""
    expect(console(page, "connected")).to_be_visible()
    record(page)
    first = until(lambda: lit_pixels(page) > 100 and picture(page, "#console"), 60, what="text on the screen")
    type_keys(page, "seq 200\n")
    until(lambda: picture(page, "#console") != first, 20, what="another picture")
    # So that the cursor blinks no more.
    talker.virsh("suspend")
    last = until(lambda: stands_still(page), 20, what="a picture that stays")
    open_recording(page)
    page.keyboard.press("End")
    expect(page.locator("#replay[data-state=ended]")).to_be_visible()
    assert picture(page, "#replay") == last
    page.keyboard.press("Home")
    expect(page.locator("#replay[data-state=paused]")).to_be_visible()
    assert picture(page, "#replay") != last
    page.get_by_label("Speed").select_option("16")
    page.keyboard.press(" ")
    expect(page.locator("#replay[data-state=ended]")).to_be_visible()
    assert picture(page, "#replay") == last
    talker.virsh("resume")


def stands_still(page: Page) -> str:
    """The picture, if it is the same twice."""
    before = picture(page, "#console")
    page.wait_for_timeout(400)
    return before if before == picture(page, "#console") else ""


def plays_a_serial_line(page: Page, talker: Guest) -> None:
    page.goto(page.url.split("?")[0] + "?device=serial")
    expect(console(page, "connected")).to_be_visible()
    record(page)
    answers(page)
    page.keyboard.type("echo needle-$((6*7)); seq 300; echo last-$((1+1))\n")
    until(lambda: "last-2" in said(page), 60, what="all that was said")
    open_recording(page)
    field = page.get_by_role("searchbox", name="Search the whole recording")
    field.fill("NEEDLE-42")
    field.press("Enter")
    hits = page.get_by_role("region", name="Found")
    expect(hits.locator("h2")).to_have_text("Lines with “NEEDLE-42”: 1")
    page.get_by_role("slider", name="Time").press("End")
    expect(page.locator("#replay[data-state=ended]")).to_be_visible()
    until(lambda: "last-2" in replayed(page), 10, what="the end of what was said")
    hits.get_by_role("button", name="needle-42").click()
    expect(page.locator("#replay[data-state=paused]")).to_be_visible()
    until(lambda: "needle-42" in replayed(page), 10, what="what was searched for")


def replayed(page: Page) -> str:
    return page.locator("#replay .xterm-rows").inner_text().replace("\N{NO-BREAK SPACE}", " ")


def is_deleted(page: Page) -> None:
    here = page.url
    page.get_by_role("button", name="Delete").click()
    page.locator("#sure").get_by_role("button", name="Delete").click()
    expect(page.get_by_text("The recording is deleted.")).to_be_visible()
    answer = page.request.get(here)
    assert answer.status == 404

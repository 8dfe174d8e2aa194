"""A guest's serial line in the browser: typed, searched, copied and kept; by two people, one of whom may only watch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from playwright.sync_api import Page, expect

from tests.api_client import Api
from tests.browser.conftest import Opener
from tests.browser.window import Window, console, row
from tests.console.lines import Tapped
from tests.guests import Guest
from tests.lab.lab import tiny_guest
from tests.stack import Stack
from tests.until import until

pytestmark = [pytest.mark.browser, pytest.mark.stack]


@pytest.fixture
def talker() -> Iterator[Guest]:
    """A small Linux with a shell on its serial line."""
    guest = Guest(f"wvb-line-{uuid4().hex[:4]}", guest=tiny_guest(), memory=96)
    yield guest.define()
    guest.remove()


def said(page: Page) -> str:
    """What the terminal shows."""
    return page.locator("#console .xterm-rows").inner_text().replace("\N{NO-BREAK SPACE}", " ")


def hears(page: Page, words: str, seconds: float = 20) -> None:
    until(lambda: words in said(page), seconds, every=0.2, what=f"{words!r} in the terminal")


def test_a_serial_line(ada: Window, open_as_ada: Opener, live_stack: Stack, talker: Guest, tmp_path: Path) -> None:
    ada.go("/vms/")
    talker.virsh("start")
    row(ada.page, talker.name).get_by_role("link", name=talker.name).click()
    ada.page.locator("#header").get_by_role("link", name="Console").click()
    expect(console(ada.page, "connected")).to_be_visible()
    ada.page.get_by_role("link", name="Serial line").click()
    expect(console(ada.page, "connected")).to_be_visible()
    answers(ada.page)
    ada.page.keyboard.type("printf '\\033[1;38;2;200;80;80mred\\033[0m '; seq 200; echo needle-$((6*7)); seq 100\n")
    hears(ada.page, "100\n/ #", 60)
    assert "needle" not in said(ada.page)
    searches(ada.page)
    keeps_its_log(ada.page, tmp_path / "log")
    late = watches_from_a_window(open_as_ada(live_stack), ada.page.url)
    # Her other window had the line before it only watched.
    ada.page.get_by_role("button", name="Take control").click()
    expect(ada.page.locator("#console .console-state")).to_have_text("Connected")
    ada.page.locator("#console .xterm").click()
    ada.page.keyboard.type("clear; stty size; echo both-$((1+1))\n")
    for page in (ada.page, late):
        hears(page, "both-2")
    late.locator("#console .xterm").click()
    late.keyboard.type("echo unheard\n")
    tells_its_size(ada.page)
    assert "unheard" not in said(ada.page)
    talker.virsh("destroy")
    expect(console(ada.page, "waiting")).to_be_visible()


GREETING = b"login: "
SAID = b"".join(b"line %d\r\n" % number for number in range(800_000)) + b"that is all"


def test_ten_megabytes_come_whole_and_in_order(ada: Window, live_stack: Stack, blank: Guest, tmp_path: Path) -> None:
    """Faster than any guest says them: by a stand-in, where the console proxy looks for a line that is read already."""
    blank.virsh("start")
    api = Api(live_stack.url, live_stack.administrator_token())
    until(lambda: api.status(blank.name) == "running", 20, what="the guest runs")
    machine = api.appears(blank.name)
    tapped = Tapped(live_stack.home / "run" / f"serial-{machine['host']['id']}-{blank.uuid}.sock")
    try:
        ada.go(f"/vms/{machine['id']}/console/?device=serial")
        expect(console(ada.page, "connected")).to_be_visible()
        # Of what is said while nobody watches, the last megabyte alone is kept.
        tapped.line.here.sendall(GREETING)
        hears(ada.page, "login:")
        tapped.line.here.sendall(SAID)
        hears(ada.page, "that is all", 60)
        with ada.page.expect_download() as download:
            ada.page.get_by_role("button", name="Log").click()
        download.value.save_as(tmp_path / "log")
        is_whole = (tmp_path / "log").read_bytes() == GREETING + SAID
        assert is_whole, f"what came is not all of the {len(SAID)} bytes"
    finally:
        tapped.end()


def answers(page: Page) -> None:
    """The shell is up and takes what is typed."""
    page.locator("#console .xterm").click()

    def does() -> bool:
        if "up-2" in said(page):
            return True
        page.keyboard.type("\necho up-$((1+1))\n")
        return False

    until(does, 60, every=1, what="the shell answers")


def searches(page: Page) -> None:
    """Finds what has long gone out of sight."""
    field = page.get_by_role("searchbox")
    field.fill("needle-42")
    hears(page, "needle-42")
    expect(field).to_have_attribute("aria-invalid", "false")
    field.fill("not there")
    expect(field).to_have_attribute("aria-invalid", "true")
    field.press("Escape")


def keeps_its_log(page: Page, file: Path) -> None:
    with page.expect_download() as download:
        page.get_by_role("button", name="Log").click()
    download.value.save_as(file)
    text = file.read_bytes()
    assert b"\r\n200\r\nneedle-42\r\n" in text
    assert download.value.suggested_filename.startswith("wvb-line-")


def watches_from_a_window(other: Window, address: str) -> Page:
    """Somebody who comes late sees what was said before, and only watches."""
    other.page.goto(address.replace("/console/", "/console/window/"))
    expect(console(other.page, "connected")).to_be_visible()
    hears(other.page, "100\n/ #")
    other.page.get_by_role("button", name="View only").click()
    expect(other.page.locator("#console .console-state")).to_have_text("Connected, view only")
    return other.page


def tells_its_size(page: Page) -> None:
    page.get_by_role("button", name="Tell the size").click()
    page.locator("#console .xterm").click()
    page.keyboard.type("stty size\n")
    rows = page.locator("#console .xterm-rows > div").count()
    hears(page, f"\n{rows} ")

"""Open pages stay true without a reload: behind our back, and through the death of what brings them the news."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Opener, says
from tests.browser.seeded import ADMINISTRATOR
from tests.browser.window import (
    EVENT_MS,
    Window,
    assert_not_reloaded,
    badge,
    console,
    mark,
    row,
    type_keys,
)
from tests.guests import Guest
from tests.stack import Stack
from tests.until import until

pytestmark = [pytest.mark.browser, pytest.mark.stack]

LOST = "Connection lost"
DEAF = "Live updates are away"
BACK_MS = 40_000


def opened(page: Page, guest: Guest) -> Page:
    """From the list of machines to the page of this one."""
    row(page, guest.name).get_by_role("link", name=guest.name).click()
    expect(page.get_by_role("heading", name=guest.name)).to_be_visible()
    mark(page)
    return page


def start_and_open_console(window: Window, guest: Guest) -> Page:
    """The guest runs, and its console is connected in a tab of its own."""
    guest.define().virsh("start")
    page = opened(window.tab("/vms/"), guest)
    page.locator("#header").get_by_role("link", name="Console").click()
    expect(console(page, "connected")).to_be_visible()
    says(guest, "guest is up")
    mark(page)
    # Whatever else it says from now on is noted.
    page.evaluate(
        """() => {
            const panel = document.querySelector("#console");
            window.states = [];
            const note = () => window.states.push(panel.dataset.state);
            new MutationObserver(note).observe(panel, { attributeFilter: ["data-state"] });
        }"""
    )
    return page


@contextmanager
def away(stack: Stack, *names: str) -> Iterator[None]:
    """Processes die, and those that take their places cannot begin for as long as this lasts."""
    with ExitStack() as thaw:
        for name in names:
            pid = stack.restart(name, signal.SIGKILL)
            os.kill(pid, signal.SIGSTOP)
            thaw.callback(os.kill, pid, signal.SIGCONT)
        yield


def assert_console_stayed(page: Page, guest: Guest, word: str) -> None:
    assert page.evaluate("window.states") == [], "the console was interrupted"
    assert_takes_keys(page, guest, word)


def assert_takes_keys(page: Page, guest: Guest, word: str) -> None:
    assert_not_reloaded(page)
    page.bring_to_front()
    page.locator("#console canvas").click()
    type_keys(page, f"echo {word}-$((1+1)) > /dev/ttyS0\n")
    says(guest, f"{word}-2", seconds=20)


def test_what_virsh_does_shows_in_both_tabs(ada: Window) -> None:
    listing = ada.page
    ada.go("/vms/")
    mark(listing)
    guest = Guest("wvb-blank").define()
    try:
        line = row(listing, guest.name)
        expect(line).to_be_visible(timeout=EVENT_MS)
        detail = opened(ada.tab("/vms/"), guest)
        for verb, status in (
            ("start", "running"),
            ("suspend", "paused"),
            ("resume", "running"),
            ("destroy", "shutoff"),
        ):
            guest.virsh(verb)
            for page, state in ((detail, badge(detail, f"s-{status}")), (listing, line.locator(f".state.s-{status}"))):
                page.bring_to_front()
                expect(state).to_be_visible(timeout=EVENT_MS)
        guest.virsh("domrename", "wvb-renamed")
        expect(row(listing, "wvb-renamed")).to_be_visible(timeout=EVENT_MS)
        detail.bring_to_front()
        expect(detail.get_by_role("heading", name="wvb-renamed")).to_be_visible(timeout=EVENT_MS)
        guest.virsh("undefine")
        expect(badge(detail, "s-missing")).to_be_visible(timeout=EVENT_MS)
        listing.bring_to_front()
        expect(row(listing, "wvb-renamed").locator(".state.s-missing")).to_be_visible(timeout=EVENT_MS)
        assert_not_reloaded(detail)
        assert_not_reloaded(listing)
    finally:
        guest.remove()


def test_a_click_shows_in_a_window_that_nobody_touches(
    blank: Guest, ada: Window, open_as_ada: Opener, live_stack: Stack
) -> None:
    other = open_as_ada(live_stack)
    other.go("/vms/")
    expect(row(other.page, blank.name)).to_be_visible(timeout=EVENT_MS)
    mark(other.page)
    ada.go("/vms/")
    row(ada.page, blank.name).get_by_role("button", name="Start").click()
    expect(row(other.page, blank.name).locator(".state.s-running")).to_be_visible(timeout=20_000)
    assert_not_reloaded(other.page)


def test_web_away_and_back(linux: Guest, ada: Window, live_stack: Stack) -> None:
    ada.go("/vms/")
    screen = start_and_open_console(ada, linux)
    page = opened(ada.tab("/vms/"), linux)
    bar = page.locator("#offline")
    expect(bar).to_be_hidden()
    with away(live_stack, "web-1", "web-2"):
        expect(bar).to_contain_text(LOST, timeout=BACK_MS)
        linux.virsh("suspend")
    expect(badge(page, "s-paused")).to_be_visible(timeout=BACK_MS)
    expect(bar).to_be_hidden(timeout=BACK_MS)
    linux.virsh("resume")
    expect(badge(page, "s-running")).to_be_visible(timeout=BACK_MS)
    assert_not_reloaded(page)
    assert_console_stayed(screen, linux, "web")
    live_stack.wait_until_well()
    ada.forgive()


def test_redis_away_and_back(linux: Guest, ada: Window, live_stack: Stack) -> None:
    ada.go("/vms/")
    screen = start_and_open_console(ada, linux)
    page = opened(ada.tab("/vms/"), linux)
    bar = page.locator("#offline")
    with away(live_stack, "redis"):
        expect(bar).to_contain_text(DEAF, timeout=BACK_MS)
        linux.virsh("suspend")
    expect(badge(page, "s-paused")).to_be_visible(timeout=BACK_MS)
    expect(bar).to_be_hidden(timeout=BACK_MS)
    linux.virsh("resume")
    expect(badge(page, "s-running")).to_be_visible(timeout=BACK_MS)
    assert_not_reloaded(page)
    assert_console_stayed(screen, linux, "redis")
    live_stack.wait_until_well()
    ada.forgive()


def test_the_console_proxy_away_and_back(linux: Guest, ada: Window, live_stack: Stack) -> None:
    ada.go("/vms/")
    screen = start_and_open_console(ada, linux)
    live_stack.restart("consoleproxy")
    until(lambda: "waiting" in screen.evaluate("window.states"), 30, what="the console is away")
    expect(console(screen, "connected")).to_be_visible(timeout=BACK_MS)
    assert_takes_keys(screen, linux, "proxy")
    live_stack.wait_until_well()
    ada.forgive()


def test_signing_out_in_one_tab_ends_the_other(open_window: Opener, live_stack: Stack) -> None:
    ada = open_window(live_stack)
    ada.sign_in(*ADMINISTRATOR)
    other = ada.tab("/hosts/")
    ada.go("/")
    ada.page.bring_to_front()
    ada.page.get_by_role("button", name="Your menu").click()
    ada.page.get_by_role("button", name="Sign out").click()
    expect(ada.page.get_by_role("button", name="Sign in")).to_be_visible()
    other.bring_to_front()
    expect(other.get_by_role("button", name="Sign in")).to_be_visible(timeout=15_000)
    assert "/login/?next=/hosts/" in other.url

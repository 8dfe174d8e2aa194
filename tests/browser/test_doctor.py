"""The console doctor: every hop in order, then a guest that hangs, which it names with what to do."""

from __future__ import annotations

import os
import signal

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.window import EVENT_MS, Window, console, row
from tests.guests import Guest

pytestmark = [pytest.mark.browser, pytest.mark.stack]


def hop(page: Page, name: str, state: str) -> Locator:
    return page.locator(f".console-doctor [data-hop={name}][data-state={state}]")


def test_the_doctor_names_the_hop(ada: Window, blank: Guest) -> None:
    page = ada.page
    ada.go("/vms/")
    blank.virsh("start")
    address = row(page, blank.name).get_by_role("link", name=blank.name).get_attribute("href")
    expect(row(page, blank.name)).to_contain_text("running", timeout=EVENT_MS)
    ada.go(f"{address}console/")
    expect(console(page, "connected")).to_be_visible()
    page.get_by_role("button", name="What is wrong?").click()
    expect(page.locator(".console-doctor")).to_contain_text("Every hop is in order")
    expect(page.locator(".console-doctor li[data-state=ok]")).to_have_count(8)
    os.kill(blank.pid, signal.SIGSTOP)
    try:
        page.get_by_role("button", name="Look again").click()
        expect(hop(page, "guest", "failed")).to_contain_text("force it off", timeout=30_000)
        expect(page.locator(".console-doctor [role=status]")).to_have_text("This hop fails: “The display answers”.")
        expect(hop(page, "guest", "failed").locator("code")).to_contain_text("domcontrol")
        expect(hop(page, "machine", "ok")).to_be_visible()
    finally:
        os.kill(blank.pid, signal.SIGCONT)
    page.get_by_role("button", name="Look again").click()
    expect(page.locator(".console-doctor")).to_contain_text("Every hop is in order")

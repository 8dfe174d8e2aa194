"""Names that are programs: shown on every page that shows names, run on none."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Opener
from tests.browser.window import EVENT_MS, Window, badge, number_in
from tests.guests import Guest
from tests.stack import Stack

pytestmark = [pytest.mark.browser, pytest.mark.stack]

EVIL = "wvb-<img src=x onerror=window.hacked=1>"
WORSE = "\"'><script>window.hacked=1</script><svg onload=window.hacked=1>{{7*7}}"


@dataclass
class HostileGuest(Guest):
    """Its name is set as XML wants it; everything else goes by the UUID."""

    def xml(self) -> str:
        return super().xml().replace(self.name, escape(self.name))


@pytest.fixture
def evil() -> Iterator[Guest]:
    guest = HostileGuest(EVIL).define()
    guest.virsh("desc", "--config", "--title", "--new-desc", WORSE)
    guest.virsh("desc", "--config", "--new-desc", WORSE)
    yield guest
    guest.remove()


def assert_harmless(page: Page) -> None:
    assert page.evaluate("window.hacked") is None
    assert page.locator("img[src=x], main script, svg[onload]").count() == 0


def test_names_never_run(evil: Guest, ada: Window) -> None:
    page = ada.page
    ada.go("/vms/?q=wvb-")
    link = page.locator("tbody .main-link", has_text="onerror")
    expect(link).to_be_visible(timeout=EVENT_MS)
    assert_harmless(page)
    page.get_by_role("button", name="More").first.click()
    expect(page.locator("#row-menu")).to_contain_text(EVIL)
    assert_harmless(page)
    page.keyboard.press("Escape")
    link.click()
    expect(page.get_by_role("heading", name=EVIL)).to_be_visible()
    address = f"/vms/{number_in(page.url)}/"

    # What was asked for is told in a note, with the name.
    page.get_by_role("button", name="Start", exact=True).click()
    expect(page.locator("#toasts")).to_contain_text(EVIL)
    expect(badge(page, "s-running")).to_be_visible(timeout=20_000)
    assert_harmless(page)
    # So is what is about to be lost.
    page.get_by_role("button", name="More").click()
    page.locator("#verbs").get_by_role("button", name="Force off").click()
    expect(page.get_by_role("heading", name=f"Force off: {EVIL}?")).to_be_visible()
    assert_harmless(page)
    page.locator("#sure").get_by_role("button", name="Force off").click()
    expect(badge(page, "s-shutoff")).to_be_visible(timeout=20_000)

    page.keyboard.press("Control+k")
    page.keyboard.type("onerror")
    expect(page.locator("#palette-list [role=option]", has_text=EVIL).first).to_be_visible()
    assert_harmless(page)
    page.keyboard.press("Escape")

    for part in ("", "hardware/", "history/", "xml/", "edit/", "rename/", "console/", "console/window/"):
        ada.go(address + part)
        assert_harmless(page)
    consoles = f"/vms/consoles/?ids={number_in(address)}"
    for path in ("/", "/operations/", "/hosts/1/machines/?q=wvb-", "/hosts/1/log/", consoles):
        ada.go(path)
        expect(page.get_by_text("onerror").first).to_be_visible()
        assert_harmless(page)
    ada.go(f"/vms/?q={EVIL}")
    assert_harmless(page)


def test_the_name_of_a_host_and_of_a_token_never_run(open_as_ada: Opener, live_stack: Stack) -> None:
    window = open_as_ada(live_stack)
    page = window.page
    window.go("/hosts/add/")
    page.get_by_label("Name", exact=True).fill(WORSE)
    page.get_by_role("radio", name="SSH").check()
    page.get_by_label("Host name or IP address").fill(WORSE)
    page.get_by_role("button", name="Add and try it").click()
    expect(page.get_by_label("Host name or IP address")).to_have_value(WORSE)
    assert_harmless(page)
    window.forgive("status of 400")
    window.go("/me/")
    page.get_by_label("Name", exact=True).fill(WORSE)
    page.get_by_role("button", name="Make a token").click()
    expect(page.get_by_text("<script>").first).to_be_visible()
    assert_harmless(page)

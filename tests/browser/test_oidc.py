"""Signing in through a provider, as people do it: with a browser's rules about forms and cookies."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Opener
from tests.browser.test_pages import LOOKS, assert_accessible, assert_fits, look
from tests.browser.window import Window
from tests.provider import Provider
from tests.stack import Stack

pytestmark = [pytest.mark.browser, pytest.mark.stack]

GROUP = 2
"""One of those that tests/seed.py makes."""


def assert_looks_well(window: Window) -> None:
    for size, scheme in LOOKS:
        look(window, size, scheme)
        assert_fits(window.page)
        assert_accessible(window.page)
    look(window, *LOOKS[0])


def goes_through_acme(page: Page) -> None:
    page.get_by_role("button", name="Sign in with Acme").click()


def test_by_the_button_and_back_to_where_one_was_going(
    open_as_ada: Opener, open_window: Opener, full_stack: Stack, acme: Provider
) -> None:
    ada, eve = open_as_ada(full_stack), open_window(full_stack)
    ada.go(f"/people/groups/{GROUP}/")
    ada.page.get_by_label("Also everybody whom the directory has in:").fill("staff\nadmins")
    ada.page.locator("#directory").get_by_role("button", name="Save").click()
    expect(ada.page.get_by_label("Also everybody whom the directory has in:")).to_have_value("staff\nadmins")
    assert_looks_well(ada)

    acme.who = {"sub": "0-eve", "preferred_username": "eve", "groups": ["staff"]}
    eve.go("/me/#sessions")
    assert_looks_well(eve)
    goes_through_acme(eve.page)
    expect(eve.page.get_by_role("heading", name="eve")).to_be_visible()
    expect(eve.page).to_have_url(f"{full_stack.url}/me/")
    assert_looks_well(eve)

    ada.go(f"/people/groups/{GROUP}/")
    expect(ada.page.locator(".members")).to_contain_text("eve")
    ada.go("/people/")
    ada.page.get_by_role("link", name="eve", exact=True).click()
    expect(ada.page.locator("#origin")).to_contain_text(acme.issuer)
    assert_looks_well(ada)

    eve.page.get_by_role("button", name="Your menu").click()
    eve.page.locator("#me-menu").get_by_role("button", name="Sign out").click()
    acme.who = {"sub": "1-ada", "preferred_username": "ADA"}
    goes_through_acme(eve.page)
    expect(eve.page.get_by_text("The name ada belongs to another account here")).to_be_visible()
    assert_looks_well(eve)
    acme.who = {"sub": "0-eve", "preferred_username": "eve"}
    goes_through_acme(eve.page)
    expect(eve.page.get_by_role("navigation", name="Main")).to_be_visible()
    ada.go(f"/people/groups/{GROUP}/")
    expect(ada.page.locator(".members")).not_to_contain_text("eve")
    # Going there is what was asked for.
    eve.forgive(f"asked another server: {acme.issuer}/authorize")

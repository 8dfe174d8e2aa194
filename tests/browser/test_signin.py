"""Signing in as people do it: a passkey of Chromium's own making, recovery codes, and a session that is ended."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.seeded import run
from tests.browser.test_pages import LOOKS, assert_accessible, assert_fits, look
from tests.browser.window import Window, new_window
from tests.stack import Stack

pytestmark = [pytest.mark.browser, pytest.mark.stack]

PAT = ("pat", "eleven green apples")
ADD_PAT = f"from webvirt.services.people import create; create(*{PAT})"
ENDED_MS = 2_000
"""The longest that a page may stay open whose session was ended."""


@pytest.fixture
def windows(chromium: Browser, full_stack: Stack) -> Iterator[list[Window]]:
    """Two browsers at the installation's name: passkeys are for names, not for addresses."""
    run(full_stack, ADD_PAT)
    found = [new_window(chromium, f"http://localhost:{full_stack.port}") for _ in range(2)]
    yield found
    for window in found:
        window.context.close()


def give_authenticator(page: Page) -> None:
    """What a laptop with a fingerprint reader has; whoever asks for the finger gets it."""
    session = page.context.new_cdp_session(page)
    session.send("WebAuthn.enable")
    options = {
        "protocol": "ctap2",
        "transport": "internal",
        "hasResidentKey": True,
        "hasUserVerification": True,
        "isUserVerified": True,
        "automaticPresenceSimulation": True,
    }
    session.send("WebAuthn.addVirtualAuthenticator", {"options": options})


def is_in(page: Page) -> None:
    expect(page.get_by_role("navigation", name="Main")).to_be_visible()


def sign_out(window: Window) -> None:
    window.page.get_by_role("button", name="Your menu").click()
    window.page.locator("#me-menu").get_by_role("button", name="Sign out").click()
    expect(window.page.get_by_role("heading", name="Sign in")).to_be_visible()


def give_password(window: Window) -> None:
    window.go("/login/")
    window.page.get_by_label("Name").fill(PAT[0])
    window.page.get_by_label("Password").fill(PAT[1])
    window.page.get_by_role("button", name="Sign in", exact=True).click()


def assert_looks_well(window: Window) -> None:
    for size, scheme in LOOKS:
        look(window, size, scheme)
        assert_fits(window.page)
        assert_accessible(window.page)
    look(window, *LOOKS[0])


def adds_a_passkey(window: Window) -> list[str]:
    """The recovery codes that came with it."""
    window.go("/me/factors/add/")
    assert_looks_well(window)
    window.page.get_by_label("What to call it").fill("laptop")
    window.page.get_by_role("button", name="Add a passkey").click()
    codes = window.page.locator(".recovery code")
    expect(codes).to_have_count(10)
    assert_looks_well(window)
    with window.page.expect_download() as download:
        window.page.get_by_role("link", name="Download").click()
    found = [text.replace(" ", "") for text in codes.all_inner_texts()]
    assert all(code in download.value.path().read_text() for code in found)
    window.page.get_by_role("link", name="I have kept them").click()
    expect(window.page.get_by_role("row", name=re.compile("laptop"))).to_contain_text("signs in alone")
    return found


def test_passkeys_recovery_codes_and_a_session_that_is_ended(windows: list[Window]) -> None:
    pat, elsewhere = windows
    give_authenticator(pat.page)
    give_password(pat)
    is_in(pat.page)
    codes = adds_a_passkey(pat)

    sign_out(pat)
    pat.page.get_by_role("button", name="Use a passkey").click()
    is_in(pat.page)

    sign_out(pat)
    give_password(pat)
    expect(pat.page.get_by_role("heading", name="Second factor")).to_be_visible()
    assert_looks_well(pat)
    pat.page.get_by_role("button", name="Use a passkey").click()
    is_in(pat.page)

    give_password(elsewhere)
    elsewhere.page.get_by_label("Code of your app").fill(codes[0])
    elsewhere.page.get_by_role("button", name="Go on").click()
    is_in(elsewhere.page)
    pat.go("/me/")
    expect(pat.page.locator("#factors")).to_contain_text("9")
    pat.page.get_by_role("button", name="Sign out all others").click()
    expect(elsewhere.page.get_by_role("heading", name="Sign in")).to_be_visible(timeout=ENDED_MS)
    is_in(pat.page)
    assert [window.complaints for window in windows if window.complaints] == []

"""All the way by keyboard, and the looks that people choose for themselves."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Opener
from tests.browser.window import Window
from tests.stack import Stack

pytestmark = [pytest.mark.browser, pytest.mark.stack]


@pytest.fixture
def window(open_as_ada: Opener, full_stack: Stack) -> Window:
    return open_as_ada(full_stack)


def background(page: Page) -> int:
    """How bright the page is, from 0 to 255."""
    colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
    parts = [int(part) for part in re.findall(r"\d+", colour)[:3]]
    return sum(parts) // 3


def test_the_palette_finds_a_machine_and_goes_there(window: Window) -> None:
    window.go("/")
    window.page.keyboard.press("Control+k")
    expect(window.page.get_by_role("combobox")).to_be_focused()
    window.page.keyboard.type("app-serv")
    expect(window.page.get_by_role("option", name="app-server").first).to_have_attribute("aria-selected", "true")
    window.page.keyboard.press("Enter")
    expect(window.page.get_by_role("heading", name="app-server")).to_be_visible()


def test_the_palette_offers_verbs(window: Window) -> None:
    window.go("/vms/5/")
    window.page.keyboard.press("Control+k")
    window.page.keyboard.type("shut")
    expect(window.page.get_by_role("option", name="Shut down").first).to_be_visible()
    window.page.keyboard.press("Escape")
    expect(window.page.get_by_role("combobox")).to_be_hidden()


def test_g_and_a_letter_goes_places(window: Window) -> None:
    window.go("/")
    for letter, path in (
        ("v", "/vms/"),
        ("h", "/hosts/"),
        ("i", "/images/"),
        ("l", "/operations/"),
        ("p", "/people/"),
        ("o", "/"),
    ):
        window.page.keyboard.press("g")
        window.page.keyboard.press(letter)
        window.page.wait_for_url(window.url + path)


def test_rows_by_keys(window: Window) -> None:
    window.go("/vms/")
    names = window.page.locator("tbody .main-link").all_text_contents()
    here = window.page.locator("tr.here")
    for key, at in (("j", 0), ("j", 1), ("j", 2), ("k", 1)):
        window.page.keyboard.press(key)
        expect(here.locator(".main-link")).to_have_text(names[at])
        expect(here.locator(".main-link")).to_be_focused()
    window.page.keyboard.press("x")
    expect(here.get_by_role("checkbox")).to_be_checked()
    expect(window.page.get_by_role("toolbar")).to_be_visible()
    window.page.keyboard.press(".")
    expect(window.page.locator("#row-menu")).to_be_visible()
    window.page.keyboard.press("Escape")
    expect(window.page.locator("#row-menu")).to_be_hidden()
    for key in ("j", "k", "Enter"):
        window.page.keyboard.press(key)
    expect(window.page.get_by_role("heading", name=names[1])).to_be_visible()


def test_the_list_of_keys(window: Window) -> None:
    window.go("/")
    window.page.keyboard.press("?")
    expect(window.page.get_by_role("dialog", name="Keys")).to_be_visible()
    window.page.keyboard.press("Escape")
    expect(window.page.get_by_role("dialog", name="Keys")).to_be_hidden()


def test_the_first_tab_skips_to_the_content(window: Window) -> None:
    window.go("/vms/")
    window.page.keyboard.press("Tab")
    expect(window.page.get_by_role("link", name="Skip to the content")).to_be_focused()
    window.page.keyboard.press("Enter")
    expect(window.page.locator("#main")).to_be_focused()


def test_the_look_follows_the_system_until_one_chooses(open_as_ada: Opener, full_stack: Stack) -> None:
    window = open_as_ada(full_stack, color_scheme="dark")
    window.go("/me/")
    assert background(window.page) < 60
    try:
        for choice, is_dark in (("Light", False), ("Dark", True), ("As the system", True)):
            window.page.get_by_label(choice).check()
            window.page.get_by_role("button", name="Save").click()
            window.page.wait_for_load_state()
            assert (background(window.page) < 60) is is_dark, choice
    finally:
        window.go("/me/")
        window.page.get_by_label("As the system").check()
        window.page.get_by_role("button", name="Save").click()


def test_filters_are_in_the_address(window: Window) -> None:
    window.go("/vms/")
    window.page.get_by_role("searchbox", name="Search").fill("app-server")
    window.page.wait_for_url(re.compile(r"\?q=app-server"))
    expect(window.page.locator("tbody .main-link")).to_have_count(1)
    window.page.reload()
    expect(window.page.locator("tbody .main-link")).to_have_count(1)
    expect(window.page.get_by_role("searchbox", name="Search")).to_have_value("app-server")

"""Every page, wide and on a phone, light and dark: nothing sticks out, nothing complains, everybody can use it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page

from tests.browser.conftest import Opener
from tests.browser.seeded import ADMINISTRATOR, PAGES
from tests.browser.window import PHONE, WIDE, Window, new_window
from tests.stack import Stack

pytestmark = [pytest.mark.browser, pytest.mark.stack]

LOOKS: list[tuple[tuple[int, int], Literal["light", "dark"]]] = [(WIDE, "light"), (PHONE, "dark")]
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"], "resultTypes": ["violations"]}
STICKING_OUT = """() => {
    const clips = (one) => getComputedStyle(one).overflowX !== "visible" || one.matches("dialog, [popover]");
    const clipped = (one) => {
        for (let up = one.parentElement; up && up !== document.body; up = up.parentElement) if (clips(up)) return true;
        return false;
    };
    const words = [];
    for (const one of document.body.querySelectorAll("*")) {
        const box = one.getBoundingClientRect();
        const out = box.width && box.height && box.right > innerWidth + 1 && !clipped(one);
        if (out) words.push(`${one.tagName}.${one.getAttribute("class")} reaches to ${box.right}`);
    }
    const width = document.documentElement.scrollWidth;
    if (width > innerWidth) words.push(`the page is ${width} wide`);
    return words;
}"""


def look(window: Window, size: tuple[int, int], scheme: Literal["light", "dark"]) -> None:
    window.page.set_viewport_size({"width": size[0], "height": size[1]})
    window.page.emulate_media(color_scheme=scheme)


def assert_fits(page: Page) -> None:
    """Nothing is wider than the window but what scrolls inside itself."""
    assert page.evaluate(STICKING_OUT) == []


def assert_accessible(page: Page) -> None:
    """What WCAG 2.1 AA wants and a machine can see: names of all controls, contrast, roles."""
    found = Axe().run(page, options=RULES).response["violations"]
    words = [f"{one['id']}: {node['html'][:200]}: {node['failureSummary']}" for one in found for node in one["nodes"]]
    assert not words, "\n".join(words)


@pytest.fixture(scope="module")
def adas_window(chromium: Browser, full_stack: Stack) -> Iterator[Window]:
    """One window for all pages: opening one costs more than most pages do."""
    window = new_window(chromium, full_stack.url)
    window.sign_in(*ADMINISTRATOR)
    yield window
    window.context.close()


@pytest.mark.parametrize(("number", "path"), list(enumerate(PAGES)))
def test_page(adas_window: Window, number: int, path: str) -> None:
    window = adas_window
    window.complaints.clear()
    answer = window.page.goto(window.url + path)
    assert answer
    assert answer.status == 200
    # The thorough look takes a second, so each page gets it once, in turn wide and light or small and dark.
    for at, (size, scheme) in enumerate(LOOKS):
        look(window, size, scheme)
        assert_fits(window.page)
        if at == number % len(LOOKS):
            assert_accessible(window.page)
    assert window.complaints == []


@pytest.mark.parametrize("path", ["/login/", "/link/x/", "/vms/999999/", "/nothing/here/"])
def test_page_for_strangers(open_window: Opener, full_stack: Stack, path: str) -> None:
    window = open_window(full_stack)
    for size, scheme in LOOKS:
        look(window, size, scheme)
        window.go(path)
        assert_fits(window.page)
        assert_accessible(window.page)
    # A browser calls a page that is not there an error; here it is what was asked for.
    window.forgive("status of 404")

"""One person's browser: an own session, its tabs, and everything that it complained about."""

from __future__ import annotations

import re
import shutil
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Error, Locator, Page, Request, WebError, expect

CHROMIUM = shutil.which("chromium-headless-shell") or "chromium-headless-shell, which is not installed"
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
WIDE = (1440, 900)
PHONE = (390, 844)
INLINE = ("data:", "blob:", "about:")
EVENT_MS = 20_000
"""The longest that something libvirt announces may take to the screen; the usual is a tenth of a second."""


@dataclass
class Window:
    """`page` is the first tab. Everything that a browser's own console would show in red is in `complaints`."""

    context: BrowserContext
    url: str
    page: Page
    complaints: list[str] = field(default_factory=list)

    def listen(self) -> None:
        self.context.on("console", self._hear)
        self.context.on("weberror", self._broke)
        self.context.on("request", self._asked)

    def _hear(self, message: ConsoleMessage) -> None:
        # A page that is left while one of its sockets opens says so, and harms nobody.
        left = "closed before the connection is established" in message.text
        if message.type in ("error", "warning") and not left:
            self.complaints.append(f"{message.location.get('url', '')}: {message.text}")

    def _broke(self, error: WebError) -> None:
        self.complaints.append(f"{error.page.url if error.page else ''}: {error.error}")

    def _asked(self, request: Request) -> None:
        origin = "{0.scheme}://{0.netloc}".format(urlsplit(request.url.replace("ws:", "http:", 1)))
        if origin != self.url and not request.url.startswith(INLINE):
            self.complaints.append(f"asked another server: {request.url}")

    def tab(self, path: str = "") -> Page:
        """Another tab of the same session."""
        page = self.context.new_page()
        if path:
            page.goto(self.url + path)
        return page

    def go(self, path: str) -> None:
        self.page.goto(self.url + path)

    def sign_in(self, name: str, password: str) -> None:
        self.go("/login/")
        self.page.get_by_label("Name").fill(name)
        self.page.get_by_label("Password").fill(password)
        self.page.get_by_role("button", name="Sign in", exact=True).click()
        expect(self.page.get_by_role("navigation", name="Main")).to_be_visible()

    def forgive(self, words: str = "") -> None:
        """Forget complaints that were to be expected: those with these words, or all."""
        self.complaints = [line for line in self.complaints if words not in line]

    def picture(self, path: Path) -> None:
        """What the first tab shows, for a test that failed."""
        with suppress(Error):
            self.page.screenshot(path=path)


def new_window(browser: Browser, url: str, **options: object) -> Window:
    """A window with an own session; `options` are those of a browser context."""
    size = {"width": WIDE[0], "height": WIDE[1]}
    settings: dict[str, object] = {"viewport": size, "locale": "en-GB", "reduced_motion": "reduce"}
    context = browser.new_context(**(settings | options))  # type: ignore[arg-type]
    context.set_default_timeout(20_000)
    window = Window(context, url, context.new_page())
    window.listen()
    return window


# --- what pages show


def badge(page: Page, status: str) -> Locator:
    """The state in the head of a machine's or host's page, when it is this one."""
    return page.locator(f"#header .state.{status}")


def row(page: Page, name: str) -> Locator:
    """The line of a list that is about this."""
    return page.locator("tr", has=page.get_by_role("link", name=name, exact=True))


def mark(page: Page) -> None:
    """Leave a mark that a reload would wipe out."""
    page.evaluate("window.notReloaded = true")


def assert_not_reloaded(page: Page) -> None:
    assert page.evaluate("window.notReloaded === true"), "the page was loaded anew"


# --- the console

SHIFTED = {"$": "Digit4", "(": "Digit9", ")": "Digit0", "+": "Equal", ">": "Period", "|": "Backslash"}
PLAIN = {" ": "Space", "-": "Minus", "/": "Slash", ";": "Semicolon", "\n": "Enter"}


def console(page: Page, state: str) -> Locator:
    """The console, when it is in this state: asking, connected, waiting or ended."""
    return page.locator(f"#console[data-state={state}]")


def type_keys(page: Page, text: str) -> None:
    """Press the keys of an American keyboard, as a guest that reads scan codes wants them."""
    for letter in text:
        if letter in SHIFTED or letter.isupper():
            page.keyboard.press(f"Shift+{SHIFTED.get(letter) or f'Key{letter}'}")
        elif letter.isdigit():
            page.keyboard.press(f"Digit{letter}")
        else:
            page.keyboard.press(PLAIN.get(letter) or f"Key{letter.upper()}")


def lit_pixels(page: Page) -> int:
    """How many pixels of the guest's screen are not as dark as most of a text screen."""
    count = page.evaluate(
        """() => {
            const canvas = document.querySelector("#console canvas");
            if (!canvas || !canvas.width) return 0;
            // Read from a copy: Chromium complains of a canvas that is drawn on and read in turns.
            const own = new OffscreenCanvas(canvas.width, canvas.height);
            const copy = own.getContext("2d", { willReadFrequently: true });
            copy.drawImage(canvas, 0, 0);
            const data = copy.getImageData(0, 0, canvas.width, canvas.height).data;
            let lit = 0;
            for (let at = 0; at < data.length; at += 4) if (data[at] + data[at + 1] + data[at + 2] > 300) lit++;
            return lit;
        }"""
    )
    return int(count)


def number_in(address: str) -> int:
    """The object's number in a page's address."""
    found = re.search(r"/(\d+)/", address)
    assert found, f"no number in {address}"
    return int(found[1])

"""Makes the pictures of docs/: `python -m tests.browser.screenshots [folder]`.

On an installation of its own, filled by tests/seed.py; one guest really runs, so that its console has a picture.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.browser.conftest import says
from tests.browser.seeded import ADMINISTRATOR, seeded_stack
from tests.browser.window import ARGUMENTS, CHROMIUM, PHONE, WIDE, console, lit_pixels, new_window, type_keys
from tests.guests import Guest
from tests.lab.lab import tiny_guest
from tests.stack import PROJECT, Stack
from tests.until import until

# The machine that tests/seed.py makes so that a page has everything, on the host that is this machine.
MACHINE = 5
UUID = f"00000000-0000-4000-8000-{MACHINE - 1:012d}"
LOOKS: dict[str, tuple[tuple[int, int], Literal["light", "dark"]]] = {
    "": (WIDE, "light"),
    "-dark": (WIDE, "dark"),
    "-phone": (PHONE, "light"),
}
CONNECT_MS = 20_000
COMMAND = "uname -srm; free; mount | head -n 4\n"


def open_console(page: Page) -> None:
    expect(console(page, "connected")).to_be_visible(timeout=CONNECT_MS)
    until(lambda: lit_pixels(page) > 1000, 20, what="text on the guest's screen")


def open_palette(page: Page) -> None:
    page.keyboard.press("Control+k")
    page.keyboard.type("app")
    expect(page.get_by_role("option", name="app-server").first).to_be_visible()


def tick_some(page: Page) -> None:
    for number in (2, 3, 5):
        page.locator('input[name="ids"]').nth(number).check()


def look_only(page: Page) -> None:
    """The page as it opens."""


PICTURES: dict[str, tuple[str, Callable[[Page], None]]] = {
    "overview": ("/", look_only),
    "machines": ("/vms/", look_only),
    "ticked": ("/vms/?state=running", tick_some),
    "machine": (f"/vms/{MACHINE}/", look_only),
    "hardware": (f"/vms/{MACHINE}/hardware/", look_only),
    "console": (f"/vms/{MACHINE}/console/", open_console),
    "host": ("/hosts/1/", look_only),
    "storage": ("/pools/", look_only),
    "pool": ("/pools/1/", look_only),
    "images": ("/images/", look_only),
    "network": ("/networks/1/", look_only),
    "drawing": ("/networks/drawing/?host=1", look_only),
    "operations": ("/operations/", look_only),
    "palette": ("/vms/", open_palette),
}


@contextmanager
def machine_at_work() -> Iterator[None]:
    """A small Linux that runs in the place of the seeded machine."""
    guest = Guest(
        "wvb-pictures", guest=tiny_guest(), uuid=UUID, memory=96, serial_log=Path("/var/tmp/wvb-pictures.log")
    )
    assert guest.serial_log
    try:
        guest.define().virsh("start")
        says(guest, "guest is up")
        yield
    finally:
        guest.remove()
        guest.serial_log.unlink(missing_ok=True)


def take(browser: Browser, stack: Stack, folder: Path) -> None:
    session = None
    for suffix, (size, scheme) in LOOKS.items():
        window = new_window(
            browser,
            stack.url,
            viewport={"width": size[0], "height": size[1]},
            color_scheme=scheme,
            storage_state=session,
            is_mobile=size == PHONE,
            has_touch=size == PHONE,
        )
        if session is None:
            window.sign_in(*ADMINISTRATOR)
            session = window.context.storage_state()
            window.go(f"/vms/{MACHINE}/console/")
            open_console(window.page)
            type_keys(window.page, COMMAND)
        for name, (path, prepare) in PICTURES.items():
            window.go(path)
            prepare(window.page)
            window.page.wait_for_load_state("networkidle")
            window.page.screenshot(animations="disabled", path=folder / f"{name}{suffix}.png")
        window.context.close()


def main() -> None:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else PROJECT / "docs")
    folder.mkdir(parents=True, exist_ok=True)
    with seeded_stack() as stack, machine_at_work(), sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=ARGUMENTS, ignore_default_args=["--hide-scrollbars"]
        )
        take(browser, stack, folder)


if __name__ == "__main__":
    main()

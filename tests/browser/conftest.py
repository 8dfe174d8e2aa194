"""Chromium, the windows that people open in it, and an installation for them to look at."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from playwright.sync_api import Browser, StorageState, expect, sync_playwright

from tests.browser.seeded import ADD_ADMINISTRATOR, ADMINISTRATOR, run, seeded_stack
from tests.browser.window import ARGUMENTS, CHROMIUM, Window, new_window
from tests.guests import Guest
from tests.lab.lab import tiny_guest
from tests.provider import Provider, running_provider
from tests.stack import Stack, running_stack
from tests.until import until

Opener = Callable[..., Window]
# Where nothing is said of how soon, it is not what is asked.
expect.set_options(timeout=15_000)


# For this folder alone: while Playwright is there, no other event loop runs in this thread.
@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Tell the fixtures whether their test failed."""
    report = yield
    if call.when == "call":
        item.stash[FAILED] = report.failed
    return report


FAILED: pytest.StashKey[bool] = pytest.StashKey()


@pytest.fixture
def open_window(chromium: Browser, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opener]:
    """Opens windows, each with a session of its own; they are closed, and must not have complained."""
    windows: list[Window] = []

    def open_one(stack: Stack, **options: object) -> Window:
        windows.append(new_window(chromium, stack.url, **options))
        return windows[-1]

    yield open_one
    failed = request.node.stash.get(FAILED, True)
    for number, window in enumerate(windows):
        if failed:
            path = tmp_path / f"window-{number}.png"
            window.picture(path)
            print(f"{window.page.url} looks like {path}; it complained of {window.complaints}")
        window.context.close()
    if not failed:
        assert [window.complaints for window in windows if window.complaints] == []


@pytest.fixture(scope="package")
def live_stack() -> Iterator[Stack]:
    """An installation with an administrator and this machine as its host."""
    with running_stack({"WEBVIRT_FETCH_FROM": "127.0.0.0/8"}) as stack:
        run(stack, ADD_ADMINISTRATOR)
        stack.manage("addlocalhost")
        yield stack


@pytest.fixture(scope="package")
def acme(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provider]:
    """The provider of OpenID Connect of `full_stack`."""
    with running_provider(tmp_path_factory.mktemp("acme")) as provider:
        yield provider


@pytest.fixture(scope="package")
def full_stack(acme: Provider) -> Iterator[Stack]:
    """An installation with an administrator, hosts, machines and operations that are rows and nothing else."""
    with seeded_stack(settings=acme.settings()) as stack:
        yield stack


@pytest.fixture(scope="package")
def sessions() -> dict[str, StorageState]:
    """The administrator's session on each stack, so that signing in is paid for once."""
    return {}


@pytest.fixture
def open_as_ada(open_window: Opener, sessions: dict[str, StorageState]) -> Opener:
    """Opens windows of the administrator."""

    def open_signed_in(stack: Stack, **options: object) -> Window:
        if stack.url in sessions:
            return open_window(stack, storage_state=sessions[stack.url], **options)
        window = open_window(stack, **options)
        window.sign_in(*ADMINISTRATOR)
        sessions[stack.url] = window.context.storage_state()
        return window

    return open_signed_in


@pytest.fixture
def ada(open_as_ada: Opener, live_stack: Stack) -> Window:
    """The administrator's window on what really happens."""
    return open_as_ada(live_stack)


@pytest.fixture
def blank() -> Iterator[Guest]:
    """A machine with nothing to boot, shut off."""
    guest = Guest(f"wvb-blank-{uuid4().hex[:4]}").define()
    yield guest
    guest.remove()


@pytest.fixture
def linux() -> Iterator[Guest]:
    """A small Linux, shut off and not known to libvirt yet, whose serial port is written to a file."""
    name = f"wvb-linux-{uuid4().hex[:4]}"
    guest = Guest(name, guest=tiny_guest(), serial_log=Path(f"/var/tmp/{name}.log"), memory=96)
    yield guest
    guest.remove()
    assert guest.serial_log
    guest.serial_log.unlink(missing_ok=True)


def serial(guest: Guest) -> str:
    """What the guest has said on its serial port."""
    assert guest.serial_log
    return guest.serial_log.read_text(errors="replace") if guest.serial_log.exists() else ""


def says(guest: Guest, text: str, times: int = 1, seconds: float = 60) -> None:
    """Wait until the guest has said this on its serial port."""
    until(lambda: serial(guest).count(text) >= times, seconds, what=f"{text!r} on the serial port of {guest.name}")

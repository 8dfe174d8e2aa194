"""The first day of an installation, from nothing to a guest that was started, used, shared and shut down."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Opener, says, serial
from tests.browser.seeded import ADMINISTRATOR
from tests.browser.window import (
    EVENT_MS,
    Window,
    assert_not_reloaded,
    badge,
    console,
    lit_pixels,
    mark,
    number_in,
    row,
    type_keys,
)
from tests.guests import Guest
from tests.stack import Stack, running_stack
from tests.until import until

pytestmark = [pytest.mark.browser, pytest.mark.stack, pytest.mark.slow]

WATCHER = ("wilma", "staple battery horse")


@pytest.fixture
def empty_stack() -> Iterator[Stack]:
    """An installation as it is right after its first start."""
    with running_stack() as stack:
        yield stack


def test_the_first_day(empty_stack: Stack, linux: Guest, open_window: Opener) -> None:
    empty_stack.manage("addlocalhost")
    link = empty_stack.manage("setuplink").strip()
    ada, wilma = open_window(empty_stack), open_window(empty_stack)

    becomes_administrator(ada, link)
    sees_the_host_come_up(ada)
    sees_a_machine_appear(ada, linux)
    starts_it(ada, linux)
    reads_and_types_on_its_console(ada, linux)
    presses_ctrl_alt_del(ada, linux)
    lets_somebody_watch(ada, wilma, linux)
    only_watches_herself(ada, linux)
    shuts_it_down(ada, wilma, linux)
    finds_all_of_it_among_the_operations(ada, linux)
    the_link_is_spent(wilma, link)


def becomes_administrator(ada: Window, link: str) -> None:
    name, password = ADMINISTRATOR
    ada.page.goto(link)
    ada.page.get_by_label("Name to sign in with").fill(name)
    ada.page.get_by_label("Password").fill(password)
    ada.page.get_by_label("The same again").fill(password)
    ada.page.get_by_role("button", name="Begin").click()
    expect(ada.page.get_by_role("navigation", name="Main")).to_be_visible()


def sees_the_host_come_up(ada: Window) -> None:
    ada.go("/hosts/")
    expect(ada.page.locator("#hosts .state.h-up")).to_have_text("up", timeout=20_000)


def sees_a_machine_appear(ada: Window, linux: Guest) -> None:
    ada.go("/vms/")
    mark(ada.page)
    expect(row(ada.page, linux.name)).to_have_count(0)
    linux.define()
    expect(row(ada.page, linux.name).locator(".state.s-shutoff")).to_be_visible(timeout=EVENT_MS)
    assert_not_reloaded(ada.page)


def starts_it(ada: Window, linux: Guest) -> None:
    row(ada.page, linux.name).get_by_role("link", name=linux.name).click()
    expect(badge(ada.page, "s-shutoff")).to_have_text("shut off")
    mark(ada.page)
    ada.page.get_by_role("button", name="Start", exact=True).click()
    expect(badge(ada.page, "s-running")).to_have_text("running", timeout=20_000)
    assert_not_reloaded(ada.page)
    assert linux.state == "running"


def reads_and_types_on_its_console(ada: Window, linux: Guest) -> None:
    ada.page.locator("#header").get_by_role("link", name="Console").click()
    expect(console(ada.page, "connected")).to_be_visible()
    says(linux, "guest is up")
    until(lambda: lit_pixels(ada.page) > 1000, 20, what="text on the guest's screen")
    type_keys(ada.page, "echo wv-$((40+2)) > /dev/ttyS0\n")
    says(linux, "wv-42", seconds=20)


def presses_ctrl_alt_del(ada: Window, linux: Guest) -> None:
    """The guest takes it for a restart, through which its console stays."""
    ada.page.get_by_role("button", name="Ctrl-Alt-Del").click()
    says(linux, "guest is up", times=2)
    expect(console(ada.page, "connected")).to_be_visible()
    ada.page.locator("#console canvas").click()
    type_keys(ada.page, "echo again-$((1+1)) > /dev/ttyS0\n")
    says(linux, "again-2", seconds=20)


def lets_somebody_watch(ada: Window, wilma: Window, linux: Guest) -> None:
    """In another tab, so that the console stays open."""
    people = ada.tab("/people/add/")
    people.get_by_label("Name to sign in with").fill(WATCHER[0])
    people.get_by_label("Password").fill(WATCHER[1])
    people.get_by_role("button", name="Add", exact=True).click()
    people.get_by_label("Give the role").select_option(label="Viewer")
    people.get_by_label("on", exact=True).select_option("domain")
    people.get_by_label("of this name").fill(linux.name)
    people.get_by_role("button", name="Give").click()
    expect(people.get_by_role("link", name=linux.name)).to_be_visible()
    people.close()

    wilma.sign_in(*WATCHER)
    wilma.go("/vms/")
    expect(row(wilma.page, linux.name).locator(".state.s-running")).to_be_visible()
    expect(wilma.page.get_by_role("button", name="Start")).to_have_count(0)
    wilma.go(f"/vms/{number_in(ada.page.url)}/console/")
    expect(console(wilma.page, "connected")).to_be_visible()
    expect(wilma.page.locator("#console .console-state")).to_have_text("Connected, view only")
    until(lambda: lit_pixels(wilma.page) > 1000, 20, what="text on the screen that is watched")
    expect(wilma.page.get_by_role("button", name="View only")).to_be_disabled()
    expect(wilma.page.get_by_role("button", name="Ctrl-Alt-Del")).to_have_count(0)
    expect(ada.page.locator("#console [data-others]")).to_contain_text(f"{WATCHER[0]} (watching)", timeout=10_000)
    wilma.page.locator("#console canvas").click()
    type_keys(wilma.page, "echo from-wilma > /dev/ttyS0\n")


def only_watches_herself(ada: Window, linux: Guest) -> None:
    """What is typed while only watching never arrives, what is typed afterwards does."""
    switch = ada.page.get_by_role("button", name="View only")
    switch.click()
    expect(ada.page.locator("#console .console-state")).to_have_text("Connected, view only")
    ada.page.locator("#console canvas").click()
    type_keys(ada.page, "echo unheard > /dev/ttyS0\n")
    switch.click()
    expect(ada.page.locator("#console .console-state")).to_have_text("Connected")
    ada.page.locator("#console canvas").click()
    type_keys(ada.page, "echo heard > /dev/ttyS0\n")
    says(linux, "heard", seconds=20)
    assert "unheard" not in serial(linux)
    assert "from-wilma" not in serial(linux)


def shuts_it_down(ada: Window, wilma: Window, linux: Guest) -> None:
    mark(ada.page)
    ada.page.get_by_role("button", name="More").click()
    ada.page.locator("#verbs").get_by_role("button", name="Shut down").click()
    expect(badge(ada.page, "s-shutoff")).to_have_text("shut off", timeout=20_000)
    for window in (ada, wilma):
        expect(console(window.page, "waiting")).to_be_visible(timeout=EVENT_MS)
        veil = window.page.locator("#console [data-veil]")
        expect(veil).to_contain_text(re.compile("is off|shut off|went away"))
        expect(veil).to_contain_text("The console comes back by itself")
    assert_not_reloaded(ada.page)
    assert linux.state == "shut off"


def finds_all_of_it_among_the_operations(ada: Window, linux: Guest) -> None:
    ada.go("/operations/")
    for verb in ("Start", "Shut down"):
        line = row(ada.page, verb)
        expect(line.locator(".c-state")).to_have_text("done")
        expect(line.locator(".c-name")).to_contain_text(linux.name)
        expect(line.locator(".c-who")).to_have_text(ADMINISTRATOR[0])
        expect(line.locator(".c-long")).to_contain_text("s")


def the_link_is_spent(wilma: Window, link: str) -> None:
    wilma.context.clear_cookies()
    wilma.page.goto(link)
    expect(wilma.page.get_by_text("This link was used already")).to_be_visible()
    expect(wilma.page.get_by_role("button", name="Sign in")).to_be_visible()
    expect(wilma.page.get_by_role("button", name="Begin")).to_have_count(0)

"""Three people at one guest's screen: who types, asks, hands over and takes; and who only watches reaches nothing."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Opener, says, serial
from tests.browser.seeded import run
from tests.browser.window import Window, console, number_in, row, type_keys
from tests.console.wsclient import strokes
from tests.guests import Guest
from tests.stack import Stack

pytestmark = [pytest.mark.browser, pytest.mark.stack]

PASSWORD = "staple battery horse"
SHARE = """
from webvirt.models import Domain, User
from webvirt.services import grants
for name, role in (("bob", "operator"), ("wilma", "viewer")):
    user = User.objects.create_user(name, password="{password}")
    grants.give(user, role, Domain.objects.get(name="{machine}"))
"""
KEPT_SOCKET = """
const send = WebSocket.prototype.send;
WebSocket.prototype.send = function (data) {
  if (this.url.includes("/console/bytes/")) window.consoleSocket = this;
  return send.call(this, data);
};
"""
FORGED = "(said) => window.consoleSocket.send(new Uint8Array(said))"
"""What a modified page would do: it says to the display whatever it likes."""


def test_three_share_a_screen(ada: Window, open_window: Opener, live_stack: Stack, linux: Guest) -> None:
    ada.go("/vms/")
    linux.define()
    linux.virsh("start")
    pk = number_in(str(row(ada.page, linux.name).get_by_role("link", name=linux.name).get_attribute("href")))
    run(live_stack, SHARE.format(password=PASSWORD, machine=linux.name))
    bob, wilma = open_window(live_stack), open_window(live_stack)
    for window in (ada, bob, wilma):
        window.context.add_init_script(KEPT_SOCKET)
    for name, window in (("bob", bob), ("wilma", wilma)):
        window.sign_in(name, PASSWORD)
    for window, words in ((ada, "Connected"), (bob, "Connected, ada types"), (wilma, "Connected, view only")):
        window.go(f"/vms/{pk}/console/")
        is_told(window, words)
    says(linux, "guest is up")
    forges(ada, "genuine")
    says(linux, "genuine", seconds=20)
    for window in (bob, wilma):
        forges(window, "stolen")
    is_handed_over(ada, bob, linux)
    forges(ada, "stolen")
    is_taken_back(ada, bob, linux)
    ends_one_of_them(ada, wilma, linux)
    assert "stolen" not in serial(linux)


def is_told(window: Window, words: str) -> None:
    expect(window.page.locator("#console .console-state")).to_have_text(words)


def forges(window: Window, word: str) -> None:
    said = b"".join(strokes(f"echo {word} >/dev/console\n"))
    window.page.evaluate(FORGED, list(said))


def types(window: Window, word: str, linux: Guest) -> None:
    window.page.locator("#console canvas").click()
    type_keys(window.page, f"echo {word} > /dev/ttyS0\n")
    says(linux, word, seconds=20)


def is_handed_over(ada: Window, bob: Window, linux: Guest) -> None:
    bob.page.get_by_role("button", name="Ask for control").click()
    question = ada.page.get_by_role("alert").filter(has_text="bob asks for control")
    question.get_by_role("button", name="Hand over").click()
    is_told(bob, "Connected")
    is_told(ada, "Connected, bob types")
    types(bob, "from-bob", linux)


def is_taken_back(ada: Window, bob: Window, linux: Guest) -> None:
    """An administrator need not ask."""
    ada.page.get_by_role("button", name="Take control").click()
    is_told(ada, "Connected")
    is_told(bob, "Connected, ada types")
    types(ada, "from-ada", linux)


def ends_one_of_them(ada: Window, wilma: Window, linux: Guest) -> None:
    people = ada.tab("/consoles/")
    lines = people.locator("tr", has=people.get_by_role("link", name=linux.name, exact=True))
    expect(lines).to_have_count(3)
    lines.filter(has_text="wilma").get_by_role("button", name="End").click()
    expect(lines).to_have_count(2)
    expect(console(wilma.page, "ended")).to_contain_text("ada ended this console")

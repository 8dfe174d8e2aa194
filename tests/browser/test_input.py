"""What a guest gets from its console: keys by their place, combinations, typed text, a phone's words, the clipboard."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.beside import Beside
from tests.browser.conftest import Opener, says, serial
from tests.browser.window import PHONE, Window, console, number_in, row, type_keys
from tests.guests import SOCKET, Guest
from tests.lab.lab import tiny_guest
from tests.stack import Stack
from tests.until import until

pytestmark = [pytest.mark.browser, pytest.mark.stack]

CHANNEL = (
    "<channel type='qemu-vdagent'><source><clipboard copypaste='yes'/><mouse mode='server'/></source>"
    "<target type='virtio' name='com.redhat.spice.0'/></channel>"
)
LINE = re.compile(r"^[0-9a-f]{7}((?: [0-9a-f]{4}){8})\r?$", re.MULTILINE)
RECORD = 12
"""Words of two bytes in one event of Linux: eight of time, its type, its code, and two of its value."""
EV_KEY = 1
ENTER, ALT = 28, 56
SECRET = "p{a}|s@s\\w0rd~`^\nSecond \"line\": <x> & 'y' = $5 #!\nthird;\n"
MORE = "z" * 400
KEYS = {
    "Ctrl+Alt+Del": [29, 56, 111],
    "Ctrl+Alt+Bksp": [29, 56, 14],
    "Ctrl+Esc": [29, 1],
    "Ctrl+Shift+Esc": [29, 42, 1],
    "Alt+Tab": [56, 15],
    "Alt+F4": [56, 62],
    "Super": [125],
    "Menu": [127],
    "Super+L": [125, 38],
    "Super+R": [125, 19],
    "PrtSc": [99],
    "Alt+PrtSc": [56, 99],
    "Pause": [119],
    "Ctrl+Break": [29, 119],
    "Num Lock": [69],
    "Caps Lock": [58],
    "Scroll Lock": [70],
    "Insert": [110],
    "Esc": [1],
    "Tab": [15],
    **{f"F{number}": [29, 56, 58 + number] for number in range(1, 11)},
    "F11": [29, 56, 87],
    "F12": [29, 56, 88],
    **{letter: [56, 99, code] for letter, code in zip("REISUB", (19, 18, 23, 31, 22, 48), strict=True)},
}
"""Linux's numbers of what each button presses."""


@pytest.fixture
def guest() -> Iterator[Guest]:
    """A small Linux with a clipboard channel and without a tablet, whose serial port is written to a file."""
    name = f"wvb-input-{uuid4().hex[:4]}"
    guest = Guest(
        name, guest=tiny_guest(), graphics=SOCKET + CHANNEL, memory=96, serial_log=Path(f"/var/tmp/{name}.log")
    )
    yield guest.define()
    guest.remove()
    assert guest.serial_log
    guest.serial_log.unlink(missing_ok=True)


def test_what_comes_to_a_guest(ada: Window, open_as_ada: Opener, live_stack: Stack, guest: Guest) -> None:
    page = ada.page
    ada.go("/vms/")
    guest.virsh("start")
    there = row(page, guest.name).get_by_role("link", name=guest.name).get_attribute("href") or ""
    page.goto(f"{ada.url}/vms/{number_in(there)}/console/")
    expect(console(page, "connected")).to_be_visible()
    says(guest, "guest is up", seconds=200)
    gets_a_tablet(page, guest)
    types_a_secret(page, guest)
    stops_in_the_middle(page, guest)
    holds_ctrl_for_one_key(page, guest)
    presses_every_combination(page, guest)
    a_phone_writes(open_as_ada(live_stack, **phone()), page, guest)
    carries_a_clipboard(page, guest)


def phone() -> dict[str, object]:
    return {"viewport": {"width": PHONE[0], "height": PHONE[1]}, "has_touch": True, "is_mobile": True}


def types(page: Page, text: str) -> None:
    """On the screen, by the keys of an American keyboard."""
    page.locator("#console canvas").click()
    type_keys(page, text)


def keys_menu(page: Page) -> Locator:
    menu = page.locator("#console details", has=page.locator("[data-combinations]"))
    if menu.get_attribute("open") is None:
        menu.locator("summary").click()
    return menu


def gets_a_tablet(page: Page, guest: Guest) -> None:
    """It is offered where there is none, and comes while the machine runs."""
    hint = page.locator("#console [data-hint]")
    expect(hint).to_contain_text("has no tablet")
    assert "<input type='tablet'" not in guest.virsh("dumpxml")
    hint.get_by_role("button", name="Add a tablet").click()
    expect(hint).to_have_count(0, timeout=90_000)
    for flags in ((), ("--inactive",)):
        assert "<input type='tablet' bus='usb'" in guest.virsh("dumpxml", *flags)


def type_dialog(page: Page) -> Locator:
    page.get_by_role("button", name="Type text").click()
    dialog = page.get_by_role("dialog", name="Type text")
    dialog.get_by_label("The guest's keyboard").select_option("us")
    return dialog


def types_a_secret(page: Page, guest: Guest) -> None:
    """Of many lines, hidden; what the keyboard has not is named before."""

    def reads() -> bool:
        types(page, "\ncat > /dev/ttyS0\nready\n")
        return "\nready\n" in serial(guest)

    until(reads, 120, every=2, what="the guest reads what is typed")
    dialog = type_dialog(page)
    dialog.get_by_label("Hide it, for passwords").check()
    # The guests of tests have few processors.
    dialog.get_by_label("Slowly").check()
    field = dialog.get_by_label("Text", exact=True)
    field.fill(SECRET + "\u00e9\u65e5")
    expect(dialog.locator("[data-lost]")).to_contain_text("\u00e9 \u65e5")
    assert field.evaluate("(field) => getComputedStyle(field).webkitTextSecurity") == "disc"
    dialog.get_by_role("button", name="Type the others").click()
    expect(dialog).to_be_hidden(timeout=150_000)
    says(guest, SECRET, seconds=90)
    page.get_by_role("button", name="Type text").click()
    expect(field).to_have_value("")
    page.keyboard.press("Escape")


def stops_in_the_middle(page: Page, guest: Guest) -> None:
    """What was typed until then is there, whole, and no more of it."""
    dialog = type_dialog(page)
    dialog.get_by_label("Hide it, for passwords").uncheck()
    field = dialog.get_by_label("Text", exact=True)
    field.fill(MORE)
    dialog.get_by_role("button", name="Type", exact=True).click()
    progress = dialog.get_by_role("progressbar")
    until(lambda: progress.evaluate("(bar) => bar.value") > 5, 60, every=0.1, what="some of it is typed")
    dialog.get_by_role("button", name="Stop").click()
    said = dialog.get_by_text("Stopped after")
    expect(said).to_be_visible()
    done = int(re.search(r"\d+", said.inner_text())[0])  # type: ignore[index]
    assert 5 < done < len(MORE)
    expect(field).to_have_value("z" * (len(MORE) - done))
    dialog.get_by_role("button", name="Cancel").click()
    types(page, "end\n")
    says(guest, f"\n{'z' * done}end", seconds=90)


def holds_ctrl_for_one_key(page: Page, guest: Guest) -> None:
    """A key is what its place says, whatever is on it here; the one after a modifier takes it along."""
    cdp = page.context.new_cdp_session(page)
    for kind in ("keyDown", "keyUp"):
        # The key that is an A in France is a Q for the guest.
        cdp.send("Input.dispatchKeyEvent", {"type": kind, "code": "KeyQ", "key": "a", "windowsVirtualKeyCode": 65})
    type_keys(page, "uite\n")
    says(guest, "\nquite", seconds=90)
    menu = keys_menu(page)
    ctrl = menu.locator("[data-hold=ControlLeft]")
    ctrl.click()
    expect(ctrl).to_have_attribute("aria-pressed", "true")
    expect(menu.locator("[data-stuck]")).to_have_text("Ctrl")
    # It ends what reads, once: a second one would end the shell.
    page.keyboard.press("KeyD")
    expect(ctrl).to_have_attribute("aria-pressed", "false")
    types(page, "echo free-$((1+1)) > /dev/ttyS0\n")
    says(guest, "free-2", seconds=90)
    for presses, down in ((2, True), (1, False)):
        for _ in range(presses):
            keys_menu(page)
            ctrl.click()
        page.locator("#console canvas").press("F5")
        expect(ctrl).to_have_attribute("aria-pressed", str(down).lower())


def presses_every_combination(page: Page, guest: Guest) -> None:
    """As the guest's kernel hears them, by Linux's numbers; what it does by some of them is switched off."""
    types(page, "cd /proc/sys/kernel\necho 0 > sysrq\necho 0 > ctrl-alt-del\n")
    types(page, "hexdump -v /dev/input/event0 > /dev/ttyS0 &\n")

    def tells() -> bool:
        types(page, "\n")
        return (ENTER, 0) in heard(guest)

    until(tells, 90, every=0.5, what="the guest tells what it hears")
    buttons = keys_menu(page).locator("[data-codes]")
    names = buttons.all_inner_texts()
    assert sorted(names) == sorted(KEYS)
    # Back to the first text console, and without locks.
    names += ["F1", "Num Lock", "Caps Lock", "Scroll Lock"]
    expected: list[tuple[int, int]] = []

    def after_enter() -> list[tuple[int, int]]:
        return [key for key in heard(guest) if key[0] != ENTER]

    def has_heard_all() -> bool:
        return len(after_enter()) >= len(expected)

    for name in names:
        keys_menu(page).locator("[data-codes]").get_by_text(name, exact=True).click()
        expected.extend([*((code, 1) for code in KEYS[name]), *((code, 0) for code in reversed(KEYS[name]))])
        # QEMU's keyboard holds few keys that the guest has yet to take, and drops those beyond.
        until(has_heard_all, 90, what=f"the guest heard {name}")
    assert after_enter() == expected
    # Some of them left half a word behind.
    types(page, "\n\nkill $!\ncat > /dev/null\n")


def heard(guest: Guest) -> list[tuple[int, int]]:
    """The keys that went down (1) and up (0) in the guest.

    Without an Alt that takes nothing along: where SysRq is switched off, the kernel itself presses it about it.
    """
    words = [int(word, 16) for line in LINE.findall(serial(guest)) for word in line.split()]
    records = [words[at : at + RECORD] for at in range(0, len(words) - RECORD + 1, RECORD)]
    keys: list[tuple[int, int]] = []
    for record in records:
        if record[8] == EV_KEY:
            keys.append((record[9], record[10]))
            if keys[-2:] == [(ALT, 1), (ALT, 0)]:
                del keys[-2:]
    return keys


def a_phone_writes(phone: Window, page: Page, guest: Guest) -> None:
    """By the keys below the screen, which they leave alone, and by its own keyboard, which mends words afterwards."""
    phone.go(f"/vms/{number_in(page.url)}/console/window/")
    expect(console(phone.page, "connected")).to_be_visible()
    fingers = phone.page.get_by_role("toolbar", name="On-screen keys")
    expect(fingers).to_be_visible()
    bottom = phone.page.locator("#console .console-stage").bounding_box()
    top = fingers.bounding_box()
    assert bottom
    assert top
    assert bottom["y"] + bottom["height"] <= top["y"]
    assert [top["width"], top["y"] + top["height"]] == [*PHONE]
    fingers.get_by_role("button", name="Ctrl", exact=True).tap()
    fingers.get_by_title("On-screen keyboard").tap()
    phone.page.keyboard.insert_text("d")
    expect(fingers.get_by_role("button", name="Ctrl", exact=True)).to_have_attribute("aria-pressed", "false")
    phone.page.keyboard.insert_text("echo 1 > sysrq; echo ")
    cdp = phone.context.new_cdp_session(phone.page)
    for text in ("w", "wr", "wro", "wrod"):
        cdp.send("Input.imeSetComposition", {"text": text, "selectionStart": len(text), "selectionEnd": len(text)})
    phone.page.keyboard.insert_text("word")
    phone.page.keyboard.insert_text(" > /dev/ttyS0")
    fingers.get_by_role("button", name="Enter").tap()
    says(guest, "\nword\n", seconds=90)
    # One types at a time, and that is the phone by now.
    page.get_by_role("button", name="Take control").click()
    expect(page.locator('#console [data-act="ctrl-alt-del"]')).to_be_enabled()
    keys_menu(page).locator("[data-codes]").get_by_text("S", exact=True).click()
    says(guest, "sysrq: Emergency Sync", seconds=90)


def carries_a_clipboard(page: Page, guest: Guest) -> None:
    """Both ways, in any script; what was copied there waits until somebody takes it."""
    there, here = (f"{uuid4().hex} \u00fc \u65e5" for _ in range(2))
    with Beside(guest) as other:
        other.copies(there)
        expect(page.locator('#console [data-act="clipboard"].news')).to_be_attached()
        page.locator('#console [data-act="clipboard"]').click()
        field = page.get_by_role("dialog", name="Clipboard of the guest").get_by_role("textbox")
        expect(field).to_have_value(there)
        field.fill(here)
        page.get_by_role("button", name="Send to the guest").click()
        assert other.pastes() == here

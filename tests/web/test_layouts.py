"""What is typed by layout: each stroke against the definitions that Linux desktops have."""

from __future__ import annotations

import ctypes
import json
import shutil
import subprocess
import unicodedata
from pathlib import Path
from typing import NamedTuple

import pytest
from django.conf import settings

MODULE = Path(settings.BASE_DIR) / "static/js/console_layouts.js"
NAMES = {"ch-fr": ("ch", "fr")}
"""Layouts that X calls otherwise: a layout and a variant."""
KEYS = (
    "Escape Digit1 Digit2 Digit3 Digit4 Digit5 Digit6 Digit7 Digit8 Digit9 Digit0 Minus Equal Backspace Tab "
    "KeyQ KeyW KeyE KeyR KeyT KeyY KeyU KeyI KeyO KeyP BracketLeft BracketRight Enter ControlLeft "
    "KeyA KeyS KeyD KeyF KeyG KeyH KeyJ KeyK KeyL Semicolon Quote Backquote ShiftLeft Backslash "
    "KeyZ KeyX KeyC KeyV KeyB KeyN KeyM Comma Period Slash"
)
EVDEV = {code: number for number, code in enumerate(KEYS.split(), 1)} | {
    "Space": 57,
    "IntlBackslash": 86,
    "IntlRo": 89,
    "AltRight": 100,
    "IntlYen": 124,
}
"""Linux's numbers of the keys."""
SIGNS = {"`": "grave", "\u00b4": "acute", "^": "circumflex", "~": "tilde", "\u00a8": "diaeresis"}
PRINTABLE = "".join(map(chr, range(32, 127)))
MORE = {
    "de": "\u00e4\u00f6\u00fc\u00df\u20ac\u00e9\u00e0\u00ea",
    "fr": "\u00e9\u00e8\u00e7\u00e0\u00f9\u00ea\u00eb\u20ac",
    "es": "\u00f1\u00e1\u00fc\u00bf",
    "pl": "\u0105\u0106\u0142",
    "jp": "\\_",
}
"""Letters beyond ASCII; in NFC."""


class Stroke(NamedTuple):
    """What keys that are pressed together make: X's name of it."""

    name: str
    character: str


class Names(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_char_p) for name in ("rules", "model", "layout", "variant", "options"))


class Keyboard:
    """A keyboard of X, by libxkbcommon."""

    def __init__(self, layout: str, variant: str = "") -> None:
        self.x = ctypes.CDLL("libxkbcommon.so.0")
        for name in ("xkb_context_new", "xkb_keymap_new_from_names", "xkb_state_new"):
            getattr(self.x, name).restype = ctypes.c_void_p
        for name in ("xkb_state_key_get_one_sym", "xkb_state_key_get_utf32"):
            getattr(self.x, name).restype = ctypes.c_uint32
        names = Names(b"evdev", b"pc105", layout.encode(), variant.encode(), b"")
        context = ctypes.c_void_p(self.x.xkb_context_new(0))
        self.keymap = ctypes.c_void_p(self.x.xkb_keymap_new_from_names(context, ctypes.byref(names), 0))
        assert self.keymap.value, layout

    def press(self, codes: list[str]) -> Stroke:
        state = ctypes.c_void_p(self.x.xkb_state_new(self.keymap))
        # X's numbers are Linux's and eight.
        *modifiers, last = (ctypes.c_uint32(EVDEV[code] + 8) for code in codes)
        for one in modifiers:
            self.x.xkb_state_update_key(state, one, 1)
        symbol = ctypes.c_uint32(self.x.xkb_state_key_get_one_sym(state, last))
        name = ctypes.create_string_buffer(64)
        self.x.xkb_keysym_get_name(symbol, name, ctypes.c_size_t(64))
        character = self.x.xkb_state_key_get_utf32(state, last)
        self.x.xkb_state_unref(state)
        return Stroke(name.value.decode(), chr(character) if character else "")


def run(script: str, tmp_path: Path) -> object:
    """What a script prints that has the module beside it."""
    shutil.copy(MODULE, tmp_path / "layouts.mjs")
    (tmp_path / "script.mjs").write_text(
        f'import * as layouts from "./layouts.mjs";\nconsole.log(JSON.stringify({script}));'
    )
    done = subprocess.run(
        ["node", str(tmp_path / "script.mjs")], capture_output=True, text=True, check=True, timeout=60
    )
    return json.loads(done.stdout)


Table = dict[str, dict[str, list[list[str]] | None]]


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Table:
    """The strokes of each character on each layout."""
    asked = {layout: PRINTABLE + MORE.get(layout, "") for layout in [*MORE, ""]}
    script = (
        "Object.fromEntries(((asked) => layouts.layouts.map(([id]) => [id, [...(asked[id] ?? asked[''])]]))"
        f"({json.dumps(asked)})"
        ".map(([id, all]) => [id, Object.fromEntries(all.map((one) => [one, layouts.strokes(one, id)]))]))"
    )
    found = run(script, tmp_path_factory.mktemp("layouts"))
    assert isinstance(found, dict)
    return found


def test_each_stroke_makes_its_character(table: Table) -> None:
    wrong = []
    for layout, characters in table.items():
        keyboard = Keyboard(*NAMES.get(layout, (layout, "")))
        for character, strokes in characters.items():
            made = [keyboard.press(codes) for codes in strokes or []]
            if not is_right(character, made):
                wrong.append((layout, character, strokes, made))
    assert wrong == []
    assert len(table) >= 18


def is_right(character: str, made: list[Stroke]) -> bool:
    """Whether strokes make a character: by one key, or by a dead one and what comes after it."""
    if len(made) == 1:
        return made[0].character == character and not made[0].name.startswith("dead_")
    return len(made) == 2 and composed(*made) == character


def composed(dead: Stroke, base: Stroke) -> str:
    sign = next((sign for sign, name in SIGNS.items() if dead.name == f"dead_{name}"), "")
    marks = dict(zip("`\u00b4^~\u00a8", "\u0300\u0301\u0302\u0303\u0308", strict=True))
    if base.name == "space":
        return sign if sign in "`^~" else "another"
    if base == dead:
        return sign
    return unicodedata.normalize("NFC", base.character + marks[sign]) if sign else ""


def test_windows_has_other_dead_keys(tmp_path: Path) -> None:
    script = '["fr", "es", "pl", "us"].map((id) => [layouts.strokes("~", id), layouts.strokes("~", id, true)])'
    for (linux, windows), has_other in zip(run(script, tmp_path), (True, True, True, False), strict=True):  # type: ignore[call-overload]
        assert len(linux) == 1
        assert windows == ([linux[0], ["Space"]] if has_other else linux)


def test_what_a_layout_has_not_and_what_is_likely(tmp_path: Path) -> None:
    assert run('[..."\u00e9\u65e5\u20ac"].map((one) => layouts.strokes(one, "us"))', tmp_path) == [None] * 3
    asked = [["de-CH", "de"], ["de-AT"], ["en-US"], ["en-GB"], ["pt-BR"], ["zh-Hans", "ja"], ["zh-Hans"], []]
    likely = run(f"{json.dumps(asked)}.map((one) => layouts.likelyLayout(one))", tmp_path)
    assert likely == ["ch", "de", "us", "gb", "br", "jp", "us", "us"]

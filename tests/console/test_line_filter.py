"""The filter of a serial line: one may type or not, and a switch between the two cuts no character."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webvirt.consoleproxy.serial import LineFilter

TEXT = "aé€𝄞z"


@given(st.binary(max_size=200), st.booleans())
def test_all_or_nothing(data: bytes, view_only: bool) -> None:
    assert LineFilter(view_only=view_only).feed(data) == (b"" if view_only else data)


@pytest.mark.parametrize("first", [True, False])
def test_no_character_is_cut_wherever_the_switch_falls(first: bool) -> None:
    data = TEXT.encode()
    for at in range(len(data) + 1):
        judge = LineFilter(view_only=first)
        passed = judge.feed(data[:at]) + judge.switch(view_only=not first)
        passed += b"".join(judge.feed(data[place : place + 1]) for place in range(at, len(data)))
        begun = sum(len(TEXT[:number].encode()) < at for number in range(len(TEXT)))
        assert passed.decode() == (TEXT[begun:] if first else TEXT[:begun])


@given(st.text(max_size=20), st.data())
def test_who_is_switched_back_within_a_character_ends_it(text: str, data: st.DataObject) -> None:
    typed = text.encode()
    at = data.draw(st.integers(0, len(typed)))
    judge = LineFilter(view_only=False)
    passed = judge.feed(typed[:at]) + judge.switch(view_only=True) + judge.switch(view_only=False)
    assert passed + judge.feed(typed[at:]) == typed


def test_whatever_is_sent_afterwards_a_character_is_all_that_is_owed() -> None:
    judge = LineFilter(view_only=False)
    judge.feed(b"\xf0\x9d")
    judge.switch(view_only=True)
    assert judge.feed(b"\x84\x9e\x84\x84rm -rf /\n\x84") == b"\x84\x9e"
    assert judge.feed(b"\x84") == b""

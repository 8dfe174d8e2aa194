"""Limits on guessing: how many tries are looked at, who shares them, and who gets past."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import pytest
from django.db import connection
from django.utils import timezone

from webvirt.models import AuditLine, Guesses
from webvirt.services import guessing
from webvirt.services.operations import NotNow

Clock = Callable[[timedelta], None]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Moves the time that the limits see."""
    now = [timezone.now()]

    def move(by: timedelta) -> None:
        now[0] += by

    def read() -> datetime:
        return now[0]

    monkeypatch.setattr(timezone, "now", read)
    return move


def tries(number: int, name: str = "ada", address: str | None = "192.0.2.1", device: str = "") -> int:
    """How many of so many are let through."""
    through = 0
    for _ in range(number):
        try:
            guessing.at_account(name, address, device)
        except NotNow:
            continue
        through += 1
    return through


def test_of_a_thousand_tries_from_200_addresses_twenty_are_looked_at_in_ten_minutes(db: None, clock: Clock) -> None:
    through = 0
    for at in range(1000):
        through += tries(1, address=f"192.0.2.{at % 200}")
        clock(timedelta(milliseconds=599))
    assert 15 <= through <= 20


def test_of_a_thousand_names_from_one_address_as_few(db: None, clock: Clock) -> None:
    through = 0
    for at in range(1000):
        through += tries(1, name=f"name-{at}")
        clock(timedelta(milliseconds=599))
    assert 15 <= through <= 20


def test_spellings_of_a_name_and_addresses_of_one_network_are_the_same(db: None, clock: Clock) -> None:
    for name in ("ada", "ADA", "Ada", "ａｄａ"):
        tries(3, name=name, address=None)
    assert tries(1, address="192.0.2.77") == 0
    assert sum(tries(1, name=f"n{at}", address=f"2001:db8::{at:x}") for at in range(30)) == guessing.AHEAD
    assert tries(1, name="other", address="2001:db8:0:1::1") == 1


def test_a_known_device_is_not_locked_out_but_has_limits_too(db: None, clock: Clock) -> None:
    assert tries(50) == guessing.AHEAD
    assert tries(50, device="d") == guessing.AHEAD
    assert tries(1, device="another") == 1
    assert tries(1, name="bob", address="192.0.2.9", device="") == 1


def test_being_right_costs_nothing(db: None, clock: Clock) -> None:
    for _ in range(50):
        guessing.at_account("ada", "192.0.2.1").was_right()
    assert tries(50) == guessing.AHEAD


def test_a_try_comes_back_each_minute_and_what_is_past_is_forgotten(db: None, clock: Clock) -> None:
    tries(50)
    clock(guessing.EACH)
    assert tries(5) == 1
    clock(guessing.TOLD)
    guessing.sweep(timezone.now() + timedelta(seconds=1))
    assert not Guesses.objects.exists()


def test_a_clock_that_is_set_back_locks_nobody_out(db: None, clock: Clock) -> None:
    tries(50)
    clock(-timedelta(days=1))
    assert tries(50) == guessing.AHEAD


def told() -> list[tuple[str, str]]:
    return list(AuditLine.objects.order_by("number").values_list("event", "name"))


def test_the_log_tells_of_a_siege_once_in_an_hour(db: None, clock: Clock) -> None:
    assert tries(guessing.AHEAD) == guessing.AHEAD
    assert told() == []
    for _ in range(50):
        tries(20)
        clock(guessing.EACH)
    assert told() == [("person.guess", "ada")]
    clock(timedelta(minutes=10))
    tries(20)
    assert told() == [("person.guess", "ada")] * 2


def test_whoever_has_many_addresses_and_names_does_not_fill_the_log(db: None, clock: Clock) -> None:
    """Each of thirty attacks is told, until there have been so many at once; then one a minute."""
    for at in range(30):
        tries(12, name=f"n{at}", address=f"192.0.2.{at}")
    assert len(told()) == guessing.AHEAD
    for _ in range(5):
        clock(guessing.EACH)
        tries(3, name="n29", address="192.0.2.29")
        tries(3, name="n28", address="192.0.2.28")
    assert len(told()) == guessing.AHEAD + 2


def test_a_row_tells_nothing_of_whom_it_is_about(db: None) -> None:
    tries(1)
    assert not any("ada" in key or "192" in key for key in Guesses.objects.values_list("key", flat=True))


def test_several_at_once_share_one_limit(transactional_db: None) -> None:
    def guess(at: int) -> int:
        try:
            return tries(1, address=f"192.0.2.{at}")
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as threads:
        assert sum(threads.map(guess, range(40))) == guessing.AHEAD
    assert told() == [("person.guess", "ada")]

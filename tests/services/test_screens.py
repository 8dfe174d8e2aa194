"""Taking screens: the one that waits longest first, none held up by another, and only what changed is told."""

from __future__ import annotations

import threading
from concurrent.futures import TimeoutError as TooLate
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image, ImageDraw

from tests.people import Cast, make_domain
from tests.until import until
from webvirt import bus
from webvirt.hypervisor.errors import Unsupported
from webvirt.hypervisor.types import Screenshot
from webvirt.models import Screen, Status
from webvirt.services.screens import OLD, packed
from webvirt.services.watcher import screens
from webvirt.services.watcher.screens import Looked, Screens


def picture(*marks: tuple[int, int, int, int]) -> bytes:
    image = Image.new("RGB", (720, 400), "black")
    for mark in marks:
        ImageDraw.Draw(image).rectangle(mark, fill="white")
    return packed(image)


BLANK, CURSOR, FULL = picture(), picture((9, 16, 17, 18)), picture((0, 0, 500, 300))


@dataclass
class Guests:
    """Screens by uuid; those in `hung` never come."""

    pictures: dict[str, bytes] = field(default_factory=dict)
    hung: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)
    end: threading.Event = field(default_factory=threading.Event)

    def screenshot(self, uuid: str) -> Screenshot:
        self.asked.append(uuid)
        if uuid in self.hung:
            self.end.wait(30)
        if uuid not in self.pictures:
            raise Unsupported("no screen")
        return Screenshot(self.pictures[uuid])


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    found: list[str] = []
    monkeypatch.setattr(bus, "announce", found.extend)
    return found


@pytest.fixture
def taking(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> Screens:
    monkeypatch.setattr(screens, "EACH_SECONDS", 0.0)
    found = Screens(cast.host, set())
    for number in range(4):
        row = make_domain(cast.host, f"m-{number}", 100 + number, status=Status.RUNNING)
        found.wanted[row.uuid] = Looked(row.pk, None, None)
    return found


def take(taking: Screens, guests: Guests, times: int = 1) -> None:
    """So many turns, each with what it began."""
    connection: Any = SimpleNamespace(domains=guests)
    for _ in range(times):
        taking.turn(connection)
        until(lambda: all(shot.future.done() for shot in taking.under_way.values()), what="the screens have come")
    taking.gather()


def others_have_come(taking: Screens, hung: str) -> bool:
    return all(shot.future.done() for uuid, shot in taking.under_way.items() if uuid != hung)


def test_each_has_its_turn(taking: Screens, told: list[str]) -> None:
    uuids = list(taking.wanted)
    guests = Guests(dict.fromkeys(uuids, BLANK))
    take(taking, guests, 8)
    assert guests.asked == uuids * 2
    assert Screen.objects.count() == 4
    assert len(told) == 4


def test_one_that_hangs_is_left_out_and_stops_no_other(
    taking: Screens, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    uuids = list(taking.wanted)
    guests = Guests(dict.fromkeys(uuids, BLANK), {uuids[0]})
    connection: Any = SimpleNamespace(domains=guests)
    for _ in range(20):
        taking.turn(connection)
        until(lambda: others_have_come(taking, uuids[0]), what="the others have come")
    assert set(guests.asked[-6:]) == set(uuids[1:])
    assert guests.asked.count(uuids[0]) == 1
    taking.under_way[uuids[0]].until = 0.0
    with pytest.raises(TooLate):
        taking.gather()
    assert taking.next_one(taking.left_out[uuids[0]].until - 1) != uuids[0]
    guests.end.set()


def test_one_without_a_screen_is_left_out(taking: Screens, told: list[str]) -> None:
    uuids = list(taking.wanted)
    guests = Guests(dict.fromkeys(uuids[1:], BLANK))
    take(taking, guests, 10)
    assert guests.asked.count(uuids[0]) == 1


@pytest.mark.parametrize(("then", "more"), [(BLANK, 0), (CURSOR, 0), (FULL, 1)])
def test_only_what_changed_is_told(taking: Screens, told: list[str], then: bytes, more: int) -> None:
    uuid = next(iter(taking.wanted))
    taking.wanted = {uuid: taking.wanted[uuid]}
    guests = Guests({uuid: BLANK})
    take(taking, guests)
    assert len(told) == 1
    guests.pictures[uuid] = then
    take(taking, guests)
    assert len(told) == 1 + more


def test_a_picture_that_is_still_true_is_not_old_any_more(taking: Screens, told: list[str]) -> None:
    uuid = next(iter(taking.wanted))
    taking.wanted = {uuid: taking.wanted[uuid]}
    guests = Guests({uuid: BLANK})
    take(taking, guests)
    row = Screen.objects.get()
    long_ago = row.taken_at - 2 * OLD
    Screen.objects.update(taken_at=long_ago)
    taking.wanted[uuid] = Looked(row.pk, row.digest, long_ago)
    take(taking, guests)
    assert told == [f"screen:{row.pk}"] * 2
    assert Screen.objects.get().taken_at > long_ago + OLD

"""Numbers and times in words, hardware in words, and the icons that pages name."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import pytest
from django.conf import settings
from django.test import RequestFactory
from django.utils import timezone

from webvirt.models import Definition
from webvirt.services.catalogue import VERBS
from webvirt.web import words
from webvirt.web.actor import client_address
from webvirt.web.hardware import compare


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1 KiB"),
        (1536, "1.5 KiB"),
        (1024**3 * 16, "16 GiB"),
        (1024**2 * 250.4, "250 MiB"),
    ],
)
def test_sizes(count: float, text: str) -> None:
    assert words.size(count).replace("\N{NO-BREAK SPACE}", " ") == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.25, "0.2 s"), (59, "59 s"), (61, "1 min 1 s"), (3599, "59 min"), (3600, "1 h 0 min"), (90_000, "1 d 1 h")],
)
def test_durations(seconds: float, text: str) -> None:
    assert words.duration(seconds) == text


def test_ages_and_what_is_not_known() -> None:
    now = timezone.now()
    assert ">3 min ago<" in words.age(now - timedelta(minutes=3, seconds=5))
    assert ">just now<" in words.age(now + timedelta(seconds=5))
    assert f">{now - timedelta(days=3):%Y-%m-%d}<" in words.age(now - timedelta(days=3))
    for word in (
        words.age,
        words.size,
        words.rate,
        words.percent,
        words.since,
        words.duration,
        words.moment,
        words.clock,
    ):
        assert "–" in word(None)


def test_what_is_busy_at_all_is_not_zero() -> None:
    assert [words.percent(value)[:-2] for value in (0, 0.2, 0.6, 99.6)] == ["0", "1", "1", "100"]


def test_long_names_lose_their_middle() -> None:
    name = "a" * 40 + "<b>" + "z" * 40
    assert words.cut("short") == "short"
    assert re.search(r">a+…z+<", words.cut(name, 20))
    assert "<b>" not in words.cut(name, 20)


def info(**changes: object) -> dict[str, object]:
    disk = {"target": "vda", "device": "disk", "bus": "virtio", "format": "qcow2", "source": "pool/vol"}
    return {"vcpus": 2, "vcpus_max": 2, "memory_kib": 1048576, "firmware": "efi", "disks": [disk]} | changes


def test_hardware_that_waits_for_the_next_boot() -> None:
    definition = Definition(inactive=info(vcpus=4, vcpus_max=4, disks=[]), live=info())
    parts = {part.label: part for section in compare(definition) for part in section.parts if part.differs}
    assert (parts["Virtual CPUs"].now, parts["Virtual CPUs"].later) == ("2", "4")
    assert parts["vda"].later == ""
    assert "qcow2" in parts["vda"].now
    assert set(parts) == {"Virtual CPUs", "vda"}


def test_nothing_waits_on_a_machine_that_is_off() -> None:
    assert not any(section.differs for section in compare(Definition(inactive=info(), live=None)))


def test_every_icon_that_is_named_is_in_the_sprite() -> None:
    sprite = set((Path(settings.BASE_DIR) / "static" / "icons.txt").read_text().split())
    named = {verb.icon for verb in VERBS}
    for path in (Path(settings.BASE_DIR) / "templates").rglob("*.html"):
        named |= set(re.findall(r'icon\("([a-z0-9-]+)"', path.read_text()))
    for path in (Path(settings.BASE_DIR) / "static" / "js").glob("*.js"):
        named |= set(re.findall(r'\bicon\("([a-z0-9-]+)"', path.read_text()))
    assert named <= sprite


@pytest.mark.parametrize(
    ("meta", "address"),
    [
        ({"REMOTE_ADDR": ""}, None),
        ({"REMOTE_ADDR": "", "HTTP_X_FORWARDED_FOR": "6.6.6.6, 192.0.2.7"}, "192.0.2.7"),
        ({"REMOTE_ADDR": "127.0.0.1", "HTTP_X_REAL_IP": "192.0.2.9"}, "192.0.2.9"),
        ({"REMOTE_ADDR": "198.51.100.4", "HTTP_X_FORWARDED_FOR": "192.0.2.7"}, "198.51.100.4"),
        ({"REMOTE_ADDR": "", "HTTP_X_FORWARDED_FOR": "<script>"}, None),
    ],
)
def test_the_browsers_address(meta: dict[str, str], address: str | None) -> None:
    assert client_address(RequestFactory().get("/", **meta)) == address  # type: ignore[arg-type]

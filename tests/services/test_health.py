"""`/healthz` and `manage.py check`: what is not well is named."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.checks import CheckMessage, run_checks
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.db import DatabaseError
from django.db.migrations.executor import MigrationExecutor
from django.test import Client
from django.utils import timezone
from redis.exceptions import ConnectionError as RedisAway

from webvirt import bus
from webvirt.models import Process
from webvirt.services import checks, health, heartbeats
from webvirt.services.unsealing import Keys


class Answers:
    """A Redis that is there."""

    def ping(self) -> bool:
        return True


class Away:
    def ping(self) -> bool:
        raise RedisAway("nothing there")


@pytest.fixture
def well(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every part alive."""
    monkeypatch.setattr(bus, "store", Answers)
    for kind in health.KINDS:
        heartbeats.beat(kind, "one")


def read() -> tuple[int, Any]:
    response = Client().get("/healthz")
    return response.status_code, json.loads(response.content)


def test_all_is_well(well: None) -> None:
    status, found = read()
    assert (status, found["ok"]) == (200, True)
    assert set(found["parts"]) == {"database", "redis", *health.KINDS}
    beat_at = Process.objects.get(kind="watch").beat_at
    assert 0 <= found["parts"]["watch"]["age"] <= round((timezone.now() - beat_at).total_seconds(), 1)


@pytest.mark.parametrize("kind", health.KINDS)
def test_a_process_that_fell_silent(well: None, kind: str) -> None:
    old = timezone.now() - health.STALE_AFTER - timedelta(seconds=1)
    Process.objects.filter(kind=kind).update(beat_at=old)
    status, found = read()
    assert status == 503
    assert [name for name, part in found["parts"].items() if not part["ok"]] == [kind]
    assert 20 <= found["parts"][kind]["age"] < 30
    # One of several that lives is enough.
    heartbeats.beat(kind, "two")
    assert read()[0] == 200


def test_a_process_that_never_was(well: None) -> None:
    Process.objects.filter(kind="watch").delete()
    status, found = read()
    assert (status, found["parts"]["watch"]) == (503, {"ok": False, "age": None})


def test_no_redis(well: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bus, "store", Away)
    status, found = read()
    assert (status, found["parts"]["redis"]) == (503, {"ok": False})


def test_no_database(well: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> Any:
        raise DatabaseError("secret")

    monkeypatch.setattr(health, "beats", broken)
    found = health.health()
    assert not found["ok"]
    assert not found["parts"]["database"]["ok"]
    assert "secret" not in json.dumps(found)


def test_it_names_no_machine(well: None) -> None:
    heartbeats.beat("watch", "kvm1.example.org:77")
    assert "kvm1" not in json.dumps(read()[1])


# --- manage.py check


@pytest.fixture
def installed(db: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, settings: Any) -> Path:
    """An installation that lacks nothing, on a machine that lacks nothing."""
    home = tmp_path / "home"
    for name in ("front/css", "static"):
        (home / name).mkdir(parents=True)
    (home / "front" / "css" / "kit.css").touch()
    (home / "static" / "staticfiles.json").touch()
    home.chmod(0o700)
    settings.WEBVIRT_HOME, settings.STATIC_ROOT, settings.LOCALE_PATHS = home, home / "static", []
    Keys(home / "keys").make()
    monkeypatch.setattr(bus, "store", Answers)
    monkeypatch.setattr(checks, "PROGRAMS", {"sh": "dash"})
    monkeypatch.setattr(checks, "LIBVIRT_SOCKETS", (str(home),))
    return home


def found_by(check: Callable[[], Iterator[CheckMessage]]) -> list[str | None]:
    found = list(check())
    assert all(message.hint for message in found), "each need comes with its remedy"
    return [message.id for message in found]


def test_nothing_lacks(installed: Path) -> None:
    for check in (
        checks.home,
        checks.sealing,
        checks.redis,
        checks.database,
        checks.programs,
        checks.libvirt,
        checks.front,
    ):
        assert found_by(check) == []


def test_each_need_is_named(installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed.chmod(0o755)
    assert found_by(checks.home) == ["webvirt.E002"]
    monkeypatch.setattr(bus, "store", Away)
    assert found_by(checks.redis) == ["webvirt.E003"]
    monkeypatch.setattr(checks, "PROGRAMS", {"no-such-program": "nothing"})
    assert found_by(checks.programs) == ["webvirt.W001"]
    monkeypatch.setattr(checks, "LIBVIRT_SOCKETS", ("/nonexistent",))
    assert found_by(checks.libvirt) == ["webvirt.W002"]
    (installed / "static" / "staticfiles.json").unlink()
    assert found_by(checks.front) == ["webvirt.E008"]
    (installed / "front" / "css" / "kit.css").unlink()
    assert found_by(checks.front) == ["webvirt.E007"]


def test_a_home_that_is_not_ours(installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert found_by(checks.home) == ["webvirt.E001"]
    assert found_by(checks.libvirt) == ["webvirt.W003"]


def test_a_language_that_was_not_compiled(installed: Path, settings: Any) -> None:
    folder = installed / "locale" / "zh_Hans" / "LC_MESSAGES"
    folder.mkdir(parents=True)
    (folder / "django.po").touch()
    settings.LOCALE_PATHS = [installed / "locale"]
    assert found_by(checks.translations) == ["webvirt.W004"]
    (folder / "django.mo").touch()
    assert found_by(checks.translations) == []


def test_a_database_of_another_version(installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MigrationExecutor, "migration_plan", lambda self, targets: [object()])
    assert found_by(checks.database) == ["webvirt.E005"]


def test_the_command_names_them_and_fails(installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    call_command("check")
    monkeypatch.setattr(bus, "store", Away)
    with pytest.raises(SystemCheckError, match="deploy/run"):
        call_command("check")


def test_no_other_command_waits_for_them(installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`migrate` comes before Redis and before a migrated database."""
    monkeypatch.setattr(bus, "store", Away)
    assert not [message for message in run_checks() if (message.id or "").startswith("webvirt.")]
    assert "webvirt.E003" in [message.id for message in run_checks(tags=[checks.TAG], include_deployment_checks=True)]

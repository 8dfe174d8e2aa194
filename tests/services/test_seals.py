"""Secrets at rest: what is sealed opens with the key in WEBVIRT_HOME, for what it was sealed for, and not otherwise."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.people import make_host
from webvirt.hypervisor.errors import CredentialsUnavailable
from webvirt.hypervisor.types import Transport
from webvirt.models import Host
from webvirt.services import checks, seals, unsealing
from webvirt.services.seals import NoKey, Seal, seal_password
from webvirt.services.unsealing import Keys, Unavailable, change_keys, way_to

SECRET = "c0rrect-h0rse \u6c34"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of keys for this test alone, which everything uses."""
    place = tmp_path / "keys"
    monkeypatch.setattr(seals.Seal, "__init__", lambda self, at=place: object.__setattr__(self, "folder", at))
    monkeypatch.setattr(unsealing.Keys, "__init__", lambda self, at=place: object.__setattr__(self, "folder", at))
    Keys().make()
    return place


def guarded_host(name: str = "far", password: str = SECRET) -> Host:
    host = make_host(name, transport=Transport.TLS, hostname=f"{name}.example.org", user="ada")
    seal_password(host, password)
    host.save()
    return host


def numbers(folder: Path) -> set[str]:
    return {path.stem for path in folder.glob("*.key")}


# --- sealing


def test_what_is_sealed_opens_for_what_it_was_sealed_for(folder: Path) -> None:
    sealed = Seal().close(SECRET, "this")
    assert SECRET not in sealed
    assert Keys().open(sealed, "this") == SECRET
    with pytest.raises(Unavailable):
        Keys().open(sealed, "that")


def test_the_same_secret_never_looks_the_same(folder: Path) -> None:
    assert len({Seal().close(SECRET, "this") for _ in range(8)}) == 8


@pytest.mark.parametrize("spoil", ["", ".", "x", "{0}.", "{0}.AAAA", "{0}.!", "../{0}.{1}", "0.{1}", "{0}.{1}A"])
def test_what_was_tampered_with_does_not_open(folder: Path, spoil: str) -> None:
    number, _, text = Seal().close(SECRET, "this").partition(".")
    with pytest.raises(Unavailable):
        Keys().open(spoil.format(number, text[:-4] + "AAAA"), "this")


def test_the_web_process_needs_the_public_key_alone(folder: Path, tmp_path: Path) -> None:
    public = tmp_path / "public"
    public.mkdir()
    (public / "current.pub").write_text((folder / "current.pub").read_text())
    sealed = Seal(public).close(SECRET, "this")
    with pytest.raises(Unavailable):
        Keys(public).open(sealed, "this")
    assert Keys().open(sealed, "this") == SECRET


def test_keys_are_for_us_alone_and_made_once(folder: Path) -> None:
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir() if not path.name.startswith(".")} == {0o600}
    before = numbers(folder)
    assert not Keys().make()
    assert numbers(folder) == before


def test_without_a_key_nothing_is_sealed(folder: Path) -> None:
    (folder / "current.pub").unlink()
    with pytest.raises(NoKey):
        Seal().close(SECRET, "this")


def test_the_check_of_the_installation_looks_at_them(folder: Path, settings: Any) -> None:
    settings.WEBVIRT_HOME = folder.parent
    assert list(checks.sealing()) == []
    next(folder.glob("*.key")).chmod(0o640)
    (folder / "current.pub").unlink()
    assert [message.id for message in checks.sealing()] == ["webvirt.E009", "webvirt.E010"]


# --- passwords of hosts


@pytest.mark.django_db
def test_a_hosts_password_is_good_for_that_host_alone(folder: Path) -> None:
    host, other = guarded_host(), guarded_host("other", "another")
    assert way_to(host).password == SECRET
    assert host.address.password == ""
    Host.objects.filter(pk=other.pk).update(sealed_password=host.sealed_password)
    with pytest.raises(CredentialsUnavailable):
        way_to(other)
    # Whoever writes to the database does not have it sent elsewhere either.
    Host.objects.filter(pk=host.pk).update(hostname="eve.example.org")
    with pytest.raises(CredentialsUnavailable):
        way_to(host)


@pytest.mark.django_db
def test_a_database_without_its_key_says_so(folder: Path) -> None:
    host = guarded_host()
    for path in folder.glob("*.key"):
        path.unlink()
    with pytest.raises(CredentialsUnavailable, match="cannot be read"):
        way_to(host)
    assert way_to(make_host("plain", hostname="")).password == ""


@pytest.mark.django_db
def test_keys_are_changed_and_old_ones_forgotten(folder: Path) -> None:
    hosts = [guarded_host(f"h{number}") for number in range(3)]
    first = Keys().current
    before = hosts[0].sealed_password
    assert change_keys() == (3, 0)
    assert [way_to(host).password for host in hosts] == [SECRET] * 3
    assert Host.objects.filter(sealed_password__startswith=first).count() == 0
    assert numbers(folder) == {first, Keys().current}, "the one before, for what was on its way"
    assert change_keys() == (3, 0)
    assert first not in numbers(folder)
    Host.objects.filter(pk=hosts[0].pk).update(sealed_password=before)
    assert change_keys() == (2, 1)


@pytest.mark.django_db
def test_a_password_that_came_in_late_keeps_its_key(folder: Path) -> None:
    late = guarded_host()
    old = late.sealed_password
    change_keys()
    Host.objects.filter(pk=late.pk).update(sealed_password=old)
    assert change_keys() == (1, 0)
    assert way_to(late).password == SECRET


@pytest.fixture
def readers(folder: Path) -> Iterator[list[str | Exception]]:
    """What somebody finds who opens a secret all the time, with what was sealed at that moment."""
    found: list[str | Exception] = []
    over = threading.Event()

    def read() -> None:
        while not over.is_set():
            try:
                found.append(Keys().open(Seal().close(SECRET, "this"), "this"))
            except Exception as error:
                found.append(error)

    thread = threading.Thread(target=read)
    thread.start()
    yield found
    over.set()
    thread.join()


@pytest.mark.django_db
def test_keys_are_changed_while_others_read(folder: Path, readers: list[str | Exception]) -> None:
    host = guarded_host()
    for _ in range(20):
        change_keys()
        seen = len(readers)
        assert way_to(host).password == SECRET
        while len(readers) <= seen:
            threading.Event().wait(0.001)
    assert set(readers) == {SECRET}

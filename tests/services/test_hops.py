"""The hops to a guest's console: which one is named, in whose words, and who is told where hosts are."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import redis
from django.conf import settings
from django.utils import timezone, translation

from tests.api.conftest import Caller
from tests.home import HOME
from tests.people import Cast
from webvirt import bus
from webvirt.hypervisor.types import Transport
from webvirt.models import ConsoleDevice, Host, Process
from webvirt.services import consoles, heartbeats, hops
from webvirt.services.access import access_of
from webvirt.services.consoles import Close, Refusal
from webvirt.services.hops import Hop, Look, Trouble
from webvirt.services.refusals import NotNow

BY_PAGES = {Close.TICKET, Close.WITHDRAWN, Close.GUEST}
"""Codes that speak of a console which was open, or of nothing that a look could find."""
SCREEN = ConsoleDevice.SCREEN


@pytest.fixture
def proxy() -> Iterator[socket.socket]:
    """Something that listens in the console proxy's place."""
    path = HOME / "run" / "console.sock"
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        yield listener
    path.unlink(missing_ok=True)


@pytest.fixture
def look(cast: Cast) -> Look:
    Host.objects.filter(pk=cast.host.pk).update(transport=Transport.SSH, hostname="kvm7.example", user="root")
    return Look(cast.domain.pk, cast.host.pk, cast.domain.uuid, SCREEN, tells_all=True, language="en")


def failed(told: dict[str, Any]) -> str:
    assert not told["ok"]
    return str(next(one["hop"] for one in told["hops"] if one["state"] == "failed"))


def test_each_code_names_a_hop(look: Look) -> None:
    assert set(hops.REMEDIES) == set(Close) - BY_PAGES
    for code, remedy in hops.REMEDIES.items():
        trouble = hops.trouble_of(look, Refusal(code, "x"))
        assert failed(hops.told(SCREEN, trouble)) == remedy.hop
        assert trouble.remedy


def test_what_comes_before_was_passed_and_what_comes_after_not_reached() -> None:
    told = hops.told(SCREEN, Trouble(Hop.HOST, "words", "remedy"))
    assert [(one["hop"], one["state"]) for one in told["hops"]] == [
        ("page", "ok"),
        ("right", "ok"),
        ("ticket", "ok"),
        ("proxy", "ok"),
        ("host", "failed"),
        ("machine", "not-reached"),
        ("way", "not-reached"),
        ("guest", "not-reached"),
    ]
    assert hops.told(SCREEN, None)["ok"]
    assert "way" not in [one["hop"] for one in hops.told(ConsoleDevice.SERIAL, None)["hops"]]


def test_administrators_alone_are_told_where_hosts_are(look: Look) -> None:
    refusal = Refusal(Close.HOST, "ssh: connect to host kvm7.example port 22: 192.0.2.7 refused; see /etc/ssh/x")
    trouble = hops.trouble_of(look, refusal)
    assert trouble.words == str(refusal)
    assert trouble.command == "virsh -c qemu+ssh://root@kvm7.example/system version"
    other = hops.trouble_of(replace(look, tells_all=False), refusal)
    assert other.words == "ssh: connect to host … port 22: … refused; see …"
    assert not other.command
    assert other.remedy == trouble.remedy


def test_so_it_is_where_a_console_is_refused(look: Look, cast: Cast) -> None:
    host = Host.objects.get(pk=look.host)
    for user, words in ((cast.operator, "the display does not answer: …"), (cast.administrator, None)):
        cast.domain.status = "running"
        cast.domain.save()
        session = consoles.open_session(user, "key", cast.domain.pk, "view", None)
        admission = replace(look.admission, session=session.pk)
        sentence = "the display does not answer: /run/x.sock"
        assert hops.words_for(admission, host, sentence) == (words or sentence)


def test_it_is_told_in_the_readers_language(look: Look) -> None:
    with translation.override("zh-hans"):
        assert hops.hops_of(SCREEN)[Hop.GUEST]
        assert hops.trouble_of(look, Refusal(Close.SILENT, "x")).remedy


def test_a_look_is_taken_once(
    store: redis.Redis, proxy: socket.socket, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    access = access_of(cast.administrator)
    address = hops.begin(access, cast.domain, SCREEN)
    assert isinstance(address, str)
    ticket = address.removeprefix("/hops/")
    taken = hops.taken(ticket)
    assert taken
    assert (taken.domain, taken.uuid, taken.tells_all) == (cast.domain.pk, cast.domain.uuid, True)
    assert hops.taken(ticket) is None
    with pytest.raises(NotNow):
        hops.begin(access, cast.domain, SCREEN)
    assert isinstance(hops.begin(access_of(cast.viewer), cast.domain, SCREEN), str)


def test_without_redis_it_is_the_ticket(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "WEBVIRT_REDIS", f"unix://{HOME}/run/nothing.sock")
    bus.store.cache_clear()
    found = hops.begin(access_of(cast.viewer), cast.domain, SCREEN)
    bus.store.cache_clear()
    assert isinstance(found, Trouble)
    assert found.hop == Hop.TICKET
    assert str(HOME) not in found.words


def test_without_the_console_proxy_it_is_that(store: redis.Redis, cast: Cast) -> None:
    with suppress(FileNotFoundError):
        (HOME / "run" / "console.sock").unlink()
    found = hops.begin(access_of(cast.administrator), cast.domain, SCREEN)
    assert isinstance(found, Trouble)
    assert found.hop == Hop.PROXY
    assert "No such file" in found.words


def test_one_that_listens_and_is_not_heard_of_hangs(store: redis.Redis, proxy: socket.socket, cast: Cast) -> None:
    heartbeats.beat("consoleproxy", "one")
    Process.objects.update(beat_at=timezone.now() - timedelta(minutes=3))
    found = hops.begin(access_of(cast.viewer), cast.domain, SCREEN)
    assert isinstance(found, Trouble)
    assert (found.hop, found.command) == (Hop.PROXY, "")
    assert "180" in found.words


def test_who_has_too_many_consoles_is_told_so(store: redis.Redis, cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "WEBVIRT_CONSOLES_PER_USER", 0)
    found = hops.begin(access_of(cast.viewer), cast.domain, SCREEN)
    assert isinstance(found, Trouble)
    assert found.hop == Hop.RIGHT


def test_the_front_is_led_to_who_looks(store: redis.Redis, proxy: socket.socket, cast: Cast) -> None:
    path = f"/domains/{cast.domain.pk}/console"
    answer = Caller(cast.viewer).get(f"{path}?device=serial")
    assert answer.status_code == 200
    look = hops.taken(answer["X-Accel-Redirect"].removeprefix("/hops/"))
    assert look
    assert (look.device, look.tells_all) == ("serial", False)
    assert Caller(cast.viewer).get(path).status_code == 409
    assert Caller(cast.stranger).get(path).status_code == 404
    assert Caller(cast.viewer).get(f"{path}?device=teapot").status_code == 422


def test_a_hop_that_fails_here_is_told_at_once(store: redis.Redis, cast: Cast) -> None:
    answer = Caller(cast.viewer).get(f"/domains/{cast.domain.pk}/console")
    assert answer.status_code == 200
    assert failed(answer.json()) == "proxy"

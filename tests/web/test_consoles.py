"""The console's page: the screen or the serial line, by what the machine has and what was asked for."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from tests.people import Cast
from webvirt.models import Definition, Domain
from webvirt.services import consoles

SCREEN, SERIAL = {"graphics": [{"type": "vnc"}]}, {"devices": [{"kind": "serial", "description": "pty"}]}
NO_SCREEN: dict[str, object] = {"graphics": []}


@pytest.mark.parametrize(
    ("info", "asked", "shown", "offered"),
    [
        (SCREEN | SERIAL, "", "screen", "serial"),
        (SCREEN | SERIAL, "?device=serial", "serial", "screen"),
        (SCREEN | SERIAL, "?device=nonsense", "screen", "serial"),
        (SCREEN, "", "screen", ""),
        (SCREEN, "?device=serial", "serial", "screen"),
        (NO_SCREEN | SERIAL, "", "serial", ""),
        (None, "", "screen", ""),
    ],
)
def test_what_is_shown(
    cast: Cast, client: Client, info: dict[str, object] | None, asked: str, shown: str, offered: str
) -> None:
    Definition.objects.filter(domain=cast.domain).delete()
    if info is not None:
        Definition.objects.create(domain=cast.domain, inactive=info, read_at=timezone.now())
    client.force_login(cast.owner)
    for page in ("", "window/"):
        text = client.get(f"/vms/{cast.domain.pk}/console/{page}{asked}").content.decode()
        assert re.findall(r'data-console="(\w+)"', text) == [shown]
        assert re.findall(r'href="\?device=(\w+)"', text) == ([offered] if offered else [])
        assert ("js/serial" in text) == (shown == "serial")


INPUTS = {"has_tablet": True, "has_clipboard": True}


@pytest.mark.parametrize(
    ("live", "inactive", "said"),
    [
        ({}, {}, ["has no tablet", "has no clipboard channel"]),
        ({}, INPUTS, ["gets its tablet when", "gets its clipboard channel when"]),
        (INPUTS, INPUTS, ["What the guest copied last"]),
    ],
)
@pytest.mark.parametrize("who", ["owner", "operator", "viewer"])
def test_what_it_lacks_is_offered_to_who_may_add_it(
    cast: Cast, client: Client, live: dict[str, object], inactive: dict[str, object], said: list[str], who: str
) -> None:
    every = ["has no tablet", "has no clipboard channel", "gets its tablet when", "gets its clipboard channel when"]
    Definition.objects.filter(domain=cast.domain).delete()
    Definition.objects.create(
        domain=cast.domain, live=SCREEN | live, inactive=SCREEN | inactive, read_at=timezone.now()
    )
    client.force_login(cast.who(who))
    for page in ("", "window/"):
        text = client.get(f"/vms/{cast.domain.pk}/console/{page}").content.decode()
        # Who only watches has nothing to point and to paste with.
        words = [] if who == "viewer" else said
        assert [one for one in [*every, "What the guest copied last"] if one in text] == words
        lacks = who != "viewer" and not inactive
        given = re.findall(r'data-give="(\w+)"', text)
        assert sorted(given) == (["add_clipboard", "add_tablet"] if lacks and who == "owner" else [])
        assert text.count("Who may change its hardware can add one") == (2 if lacks and who == "operator" else 0)


def test_a_window_of_its_own_can_ask_too(cast: Cast, client: Client) -> None:
    """It has no menus and no toasts, but what its scripts send needs Django's token."""
    client.force_login(cast.owner)
    text = client.get(f"/vms/{cast.domain.pk}/console/window/").content.decode()
    assert re.search(r'<form id="csrf" hidden>.*name="csrfmiddlewaretoken" value="\w+"', text)


def test_what_a_line_said_is_forgotten_when_its_machine_is_gone(cast: Cast) -> None:
    log = consoles.log_of(cast.domain.uuid)
    log.parent.mkdir(exist_ok=True)
    log.write_text("login: ")
    now = timezone.now()
    consoles.sweep(now)
    Domain.objects.filter(pk=cast.domain.pk).update(missing_since=now - timedelta(hours=23))
    consoles.sweep(now)
    assert log.exists()
    Domain.objects.filter(pk=cast.domain.pk).update(missing_since=now - timedelta(hours=25))
    consoles.sweep(now)
    assert not log.exists()

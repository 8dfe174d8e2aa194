"""The console's page: the screen or the serial line, by what the machine has and what was asked for."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from tests.people import Cast
from tests.web.conftest import Enter
from webvirt.models import CustomRole, Definition, Domain, Grant, Role
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


def shown(text: str) -> list[tuple[str, str]]:
    """The places of a page of consoles: whose, and which device of it."""
    return re.findall(r'<section class="console[^>]* id="console-(\d+)"(?: data-console="(\w+)")?', text)


def test_several_side_by_side_in_their_order(cast: Cast, enter: Enter) -> None:
    Grant.objects.create(user=cast.owner, role=Role.VIEWER, domain=cast.other)
    Definition.objects.update_or_create(
        domain=cast.other, defaults={"inactive": NO_SCREEN | SERIAL, "read_at": timezone.now()}
    )
    mine, other = str(cast.domain.pk), str(cast.other.pk)
    text = enter("owner").get(f"/vms/consoles/?ids={other},{mine},{other},x,").content.decode()
    assert shown(text) == [(other, "serial"), (mine, "screen")]
    assert len(re.findall(r"data-may-control", text)) == 1
    assert "js/serial" in text
    assert "js/console.js" in text
    named = re.findall(r'\bid="([^"]+)"', text)
    assert len(named) == len(set(named))


def test_a_machine_that_one_may_not_know_of_is_like_one_that_is_not_there(cast: Cast, enter: Enter) -> None:
    client = enter("viewer")
    with_other = client.get(f"/vms/consoles/?ids={cast.domain.pk},{cast.other.pk}").content.decode()
    with_none = client.get(f"/vms/consoles/?ids={cast.domain.pk},99999").content.decode()
    assert shown(with_other) == shown(with_none) == [(str(cast.domain.pk), "screen")]
    assert cast.other.name not in with_other
    assert "No consoles chosen" in client.get(f"/vms/consoles/?ids={cast.other.pk}").content.decode()
    assert "No consoles chosen" in client.get("/vms/consoles/").content.decode()


def test_a_machine_that_one_may_not_watch_says_so_in_its_place(cast: Cast, enter: Enter) -> None:
    role = CustomRole.objects.create(name="Starter", kinds=["domain.start"])
    Grant.objects.create(user=cast.stranger, custom_role=role, domain=cast.domain)
    text = enter("stranger").get(f"/vms/consoles/?ids={cast.domain.pk}").content.decode()
    assert shown(text) == [(str(cast.domain.pk), "")]
    assert "Your role here does not allow “Watch the console”." in text
    assert "data-consoles" not in enter("stranger").get("/vms/").content.decode()


def test_no_more_side_by_side_than_one_may_have(cast: Cast, enter: Enter, settings: Any) -> None:
    both = f"/vms/consoles/?ids={cast.domain.pk},{cast.other.pk}"
    assert "the most that open" not in enter("administrator").get(both).content.decode()
    settings.WEBVIRT_CONSOLES_PER_USER = 1
    text = enter("administrator").get(both).content.decode()
    assert shown(text) == [(str(cast.domain.pk), "screen")]
    assert "1 of 2 consoles are here" in text


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

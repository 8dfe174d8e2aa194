"""The socket beside a console: asks for it, holds its lease, says who else is there, and why it ended."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from channels.db import database_sync_to_async
from channels.testing import WebsocketCommunicator
from django.conf import settings
from django.utils import timezone

from tests.console.proxy import Process, open_page, sign_in
from tests.people import Cast
from webvirt.models import ConsoleMode, ConsoleSession, EndReason, Status, User
from webvirt.realtime import console
from webvirt.realtime.urls import application
from webvirt.services import consoles
from webvirt.services.consoles import TICKET, Close

ORIGIN = settings.SOCKET_ORIGINS[0]
NOT_RECORDED = {"by": [], "over": ""}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "LOOK_SECONDS", 0.05)


@asynccontextmanager
async def page(
    login: str | None, domain: int, query: str = "", origin: str | None = ORIGIN
) -> AsyncIterator[WebsocketCommunicator]:
    """A page's socket through all that stands before the consumer: origin, session, routes."""
    headers = [(b"origin", origin.encode())] if origin else []
    if login:
        headers.append((b"cookie", f"{settings.SESSION_COOKIE_NAME}={login}".encode()))
    socket = WebsocketCommunicator(application, f"/ws/console/{domain}/{query}", headers)
    socket.scope["client"] = ("192.0.2.9", 0)
    try:
        yield socket
    finally:
        await socket.disconnect()


async def said(socket: WebsocketCommunicator) -> Any:
    return json.loads(await socket.receive_from(3))


async def closed(socket: WebsocketCommunicator) -> int:
    """The close code; a plain number, since the server takes nothing that merely looks like one."""
    event = await socket.receive_output(3)
    assert event["type"] == "websocket.close"
    assert type(event["code"]) is int
    return int(event["code"])


def alone(mode: str) -> Any:
    """What a page is told that is alone, by what it may do."""
    own = {"mode": mode, "may_type": mode == "control", "asks": False, "may_take": False}
    return {"others": [], "own": own, "recorded": NOT_RECORDED}


async def rows(query: Callable[[], Any]) -> Any:
    return await database_sync_to_async(query)()


async def login_of(user: User) -> str:
    return str(await rows(lambda: sign_in(user)))


@pytest.mark.parametrize(("query", "mode"), [("", "control"), ("?mode=control", "control"), ("?mode=view", "view")])
async def test_a_page_gets_a_ticket_and_a_row(redis_server: Process, people: Cast, query: str, mode: str) -> None:
    login = await login_of(people.operator)
    async with page(login, people.domain.pk, query) as socket:
        assert (await socket.connect())[0]
        first = await said(socket)
        assert TICKET.fullmatch(first["ticket"])
        assert await said(socket) == alone(mode)
        row = await rows(lambda: ConsoleSession.objects.get(pk=first["session"]))
    assert (row.user_id, row.mode, row.address) == (people.operator.pk, mode, "192.0.2.9")
    assert row.login_key == consoles.login_key(login) != login
    assert timedelta(seconds=55) < row.leased_until - timezone.now() < timedelta(seconds=61)


@pytest.mark.parametrize(
    ("who", "query", "code"),
    [
        (None, "", Close.TICKET),
        ("stranger", "", Close.UNKNOWN),
        ("viewer", "", Close.WITHDRAWN),
        ("viewer", "?session=999999", Close.UNKNOWN),
        ("viewer", "?session=abc", Close.WITHDRAWN),
    ],
)
async def test_who_may_not_is_told_why(
    redis_server: Process, people: Cast, who: str | None, query: str, code: Close
) -> None:
    login = await login_of(people.who(who)) if who else None
    async with page(login, people.domain.pk, query) as socket:
        assert (await socket.connect())[0]
        assert (await said(socket))["refused"]
        assert await closed(socket) == code


async def test_a_machine_that_is_off_is_told_in_the_persons_language(redis_server: Process, people: Cast) -> None:
    def turn_off() -> None:
        people.domain.status = Status.SHUTOFF
        people.domain.save()

    await rows(turn_off)
    async with page(await login_of(people.owner), people.domain.pk) as socket:
        await socket.connect()
        assert "shut off" in (await said(socket))["refused"]
        assert await closed(socket) == Close.NOT_NOW


@pytest.mark.parametrize("origin", [None, "null", "https://evil.example", ORIGIN + "/", ORIGIN.upper()])
async def test_pages_of_other_origins_are_not_let_in(people: Cast, origin: str | None) -> None:
    async with page(await login_of(people.owner), people.domain.pk, origin=origin) as socket:
        assert not (await socket.connect())[0]


async def test_the_lease_is_renewed_while_the_page_is_open(
    redis_server: Process, people: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console, "RENEW_SECONDS", 0.1)
    async with page(await login_of(people.owner), people.domain.pk) as socket:
        await socket.connect()
        pk = (await said(socket))["session"]
        # Not yet over: a proxy that runs beside would end it.
        soon = timezone.now() + timedelta(seconds=30)
        await rows(lambda: ConsoleSession.objects.filter(pk=pk).update(leased_until=soon))
        assert "others" in await said(socket)
        assert await socket.receive_nothing(0.5)
        row = await rows(lambda: ConsoleSession.objects.get(pk=pk))
        assert row.leased_until > timezone.now() + timedelta(seconds=50)


async def test_the_page_hears_who_comes_and_why_it_ends(redis_server: Process, people: Cast) -> None:
    async with page(await login_of(people.owner), people.domain.pk) as socket:
        await socket.connect()
        pk = (await said(socket))["session"]
        assert await said(socket) == alone("control")
        other = await rows(lambda: open_page(people.viewer, people.domain, ConsoleMode.VIEW))
        await rows(lambda: consoles.redeem(other.visitor.ticket, other.visitor.session_key))
        (other_one,) = (await said(socket))["others"]
        assert (other_one["id"], other_one["name"], other_one["mode"]) == (other.session.pk, "viewer", "view")
        assert not other_one["may_type"]
        await rows(lambda: consoles.end(pk, EndReason.RIGHT))
        assert "others" in await said(socket)
        assert await said(socket) == {"ended": "right"}
        assert await closed(socket) == Close.WITHDRAWN


async def test_a_page_that_comes_back_keeps_its_console(redis_server: Process, people: Cast) -> None:
    login = await login_of(people.owner)
    async with page(login, people.domain.pk) as socket:
        await socket.connect()
        pk = (await said(socket))["session"]
    assert (await rows(lambda: ConsoleSession.objects.get(pk=pk))).ended_at is None
    async with page(login, people.domain.pk, f"?session={pk}") as socket:
        await socket.connect()
        assert await said(socket) == alone("control")
        assert await rows(ConsoleSession.objects.count) == 1
    for stranger in (await login_of(people.owner), await login_of(people.operator)):
        async with page(stranger, people.domain.pk, f"?session={pk}") as socket:
            await socket.connect()
            assert (await said(socket))["refused"]


async def test_an_ended_console_is_not_revived(redis_server: Process, people: Cast) -> None:
    login = await login_of(people.owner)
    async with page(login, people.domain.pk) as socket:
        await socket.connect()
        pk = (await said(socket))["session"]
    await rows(lambda: consoles.end(pk, EndReason.LEASE))
    async with page(login, people.domain.pk, f"?session={pk}") as socket:
        await socket.connect()
        assert "others" in await said(socket)
        assert await said(socket) == {"ended": "lease"}


async def test_pages_ask_each_other_for_control(redis_server: Process, people: Cast) -> None:
    """Two people at one guest: asked for, kept, handed over; and nonsense is not listened to."""
    async with (
        page(await login_of(people.operator), people.domain.pk) as holder,
        page(await login_of(people.owner), people.domain.pk) as other,
    ):
        await holder.connect()
        await said(holder)
        assert await said(holder) == alone("control")
        await other.connect()
        pk = (await said(other))["session"]
        await rows(lambda: ConsoleSession.objects.filter(pk=pk).update(opened_at=timezone.now()))
        assert (await said(other))["own"] == {"mode": "view", "may_type": True, "asks": False, "may_take": True}
        assert not (await said(holder))["others"][0]["asks"]
        for nonsense in ("{", "[]", '{"do": 1}', '{"do": "hand", "to": "x"}', '{"do": "fly"}', "x" * 1000):
            await other.send_to(nonsense)
        await other.send_to('{"do": "ask"}')
        assert (await said(holder))["others"][0]["asks"]
        await holder.send_to('{"do": "keep"}')
        assert not (await said(holder))["others"][0]["asks"]
        await holder.send_to(json.dumps({"do": "hand", "to": pk}))
        assert (await said(holder))["own"]["mode"] == "view"
        await holder.send_to(json.dumps({"do": "hand", "to": pk}))
        assert (await said(holder))["told"]

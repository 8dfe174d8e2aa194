"""The socket beside a console: asks for it, gets the ticket, and holds the lease for as long as the page is open.

The bytes themselves go to the console proxy. This socket tells the page who else is there and why its console ended.
It needs no Redis but for the ticket, and a restart of this process closes nothing: the page comes back and resumes.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import logging
import time
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any
from urllib.parse import parse_qs

from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer
from django import db
from django.http import HttpRequest
from django.utils import translation

from webvirt.models import ConsoleDevice, ConsoleMode, ConsoleSession, User
from webvirt.services import consoles
from webvirt.services.consoles import Close, Refusal, View

log = logging.getLogger(__name__)

LOOK_SECONDS = 3.0
RENEW_SECONDS = 15.0


class ConsoleConsumer(AsyncWebsocketConsumer):
    """`/ws/console/<domain_id>/?mode=view|control`, with `&device=serial` for the serial line instead of the screen,
    `&record=1` to have it recorded and `&replaces=<id>` for a page that opens its console again; `?session=<id>` for a
    page that comes back to a console which still runs.

    Says `{"session", "ticket"}` once, `{"others": [{"name", "mode"}], "recorded": {"by": [names], "over": reason}}`
    whenever that changes, and `{"ended": reason}`; or `{"refused": sentence}` before it closes with a code of
    `consoles.Close`.
    """

    _lease: asyncio.Task[None] | None = None

    async def connect(self) -> None:
        await self.accept()
        try:
            session, ticket = await database_sync_to_async(self._begin)()
        except Refusal as refusal:
            await self._say(refused=str(refusal))
            await self.close(refusal.code.value)
            return
        if ticket:
            await self._say(session=session.pk, ticket=ticket)
        self._lease = asyncio.create_task(self._hold(session))

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """The page has nothing to say here."""

    async def disconnect(self, code: int) -> None:
        if self._lease is not None:
            self._lease.cancel()

    def _begin(self) -> tuple[ConsoleSession, str]:
        """A new session with its ticket, or the one that the page comes back to, without. Raises Refusal."""
        user: object = self.scope["user"]
        session_key = self.scope["session"].session_key
        asked = parse_qs(self.scope["query_string"].decode("ascii", "replace"))
        with translation.override(language_of(user, self.scope["headers"])):
            if not isinstance(user, User) or not session_key:
                raise Refusal(Close.TICKET, translation.gettext("You are signed out: sign in again."))
            if (pk := number(asked, "session")) is not None:
                return consoles.resume(pk, user, session_key), ""
            session = consoles.open_session(
                user,
                session_key,
                int(self.scope["url_route"]["kwargs"]["domain_id"]),
                ConsoleMode.VIEW if asked.get("mode") == ["view"] else ConsoleMode.CONTROL,
                client_address(self.scope.get("client")),
                number(asked, "replaces"),
                ConsoleDevice.SERIAL if asked.get("device") == ["serial"] else ConsoleDevice.SCREEN,
                record=asked.get("record") == ["1"],
            )
            return session, consoles.issue_ticket(session)

    async def _hold(self, session: ConsoleSession) -> None:
        """Renew the lease and tell what changes, until the console has ended."""
        told: View | None = None
        renewed_at = time.monotonic()
        while told is None or not told.ended:
            try:
                view = await database_sync_to_async(consoles.look)(session)
                if time.monotonic() - renewed_at >= RENEW_SECONDS:
                    await database_sync_to_async(consoles.renew)(session.pk)
                    renewed_at = time.monotonic()
            except db.Error as error:
                log.warning("the lease of console %s cannot be renewed now: %s", session.pk, error)
                view = told or View("", [])
            if view != told:
                others = [{"name": other.name, "mode": other.mode} for other in view.others]
                await self._say(others=others, recorded=asdict(view.recorded))
                told = view
            if not view.ended:
                await asyncio.sleep(LOOK_SECONDS)
        await self._say(ended=told.ended)
        await self.close(Close.WITHDRAWN.value)

    async def _say(self, **message: Any) -> None:
        await self.send(json.dumps(message))


def language_of(user: object, headers: Iterable[tuple[bytes, bytes]]) -> str:
    """The language that the person chose, else the one that the browser asks for, as on pages."""
    if isinstance(user, User) and user.language:
        return user.language
    request = HttpRequest()
    request.META["HTTP_ACCEPT_LANGUAGE"] = dict(headers).get(b"accept-language", b"").decode("latin-1")
    return translation.get_language_from_request(request)


def number(asked: dict[str, list[str]], name: str) -> int | None:
    """A parameter as a row's id, or None for anything else."""
    text = asked.get(name, [""])[0]
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 18 else None


def client_address(client: Any) -> str | None:
    """The browser's address, as the front tells it."""
    try:
        return str(ipaddress.ip_address((client or [""])[0]))
    except ValueError:
        return None

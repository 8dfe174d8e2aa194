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
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import asdict
from typing import Any
from urllib.parse import parse_qs

from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer
from django import db
from django.http import HttpRequest
from django.utils import translation

from webvirt.models import ConsoleDevice, ConsoleMode, ConsoleSession, GuestLink, User
from webvirt.services import consoles, consoleviews, control, guestlinks
from webvirt.services.consoles import Close, Refusal
from webvirt.services.consoleviews import View
from webvirt.services.refusals import Denied, NotNow

log = logging.getLogger(__name__)

LOOK_SECONDS = 3.0
TOGETHER_SECONDS = 1.0
"""The same while others are there too: who asks for control waits for an answer."""
SETTLING_SECONDS = 0.2
BETWEEN_SECONDS = 0.1
LONGEST_WORD = 200
RENEW_SECONDS = 15.0


WORDS: dict[str, Callable[[int], None]] = {
    "ask": control.ask,
    "take": control.take,
    "keep": control.keep,
    "watch": control.watch,
    "join": control.join,
}


class ConsoleConsumer(AsyncWebsocketConsumer):
    """`/ws/console/<domain_id>/?mode=view|control`, with `&device=serial` for the serial line instead of the screen,
    `&record=1` to have it recorded and `&replaces=<id>` for a page that opens its console again; `?session=<id>` for a
    page that comes back to a console which still runs; `&guest=<id>` for whoever used this guest link.

    Says `{"session", "ticket"}` once, `{"others": [Viewer], "own": Own, "recorded": {"by": [names], "over": reason}}`
    (of `consoleviews`) whenever that changes, and `{"ended": reason}`; or `{"refused": sentence}` before it closes with
    a code of `consoles.Close`.

    The page says `{"do": word}` for who types: `ask`, `take`, `keep`, `watch`, `join`, or `hand` with `"to": <id>`.
    What cannot be done is answered `{"told": sentence}`.
    """

    _lease: asyncio.Task[None] | None = None
    _session: ConsoleSession | None = None

    def __init__(self) -> None:
        super().__init__()
        self._wake = asyncio.Event()

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
        self._session = session
        self._lease = asyncio.create_task(self._hold(session))

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Do what the page asks for, one thing after the other."""
        asked = word_of(text_data or "")
        if asked is None or self._session is None:
            return
        try:
            await database_sync_to_async(self._do)(self._session.pk, *asked)
        except (Denied, NotNow) as error:
            await self._say(told=str(error))
        except db.Error as error:
            log.warning("console %s asked in vain: %s", self._session.pk, error)
        self._wake.set()
        await asyncio.sleep(BETWEEN_SECONDS)

    def _do(self, pk: int, word: str, to: int) -> None:
        with translation.override(language_of(self.scope["user"], self.scope["headers"])):
            if word == "hand":
                control.hand_over(pk, to)
            else:
                WORDS[word](pk)

    async def disconnect(self, code: int) -> None:
        if self._lease is not None:
            self._lease.cancel()

    def _begin(self) -> tuple[ConsoleSession, str]:
        """A new session with its ticket, or the one that the page comes back to, without. Raises Refusal."""
        user: object = self.scope["user"]
        session_key = self.scope["session"].session_key
        asked = parse_qs(self.scope["query_string"].decode("ascii", "replace"))
        with translation.override(language_of(user, self.scope["headers"])):
            who = user if (guest := number(asked, "guest")) is None else self._link(guest)
            if not isinstance(who, User | GuestLink) or not session_key:
                raise Refusal(Close.TICKET, translation.gettext("You are signed out: sign in again."))
            if (pk := number(asked, "session")) is not None:
                return consoles.resume(pk, who, session_key), ""
            session = consoles.open_session(
                who,
                session_key,
                int(self.scope["url_route"]["kwargs"]["domain_id"]),
                ConsoleMode.VIEW if asked.get("mode") == ["view"] else ConsoleMode.CONTROL,
                client_address(self.scope.get("client")),
                number(asked, "replaces"),
                ConsoleDevice.SERIAL if asked.get("device") == ["serial"] else ConsoleDevice.SCREEN,
                record=asked.get("record") == ["1"],
            )
            return session, consoles.issue_ticket(session)

    def _link(self, pk: int) -> GuestLink:
        """The link by which this browser was let in as a guest. Raises Refusal."""
        link = guestlinks.held(self.scope["session"], pk)
        if link is None:
            raise Refusal(Close.WITHDRAWN, "link")
        return link

    async def _hold(self, session: ConsoleSession) -> None:
        """Renew the lease and tell what changes, until the console has ended."""
        told: View | None = None
        renewed_at = time.monotonic()
        while told is None or not told.ended:
            try:
                view = await database_sync_to_async(consoleviews.look)(session)
                if time.monotonic() - renewed_at >= RENEW_SECONDS:
                    await database_sync_to_async(consoles.renew)(session.pk)
                    renewed_at = time.monotonic()
            except db.Error as error:
                log.warning("the lease of console %s cannot be renewed now: %s", session.pk, error)
                view = told or View("", [])
            if view != told:
                own = view.own and asdict(view.own)
                others = [asdict(other) for other in view.others]
                await self._say(others=others, own=own, recorded=asdict(view.recorded))
                told = view
            if not view.ended:
                often = TOGETHER_SECONDS if view.others else LOOK_SECONDS
                await self._rest(SETTLING_SECONDS if view.is_settling else often)
        await self._say(ended=told.ended)
        await self.close(Close.WITHDRAWN.value)

    async def _rest(self, seconds: float) -> None:
        """Until it is time to look again, or the page asked for something."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), seconds)
        self._wake.clear()

    async def _say(self, **message: Any) -> None:
        await self.send(json.dumps(message))


def language_of(user: object, headers: Iterable[tuple[bytes, bytes]]) -> str:
    """The language that the person chose, else the one that the browser asks for, as on pages."""
    if isinstance(user, User) and user.language:
        return user.language
    request = HttpRequest()
    request.META["HTTP_ACCEPT_LANGUAGE"] = dict(headers).get(b"accept-language", b"").decode("latin-1")
    return translation.get_language_from_request(request)


def word_of(text: str) -> tuple[str, int] | None:
    """What a page asks for, and of whom; None for anything else."""
    try:
        said = json.loads(text[:LONGEST_WORD])
    except ValueError:
        return None
    word, to = (said.get("do"), said.get("to", 0)) if isinstance(said, dict) else (None, 0)
    if not isinstance(word, str) or type(to) is not int:
        return None
    return (word, to) if (word == "hand" or word in WORDS) and 0 <= to < 2**63 else None


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

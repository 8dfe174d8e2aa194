"""`/ws/events/`: tells an open page that something it shows has changed. It says names; the page reads again.

The page says `{"watch": [names], "age": milliseconds}`: what it shows now, and how long ago it asked for what it
shows, so that nothing announced in between is lost. The socket says `{"changed": [names]}`, `{"degraded": true}` when
announcements cannot be heard, `{"degraded": false}` when they can again, and `{"resync": true}` when the page should
read everything again. It closes with 4401 when the sign-in has ended and 4400 on nonsense.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from typing import Any

from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer
from django import db
from django.contrib.auth import HASH_SESSION_KEY

from webvirt.models import User
from webvirt.realtime.hub import Hub
from webvirt.services.access import Access, access_of
from webvirt.services.announcements import Login, audible

SIGNED_OUT = 4401
NONSENSE = 4400
MOST_NAMES = 1000
LONGEST_MESSAGE = 64 * 1024
BETWEEN_SECONDS = 0.1
"""After one message a socket says nothing for so long; what changes meanwhile comes together."""


class EventsConsumer(AsyncWebsocketConsumer):
    """One page's socket."""

    def __init__(self, hub: Hub) -> None:
        super().__init__()
        self.hub = hub
        self.login = Login("", 0, "")
        self.access: Access | None = None
        self.asked: frozenset[str] = frozenset()
        self.watched: frozenset[str] = frozenset()
        self.news: set[str] = set()
        self.flags: dict[str, bool] = {}
        self.end_code: int | None = None
        self.wake = asyncio.Event()
        self.teller: asyncio.Task[None] | None = None

    async def connect(self) -> None:
        await self.accept()
        user: object = self.scope["user"]
        session = self.scope["session"]
        if not isinstance(user, User):
            await self.close(SIGNED_OUT)
            return
        self.login = Login(session.session_key or "", user.pk, session.get(HASH_SESSION_KEY, ""))
        self.access = await database_sync_to_async(access_of)(user)
        self.teller = asyncio.create_task(self._tell_all())
        self.hub.join(self)

    async def disconnect(self, code: int) -> None:
        if self.teller is not None:
            self.teller.cancel()
            self.hub.leave(self)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        if self.access is None:
            return
        asked = parse(text_data or "")
        if asked is None:
            await self.close(NONSENSE)
            return
        self.asked, age = asked
        shown = self.screens()
        await self._choose()
        if age is not None:
            missed = self.hub.missed(age)
            self.hear(missed) if missed is not None else self.tell(resync=True)
        await self.hub.want_screens(set(self.screens()) - set(shown))

    # --- what the hub calls

    def hear(self, names: frozenset[str]) -> None:
        if mine := names & self.watched:
            self.news |= mine
            self.wake.set()

    def tell(self, **flags: bool) -> None:
        self.flags |= flags
        self.wake.set()

    def regard(self, access: Access) -> None:
        """Rights that changed may have changed everything one sees."""
        if access != self.access:
            self.access = access
            self.tell(resync=True)

    def dismiss(self) -> None:
        self.end_code = SIGNED_OUT
        self.wake.set()

    def screens(self) -> Iterable[int]:
        return [int(name[7:]) for name in self.watched if name.startswith("screen:")]

    # --- what the teller does

    async def _choose(self) -> None:
        """Watch what was asked for and may be heard; the rest is passed over in silence."""
        assert self.access is not None
        self.watched = await database_sync_to_async(audible)(self.access, self.asked)
        self.news &= self.watched

    async def _tell_all(self) -> None:
        """The one that speaks: first news at once, then at most ten times a second."""
        while True:
            await self.wake.wait()
            self.wake.clear()
            if self.end_code is not None:
                await self.close(self.end_code)
                return
            if self.flags.get("resync"):
                await self._choose_again()
            message: dict[str, Any] = {**self.flags}
            if self.news:
                message["changed"] = sorted(self.news)
            self.flags, self.news = {}, set()
            if message:
                await self.send(json.dumps(message))
            await asyncio.sleep(BETWEEN_SECONDS)

    async def _choose_again(self) -> None:
        try:
            await self._choose()
        except db.Error:
            # The page is told to read everything again in any case, and asks anew with that.
            self.watched = frozenset()


def parse(text: str) -> tuple[frozenset[str], float | None] | None:
    """The names and the age in seconds (None: not told) of a page's message, or None for nonsense."""
    if len(text) > LONGEST_MESSAGE:
        return None
    try:
        message = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(message, dict):
        return None
    names, age = message.get("watch"), message.get("age")
    if not isinstance(names, list) or len(names) > MOST_NAMES or not all(isinstance(name, str) for name in names):
        return None
    if age is not None and (not isinstance(age, int | float) or not 0 <= age < 1e9):
        return None
    return frozenset(names), None if age is None else age / 1000

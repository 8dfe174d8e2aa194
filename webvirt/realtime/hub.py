"""One ear for all sockets of a web process: hears announcements from Redis and hands each socket what it asked for.

Announcements carry names only, so nothing is queued: a socket holds a set of names, however slow its browser. When
Redis is away, sockets are told so, and to read everything again once it is back.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import random
import time
from collections import deque
from collections.abc import Iterable
from typing import Any, Protocol

from channels.db import database_sync_to_async
from django import db
from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from webvirt import bus
from webvirt.services.access import Access
from webvirt.services.announcements import Login, rights_of

log = logging.getLogger(__name__)

QUIET_SECONDS = 2.0
"""After so long without a word we ask Redis whether it is there, and give it as long again to say so."""
LONGEST_PAUSE_SECONDS = 5.0
REMEMBERED_SECONDS = 15.0
REMEMBERED_MOST = 5000
CHECK_SECONDS = 10.0
SCREEN_SECONDS = 20.0
"""How long a guest's screen is taken after the last page that shows it said so."""
WANTED_SCREENS = "screens.wanted"
AWAY = (RedisError, OSError, TimeoutError, asyncio.IncompleteReadError)


class Listener(Protocol):
    """A socket as the hub sees it; none of these waits."""

    login: Login

    def hear(self, names: frozenset[str]) -> None: ...
    def tell(self, **flags: bool) -> None: ...
    def regard(self, access: Access) -> None: ...
    def dismiss(self) -> None: ...
    def screens(self) -> Iterable[int]: ...


class Hub:
    """Listens from the first socket on. Belongs to one process and one event loop."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.listeners: set[Listener] = set()
        self.degraded = False
        self._tasks: list[asyncio.Task[None]] = []
        self._heard: deque[tuple[float, frozenset[str]]] = deque()
        self._complete_since: float | None = None
        """Since when (monotonic) we have heard everything; None while we do not listen."""
        self._redis: Redis | None = None

    def join(self, listener: Listener) -> None:
        """Begin to hand announcements to a socket."""
        self.listeners.add(listener)
        if not self._tasks:
            self._redis = Redis.from_url(
                self.address, socket_timeout=1, socket_connect_timeout=1, retry=Retry(NoBackoff(), 0)
            )
            self._tasks = [asyncio.create_task(work()) for work in (self._listen, self._look_after)]
        if self.degraded:
            listener.tell(degraded=True)

    def leave(self, listener: Listener) -> None:
        """Forget a socket. The hub goes on listening, so that the next page misses nothing."""
        self.listeners.discard(listener)

    async def close(self) -> None:
        """Stop listening, for good."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._redis is not None:
            with contextlib.suppress(*AWAY):
                await self._redis.aclose()

    def missed(self, age: float) -> frozenset[str] | None:
        """What was announced in the last `age` seconds, or None when we cannot know all of it."""
        since = time.monotonic() - age
        if self._complete_since is None or since < self._complete_since:
            return None
        return frozenset().union(*(names for when, names in self._heard if when >= since))

    # --- announcements

    async def _listen(self) -> None:
        """Subscribe, hear, and start again after each failure, for ever."""
        pause = 0.1
        while True:
            try:
                assert self._redis is not None
                async with self._redis.pubsub() as ear:
                    await asyncio.wait_for(self._subscribe(ear), 2 * QUIET_SECONDS)
                    pause = 0.1
                    await self._hear(ear)
            except AWAY as error:
                self._lose(error)
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(LONGEST_PAUSE_SECONDS, pause * 2)

    async def _subscribe(self, ear: PubSub) -> None:
        await ear.subscribe(bus.CHANNEL)
        while (await ear.get_message(timeout=QUIET_SECONDS) or {}).get("type") != "subscribe":
            pass
        first = self._complete_since is None and not self.degraded
        self._forget()
        self._complete_since = time.monotonic()
        self.degraded = False
        for listener in self.listeners:
            # Whoever came before we listened may have missed something, too.
            listener.tell(resync=True) if first else listener.tell(degraded=False, resync=True)

    async def _hear(self, ear: PubSub) -> None:
        """Hand out what comes, until Redis does not answer any more."""
        asked = False
        while True:
            message: dict[str, Any] | None = await ear.get_message(timeout=QUIET_SECONDS)
            if message is not None:
                asked = False
                if message["type"] == "message":
                    self._hand_out(names_in(message["data"]))
            elif asked:
                raise TimeoutError("Redis does not answer")
            else:
                await asyncio.wait_for(ear.ping(), QUIET_SECONDS)
                asked = True

    def _hand_out(self, names: frozenset[str]) -> None:
        now = time.monotonic()
        self._heard.append((now, names))
        while self._heard and (self._heard[0][0] < now - REMEMBERED_SECONDS or len(self._heard) > REMEMBERED_MOST):
            self._complete_since = self._heard.popleft()[0] + 1e-6
        for listener in self.listeners:
            listener.hear(names)
        people = {int(name[5:]) for name in names if name.startswith("user:") and name[5:].isdecimal()}
        if people:
            concerned = [listener for listener in self.listeners if listener.login.user_id in people]
            self._tasks.append(asyncio.create_task(self._check(concerned)))

    def _lose(self, error: BaseException) -> None:
        self._forget()
        if not self.degraded:
            log.warning("announcements cannot be heard: %r", error)
            self.degraded = True
            for listener in self.listeners:
                listener.tell(degraded=True)

    def _forget(self) -> None:
        self._heard.clear()
        self._complete_since = None

    # --- people and screens

    async def _look_after(self) -> None:
        """Every few seconds: who is still signed in, with which rights, and which screens are looked at."""
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            self._tasks = [task for task in self._tasks if not task.done()]
            await self._check(list(self.listeners))
            await self.want_screens({pk for listener in self.listeners for pk in listener.screens()})

    async def _check(self, listeners: list[Listener]) -> None:
        """Send away whose sign-in has ended; tell the others their present rights."""
        try:
            rights = await database_sync_to_async(rights_of)([listener.login for listener in listeners])
        except db.Error as error:
            # "Cannot ask" is not "no".
            log.warning("sign-ins cannot be checked now: %s", error)
            return
        for listener in listeners:
            access = rights.get(listener.login)
            if access is None:
                listener.dismiss()
            else:
                listener.regard(access)

    async def want_screens(self, domains: set[int]) -> None:
        """Say to the watcher that pages show these guests' screens."""
        if not domains or self._redis is None:
            return
        now = time.time()
        try:
            async with self._redis.pipeline(transaction=False) as pipe:
                pipe.zadd(WANTED_SCREENS, {str(pk): now + SCREEN_SECONDS for pk in domains})
                pipe.zremrangebyscore(WANTED_SCREENS, "-inf", now)
                await pipe.execute()
        except AWAY as error:
            log.debug("wanted screens: %s", error)


def names_in(data: bytes) -> frozenset[str]:
    """The names of an announcement; what is none has no names."""
    try:
        found = json.loads(data)
    except ValueError:
        return frozenset()
    return frozenset(name for name in found if isinstance(name, str)) if isinstance(found, list) else frozenset()

"""How we announce that something changed: names of objects over Redis, never their content.

A lost announcement costs nothing but time: readers re-read under their own rights, and look again by themselves.
Names are `domain:12`, `host:3`, `pool:4`, `volume:9`, `network:2`, `filter:7`, `secret:9`, `operation:99`, `user:5`,
and for lists `domains`, `hosts`, `pools` (with their volumes), `networks`, `filters`, `secrets`, `operations`,
`images` (the catalogue of cloud images), `flavours`, and for administrators `audit`;
`screen:12` is a new picture of a guest's screen, and `use:3` new figures of use of host 3 and of its domains (for
whoever may see the host or any domain of it).
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections.abc import Iterable
from functools import cache

import redis
from django.conf import settings
from django.db import transaction

log = logging.getLogger(__name__)

CHANNEL = "webvirt.changed"
QUIET_SECONDS = 2.0
"""After a failed announcement nobody waits for Redis for so long; what is to be said meanwhile is said after it."""


class _Unsaid:
    """The names that could not be announced while Redis was away; a thread says them as soon as it is back."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.names: set[str] = set()
        self.waiting = False


_unsaid = _Unsaid()
# A fork inherits neither the thread nor, perhaps, a lock that anybody would open.
os.register_at_fork(after_in_child=_unsaid.__init__)  # type: ignore[misc]


@cache
def store() -> redis.Redis:
    """This process's Redis client, with bounds on every wait."""
    return redis.Redis.from_url(
        settings.WEBVIRT_REDIS, socket_timeout=1, socket_connect_timeout=1, health_check_interval=30
    )


def announce(names: Iterable[str]) -> None:
    """Tell every open page that these objects changed, once the transaction that changed them is in."""
    wanted = sorted(set(names))
    if wanted:
        transaction.on_commit(lambda: _publish(wanted), robust=True)


def _publish(names: list[str]) -> None:
    with _unsaid.lock:
        if _unsaid.waiting:
            _unsaid.names.update(names)
            return
    try:
        store().publish(CHANNEL, json.dumps(names))
    except redis.RedisError as error:
        log.warning("announcing %s: %s", " ".join(names[:5]), error)
        _keep(names)


def _keep(names: list[str]) -> None:
    with _unsaid.lock:
        _unsaid.names.update(names)
        if not _unsaid.waiting:
            _unsaid.waiting = True
            threading.Thread(target=_say_later, name="announce-later", daemon=True).start()


def _say_later() -> None:
    """Try until Redis has heard all that is unsaid."""
    while True:
        time.sleep(QUIET_SECONDS)
        with _unsaid.lock:
            names = sorted(_unsaid.names)
            _unsaid.names.clear()
            if not names:
                _unsaid.waiting = False
                return
        try:
            store().publish(CHANNEL, json.dumps(names))
        except redis.RedisError:
            with _unsaid.lock:
                _unsaid.names.update(names)

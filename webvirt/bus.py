"""How we announce that something changed: names of objects over Redis, never their content.

A lost announcement costs nothing but time: readers re-read under their own rights, and look again by themselves.
Names are `domain:12`, `host:3`, `pool:4`, `volume:9`, `network:2`, `operation:99`, `user:5`, and for lists `domains`,
`hosts`, `pools` (with their volumes), `networks`, `operations`;
`screen:12` is a new picture of a guest's screen, and `use:3` new figures of use of host 3 and of its domains (for
whoever may see the host or any domain of it).
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterable
from functools import cache

import redis
from django.conf import settings
from django.db import transaction

log = logging.getLogger(__name__)

CHANNEL = "webvirt.changed"
QUIET_SECONDS = 2.0
"""After a failed announcement we do not try again for so long, so that a dead Redis slows nobody."""


class _Quiet:
    """Until when (monotonic) nothing is announced."""

    until = 0.0


_quiet = _Quiet()


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
    if time.monotonic() < _quiet.until:
        return
    try:
        store().publish(CHANNEL, json.dumps(names))
    except redis.RedisError as error:
        _quiet.until = time.monotonic() + QUIET_SECONDS
        log.warning("announcing %s: %s", " ".join(names[:5]), error)

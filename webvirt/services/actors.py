"""Who asks, and by which way. The doors say it once; what is written down on the way asks here."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from webvirt.models import ApiToken, Origin, User


@dataclass(frozen=True)
class Actor:
    """Who asks, and by which way; `user` is None when the system itself does, or somebody who is not signed in."""

    user: User | None
    origin: Origin
    address: str | None = None
    token_name: str = ""
    request_key: str = ""
    """What a program calls this request; asking again under the same key gives the same operation, nothing twice."""
    token: ApiToken | None = None
    """What they ask with, if it is one: they may no more than it."""
    called: str = ""
    """Their name where they have no account here: the Unix user at a command line."""

    @property
    def name(self) -> str:
        """Empty for somebody who is not signed in."""
        if self.user is not None:
            return self.user.get_username()
        return self.called or ("" if self.origin in (Origin.PAGE, Origin.API) else "webvirt")


_now: ContextVar[Actor] = ContextVar("actor")


def current() -> Actor:
    """Who asks at the moment; the system itself where no door said anything else."""
    return _now.get(Actor(None, Origin.SYSTEM))


def become(actor: Actor) -> None:
    """Say who asks, from now until the `acting` around this ends: who it is may show only on the way."""
    _now.set(actor)


def at_command_line() -> Actor:
    """Whoever runs a command on this machine, by the name of their Unix account."""
    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        name = f"uid {os.getuid()}"
    return Actor(None, Origin.COMMAND, called=name)


@contextmanager
def acting(actor: Actor) -> Iterator[None]:
    """Say who asks, meanwhile."""
    before = _now.set(actor)
    try:
        yield
    finally:
        _now.reset(before)

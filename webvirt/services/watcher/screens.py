"""Taking the screens that somebody looks at: little of each host, and never held up by a guest that hangs."""

from __future__ import annotations

import logging
import time
from concurrent.futures import Future
from concurrent.futures import TimeoutError as TooLate
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import NamedTuple, cast

from PIL import Image

from webvirt import bus
from webvirt.hypervisor.connection import Connection
from webvirt.hypervisor.errors import HostRefused, HostUnreachable, HypervisorError
from webvirt.hypervisor.types import Screenshot
from webvirt.models import Domain, Host
from webvirt.services import inventory
from webvirt.services.screens import differ_by_a_dot, digest_of, is_old, opened, outline_of, pictures_of
from webvirt.services.watcher.usage import begun

log = logging.getLogger(__name__)

WANTED = "screens.wanted"
"""Redis sorted set: id of a domain whose screen a page shows, until when (epoch seconds)."""
TURN_SECONDS = 0.2
"""One is begun each turn at most, so five a second for each host, however many are looked at."""
EACH_SECONDS = 2.0
"""The same screen is taken no sooner again."""
ASK_SECONDS = 1.0
AT_ONCE = 3
DEADLINE_SECONDS = 6.0
LEFT_OUT_SECONDS = 30.0
LEFT_OUT_MOST_SECONDS = 120.0
STANDS_SECONDS = 10.0
"""So often it is written down that pictures are still true."""
DOT_SECONDS = 10.0
"""A change that may be a blinking cursor is told no sooner than so long after the last one."""


class Looked(NamedTuple):
    """A guest whose screen is looked at, and the picture of it that is kept."""

    pk: int
    digest: str | None
    taken_at: datetime | None


class LeftOut(NamedTuple):
    """A guest that is not asked until then (monotonic), and how long it was left out."""

    until: float
    seconds: float


@dataclass
class Shot:
    """A screen that is being taken, until when (monotonic) at the most."""

    future: Future[Screenshot]
    until: float


@dataclass
class Screens:
    """Takes screens in turns: of those that are wanted, the one that waits longest, a few at once."""

    host: Host
    active: set[str]
    wanted: dict[str, Looked] = field(default_factory=dict)
    begun: dict[str, float] = field(default_factory=dict)
    """When (monotonic) each was taken last."""
    under_way: dict[str, Shot] = field(default_factory=dict)
    left_out: dict[str, LeftOut] = field(default_factory=dict)
    told: dict[str, tuple[float, Image.Image]] = field(default_factory=dict)
    """When (monotonic) a picture was told last, and its outline."""
    standing: set[str] = field(default_factory=set)
    """Whose pictures were found to be true since that was written down."""
    _asked_at: float = -ASK_SECONDS
    _written_at: float = 0.0

    @property
    def is_idle(self) -> bool:
        return not self.wanted and not self.under_way

    def ask(self) -> None:
        """Read who is looked at right now."""
        now = time.monotonic()
        if now - self._asked_at < ASK_SECONDS:
            return
        self._asked_at = now
        members = cast(list[bytes], bus.store().zrangebyscore(WANTED, time.time(), "+inf"))
        here = Domain.objects.filter(host=self.host, pk__in=[int(pk) for pk in members], uuid__in=list(self.active))
        rows = here.values_list("uuid", "pk", "screen__digest", "screen__taken_at") if members else ()
        self.wanted = {uuid: Looked(pk, digest, taken_at) for uuid, pk, digest, taken_at in rows}
        for kept in (self.begun, self.told, self.left_out):
            for uuid in set(kept) - set(self.wanted):
                del kept[uuid]

    def turn(self, connection: Connection) -> None:
        """Keep what has come, and begin with the next. Raises TooLate when one hung: its call keeps the connection."""
        self.gather()
        now = time.monotonic()
        if len(self.under_way) < AT_ONCE and (uuid := self.next_one(now)):
            self.begun[uuid] = now
            call = partial(connection.domains.screenshot, uuid)
            self.under_way[uuid] = Shot(begun(call), now + DEADLINE_SECONDS)
        if self.standing and now - self._written_at >= STANDS_SECONDS:
            self.write_standing()

    def next_one(self, now: float) -> str | None:
        """The one that waits longest of those that may be taken now."""
        due = [uuid for uuid in self.wanted if uuid not in self.under_way and self.may_be_taken(uuid, now)]
        return min(due, key=lambda uuid: self.begun.get(uuid, 0.0), default=None)

    def may_be_taken(self, uuid: str, now: float) -> bool:
        out = self.left_out.get(uuid)
        return now - self.begun.get(uuid, -EACH_SECONDS) >= EACH_SECONDS and (out is None or out.until <= now)

    def gather(self) -> None:
        """Keep the screens that have come, and leave out for a while those that did not."""
        now = time.monotonic()
        for uuid, shot in list(self.under_way.items()):
            if shot.future.done():
                del self.under_way[uuid]
                self.take_in(uuid, shot.future)
            elif shot.until <= now:
                del self.under_way[uuid]
                self.leave_out(uuid)
                raise TooLate(f"the screen of {uuid}")

    def take_in(self, uuid: str, future: Future[Screenshot]) -> None:
        try:
            png = future.result().png
        except (HostUnreachable, HostRefused):
            raise
        except HypervisorError as error:
            log.debug("%s: the screen of %s: %s", self.host.name, uuid, error)
            self.leave_out(uuid)
            return
        self.left_out.pop(uuid, None)
        looked = self.wanted.get(uuid)
        if looked is None or digest_of(png) != looked.digest:
            self.tell(uuid, png)
        else:
            self.stands(uuid)

    def tell(self, uuid: str, png: bytes) -> None:
        """Keep a new picture, but a cursor that blinks is not told each time."""
        now, whole = time.monotonic(), opened(png)
        outline, last = outline_of(whole), self.told.get(uuid)
        if last and now - last[0] < DOT_SECONDS and differ_by_a_dot(last[1], outline):
            self.stands(uuid)
            return
        self.told[uuid] = (now, outline)
        pictures = pictures_of(png, whole)
        pk = inventory.remember_screen(self.host, uuid, pictures)
        if pk is not None and uuid in self.wanted:
            self.wanted[uuid] = self.wanted[uuid]._replace(digest=pictures.digest)

    def stands(self, uuid: str) -> None:
        """The picture that is kept is still true; where it was told to be old, that is told at once."""
        self.standing.add(uuid)
        looked = self.wanted.get(uuid)
        if looked and looked.taken_at and is_old(looked.taken_at):
            self.write_standing()

    def write_standing(self) -> None:
        standing, self.standing = self.standing, set()
        self._written_at = time.monotonic()
        inventory.screens_stand(self.host, standing)

    def leave_out(self, uuid: str) -> None:
        seconds = min(
            LEFT_OUT_MOST_SECONDS, 2 * self.left_out[uuid].seconds if uuid in self.left_out else LEFT_OUT_SECONDS
        )
        self.left_out[uuid] = LeftOut(time.monotonic() + seconds, seconds)

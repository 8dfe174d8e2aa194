"""The small things that make a machine's page alive: its screen while somebody looks, and its addresses."""

from __future__ import annotations

import logging
import time
from concurrent.futures import TimeoutError as TooLate
from dataclasses import dataclass, field
from functools import partial

from redis.exceptions import RedisError

from webvirt.hypervisor.connection import Connection, connect
from webvirt.hypervisor.errors import HypervisorError
from webvirt.models import Host
from webvirt.services import inventory
from webvirt.services.unsealing import way_to
from webvirt.services.watcher.screens import TURN_SECONDS, Screens
from webvirt.services.watcher.usage import in_time

log = logging.getLogger(__name__)

IDLE_SECONDS = 2.0
"""So long a turn is while nobody looks at any screen."""
DEADLINE_SECONDS = 6.0
FIRST_LOOK_SECONDS = 2.0
LAST_LOOK_SECONDS = 60.0


@dataclass
class Vignettes:
    """Takes screens and asks for addresses, over a handle of its own."""

    host: Host
    active: set[str]
    look_at: dict[str, tuple[float, float]] = field(default_factory=dict)
    """When (monotonic) to ask a domain for its addresses, and how long to wait after that."""
    _connection: Connection | None = None

    def __post_init__(self) -> None:
        self.taking = Screens(self.host, self.active)

    def run(self) -> None:
        """Do a little at every turn for as long as the process lives."""
        while True:
            for step in (self.screens, self.addresses):
                try:
                    step()
                except (HypervisorError, TooLate, RedisError) as error:
                    log.debug("%s: %s", self.host.name, error)
                    self._connection = None
            time.sleep(IDLE_SECONDS if self.taking.is_idle else TURN_SECONDS)

    @property
    def connection(self) -> Connection:
        if self._connection is None:
            self._connection = connect(way_to(self.host))
        return self._connection

    def screens(self) -> None:
        """Take a screen that somebody looks at right now."""
        self.taking.ask()
        if not self.taking.is_idle:
            self.taking.turn(self.connection)

    def addresses(self) -> None:
        """Ask running guests for their addresses: soon and often after the start, then once a minute."""
        now = time.monotonic()
        self.look_at = {
            uuid: self.look_at.get(uuid, (now + FIRST_LOOK_SECONDS, FIRST_LOOK_SECONDS)) for uuid in list(self.active)
        }
        connection = self.connection
        for uuid in [uuid for uuid, (when, _) in self.look_at.items() if when <= now]:
            pause = min(LAST_LOOK_SECONDS, self.look_at[uuid][1] * 2)
            self.look_at[uuid] = (now + pause, pause)
            found = in_time(partial(connection.domains.addresses, uuid), DEADLINE_SECONDS)
            inventory.remember_addresses(self.host, uuid, found)

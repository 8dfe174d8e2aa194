"""Values that nobody may read again, on their way from who entered them to the worker that hands them to a host.

They are in no row, no log and no message: what an operation keeps of one is `**********`. The value itself waits in
Redis, sealed, for a while, and is gone once it is taken.
"""

from __future__ import annotations

import json

from pydantic import SecretStr

from webvirt import bus
from webvirt.models import Operation
from webvirt.services.catalogue import Queue, Spec
from webvirt.services.seals import Seal

KEPT_SECONDS = {Queue.FAST: 60, Queue.SLOW: 3600}
"""By the operation's queue: what takes minutes may wait for others of its kind."""


def key_of(operation: Operation) -> str:
    return f"webvirt.hidden.{operation.pk}"


def hide(operation: Operation, spec: Spec) -> None:
    """Keep what an operation's row must not hold, for its worker. Raises RedisError or NoKey."""
    secrets = {name: value.get_secret_value() for name, value in spec if isinstance(value, SecretStr)}
    values = {name: value for name, value in secrets.items() if value}
    if values:
        key = key_of(operation)
        bus.store().set(key, Seal().close(json.dumps(values), key), ex=KEPT_SECONDS[Queue(operation.queue)])

"""The worker's end of `services.hidden`."""

from __future__ import annotations

import json

from pydantic import SecretStr

from webvirt import bus
from webvirt.models import Operation
from webvirt.services.catalogue import Spec
from webvirt.services.hidden import key_of
from webvirt.services.unsealing import Keys, Unavailable


def take(operation: Operation, spec: type[Spec]) -> dict[str, str] | None:
    """The values that were hidden, once; None where there should be some and are none any more. Raises RedisError."""
    secret = [name for name, part in spec.model_fields.items() if part.annotation is SecretStr]
    if not any(operation.parameters.get(name) for name in secret):
        return {}
    key = key_of(operation)
    found: bytes | None = bus.store().getdel(key)  # type: ignore[assignment]
    if found is None:
        return None
    try:
        return dict(json.loads(Keys().open(found.decode(), key)))
    except Unavailable:
        return None

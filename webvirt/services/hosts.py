"""Adding a host: its row and the operation that tries the connection, in one go."""

from __future__ import annotations

from typing import Any, cast

from django.core.exceptions import ValidationError
from django.db import transaction

from webvirt import bus
from webvirt.models import Host, Operation
from webvirt.services.access import access_of
from webvirt.services.catalogue import BY_KIND
from webvirt.services.catalogue.hosts import HostSpec
from webvirt.services.operations import Actor, Denied, Invalid, asked_before, parse_parameters, submit

ADD = BY_KIND["host.add"]


def add(actor: Actor, parameters: dict[str, Any]) -> Operation:
    """Create a host and submit `host.add`. Raises Denied, or Invalid with a sentence for each wrong field."""
    if actor.user is not None and not access_of(actor.user).is_administrator:
        raise Denied(str(ADD.label))
    spec = cast(HostSpec, parse_parameters(ADD, parameters))
    if before := asked_before(actor, ADD, spec):
        return before
    host = Host(name=spec.name, transport=spec.transport, hostname=spec.hostname, port=spec.port, user=spec.user)
    with transaction.atomic():
        check_unique(host)
        host.save()
        operation = submit(actor, ADD, host, parameters)
        bus.announce(["hosts"])
    return operation


def check_unique(host: Host) -> None:
    """Raise Invalid when another host has this name or address."""
    try:
        host.validate_constraints()
    except ValidationError as error:
        raise Invalid({"name": " ".join(error.messages)}) from None

"""Adding a host: its row and the operation that tries the connection, in one go; and what hosts know us by."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from django.conf import settings
from django.core.exceptions import ValidationError
from django.utils import timezone

from webvirt import bus
from webvirt.models import Host, Operation
from webvirt.services import audit
from webvirt.services.catalogue import BY_KIND
from webvirt.services.catalogue.hosts import HostSpec
from webvirt.services.operations import (
    Actor,
    Denied,
    Invalid,
    NotNow,
    access_by,
    asked_before,
    denials_noted,
    parse_parameters,
    submit,
)
from webvirt.services.phrases import said
from webvirt.services.seals import NoKey, seal_password

ADD = BY_KIND["host.add"]


def add(actor: Actor, parameters: dict[str, Any]) -> Operation:
    """Create a host and submit `host.add`. Raises Denied, or Invalid with a sentence for each wrong field."""
    with denials_noted(actor, ADD, None):
        if not access_by(actor.user, actor.token).is_administrator:
            raise Denied(str(ADD.label))
    spec = cast(HostSpec, parse_parameters(ADD, parameters))
    if before := asked_before(actor, ADD, spec):
        return before
    host = Host(name=spec.name, transport=spec.transport, hostname=spec.hostname, port=spec.port, user=spec.user)
    with audit.writing():
        check_unique(host)
        host.save()
        keep_password(host, spec)
        operation = submit(actor, ADD, host, parameters)
        bus.announce(["hosts"])
    return operation


def keep_password(host: Host, spec: HostSpec) -> None:
    """Keep the password that was entered for a host, whose address is the new one by now. Raises NotNow."""
    password = spec.password.get_secret_value()
    if not password:
        return
    try:
        seal_password(host, password)
    except NoKey as error:
        raise NotNow(said(str(error))) from None
    host.password_at = timezone.now()
    host.save(update_fields=["sealed_password", "password_at"])


def our_keys() -> list[str]:
    """The public SSH keys by which hosts let us in, the one to come first; none before the first start is over."""
    folder: Path = settings.WEBVIRT_HOME / "ssh"
    found = []
    for name in ("id_ed25519_next.pub", "id_ed25519.pub"):
        try:
            found.append((folder / name).read_text().strip())
        except OSError:
            continue
    return found


def check_unique(host: Host) -> None:
    """Raise Invalid when another host has this name or address."""
    try:
        host.validate_constraints()
    except ValidationError as error:
        raise Invalid({"name": " ".join(error.messages)}) from None

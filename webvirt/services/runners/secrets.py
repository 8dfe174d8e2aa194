"""Runners of the verbs of secrets."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from webvirt.models import Secret
from webvirt.services import inventory, uses
from webvirt.services.catalogue.secrets import CreateSecretSpec, ValueSpec
from webvirt.services.runners.context import Context, Result
from webvirt.services.runners.storage import refuse


def look_at_secrets(context: Context) -> None:
    """Read the host's secrets once more."""
    inventory.reconcile_secrets(context.operation.host, context.connection.secrets.list())


def create(context: Context) -> Result:
    spec = cast(CreateSecretSpec, context.spec)
    uuid = context.connection.secrets.create(spec.secret, spec.data)
    look_at_secrets(context)
    return {"secret": Secret.objects.get(host=context.operation.host, uuid=uuid).name}


def set_value(context: Context) -> Result:
    context.connection.secrets.set_value(context.secret.uuid, cast(ValueSpec, context.spec).data)
    return None


def undefine(context: Context) -> Result:
    refuse(uses.secret_in_use(context.secret))
    context.connection.secrets.undefine(context.secret.uuid)
    look_at_secrets(context)
    return None


RUNNERS: dict[str, Callable[[Context], Result]] = {
    "secret.create": create,
    "secret.set_value": set_value,
    "secret.undefine": undefine,
}

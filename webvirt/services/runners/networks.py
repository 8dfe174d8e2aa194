"""Runners of the verbs of virtual networks."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from webvirt.hypervisor.networks import NetworkCalls
from webvirt.hypervisor.types import version_of
from webvirt.services import inventory, uses
from webvirt.services.catalogue.networks import CreateNetworkSpec, EditNetworkSpec, LeaseSpec
from webvirt.services.catalogue.specs import AutostartSpec
from webvirt.services.runners.context import Context, Result
from webvirt.services.runners.storage import refuse


def on_network(call: Callable[[NetworkCalls, str], None]) -> Callable[[Context], Result]:
    """A runner for a verb that is one call with nothing but the network."""

    def runner(context: Context) -> Result:
        call(context.connection.networks, context.network.uuid)
        look_at_networks(context)
        return None

    return runner


def look_at_networks(context: Context) -> None:
    """Read the host's networks once more, and the definition of the one that this is about."""
    calls, host = context.connection.networks, context.operation.host
    lines = calls.list()
    changed = inventory.reconcile_networks(host, lines)
    ours = {context.network.uuid} if context.operation.subject.startswith("network:") else set()
    for uuid in (changed | ours) & {line.uuid for line in lines}:
        inventory.remember_network(host, calls.read(uuid))


def create(context: Context) -> Result:
    """Define and start it. What fails leaves no network behind."""
    spec = cast(CreateNetworkSpec, context.spec)
    calls = context.connection.networks
    uuid = calls.define(spec.network)
    try:
        calls.start(uuid)
        calls.set_autostart(uuid, True)
    except Exception:
        calls.undefine(uuid)
        raise
    look_at_networks(context)
    return {"network": spec.name}


def edit(context: Context) -> Result:
    """Change what can be changed while it runs, and say what waits for its next start."""
    spec = cast(EditNetworkSpec, context.spec)
    seen = spec.seen or version_of(context.network.xml)
    changed = context.connection.networks.change(context.network.uuid, spec.network, seen)
    look_at_networks(context)
    return {"waiting": ", ".join(changed.waiting)} if changed.waiting else None


def autostart(context: Context) -> Result:
    context.connection.networks.set_autostart(context.network.uuid, cast(AutostartSpec, context.spec).enabled)
    look_at_networks(context)
    return None


def keep_address(context: Context) -> Result:
    context.connection.networks.add_static_lease(context.network.uuid, cast(LeaseSpec, context.spec).lease)
    look_at_networks(context)
    return None


def free_address(context: Context) -> Result:
    context.connection.networks.remove_static_lease(context.network.uuid, cast(LeaseSpec, context.spec).lease)
    look_at_networks(context)
    return None


def undefine(context: Context) -> Result:
    refuse(uses.network_in_use(context.network))
    context.connection.networks.undefine(context.network.uuid)
    look_at_networks(context)
    return None


RUNNERS: dict[str, Callable[[Context], Result]] = {
    "network.create": create,
    "network.start": on_network(lambda networks, uuid: networks.start(uuid)),
    "network.stop": on_network(lambda networks, uuid: networks.stop(uuid)),
    "network.autostart": autostart,
    "network.edit": edit,
    "network.keep_address": keep_address,
    "network.free_address": free_address,
    "network.undefine": undefine,
}

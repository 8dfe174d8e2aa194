"""Runners of the verbs of network filters."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from webvirt.hypervisor.types import version_of
from webvirt.hypervisor.xml.filters import checked_filter, parse_filter
from webvirt.services import inventory, uses
from webvirt.services.catalogue.filters import CreateFilterSpec, EditFilterSpec
from webvirt.services.runners.context import Context, Result
from webvirt.services.runners.storage import refuse


def look_at_filters(context: Context) -> None:
    """Read the host's filters once more: libvirt sends no events of them."""
    inventory.reconcile_filters(context.operation.host, context.connection.filters.list())


def create(context: Context) -> Result:
    xml = cast(CreateFilterSpec, context.spec).xml
    context.connection.filters.define(xml)
    look_at_filters(context)
    return {"filter": parse_filter(xml).name}


def edit(context: Context) -> Result:
    """Put another definition in its place. libvirt changes the rules of running machines at once, or not at all."""
    spec = cast(EditFilterSpec, context.spec)
    calls, known = context.connection.filters, context.filter
    xml = checked_filter(spec.xml, calls.read(known.uuid))
    calls.define(xml, spec.seen or version_of(known.xml))
    look_at_filters(context)
    return None


def undefine(context: Context) -> Result:
    refuse(uses.filter_in_use(context.filter))
    context.connection.filters.undefine(context.filter.uuid)
    look_at_filters(context)
    return None


RUNNERS: dict[str, Callable[[Context], Result]] = {
    "filter.create": create,
    "filter.edit": edit,
    "filter.undefine": undefine,
}

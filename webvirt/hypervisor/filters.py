"""What can be asked of and done to network filters, and which filter a guest's card goes through."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import libvirt

from webvirt.hypervisor.calls import Handle, told, translating
from webvirt.hypervisor.errors import NotFound, WrongState
from webvirt.hypervisor.types import FilterInfo
from webvirt.hypervisor.xml.filters import CardChange, card_with_filter, checked_filter, parse_filter


class FilterCalls:
    """The network filters of one host. Every method raises a HypervisorError of the kind that fits."""

    def __init__(self, handle: Handle) -> None:
        self._handle = handle

    def list(self) -> builtins.list[FilterInfo]:
        """Every filter of the host; one call, and one for each."""
        with self._handle.call() as raw:
            return told(raw.listAllNWFilters(0), parse_filter)

    def read(self, uuid: str) -> FilterInfo:
        with self._handle.call() as raw:
            return parse_filter(raw.nwfilterLookupByUUIDString(uuid).XMLDesc(0))

    def define(self, xml: str, seen: str = "") -> str:
        """Make a filter, or put another definition in the place of the one of its name or uuid; returns its uuid.

        `seen` is the `version` of the one that was edited, empty for a new one. libvirt swaps the rules of running
        guests by itself and goes back to the old ones if that fails: at no moment is a guest without them.
        Raises WrongState when the filter has become another one since, or when there is one already.
        """
        given = parse_filter(xml)
        with self._handle.call() as raw:
            before = found(raw.nwfilterLookupByUUIDString, given.uuid) or found(raw.nwfilterLookupByName, given.name)
            if before and not seen:
                raise WrongState("There is a filter of that name or uuid already: edit that one.")
            if seen and (before is None or before.version != seen):
                raise WrongState("The filter was changed or taken away meanwhile: look at it again, then change it.")
            return str(raw.nwfilterDefineXML(checked_filter(xml, before)).UUIDString())

    def undefine(self, uuid: str) -> None:
        """Delete it. Raises WrongState while a running guest or another filter uses it."""
        with self._handle.call() as raw:
            raw.nwfilterLookupByUUIDString(uuid).undefine()

    def assign(self, domain_uuid: str, mac: str, filter_name: str) -> None:
        """Send what a guest's card sends and gets through a filter, "" for none; at once and for good.

        Raises NotFound for a filter or a card that is not there; then nothing has changed. A running guest is never
        without the old or the new filter: its cable is out for the second between them.
        """
        with self._handle.call() as raw:
            domain = raw.lookupByUUIDString(domain_uuid)
            if filter_name:
                raw.nwfilterLookupByName(filter_name)
            # What is in force and what is kept may differ, so each is changed as it is. The running guest comes first:
            # that is where the change may be refused.
            live = change_at(domain, 0, mac, filter_name) if domain.isActive() else None
            kept = None
            if domain.isPersistent():
                kept = change_at(domain, libvirt.VIR_DOMAIN_XML_INACTIVE, mac, filter_name)
            if live:
                change_live(domain, live)
            if kept:
                domain.updateDeviceFlags(kept.after, libvirt.VIR_DOMAIN_AFFECT_CONFIG)


def change_at(domain: Any, which: int, mac: str, filter_name: str) -> CardChange:
    return card_with_filter(domain.XMLDesc(which | libvirt.VIR_DOMAIN_XML_SECURE), mac, filter_name)


def change_live(domain: Any, change: CardChange) -> None:
    """libvirt takes the old filter's rules away before it sets the new one's, which takes it a second."""
    if not change.swaps:
        domain.updateDeviceFlags(change.after, libvirt.VIR_DOMAIN_AFFECT_LIVE)
        return
    domain.updateDeviceFlags(change.unplugged, libvirt.VIR_DOMAIN_AFFECT_LIVE)
    try:
        # It plugs the cable in after it has set the rules.
        domain.updateDeviceFlags(change.after, libvirt.VIR_DOMAIN_AFFECT_LIVE)
    except libvirt.libvirtError:
        domain.updateDeviceFlags(change.before, libvirt.VIR_DOMAIN_AFFECT_LIVE)
        raise


def found(look_up: Callable[[str], Any], key: str) -> FilterInfo | None:
    """The filter of that name or uuid, None where there is none."""
    with suppress(NotFound), translating():
        return parse_filter(look_up(key).XMLDesc(0)) if key else None
    return None

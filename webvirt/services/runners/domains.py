"""Runners of the verbs of domains. Each says "we asked"; what became of it comes from inventory."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from django.utils.translation import gettext_noop

from webvirt.hypervisor.domains import DomainCalls
from webvirt.models import Volume
from webvirt.services import inventory
from webvirt.services.catalogue.building import source_of
from webvirt.services.catalogue.domains import EditSpec, EjectSpec, InsertSpec, RenameSpec, SendKeySpec, SetFilterSpec
from webvirt.services.catalogue.specs import AutostartSpec, RecordSpec
from webvirt.services.runners.context import Context, Failed, Result
from webvirt.services.screens import opened, pictures_of


def plain(call: Callable[[DomainCalls, str], None]) -> Callable[[Context], Result]:
    """A runner for a verb that is one call with nothing but the domain."""

    def runner(context: Context) -> Result:
        call(context.connection.domains, context.domain.uuid)
        return None

    return runner


def save(context: Context) -> Result:
    def progress(done: int, total: int) -> None:
        context.progress(gettext_noop("writing memory to disk"), done, total)

    context.connection.domains.save(context.domain.uuid, progress)
    return None


def autostart(context: Context) -> Result:
    spec = cast(AutostartSpec, context.spec)
    context.connection.domains.set_autostart(context.domain.uuid, spec.enabled)
    look_again(context)
    return None


def rename(context: Context) -> Result:
    spec = cast(RenameSpec, context.spec)
    context.connection.domains.rename(context.domain.uuid, spec.name)
    return None


def edit(context: Context) -> Result:
    spec = cast(EditSpec, context.spec)
    context.connection.domains.describe(
        context.domain.uuid, title=spec.title, description=spec.description, tags=spec.tags
    )
    look_again(context)
    return None


def set_filter(context: Context) -> Result:
    spec = cast(SetFilterSpec, context.spec)
    context.connection.filters.assign(context.domain.uuid, spec.mac, spec.filter)
    look_again(context)
    return None


def screenshot(context: Context) -> Result:
    shot = context.connection.domains.screenshot(context.domain.uuid)
    inventory.remember_screen(context.operation.host, context.domain.uuid, pictures_of(shot.png, opened(shot.png)))
    return {"bytes": len(shot.png)}


def send_key(context: Context) -> Result:
    spec = cast(SendKeySpec, context.spec)
    context.connection.domains.send_key(context.domain.uuid, spec.keys, spec.hold_ms)
    return None


def insert(context: Context) -> Result:
    spec = cast(InsertSpec, context.spec)
    disc = Volume.objects.select_related("pool").filter(pk=spec.volume, pool__host=context.operation.host).first()
    if disc is None or disc.missing_since:
        raise Failed(gettext_noop("The disc is not on this host (any more)."))
    context.connection.domains.insert(context.domain.uuid, spec.drive, source_of(disc))
    look_again(context)
    return None


def eject(context: Context) -> Result:
    context.connection.domains.eject(context.domain.uuid, cast(EjectSpec, context.spec).drive)
    look_again(context)
    return None


def record(context: Context) -> Result:
    """Known here, not to the host. Consoles that are open without it are opened again by their pages."""
    inventory.be_recorded(context.domain, is_recorded=cast(RecordSpec, context.spec).enabled)
    return None


def forget(context: Context) -> Result:
    if not inventory.forget(context.domain):
        raise Failed(gettext_noop("It is on its host again."))
    return None


def look_again(context: Context) -> None:
    """Read the domain once more, for the changes that libvirt sends no event of."""
    reading = context.connection.domains.read(context.domain.uuid)
    inventory.remember_definition(context.host, reading)
    inventory.reconcile(context.host, [reading.summary], asked=[context.domain.uuid])


RUNNERS: dict[str, Callable[[Context], Result]] = {
    "domain.start": plain(DomainCalls.start),
    "domain.resume": plain(DomainCalls.resume),
    "domain.restore": plain(DomainCalls.restore),
    "domain.shutdown": plain(DomainCalls.shutdown),
    "domain.reboot": plain(DomainCalls.reboot),
    "domain.suspend": plain(DomainCalls.suspend),
    "domain.reset": plain(DomainCalls.reset),
    "domain.destroy": plain(DomainCalls.destroy),
    "domain.discard": plain(DomainCalls.discard_saved),
    "domain.save": save,
    "domain.autostart": autostart,
    "domain.rename": rename,
    "domain.edit": edit,
    "domain.set_filter": set_filter,
    "domain.insert": insert,
    "domain.eject": eject,
    "domain.record": record,
    "domain.forget": forget,
    "domain.screenshot": screenshot,
    "domain.send_key": send_key,
}

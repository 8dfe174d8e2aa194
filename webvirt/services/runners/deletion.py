"""Runners that take a machine away: into the recycle bin, back out of it, and for good."""

from __future__ import annotations

from contextlib import suppress
from typing import cast

from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from webvirt.hypervisor.errors import HypervisorError, NotFound
from webvirt.hypervisor.types import DomainSummary
from webvirt.models import Domain, Volume
from webvirt.services import belongings, inventory, templates
from webvirt.services.catalogue.domains import DeleteSpec
from webvirt.services.runners.context import Context, Failed, Result
from webvirt.services.runners.domains import look_again
from webvirt.services.runners.storage import look_at_volumes, refuse


def delete(context: Context) -> Result:
    """Out of sight, with everything where it is: its host keeps the definition, firmware, TPM and disks as they are."""
    domain, calls = context.domain, context.connection.domains
    volumes = belongings.chosen(domain, cast(DeleteSpec, context.spec).volumes)
    refuse(templates.is_needed(domain))
    before = {"name": domain.name, "autostart": domain.autostart, "volumes": [volume.pk for volume in volumes]}
    demand_off(context, domain)
    if domain.autostart:
        calls.set_autostart(domain.uuid, False)
    # Its name is free for another then. What libvirt cannot rename (a machine with snapshots) keeps it.
    with suppress(HypervisorError):
        calls.rename(domain.uuid, name_in_bin(domain))
    inventory.put_in_bin(domain, before)
    look_again(context)
    return {"volumes": len(volumes)}


def name_in_bin(domain: Domain) -> str:
    return f"{domain.name[:60]}.deleted-{domain.pk}"


def demand_off(context: Context, domain: Domain) -> DomainSummary:
    """The machine as its host has it. Raises Failed for one that somebody started while this waited."""
    (summary,) = context.connection.domains.summaries([domain.uuid]) or (None,)
    if summary is None:
        raise NotFound(_("The machine is not on its host any more."))
    if summary.state not in ("shutoff", "crashed"):
        raise Failed(gettext_noop("It is running: shut it down first."))
    return summary


def undelete(context: Context) -> Result:
    """As it was, under its name and with its grants and history."""
    domain, calls = context.domain, context.connection.domains
    before = domain.before_bin
    if before["name"] != domain.name:
        if Domain.objects.kept().filter(host=domain.host, name=before["name"], missing_since=None).exists():
            raise Failed(
                gettext_noop("There is another machine of its name, %(name)s, by now.") % {"name": before["name"]},
                gettext_noop("Rename that one, and restore this one then."),
            )
        calls.rename(domain.uuid, before["name"])
    if before["autostart"]:
        calls.set_autostart(domain.uuid, True)
    inventory.take_from_bin(domain)
    look_again(context)
    return {"domain": before["name"]}


def purge(context: Context) -> Result:
    """Its disks first, then the machine: who finds it half done can see to the rest, and so does another worker."""
    domain, calls = context.domain, context.connection
    spec = cast(DeleteSpec, context.spec)
    refuse(templates.is_needed(domain))
    wanted = domain.before_bin.get("volumes") if spec.volumes is None and domain.binned_at else spec.volumes
    volumes = belongings.chosen(domain, wanted)
    for volume in volumes:
        demand_nobody_else(context, domain, volume)
    with suppress(NotFound):
        demand_off(context, domain)
    for volume in volumes:
        context.progress(gettext_noop("deleting its disks"))
        with suppress(NotFound):
            calls.storage.delete_volume(volume.pool.uuid, volume.name)
    with suppress(NotFound):
        calls.domains.undefine(domain.uuid)
    inventory.domain_is_purged(domain)
    for pool in {volume.pool_id: volume.pool for volume in volumes}.values():
        look_at_volumes(calls.storage, pool)
    return {"volumes": len(volumes)}


def demand_nobody_else(context: Context, domain: Domain, volume: Volume) -> None:
    """Ask the host itself who has a volume, before it is gone."""
    for uuid in context.connection.domains.users_of(volume.path, volume.pool.name, volume.name):
        if uuid != domain.uuid:
            names = name_for(context, uuid) or _("another machine")
            refuse(_("%(volume)s is a disk of %(names)s") % {"volume": volume.name, "names": names})


def name_for(context: Context, uuid: str) -> str:
    """What a machine of the host is called, if whoever asked may know of it."""
    there = Domain.objects.filter(host=context.operation.host, uuid=uuid)
    if context.operation.user:
        there = context.access.domains(with_bin=True).filter(host=context.operation.host, uuid=uuid)
    return there.values_list("name", flat=True).first() or ""


RUNNERS = {"domain.delete": delete, "domain.undelete": undelete, "domain.purge": purge}

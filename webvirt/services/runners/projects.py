"""The runner that moves a machine, a volume or a network into a project, or out of one: known here, not to the host."""

from __future__ import annotations

from typing import cast

from django.db import transaction
from django.utils.translation import gettext_noop

from webvirt.models import Project
from webvirt.services import inventory, quotas
from webvirt.services.catalogue.projects import Movable, ProjectSpec, moved_with, taken_by_move
from webvirt.services.runners.context import Context, Failed, Result


def set_project(context: Context) -> Result:
    """With a machine go the disks that are its own, as long as they are where it is."""
    thing, spec = cast(Movable, context.subject), cast(ProjectSpec, context.spec)
    pk, things = spec.project, moved_with(thing)
    taken = taken_by_move(thing, spec)
    context.reserve(taken)
    with transaction.atomic():
        # Locked, so that it is not closed meanwhile.
        into = Project.objects.select_for_update().open().filter(pk=pk).first() if pk else None
        if pk and into is None:
            raise Failed(gettext_noop("The project was closed meanwhile."))
        inventory.put_in_project(things, into)
        quotas.is_counted(context.operation, taken)
    return {"project": into.name if into else "", "volumes": len(things) - 1}


RUNNERS = {f"{noun}.set_project": set_project for noun in ("domain", "volume", "network")}

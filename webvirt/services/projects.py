"""Projects, as administrators keep them; what is in one is moved by verbs of the catalogue."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext as _

from webvirt import bus
from webvirt.models import ACTIVE_STATES, Domain, Network, Project, Reservation, User, Volume
from webvirt.services import audit
from webvirt.services.grants import look_again
from webvirt.services.named import cleaned, keep
from webvirt.services.operations import NotNow


@dataclass(frozen=True)
class Held:
    """How many things are in a project; machines in the recycle bin are."""

    machines: int
    volumes: int
    networks: int


def add(name: str, description: str = "") -> Project:
    """A project with nothing and nobody in it. Raises Invalid."""
    return change(Project(), name, description)


def change(project: Project, name: str, description: str) -> Project:
    """Raises Invalid with a sentence for each wrong field."""
    project.name, project.description = cleaned(name), cleaned(description, "description")
    with audit.writing():
        keep(project)
        audit.note("project.keep", project, details={"description": description})
        bus.announce(["projects", f"project:{project.pk}"])
    return project


def contents(project: Project) -> Held:
    machines = Domain.objects.kept() | Domain.objects.binned()
    volumes = Volume.objects.filter(missing_since=None, pool__host__removed_at=None)
    networks = Network.objects.kept()
    return Held(*(rows.filter(project=project).count() for rows in (machines, volumes, networks)))


def close(project: Project) -> None:
    """Nobody sees it from now on but in what was done before. Raises NotNow while anything is in it."""
    with audit.writing():
        # Locked, so that nothing is moved into it meanwhile.
        Project.objects.select_for_update().get(pk=project.pk)
        if Reservation.objects.filter(project=project, operation__state__in=ACTIVE_STATES).exists():
            raise NotNow(_("It cannot be closed: something is just being made in it."))
        there = contents(project)
        if there.machines or there.volumes or there.networks:
            values = {"machines": there.machines, "volumes": there.volumes, "networks": there.networks}
            raise NotNow(
                _(
                    "It cannot be closed while anything is in it (machines: %(machines)s, those in the recycle bin "
                    "too; volumes: %(volumes)s; networks: %(networks)s): move it to another project or delete it first."
                )
                % values
            )
        # What is missing on its host, or was dismissed, may come back: then it is in no project.
        for model in (Domain, Volume, Network):
            model._default_manager.filter(project=project).update(project=None)
        Project.objects.filter(pk=project.pk).update(closed_at=timezone.now())
        audit.note("project.close", project)
        look_again(members_of(project))
        bus.announce(["projects", f"project:{project.pk}"])


def members_of(project: Project) -> set[int]:
    """The ids of the people who hold something on it, themselves or by a group."""
    held = User.objects.filter(Q(grants__project=project) | Q(groups__grants__project=project))
    return set(held.order_by().values_list("pk", flat=True))

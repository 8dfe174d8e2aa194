"""The verbs that move machines, volumes and networks into projects and out of them."""

from __future__ import annotations

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from webvirt.models import Domain, Network, Project, Role, Volume
from webvirt.services import belongings
from webvirt.services.catalogue.specs import Spec
from webvirt.services.catalogue.verb import Group, Reach, Rows, Verb, nothing_on_the_host, project_of
from webvirt.services.quotas import Amounts

Movable = Domain | Volume | Network
"""What can be in a project."""


class ProjectSpec(Spec):
    """`project` is the id of the one that it goes into; without it, it is in none then."""

    project: int | None = None


def touched(kind: str, thing: Movable, spec: ProjectSpec) -> tuple[Reach, ...]:
    """The project that it leaves and the one that it enters. What is in none is its host's: out of all of them moves
    only who may do so there."""
    if spec.project == thing.project_id:
        return ()
    left = (Reach("", "project", thing.project_id, kind),) if thing.project_id else ()
    if spec.project is None:
        return (*left, Reach("", "host", thing.host.pk, kind))
    return (*left, Reach("project", "project", spec.project, kind))


def project_misfits(rows: Rows, thing: Movable, spec: ProjectSpec) -> dict[str, str]:
    if spec.project == thing.project_id:
        return {"project": _("It is there already.") if spec.project else _("It is in no project.")}
    if spec.project and not Project.objects.open().filter(pk=spec.project).exists():
        return {"project": _("There is no such project.")}
    return {}


def moved_with(thing: Movable) -> list[Movable]:
    """What goes along: with a machine the disks that are its own, as long as they are where it is."""
    own = belongings.chosen(thing, None) if isinstance(thing, Domain) else []
    return [thing, *(volume for volume in own if volume.project_id == thing.project_id)]


def taken_by_move(thing: Movable, spec: ProjectSpec) -> Amounts:
    """What it takes of the quota of the project that it goes into."""
    found = Amounts()
    for one in moved_with(thing):
        if isinstance(one, Domain):
            found += Amounts(machines=1, vcpus=one.vcpus, memory_kib=one.memory_kib)
        elif isinstance(one, Volume):
            found += Amounts(disk=one.capacity)
    return found


def set_project(noun: str) -> Verb:
    kind = f"{noun}.set_project"
    return Verb(
        kind,
        gettext_lazy("Move to a project"),
        Role.OWNER,
        nothing_on_the_host,
        spec=ProjectSpec,
        needs_host=False,
        group=Group.OTHER,
        icon="folder",
        reaches=lambda thing, spec: touched(kind, thing, spec),
        into=project_of,
        takes=taken_by_move,
        misfits=project_misfits,
    )


VERBS = tuple(set_project(noun) for noun in ("domain", "volume", "network"))

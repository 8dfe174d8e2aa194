"""Projects, as administrators keep them; what is in one is moved by verbs of the catalogue."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from django.db.models import Q, QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _
from pydantic import Field

from webvirt import bus
from webvirt.models import (
    ACTIVE_STATES,
    CloudImage,
    Domain,
    Flavour,
    Host,
    Network,
    Pool,
    Project,
    Reservation,
    User,
    Volume,
)
from webvirt.services import audit
from webvirt.services.catalogue.specs import Spec
from webvirt.services.catalogue.volumes import MOST_BYTES
from webvirt.services.grants import look_again
from webvirt.services.images import images_of
from webvirt.services.named import cleaned, keep
from webvirt.services.operations import Invalid, NotNow, parsed

MOST_COUNTED = 1_000_000
Ids = Annotated[list[int], Field(max_length=5000)]
USABLE = ("hosts", "pools", "networks", "images", "cloud_images", "flavours")
ON_HOSTS = {"pools": "host", "networks": "host", "images": "pool__host"}
"""Columns."""


@dataclass(frozen=True)
class Held:
    """How many things are in a project; machines in the recycle bin are."""

    machines: int
    volumes: int
    networks: int


class QuotaSpec(Spec):
    """How much may be in a project; what is left out or null has no limit. `disk` in bytes."""

    machines: Annotated[int, Field(ge=0, le=MOST_COUNTED)] | None = None
    vcpus: Annotated[int, Field(ge=0, le=MOST_COUNTED)] | None = None
    memory_kib: Annotated[int, Field(ge=0, le=2**50)] | None = None
    disk: Annotated[int, Field(ge=0, le=MOST_BYTES)] | None = None


class UsesSpec(Spec):
    """What the members of a project may use in it, by ids; pools, networks and images are on the hosts."""

    hosts: Ids = []
    pools: Ids = []
    networks: Ids = []
    images: Ids = []
    """Volumes: discs, and images that disks are made of."""
    cloud_images: Ids = []
    flavours: Ids = []
    of_flavours_only: bool = False
    """Whether machines are made in the sizes of these flavours alone."""


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


def set_quota(project: Project, parameters: dict[str, Any]) -> Project:
    """All of it. What is above it already stays as it is. Raises Invalid."""
    spec = parsed(QuotaSpec, parameters)
    with audit.writing():
        for name, most in spec.model_dump().items():
            setattr(project, f"most_{name}", most)
        project.save(update_fields=[f"most_{name}" for name in QuotaSpec.model_fields])
        audit.note("project.quota", project, details=spec.model_dump())
        bus.announce(["projects", f"project:{project.pk}"])
    return project


def set_uses(project: Project, parameters: dict[str, Any]) -> Project:
    """All of it, at once for everybody in it. Raises Invalid with a sentence for what cannot be used."""
    spec = parsed(UsesSpec, parameters)
    wrong = {
        name: _("There is nothing of this number, or not on these hosts.") for name in USABLE if strange(name, spec)
    }
    if wrong:
        raise Invalid(wrong)
    with audit.writing():
        for name in USABLE:
            getattr(project, f"allowed_{name}").set(getattr(spec, name))
        project.of_flavours_only = spec.of_flavours_only
        project.save(update_fields=["of_flavours_only"])
        audit.note("project.allow", project, details=spec.model_dump())
        look_again(members_of(project))
        bus.announce(["projects", f"project:{project.pk}"])
    return project


def strange(name: str, spec: UsesSpec) -> set[int]:
    """The ids that stand for nothing which a project could use."""
    ids = getattr(spec, name)
    there = usable(name).filter(pk__in=ids)
    if name in ON_HOSTS:
        there = there.filter(**{f"{ON_HOSTS[name]}__in": spec.hosts})
    return set(ids) - set(there.values_list("pk", flat=True))


def usable(name: str) -> QuerySet[Any]:
    """All that projects can be allowed, by the name of UsesSpec."""
    rows: dict[str, QuerySet[Any]] = {
        "hosts": Host.objects.kept(),
        "pools": Pool.objects.kept().select_related("host"),
        "networks": Network.objects.kept().select_related("host"),
        # What belongs to a project is its own alone.
        "images": images_of(Volume.objects.filter(missing_since=None, project=None, pool__host__removed_at=None)),
        "cloud_images": CloudImage.objects.filter(enabled=True),
        "flavours": Flavour.objects.all(),
    }
    return rows[name]


def used_by(project: Project, name: str) -> QuerySet[Any]:
    """What a project may use, by the name of UsesSpec; not what is gone."""
    chosen = getattr(project, f"allowed_{name}").values("pk")
    return in_order(name).filter(pk__in=chosen)


def in_order(name: str) -> QuerySet[Any]:
    """The same in the order that people know them in."""
    return usable(name) if name in ("cloud_images", "flavours") else usable(name).order_by("name", "pk")


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

"""What a project may use: hosts, pools, networks, images, flavours. Who may make machines in it makes them of these,
and of nothing else, without holding anything there: to use is not to know.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import Q, QuerySet
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from webvirt.hypervisor.types import CardSpec
from webvirt.models import CloudImage, Domain, Flavour, Host, Network, Pool, Project, Volume
from webvirt.services.catalogue.building import plan_of
from webvirt.services.catalogue.cloning import clone_plan_of
from webvirt.services.catalogue.creation import NOBODY
from webvirt.services.catalogue.moving import ImportSpec, appliance_in, wish_of
from webvirt.services.catalogue.specs import Spec
from webvirt.services.catalogue.wishes import Begins, CardWish, CloneDomainSpec, CreateDomainSpec
from webvirt.services.subjects import Subject, rows_of

COLUMNS = {
    "host": "allowed_hosts",
    "pool": "allowed_pools",
    "network": "allowed_networks",
    "volume": "allowed_images",
    "cloud_image": "allowed_cloud_images",
    "flavour": "allowed_flavours",
}
"""Of Project, by the noun of what is allowed."""
KEYS = {"cloud_image": "cloudimage_id"}
Wrong = Iterator[tuple[str, Promise | str]]


def ids_in(noun: str, projects: Iterable[int]) -> QuerySet[Any, Any]:
    """The ids of what any of these projects may use of a noun, as a subquery."""
    through = getattr(Project, COLUMNS[noun]).through
    found: QuerySet[Any, Any] = through.objects.filter(project__in=list(projects), project__closed_at=None)
    return found.values_list(KEYS.get(noun, f"{noun}_id"))


class Allowances:
    """What several projects may use, by ids: of each noun read when it is first asked for, in one query."""

    def __init__(self) -> None:
        self.projects: set[int] = set()
        self._read: dict[str, dict[int, set[int]]] = {}

    def ids(self, noun: str, project: int) -> set[int]:
        if noun not in self._read:
            found: dict[int, set[int]] = defaultdict(set)
            for pk, of_project in ids_in(noun, self.projects).values_list(KEYS.get(noun, f"{noun}_id"), "project"):
                found[of_project].add(pk)
            self._read[noun] = found
        return self._read[noun].get(project, set())


@dataclass(frozen=True)
class Inside:
    """A project as the only ground on which somebody may make something: what they may make it of."""

    project: Project

    def ids(self, noun: str) -> QuerySet[Any, Any]:
        return ids_in(noun, [self.project.pk])

    def rows(self, noun: str) -> QuerySet[Any]:
        """As `Access.rows`; nothing of the nouns that a project has no say in."""
        on_host = {"host__in": self.ids("host")}
        match noun:
            case "host":
                return Host.objects.kept().filter(pk__in=self.ids("host"))
            case "pool":
                return Pool.objects.kept().filter(pk__in=self.ids("pool"), **on_host).select_related("host")
            case "network":
                return Network.objects.kept().filter(pk__in=self.ids("network"), **on_host).select_related("host")
            case "volume":
                return images_for([self.project.pk], own=True).filter(pool__host__in=self.ids("host"))
            case "cloud_image":
                return CloudImage.objects.filter(enabled=True, pk__in=self.ids("cloud_image"))
            case "flavour":
                return Flavour.objects.filter(pk__in=self.ids("flavour"))
            case "domain":
                return Domain.objects.kept().filter(project=self.project).select_related("host")
        return rows_of(noun).none()

    def misfits(self, target: Subject, spec: Spec) -> dict[str, str]:
        """What somebody may not have who makes it on this ground alone."""
        found: list[tuple[str, Promise | str]] = []
        if isinstance(spec, CreateDomainSpec) and isinstance(target, Host):
            found = [*self.wrong_wish(spec), *self.wrong_size(spec), *self.wrong_places(places_of(target, spec))]
        elif isinstance(spec, ImportSpec) and isinstance(target, Host):
            volume = self.rows("volume").filter(pk=spec.volume).first()
            wish = wish_of(target, spec, appliance_in(volume))
            found = [*self.wrong_wish(wish), *self.wrong_size(wish), *self.wrong_places({"pool": {spec.pool}})]
        elif isinstance(spec, CloneDomainSpec) and isinstance(target, Domain):
            plan = clone_plan_of(target, spec, NOBODY)
            places = {"disks": {new.pool.pk for new in plan.volumes}, "setup": {plan.seed.pool.pk} if plan.seed else ()}
            found = [*self.wrong_cards(plan.cards or ()), *self.wrong_places(places)]
        return {name: str(sentence) for name, sentence in reversed(found)}

    def wrong_wish(self, wish: CreateDomainSpec) -> Wrong:
        yield from self.wrong_cards(wish.cards)
        if wish.cloud_image is not None and not self.rows("cloud_image").filter(pk=wish.cloud_image).exists():
            yield "cloud_image", _("This project may not use this image.")
        if wish.begins == Begins.VOLUME:
            own = self.rows("volume").filter(pk=wish.volume, project=self.project)
            if not own.exists():
                yield "volume", _("It is none of this project's volumes: begin with a copy of it.")

    def wrong_cards(self, cards: Sequence[CardWish | CardSpec | None]) -> Wrong:
        for number, card in enumerate(cards):
            if card and card.bridge:
                yield f"cards.{number}.bridge", _("A machine of this project is on its networks alone: choose one.")

    def wrong_size(self, wish: CreateDomainSpec) -> Wrong:
        if not self.project.of_flavours_only:
            return
        flavours = list(self.rows("flavour"))
        if (wish.vcpus, wish.memory_mib) not in {(one.vcpus, one.memory_mib) for one in flavours}:
            names = ", ".join(one.name for one in flavours) or "–"
            yield "vcpus", _("Machines of this project have one of these sizes: %(names)s.") % {"names": names}

    def wrong_places(self, places: Mapping[str, Iterable[int]]) -> Wrong:
        """Fields, each with the ids of the pools that something is put into for its sake."""
        allowed = set(self.rows("pool").values_list("pk", flat=True))
        for field, pools in places.items():
            if not set(pools) <= allowed:
                yield field, _("This project may not use the pool that it would go into: choose another.")


def places_of(host: Host, wish: CreateDomainSpec) -> Mapping[str, Iterable[int]]:
    """The pools that a new machine puts something into, by the field for whose sake that is."""
    plan = plan_of(host, wish, NOBODY)
    fetched = "tree" if wish.begins == Begins.TREE else "cloud_image"
    return {
        **{f"disks.{number}.pool": {disk.pool} for number, disk in enumerate(wish.disks)},
        "setup": {plan.seed.pool.pk} if plan.seed else (),
        fetched: {fetch.pool.pk for fetch in plan.fetches},
    }


def images_for(projects: Iterable[int], *, own: bool = False) -> QuerySet[Volume]:
    """The images that these projects may use, those of the catalogue that are there among them; with `own` all their
    own volumes as well. Pools and hosts joined."""
    projects = list(projects)
    urls = CloudImage.objects.filter(enabled=True, pk__in=ids_in("cloud_image", projects)).values("url")
    usable = Q(pk__in=ids_in("volume", projects)) | Q(source_url__in=urls, project=None) & ~Q(source_url="")
    if own:
        usable |= Q(project__in=projects)
    there = Volume.objects.filter(missing_since=None, pool__missing_since=None, pool__host__removed_at=None)
    return there.filter(usable).select_related("pool__host")

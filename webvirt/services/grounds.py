"""On what ground somebody makes something: by what they hold there, or inside a project, of what that may use."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import QuerySet
from django.utils.functional import Promise
from django.utils.translation import gettext as _

from webvirt.hypervisor.types import CardSpec
from webvirt.models import CloudImage, Domain, Flavour, Host, Network, Pool, Project
from webvirt.services.access import Access
from webvirt.services.allowances import ids_in, images_for
from webvirt.services.catalogue import BY_KIND, Reach, Spec, Verb, why_not
from webvirt.services.catalogue.building import plan_of
from webvirt.services.catalogue.cloning import clone_plan_of
from webvirt.services.catalogue.creation import NOBODY
from webvirt.services.catalogue.moving import ImportSpec, appliance_in, appliance_of, wish_of
from webvirt.services.catalogue.wishes import Begins, CardWish, CloneDomainSpec, CreateDomainSpec
from webvirt.services.refusals import Denied, Invalid, NotNow
from webvirt.services.subjects import Subject, rows_of

Wrong = Iterator[tuple[str, Promise | str]]


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
            wish = wish_of(target, spec, appliance_of(spec) if spec.source else appliance_in(volume))
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


def demand(access: Access, verb: Verb, target: Subject) -> None:
    """Raise Denied unless this person may do this to it."""
    if not access.may(verb, target):
        raise Denied(_("Your role here does not allow “%(verb)s”.") % {"verb": verb.label})


def ground_of(access: Access, verb: Verb, target: Subject, spec: Spec) -> Inside | None:
    """The project on whose ground alone this person may do it; None where what they hold there is enough.

    Raises Denied, or Invalid where they have to say which project it is.
    """
    if access.may_freely(verb, target):
        return None
    within, chosen = access.projects_for(verb, target), into(verb, target, spec)
    if within and chosen is None:
        raise Invalid({"project": _("Say in which project: what you may use here is a project's.")})
    if chosen is None or chosen not in within:
        raise Denied(_("Your role here does not allow “%(verb)s”.") % {"verb": verb.label})
    return Inside(Project.objects.get(pk=chosen))


def demand_reach(access: Access, verb: Verb, target: Subject, spec: Spec) -> None:
    """Raise Invalid or Denied unless this person may touch what the parameters name besides, or the object is in."""
    for reach in reaches_of(verb, target, spec):
        needed = BY_KIND[reach.kind]
        if is_covered(access, verb, target, spec, reach):
            other = rows_of(reach.noun).get(pk=reach.pk)
        else:
            other = access.one(reach.noun, reach.pk)
            if other is None and reach.parameter:
                raise Invalid({reach.parameter: _("There is nothing of this number.")})
            if other is None or not access.may_freely(needed, other):
                raise Denied(_("Your role there does not allow “%(verb)s”.") % {"verb": needed.label})
        if reason := why_not(needed, other):
            raise NotNow(refusal(needed, reason))


def placed(access: Access, verb: Verb, target: Subject, spec: Spec) -> Spec:
    """The parameters, of who may not make anything in the project of what the new thing is like: then it is in none."""
    project = into(verb, target, spec) if verb.inside and getattr(spec, "project", 0) is None else None
    if project is None:
        return spec
    known = access.one("project", project)
    return spec if known and access.may_freely(verb, known) else spec.model_copy(update={"project": 0})


def reaches_of(verb: Verb, target: Subject, spec: Spec) -> tuple[Reach, ...]:
    """What it touches besides: what it is made in, too."""
    found: tuple[Reach, ...] = verb.reaches(target, spec) if verb.reaches else ()
    project = into(verb, target, spec) if verb.inside else None
    if project is None:
        return found
    return (Reach("project", "project", project, verb.kind), *found)


def is_covered(access: Access, verb: Verb, target: Subject, spec: Spec, reach: Reach) -> bool:
    """Whether the project that it is made in may use the pool or the host that it touches; with an image of the
    catalogue that the project has, that is enough to have it fetched."""
    project = into(verb, target, spec) if verb.inside and reach.noun in ("pool", "host") else None
    held = access.on["project"].get(project) if project else None
    if project is None or held is None:
        return False
    is_of_catalogue = reach.parameter == "cloud_image"
    if is_of_catalogue and getattr(spec, "cloud_image", None) not in access.allowances.ids("cloud_image", project):
        return False
    needed = verb if is_of_catalogue else BY_KIND[reach.kind]
    usable = Inside(Project.objects.get(pk=project)).rows(reach.noun).filter(pk=reach.pk)
    return held.allows(needed) and usable.exists()


def into(verb: Verb, target: Subject, spec: Spec) -> int | None:
    """The id of the project whose quota it takes something of."""
    return verb.into(target, spec) if verb.into else None


def refusal(verb: Verb, reason: Promise | str) -> str:
    return _("“%(verb)s” cannot be done now: %(reason)s.") % {"verb": verb.label, "reason": reason}

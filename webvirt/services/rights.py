"""Who may do what, and why: for an object everybody who may do anything, for a person all that they hold.

A few queries however many people, grants and machines there are; both are asked for page by page.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from django.contrib.auth.models import Group
from django.db.models import Count, Q, QuerySet

from webvirt.models import SCOPES, Domain, Grant, Project, Role, User
from webvirt.services.access import accesses_of, places_of
from webvirt.services.catalogue import Verb, verbs_on
from webvirt.services.subjects import Subject, noun_of

JOINED = ("user", "group", "custom_role", "project", "host", "pool__host", "network__host", "domain__host")
"""What a line that shows a grant reads besides."""


@dataclass(frozen=True)
class Line:
    """What one person may do with an object: the highest role, the verbs, and the grants that this comes from."""

    user: User
    role: Role | None
    verbs: tuple[Verb, ...]
    grants: tuple[Grant, ...]


def grants_over(target: Subject | Project) -> QuerySet[Grant]:
    """The grants that reach an object: on itself, on what it is in or on, and on everything."""
    reaching = Q(**{f"{scope}__isnull": True for scope in SCOPES})
    for scope, pk in places_of(target):
        reaching |= Q(**{scope: pk}) if pk is not None else Q()
    return Grant.objects.filter(reaching)


def people_over(target: Subject | Project) -> QuerySet[User]:
    """Those who may know of it, by name; who was deactivated may nothing."""
    over = grants_over(target)
    own, of_groups = over.filter(user__isnull=False), over.filter(group__isnull=False)
    holding = Q(pk__in=own.values("user")) | Q(groups__in=of_groups.values("group"))
    pks = User.objects.filter(holding, is_active=True).order_by().values("pk")
    return User.objects.filter(pk__in=pks).order_by("username")


def lines_for(target: Subject | Project, people: Sequence[User]) -> list[Line]:
    """What each of these may do with it, and why."""
    over = grants_over(target).select_related(*JOINED).order_by("pk")
    of_people: dict[int, list[Grant]] = defaultdict(list)
    for grant in over.filter(user__in=people):
        of_people[grant.user_id or 0].append(grant)
    of_groups: dict[int, list[Grant]] = defaultdict(list)
    for grant in over.filter(group__user__in=people).distinct():
        of_groups[grant.group_id or 0].append(grant)
    for pk, group in memberships(people, of_groups):
        of_people[pk] += of_groups[group]
    accesses = accesses_of(people)
    found = []
    for user in people:
        access = accesses[user.pk]
        verbs = () if isinstance(target, Project) else verbs_on(noun_of(target))
        allowed = tuple(verb for verb in verbs if access.may(verb, target))
        found.append(Line(user, access.role_on(target), allowed, tuple(of_people[user.pk])))
    return found


def memberships(people: Iterable[User], groups: Iterable[int]) -> list[tuple[int, int]]:
    """Which of these people are in which of these groups, by ids."""
    rows = User.groups.through.objects.filter(user__in=list(people), group__in=list(groups))
    return list(rows.order_by("group").values_list("user_id", "group_id"))


def grants_for(user: User) -> QuerySet[Grant]:
    """All that a person holds, themselves or by a group."""
    groups = Group.objects.filter(user=user)
    return in_order(Grant.objects.filter(Q(user=user) | Q(group__in=groups)))


def in_order(grants: QuerySet[Grant]) -> QuerySet[Grant]:
    """The widest first, with all that a line of them shows; not what is on projects that were closed."""
    there = grants.exclude(project__closed_at__isnull=False).select_related(*JOINED)
    return there.order_by("-role", *(f"{scope}__name" for scope in SCOPES), "pk")


def machines_in(grants: Iterable[Grant]) -> dict[int, int]:
    """How many machines each of these grants reaches, by its id; of those on projects and hosts alone."""
    found: dict[int, int] = {}
    for scope in ("project", "host"):
        places = {pk for grant in grants if (pk := getattr(grant, f"{scope}_id"))}
        rows = Domain.objects.kept().filter(**{f"{scope}__in": places}).order_by()
        counted = dict(rows.values_list(scope).annotate(n=Count("pk"))) if places else {}
        found |= {g.pk: counted.get(pk, 0) for g in grants if (pk := getattr(g, f"{scope}_id"))}
    return found

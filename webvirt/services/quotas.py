"""Quotas: how much may be in a project. Whatever makes something in one reserves it before it begins.

Used is what the project's rows hold, those in the recycle bin and those whose making ended badly among them, and what
operations under way have reserved. A reservation counts as long as its operation is under way, so nobody has to let go
of one; what becomes whole meanwhile is counted by its row from then on.

A new resource is a column of Project and of Reservation, and a line in RESOURCES, `used_by` and `sentence_for`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass, fields

from django.db import transaction
from django.db.models import Count, Exists, F, OuterRef, QuerySet, Sum
from django.db.models.functions import Greatest
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from django.utils.translation import gettext_noop

from webvirt.models import ACTIVE_STATES, Domain, DomainQuerySet, Operation, Project, Reservation, Volume


@dataclass(frozen=True)
class Amounts:
    """So much of each resource; `disk` in bytes, by the capacity of volumes."""

    machines: int = 0
    vcpus: int = 0
    memory_kib: int = 0
    disk: int = 0

    def __add__(self, other: Amounts) -> Amounts:
        return Amounts(*(mine + more for mine, more in zip(astuple(self), astuple(other), strict=True)))

    def __sub__(self, other: Amounts) -> Amounts:
        """What is left of each; nothing where there is less."""
        return Amounts(*(max(0, mine - less) for mine, less in zip(astuple(self), astuple(other), strict=True)))


NOTHING = Amounts()
RESOURCES: dict[str, Promise] = {
    "machines": _("Machines"),
    "vcpus": _("vCPUs"),
    "memory_kib": _("Memory"),
    "disk": _("Disk"),
}
"""By the names of Amounts."""
PER_GIB = {"memory_kib": 2**20, "disk": 2**30}


@dataclass(frozen=True)
class Claim:
    """What an operation wants of the quota of the project of this id; None: it is about none."""

    project: int | None
    amounts: Amounts = NOTHING


class Exceeded(Exception):
    """There is not so much left. `sentences` are in English, one for each resource that there is too little of."""

    def __init__(self, sentences: list[str]) -> None:
        super().__init__("; ".join(sentences))
        self.sentences = sentences


# --- how much


def limits_of(project: Project) -> dict[str, int | None]:
    """How much of each resource may be in a project; None: no limit."""
    return {name: getattr(project, f"most_{name}") for name in RESOURCES}


def used_in(project: int) -> Amounts:
    return used_by([project])[project]


def used_by(projects: Iterable[int]) -> dict[int, Amounts]:
    """How much each of these projects uses, by its id: three queries, however many they are.

    The reservations first: what becomes whole in between is then counted twice rather than never.
    """
    found: dict[int, Amounts] = defaultdict(Amounts)
    wanted = list(projects)
    reserved = Reservation.objects.filter(project__in=wanted, operation__state__in=ACTIVE_STATES).order_by()
    sums = {f"all_{field.name}": Sum(field.name) for field in fields(Amounts)}
    for project, *figures in reserved.values("project").annotate(**sums).values_list("project", *sums):
        found[project] += Amounts(*(int(figure or 0) for figure in figures))
    machines = machines_in(wanted).values("project").annotate(n=Count("pk"), v=Sum("vcpus"), m=Sum("memory_kib"))
    for project, number, vcpus, memory in machines.order_by().values_list("project", "n", "v", "m"):
        found[project] += Amounts(number, vcpus or 0, memory or 0)
    for project, disk in volumes_in(wanted).values("project").annotate(d=Sum("capacity")).values_list("project", "d"):
        found[project] += Amounts(disk=int(disk or 0))
    return {project: found[project] for project in wanted}


def machines_in(projects: Iterable[int]) -> DomainQuerySet:
    """Those that count: on their hosts, missing or in the recycle bin; what is just being made is reserved."""
    there = Domain.objects.kept() | Domain.objects.binned()
    return there.filter(project__in=projects).exclude(making__state__in=ACTIVE_STATES)


def volumes_in(projects: Iterable[int]) -> QuerySet[Volume]:
    """Those that count; not what is there for a machine's first start alone, which is taken away by itself."""
    there = Volume.objects.filter(project__in=projects, missing_since=None, pool__host__removed_at=None, starts=None)
    seeds = Domain.objects.filter(seed=OuterRef("pk"))
    return there.exclude(making__state__in=ACTIVE_STATES).exclude(Exists(seeds)).order_by()


def shortages(project: Project, used: Amounts, asked: Amounts) -> list[str]:
    """An English sentence for each resource that there is too little left of. What is not asked for is not looked at:
    a quota below what is used keeps nothing from going on but new things."""
    found = []
    for name, most in limits_of(project).items():
        wanted, has = getattr(asked, name), getattr(used, name)
        if wanted and most is not None and has + wanted > most:
            found.append(sentence_for(name, wanted, max(0, most - has), most, project.name))
    return found


def sentence_for(name: str, asked: int, left: int, most: int, project: str) -> str:
    values = {"n": figure(name, -asked), "m": figure(name, left), "k": figure(name, most), "project": project}
    if name == "machines":
        return gettext_noop("%(n)s machines asked, %(m)s of %(k)s left in project %(project)s") % values
    if name == "vcpus":
        return gettext_noop("%(n)s vCPUs asked, %(m)s of %(k)s left in project %(project)s") % values
    if name == "memory_kib":
        return gettext_noop("%(n)s GiB of memory asked, %(m)s of %(k)s GiB left in project %(project)s") % values
    return gettext_noop("%(n)s GiB of disk asked, %(m)s of %(k)s GiB left in project %(project)s") % values


def figure(name: str, amount: int) -> str:
    """As sentences have it: of what is counted in GiB with a tenth, rounded down; of less than nothing its size,
    rounded up."""
    if name not in PER_GIB:
        return str(abs(amount))
    tenths = abs(amount * 10 // PER_GIB[name])
    return f"{tenths / 10:.1f}".removesuffix(".0")


# --- reserving


@contextmanager
def locked(pk: int | None) -> Iterator[Project | None]:
    """A transaction in which nobody else reserves in this project, or closes it."""
    with transaction.atomic():
        yield Project.objects.select_for_update().filter(pk=pk).first() if pk else None


def reserve(project: Project, operation: Operation, amounts: Amounts) -> None:
    """Write down what an operation wants, inside `locked`. Raises Exceeded."""
    if sentences := shortages(project, used_in(project.pk), amounts):
        raise Exceeded(sentences)
    row = {field.name: getattr(amounts, field.name) for field in fields(Amounts)}
    Reservation.objects.create(operation=operation, project=project, **row)


def reserve_more(operation: Operation, amounts: Amounts) -> None:
    """Have an operation under way that wants this much in all, what it has made whole not counted, reserve what it has
    not yet: more is known now than when it was asked for. Raises Exceeded."""
    pk = project_of(operation)
    with locked(pk) as project:
        if project is None:
            return
        row = Reservation.objects.get(operation=operation)
        has = Amounts(*(getattr(row, field.name) for field in fields(Amounts)))
        missing = amounts - has
        if sentences := shortages(project, used_in(project.pk), missing):
            raise Exceeded(sentences)
        for field in fields(Amounts):
            setattr(row, field.name, getattr(has + missing, field.name))
        row.save()


def project_of(operation: Operation) -> int | None:
    """The project that an operation has reserved in: all that it makes belongs there."""
    return Reservation.objects.filter(operation=operation).values_list("project", flat=True).first()


def is_counted(operation: Operation | None, amounts: Amounts) -> None:
    """Take off a reservation what has become whole, in the transaction in which it does."""
    if operation is not None:
        less = {name: Greatest(F(name) - getattr(amounts, name), 0) for name in RESOURCES}
        Reservation.objects.filter(operation=operation).update(**less)


def clear_away() -> None:
    """Forget what operations reserved that have ended: it counts no more."""
    Reservation.objects.exclude(operation__state__in=ACTIVE_STATES).delete()

"""Who may do what. Every lookup of every door goes through `Access`, so no view can forget it.

Something a person may not know of is not found, exactly as if it were not there.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, lru_cache, partial, reduce
from operator import or_
from typing import Any, TypeVar

from django.contrib.auth.models import AnonymousUser, Group
from django.db import connection
from django.db.models import CharField, Q, QuerySet, Value
from django.db.models.functions import Cast, Concat

from webvirt.models import (
    SCOPES,
    ApiToken,
    Domain,
    DomainQuerySet,
    Filter,
    Grant,
    Host,
    HostQuerySet,
    Network,
    Operation,
    OperationQuerySet,
    Pool,
    Project,
    ProjectQuerySet,
    Recording,
    Role,
    Secret,
    SeenQuerySet,
    User,
    Volume,
)
from webvirt.services.allowances import Allowances, ids_in
from webvirt.services.catalogue import BY_KIND, Verb
from webvirt.services.subjects import NOUNS, Subject, host_of, subject_of

Rows = TypeVar("Rows", bound=QuerySet[Any])
FEW = 200
"""So many ids go into a condition as a list, which databases plan well."""


@dataclass(frozen=True)
class Held:
    """What somebody holds in one place: the highest role that any grant gives, and the verbs of their custom roles.

    Who holds anything, if no verb at all, may know of what is there.
    """

    role: Role | None = None
    kinds: frozenset[str] = frozenset()

    def __or__(self, other: Held) -> Held:
        return Held(highest((self.role, other.role)), self.kinds | other.kinds)

    def allows(self, verb: Verb) -> bool:
        return reaches(self.role, verb.role) or verb.kind in self.kinds

    def only(self, kinds: Iterable[str]) -> Held:
        """Without a role, and of these verbs those that it allows."""
        return Held(kinds=frozenset(kind for kind in kinds if kind in BY_KIND and self.allows(BY_KIND[kind])))


NOTHING = Held()
"""Beside `None`, who may not even know of it: what bars and lists of verbs are asked with."""
ALL = Held(Role.ADMINISTRATOR)


@dataclass(frozen=True)
class Limit:
    """How much less than its person a token may: which verbs (None: all that they may; none: to read alone), and the
    one project in which (None: everywhere).

    Of all that its person asks for, its own is what was asked for with it.
    """

    kinds: frozenset[str] | None = None
    project: int | None = None
    token: int | None = None


def limit_of(token: ApiToken | None) -> Limit | None:
    """What a token takes away; None where that is nothing."""
    if token is None or (token.kinds is None and token.project_id is None):
        return None
    return Limit(None if token.kinds is None else frozenset(token.kinds), token.project_id, token.pk)


@dataclass(frozen=True)
class Access:
    """One person's rights, read once (one query) and asked as often as needed.

    `on` has, of each of SCOPES, what is held on which of them by id.
    """

    user: User
    everywhere: Held | None = None
    on: Mapping[str, dict[int, Held]] = field(default_factory=lambda: {scope: {} for scope in SCOPES})
    allowances: Allowances = field(default_factory=Allowances, compare=False)
    """What the projects may use that they hold anything on."""
    limit: Limit | None = None
    """What the token takes away that they come by; None for nothing."""

    def within(self, limit: Limit) -> Access:
        """What is left of it under a limit: nowhere anything that was not there before."""
        everywhere, on, allowances = self.everywhere, self.on, self.allowances
        if limit.project is not None:
            there = union((everywhere, on["project"].get(limit.project)))
            everywhere, on = None, {scope: {} for scope in SCOPES}
            if there is not None:
                on["project"][limit.project] = there
                allowances = Allowances({limit.project})
        if limit.kinds is not None:
            only = remembered(limit.kinds)
            everywhere = everywhere and only(everywhere)
            on = {scope: {pk: only(held) for pk, held in places.items()} for scope, places in on.items()}
        return replace(self, everywhere=everywhere, on=on, allowances=allowances, limit=limit)

    @property
    def is_administrator(self) -> bool:
        return self.everywhere is not None and self.everywhere.role == Role.ADMINISTRATOR

    @property
    def knows_projects(self) -> bool:
        """Whether there may be any that this person may know of."""
        return self.everywhere is not None or bool(self.on["project"])

    def anywhere(self, *scopes: str) -> Held:
        """All that is held on everything and on any of these, taken together."""
        parts = [self.everywhere, *(held for scope in scopes for held in self.on[scope].values())]
        # A role held on each of thousands of machines is one object.
        return union({id(part): part for part in parts}.values()) or NOTHING

    def held_on(self, target: Subject | Project) -> Held | None:
        """All that reaches an object, taken together; None: may not even know of it."""
        return self.held_at(places_of(target))

    def held_at(self, places: Iterable[tuple[str, int | None]]) -> Held | None:
        """The same by the places where a grant reaches it, each a scope and an id."""
        found = [self.everywhere, *(self.on[scope].get(pk) for scope, pk in places if pk is not None)]
        return union(found)

    def held_on_host(self, pk: int) -> Held | None:
        """What is held on a host, and so on all that is on it."""
        return self.held_at((("host", pk),))

    def knows(self, target: Subject | Project) -> bool:
        return self.held_on(target) is not None

    def knows_host(self, pk: int) -> bool:
        return self.everywhere is not None or pk in self.on["host"]

    def object_of(self, operation: Operation) -> Subject:
        """What an operation is done to, for asking what is held on it.

        Where nothing is held on anything narrower, its host stands for what is on it, which is not looked up then.
        """
        narrower = operation.domain or self.on["project"] or self.on["pool"] or self.on["network"]
        return subject_of(operation) if narrower else operation.host

    def role_on(self, target: Subject | Project) -> Role | None:
        """The highest role that any grant gives here; None also for who holds nothing but custom roles."""
        held = self.held_on(target)
        return held.role if held else None

    def may(self, verb: Verb, target: Subject | Project) -> bool:
        """Whether there is a way: by what is held over it, or inside a project that may use it."""
        return self.may_freely(verb, target) or bool(self.projects_for(verb, target))

    def may_freely(self, verb: Verb, target: Subject | Project) -> bool:
        """Whether what is held over it is enough."""
        if verb.host_role and not isinstance(target, Project):
            there = self.held_on_host(host_of(target).pk)
            if there is None or not (reaches(there.role, verb.host_role) or verb.kind in there.kinds):
                return False
        held = self.held_on(target)
        return held is not None and held.allows(verb)

    def projects_for(self, verb: Verb, target: Subject | Project) -> list[int]:
        """The ids of the projects inside which this person may do it with what the project may use, and to this."""
        within = self.projects_with(verb)
        if not within or isinstance(target, Project):
            return []
        if isinstance(target, Domain | Volume):
            held = self.held_on(target)
            if held is None or not held.allows(verb):
                return []
        host = host_of(target).pk
        found = [pk for pk in within if host in self.allowances.ids("host", pk)]
        return [pk for pk in found if not isinstance(target, Pool) or target.pk in self.allowances.ids("pool", pk)]

    def projects_with(self, verb: Verb) -> list[int]:
        """The ids of the projects that this person holds it on, of a verb that is done inside projects."""
        return [pk for pk, held in self.on["project"].items() if held.allows(verb)] if verb.inside else []

    # --- lookups

    def targets(self, verb: Verb) -> QuerySet[Any]:
        """What a verb can be asked for on: what this person may know of, and what projects may use inside which they
        may do it."""
        found, within = self.rows(verb.on), self.projects_with(verb)
        if not within or verb.on not in ("host", "pool"):
            return found
        there = Host.objects.kept() if verb.on == "host" else Pool.objects.kept().select_related("host")
        return there.filter(Q(pk__in=found.values("pk")) | Q(pk__in=ids_in(verb.on, within)))

    def domains(self, *, with_bin: bool = False) -> DomainQuerySet:
        """The machines this person may know of, hosts joined; those in the recycle bin only if asked for."""
        found = Domain.objects.kept() | Domain.objects.binned() if with_bin else Domain.objects.kept()
        return self._known(found.select_related("host"), domain="pk", project="project", host="host")

    def hosts(self) -> HostQuerySet:
        return self._known(Host.objects.kept(), host="pk")

    def pools(self) -> SeenQuerySet[Pool]:
        """The pools this person may know of, hosts joined; so networks, filters and secrets."""
        return self._known(Pool.objects.kept().select_related("host"), pool="pk", host="host")

    def networks(self) -> SeenQuerySet[Network]:
        found = Network.objects.kept().select_related("host")
        return self._known(found, network="pk", project="project", host="host")

    def filters(self) -> SeenQuerySet[Filter]:
        return self._known(Filter.objects.kept().select_related("host"), host="host")

    def secrets(self) -> SeenQuerySet[Secret]:
        return self._known(Secret.objects.kept().select_related("host"), host="host")

    def volumes(self) -> QuerySet[Volume]:
        """The volumes this person may know of, pools and hosts joined."""
        found = Volume.objects.filter(missing_since=None, pool__missing_since=None, pool__host__removed_at=None)
        return self._known(found.select_related("pool__host"), pool="pool", project="project", host="pool__host")

    def projects(self) -> ProjectQuerySet:
        return self._known(Project.objects.open(), project="pk")

    def recordings(self) -> QuerySet[Recording]:
        """Those that this person may watch, machines and hosts joined; of machines that are gone, administrators."""
        found = Recording.objects.select_related("domain__host")
        if self.is_administrator:
            return found
        verb, there = BY_KIND["domain.recordings"], self.domains(with_bin=True)
        if self.everywhere is None or not self.everywhere.allows(verb):
            places = {"domain": "pk", "project": "project", "host": "host"}
            allowed = {scope: [pk for pk, held in self.on[scope].items() if held.allows(verb)] for scope in places}
            there = there.filter(reduce(or_, (Q(**{f"{places[scope]}__in": allowed[scope]}) for scope in places)))
        return found.filter(domain__in=there.order_by().values("pk"))

    def operations(self) -> OperationQuerySet:
        """Those on what this person may know of, and the own ones."""
        found = Operation.objects.select_related("host", "domain", "user")
        if self.everywhere:
            return found
        mine = asked_by(self.user, self.limit)
        for column in ("host", "domain"):
            if self.on[column]:
                mine |= Q(**{f"{column}__in": self._ids(column)})
        if projects := self._ids("project"):
            mine |= Q(domain__in=Domain.objects.filter(project__in=projects).values("pk"))
            mine |= Q(subject__in=named("network", Network.objects.filter(project__in=projects)))
            mine |= Q(subject__in=named("volume", Volume.objects.filter(project__in=projects)))
        if pools := self._ids("pool"):
            mine |= Q(subject__in=[f"pool:{pk}" for pk in self.on["pool"]])
            mine |= Q(subject__in=named("volume", Volume.objects.filter(pool__in=pools)))
        if self.on["network"]:
            mine |= Q(subject__in=[f"network:{pk}" for pk in self.on["network"]])
        return found.filter(mine)

    def asked_for(self, operation: Operation) -> bool:
        """Whether it is an own one."""
        is_own = operation.user_id is not None and operation.user_id == self.user.pk
        return is_own and (self.limit is None or operation.token_id == self.limit.token)

    def rows(self, noun: str) -> QuerySet[Any]:
        """What this person may know of, by the noun of a verb's object or a project."""
        lookups: dict[str, Callable[[], QuerySet[Any]]] = {
            "domain": partial(self.domains, with_bin=True),
            "host": self.hosts,
            "pool": self.pools,
            "volume": self.volumes,
            "network": self.networks,
            "filter": self.filters,
            "secret": self.secrets,
            "project": self.projects,
        }
        return lookups[noun]()

    def one(self, noun: str, pk: int) -> Any:
        """The object of this id, or None where there is none, or none to know of."""
        return self.rows(noun).filter(pk=pk).first() if noun in NOUNS or noun == "project" else None

    def _known(self, found: Rows, **columns: str) -> Rows:
        """Those of the rows that a grant reaches, by the column that says in which project, on which host and so on."""
        if self.everywhere:
            return found
        reached = [Q(**{f"{column}__in": self._ids(scope)}) for scope, column in columns.items() if self.on[scope]]
        return found.filter(reduce(or_, reached)) if reached else found.none()

    def _ids(self, scope: str) -> QuerySet[Grant, Any] | list[int]:
        """The ids that grants are on: a list, or a subquery where somebody has one on each of thousands of machines."""
        if len(self.on[scope]) <= FEW:
            return list(self.on[scope])
        mine = Q(user=self.user) | Q(group__in=Group.objects.filter(user=self.user).values("pk"))
        found: QuerySet[Grant, Any] = Grant.objects.filter(mine, **{f"{scope}__isnull": False}).values(f"{scope}_id")
        return found


def remembered(kinds: frozenset[str]) -> Callable[[Held], Held]:
    """`Held.only` of these verbs, once for each of the few different things that are held on many machines."""
    return cache(lambda held: held.only(kinds))


def asked_by(user: User, limit: Limit | None, of: str = "") -> Q:
    """Finds the operations that are somebody's own; `of` is the way to the operation (`operation__`)."""
    mine = Q(**{f"{of}user": user})
    return mine if limit is None else mine & Q(**{f"{of}token": limit.token})


def places_of(target: Subject | Project) -> tuple[tuple[str, int | None], ...]:
    """Where a grant reaches an object besides everywhere: each a scope and an id, the nearest first."""
    match target:
        case Domain():
            return ("domain", target.pk), ("project", target.project_id), ("host", target.host_id)
        case Pool():
            return ("pool", target.pk), ("host", target.host_id)
        case Volume():
            return ("pool", target.pool_id), ("project", target.project_id), ("host", target.pool.host_id)
        case Network():
            return ("network", target.pk), ("project", target.project_id), ("host", target.host_id)
        case Project():
            return (("project", target.pk),)
    return (("host", host_of(target).pk),)


def named(noun: str, rows: QuerySet[Any]) -> QuerySet[Any, Any]:
    """The names of rows as operations have them (`volume:12`), as a subquery."""
    return rows.order_by().values_list(Concat(Value(f"{noun}:"), Cast("pk", CharField())))


def reaches(role: Role | None, needed: Role) -> bool:
    return role is not None and role.rank >= needed.rank


def highest(roles: Iterable[Role | None]) -> Role | None:
    return max((role for role in roles if role), key=lambda role: role.rank, default=None)


def union(parts: Iterable[Held | None]) -> Held | None:
    """All of it together; None where there is nothing."""
    there = [part for part in parts if part is not None]
    return reduce(or_, there) if there else None


def access_of(user: User | AnonymousUser, token: ApiToken | None = None) -> Access:
    """The rights of a person, or of a token of theirs; someone not signed in or deactivated has none, nor has a token
    that was revoked."""
    if not isinstance(user, User) or not user.is_active or (token is not None and token.revoked_at):
        return Access(User())
    access, limit = accesses_of([user])[user.pk], limit_of(token)
    return access.within(limit) if limit else access


COLUMNS = ("role", "custom_role_id", "custom_role__kinds", *(f"{scope}_id" for scope in SCOPES))


def grants_of(users: list[int]) -> Iterator[tuple[Any, ...]]:
    """Of each grant that somebody holds, themselves or by a group: who, and COLUMNS."""
    if not users:
        return
    with connection.cursor() as cursor:
        cursor.execute(grants_query(len(users)), [*users, *users])
        for pk, role, custom, kinds, *scopes in cursor.fetchall():
            yield pk, role, custom, json.loads(kinds or "[]"), *scopes


@lru_cache(maxsize=16)
def grants_query(number: int) -> str:
    """The query for so many people. It is asked at every request, and writing it takes many times as long as asking."""
    users = list(range(number))
    own = Grant.objects.filter(user__in=users).values_list("user_id", *COLUMNS)
    of_groups = Grant.objects.filter(group__user__in=users).values_list("group__user", *COLUMNS)
    text, parameters = own.union(of_groups, all=True).query.sql_with_params()
    assert parameters == (*users, *users)
    return text


def accesses_of(users: Iterable[User]) -> dict[int, Access]:
    """The rights of several persons by their id, in one query; someone deactivated has none."""
    allowances = Allowances()
    found = {user.pk: Access(user, allowances=allowances) for user in users}
    active = [pk for pk, access in found.items() if access.user.is_active]
    known: dict[tuple[str, int | None], Held] = {}
    for pk, role, custom, kinds, *scopes in grants_of(active):
        held = known.setdefault((role, custom), Held(Role(role) if role else None, frozenset(kinds)))
        access = found[pk]
        scope, place = next(((scope, pk) for scope, pk in zip(SCOPES, scopes, strict=True) if pk), ("", 0))
        if not scope:
            found[pk] = replace(access, everywhere=union((access.everywhere, held)))
            continue
        there = access.on[scope].get(place)
        access.on[scope][place] = there | held if there else held
        if scope == "project":
            allowances.projects.add(place)
    return found

"""Who may do what. Every lookup of every door goes through `Access`, so no view can forget it.

Something a person may not know of is not found, exactly as if it were not there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal, TypeVar

from django.contrib.auth.models import AnonymousUser
from django.db.models import Q, QuerySet

from webvirt.models import (
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
    Role,
    Secret,
    Seen,
    SeenQuerySet,
    User,
    Volume,
)
from webvirt.services.catalogue import Verb
from webvirt.services.subjects import NOUNS, Subject, host_of

S = TypeVar("S", bound=Seen)


@dataclass(frozen=True)
class Access:
    """One person's rights, read once (one query) and asked as often as needed."""

    user: User
    everywhere: Role | None = None
    on_hosts: dict[int, Role] = field(default_factory=dict)
    on_domains: dict[int, Role] = field(default_factory=dict)

    @property
    def is_administrator(self) -> bool:
        return self.everywhere == Role.ADMINISTRATOR

    def role_on(self, target: Subject) -> Role | None:
        """The highest role that any grant gives here, or None: may not even know of it."""
        here = self.role_on_host_of(target)
        return highest((here, self.on_domains.get(target.pk))) if isinstance(target, Domain) else here

    def role_on_host_of(self, target: Subject) -> Role | None:
        return highest((self.everywhere, self.on_hosts.get(host_of(target).pk)))

    def may(self, verb: Verb, target: Subject) -> bool:
        if verb.host_role and not reaches(self.role_on_host_of(target), verb.host_role):
            return False
        return reaches(self.role_on(target), verb.role)

    def domains(self, *, with_bin: bool = False) -> DomainQuerySet:
        """The machines this person may know of, hosts joined; those in the recycle bin only if asked for."""
        found = Domain.objects.kept() | Domain.objects.binned() if with_bin else Domain.objects.kept()
        found = found.select_related("host")
        if self.everywhere:
            return found
        return found.filter(Q(host__in=list(self.on_hosts)) | Q(pk__in=self._granted("domain")))

    def hosts(self) -> HostQuerySet:
        found = Host.objects.kept()
        return found if self.everywhere else found.filter(pk__in=self._granted("host"))

    def pools(self) -> SeenQuerySet[Pool]:
        """The pools of the hosts that this person may know of, hosts joined; so networks, filters and secrets."""
        return self._of_hosts(Pool.objects.kept().select_related("host"))

    def networks(self) -> SeenQuerySet[Network]:
        return self._of_hosts(Network.objects.kept().select_related("host"))

    def filters(self) -> SeenQuerySet[Filter]:
        return self._of_hosts(Filter.objects.kept().select_related("host"))

    def secrets(self) -> SeenQuerySet[Secret]:
        return self._of_hosts(Secret.objects.kept().select_related("host"))

    def volumes(self) -> QuerySet[Volume]:
        """The volumes in these pools, pools and hosts joined."""
        found = Volume.objects.filter(missing_since=None, pool__missing_since=None, pool__host__removed_at=None)
        found = found.select_related("pool__host")
        return found if self.everywhere else found.filter(pool__host__in=self._granted("host"))

    def rows(self, noun: str) -> QuerySet[Any]:
        """What this person may know of, by the noun of a verb's object."""
        lookups: dict[str, Callable[[], QuerySet[Any]]] = {
            "domain": partial(self.domains, with_bin=True),
            "host": self.hosts,
            "pool": self.pools,
            "volume": self.volumes,
            "network": self.networks,
            "filter": self.filters,
            "secret": self.secrets,
        }
        return lookups[noun]()

    def one(self, noun: str, pk: int) -> Subject | None:
        """The object of this id, or None where there is none, or none to know of."""
        found: Subject | None = self.rows(noun).filter(pk=pk).first() if noun in NOUNS else None
        return found

    def _of_hosts(self, found: SeenQuerySet[S]) -> SeenQuerySet[S]:
        return found if self.everywhere else found.filter(host__in=self._granted("host"))

    def operations(self) -> OperationQuerySet:
        """Those on what this person may know of, and the own ones."""
        found = Operation.objects.select_related("host", "domain", "user")
        if self.everywhere:
            return found
        return found.filter(
            Q(user=self.user) | Q(host__in=self._granted("host")) | Q(domain__in=self._granted("domain"))
        )

    def _granted(self, scope: Literal["host", "domain"]) -> QuerySet[Grant, Any]:
        # A subquery, not a list: somebody may have a grant on each of thousands of machines.
        mine = Grant.objects.filter(user=self.user)
        if scope == "host":
            return mine.filter(host__isnull=False).values("host_id")
        return mine.filter(domain__isnull=False).values("domain_id")


def reaches(role: Role | None, needed: Role) -> bool:
    return role is not None and role.rank >= needed.rank


def highest(roles: Iterable[Role | None]) -> Role | None:
    return max((role for role in roles if role), key=lambda role: role.rank, default=None)


def access_of(user: User | AnonymousUser) -> Access:
    """The rights of a person; someone not signed in or deactivated has none."""
    if not isinstance(user, User) or not user.is_active:
        return Access(User())
    return accesses_of([user])[user.pk]


def accesses_of(users: Iterable[User]) -> dict[int, Access]:
    """The rights of several persons by their id, in one query; someone deactivated has none."""
    found = {user.pk: Access(user) for user in users}
    active = [pk for pk, access in found.items() if access.user.is_active]
    grants = Grant.objects.filter(user__in=active).values_list("user", "role", "host", "domain")
    for pk, role, host, domain in grants:
        access = found[pk]
        if domain:
            access.on_domains[domain] = Role(role)
        elif host:
            access.on_hosts[host] = Role(role)
        else:
            found[pk] = replace(access, everywhere=Role(role))
    return found

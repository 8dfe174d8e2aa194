"""Who may hear which announcement, and whether they are still signed in: what the sockets of open pages ask."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from django.utils import timezone

from webvirt.models import Domain, LoginSession, User
from webvirt.services.access import Access, accesses_of
from webvirt.services.catalogue import BY_KIND
from webvirt.services.consoles import is_login_of
from webvirt.services.subjects import NOUNS

LISTS = frozenset(
    (
        "domains",
        "consoles",
        "hosts",
        "operations",
        "pools",
        "networks",
        "filters",
        "secrets",
        "images",
        "flavours",
        "projects",
        "recordings",
    )
)
"""Names of lists say nothing of any one object, so everybody who is signed in may hear them."""
LISTS_OF_ADMINISTRATORS = frozenset({"audit"})
LOOKED_UP = frozenset({*NOUNS, "project"})
NAME = re.compile(r"(domain|screen|host|use|operation|pool|volume|network|filter|secret|project):([1-9][0-9]{0,17})")


@dataclass(frozen=True)
class Login:
    """A sign-in as a socket found it when it opened."""

    session_key: str
    user_id: int
    auth_hash: str


def audible(access: Access, names: Iterable[str]) -> frozenset[str]:
    """Those of the names that this person may hear: a query for each noun, however many names there are."""
    wanted = set(names)
    asked: dict[str, set[int]] = defaultdict(set)
    for name in wanted:
        if found := NAME.fullmatch(name):
            asked[found[1]].add(int(found[2]))
    may = {noun: pks(access.rows(noun).filter(pk__in=ids)) for noun, ids in asked.items() if noun in LOOKED_UP}
    may["operation"] = pks(access.operations().filter(pk__in=asked["operation"])) if asked["operation"] else set()
    may["screen"] = with_screen(access, asked["screen"])
    may["use"] = hosts_of_figures(access, asked["use"])
    heard = (name for name in wanted if (found := NAME.fullmatch(name)) and int(found[2]) in may[found[1]])
    lists = LISTS | LISTS_OF_ADMINISTRATORS if access.is_administrator else LISTS
    return frozenset(heard) | (wanted & lists)


def with_screen(access: Access, domains: set[int]) -> set[int]:
    """Those of the machines whose screen this person may see."""
    rows = access.domains(with_bin=True).filter(pk__in=domains).order_by() if domains else Domain.objects.none()
    places = rows.values_list("pk", "project_id", "host_id")
    held = {pk: access.held_at((("domain", pk), ("project", project), ("host", host))) for pk, project, host in places}
    return {pk for pk, there in held.items() if there is not None and there.allows(BY_KIND["domain.screenshot"])}


def hosts_of_figures(access: Access, hosts: set[int]) -> set[int]:
    """The hosts whose figures of use concern this person: the host itself, or any machine on it."""
    if not hosts:
        return set()
    whole = pks(access.hosts().filter(pk__in=hosts))
    parts = access.domains().filter(host__in=hosts - whole).order_by().values_list("host", flat=True).distinct()
    return whole | set(parts)


def pks(rows: object) -> set[int]:
    return set(rows.order_by().values_list("pk", flat=True))  # type: ignore[attr-defined]


def rights_of(logins: Iterable[Login]) -> Mapping[Login, Access]:
    """The present rights behind each login that still stands: three queries for however many.

    Missing are those whose session ended, whose password changed, or who were deactivated.
    """
    wanted = set(logins)
    users = {user.pk: user for user in User.objects.filter(pk__in={login.user_id for login in wanted}, is_active=True)}
    sessions = LoginSession.objects.filter(expire_date__gt=timezone.now()).in_bulk(
        list({login.session_key for login in wanted})
    )
    accesses = accesses_of(users.values())
    return {login: accesses[login.user_id] for login in wanted if stands(login, users, sessions)}


def stands(login: Login, users: Mapping[int, User], sessions: Mapping[str, LoginSession]) -> bool:
    user = users.get(login.user_id)
    if user is None or user.get_session_auth_hash() != login.auth_hash:
        return False
    return is_login_of(user, login.auth_hash, sessions.get(login.session_key))

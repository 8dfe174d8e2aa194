"""What the frame around every page shows: who, where one may go, what is under way, what calls for action."""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple

from django.conf import settings
from django.contrib.messages import get_messages
from django.http import HttpRequest
from django.template.backends.utils import csrf_input
from django.utils import translation
from markupsafe import Markup

from webvirt.models import NOT_REACHED, Operation, User
from webvirt.services.access import Access
from webvirt.web.guards import access_for
from webvirt.web.pieces import piece
from webvirt.web.scripts import catalog_address

UNDER_WAY_SHOWN = 200


def frame(request: HttpRequest) -> dict[str, Any]:
    """The context processor of all templates."""
    user = signed_in_user(request)
    language = translation.get_language() or "en"
    context: dict[str, Any] = {
        "user": user,
        "language": language,
        "theme": user.theme if user else "system",
        "full_path": request.get_full_path(),
        "notices": get_messages(request),
        "catalog": catalog_address(language),
    }
    if user is None:
        return context | {"provider": settings.WEBVIRT_OIDC_NAME}
    access = access_for(request)
    under_way = under_way_for(request, access)
    hosts = hosts_for(request, access)
    down = sum(host.state in NOT_REACHED for host in hosts)
    return context | {
        "access": access,
        "under_way": under_way,
        "under_way_percent": mean_percent(under_way),
        "side": side(language, section_of(request.path), down, access.is_administrator, access.knows_projects),
        "furniture": furniture(language),
        "mismatch": mismatch(language, access.is_administrator),
        # Each time it is put into a page it is masked afresh; once a page is enough.
        "csrf_input": csrf_input(request),
    }


def signed_in_user(request: HttpRequest) -> User | None:
    """Nobody, too, where a request failed before it was known who asks."""
    user = getattr(request, "user", None)
    return user if isinstance(user, User) else None


def section_of(path: str) -> str:
    """The entry of the navigation that an address belongs to."""
    return path.split("/")[1]


@lru_cache(maxsize=256)
def side(language: str, section: str, hosts_down: int, is_administrator: bool, knows_projects: bool) -> Markup:
    """The navigation: the same for many requests, so it is rendered once."""
    context = {
        "section": section,
        "hosts_down": hosts_down,
        "is_administrator": is_administrator,
        "knows_projects": knows_projects,
    }
    return piece("side.html", context)


@lru_cache(maxsize=16)
def furniture(language: str) -> Markup:
    """The dialogs that every page has at hand."""
    return piece("furniture.html", {})


@lru_cache(maxsize=16)
def mismatch(language: str, is_administrator: bool) -> Markup:
    """What pages say where the address in the browser does not fit the settings; hidden until a script finds so."""
    context = {
        "origins": settings.SOCKET_ORIGINS,
        "public": settings.WEBVIRT_PUBLIC_URL,
        "is_administrator": is_administrator,
    }
    return piece("mismatch.html", context)


def under_way_for(request: HttpRequest, access: Access) -> list[Operation]:
    """The operations under way that this person may know of, newest first; read once for a request."""
    found: list[Operation] | None = getattr(request, "_under_way", None)
    if found is None:
        rows = (
            access.operations()
            .select_related(None)
            .active()
            .only(
                "kind",
                "state",
                "actor",
                "host_id",
                "domain_id",
                "subject",
                "target",
                "created_at",
                "phase",
                "done",
                "total",
                "exclusive",
            )
        )
        found = list(rows.order_by("-id")[:UNDER_WAY_SHOWN])
        request._under_way = found  # type: ignore[attr-defined]
    return found


class HostRow(NamedTuple):
    """What lists say of a host."""

    pk: int
    name: str
    state: str
    state_since: datetime
    seen_at: datetime | None


HOST_COLUMNS = HostRow._fields


def hosts_for(request: HttpRequest, access: Access) -> list[HostRow]:
    """The hosts that this person may know of, by name; read once for a request."""
    found: list[HostRow] | None = getattr(request, "_hosts", None)
    if found is None:
        found = [HostRow._make(row) for row in access.hosts().order_by("name").values_list(*HOST_COLUMNS)]
        request._hosts = found  # type: ignore[attr-defined]
    return found


def projects_for(request: HttpRequest, access: Access) -> tuple[tuple[int, str], ...]:
    """The projects that this person may know of, each its id and name, by name; read once for a request."""
    found: tuple[tuple[int, str], ...] | None = getattr(request, "_projects", None)
    if found is None:
        found = tuple(access.projects().values_list("pk", "name"))
        request._projects = found  # type: ignore[attr-defined]
    return found


def mean_percent(operations: list[Operation]) -> int | None:
    known = [operation.percent for operation in operations if operation.percent is not None]
    return sum(known) // len(known) if known else None

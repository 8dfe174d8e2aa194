"""Who calls: a program with a token, or a signed-in person's browser (the documentation page)."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.utils.translation import gettext as _
from ninja.errors import HttpError
from ninja.security import APIKeyCookie, HttpBearer
from ninja.utils import check_csrf

from webvirt.models import ApiToken, Origin, User
from webvirt.services import guessing
from webvirt.services.access import Access, Limit, access_of, limit_of
from webvirt.services.actors import Actor, become
from webvirt.services.operations import Denied, NotNow
from webvirt.services.tokens import note_use, tell_refused, user_of_token

LONGEST_KEY = 150
READING = ("GET", "HEAD", "OPTIONS")


@dataclass(frozen=True)
class Caller:
    """The person behind a request, their rights, and the token if it was one."""

    user: User
    token: ApiToken | None = None

    @cached_property
    def access(self) -> Access:
        return access_of(self.user, self.token)

    @property
    def limit(self) -> Limit | None:
        return limit_of(self.token)


class Bearer(HttpBearer):
    """`Authorization: Bearer wv_...`.

    `limited` are the methods with which a limited token may come: to read, unless what is sent is part of a verb.
    """

    openapi_name = "token"

    def __init__(self, limited: Collection[str] = READING) -> None:
        super().__init__()
        self.limited = limited

    def authenticate(self, request: HttpRequest, token: str) -> Caller | None:
        become(Actor(None, Origin.API, client_address(request)))
        found = user_of_token(token)
        # One that was good before is known; whoever guesses from the same address does not shut it out.
        if found is None or found[1].last_used_at is None:
            try:
                guess = guessing.from_address("token", client_address(request))
            except NotNow as error:
                raise HttpError(429, str(error)) from None
            if found is None:
                tell_refused(token, client_address(request))
                return None
            guess.was_right()
        user, kept = found
        note_use(kept)
        become(Actor(user, Origin.API, client_address(request), kept.name, token=kept))
        caller = Caller(user, kept)
        if caller.limit and request.method not in self.limited:
            raise Denied(_("This token is limited to verbs, and this is none: use one without limits, or the pages."))
        return caller


class Session(APIKeyCookie):
    """The session cookie; what changes anything needs the CSRF token as well."""

    openapi_name = "session"
    param_name = settings.SESSION_COOKIE_NAME

    def __call__(self, request: HttpRequest) -> Any | None:
        # Who sends a token means the token: a wrong one must not be saved by a cookie.
        if "Authorization" in request.headers or not isinstance(request.user, User):
            return None
        if check_csrf(request) is not None:
            raise HttpError(403, _("The CSRF token is missing or wrong: send it as X-CSRFToken."))
        return self.authenticate(request, None)

    def authenticate(self, request: HttpRequest, key: str | None) -> Caller | None:
        user = request.user
        if not isinstance(user, User):
            return None
        become(Actor(user, Origin.API, client_address(request)))
        return Caller(user)


class AdministratorsBearer(Bearer):
    """The same, of administrators alone, so that nobody else is even told what is wrong with their request."""

    def authenticate(self, request: HttpRequest, token: str) -> Caller | None:
        return administrators_only(super().authenticate(request, token))


class AdministratorsSession(Session):
    def authenticate(self, request: HttpRequest, key: str | None) -> Caller | None:
        return administrators_only(super().authenticate(request, key))


def administrators_only(caller: Caller | None) -> Caller | None:
    """Raises Denied for anybody else who is signed in."""
    if caller is not None and not caller.access.is_administrator:
        raise Denied(_("Administrators alone may do this."))
    return caller


ADMINISTRATORS = [AdministratorsBearer(), AdministratorsSession()]
OF_VERBS = [Bearer(limited=(*READING, "POST", "PUT")), Session()]
"""For verbs, and what is part of one."""
OF_RECORDINGS = [Bearer(limited=(*READING, "DELETE")), Session()]
"""To delete one is a verb, so to speak: it takes the right of one."""
OWN = [Bearer(limited=()), Session()]
"""For how somebody comes in, which is none of a limited token's business."""


def caller_of(request: HttpRequest) -> Caller:
    caller: Any = request.auth  # type: ignore[attr-defined]
    assert isinstance(caller, Caller)
    return caller


def access_for(request: HttpRequest) -> Access:
    return caller_of(request).access


def administrator(request: HttpRequest) -> Access:
    """The rights of who keeps a list that all of the installation has in common. Raises Denied for anybody else."""
    access = access_for(request)
    if not access.is_administrator:
        raise Denied(_("Administrators alone keep this list."))
    return access


def actor_of(request: HttpRequest) -> Actor:
    """Who asks, by which token, from where, and what their program calls this request."""
    caller = caller_of(request)
    key = request.headers.get("Idempotency-Key", "")
    if len(key) > LONGEST_KEY or not key.isprintable():
        raise HttpError(
            400, _("Idempotency-Key is at most %(longest)s printable characters.") % {"longest": LONGEST_KEY}
        )
    name = caller.token.name if caller.token else ""
    address = client_address(request)
    return Actor(caller.user, Origin.API, address, token_name=name, request_key=key, token=caller.token)


def client_address(request: HttpRequest) -> str | None:
    """The caller's address, which the server has from the front; None where it came by a local socket."""
    try:
        return str(ipaddress.ip_address(request.META.get("REMOTE_ADDR", "")))
    except ValueError:
        return None

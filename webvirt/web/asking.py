"""Who asks, said once for each request; and what they do at the door itself, for the audit log."""

from __future__ import annotations

from typing import Any

from allauth.account.signals import password_changed
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.dispatch import receiver
from django.http import HttpRequest, HttpResponseBase

from webvirt.models import AuditResult, Origin, User
from webvirt.services import audit
from webvirt.services.actors import Actor, acting, current
from webvirt.services.sources import source_of
from webvirt.web.actor import client_address
from webvirt.web.middleware import Handler


class Asker:
    """Says who asks and from where. After whatever finds out who it is."""

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        user = request.user if isinstance(request.user, User) else None
        with acting(Actor(user, Origin.PAGE, client_address(request))):
            return self.get_response(request)


def by(user: User) -> Actor:
    """A person who comes in, or goes out, by the page that asks."""
    return Actor(user, Origin.PAGE, current().address)


@receiver(user_logged_in)
def came_in(user: User, **_signal: Any) -> None:
    source = source_of(user)
    audit.note("person.sign_in", user, actor=by(user), details={"by": source.label} if source else {})


@receiver(user_logged_out)
def went_out(user: User | None, **_signal: Any) -> None:
    if user is not None:
        audit.note("person.sign_out", user, actor=by(user))


@receiver(user_login_failed)
def stayed_out(credentials: dict[str, Any], **_signal: Any) -> None:
    """Nobody acted: whose name was typed is what it is about, and they may know nothing of it."""
    about = audit.account_named(str(credentials.get("username", "")))
    audit.note("person.sign_in", about, result=AuditResult.DENIED, details={"reason": "wrong name or password"})


@receiver(password_changed)
def changed_password(user: User, **_signal: Any) -> None:
    audit.note("person.password", user)

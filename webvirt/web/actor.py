"""Who asks, as operations want to know it: the signed-in person and the address they come from."""

from __future__ import annotations

import ipaddress

from django.http import HttpRequest

from webvirt.models import Origin, User
from webvirt.services.operations import Actor


def actor_of(request: HttpRequest) -> Actor:
    """The person behind a page's request. Only for views behind `guards.signed_in`."""
    assert isinstance(request.user, User)
    return Actor(request.user, Origin.PAGE, client_address(request))


def client_address(request: HttpRequest) -> str | None:
    """The browser's address. Proxies' headers count only where the connection itself is local."""
    peer = as_address(request.META.get("REMOTE_ADDR", ""))
    if peer and not ipaddress.ip_address(peer).is_loopback:
        return peer
    forwarded = request.META.get("HTTP_X_REAL_IP") or request.META.get("HTTP_X_FORWARDED_FOR", "").rpartition(",")[2]
    return as_address(forwarded) or peer


def as_address(text: str) -> str | None:
    try:
        return str(ipaddress.ip_address(text.strip()))
    except ValueError:
        return None

"""Which browsers somebody has signed in with: there, who guesses elsewhere does not keep them out.

A signed cookie holds a number of the browser's own and a keyed hash of each name; it admits to nothing.
"""

from __future__ import annotations

import secrets

from django.conf import settings
from django.core import signing
from django.http import HttpRequest, HttpResponseBase
from django.utils.crypto import salted_hmac

from webvirt.services.spelling import folded

COOKIE = "known"
SALT = "webvirt.known"
KEPT_SECONDS = 180 * 24 * 3600
MOST_PEOPLE = 20


def device_of(request: HttpRequest, name: str) -> str:
    """The number of this browser, if the person of that name has signed in with it; else nothing."""
    device, people = read(request)
    return device if mark_of(name) in people else ""


def remember(request: HttpRequest, response: HttpResponseBase, name: str) -> None:
    """This person has signed in with this browser."""
    device, people = read(request)
    mark = mark_of(name)
    people = [*(each for each in people if each != mark), mark][-MOST_PEOPLE:]
    response.set_cookie(
        COOKIE,
        signing.dumps([device or secrets.token_urlsafe(16), people], salt=SALT),
        max_age=KEPT_SECONDS,
        secure=settings.SESSION_COOKIE_SECURE,
        httponly=True,
        samesite="Lax",
    )


def read(request: HttpRequest) -> tuple[str, list[str]]:
    try:
        device, people = signing.loads(request.COOKIES.get(COOKIE, ""), salt=SALT, max_age=KEPT_SECONDS)
    except signing.BadSignature:
        return "", []
    return device, people


def mark_of(name: str) -> str:
    return salted_hmac(SALT, folded(name), algorithm="sha256").hexdigest()[:16]

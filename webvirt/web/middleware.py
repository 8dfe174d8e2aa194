"""What every answer carries and every request needs. Plain functions, since they run on each request."""

from __future__ import annotations

import re
from collections.abc import Callable

from django.conf import settings
from django.contrib.auth.middleware import get_user
from django.core.exceptions import BadRequest, MiddlewareNotUsed
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.utils import translation

from webvirt.models import User
from webvirt.services.sessions import note_use

Handler = Callable[[HttpRequest], HttpResponseBase]
BY_ITSELF = "X-By-Itself"
"""What a page's script sends with what nobody asked for."""
PICTURE = "/screen.png"
"""The same of a guest's screen, where a script can send nothing along."""
LANGUAGES = frozenset(code for code, name in settings.LANGUAGES)


ADDRESSES_IN_HTML = re.compile(rb'(?<=\s)((?:href|src|action|formaction|data-(?:document|gone|icons))=")/(?!/)')
"""No text can look like one: what is put into a page has its quotes escaped."""
ADDRESSES_IN_JSON = re.compile(rb'("(?:url|target_url|file)": ")/(?!/)')
"""The same: in a string, a quote has a backslash before it."""


class UnderPath:
    """Puts the path of WEBVIRT_PUBLIC_URL, where it has one, before every address that leaves the house.

    Inside, addresses begin at "/": the front takes the path off, and this puts it back into pages, into what scripts
    are told, redirects and cookies. The API names no addresses but its own, and says once where they begin.
    """

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response
        self.path: str = settings.PUBLIC_URL.path
        if not self.path:
            raise MiddlewareNotUsed

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        if (where := response.get("Location", "")).startswith("/") and not where.startswith("//"):
            response.headers["Location"] = self.path + where
        for cookie in response.cookies.values():
            cookie["path"] = self.path + cookie["path"]
        if isinstance(response, HttpResponse) and (addresses := addresses_of(request, response)):
            response.content = addresses.sub(rb"\1%b/" % self.path.encode(), response.content)
            if response.has_header("Content-Length"):
                response.headers["Content-Length"] = str(len(response.content))
        return response


def addresses_of(request: HttpRequest, response: HttpResponse) -> re.Pattern[bytes] | None:
    """What finds the addresses in an answer of this kind; None where there are none."""
    kind = response.get("Content-Type", "").partition(";")[0]
    if kind == "text/html":
        return ADDRESSES_IN_HTML
    is_ours = kind == "application/json" and not request.path.startswith("/api/")
    return ADDRESSES_IN_JSON if is_ours else None


def content_security_policy() -> str:
    """Our own files and nothing else; no inline script or style at all.

    `connect-src` names the sockets as well: some browsers do not count them as 'self'.
    """
    sockets = " ".join(sorted({origin.replace("http", "ws", 1) for origin in settings.SOCKET_ORIGINS}))
    return "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "img-src 'self' data: blob:",
            "font-src 'self'",
            f"connect-src 'self' {sockets}",
            "manifest-src 'self'",
            "form-action 'self'",
            "base-uri 'none'",
            "frame-ancestors 'none'",
        )
    )


class SecurityHeaders:
    """Puts the policies on every answer; pages are never kept by caches unless they say so themselves."""

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response
        self.headers = {
            "Content-Security-Policy": content_security_policy(),
            "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
            "X-Frame-Options": settings.X_FRAME_OPTIONS,
            "Cross-Origin-Resource-Policy": "same-origin",
            "Cache-Control": "no-store",
        }

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        for name, value in self.headers.items():
            response.headers.setdefault(name, value)
        return response


class PersonsLanguage:
    """Speaks the language the person chose, else the one the browser asks for."""

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        # Who it is will be asked many times: the person themselves, not a proxy that asks first each time.
        request.user = get_user(request)
        language = language_of(request)
        translation.activate(language)
        response = self.get_response(request)
        response.headers.setdefault("Content-Language", language)
        return response


class NotesUse:
    """A session ends when its person does nothing for long. What pages fetch by themselves does not count."""

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        by_itself = BY_ITSELF in request.headers or request.path.endswith(PICTURE)
        if isinstance(request.user, User) and not by_itself:
            note_use(request.session)  # type: ignore[arg-type]
        return self.get_response(request)


class RefusesNul:
    """Refuses an address that asks for a NUL: PostgreSQL has no text with one, and would be at fault."""

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if "%00" in request.META["QUERY_STRING"]:
            raise BadRequest("a NUL in the query")
        return self.get_response(request)


def language_of(request: HttpRequest) -> str:
    user = request.user
    if isinstance(user, User) and user.language in LANGUAGES:
        return user.language
    return translation.get_language_from_request(request)

"""Pages for what went wrong, in the frame where that is possible, and as JSON for scripts."""

from __future__ import annotations

import logging
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import DisallowedHost
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.template import loader
from django.utils.translation import get_language
from django.utils.translation import gettext as _

from webvirt.web.guards import wants_json

log = logging.getLogger(__name__)


def answer(request: HttpRequest, status: int, title: str, text: str) -> HttpResponse:
    if wants_json(request):
        return JsonResponse({"error": text}, status=status)
    return render(request, "error.html", {"status": status, "title": title, "text": text}, status=status)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    if isinstance(exception, DisallowedHost):
        # Which name came here stays in the log: it may be one of the inside.
        log.warning(
            "WEBVIRT_PUBLIC_URL is %s, and a request is for another host: %s", settings.WEBVIRT_PUBLIC_URL, exception
        )
        text = _(
            "webvirt does not know itself by this address. If you administer it: set WEBVIRT_PUBLIC_URL to what the "
            "address line of your browser shows, and let a proxy in front of it hand on the header Host."
        )
        return answer(request, 400, _("Not at this address"), text)
    return answer(request, 400, _("That request makes no sense"), _("The browser sent something we do not understand."))


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    said = str(exception)
    text = said or _("Your role does not allow this. An administrator can give you another one.")
    return answer(request, 403, _("Not allowed"), text)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    text = _("There is nothing at this address, or nothing that you may know of.")
    return answer(request, 404, _("Not found"), text)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    log.warning("CSRF: %s: %s", request.path, reason)
    if here := origin_of_ours(request):
        text = _(
            "webvirt takes forms only from the address it is set to. If you administer it, and %(here)s is the address "
            "that people are to type: set WEBVIRT_PUBLIC_URL to it and start webvirt anew."
        )
        return answer(request, 403, _("Not from this address"), text % {"here": here + settings.PUBLIC_URL.path})
    text = _("This form was too old or came from somewhere else. Go back, reload the page and try again.")
    return answer(request, 403, _("Please try again"), text)


def origin_of_ours(request: HttpRequest) -> str:
    """The address in the browser, where it is that of a page of ours and does not fit the settings; else nothing.

    Another site's page says another address than the browser asked, so it is never told as if it were ours.
    """
    origin = request.headers.get("Origin", "")
    if origin in settings.SOCKET_ORIGINS or urlsplit(origin).scheme not in ("http", "https"):
        return ""
    is_same = request.headers.get("Sec-Fetch-Site") == "same-origin" or urlsplit(origin).netloc == request.get_host()
    return origin if is_same else ""


def failure(request: HttpRequest) -> HttpResponse:
    """A fault of ours. Without the frame, since the fault may be there."""
    text = _("This is a fault of webvirt. The log of the web process has the details.")
    if wants_json(request):
        return JsonResponse({"error": text}, status=500)
    page = loader.get_template("failure.html").render(
        {"title": _("Something broke"), "text": text, "language": get_language() or "en"}
    )
    return HttpResponse(page, status=500)

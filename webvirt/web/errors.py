"""Pages for what went wrong, in the frame where that is possible, and as JSON for scripts."""

from __future__ import annotations

import logging

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
    text = _("This form was too old or came from somewhere else. Go back, reload the page and try again.")
    return answer(request, 403, _("Please try again"), text)


def failure(request: HttpRequest) -> HttpResponse:
    """A fault of ours. Without the frame, since the fault may be there."""
    text = _("This is a fault of webvirt. The log of the web process has the details.")
    if wants_json(request):
        return JsonResponse({"error": text}, status=500)
    page = loader.get_template("failure.html").render(
        {"title": _("Something broke"), "text": text, "language": get_language() or "en"}
    )
    return HttpResponse(page, status=500)

"""One shape for all that went wrong: `{"error": sentence, "fields"?: {name: sentence}, "holder"?: operation}`."""

from __future__ import annotations

import logging
from typing import Any

from django.core.exceptions import RequestDataTooBig
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.utils.translation import gettext as _
from ninja import NinjaAPI
from ninja.errors import AuthenticationError, HttpError, ValidationError

from webvirt.api.auth import access_for
from webvirt.api.shapes import OperationOut, operation_out
from webvirt.services.operations import Busy, Denied, Invalid, Refused

log = logging.getLogger(__name__)


def answer(status: int, error: str, **more: Any) -> JsonResponse:
    return JsonResponse({"error": error, **more}, status=status)


def status_of(error: Refused) -> int:
    """403 not allowed, 409 not now (state, or busy), 422 wrong parameters."""
    if isinstance(error, Denied):
        return 403
    return 422 if isinstance(error, Invalid) else 409


def more_of(request: HttpRequest, error: Refused) -> dict[str, Any]:
    """What a program can act on, beside the sentence."""
    if isinstance(error, Invalid):
        return {"fields": error.fields}
    if isinstance(error, Busy) and error.holder:
        shown: OperationOut = operation_out(access_for(request), error.holder)
        return {"holder": shown.model_dump(mode="json")}
    return {}


def on_refused(request: HttpRequest, error: Any) -> HttpResponse:
    return answer(status_of(error), str(error), **more_of(request, error))


def on_not_found(request: HttpRequest, error: Any) -> HttpResponse:
    return answer(404, _("Not found."))


def on_not_signed_in(request: HttpRequest, error: Any) -> HttpResponse:
    response = answer(401, _("Send a valid token: Authorization: Bearer wv_..."))
    response["WWW-Authenticate"] = "Bearer"
    return response


def on_http_error(request: HttpRequest, error: Any) -> HttpResponse:
    return answer(error.status_code, error.message)


def on_wrong_input(request: HttpRequest, error: Any) -> HttpResponse:
    """Parameters in the address or the body that ninja itself refused."""
    fields = {}
    for problem in error.errors:
        # Of a body, the second part is the name of the view's argument.
        place = problem["loc"][2:] if problem["loc"][0] == "body" else problem["loc"][1:]
        fields[".".join(str(part) for part in place)] = problem["msg"].removeprefix("Value error, ")
    sentence = "; ".join(f"{name}: {text}" if name else text for name, text in fields.items())
    return answer(422, sentence, fields=fields)


def on_too_big(request: HttpRequest, error: Any) -> HttpResponse:
    return answer(413, _("The body is too big."))


def on_fault(request: HttpRequest, error: Any) -> HttpResponse:
    log.error("%s %s", request.method, request.path, exc_info=error)
    return answer(500, _("This is a fault of webvirt: its log has the details."))


def install(api: NinjaAPI) -> None:
    api.add_exception_handler(Refused, on_refused)
    api.add_exception_handler(Http404, on_not_found)
    api.add_exception_handler(HttpError, on_http_error)
    api.add_exception_handler(AuthenticationError, on_not_signed_in)
    api.add_exception_handler(ValidationError, on_wrong_input)
    api.add_exception_handler(RequestDataTooBig, on_too_big)
    api.add_exception_handler(Exception, on_fault)

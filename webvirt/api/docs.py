"""The OpenAPI document and its page, from our own files alone."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib.auth.views import redirect_to_login
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render, resolve_url
from ninja import NinjaAPI, Router

from webvirt.models import User

METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


def make_router(api: NinjaAPI) -> Router:
    """The paths that tell about the API, and the answer for paths that it does not have."""
    router = Router()

    @router.get("/openapi.json", include_in_schema=False)
    def openapi_document(request: HttpRequest) -> Any:
        return api.get_openapi_schema()

    @router.get("/docs", auth=None, include_in_schema=False)
    def docs_page(request: HttpRequest) -> HttpResponse:
        if not isinstance(request.user, User):
            return redirect_to_login(request.get_full_path(), resolve_url(settings.LOGIN_URL))
        return render(request, "api/docs.html")

    @router.api_operation(METHODS, "/{path:rest}", include_in_schema=False)
    def no_such_path(request: HttpRequest, rest: str) -> HttpResponse:
        raise Http404

    return router

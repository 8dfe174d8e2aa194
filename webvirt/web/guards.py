"""Who may come in: wraps views so that they get the person's `Access`, or are never called."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate

from django.conf import settings
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.shortcuts import resolve_url
from django.utils.translation import gettext as _

from webvirt.models import User
from webvirt.services.access import Access, access_of

View = Callable[..., HttpResponseBase]
GuardedView = Callable[Concatenate[HttpRequest, Access, ...], HttpResponseBase]


def access_for(request: HttpRequest) -> Access:
    """The rights of who asks, read once for a request."""
    access: Access | None = getattr(request, "_access", None)
    if access is None:
        access = access_of(request.user)
        request._access = access  # type: ignore[attr-defined]
    return access


def signed_in(view: GuardedView) -> View:
    """For people who signed in; others are asked to, and come back here."""

    @wraps(view)
    def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if not isinstance(request.user, User):
            return ask_to_sign_in(request)
        return view(request, access_for(request), *args, **kwargs)

    return guarded


def administrators(view: GuardedView) -> View:
    """For administrators alone."""

    @signed_in
    @wraps(view)
    def guarded(request: HttpRequest, access: Access, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if not access.is_administrator:
            raise PermissionDenied
        return view(request, access, *args, **kwargs)

    return guarded


def ask_to_sign_in(request: HttpRequest) -> HttpResponse:
    if wants_json(request):
        return JsonResponse({"error": _("You are signed out. Sign in again and repeat this.")}, status=401)
    back = request.get_full_path() if request.method == "GET" else "/"
    return redirect_to_login(back, resolve_url(settings.LOGIN_URL))


def wants_json(request: HttpRequest) -> bool:
    """Whether a script of ours asks, rather than a person's browser for a page."""
    return request.headers.get("Accept", "") == "application/json"

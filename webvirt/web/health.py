"""`/healthz`: whether every part of this installation is alive, for monitors; no names, no secrets, no sign-in."""

from __future__ import annotations

from django.http import HttpRequest, JsonResponse
from django.views.decorators.http import require_safe

from webvirt.services.health import health


@require_safe
def healthz(request: HttpRequest) -> JsonResponse:
    found = health()
    response = JsonResponse(found, status=200 if found["ok"] else 503)
    # An answer, not an accident: Django would write an error to the log each time a monitor asks.
    response._has_been_logged = True  # type: ignore[attr-defined]
    return response

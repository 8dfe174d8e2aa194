"""All addresses: the pages, the API, and the pages for errors."""

from __future__ import annotations

from django.urls import include, path

from webvirt.api.urls import api

urlpatterns = [
    path("api/v1/", api.urls),
    path("", include("webvirt.web.urls")),
]

handler400 = "webvirt.web.errors.bad_request"
handler403 = "webvirt.web.errors.forbidden"
handler404 = "webvirt.web.errors.not_found"
handler500 = "webvirt.web.errors.failure"

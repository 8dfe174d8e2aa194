"""The REST API at /api/v1/, put together."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponseBase
from django.utils.translation import gettext as _
from ninja import NinjaAPI

from webvirt import __version__
from webvirt.api import (
    audit,
    cloudimages,
    consoles,
    docs,
    domains,
    errors,
    filters,
    flavours,
    guestlinks,
    hosts,
    me,
    networks,
    operations,
    people,
    projects,
    recordings,
    rights,
    secrets,
    storage,
    uploads,
    verbs,
)
from webvirt.api.auth import Bearer, Session

DESCRIPTION = """
Everything that the pages do. Send a token (`Authorization: Bearer wv_...`), made in your profile or with
`manage.py createtoken`.

Whatever changes something on a host answers 202 with an *operation* at once; `Location` says where to ask what
became of it. Refusals: 401 not signed in, 403 your role does not allow it, 404 not there or not yours to know of,
409 not now (the state, or another operation: `holder`), 422 wrong parameters (`fields`).
"""

View = Callable[..., HttpResponseBase]


class Api(NinjaAPI):
    """ninja's, whose own refusals (a wrong method, the bare root) have the shape of all our errors too."""

    @property
    def urls(self) -> Any:
        patterns, *names = super().urls
        for pattern in patterns:
            pattern.callback = in_shape(pattern.callback)
        return patterns, *names


def in_shape(view: Any) -> View:
    @wraps(view)
    def shaped(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        try:
            response: HttpResponseBase = view(request, *args, **kwargs)
        except Http404 as error:
            return errors.on_not_found(request, error)
        if response.status_code != 405:
            return response
        answer = errors.answer(405, _("Not with this method."))
        answer["Allow"] = response.headers["Allow"]
        return answer

    return shaped


api = Api(
    title="webvirt",
    version=__version__,
    description=DESCRIPTION,
    urls_namespace="api",
    servers=[{"url": settings.PUBLIC_URL.path}] if settings.PUBLIC_URL.path else [],
    auth=[Bearer(), Session()],
    openapi_url="",
    docs_url="",
)
errors.install(api)
api.add_router("", verbs.router)
api.add_router("/hosts", hosts.router)
api.add_router("/domains", domains.router)
api.add_router("/pools", storage.pools)
api.add_router("/volumes", storage.volumes)
api.add_router("/images", storage.images)
api.add_router("/cloud-images", cloudimages.router)
api.add_router("/flavours", flavours.router)
api.add_router("/networks", networks.router)
api.add_router("/filters", filters.router)
api.add_router("/secrets", secrets.router)
api.add_router("/uploads", uploads.router)
api.add_router("/operations", operations.router)
api.add_router("/recordings", recordings.router)
api.add_router("/consoles", consoles.router)
api.add_router("/domains", guestlinks.router)
api.add_router("/audit", audit.router)
api.add_router("/me", me.router)
api.add_router("/projects", projects.router)
api.add_router("/people", people.router)
api.add_router("/groups", rights.group_router)
api.add_router("/roles", rights.role_router)
api.add_router("/grants", rights.grant_router)
api.add_router("/who", rights.who_router)
api.add_router("", docs.make_router(api))

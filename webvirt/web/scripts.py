"""The words that our scripts show, as one file for each language; kept by browsers for ever under its hash."""

from __future__ import annotations

import hashlib
from functools import cache

from django.http import Http404, HttpRequest, HttpResponse
from django.utils import translation
from django.views.decorators.http import require_GET
from django.views.i18n import JavaScriptCatalog

from webvirt.web.middleware import LANGUAGES

KEPT = "public, max-age=31536000, immutable"


@require_GET
def catalog(request: HttpRequest, language: str, version: str) -> HttpResponse:
    if language not in LANGUAGES:
        raise Http404
    response = HttpResponse(catalog_text(language), content_type="text/javascript; charset=utf-8")
    if version == catalog_version(language):
        response.headers["Cache-Control"] = KEPT
    return response


@cache
def catalog_text(language: str) -> bytes:
    with translation.override(language):
        answer = JavaScriptCatalog(packages=["webvirt"]).get(HttpRequest())
    return answer.content


@cache
def catalog_version(language: str) -> str:
    return hashlib.sha256(catalog_text(language)).hexdigest()[:12]


def catalog_address(language: str) -> str:
    known = language if language in LANGUAGES else "en"
    return f"/jsi18n/{known}/{catalog_version(known)}.js"

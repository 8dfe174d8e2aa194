"""Secrets: what a host keeps for its pools and machines, and who needs it. Never their values."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_GET, require_http_methods

from webvirt.models import Secret
from webvirt.services import uses
from webvirt.services.access import Access
from webvirt.web.guards import signed_in
from webvirt.web.kinds import secret_usage
from webvirt.web.pools import header, operations_page
from webvirt.web.verbs import perform


@dataclass(frozen=True)
class SecretLine:
    """A secret, and in words what it is for."""

    secret: Secret

    @property
    def kind(self) -> str:
        return secret_usage(self.secret.usage)


def lines_of(found: QuerySet[Secret]) -> list[SecretLine]:
    return [SecretLine(secret) for secret in found.order_by("host__name", "name")]


def find(access: Access, pk: int) -> Secret:
    return get_object_or_404(access.secrets(), pk=pk)


@require_GET
@signed_in
def one(request: HttpRequest, access: Access, pk: int) -> HttpResponse:
    found = find(access, pk)
    context = header(request, access, found, "overview", f"/hosts/{found.host_id}/storage/") | {
        "secret": found,
        "kind": secret_usage(found.usage),
        "pools": uses.pools_with(found),
        "volumes": uses.volumes_with(found),
        "machines": uses.machines_with(found),
    }
    return render(request, "secrets/overview.html", context | operations_page(request, found))


@require_http_methods(["GET", "POST"])
@signed_in
def verb(request: HttpRequest, access: Access, pk: int, name: str) -> HttpResponse:
    found = find(access, pk)
    answer = perform(request, access, found, name)
    if name == "undefine" and answer.status_code == 302:
        answer.headers["Location"] = f"/hosts/{found.host_id}/storage/"
    return answer

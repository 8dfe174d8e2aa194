"""Sending a file into a volume, piece by piece, after `POST /pools/{id}/upload-volume`: the ids are its operations'."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.conf import settings
from django.http import Http404, HttpRequest, JsonResponse
from django.utils.translation import gettext as _
from ninja import Router, Schema, Status

from webvirt.api.auth import OF_VERBS, access_for, caller_of
from webvirt.models import Operation, OperationState, Upload
from webvirt.services import operations, uploads
from webvirt.services.access import asked_by

router = Router(tags=["uploads"], auth=OF_VERBS)


class UploadOut(Schema):
    """How far an upload is; `received` is where the next piece begins, `carried` what its host has."""

    id: int
    pool: int
    name: str
    size: int
    received: int
    carried: int
    state: str


class Again(Schema):
    """A piece that was not taken: send what begins at `received`."""

    error: str
    received: int


def upload_out(upload: Upload) -> UploadOut:
    return UploadOut(
        id=upload.pk,
        pool=upload.pool_id,
        name=upload.name,
        size=upload.size,
        received=upload.received,
        carried=upload.carried,
        state=OperationState(upload.operation.state).value,
    )


def own(request: HttpRequest, pk: int) -> Upload:
    """An upload of the caller's; nobody else's is there, for anybody."""
    caller = caller_of(request)
    upload = uploads.upload_by(caller.user, caller.limit, pk)
    if upload is None:
        raise Http404
    return upload


@router.get("", response=list[UploadOut], summary="Your uploads under way")
def mine(request: HttpRequest, pool: int | None = None) -> list[UploadOut]:
    """Those that have not come to an end."""
    caller = caller_of(request)
    own = Operation.objects.active().filter(asked_by(caller.user, caller.limit), kind="volume.upload")
    found = Upload.objects.filter(operation__in=own)
    if pool is not None:
        found = found.filter(pool__in=access_for(request).pools().filter(pk=pool))
    return [upload_out(upload) for upload in found.select_related("operation").order_by("pk")[:100]]


@router.get("/{int:pk}", response=UploadOut, summary="How far an upload is")
def one(request: HttpRequest, pk: int) -> UploadOut:
    return upload_out(own(request, pk))


def body_of(request: HttpRequest) -> Path:
    """The file that the front wrote the body to; the body itself never comes here."""
    path = Path(request.headers.get("X-Body-File", ""))
    if path.parent != settings.WEBVIRT_HOME / "run" / "nginx" / "body":
        raise operations.Invalid({"length": _("A piece is at most 8 MiB, and not empty.")})
    return path


@router.put(
    "/{int:pk}",
    response={200: UploadOut, 409: Again, 503: Again},
    summary="Send a piece",
    openapi_extra={"requestBody": {"required": True, "content": {"application/octet-stream": {}}}},
)
def piece(request: HttpRequest, pk: int, offset: int, sha256: str = "") -> Any:
    """The body is the piece, at most 8 MiB; `offset` is where it begins, `sha256` its checksum in hexadecimal.

    409: it does not begin at `received`. 503: the host is slower than you; the same piece again in a moment.

    The checksum is compared on the way to the host. A piece that was damaged takes `received` back to where it begins:
    the next one is answered with 409. So after the last piece look at the upload until `carried` is its size, and send
    again from `received` should that be less.
    """
    upload = own(request, pk)
    try:
        uploads.take(upload, offset, body_of(request), sha256)
    except uploads.Misplaced as error:
        return Status(409, Again(error=str(error), received=error.received))
    except uploads.NotNow as error:
        answer = JsonResponse({"error": str(error), "received": upload.received}, status=503)
        answer["Retry-After"] = "1"
        return answer
    return upload_out(upload)

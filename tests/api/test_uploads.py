"""Sending pieces over the API: only one's own, only in order, and what a program is told."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

from tests.api.conftest import Caller, Callers
from tests.people import Cast
from webvirt.models import Grant, Operation, Role, Upload
from webvirt.services import operations, uploads

DATA = bytes(range(256)) * 40


@pytest.fixture(autouse=True)
def unsent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(operations, "send", lambda operation: None)
    monkeypatch.setattr(settings, "WEBVIRT_HOME", tmp_path)


@pytest.fixture
def begun(api: Callers, cast: Cast) -> int:
    """An upload of the owner's, who has that role on the whole host."""
    for user in (cast.owner, cast.operator):
        Grant.objects.create(user=user, host=cast.host, role=Role.OWNER)
    answer = api.owner.post(f"/pools/{cast.pool.pk}/upload-volume", {"name": "a.img", "size": len(DATA)})
    assert answer.status_code == 202
    return int(answer.json()["id"])


def put(caller: Caller, pk: int, data: bytes, offset: int, digest: str = "") -> Any:
    """As the front hands it on: the body is in a file, and there is none where it is empty."""
    path = f"/api/v1/uploads/{pk}?offset={offset}&sha256={digest}"
    body = settings.WEBVIRT_HOME / "run" / "nginx" / "body" / "0000000001"
    body.parent.mkdir(parents=True, exist_ok=True)
    body.write_bytes(data)
    headers = caller.headers | ({"X-Body-File": str(body)} if data else {})
    try:
        return caller.client.generic("PUT", path, b"", "application/octet-stream", headers=headers)
    finally:
        body.unlink()


def test_pieces_in_order_are_taken_and_counted(api: Callers, begun: int) -> None:
    digest = hashlib.sha256(DATA[:5000]).hexdigest()
    answer = put(api.owner, begun, DATA[:5000], 0, digest)
    assert (answer.status_code, answer.json()["received"]) == (200, 5000)
    assert api.owner.get(f"/uploads/{begun}").json()["received"] == 5000
    (listed,) = api.owner.get("/uploads").json()
    assert (listed["id"], listed["size"], listed["state"]) == (begun, len(DATA), "queued")


@pytest.mark.parametrize("who", ["operator", "administrator", "stranger"])
def test_nobody_elses_is_there(api: Callers, begun: int, who: str) -> None:
    """Not for who may upload there too, and not for an administrator: the bytes are one person's own."""
    caller = getattr(api, who)
    assert caller.get(f"/uploads/{begun}").status_code == 404
    assert put(caller, begun, DATA, 0).status_code == 404
    assert caller.get("/uploads").json() == []
    assert api.nobody.get(f"/uploads/{begun}").status_code == 401


def test_another_operation_is_no_upload(api: Callers, cast: Cast) -> None:
    pk = api.owner.post(f"/domains/{cast.domain.pk}/start").json()["id"]
    assert Operation.objects.get(pk=pk).kind == "domain.start"
    assert put(api.owner, pk, DATA, 0).status_code == 404


def test_a_piece_out_of_order_is_told_where_to_go_on(api: Callers, begun: int) -> None:
    put(api.owner, begun, DATA[:100], 0)
    for offset in (0, 50, 200):
        answer = put(api.owner, begun, DATA[offset : offset + 10], offset)
        assert (answer.status_code, answer.json()["received"]) == (409, 100)


@pytest.mark.parametrize(
    ("data", "digest"), [(b"", ""), (DATA + b"x", ""), (DATA[:10], "0" * 63)], ids=["empty", "too long", "no checksum"]
)
def test_a_piece_that_cannot_be_is_refused(api: Callers, begun: int, data: bytes, digest: str) -> None:
    answer = put(api.owner, begun, data, 0, digest)
    assert answer.status_code == 422
    assert answer.json()["error"]
    assert api.owner.get(f"/uploads/{begun}").json()["received"] == 0


def test_a_damaged_piece_is_asked_for_even_where_it_was_the_last(api: Callers, begun: int) -> None:
    """The checksum is compared on the way to the host, after the sender had an answer."""
    for offset in (0, 5000, 10000):
        assert put(api.owner, begun, DATA[offset : offset + 5000], offset, "0" * 64).status_code == 200
    uploads.ask_again(Upload.objects.get(pk=begun), 5000)
    answer = put(api.owner, begun, DATA[10000:], 10000)
    assert (answer.status_code, answer.json()["received"]) == (409, 5000)
    shown = api.owner.get(f"/uploads/{begun}").json()
    assert (shown["received"], shown["carried"], shown["state"]) == (5000, 0, "queued")
    assert put(api.owner, begun, DATA[5000:], 5000).json()["received"] == len(DATA)


def test_a_host_that_is_slower_says_so(api: Callers, begun: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "SPOOL_MOST", 1000)
    put(api.owner, begun, DATA[:1000], 0)
    answer = put(api.owner, begun, DATA[1000:2000], 1000)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")


def test_after_its_end_nothing_is_taken(api: Callers, begun: int) -> None:
    assert api.owner.post(f"/operations/{begun}/cancel").status_code == 202
    answer = put(api.owner, begun, DATA, 0)
    assert answer.status_code == 409
    assert api.owner.get("/uploads").json() == []


@pytest.mark.parametrize("named", ["", "/etc/passwd", "{home}/secret_key", "{home}/run/nginx/body/../../../secret_key"])
def test_only_what_the_front_wrote_is_a_piece(api: Callers, begun: int, named: str) -> None:
    (settings.WEBVIRT_HOME / "secret_key").write_bytes(DATA)
    headers = api.owner.headers | {"X-Body-File": named.format(home=settings.WEBVIRT_HOME)}
    answer = api.owner.client.generic("PUT", f"/api/v1/uploads/{begun}?offset=0", DATA, headers=headers)
    assert answer.status_code == 422
    assert api.owner.get(f"/uploads/{begun}").json()["received"] == 0


def test_a_session_needs_the_csrf_token(api: Callers, begun: int, cast: Cast) -> None:
    caller = Caller(None)
    caller.client.force_login(cast.owner)
    assert put(caller, begun, DATA[:10], 0).status_code == 403

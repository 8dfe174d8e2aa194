"""The audit log over REST: for administrators alone, with the page's filters, and as JSON lines."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from asgiref.sync import sync_to_async

from tests.api.conftest import Callers
from tests.people import Cast
from webvirt.api import audit as door
from webvirt.models import AuditLine, Origin
from webvirt.services import audit, auditlog
from webvirt.services.actors import Actor


def note_some(count: int) -> None:
    for number in range(count):
        audit.note("person.sign_in", audit.Thing("user", number, f"person {number}"))


def body_of(response: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in b"".join(response).decode().splitlines()]


@pytest.fixture(autouse=True)
def on_the_tests_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """Channels' own way closes the connection whose transaction the test is in."""
    monkeypatch.setattr(door, "database_sync_to_async", sync_to_async)


pytestmark = pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume asynchronous iterators")


def test_lines_with_their_filters(api: Callers, cast: Cast) -> None:
    administrator = api.administrator
    audit.note("domain.start", cast.domain, actor=Actor(cast.owner, Origin.PAGE, "192.0.2.7"), details={"a": [1]})
    found = administrator.get("/audit?person=owner&kind=domain.start").json()
    (line,) = found["items"]
    assert (line["name"], line["uuid"], line["details"]) == ("web-1", cast.domain.uuid, {"a": [1]})
    assert (found["newer"], found["older"]) == (None, None)
    assert administrator.get(f"/audit/{line['number']}").json() == line
    assert administrator.get("/audit?since=x").json()["fields"].keys() == {"since"}


def test_pages(api: Callers, cast: Cast) -> None:
    administrator = api.administrator
    note_some(9)
    found = administrator.get("/audit?limit=4&result=done").json()
    assert [line["number"] for line in found["items"]] == [10, 9, 8, 7]
    found = administrator.get(f"/audit?limit=4&before={found['older']}").json()
    assert [line["number"] for line in found["items"]] == [6, 5, 4, 3]
    assert (found["newer"], found["older"]) == (6, 3)
    assert administrator.get("/audit?limit=201").status_code == 422


@pytest.mark.parametrize("path", ["/audit", "/audit/1", "/audit/export"])
def test_administrators_alone(api: Callers, cast: Cast, path: str) -> None:
    assert api.owner.get(path).status_code == 403
    assert api.nobody.get(path).status_code == 401
    assert not AuditLine.objects.filter(event="audit.export").exists()


def test_the_export_is_whole_and_noted(api: Callers, cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auditlog, "CHUNK", 2)
    administrator = api.administrator
    note_some(6)
    response = administrator.get("/audit/export?person=webvirt")
    assert response["Content-Type"] == "application/x-ndjson"
    text = b"".join(response).decode().splitlines()
    assert [json.loads(line)["number"] for line in text] == list(range(1, 8))
    for line in text:
        content, _comma, hash_ = line.rpartition(',"hash":')
        assert hashlib.sha256(f"{content}}}".encode()).hexdigest() == json.loads(f"{hash_[:-1]}")
    begun, done = AuditLine.objects.filter(event="audit.export").order_by("number")
    assert (begun.result, done.result, done.actor, done.token_name) == ("begun", "done", "administrator", "test")
    assert json.loads(done.details) == {"person": "webvirt", "lines": 7}


def test_an_answer_is_bounded_and_one_asks_on(api: Callers, cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auditlog, "CHUNK", 2)
    monkeypatch.setattr(door, "MOST_EXPORTED", 4)
    administrator = api.administrator
    note_some(6)
    first = body_of(administrator.get("/audit/export?kind=person.sign_in"))
    rest = body_of(administrator.get(f"/audit/export?kind=person.sign_in&after={first[-1]['number']}"))
    assert [line["name"] for line in first + rest] == [f"person {number}" for number in range(6)]


async def test_who_goes_away_is_noted_too(api: Callers, cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest of the lines is not read for nobody."""
    noted: list[tuple[str, int]] = []
    line = AuditLine(number=1)
    monkeypatch.setattr(audit, "exported", lambda line: "{}")
    monkeypatch.setattr(auditlog, "chunk_after", lambda found, after: [line])
    monkeypatch.setattr(audit, "note", lambda event, **more: noted.append((more["result"], more["details"]["lines"])))
    lines = door.written(AuditLine.objects.all(), 0, Actor(cast.administrator, Origin.API), {})
    assert isinstance(lines, AsyncGenerator)
    await anext(lines)
    await lines.aclose()
    assert noted == [("cancelled", 1)]

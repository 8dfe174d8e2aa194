"""Recordings over pages and the API: who finds which, what is noted of it, and when they go by themselves."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from tests.api.conftest import Caller
from tests.people import Cast, make_recording
from webvirt.models import AuditLine, CustomRole, Domain, Grant, Recording
from webvirt.services import recordings
from webvirt.services.recordingfile import path_of


@pytest.fixture
def recording(cast: Cast) -> Recording:
    make_recording(cast.other, cast.administrator, timezone.now())
    found = make_recording(cast.domain, cast.operator, timezone.now())
    path_of(found.pk).parent.mkdir(exist_ok=True)
    path_of(found.pk).write_bytes(b"")
    return found


def told(event: str) -> list[tuple[str, str]]:
    return list(AuditLine.objects.filter(event=event).order_by("number").values_list("actor", "result"))


def test_who_finds_which(cast: Cast, recording: Recording) -> None:
    names = {who: [item["name"] for item in Caller(cast.who(who)).get("/recordings").json()["items"]] for who in WHO}
    assert names == {
        "viewer": [],
        "operator": [],
        "stranger": [],
        "owner": ["web-1"],
        "administrator": ["web-1", "db-1"],
    }
    role = CustomRole.objects.create(name="Auditor", kinds=["domain.recordings"])
    Grant.objects.create(user=cast.stranger, custom_role=role, host=cast.host)
    caller = Caller(cast.stranger)
    assert caller.get("/recordings").json()["total"] == 2
    assert caller.get("/recordings?q=oper").json()["total"] == 1
    assert caller.get(f"/recordings?domain={cast.other.pk}&device=serial").json()["total"] == 0
    # To watch is not to delete.
    assert caller.call("DELETE", f"/recordings/{recording.pk}").status_code == 403
    assert told("recording.delete") == [("stranger", "denied")]


WHO = ("viewer", "operator", "stranger", "owner", "administrator")


def test_of_a_machine_that_is_gone_administrators_alone_know(cast: Cast, recording: Recording) -> None:
    Domain.objects.filter(pk=cast.domain.pk).update(forgotten_at=timezone.now(), missing_since=timezone.now())
    assert Caller(cast.owner).get(f"/recordings/{recording.pk}").status_code == 404
    assert Caller(cast.administrator).get(f"/recordings/{recording.pk}").json()["milliseconds"] == 90_000


def test_each_watching_is_noted_once(cast: Cast, client: Client, recording: Recording) -> None:
    client.force_login(cast.owner)
    assert client.get(f"/recordings/{recording.pk}/").status_code == 200
    for _piece in range(3):
        answer = client.get(f"/recordings/{recording.pk}/bytes/")
        assert answer["X-Accel-Redirect"] == f"/recorded/{recording.pk}.rec"
    assert told("recording.watch") == [("owner", "done")]
    caller = Caller(cast.owner)
    for _piece in range(2):
        assert caller.get(f"/recordings/{recording.pk}/bytes").status_code == 200
    assert told("recording.watch") == [("owner", "done")] * 2
    client.get(f"/recordings/{recording.pk}/")
    assert len(told("recording.watch")) == 3


def test_deleting(cast: Cast, recording: Recording) -> None:
    caller = Caller(cast.owner)
    Recording.objects.filter(pk=recording.pk).update(ended_at=None)
    assert caller.call("DELETE", f"/recordings/{recording.pk}").status_code == 409
    Recording.objects.filter(pk=recording.pk).update(ended_at=timezone.now())
    assert caller.call("DELETE", f"/recordings/{recording.pk}").status_code == 204
    assert not path_of(recording.pk).exists()
    assert told("recording.delete") == [("owner", "done")]
    assert caller.get(f"/recordings/{recording.pk}").status_code == 404


def test_they_go_by_themselves(cast: Cast, recording: Recording) -> None:
    now = timezone.now()
    Recording.objects.filter(pk=recording.pk).update(kept_until=now + timedelta(days=1))
    recordings.sweep(now)
    assert path_of(recording.pk).exists()
    recordings.sweep(now + timedelta(days=2))
    assert not path_of(recording.pk).exists()
    assert list(Recording.objects.values_list("name", flat=True)) == ["db-1"], "one without an end of its time stays"
    assert told("recording.delete") == [("webvirt", "done")]

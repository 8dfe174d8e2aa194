"""Open consoles over pages and the API: who finds which, and ends it."""

from __future__ import annotations

import pytest
from django.test import Client
from django.utils import timezone

from tests.api.conftest import Caller
from tests.people import Cast, make_console
from webvirt.models import ConsoleSession, Grant, ScreenConnection, Status

WHO = ("viewer", "operator", "stranger", "owner", "administrator")


@pytest.fixture
def console(cast: Cast) -> ConsoleSession:
    """The operator types at the machine of the cast; the administrator at another, and once did at the first."""
    make_console(cast.other, cast.administrator)
    make_console(cast.domain, cast.administrator, ended_at=timezone.now())
    make_console(cast.domain, cast.administrator, mode="view", opened_at=None)
    return make_console(cast.domain, cast.operator)


def found(cast: Cast, path: str = "/consoles") -> dict[str, list[str]]:
    answers = {who: Caller(cast.who(who)).get(path).json() for who in WHO}
    return {who: [item["name"] for item in answer["items"]] for who, answer in answers.items()}


def test_who_finds_which(cast: Cast, console: ConsoleSession) -> None:
    mine, all_of_them = ["web-1"], ["web-1", "db-1"]
    assert found(cast) == {
        "viewer": [],
        "operator": mine,
        "stranger": [],
        "owner": mine,
        "administrator": all_of_them,
    }
    Grant.objects.create(user=cast.stranger, role="owner", host=cast.host)
    assert found(cast)["stranger"] == all_of_them
    caller = Caller(cast.administrator)
    (item,) = caller.get("/consoles?q=oper").json()["items"]
    told = {name: item[name] for name in ("id", "person", "mode", "may_type", "asks", "address", "device")}
    assert told == {
        "id": console.pk,
        "person": "operator",
        "mode": "control",
        "may_type": True,
        "asks": False,
        "address": "192.0.2.7",
        "device": "screen",
    }
    assert caller.get(f"/consoles?domain={cast.other.pk}").json()["total"] == 1
    assert caller.get("/consoles?device=serial").json()["total"] == 0
    # A console is none that was asked for with a limited token.
    assert Caller(cast.operator, kinds=["domain.console"]).get("/consoles").json()["total"] == 0


@pytest.mark.parametrize(("who", "status"), [("viewer", 404), ("operator", 204), ("owner", 204), ("stranger", 404)])
def test_who_ends_it(cast: Cast, console: ConsoleSession, who: str, status: int) -> None:
    caller = Caller(cast.who(who))
    assert caller.call("DELETE", f"/consoles/{console.pk}").status_code == status
    console.refresh_from_db()
    assert (console.end_reason == "ended") == (status == 204)
    assert caller.call("DELETE", f"/consoles/{console.pk}").status_code == 404


def test_it_is_ended_on_the_page(cast: Cast, console: ConsoleSession, client: Client) -> None:
    client.force_login(cast.owner)
    page = client.get("/consoles/").content.decode()
    assert "web-1" in page
    assert "db-1" not in page
    assert client.post(f"/consoles/{console.pk}/end/", follow=True).status_code == 200
    console.refresh_from_db()
    assert console.ended_by == cast.owner
    assert "No console is open" in client.get("/consoles/").content.decode()


def test_strangers_are_told_to_owners(cast: Cast, client: Client) -> None:
    type(cast.domain).objects.update(status=Status.RUNNING)
    for domain in (cast.domain, cast.other):
        values = {"address": "192.0.2.66", "port": "1", "may_be_ours": False, "since": timezone.now()}
        ScreenConnection.objects.create(domain=domain, **values)
    seen = {who: [one["name"] for one in Caller(cast.who(who)).get("/consoles/strangers").json()] for who in WHO}
    assert seen == {
        "viewer": [],
        "operator": [],
        "stranger": [],
        "owner": ["web-1"],
        "administrator": ["web-1", "db-1"],
    }
    client.force_login(cast.viewer)
    assert "192.0.2.66" in client.get(f"/vms/{cast.domain.pk}/console/").content.decode()
    assert "192.0.2.66" not in client.get("/consoles/").content.decode()
    client.force_login(cast.owner)
    assert "192.0.2.66" in client.get("/consoles/").content.decode()

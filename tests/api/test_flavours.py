"""Flavours over REST, and machines asked for by them; several machines by one name."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pytest

from tests.api.conftest import Callers
from tests.fakes import MACHINES
from tests.people import Cast, make_domain
from webvirt.models import Flavour, Host, Operation
from webvirt.services import operations

BIG: dict[str, Any] = {"name": "big", "vcpus": 2, "memory_mib": 3072, "disk": 7 * 2**30, "position": 9}


@pytest.fixture(autouse=True)
def _unsent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operations, "send", lambda operation: None)


@pytest.fixture
def path(cast: Cast) -> str:
    info = {"cpus": 4, "memory_kib": 8 * 2**20, "arch": "x86_64", "machines": [asdict(one) for one in MACHINES]}
    Host.objects.filter(pk=cast.host.pk).update(info=info)
    return f"/hosts/{cast.host.pk}/create-domain"


def test_the_list_is_kept_by_administrators_and_read_by_all(api: Callers) -> None:
    made = api.administrator.post("/flavours", BIG)
    assert (made.status_code, made.json() | BIG) == (201, made.json())
    path = f"/flavours/{made.json()['id']}"
    assert api.viewer.get("/flavours?q=big").json()["items"][0]["memory_mib"] == 3072
    assert [row["name"] for row in api.viewer.get("/flavours").json()["items"]] == ["XS", "S", "M", "L", "XL", "big"]
    assert api.administrator.call("PUT", path, BIG | {"vcpus": 4}).json()["vcpus"] == 4
    assert api.owner.call("PUT", path, BIG).status_code == 403
    assert set(api.administrator.post("/flavours", BIG).json()["fields"]) == {"name"}
    assert api.administrator.call("DELETE", path).status_code == 204
    assert api.viewer.get(path).status_code == 404


def test_a_machine_is_asked_for_in_a_flavour(api: Callers, cast: Cast, path: str) -> None:
    Flavour.objects.create(**BIG)
    answer = api.administrator.post(path, {"name": "new", "flavour": "big", "disks": [{"pool": cast.pool.pk}]})
    assert answer.status_code == 202, answer.content
    asked = Operation.objects.get().parameters
    assert (asked["vcpus"], asked["memory_mib"], asked["disks"][0]["size"]) == (2, 3072, 7 * 2**30)
    refused = api.administrator.post(path, {"name": "new", "flavour": "enormous"})
    assert (refused.status_code, "no flavour of this name" in refused.json()["error"]) == (422, True)


def test_several_are_asked_for_by_one_name_with_an_answer_for_each(api: Callers, cast: Cast, path: str) -> None:
    make_domain(cast.host, "n-09", 9)
    body = {"name": "n-{08..10}", "memory_mib": 64}
    for _turn in range(2):
        # A program that asks again under its key does nothing twice.
        answer = api.administrator.post(f"{path}/bulk", body, Idempotency_Key="ten")
        assert answer.status_code == 200, answer.content
        items = answer.json()["items"]
        assert [(item["name"], item["status"]) for item in items] == [("n-08", 202), ("n-09", 422), ("n-10", 202)]
        assert set(items[1]["fields"]) == {"name"}
    assert [one.parameters["name"] for one in Operation.objects.order_by("pk")] == ["n-08", "n-10"]


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"name": "n-{2..1}"}, "name"),
        ({"name": "n-{1..51}"}, "name"),
        ({"name": "n-{1..2}", "setup": {"address": "192.0.2.1/24"}}, "address"),
    ],
)
def test_what_is_wrong_with_all_of_them_is_said_once(api: Callers, path: str, more: dict[str, Any], field: str) -> None:
    answer = api.administrator.post(f"{path}/bulk", more)
    assert (answer.status_code, list(answer.json()["fields"])) == (422, [field])
    assert not Operation.objects.exists()


def test_who_may_make_none_makes_not_several(api: Callers, cast: Cast, path: str) -> None:
    assert api.owner.post(f"{path}/bulk", {"name": "n-{1..2}"}).status_code == 404
    assert api.operator.post(f"/domains/{cast.domain.pk}/clone/bulk", {"name": "n-{1..2}"}).status_code == 403

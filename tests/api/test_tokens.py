"""Limited tokens and the tokens of service accounts, as programs meet them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.conf import settings
from django.db import connection
from django.test.utils import CaptureQueriesContext

from tests.api.conftest import Caller, Callers
from tests.people import Cast, make_domain
from tests.services.shop import make_shop
from webvirt.models import ApiToken, AuditLine, Domain, Grant, Operation, Origin, Project, Role, User
from webvirt.services import operations, people
from webvirt.services.catalogue import BY_KIND

WISH = {"name": "new", "vcpus": 1, "memory_mib": 64}


@pytest.fixture(autouse=True)
def unsent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operations, "send", lambda operation: None)


def document(response: Any) -> Any:
    return json.loads(response.content)


def browser(user: User) -> Caller:
    """Somebody who signed in, and asks as a page's script does."""
    caller = Caller(None)
    caller.client.force_login(user)
    caller.client.cookies[settings.CSRF_COOKIE_NAME] = "a" * 32
    caller.headers["X-CSRFToken"] = "a" * 32
    return caller


def program(answer: Any) -> Caller:
    """Who has the token that was just made."""
    assert answer.status_code == 201, answer.content
    caller = Caller(None)
    caller.headers["Authorization"] = f"Bearer {document(answer)['token']}"
    return caller


def test_chosen_verbs_and_nothing_else(cast: Cast) -> None:
    made = browser(cast.owner).post("/me/tokens", {"name": "night", "kinds": ["domain.start", "domain.start"]})
    assert (document(made)["kinds"], document(made)["project"]) == (["domain.start"], None)
    night, machine = program(made), f"/domains/{cast.domain.pk}"
    told = document(night.get("/me"))
    assert told["token"]["kinds"] == ["domain.start"]
    assert [verb["verb"] for verb in document(night.get(machine))["verbs"]] == ["start"]
    assert night.post(f"{machine}/start").status_code == 202
    assert night.post(f"{machine}/destroy").status_code == 403
    assert night.post("/domains/bulk", {"verb": "destroy", "ids": [cast.domain.pk]}).json()["items"][0]["status"] == 403
    operation = Operation.objects.get()
    assert (operation.user, operation.token) == (cast.owner, cast.owner.api_tokens.get())
    assert night.post(f"/operations/{operation.pk}/cancel").status_code == 202


def test_an_administrators_limited_token_is_no_administrator(cast: Cast) -> None:
    asks = browser(cast.administrator)
    starts = program(asks.post("/me/tokens", {"name": "t", "kinds": ["domain.start"]}))
    assert not document(starts.get("/me"))["is_administrator"]
    for path in ("/people", "/groups", "/audit", "/hosts/our_keys", f"/who/on/domain:{cast.domain.pk}"):
        assert starts.get(path).status_code == 403, path
    assert document(starts.get(f"/hosts/{cast.host.pk}"))["address"] is None
    assert starts.post("/hosts", {"name": "b", "transport": "tls", "hostname": "b"}).status_code == 403
    assert starts.post(f"/domains/{cast.other.pk}/start").status_code == 202


def test_reading_only(cast: Cast) -> None:
    start = BY_KIND["domain.start"]
    by_hand = operations.submit(operations.Actor(cast.owner, Origin.PAGE), start, cast.domain)
    reads = program(browser(cast.owner).post("/me/tokens", {"name": "graphs", "kinds": []}))
    assert document(reads.get("/domains"))["total"] == 1
    assert document(reads.get(f"/domains/{cast.domain.pk}"))["verbs"] == []
    assert document(reads.get(f"/operations/{by_hand.pk}"))["virsh"] == ""
    assert document(reads.get("/operations?mine=true"))["total"] == 0
    assert reads.post(f"/operations/{by_hand.pk}/cancel").status_code == 403
    assert reads.post(f"/domains/{cast.domain.pk}/destroy").status_code == 403
    by_hand.refresh_from_db()
    assert by_hand.is_active


@pytest.mark.parametrize("limits", [{"kinds": ["domain.start"]}, {"kinds": []}, {"project": True}])
def test_nothing_but_verbs_is_changed_with_it(cast: Cast, limits: dict[str, Any]) -> None:
    """By one guard, whatever the path: also those that are none."""
    limits = {name: make_shop().pk if value is True else value for name, value in limits.items()}
    caller = program(browser(cast.administrator).post("/me/tokens", {"name": "t"} | limits))
    token = cast.administrator.api_tokens.get().pk
    before = list(Grant.objects.values())
    for method, path in (
        ("POST", "/me/tokens"),
        ("DELETE", f"/me/tokens/{token}"),
        ("DELETE", "/me/sessions/x"),
        ("POST", "/groups"),
        ("POST", "/grants"),
        ("POST", "/flavours"),
        ("POST", "/people/services"),
        ("POST", f"/people/{cast.owner.pk}/tokens"),
        ("PUT", "/projects/1"),
        ("DELETE", "/projects/1"),
        ("POST", "/nothing"),
    ):
        answer = caller.call(method, path, {})
        assert answer.status_code == 403, path
        assert "limited" in document(answer)["error"]
    # How its person comes in is nothing that it reads, either.
    assert caller.get("/me/tokens").status_code == caller.get("/me/sessions").status_code == 403
    assert caller.get("/me").status_code == 200
    assert list(Grant.objects.values()) == before


def test_one_project_is_all_there_is(cast: Cast) -> None:
    project = make_shop(cast.owner)
    inside = make_domain(cast.host, "shop-1", 7, project=project)
    Grant.objects.create(user=cast.owner, host=cast.host, role=Role.VIEWER)
    shop = program(browser(cast.owner).post("/me/tokens", {"name": "ci", "project": project.pk}))
    told = document(shop.get("/me"))
    assert (told["token"]["project"], [grant["on"] for grant in told["grants"]]) == (
        project.pk,
        [f"project:{project.pk}"],
    )
    assert [row["name"] for row in document(shop.get("/domains"))["items"]] == ["shop-1"]
    assert [document(shop.get(f"/{noun}"))["total"] for noun in ("hosts", "pools", "networks", "projects")] == [
        0,
        0,
        0,
        1,
    ]
    for path in (f"/domains/{cast.domain.pk}", f"/hosts/{cast.host.pk}", f"/pools/{cast.pool.pk}"):
        assert shop.get(path).status_code == 404, path
    assert shop.post(f"/domains/{cast.domain.pk}/start").status_code == 404
    assert shop.post(f"/domains/{inside.pk}/start").status_code == 202
    # What the project may use makes machines inside it, and only there.
    made = shop.post(f"/hosts/{cast.host.pk}/create-domain", WISH | {"project": project.pk})
    assert made.status_code == 202, made.content
    assert shop.get(f"/operations/{document(made)['id']}").status_code == 200
    assert shop.post(f"/hosts/{cast.host.pk}/create-domain", WISH | {"name": "b"}).status_code == 422
    beside = Project.objects.create(name="beside")
    assert shop.post(f"/hosts/{cast.host.pk}/create-domain", WISH | {"project": beside.pk}).status_code == 403


def test_making_in_a_project_needs_the_verb(cast: Cast) -> None:
    project = make_shop(cast.owner)
    body = {"name": "t", "project": project.pk, "kinds": ["domain.start"]}
    starts = program(browser(cast.owner).post("/me/tokens", body))
    path = f"/hosts/{cast.host.pk}/create-domain"
    assert starts.post(path, WISH | {"project": project.pk}).status_code == 404
    makes = program(browser(cast.owner).post("/me/tokens", body | {"kinds": ["domain.create"]}))
    assert makes.post(path, WISH | {"project": project.pk}).status_code == 202


def test_uploads_and_downloads_of_another_token_are_not_there(cast: Cast) -> None:
    Grant.objects.create(user=cast.owner, host=cast.host, role=Role.OWNER)
    asks = browser(cast.owner)
    both = {"name": "t", "kinds": ["volume.upload", "volume.download"]}
    one, other = (program(asks.post("/me/tokens", both)) for _ in range(2))
    upload = document(one.post(f"/pools/{cast.pool.pk}/upload-volume", {"name": "a.img", "size": 7}))["id"]
    download = document(one.post(f"/volumes/{cast.volume.pk}/download"))["id"]
    assert [one.get(f"/uploads/{upload}").status_code, other.get(f"/uploads/{upload}").status_code] == [200, 404]
    assert [len(document(caller.get("/uploads"))) for caller in (one, other)] == [1, 0]
    assert other.call("PUT", f"/uploads/{upload}?offset=0").status_code == 404
    assert other.get(f"/operations/{download}/file").status_code == 404
    assert one.get(f"/operations/{download}/file").status_code == 200
    # Its person may.
    assert asks.get(f"/uploads/{upload}").status_code == 200


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"kinds": ["domain.fly"]}, "kinds"),
        ({"kinds": ["host.add"]}, "kinds"),
        ({"kinds": "domain.start"}, "kinds"),
        ({"project": 999_999}, "project"),
        ({"project": "shop"}, "project"),
        ({"user": 1}, "user"),
        ({"revoked_at": None}, "revoked_at"),
        ({"is_service": True}, "is_service"),
    ],
)
def test_what_no_token_is_limited_to(cast: Cast, spec: dict[str, Any], field: str) -> None:
    make_shop()
    answer = browser(cast.owner).post("/me/tokens", {"name": "t"} | spec)
    assert answer.status_code == 422
    assert [name.partition(".")[0] for name in document(answer)["fields"]] == [field]
    assert not ApiToken.objects.exists()


def test_a_project_that_one_does_not_know_of_is_none(cast: Cast) -> None:
    project = make_shop(cast.operator)
    assert browser(cast.owner).post("/me/tokens", {"name": "t", "project": project.pk}).status_code == 422


def test_a_limited_token_costs_no_query_more(cast: Cast) -> None:
    project = make_shop(cast.owner)
    Domain.objects.update(project=project)
    asks = browser(cast.owner)
    limits: tuple[dict[str, Any], ...] = (
        {},
        {"kinds": ["domain.start", "domain.clone"]},
        {"kinds": [], "project": project.pk},
    )
    callers = [program(asks.post("/me/tokens", {"name": "t"} | each)) for each in limits]
    costs = []
    for caller in callers:
        assert caller.get("/me").status_code == 200
        each = []
        for path in ("/domains", f"/domains/{cast.domain.pk}", "/operations", "/uploads"):
            with CaptureQueriesContext(connection) as queries:
                assert caller.get(path).status_code == 200
            each.append(len(queries))
        costs.append(each)
    for limited in costs[1:]:
        assert all(less <= more for less, more in zip(limited, costs[0], strict=True)), costs


# --- service accounts


def test_from_a_service_account_to_a_start(cast: Cast) -> None:
    asks = browser(cast.administrator)
    made = asks.post("/people/services", {"name": "deployer"})
    assert made.status_code == 201, made.content
    pk = document(made)["id"]
    assert document(made)["is_service"]
    assert asks.post("/grants", {"person": pk, "role": "operator", "on": f"domain:{cast.domain.pk}"}).status_code == 201
    token = asks.post(f"/people/{pk}/tokens", {"name": "ci", "days": 7, "kinds": ["domain.start"]})
    deployer = program(token)
    assert document(deployer.get("/me"))["is_service"]
    assert deployer.post(f"/domains/{cast.domain.pk}/start").status_code == 202
    assert deployer.post(f"/people/{pk}/tokens", {"name": "more"}).status_code == 403
    asked = AuditLine.objects.filter(event="domain.start", result="asked").get()
    assert (asked.actor, asked.token_name, asked.person) == ("deployer", "ci", pk)
    (listed,) = document(asks.get(f"/people/{pk}/tokens"))
    assert listed["name"] == "ci"
    assert "token" not in listed
    assert asks.call("DELETE", f"/people/{pk}/tokens/{listed['id']}").status_code == 204
    assert asks.call("DELETE", f"/people/{pk}/tokens/{listed['id']}").status_code == 404
    assert document(asks.get(f"/people/{pk}/tokens")) == []
    assert deployer.get("/me").status_code == 401
    # It stays where operations point at it.
    assert ApiToken.objects.get(pk=listed["id"]).operations.count() == 1
    names = {row["username"] for row in document(asks.get("/people?service=true"))["items"]}
    assert names == {"deployer"}
    assert "deployer" not in {row["username"] for row in document(asks.get("/people?service=false"))["items"]}


def test_a_token_makes_no_token_for_another(api: Callers, cast: Cast) -> None:
    robot = people.create_service("robot")
    assert api.administrator.post(f"/people/{robot.pk}/tokens", {"name": "more"}).status_code == 403
    robots = Grant.objects.create(user=robot, role=Role.ADMINISTRATOR)
    assert Caller(robots.user).post(f"/people/{robot.pk}/tokens", {"name": "more"}).status_code == 403
    assert not ApiToken.objects.filter(name="more").exists()


def test_nobody_makes_a_token_for_a_person(cast: Cast) -> None:
    answer = browser(cast.administrator).post(f"/people/{cast.owner.pk}/tokens", {"name": "t"})
    assert answer.status_code == 409
    assert not cast.owner.api_tokens.exists()


@pytest.mark.parametrize(
    "spec", [{"name": "a", "password": "p"}, {"name": "a", "is_active": False}, {"name": "a b"}, {}]
)
def test_what_no_service_account_is(cast: Cast, spec: dict[str, Any]) -> None:
    assert browser(cast.administrator).post("/people/services", spec).status_code == 422
    assert not User.objects.filter(is_service=True).exists()

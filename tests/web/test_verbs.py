"""Verbs from pages: for a browser and for our scripts, one or many, accepted and refused."""

from __future__ import annotations

import pytest
from django.test import Client

from tests.people import Cast
from tests.web.conftest import Enter
from webvirt.models import Domain, Host, Operation, OperationState, Status

JSON = {"accept": "application/json"}


def test_a_form_leads_back_with_a_word(cast: Cast, enter: Enter) -> None:
    answer = enter("operator").post(f"/vms/{cast.domain.pk}/start/", {"next": "/vms/?q=web"}, follow=True)
    assert answer.redirect_chain == [("/vms/?q=web", 302)]
    assert "Start: asked for web-1." in answer.content.decode()
    operation = Operation.objects.get()
    assert (operation.kind, operation.user, operation.origin) == ("domain.start", cast.operator, "page")
    assert operation.address == "127.0.0.1"


def test_a_script_gets_the_operation(cast: Cast, enter: Enter) -> None:
    client = enter("operator")
    answer = client.post(f"/vms/{cast.domain.pk}/start/", headers=JSON)
    assert answer.status_code == 202
    said = answer.json()
    assert (said["label"], said["target"], said["active"]) == ("Start", "web-1", True)
    followed = client.get(f"/operations/?ids={said['id']},999", headers=JSON).json()["operations"]
    assert [one["id"] for one in followed] == [said["id"]]
    assert client.get(said["url"], headers=JSON).json()["state"] == "queued"


def test_refusals_have_their_status(cast: Cast, enter: Enter) -> None:
    address = f"/vms/{cast.domain.pk}/"
    assert enter("viewer").post(f"{address}start/", headers=JSON).status_code == 403
    assert enter("viewer").post(f"{address}start/").status_code == 403
    assert enter("owner").post(f"{address}reboot/", headers=JSON).status_code == 409
    wrong = enter("owner").post(f"{address}rename/", {"name": "../x"}, headers=JSON)
    assert wrong.status_code == 400
    assert "name" in wrong.json()["fields"]
    assert enter("stranger").post(f"{address}start/", headers=JSON).status_code == 404
    assert Client().post(f"{address}start/", headers=JSON).status_code == 401
    assert not Operation.objects.exists()


def test_a_second_one_is_told_who_is_busy(cast: Cast, enter: Enter) -> None:
    client = enter("operator")
    client.post(f"/vms/{cast.domain.pk}/start/")
    answer = client.post(f"/vms/{cast.domain.pk}/start/", headers=JSON)
    assert answer.status_code == 409
    assert "Start" in answer.json()["error"]
    assert "operator" in answer.json()["error"]


@pytest.mark.parametrize("name", ["start", "destroy", "nothing", "console", "add"])
def test_asking_by_get_does_nothing(cast: Cast, enter: Enter, name: str) -> None:
    answer = enter("administrator").get(f"/vms/{cast.domain.pk}/{name}/")
    assert answer.status_code in (200, 404, 405)
    assert not Operation.objects.exists()


def test_danger_is_asked_about_where_no_script_does(cast: Cast, enter: Enter) -> None:
    Domain.objects.filter(pk=cast.domain.pk).update(status=Status.RUNNING)
    client = enter("operator")
    address = f"/vms/{cast.domain.pk}/destroy/"
    asked = client.post(address)
    assert asked.status_code == 200
    assert "what the guest has not written to disk is lost" in asked.content.decode()
    assert not Operation.objects.exists()
    client.post(address, {"sure": "1"})
    assert Operation.objects.get().kind == "domain.destroy"


def test_wrong_input_keeps_what_was_typed(cast: Cast, enter: Enter) -> None:
    answer = enter("owner").post(
        f"/vms/{cast.domain.pk}/edit/", {"title": "two\nlines", "tags": "good b@d", "description": "typed by hand"}
    )
    text = answer.content.decode()
    assert answer.status_code == 400
    assert "typed by hand" in text
    assert "good b@d" in text
    assert "is-invalid" in text


def test_edit_takes_tags_and_lines_as_people_type_them(cast: Cast, enter: Enter) -> None:
    enter("owner").post(
        f"/vms/{cast.domain.pk}/edit/", {"title": "Shop", "tags": "web, prod", "description": "a\r\nb", "name": "other"}
    )
    assert Operation.objects.get().parameters == {"title": "Shop", "tags": ["prod", "web"], "description": "a\nb"}


def test_keys_and_autostart(cast: Cast, enter: Enter) -> None:
    Domain.objects.filter(pk=cast.domain.pk).update(status=Status.RUNNING)
    client = enter("owner")
    client.post(f"/vms/{cast.domain.pk}/send_key/", {"keys": "29,56,111"})
    client.post(f"/vms/{cast.domain.pk}/autostart/", {"enabled": "off"})
    kinds = {operation.kind: operation.parameters for operation in Operation.objects.all()}
    assert kinds["domain.send_key"]["keys"] == [29, 56, 111]
    assert kinds["domain.autostart"] == {"enabled": False}


def test_bulk_answers_for_each(cast: Cast, enter: Enter) -> None:
    Domain.objects.filter(pk=cast.other.pk).update(status=Status.RUNNING)
    ids = {"verb": "start", "ids": [cast.domain.pk, cast.other.pk, 999, "x"]}
    results = enter("administrator").post("/vms/bulk/", ids, headers=JSON).json()["results"]
    assert {one["name"]: one["ok"] for one in results} == {"web-1": True, "db-1": False}
    assert "running" in next(one["refused"] for one in results if not one["ok"])


def test_bulk_reaches_only_what_one_may_know_of(cast: Cast, enter: Enter) -> None:
    ids = {"verb": "start", "ids": [cast.domain.pk, cast.other.pk]}
    answer = enter("operator").post("/vms/bulk/", ids)
    assert answer.status_code == 200
    assert cast.other.name not in answer.content.decode()
    assert [operation.domain for operation in Operation.objects.all()] == [cast.domain]
    assert enter("viewer").post("/vms/bulk/", {"verb": "rename", "ids": []}).status_code == 404


def test_cancel_is_for_who_asked_and_who_may_the_same(cast: Cast, enter: Enter) -> None:
    enter("operator").post(f"/vms/{cast.domain.pk}/start/")
    operation = Operation.objects.get()
    address = f"/operations/{operation.pk}/cancel/"
    assert enter("viewer").post(address).status_code == 403
    assert enter("stranger").post(address).status_code == 404
    assert enter("owner").post(address).status_code == 302
    operation.refresh_from_db()
    assert operation.state == OperationState.CANCELLED
    assert enter("owner").post(address, headers=JSON).status_code == 409


def test_adding_a_host(cast: Cast, enter: Enter) -> None:
    client = enter("administrator")
    wrong = {"name": "beta", "transport": "ssh", "hostname": "beta?socket=/x", "user": "root"}
    answer = client.post("/hosts/add/", wrong)
    assert answer.status_code == 400
    assert "beta?socket=/x" in answer.content.decode()
    assert not Host.objects.filter(name="beta").exists()
    answer = client.post("/hosts/add/", wrong | {"hostname": "beta.example.org"})
    host = Host.objects.get(name="beta")
    assert answer.headers["Location"] == f"/hosts/{host.pk}/"
    assert Operation.objects.get().kind == "host.add"
    again = client.post("/hosts/add/", wrong | {"hostname": "beta.example.org"})
    assert again.status_code == 400
    assert "is-invalid" in again.content.decode()
    assert enter("owner").get("/hosts/add/").status_code == 403


def test_removing_a_host_leads_to_the_list(cast: Cast, enter: Enter) -> None:
    answer = enter("administrator").post(f"/hosts/{cast.host.pk}/remove/", {"sure": "1"})
    assert answer.headers["Location"] == "/hosts/"
    assert Operation.objects.get().kind == "host.remove"


def test_the_palette_offers_verbs_by_name_and_by_place(cast: Cast, enter: Enter) -> None:
    client = enter("operator")
    here = client.get("/palette/", {"q": "", "on": f"domain:{cast.domain.pk}"}).json()["entries"]
    assert "Start" in {entry["label"] for entry in here if entry.get("verb")}
    named = client.get("/palette/", {"q": "start web"}).json()["entries"]
    assert "Start: web-1" in {entry["label"] for entry in named}
    assert not client.get("/palette/", {"q": "start db"}).json()["entries"]
    for odd in ("domain:x", "domain:99999999999999999999", "user:1"):
        assert client.get("/palette/", {"q": "", "on": odd}).status_code == 200

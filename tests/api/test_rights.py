"""Groups, custom roles, grants, projects, and who may do what, over REST."""

from __future__ import annotations

from tests.api.conftest import Callers
from tests.people import Cast
from webvirt.models import AuditLine, Domain, Grant
from webvirt.services.access import access_of


def test_from_a_group_to_a_machine(api: Callers, cast: Cast) -> None:
    """A team gets a role of two verbs on a project, and may do just these to what is in it."""
    admin = api.administrator
    role = admin.post("/roles", {"name": "Starter", "kinds": ["domain.start", "domain.view"]}).json()
    team = admin.post("/groups", {"name": "night shift", "people": [cast.stranger.pk, cast.viewer.pk]}).json()
    project = admin.post("/projects", {"name": "shop", "description": "What sells"}).json()
    grant = {"group": team["id"], "custom_role": role["id"], "on": f"project:{project['id']}"}
    given = admin.post("/grants", grant)
    assert given.status_code == 201
    assert admin.post(f"/domains/{cast.domain.pk}/set_project", {"project": project["id"]}).status_code == 202
    Domain.objects.filter(pk=cast.domain.pk).update(project=project["id"])
    cast.domain.operations.update(state="cancelled")
    caller = api.stranger
    found = caller.get("/domains").json()
    assert [(one["name"], one["project"]) for one in found["items"]] == [("web-1", project["id"])]
    assert [one["verb"] for one in caller.get(f"/domains/{cast.domain.pk}").json()["verbs"]] == ["start", "view"]
    assert caller.post(f"/domains/{cast.domain.pk}/start").status_code == 202
    assert caller.post(f"/domains/{cast.domain.pk}/destroy").status_code == 403
    assert caller.get(f"/projects/{project['id']}").json()["machines"] == 1
    assert caller.get("/me").json()["grants"] == [given.json()]
    may = {one["username"]: one for one in admin.get(f"/who/on/domain:{cast.domain.pk}").json()["items"]}
    assert may["stranger"]["verbs"] == ["domain.start", "domain.view"]
    assert may["stranger"]["grants"] == [given.json()]
    assert may["viewer"]["role"] == "viewer"
    assert "domain.start" in may["viewer"]["verbs"]
    assert admin.get(f"/who/of/{cast.stranger.pk}").json()["items"] == [given.json()]
    assert admin.get(f"/grants?group={team['id']}").json()["total"] == 1
    assert admin.call("PUT", f"/groups/{team['id']}", {"name": "night shift", "people": []}).json()["people"] == []
    assert caller.get(f"/domains/{cast.domain.pk}").status_code == 404
    assert admin.call("DELETE", f"/grants/{given.json()['id']}").status_code == 204
    assert admin.call("DELETE", f"/projects/{project['id']}").status_code == 409
    assert admin.call("DELETE", f"/roles/{role['id']}").status_code == 204
    assert admin.call("DELETE", f"/groups/{team['id']}").status_code == 204


def test_what_is_wrong_is_named(api: Callers, cast: Cast) -> None:
    admin = api.administrator
    for path, body, field in (
        ("/groups", {"name": ""}, "name"),
        ("/groups", {"name": "a", "people": [999]}, "people"),
        ("/roles", {"name": "a", "kinds": ["domain.fly"]}, "kinds"),
        ("/projects", {"name": "a\nb"}, "name"),
        ("/grants", {"role": "viewer"}, "person"),
        ("/grants", {"person": 999, "role": "viewer"}, "person"),
        ("/grants", {"person": cast.viewer.pk, "role": "king"}, "role"),
        ("/grants", {"person": cast.viewer.pk, "custom_role": 999}, "custom_role"),
        ("/grants", {"person": cast.viewer.pk, "role": "viewer", "on": f"volume:{cast.volume.pk}"}, "on"),
        ("/grants", {"person": cast.viewer.pk, "role": "administrator", "on": f"host:{cast.host.pk}"}, "role"),
    ):
        answer = admin.post(path, body)
        assert answer.status_code == 422, (path, body, answer.content)
        assert field in answer.json()["fields"], (path, body, answer.content)
    assert admin.post("/grants", {"person": cast.viewer.pk, "role": "viewer", "on": "host:999"}).status_code == 404


def test_the_last_administrator_stays(api: Callers, cast: Cast) -> None:
    admin = api.administrator
    grant = Grant.objects.get(user=cast.administrator)
    assert admin.call("DELETE", f"/grants/{grant.pk}").status_code == 409
    assert admin.post("/grants", {"person": cast.administrator.pk, "role": "owner"}).status_code == 409
    assert access_of(cast.administrator).is_administrator


def test_an_owner_keeps_the_members_of_a_project(api: Callers, cast: Cast) -> None:
    admin = api.administrator
    project = admin.post("/projects", {"name": "shop"}).json()["id"]
    at = f"/projects/{project}/members"
    for name, kinds in (("Starter", ["domain.start"]), ("Above", ["network.create"])):
        admin.post("/roles", {"name": name, "kinds": kinds})
    admin.post("/groups", {"name": "night shift"})
    assert admin.post(at, {"who": "owner", "role": "owner"}).status_code == 201
    assert admin.post(at, {"who": "operator", "custom_role": "Above"}).status_code == 201
    owner = api.owner
    listed = owner.get(at).json()
    assert (listed["roles"], listed["custom_roles"]) == (["viewer", "operator", "owner"], ["Starter"])
    given = owner.post(at, {"kind": "group", "who": "night shift", "custom_role": "Starter"})
    assert given.status_code == 201
    wanted = {"kind": "group", "who": "night shift", "role": "", "custom_role": "Starter"}
    assert given.json() == wanted | {"id": given.json()["id"]}
    assert owner.post(at, {"who": "viewer", "role": "viewer"}).status_code == 201
    for body, field in (
        ({}, "who"),
        ({"who": "viewer"}, "role"),
        ({"who": "viewer", "role": "king"}, "role"),
        ({"who": "viewer", "role": "viewer", "custom_role": "Starter"}, "custom_role"),
        ({"who": "viewer", "custom_role": "Above"}, "custom_role"),
        ({"who": "view", "role": "viewer"}, "who"),
        ({"who": "view\u0000er", "role": "viewer"}, "who"),
        ({"who": "night shift", "role": "viewer"}, "who"),
        ({"who": "viewer", "role": "viewer", "on": "host:1"}, "on"),
        ({"kind": "host", "who": "viewer", "role": "viewer"}, "kind"),
    ):
        answer = owner.post(at, body)
        assert answer.status_code == 422, (body, answer.content)
        assert field in answer.json()["fields"], (body, answer.content)
    assert owner.post(at, {"who": "viewer", "role": "administrator"}).status_code == 403
    assert owner.post(at, {"who": "operator", "role": "viewer"}).status_code == 403
    members = {row["who"]: row["id"] for row in owner.get(at).json()["items"]}
    assert list(members) == ["viewer", "owner", "operator", "night shift"]
    assert owner.call("DELETE", f"{at}/{members['operator']}").status_code == 403
    assert owner.call("DELETE", f"{at}/{members['owner']}").status_code == 409
    assert owner.call("DELETE", f"{at}/{members['night shift']}").status_code == 204
    # Elsewhere, and of what is not on this project, nothing.
    elsewhere = Grant.objects.get(user=cast.viewer, domain=cast.domain)
    assert owner.call("DELETE", f"{at}/{elsewhere.pk}").status_code == 404
    assert owner.call("DELETE", f"/grants/{members['viewer']}").status_code == 403
    assert owner.post("/grants", {"person": cast.viewer.pk, "role": "viewer"}).status_code == 403
    viewer = api.viewer
    assert viewer.get(at).json()["roles"] == viewer.get(at).json()["custom_roles"] == []
    assert viewer.post(at, {"who": "nobody of this name", "role": "king"}).status_code == 403
    assert viewer.call("DELETE", f"{at}/{members['viewer']}").status_code == 403
    assert api.stranger.get(at).status_code == api.stranger.post(at, {}).status_code == 404
    for number in range(20):
        owner.post(at, {"who": f"n{number}", "role": "viewer"})
    assert "Too many wrong tries" in owner.post(at, {"who": "stranger", "role": "viewer"}).json()["error"]
    assert admin.post(at, {"who": "stranger", "role": "viewer"}).status_code == 201


def test_what_groups_are_called_in_the_directory(api: Callers, cast: Cast) -> None:
    admin = api.administrator
    made = admin.post("/groups", {"name": "night", "directory_names": ["shift", "cn=night,dc=x"]}).json()
    assert made["directory_names"] == ["shift", "cn=night,dc=x"]
    path = f"/groups/{made['id']}"
    kept = admin.call("PUT", path, {"name": "nights", "people": [cast.viewer.pk]}).json()
    assert kept["directory_names"] == ["shift", "cn=night,dc=x"]
    assert admin.call("PUT", path, {"name": "x", "directory_names": ["a\x00b"]}).status_code == 422
    assert admin.get(path).json() == kept
    assert admin.call("PUT", path, {"name": "nights", "directory_names": []}).json()["directory_names"] == []


def test_people_are_added_let_in_and_kept_out(api: Callers, cast: Cast) -> None:
    admin = api.administrator
    made = admin.post("/people", {"name": "newcomer"})
    assert made.status_code == 201, made.content
    path = f"/people/{made.json()['id']}"
    assert admin.get(path).json() == made.json()
    link = admin.post(f"{path}/link")
    assert link.status_code == 201
    assert "/password/" in link.json()["address"] or "/link/" in link.json()["address"]
    assert admin.call("DELETE", f"{path}/link").status_code == 204
    assert admin.call("DELETE", f"{path}/link").status_code == 204, "there is none, as was asked"
    assert AuditLine.objects.filter(event="person.link_withdrawn").count() == 1
    assert admin.call("PATCH", path, {"is_active": False}).json()["is_active"] is False
    assert admin.post(f"{path}/link").status_code == 409, "who is not let in needs no link"
    assert admin.call("PATCH", path, {"is_active": True}).json()["is_active"] is True
    assert admin.get(f"{path}/sessions").json() == []
    assert admin.call("DELETE", f"{path}/sessions/unknown").status_code == 404
    assert admin.call("DELETE", f"{path}/sessions").status_code == 204
    assert admin.call("DELETE", f"{path}/factors").status_code == 204
    assert admin.post("/people", {"name": "Newcomer"}).status_code == 422, "another spelling of the same name"


def test_a_token_makes_no_sign_in_of_an_administrators(api: Callers, cast: Cast) -> None:
    admin = api.administrator
    assert admin.post(f"/people/{cast.administrator.pk}/link").status_code == 403
    last = admin.call("PATCH", f"/people/{cast.administrator.pk}", {"is_active": False})
    assert last.status_code == 409
    assert admin.get(f"/people/{cast.administrator.pk}").json()["is_active"] is True

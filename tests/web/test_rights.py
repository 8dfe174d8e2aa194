"""Groups, custom roles, projects, and who may do what and why, on their pages."""

from __future__ import annotations

import re

import pytest
from django.contrib.auth.models import Group
from django.db import connection
from django.test.utils import CaptureQueriesContext

from tests.people import Cast, make_domain, make_user
from tests.web.conftest import Enter
from webvirt.models import CustomRole, Domain, Grant, Network, Operation, Project, Role, User, Volume
from webvirt.services import grants, groups, projects
from webvirt.services.access import access_of
from webvirt.services.operations import Invalid, NotNow


def text_of(page: object) -> str:
    """What a page says, without its tags."""
    return " ".join(re.sub(r"<[^>]+>", " ", page.content.decode()).split())  # type: ignore[attr-defined]


def test_a_group_is_made_given_a_role_and_taken_away_again(cast: Cast, enter: Enter) -> None:
    client, stranger = enter("administrator"), enter("stranger")
    machine = f"/vms/{cast.domain.pk}/"
    client.post("/people/groups/add/", {"name": "web team"})
    group = Group.objects.get()
    at = f"/people/groups/{group.pk}/"
    assert client.post(f"{at}people/", {"who": "nobody of this name"}).status_code == 400
    assert client.post(f"{at}people/", {"who": "stranger"}).status_code == 302
    assert stranger.get(machine).status_code == 404
    client.post(f"{at}grants/", {"role": "viewer", "scope": "domain", "name": "alpha/web-1"})
    assert stranger.get(machine).status_code == 200
    page = text_of(client.get(at))
    assert "stranger" in page
    assert "web-1" in page
    client.post(f"{at}people/remove/", {"person": cast.stranger.pk})
    assert stranger.get(machine).status_code == 404
    client.post(f"{at}rename/", {"title": "the web team"})
    assert "the web team" in text_of(client.get("/people/groups/?q=web"))
    assert client.post("/people/groups/add/", {"name": "the web team"}).status_code == 400
    client.post(f"{at}remove/")
    assert not Group.objects.exists()
    assert not Grant.objects.filter(user=None).exists()


def test_a_custom_role_is_made_of_verbs(cast: Cast, enter: Enter) -> None:
    client, stranger = enter("administrator"), enter("stranger")
    form = {"name": "Night shift", "description": "Starts what fell over", "kinds": ["domain.start", "domain.view"]}
    assert client.post("/people/roles/add/", form | {"kinds": ["domain.fly"]}).status_code == 400
    assert client.post("/people/roles/add/", form | {"kinds": ["host.add"]}).status_code == 400
    assert client.post("/people/roles/add/", form).status_code == 302
    role = CustomRole.objects.get()
    at = f"/people/{cast.stranger.pk}/grants/"
    client.post(at, {"role": str(role.pk), "scope": "host", "name": "alpha"})
    listed = stranger.get("/vms/").content.decode()
    assert f'formaction="/vms/{cast.domain.pk}/start/"' in listed
    assert 'value="destroy"' not in listed
    assert stranger.post(f"/vms/{cast.domain.pk}/start/").status_code == 302
    assert stranger.post(f"/vms/{cast.domain.pk}/rename/", {"name": "mine"}).status_code == 403
    client.post(f"/people/roles/{role.pk}/", form | {"kinds": []})
    assert stranger.get(f"/vms/{cast.domain.pk}/").status_code == 200
    stranger.post(f"/vms/{cast.other.pk}/start/")
    assert [operation.domain for operation in Operation.objects.all()] == [cast.domain]
    client.post(f"/people/roles/{role.pk}/remove/")
    assert stranger.get(f"/vms/{cast.domain.pk}/").status_code == 404


def test_a_verb_that_is_gone_gives_nothing_and_is_shown(cast: Cast, enter: Enter) -> None:
    role = CustomRole.objects.create(name="Old", kinds=["domain.fly", "domain.start"])
    client = enter("administrator")
    assert "some verbs are unknown" in text_of(client.get("/people/roles/"))
    assert "domain.fly" in text_of(client.get(f"/people/roles/{role.pk}/"))
    form = {"name": "Old", "kinds": ["domain.fly", "domain.start", "domain.reset"]}
    assert client.post(f"/people/roles/{role.pk}/", form).status_code == 302
    form["kinds"] = ["domain.start"]
    client.post(f"/people/roles/{role.pk}/", form)
    assert client.post(f"/people/roles/{role.pk}/", form | {"kinds": ["domain.fly"]}).status_code == 400


def test_a_project_shows_its_members_what_is_in_it(cast: Cast, enter: Enter) -> None:
    client, stranger = enter("administrator"), enter("stranger")
    assert "/projects/" not in enter("stranger").get("/").content.decode()
    client.post("/projects/add/", {"name": "shop", "description": "What sells"})
    project = Project.objects.get()
    assert client.post("/projects/add/", {"name": "shop"}).status_code == 400
    for rows in (Domain.objects.filter(pk=cast.domain.pk), Volume.objects.all(), Network.objects.all()):
        rows.update(project=project)
    at = f"/projects/{project.pk}/"
    assert stranger.get(at).status_code == 404
    given = {"kind": "person", "who": "stranger", "role": "viewer"}
    assert client.post(f"{at}members/", given)["Location"] == at
    page = text_of(stranger.get(at))
    assert all(name in page for name in ("web-1", "web-1.qcow2", "default", "stranger", "What sells"))
    assert "db-1" not in page
    # None of it leads where the member may not go.
    for path in re.findall(r'href="(/(?!static/)[^"#]*)"', stranger.get(at).content.decode()):
        assert stranger.get(path).status_code < 400, path
    for thing in (f"/volumes/{cast.volume.pk}/", f"/networks/{cast.network.pk}/", f"/vms/{cast.domain.pk}/"):
        page_of_it = stranger.get(thing)
        assert page_of_it.status_code == 200
        assert at in page_of_it.content.decode()
        assert f"/hosts/{cast.host.pk}/" not in page_of_it.content.decode()
    assert "db-1" not in text_of(stranger.get("/vms/"))
    assert "db-1" not in text_of(client.get(f"/vms/?project={project.pk}"))
    assert "web-1" in text_of(client.get(f"/vms/?project={project.pk}"))
    client.post(f"{at}edit/", {"name": "the shop", "description": ""})
    assert "the shop" in text_of(stranger.get("/projects/"))


def test_a_project_with_anything_in_it_is_not_closed(cast: Cast, enter: Enter) -> None:
    project = projects.add("shop")
    grants.give(cast.stranger, "owner", project)
    Domain.objects.filter(pk=cast.domain.pk).update(project=project)
    client, at = enter("administrator"), f"/projects/{project.pk}/"
    assert "machines: 1" in text_of(client.post(f"{at}close/", follow=True))
    Domain.objects.filter(pk=cast.domain.pk).update(project=None)
    # What is not there any more does not keep it open, and does not come back into it.
    Volume.objects.update(project=project, missing_since="2026-01-01T00:00:00Z")
    assert client.post(f"{at}close/")["Location"] == "/projects/"
    assert Volume.objects.get().project is None
    assert enter("stranger").get(at).status_code == 404
    project.refresh_from_db()
    with pytest.raises(Invalid, match="closed"):
        grants.give(cast.owner, "owner", project)
    assert client.post("/projects/add/", {"name": "shop"}).status_code == 302


def test_who_may_do_what_and_why(cast: Cast, enter: Enter) -> None:
    project = projects.add("shop")
    Domain.objects.filter(pk=cast.domain.pk).update(project=project)
    team = groups.add("night shift")
    for person in (cast.stranger, cast.viewer):
        groups.put_in(team, person)
    grants.give(team, CustomRole.objects.create(name="Starter", kinds=["domain.start"]), project)
    grants.give(make_user("gone"), "owner", cast.host)
    User.objects.filter(username="gone").update(is_active=False)
    client = enter("administrator")
    page = text_of(client.get(f"/people/who/?on=domain:{cast.domain.pk}"))
    assert "stranger 1 verb Start Starter on shop" in page
    assert "by the group night shift" in page
    assert "gone" not in page
    # The viewer: by their own grant, and more by the group's.
    assert re.search(r"viewer Viewer \d+ verbs .*Start.* Viewer on web-1 alpha Starter on shop", page)
    other = text_of(client.get(f"/people/who/?on=domain:{cast.other.pk}"))
    assert "administrator Administrator" in other
    assert "stranger" not in other
    mine = text_of(client.get(f"/people/who/?person={cast.viewer.pk}"))
    assert "shop project, and all that is in it Starter in the group night shift" in mine
    assert "web-1 alpha Viewer given to them" in mine
    found = client.get("/people/who/?q=shop").content.decode()
    assert f"?on=project:{project.pk}" in found
    for nowhere in ("on=domain:999", "on=x", "on=operation:1", "person=999", "person=x", "on=domain:"):
        assert client.get(f"/people/who/?{nowhere}").status_code == 404, nowhere


def test_a_role_is_given_from_the_things_own_side(cast: Cast, enter: Enter) -> None:
    client = enter("administrator")
    on = {"on": f"pool:{cast.pool.pk}", "kind": "person", "who": "stranger", "role": "owner"}
    assert client.post("/people/who/give/", on | {"who": "x"}).status_code == 400
    assert client.post("/people/who/give/", on | {"role": "king"}).status_code == 400
    assert client.post("/people/who/give/", on | {"on": f"volume:{cast.volume.pk}"}).status_code == 404
    assert client.post("/people/who/give/", on).status_code == 302
    assert access_of(cast.stranger).role_on(cast.volume) == Role.OWNER


def test_the_page_of_a_thing_costs_the_same_for_many(cast: Cast, enter: Enter) -> None:
    """A thousand people and a machine they all may start: as many queries as for a few."""
    team = groups.add("everybody")
    grants.give(team, "operator", cast.host)
    client, at = enter("administrator"), f"/people/who/?on=domain:{cast.domain.pk}"
    counted = []
    for number in (3, 1000):
        people = User.objects.bulk_create(User(username=f"p{number}-{n:04d}", password="!") for n in range(number))
        team.user_set.add(*people)
        Grant.objects.bulk_create(Grant(user=one, role=Role.VIEWER, domain=cast.other) for one in people)
        client.get(at)
        with CaptureQueriesContext(connection) as queries:
            assert client.get(at).status_code == 200
        counted.append(len(queries))
    assert counted[0] == counted[1] <= 14
    assert "1,007 people" in text_of(client.get(at))


def test_the_last_administrator_may_be_a_groups(cast: Cast, enter: Enter) -> None:
    team = groups.add("admins")
    groups.put_in(team, cast.owner)
    grants.give(team, "administrator")
    grants.withdraw(cast.administrator.grants.get())
    assert access_of(cast.owner).is_administrator
    client = enter("owner")
    for path, form in (
        (f"/people/groups/{team.pk}/remove/", {}),
        (f"/people/groups/{team.pk}/people/remove/", {"person": cast.owner.pk}),
        (f"/people/groups/{team.pk}/grants/{team.grants.get().pk}/withdraw/", {}),
        (f"/people/groups/{team.pk}/grants/", {"role": "viewer"}),
        (f"/people/{cast.owner.pk}/active/", {}),
    ):
        assert "last administrator" in text_of(client.post(path, form, follow=True)), path
        assert access_of(User.objects.get(pk=cast.owner.pk)).is_administrator
    with pytest.raises(NotNow):
        groups.change(team, "admins", [])
    groups.put_in(team, cast.viewer)
    groups.take_out(team, cast.owner)
    assert access_of(cast.viewer).is_administrator


def test_moving_machines_between_projects(cast: Cast, enter: Enter) -> None:
    """By who owns the machine, the project it leaves and the one it enters; out of all of them by the host's owner."""
    mine, theirs = projects.add("mine"), projects.add("theirs")
    grants.give(cast.owner, "owner", mine)
    client, path = enter("owner"), f"/vms/{cast.domain.pk}/set_project/"
    page = client.get(path).content.decode()
    assert "mine" in page
    assert "theirs" not in page
    assert enter("operator").get(path).status_code == 403
    assert client.post(path, {"project": theirs.pk}).status_code == 400
    assert client.post(path, {"project": mine.pk}).status_code == 302
    Domain.objects.filter(pk=cast.domain.pk).update(project=theirs)
    cast.domain.operations.all().update(state="cancelled")
    # They own the machine, but not the project that it is in now; then they do, but not the host.
    assert client.post(path, {"project": mine.pk}).status_code == 403
    assert client.post(path, {"project": ""}).status_code == 403
    grants.give(cast.owner, "owner", theirs)
    assert client.post(path, {"project": ""}).status_code == 403
    assert "(none" not in client.get(path).content.decode()
    assert client.post(path, {"project": mine.pk}).status_code == 302


def test_a_list_shows_no_project_to_who_may_not_know_of_it(cast: Cast, enter: Enter) -> None:
    project = projects.add("secret merger")
    Domain.objects.filter(pk=cast.domain.pk).update(project=project)
    assert "secret merger" in text_of(enter("administrator").get("/vms/"))
    for path in ("/vms/", f"/vms/{cast.domain.pk}/", f"/vms/{cast.domain.pk}/set_project/"):
        assert "secret merger" not in text_of(enter("owner").get(path)), path


def test_whoever_knows_a_volume_alone_learns_of_no_machine(cast: Cast, enter: Enter) -> None:
    grants.give(cast.stranger, "viewer", cast.pool)
    machine = make_domain(cast.host, "hidden-machine", 9)
    machine.disk_uses.create(slot="vda", path=cast.volume.path)
    client = enter("stranger")
    for path in (f"/pools/{cast.pool.pk}/", f"/volumes/{cast.volume.pk}/"):
        page = client.get(path)
        assert page.status_code == 200
        assert "hidden-machine" not in text_of(page), path
    assert "1 more that you may not know of" in text_of(client.get(f"/volumes/{cast.volume.pk}/"))

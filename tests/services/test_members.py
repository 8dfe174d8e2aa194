"""Owners of a project keep its members themselves: what they may give there, to whom, and what stays as it is."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Group

from tests.people import Cast
from webvirt import bus
from webvirt.models import AuditLine, CustomRole, Domain, Grant, Origin, Project
from webvirt.services import grants, groups, guessing, projects
from webvirt.services.access import Access, access_of
from webvirt.services.actors import Actor, acting
from webvirt.services.grants import Place
from webvirt.services.operations import Denied, Invalid, NotNow


@pytest.fixture
def shop(cast: Cast) -> Project:
    """The cast's machine is in it; the stranger is its owner."""
    shop = projects.add("shop")
    Domain.objects.filter(pk=cast.domain.pk).update(project=shop)
    cast.domain.refresh_from_db()
    grants.give(cast.stranger, "owner", shop)
    return shop


def by(cast: Cast) -> Access:
    return access_of(cast.stranger)


def roles_of(cast: Cast, shop: Project) -> dict[str, str]:
    """What is given on it besides the stranger's, by whom it is given to."""
    found = Grant.objects.filter(project=shop).exclude(user=cast.stranger)
    return {str(grant.user or grant.group): grants.role_word(grant) for grant in found}


@pytest.mark.parametrize(
    ("where", "role", "by_group", "may"),
    [
        ("shop", "owner", False, True),
        ("shop", "owner", True, True),
        ("", "owner", False, True),
        ("", "owner", True, True),
        ("shop", "operator", False, False),
        ("shop", "viewer", True, False),
        ("shop", "custom", False, False),
        ("host", "owner", False, False),
        ("domain", "owner", True, False),
        ("other", "owner", False, False),
    ],
)
def test_who_keeps_the_members(cast: Cast, where: str, role: str, by_group: bool, may: bool) -> None:
    shop, other, team = projects.add("shop"), projects.add("other"), groups.add("team")
    Domain.objects.filter(pk=cast.domain.pk).update(project=shop)
    groups.put_in(team, cast.stranger)
    places: dict[str, Place] = {"shop": shop, "other": other, "host": cast.host, "domain": cast.domain}
    place = places.get(where)
    given = CustomRole.objects.create(name="All", kinds=["domain.start"]) if role == "custom" else role
    grants.give(team if by_group else cast.stranger, given, place)
    access = by(cast)
    assert grants.keeps_members(access, shop) == may
    if may:
        grants.give(cast.viewer, "owner", shop, by=access)
    else:
        with pytest.raises(Denied):
            grants.give(cast.viewer, "viewer", shop, by=access)
    assert roles_of(cast, shop).get("viewer", "") == ("owner" if may else "")


ROLES: dict[str, list[str] | None] = {
    "viewer": None,
    "operator": None,
    "owner": None,
    "administrator": None,
    "theirs": ["domain.start", "domain.clone", "volume.resize"],
    "of nothing": [],
    "of administrators": ["domain.start", "network.create"],
    "of long ago": ["domain.start", "domain.fly"],
}
GIVEN = ("viewer", "operator", "owner", "theirs", "of nothing")


@pytest.mark.parametrize("name", ROLES)
def test_an_owner_gives_what_they_may_there_themselves(cast: Cast, shop: Project, name: str) -> None:
    kinds = ROLES[name]
    role = name if kinds is None else CustomRole.objects.create(name=name, kinds=kinds)
    team = groups.add("team")
    offered = grants.roles_to_give(by(cast), shop)
    assert (role in offered[0] or role in offered[1]) == (name in GIVEN)
    for holder in (cast.viewer, team):
        if name in GIVEN:
            grants.withdraw(grants.give(holder, role, shop, by=by(cast)), by=by(cast))
            grants.give(holder, role, shop, by=by(cast))
        else:
            with pytest.raises(Denied):
                grants.give(holder, role, shop, by=by(cast))
    assert roles_of(cast, shop) == ({"viewer": name, "team": name} if name in GIVEN else {})


def test_what_an_owner_holds_besides_by_a_custom_role_they_may_give(cast: Cast, shop: Project) -> None:
    above = CustomRole.objects.create(name="Above", kinds=["network.create"])
    team = groups.add("team")
    groups.put_in(team, cast.stranger)
    grants.give(team, above, shop)
    grants.give(cast.viewer, above, shop, by=by(cast))
    assert roles_of(cast, shop) == {"team": "Above", "viewer": "Above"}


def test_an_owner_gives_nothing_anywhere_else(cast: Cast, shop: Project) -> None:
    before = list(Grant.objects.values())
    places: list[Place | None] = [None, projects.add("other"), cast.host, cast.pool, cast.network, cast.domain]
    for place in places:
        with pytest.raises(Denied):
            grants.give(cast.viewer, "viewer", place, by=by(cast))
    for grant in Grant.objects.exclude(project=shop):
        with pytest.raises(Denied):
            grants.withdraw(grant, by=by(cast))
    assert list(Grant.objects.values()) == before


def test_what_is_above_them_stays(cast: Cast, shop: Project) -> None:
    above = CustomRole.objects.create(name="Above", kinds=["domain.start", "network.create"])
    grant = grants.give(cast.viewer, above, shop)
    with acting(Actor(cast.stranger, Origin.PAGE)):
        with pytest.raises(Denied, match="an administrator can change it"):
            grants.give(cast.viewer, "viewer", shop, by=by(cast))
        with pytest.raises(Denied, match="an administrator can take it away"):
            grants.withdraw(grant, by=by(cast))
    assert roles_of(cast, shop) == {"viewer": "Above"}
    lines = [(line.event, line.result, line.actor, line.name) for line in AuditLine.objects.order_by("number")]
    assert lines[-2:] == [(event, "denied", "stranger", "viewer") for event in ("grant.give", "grant.withdraw")]
    grants.give(cast.viewer, "viewer", shop, by=access_of(cast.administrator))
    grants.withdraw(grant, by=by(cast))
    assert roles_of(cast, shop) == {}


@pytest.mark.parametrize("by_group", [False, True], ids=["own", "group"])
def test_nobody_loses_their_own_ownership_without_being_told(cast: Cast, by_group: bool) -> None:
    shop, team = projects.add("shop"), groups.add("team")
    groups.put_in(team, cast.stranger)
    holder = team if by_group else cast.stranger
    grant = grants.give(holder, "owner", shop)
    with pytest.raises(NotNow, match="not be an owner"):
        grants.withdraw(grant, by=by(cast))
    with pytest.raises(NotNow, match="not be an owner"):
        grants.give(holder, "operator", shop, by=by(cast))
    assert grants.keeps_members(by(cast), shop)
    # Who is one by something else loses nothing.
    grants.give(cast.stranger if by_group else team, "owner", shop)
    grants.give(holder, "viewer", shop, by=by(cast))
    grants.withdraw(grant, by=by(cast))
    assert grants.keeps_members(by(cast), shop)


@pytest.mark.parametrize("loss", ["withdrawn", "lesser", "deactivated"])
def test_who_has_just_lost_it_gives_nothing_any_more(cast: Cast, shop: Project, loss: str) -> None:
    """Their page was asked for while they were an owner."""
    access = by(cast)
    if loss == "withdrawn":
        grants.withdraw(Grant.objects.get(project=shop))
    elif loss == "lesser":
        grants.give(cast.stranger, "operator", shop)
    else:
        type(cast.stranger).objects.filter(pk=cast.stranger.pk).update(is_active=False)
    assert grants.keeps_members(access, shop)
    with pytest.raises(Denied):
        grants.give(cast.viewer, "viewer", shop, by=access)
    assert roles_of(cast, shop) == {}


def test_what_a_token_may_is_all_that_it_gives(cast: Cast, shop: Project) -> None:
    """Rights that are less than the person's: what was asked with them is not done with theirs."""
    nothing = Access(cast.stranger)
    with pytest.raises(Denied):
        grants.give(cast.viewer, "viewer", shop, by=nothing)
    with pytest.raises(Denied):
        grants.withdraw(Grant.objects.get(project=shop), by=nothing)


def test_it_is_told_and_open_pages_look_again(cast: Cast, shop: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: set[str] = set()
    monkeypatch.setattr(bus, "announce", heard.update)
    with acting(Actor(cast.stranger, Origin.PAGE, "192.0.2.7")):
        grant = grants.give(cast.viewer, "operator", shop, by=by(cast))
        assert {f"user:{cast.viewer.pk}", f"project:{shop.pk}", "audit"} == heard
        heard.clear()
        grants.withdraw(grant, by=by(cast))
        assert {f"user:{cast.viewer.pk}", f"project:{shop.pk}", "audit"} == heard
    lines = [(line.event, line.result, line.actor, line.name) for line in AuditLine.objects.order_by("number")]
    assert lines[-2:] == [(event, "done", "stranger", "viewer") for event in ("grant.give", "grant.withdraw")]


def test_a_grant_that_is_gone_already_is_no_fault(cast: Cast, shop: Project) -> None:
    grant = grants.give(cast.viewer, "operator", shop)
    grants.withdraw(Grant.objects.get(pk=grant.pk))
    grants.withdraw(grant, by=by(cast))
    assert AuditLine.objects.filter(event="grant.withdraw").count() == 1


def found(kind: str, name: str, access: Access) -> Any:
    try:
        return grants.holder_named(kind, name, access)
    except (Invalid, NotNow) as error:
        return str(error)


def test_names_cannot_be_tried_out(cast: Cast, shop: Project) -> None:
    """Whoever knows a name gives it; whoever guesses has few guesses, and the same sentence as an administrator."""
    team, access = Group.objects.create(name="team"), by(cast)
    for _ in range(3 * guessing.AHEAD):
        assert found("person", "viewer", access) == cast.viewer
        assert found("group", "team", access) == team
    wrong = [found("group" if n % 2 else "person", f"n{n}", access) for n in range(guessing.AHEAD)]
    assert wrong[:2] == [found(kind, "x", access_of(cast.administrator)) for kind in ("person", "group")]
    assert "Too many wrong tries" in found("person", "viewer", access)
    assert [found("person", f"n{n}", access_of(cast.administrator)) for n in range(20)] == [wrong[0]] * 20
    assert found("person", "viewer", access_of(cast.administrator)) == cast.viewer
    line = AuditLine.objects.get(event="person.guess")
    assert (line.result, line.name, line.object_id) == ("denied", "stranger", cast.stranger.pk)

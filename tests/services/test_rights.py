"""What a person may where: by their own grants and their groups', by roles and by custom ones, on every scope."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import IntegrityError, connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from tests.people import Cast, make_host, make_volume
from webvirt import bus
from webvirt.models import (
    CustomRole,
    DiskUse,
    Domain,
    EndReason,
    Grant,
    Network,
    Operation,
    OperationState,
    Origin,
    Project,
    Role,
    Status,
    Volume,
)
from webvirt.services import access as accesses
from webvirt.services import consoles, grants, groups, operations, projects, roles, runners
from webvirt.services.access import Held, access_of, accesses_of
from webvirt.services.catalogue import BY_KIND, VERBS
from webvirt.services.subjects import NOUNS, Subject, noun_of

REACHED = {
    "project": {"project", "domain", "volume", "network"},
    "host": {"host", "domain", "pool", "volume", "network", "filter", "secret"},
    "pool": {"pool", "volume"},
    "network": {"network"},
    "domain": {"domain"},
    "": {"project", "host", "domain", "pool", "volume", "network", "filter", "secret"},
}
"""What a grant on one thing reaches, the things of `place` being all in one project and on one host."""


@pytest.fixture
def project(cast: Cast) -> Project:
    """With the machine, the volume and the network of the cast in it."""
    project = Project.objects.create(name="shop")
    for model, pk in ((Domain, cast.domain.pk), (Volume, cast.volume.pk), (Network, cast.network.pk)):
        model.objects.filter(pk=pk).update(project=project)
    for row in (cast.domain, cast.volume, cast.network):
        row.refresh_from_db()
    return project


def things(cast: Cast, project: Project) -> dict[str, Any]:
    return {noun: getattr(cast, noun) for noun in NOUNS} | {"project": project}


@pytest.mark.parametrize("by_group", [False, True], ids=["own", "group"])
@pytest.mark.parametrize("scope", REACHED, ids=lambda scope: scope or "everything")
def test_a_grant_reaches_what_is_in_its_place(cast: Cast, project: Project, scope: str, by_group: bool) -> None:
    there = things(cast, project)
    grant = Grant(role=Role.OPERATOR, **({scope: there[scope]} if scope else {}))
    if by_group:
        grant.group = Group.objects.create(name="web team")
        cast.stranger.groups.add(grant.group)
    else:
        grant.user = cast.stranger
    assert not any(access_of(cast.stranger).knows(thing) for thing in there.values())
    grant.save()
    with CaptureQueriesContext(connection) as queries:
        access = access_of(cast.stranger)
    assert len(queries) == 1
    known = {noun for noun, thing in there.items() if access.knows(thing)}
    found = {noun for noun, thing in there.items() if access.one(noun, thing.pk) == thing}
    assert known == found == REACHED[scope]
    assert {access.role_on(there[noun]) for noun in known} == {Role.OPERATOR}
    outside = make_host("beta", hostname="beta")
    assert access.knows(outside) == (scope == "")
    assert (access.one("domain", cast.other.pk) is not None) == (scope in ("", "host"))


@pytest.mark.parametrize("scope", ["project", "host", "pool", "network", "domain"])
def test_many_grants_are_looked_up_as_few_are(
    cast: Cast, project: Project, scope: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of few the ids stand in the condition, of many a subquery."""
    team = Group.objects.create(name="web team")
    cast.stranger.groups.add(team)
    there = things(cast, project)
    Grant.objects.create(group=team, role=Role.VIEWER, **{scope: there[scope]})
    access = access_of(cast.stranger)
    few = {noun: set(access.rows(noun).values_list("pk", flat=True)) for noun in there}
    monkeypatch.setattr(accesses, "FEW", 0)
    assert {noun: set(access.rows(noun).values_list("pk", flat=True)) for noun in there} == few
    assert few[scope] == {there[scope].pk}


def test_what_is_held_adds_up(cast: Cast, project: Project) -> None:
    team = Group.objects.create(name="night shift")
    cast.viewer.groups.add(team)
    starter = CustomRole.objects.create(name="Starter", kinds=["domain.start", "domain.fly"])
    Grant.objects.create(group=team, role=Role.OPERATOR, project=project)
    Grant.objects.create(group=team, custom_role=starter, host=cast.host)
    access = access_of(cast.viewer)
    assert access.held_on(cast.domain) == Held(Role.OPERATOR, frozenset({"domain.start", "domain.fly"}))
    assert access.held_on(cast.other) == Held(None, frozenset({"domain.start", "domain.fly"}))
    assert access.role_on(cast.other) is None
    assert access.may(BY_KIND["domain.start"], cast.other)
    assert not access.may(BY_KIND["domain.destroy"], cast.other)
    assert access.may(BY_KIND["domain.destroy"], cast.domain)
    team.delete()
    assert access_of(cast.viewer).held_on(cast.domain) == Held(Role.VIEWER)


@pytest.mark.parametrize("kind", BY_KIND)
def test_a_custom_role_gives_exactly_its_verbs(kind: str) -> None:
    held = Held(kinds=frozenset({kind}))
    assert [verb.kind for verb in VERBS if held.allows(verb)] == [kind]


def test_a_verb_that_asks_for_the_host_asks_for_it_of_custom_roles_too(cast: Cast) -> None:
    clone = BY_KIND["domain.clone"]
    cloner = CustomRole.objects.create(name="Cloner", kinds=["domain.clone"])
    Grant.objects.create(user=cast.stranger, custom_role=cloner, domain=cast.domain)
    assert not access_of(cast.stranger).may(clone, cast.domain)
    Grant.objects.create(user=cast.stranger, custom_role=cloner, host=cast.host)
    assert access_of(cast.stranger).may(clone, cast.domain)


def test_many_people_are_read_at_once(cast: Cast, project: Project) -> None:
    team = Group.objects.create(name="web team")
    Grant.objects.create(group=team, role=Role.OWNER, project=project)
    people = [cast.owner, cast.viewer, cast.stranger, cast.administrator]
    for person in people[:3]:
        person.groups.add(team)
    cast.stranger.is_active = False
    with CaptureQueriesContext(connection) as queries:
        found = accesses_of(people)
    assert len(queries) == 1
    assert [found[person.pk].role_on(cast.network) for person in people] == ["owner", "owner", None, "administrator"]


def test_the_database_refuses_what_is_no_grant(cast: Cast, project: Project) -> None:
    team = Group.objects.create(name="web team")
    role = CustomRole.objects.create(name="Starter", kinds=[])
    Grant.objects.create(user=cast.stranger, role=Role.VIEWER, project=project)
    Grant.objects.create(group=team, role=Role.VIEWER, project=project)
    wrong: list[dict[str, object]] = [
        {"role": Role.VIEWER},
        {"user": cast.stranger, "group": team, "role": Role.VIEWER},
        {"user": cast.stranger},
        {"user": cast.stranger, "role": Role.VIEWER, "custom_role": role},
        {"user": cast.stranger, "role": Role.VIEWER, "project": project, "host": cast.host},
        {"user": cast.stranger, "role": Role.ADMINISTRATOR, "project": project},
        {"user": cast.stranger, "role": Role.OWNER, "project": project},
        {"group": team, "custom_role": role, "project": project},
        {"user": cast.administrator, "role": Role.VIEWER},
    ]
    for parts in wrong:
        with pytest.raises(IntegrityError), transaction.atomic():
            Grant.objects.create(**parts)


# --- what takes a right away


def out_of_the_group(cast: Cast, team: Group, project: Project) -> None:
    groups.take_out(team, cast.stranger)


def without_the_group(cast: Cast, team: Group, project: Project) -> None:
    groups.remove(team)


def with_others_in_the_group(cast: Cast, team: Group, project: Project) -> None:
    groups.change(team, "others", [cast.viewer])


def role_changed(cast: Cast, team: Group, project: Project) -> None:
    roles.change(CustomRole.objects.get(), "Starter", "", ["domain.view"])


def role_removed(cast: Cast, team: Group, project: Project) -> None:
    roles.remove(CustomRole.objects.get())


def grant_withdrawn(cast: Cast, team: Group, project: Project) -> None:
    grants.withdraw(Grant.objects.get(project=project))


def lesser_grant(cast: Cast, team: Group, project: Project) -> None:
    grants.give(team, "viewer", project)


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """What is announced."""
    names: set[str] = set()
    monkeypatch.setattr(bus, "announce", names.update)
    return names


@pytest.fixture
def team(cast: Cast, project: Project) -> Group:
    """The stranger's, whose role on the project starts machines."""
    team = groups.add("night shift")
    groups.put_in(team, cast.stranger)
    grants.give(team, roles.add("Starter", "", ["domain.start", "domain.view"]), project)
    return team


LOSSES = [
    out_of_the_group,
    without_the_group,
    with_others_in_the_group,
    role_changed,
    role_removed,
    grant_withdrawn,
    lesser_grant,
]


@pytest.mark.parametrize("loss", LOSSES)
def test_what_takes_a_right_away_ends_what_is_queued_and_tells_open_pages(
    cast: Cast,
    project: Project,
    team: Group,
    heard: set[str],
    monkeypatch: pytest.MonkeyPatch,
    loss: Callable[[Cast, Group, Project], None],
) -> None:
    monkeypatch.setattr(operations, "send", lambda operation: None)
    monkeypatch.setitem(runners.RUNNERS, "domain.start", lambda context: pytest.fail("it ran"))
    actor = operations.Actor(cast.stranger, Origin.PAGE)
    operation = operations.submit(actor, BY_KIND["domain.start"], Domain.objects.get(pk=cast.domain.pk))
    heard.clear()
    loss(cast, team, project)
    assert f"user:{cast.stranger.pk}" in heard
    runners.run(operation.pk)
    operation.refresh_from_db()
    assert operation.state == OperationState.DENIED


def test_a_pools_right_withdrawn_ends_what_is_queued_on_its_volume(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing but the pool is theirs: neither its host nor any machine speaks for them."""
    monkeypatch.setattr(operations, "send", lambda operation: None)
    ran: list[str] = []
    monkeypatch.setitem(runners.RUNNERS, "volume.checksum", lambda context: ran.append("volume.checksum"))
    grant = grants.give(cast.stranger, "owner", cast.pool)
    actor = operations.Actor(cast.stranger, Origin.PAGE)
    runners.run(operations.submit(actor, BY_KIND["volume.checksum"], cast.volume).pk)
    second = operations.submit(actor, BY_KIND["volume.checksum"], cast.volume)
    grants.withdraw(grant)
    runners.run(second.pk)
    states = Operation.objects.order_by("pk").values_list("state", flat=True)
    assert (list(states), ran) == ([OperationState.SUCCEEDED, OperationState.DENIED], ["volume.checksum"])


@pytest.mark.parametrize("loss", LOSSES)
def test_what_takes_a_right_away_ends_the_console(
    cast: Cast, project: Project, team: Group, loss: Callable[[Cast, Group, Project], None]
) -> None:
    """What the console proxy asks every second."""
    Domain.objects.filter(pk=cast.domain.pk).update(status=Status.RUNNING)
    client = Client()
    client.force_login(cast.stranger)
    key = client.session.session_key
    assert key
    session = consoles.open_session(cast.stranger, key, cast.domain.pk, "view", None)
    admission = consoles.Admission(
        session.pk, "view", "screen", key, cast.stranger.get_session_auth_hash(), cast.host.pk, cast.domain.uuid
    )
    assert consoles.withdrawn([admission]) == {}
    roles.change(CustomRole.objects.get(), "Starter", "", ["domain.view"])
    assert consoles.withdrawn([admission]) == {}
    if loss is role_changed:
        roles.change(CustomRole.objects.get(), "Starter", "", [])
    elif loss is lesser_grant:
        # A viewer may watch.
        grants.withdraw(Grant.objects.get(project=project))
    else:
        loss(cast, team, project)
    assert consoles.withdrawn([admission]) == {session.pk: EndReason.RIGHT}


# --- moving between projects


def move(cast: Cast, thing: Subject, project: Project | None) -> Operation:
    actor = operations.Actor(cast.administrator, Origin.PAGE)
    parameters = {"project": project.pk} if project else {}
    operation = operations.submit(actor, BY_KIND[f"{noun_of(thing)}.set_project"], thing, parameters)
    runners.run(operation.pk)
    operation.refresh_from_db()
    return operation


def test_a_machine_takes_its_own_disks_along(cast: Cast, heard: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operations, "send", lambda operation: None)
    shared, elsewhere = make_volume(cast.pool, "shared.qcow2"), make_volume(cast.pool, "elsewhere.qcow2")
    other = projects.add("other")
    Volume.objects.filter(pk=elsewhere.pk).update(project=other)
    for domain, volumes in ((cast.domain, (cast.volume, shared, elsewhere)), (cast.other, (shared,))):
        for at, volume in enumerate(volumes):
            DiskUse.objects.create(domain=domain, slot=f"vd{'abc'[at]}", path=volume.path)
    shop = projects.add("shop")
    heard.clear()
    done = move(cast, cast.domain, shop)
    assert (done.state, done.result) == (OperationState.SUCCEEDED, {"project": "shop", "volumes": 1})
    assert {f"domain:{cast.domain.pk}", f"volume:{cast.volume.pk}", f"project:{shop.pk}", "domains"} <= heard
    assert set(Volume.objects.values_list("name", "project__name")) == {
        ("web-1.qcow2", "shop"),
        ("shared.qcow2", None),
        ("elsewhere.qcow2", "other"),
    }
    assert move(cast, Domain.objects.get(pk=cast.domain.pk), None).state == OperationState.SUCCEEDED
    assert not shop.domains.exists()
    assert not shop.volumes.exists()


def test_a_project_is_not_closed_while_something_is_moved_into_it(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operations, "send", lambda operation: None)
    shop = projects.add("shop")
    actor = operations.Actor(None, Origin.SYSTEM)
    operation = operations.submit(actor, BY_KIND["network.set_project"], cast.network, {"project": shop.pk})
    with pytest.raises(operations.NotNow, match="just being made"):
        projects.close(shop)
    claimed = operations.claim(operation.pk)
    assert claimed is not None
    # A worker that was taken for dead comes too late.
    Operation.objects.filter(pk=operation.pk).update(heartbeat_at=timezone.now() - operations.LOST_AFTER * 2)
    operations.reap(timezone.now())
    projects.close(shop)
    runners.carry_out(claimed)
    assert Network.objects.get().project is None

"""What a limited token may: never more than its person, at the door as in the worker."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.people import Cast, make_domain
from tests.services.shop import make_shop
from webvirt.models import (
    SCOPES,
    ApiToken,
    Domain,
    Filter,
    Grant,
    Host,
    Network,
    Operation,
    OperationState,
    Origin,
    Pool,
    Project,
    Role,
    Secret,
    User,
    Volume,
)
from webvirt.services import grants, operations, people, runners, tokens
from webvirt.services.access import Access, Held, Limit, access_of
from webvirt.services.allowances import Allowances
from webvirt.services.catalogue import BY_KIND, VERBS
from webvirt.services.subjects import NOUNS, Subject, noun_of

START, DESTROY, CREATE = BY_KIND["domain.start"], BY_KIND["domain.destroy"], BY_KIND["domain.create"]
READING = Limit(frozenset())
IDS = (1, 2)


def world() -> list[Subject | Project]:
    """Two of everything, on two hosts, in two projects and in none; in no database."""
    hosts = {pk: Host(pk=pk) for pk in IDS}
    pools = {pk: Pool(pk=pk, host=hosts[pk]) for pk in IDS}
    there: list[Subject | Project] = [*hosts.values(), *pools.values(), *(Project(pk=pk) for pk in IDS)]
    for pk in IDS:
        there += [Filter(pk=pk, host=hosts[pk]), Secret(pk=pk, host=hosts[pk])]
        for project in (*IDS, None):
            there.append(Domain(pk=pk, host=hosts[pk], project_id=project))
            there.append(Volume(pk=pk, pool=pools[pk], project_id=project))
            there.append(Network(pk=pk, host=hosts[pk], project_id=project))
    return there


WORLD = world()
MACHINE = next(one for one in WORLD if isinstance(one, Domain) and (one.pk, one.project_id) == (1, 1))
"""On host 1, in project 1."""


@pytest.fixture
def allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each project may use the host and the pool of its number."""

    def ids(self: Allowances, noun: str, project: int) -> set[int]:
        return {project} if project in self.projects else set()

    monkeypatch.setattr(Allowances, "ids", ids)


def holding(everywhere: Held | None = None, **on: dict[int, Held]) -> Access:
    scopes = {scope: on.get(scope, {}) for scope in SCOPES}
    return Access(User(pk=1), everywhere, scopes, Allowances(scopes["project"]))


OPERATOR, OWNER, VIEWER = Held(Role.OPERATOR), Held(Role.OWNER), Held(Role.VIEWER)
ADMINISTRATOR = holding(Held(Role.ADMINISTRATOR))
STARTER = Held(kinds=frozenset({"domain.start", "domain.view"}))
TO_START = Limit(frozenset({"domain.start"}))


@pytest.mark.parametrize(
    ("access", "limit", "may"),
    [
        (holding(domain={1: OWNER}), TO_START, {"domain.start"}),
        (holding(domain={1: VIEWER}), TO_START, set()),
        (holding(domain={1: OWNER}), READING, set()),
        (holding(host={1: STARTER}), TO_START, {"domain.start"}),
        (holding(host={1: STARTER}), Limit(frozenset({"domain.view", "domain.fly"})), {"domain.view"}),
        (
            holding(host={1: STARTER}, domain={1: VIEWER}),
            Limit(frozenset({"domain.screenshot"})),
            {"domain.screenshot"},
        ),
        (ADMINISTRATOR, Limit(frozenset({"domain.set_filter", "host.edit"})), {"domain.set_filter"}),
        (ADMINISTRATOR, Limit(TO_START.kinds, project=1), {"domain.start"}),
        (ADMINISTRATOR, Limit(TO_START.kinds, project=2), None),
        (holding(project={1: OPERATOR}), Limit(TO_START.kinds, project=1), {"domain.start"}),
        (holding(project={1: OPERATOR}, host={1: OWNER}), Limit(frozenset({"domain.rename"}), project=1), set()),
        (holding(domain={1: OWNER}), Limit(project=1), None),
        (holding(host={1: OWNER}), Limit(project=1), None),
        (holding(OPERATOR, project={1: STARTER}), Limit(frozenset({"domain.view"}), project=1), {"domain.view"}),
    ],
)
def test_what_is_left_of_it(allowed: None, access: Access, limit: Limit, may: set[str] | None) -> None:
    """Of a machine in project 1 on host 1; None: it is not even known."""
    left = access.within(limit)
    assert left.knows(MACHINE) == (may is not None)
    assert {verb.kind for verb in VERBS if verb.on == "domain" and left.may(verb, MACHINE)} == (may or set())
    assert not left.is_administrator
    assert left.role_on(MACHINE) is None or limit.kinds is None


def test_a_project_alone_leaves_all_that_one_may_in_it(allowed: None) -> None:
    left = ADMINISTRATOR.within(Limit(project=1))
    outside = [one for one in WORLD if getattr(one, "project_id", one.pk if isinstance(one, Project) else None) != 1]
    assert left.may(DESTROY, MACHINE)
    assert not any(left.knows(one) for one in outside)
    assert not left.is_administrator
    # Inside, of what the project may use, on a host that is not known.
    assert [host.pk for host in WORLD if isinstance(host, Host) and left.may(CREATE, host)] == [1]


HELD = st.builds(
    Held,
    st.sampled_from([None, *Role]),
    st.frozensets(st.sampled_from([verb.kind for verb in VERBS]), max_size=8),
)
ON = st.fixed_dictionaries({scope: st.dictionaries(st.sampled_from(IDS), HELD) for scope in SCOPES})
SOME = st.frozensets(st.sampled_from([*(verb.kind for verb in VERBS), "domain.fly"]), max_size=40)


@given(everywhere=st.none() | HELD, on=ON, kinds=SOME, project=st.sampled_from(IDS))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_it_never_may_more(
    allowed: None, everywhere: Held | None, on: dict[str, Any], kinds: frozenset[str], project: int
) -> None:
    whole = holding(everywhere, **on)
    by_kinds, by_both, in_project = (
        whole.within(Limit(*limit)) for limit in ((kinds,), (kinds, project), (None, project))
    )
    assert not any(left.is_administrator for left in (by_kinds, by_both, in_project))
    for one in WORLD:
        assert by_kinds.knows(one) == whole.knows(one)
        assert by_both.knows(one) == in_project.knows(one) <= whole.knows(one)
        for verb in VERBS:
            if isinstance(one, Project) or verb.on != noun_of(one):
                continue
            may, there = whole.may(verb, one), in_project.may(verb, one)
            assert by_kinds.may(verb, one) == (may and verb.kind in kinds), verb.kind
            assert by_both.may(verb, one) == (there and verb.kind in kinds), verb.kind
            assert there <= may, verb.kind
            # What it may there is in the project, or made in it with what that may use.
            assert not there or verb.inside or getattr(one, "project_id", None) == project, verb.kind


def test_it_finds_what_it_knows_and_no_more(cast: Cast) -> None:
    project = make_shop()
    inside = make_domain(cast.host, "shop-1", 7, project=project)
    whole = access_of(cast.administrator)
    assert set(whole.within(READING).domains()) == {cast.domain, cast.other, inside}
    left = whole.within(Limit(project=project.pk))
    found = {noun: list(left.rows(noun)) for noun in (*NOUNS, "project")}
    assert found == {noun: [] for noun in NOUNS} | {"domain": [inside], "project": [project]}
    assert set(left.targets(CREATE)) == {cast.host}


# --- operations


@pytest.fixture(autouse=True)
def unsent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operations, "send", lambda operation: None)


def token_of(user: User, **limits: Any) -> ApiToken:
    return ApiToken.objects.get(digest=tokens.digest_of(tokens.create_token(user, "t", 1, **limits)))


def submit(cast: Cast, token: ApiToken, kind: str = "domain.start") -> Operation:
    actor = operations.Actor(cast.operator, Origin.API, token_name=token.name, token=token)
    return operations.submit(actor, BY_KIND[kind], cast.domain)


def revoked(cast: Cast, token: ApiToken) -> None:
    tokens.revoke(cast.operator, token.pk)


def limited(cast: Cast, token: ApiToken) -> None:
    ApiToken.objects.filter(pk=token.pk).update(kinds=["domain.view"])


def limited_to_another_place(cast: Cast, token: ApiToken) -> None:
    ApiToken.objects.filter(pk=token.pk).update(project=Project.objects.create(name="elsewhere"))


def right_withdrawn(cast: Cast, token: ApiToken) -> None:
    Grant.objects.filter(user=cast.operator).delete()


def expired(cast: Cast, token: ApiToken) -> None:
    """It was asked for in time."""
    ApiToken.objects.filter(pk=token.pk).update(expires_at=timezone.now())


DENIED = (revoked, limited, limited_to_another_place, right_withdrawn)


@pytest.mark.parametrize("what", [*DENIED, expired])
def test_the_worker_asks_again_what_the_token_may(
    cast: Cast, monkeypatch: pytest.MonkeyPatch, what: Callable[[Cast, ApiToken], None]
) -> None:
    operation = submit(cast, token := token_of(cast.operator, kinds=["domain.start"]))
    what(cast, token)
    ran: list[int] = []
    monkeypatch.setattr(runners, "carry_out", lambda operation, to: ran.append(operation.pk))
    runners.run(operation.pk)
    operation.refresh_from_db()
    assert operation.state == (OperationState.DENIED if what in DENIED else OperationState.RUNNING)
    assert ran == ([] if what in DENIED else [operation.pk])
    assert operation.token == token


def test_who_asks_without_it_does_not_mind_that_it_is_revoked(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    token = token_of(cast.operator)
    operation = operations.submit(operations.Actor(cast.operator, Origin.PAGE), START, cast.domain)
    tokens.revoke(cast.operator, token.pk)
    monkeypatch.setattr(runners, "carry_out", lambda operation, to: None)
    runners.run(operation.pk)
    operation.refresh_from_db()
    assert operation.state == OperationState.RUNNING


def test_what_its_person_asked_for_is_not_its_own(cast: Cast) -> None:
    """It sees what was done to what it knows, but not with which parameters, and cancels nothing of it."""
    token = token_of(cast.operator, kinds=["domain.start"])
    access = access_of(cast.operator, token)
    by_hand = operations.submit(operations.Actor(cast.operator, Origin.PAGE), START, cast.domain)
    assert by_hand in access.operations()
    assert not access.asked_for(by_hand)
    # It may start it, so it may cancel a start.
    assert operations.may_answer_for(access, by_hand)
    reading = access_of(cast.operator, token_of(cast.operator, kinds=[]))
    assert not operations.may_answer_for(reading, by_hand)
    assert operations.may_answer_for(access_of(cast.operator), by_hand)
    Grant.objects.filter(user=cast.operator).delete()
    operations.cancel(by_hand)
    assert by_hand in access_of(cast.operator).operations()
    assert by_hand not in access_of(cast.operator, token).operations()


def test_its_own_stays_its_own(cast: Cast) -> None:
    token = token_of(cast.operator, kinds=["domain.start"])
    own = submit(cast, token)
    assert access_of(cast.operator, token).asked_for(own)
    # Another token of the same person is somebody else.
    assert not access_of(cast.operator, token_of(cast.operator, kinds=[])).asked_for(own)
    assert access_of(cast.operator).asked_for(own)


# --- service accounts


def test_a_service_account_keeps_no_door(cast: Cast) -> None:
    """Were it the last administrator, nobody could sign in."""
    robot = people.create_service("robot")
    grants.give(robot, "administrator")
    assert access_of(robot).is_administrator
    with pytest.raises(operations.NotNow):
        people.set_active(cast.administrator, active=False)
    with pytest.raises(operations.NotNow):
        grants.withdraw(cast.administrator.grants.get())
    # It is not one itself that must stay.
    grants.withdraw(robot.grants.get())


def test_a_deactivated_service_account_is_out(cast: Cast) -> None:
    robot = people.create_service("robot")
    raw = tokens.create_token(robot, "t", 1)
    assert tokens.user_of_token(raw)
    people.set_active(robot, active=False)
    assert tokens.user_of_token(raw) is None

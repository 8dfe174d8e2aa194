"""The life of an operation: accepted or refused, claimed once, ended once, and kept for ever."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import DatabaseError, transaction
from django.utils import timezone

from tests.people import Cast
from webvirt.models import AppendOnly, Domain, Grant, Operation, OperationState, Origin, Status, User
from webvirt.services import operations, runners
from webvirt.services.catalogue import BY_KIND
from webvirt.services.runners.context import Context, Failed

START = BY_KIND["domain.start"]
SAVE = BY_KIND["domain.save"]
DESTROY = BY_KIND["domain.destroy"]
S = OperationState


def actor(user: User) -> operations.Actor:
    return operations.Actor(user, Origin.PAGE, "192.0.2.7")


def submit(cast: Cast, kind: str = "domain.start", who: str = "operator", **parameters: Any) -> Operation:
    cast.domain.refresh_from_db()
    return operations.submit(actor(cast.who(who)), BY_KIND[kind], cast.domain, parameters)


def claimed(cast: Cast, kind: str = "domain.start") -> Operation:
    operation = operations.claim(submit(cast, kind).pk)
    assert operation is not None
    return operation


def running(domain: Domain) -> None:
    Domain.objects.filter(pk=domain.pk).update(status=Status.RUNNING)


def test_it_keeps_who_asked_for_what_and_how(cast: Cast) -> None:
    operation = submit(cast)
    operation.refresh_from_db()
    assert (operation.actor, operation.address, operation.origin) == ("operator", "192.0.2.7", "page")
    assert operation.state == S.QUEUED
    assert operation.virsh == "virsh -c test:///default start web-1"


@pytest.mark.parametrize("who", ["viewer", "stranger"])
def test_a_lower_role_is_denied(cast: Cast, who: str) -> None:
    with pytest.raises(operations.Denied):
        submit(cast, who=who)
    assert not Operation.objects.exists()


def test_a_deactivated_person_is_denied(cast: Cast) -> None:
    cast.operator.is_active = False
    with pytest.raises(operations.Denied):
        submit(cast)


def test_the_second_is_told_who_is_busy_with_what(cast: Cast) -> None:
    submit(cast)
    with pytest.raises(operations.Busy) as refused:
        submit(cast, who="owner")
    assert "Start" in str(refused.value)
    assert "operator" in str(refused.value)


def test_force_off_waits_for_nobody(cast: Cast) -> None:
    running(cast.domain)
    submit(cast, "domain.save")
    assert submit(cast, "domain.destroy").state == S.QUEUED


def test_the_lock_is_free_after_the_end(cast: Cast) -> None:
    operation = claimed(cast)
    assert operations.finish(operation, S.SUCCEEDED)
    assert submit(cast).pk != operation.pk


def test_a_verb_that_makes_no_sense_now_is_refused_with_the_reason(cast: Cast) -> None:
    running(cast.domain)
    with pytest.raises(operations.NotNow, match="running"):
        submit(cast)


def test_a_host_that_does_not_answer_is_the_reason(cast: Cast) -> None:
    cast.host.__class__.objects.update(state="down")
    with pytest.raises(operations.NotNow, match="host"):
        submit(cast)


@pytest.mark.parametrize(
    ("kind", "parameters", "field"),
    [
        ("domain.rename", {"name": "../etc"}, "name"),
        ("domain.rename", {"name": ""}, "name"),
        ("domain.rename", {}, "name"),
        ("domain.rename", {"name": "a\nb"}, "name"),
        ("domain.edit", {"tags": ["no spaces"]}, "tags"),
        ("domain.edit", {"title": "bell\x07"}, "title"),
        ("domain.autostart", {"enabled": True, "host_id": 2}, "host_id"),
    ],
)
def test_wrong_parameters_are_named(cast: Cast, kind: str, parameters: dict[str, Any], field: str) -> None:
    with pytest.raises(operations.Invalid) as refused:
        submit(cast, kind, "owner", **parameters)
    assert field in refused.value.fields


def test_only_one_claims_it(cast: Cast) -> None:
    operation = submit(cast)
    assert operations.claim(operation.pk) is not None
    assert operations.claim(operation.pk) is None


def test_a_right_withdrawn_while_queued_ends_it_as_denied(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    operation = submit(cast)
    Grant.objects.filter(user=cast.operator).delete()
    monkeypatch.setitem(runners.RUNNERS, "domain.start", lambda context: pytest.fail("it ran"))
    runners.run(operation.pk)
    operation.refresh_from_db()
    assert operation.state == S.DENIED


def end_of(operation: Operation, runner: Any, monkeypatch: pytest.MonkeyPatch) -> Operation:
    monkeypatch.setitem(runners.RUNNERS, operation.kind, runner)
    # The thread of the heartbeat has a database connection of its own, which a test's transaction would keep waiting.
    runners.carry_out(operation)
    operation.refresh_from_db()
    return operation


def test_a_fault_of_ours_still_comes_to_an_end(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    def runner(context: Context) -> None:
        raise ZeroDivisionError("oops")

    operation = end_of(claimed(cast), runner, monkeypatch)
    assert (operation.state, operation.error) == (S.FAILED, "ZeroDivisionError: oops")


def test_a_failure_keeps_sentence_and_remedy(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    def runner(context: Context) -> None:
        raise Failed("no space", "free some")

    operation = end_of(claimed(cast), runner, monkeypatch)
    assert (operation.state, operation.error, operation.remedy) == (S.FAILED, "no space", "free some")


def test_a_queued_one_is_cancelled_at_once(cast: Cast) -> None:
    operation = submit(cast)
    assert operations.cancel(operation)
    operation.refresh_from_db()
    assert operation.state == S.CANCELLED
    assert operations.claim(operation.pk) is None


def test_a_running_one_ends_at_its_next_report(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    running(cast.domain)
    operation = claimed(cast, "domain.save")
    assert operations.cancel(operation)

    def runner(context: Context) -> None:
        context.progress("writing", 1, 10)
        pytest.fail("it went on")

    assert end_of(operation, runner, monkeypatch).state == S.CANCELLED


def test_what_cannot_be_cancelled_says_so(cast: Cast) -> None:
    assert not operations.cancel(claimed(cast))


def test_a_lost_worker_ends_in_failure(cast: Cast) -> None:
    operation = claimed(cast)
    now = timezone.now()
    assert operations.reap(now) == 0
    assert operations.reap(now + operations.LOST_AFTER + timedelta(seconds=1)) == 1
    operation.refresh_from_db()
    assert operation.state == S.FAILED
    assert "lost" in operation.error
    # The worker was not dead after all: its word comes too late.
    assert not operations.finish(operation, S.SUCCEEDED)


def test_what_redis_never_got_is_sent_again(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[int] = []
    monkeypatch.setattr(operations, "send", lambda operation: sent.append(operation.pk))
    operation = submit(cast)
    now = timezone.now()
    assert operations.resend(now) == 0
    assert operations.resend(now + operations.RESEND_AFTER) == 1
    assert sent == [operation.pk]


def test_the_log_is_append_only(cast: Cast) -> None:
    operation = claimed(cast)
    operations.finish(operation, S.SUCCEEDED)
    with pytest.raises(AppendOnly):
        operation.delete()
    with pytest.raises(AppendOnly):
        Operation.objects.all().delete()


@pytest.mark.parametrize(
    "statement", ["DELETE FROM webvirt_operation", "UPDATE webvirt_operation SET actor = 'someone else'"]
)
def test_the_database_itself_refuses_to_rewrite_it(cast: Cast, statement: str) -> None:
    operations.finish(claimed(cast), S.SUCCEEDED)
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        transaction.get_connection().cursor().execute(statement)

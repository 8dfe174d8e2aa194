"""The audit log: what is noted and by whom, in one chain, and whoever tampers with it is found at the very line."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from importlib import import_module
from io import StringIO
from itertools import pairwise
from typing import Any

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, transaction
from django.utils import timezone
from pydantic import SecretStr

from tests.fakes import FakeConnection
from tests.people import Cast, make_domain
from tests.services.carrying import worker_on
from webvirt.models import (
    AppendOnly,
    AuditHead,
    AuditLine,
    AuditResult,
    ConsoleMode,
    ConsoleSession,
    EndReason,
    Grant,
    Operation,
    OperationState,
    Origin,
    Status,
)
from webvirt.services import (
    audit,
    auditlog,
    bulk,
    cloudimages,
    consoles,
    grants,
    hidden,
    hosts,
    operations,
    people,
    runners,
    tokens,
)
from webvirt.services.access import access_of
from webvirt.services.actors import Actor, acting
from webvirt.services.announcements import audible
from webvirt.services.catalogue import BY_KIND
from webvirt.services.operations import Denied

START = BY_KIND["domain.start"]
R = AuditResult
migration = import_module("webvirt.migrations.0015_audit")


@pytest.fixture(autouse=True)
def unsent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operations, "send", lambda operation: None)


def asker(cast: Cast, who: str = "operator") -> Actor:
    return Actor(cast.who(who), Origin.API, "192.0.2.7", "backup")


def told() -> list[tuple[str, str, str, str]]:
    """Event, result, actor and object of every line, the oldest first."""
    rows = AuditLine.objects.order_by("number")
    return list(rows.values_list("event", "result", "actor", "name"))


def last() -> AuditLine:
    line = AuditLine.objects.first()
    assert line is not None
    return line


def details(line: AuditLine) -> dict[str, Any]:
    found = json.loads(line.details)
    assert isinstance(found, dict)
    return found


def is_whole() -> bool:
    auditlog.verify(auditlog.Reader())
    return True


# --- operations


def test_an_operation_is_told_before_and_after(cast: Cast) -> None:
    operation = operations.submit(asker(cast), START, cast.domain)
    claimed = operations.claim(operation.pk)
    assert claimed is not None
    operations.finish(claimed, OperationState.FAILED, error="no such disc")
    assert told() == [("domain.start", result, "operator", "web-1") for result in ("asked", "begun", "failed")]
    for line in AuditLine.objects.all():
        assert (line.person, line.origin, line.address) == (cast.operator.pk, "api", "192.0.2.7")
        assert (line.token_name, line.operation) == ("backup", operation.pk)
        assert (line.noun, line.object_id, line.uuid) == ("domain", cast.domain.pk, cast.domain.uuid)
    assert details(last()) == {"error": "no such disc"}
    assert is_whole()


def test_parameters_are_told_without_secrets(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hidden, "hide", lambda operation, spec: None)
    actor = asker(cast, "administrator")
    wish = {"name": "new", "vcpus": 1, "memory_mib": 64}
    operations.submit(actor, BY_KIND["domain.create"], cast.host, wish)
    assert details(last())["parameters"]["name"] == "new"
    parameters = {"usage": "ceph", "usage_id": "backup", "value": "c4nary"}
    operations.submit(actor, BY_KIND["secret.create"], cast.host, parameters)
    assert details(last())["parameters"]["value"] == audit.HIDDEN
    assert last().uuid == cast.host.uuid
    assert "c4nary" not in "".join(map(audit.exported, AuditLine.objects.all()))


def test_the_line_of_something_else_than_a_machine_has_its_uuid(cast: Cast) -> None:
    operation = operations.submit(asker(cast, "administrator"), BY_KIND["pool.refresh"], cast.pool)
    operations.claim(operation.pk)
    assert (last().noun, last().result, last().uuid) == ("pool", "begun", cast.pool.uuid)


def test_a_denied_verb_is_told(cast: Cast) -> None:
    with pytest.raises(Denied):
        operations.submit(asker(cast, "viewer"), START, cast.domain)
    assert told() == [("domain.start", "denied", "viewer", "web-1")]
    assert not Operation.objects.exists()


def test_a_denial_outlives_the_transaction_that_it_ends(cast: Cast) -> None:
    with pytest.raises(Denied):
        bulk.submit_all(asker(cast, "viewer"), START, cast.domain, [{}, {}])
    with pytest.raises(Denied):
        hosts.add(asker(cast, "viewer"), {"name": "beta", "transport": "test"})
    assert told() == [("domain.start", "denied", "viewer", "web-1"), ("host.add", "denied", "viewer", "")]


def test_what_was_asked_for_twice_is_told_once(cast: Cast) -> None:
    actor = Actor(cast.operator, Origin.API, request_key="k")
    assert operations.submit(actor, START, cast.domain) == operations.submit(actor, START, cast.domain)
    with pytest.raises(operations.Busy):
        operations.submit(asker(cast, "owner"), START, cast.domain)
    assert len(told()) == 1


def test_a_right_that_was_withdrawn_meanwhile(cast: Cast) -> None:
    operation = operations.submit(asker(cast), START, cast.domain)
    Grant.objects.filter(user=cast.operator).delete()
    runners.run(operation.pk)
    assert last().result == "denied"


def test_cancelling_tells_who_did_it(cast: Cast) -> None:
    waiting = operations.submit(asker(cast), START, cast.domain)
    with acting(asker(cast, "owner")):
        operations.cancel(waiting)
    assert told()[-1] == ("domain.start", "cancelled", "owner", "web-1")
    clone = operations.submit(asker(cast, "administrator"), BY_KIND["volume.clone"], cast.volume, {"name": "copy"})
    running = operations.claim(clone.pk)
    assert running is not None
    with acting(asker(cast, "owner")):
        operations.cancel(running)
    assert told()[-1][:3] == ("operation.cancel", "asked", "owner")


def test_a_worker_that_is_lost_has_a_line_too(cast: Cast) -> None:
    """The worker is killed between the intent and the result: nobody knows, and that is what is told."""
    operation = operations.claim(operations.submit(asker(cast), START, cast.domain).pk)
    assert operation is not None
    late = timezone.now() + operations.LOST_AFTER + timedelta(seconds=1)
    assert operations.reap(late) == 1
    assert operations.reap(late) == 0
    assert told()[-1] == ("domain.start", "unknown", "operator", "web-1")
    assert details(last()) == {"error": "The worker that ran this was lost."}
    assert not operations.finish(operation, OperationState.SUCCEEDED)
    assert [row[1] for row in told()] == ["asked", "begun", "unknown"]


def test_what_lies_still_begins_once_and_may_be_given_up(cast: Cast) -> None:
    operation = operations.claim(operations.submit(asker(cast), START, cast.domain).pk)
    assert operation is not None
    operations.lie_still(operation)
    again = operations.claim(operation.pk)
    assert again is not None
    operations.lie_still(again)
    operations.give_up(again, "Nothing more came for a day.")
    assert [row[1] for row in told()] == ["asked", "begun", "failed"]


def test_a_host_that_is_added_and_removed(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = worker_on(FakeConnection(), cast.administrator, monkeypatch)
    operation = hosts.add(
        worker.actor, {"name": "beta", "transport": "tcp", "hostname": "b", "port": 16509, "unencrypted": True}
    )
    operations.cancel(operation)
    cast.domain.delete()
    cast.other.delete()
    worker.do("host.remove", cast.host)
    kinds = [row[0] for row in told()]
    assert kinds[:2] == ["host.add"] * 2
    assert told()[-1] == ("host.remove", "done", "administrator", "alpha")


# --- people, tokens, settings, consoles


def test_changes_of_people_and_rights(cast: Cast) -> None:
    with acting(asker(cast, "administrator")):
        bob = people.create("bob", "long enough c4nary")
        grant = grants.give(bob, "viewer", cast.domain)
        grants.give(bob, "owner", cast.domain)
        grants.withdraw(grant)
        grants.give(bob, "viewer")
        people.reset_password(bob, "another c4nary here")
        people.set_active(bob, active=False)
        people.set_active(bob, active=False)
        people.set_active(bob, active=True)
        people.keep_ssh_keys(bob, "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIC4VnjNEmMzZ4ZqLOWuRXEO4sOJ4dMc0qHv4nJdRpaBc me")
    events = [row[0] for row in told()]
    assert events == [
        "person.create",
        "grant.give",
        "grant.give",
        "grant.withdraw",
        "grant.give",
        "person.password",
        "person.deactivate",
        "person.activate",
        "person.ssh_keys",
    ]
    assert {row[1:] for row in told()} == {("done", "administrator", "bob")}
    given = details(AuditLine.objects.get(number=3))
    assert given == {"role": "owner", "on": f"domain:{cast.domain.pk}", "name": "web-1", "before": "viewer"}
    assert details(AuditLine.objects.get(number=5)) == {"role": "viewer", "on": "everything"}
    assert "c4nary" not in "".join(map(audit.exported, AuditLine.objects.all()))


def test_what_is_refused_is_not_told_as_done(cast: Cast) -> None:
    with pytest.raises(operations.NotNow):
        people.set_active(cast.administrator, active=False)
    with pytest.raises(operations.Invalid):
        people.create("bob", "short")
    assert told() == []


def test_tokens(cast: Cast) -> None:
    with acting(Actor(cast.viewer, Origin.PAGE, "192.0.2.8")):
        raw = tokens.create_token(cast.viewer, "backup", 30)
        token = cast.viewer.api_tokens.get()
        assert tokens.revoke(cast.viewer, token.pk)
        assert not tokens.revoke(cast.viewer, token.pk)
    assert told() == [(event, "done", "viewer", "backup") for event in ("token.make", "token.revoke")]
    everything = "".join(map(audit.exported, AuditLine.objects.all()))
    assert raw not in everything
    assert tokens.digest_of(raw) not in everything


def test_the_command_line_is_told_by_its_unix_user(cast: Cast) -> None:
    call_command("createtoken", "viewer", stdout=StringIO(), stderr=StringIO())
    assert (last().origin, last().person) == ("command", None)
    assert last().actor not in ("", "webvirt", "viewer")


def test_the_list_of_cloud_images(cast: Cast) -> None:
    wish = {"name": "Tux 9", "url": "https://example.org/tux.qcow2?sig=c4nary"}
    image = cloudimages.add(wish)
    cloudimages.change(image, wish | {"name": "Tux"})
    cloudimages.remove(image)
    assert [row[0] for row in told()] == ["cloud_image.add", "cloud_image.change", "cloud_image.remove"]
    assert {row[2] for row in told()} == {"webvirt"}
    assert "c4nary" not in "".join(map(audit.exported, AuditLine.objects.all()))


def opened(cast: Cast) -> ConsoleSession:
    cast.domain.status = Status.RUNNING
    cast.domain.save()
    return consoles.open_session(cast.operator, "k" * 32, cast.domain.pk, ConsoleMode.CONTROL, "192.0.2.9")


def test_a_console_from_its_asking_to_its_end(cast: Cast) -> None:
    session = opened(cast)
    consoles.count(session.pk, 7000, 30)
    consoles.end(session.pk, EndReason.OFF)
    consoles.end(session.pk, EndReason.CLOSED)
    assert told() == [("domain.console", result, "operator", "web-1") for result in ("asked", "done")]
    assert last().address == "192.0.2.9"
    assert details(last()) == {
        "console": session.pk,
        "mode": "control",
        "device": "screen",
        "reason": "off",
        "seconds": 0,
        "bytes_to_browser": 7000,
        "bytes_to_guest": 30,
    }


def test_consoles_that_end_by_themselves(cast: Cast) -> None:
    session = opened(cast)
    second = consoles.open_session(cast.operator, "k" * 32, cast.domain.pk, ConsoleMode.VIEW, None, replaces=session.pk)
    assert details(AuditLine.objects.get(number=2))["reason"] == "replaced"
    ConsoleSession.objects.filter(pk=second.pk).update(leased_until=timezone.now() - timedelta(seconds=1))
    assert consoles.end_unopened() == 1
    assert (last().result, details(last())["reason"]) == ("cancelled", "unopened")
    third = opened(cast)
    ConsoleSession.objects.filter(pk=third.pk).update(opened_at=timezone.now() - timedelta(seconds=5))
    assert consoles.end_orphans(timezone.now()) == 1
    assert (details(last())["reason"], details(last())["seconds"]) == ("proxy", 5)


def test_a_console_that_is_denied(cast: Cast) -> None:
    cast.domain.status = Status.RUNNING
    cast.domain.save()
    with pytest.raises(consoles.Refusal):
        consoles.open_session(cast.viewer, "k" * 32, cast.domain.pk, ConsoleMode.CONTROL, "192.0.2.9")
    assert told() == [("domain.console", "denied", "viewer", "web-1")]


# --- hostile names


@pytest.mark.parametrize(
    "name", ["x\nAdmin signed in", "x\r\n", "x\0", "\u202egnp.exe", "a\u2028b", "\ud800", "a\\nb", "n" * 5000]
)
def test_a_name_forges_no_line(cast: Cast, name: str) -> None:
    thing = audit.Thing("user", 3, name, name)
    actor = Actor(None, Origin.COMMAND, called=name, token_name=name)
    audit.note("person.sign_in", thing, actor=actor, details={"name": name, name: [name]})
    line = last()
    line.refresh_from_db()
    for text in (line.name, line.actor, line.token_name, line.uuid):
        assert text.isprintable()
    exported = audit.exported(line)
    assert exported.isascii()
    assert exported.isprintable()
    assert len(exported) < 10_000
    assert json.loads(exported)["number"] == line.number
    assert is_whole()


def test_names_that_look_alike_stay_apart() -> None:
    assert audit.plain("a\nb", 50) == r"a\nb"
    assert audit.plain(r"a\nb", 50) == r"a\\nb"
    assert audit.plain("虚拟机", 50) == "虚拟机"


def test_details_are_bounded_and_hold_no_secret() -> None:
    deep: dict[str, Any] = {}
    for _ in range(100):
        deep = {"in": deep}
    values = {
        "password": SecretStr("c4nary"),
        "none": SecretStr(""),
        "deep": deep,
        "nan": float("nan"),
        "url": "https://user:c4nary@example.org/a?token=c4nary",
        "said": "cannot fetch https://user@example.org/x?c4nary now",
        "when": timezone.now(),
        "set": {1},
    }
    text = audit.details_text(values)
    assert "c4nary" not in text
    assert json.loads(text)["url"] == f"https://{audit.HIDDEN}@example.org/a?{audit.HIDDEN}"
    assert json.loads(text)["none"] == ""
    long = audit.details_text({str(n): "x" * 490 for n in range(40)})
    assert set(json.loads(long)) == {"characters", "sha256"}


# --- the chain


def note_some(count: int) -> None:
    for number in range(count):
        audit.note("person.sign_in", audit.Thing("user", number, f"person {number}"))


def without_triggers(*statements: str) -> None:
    """What somebody does who has the database itself."""
    with connection.cursor() as cursor:
        for verb in ("delete", "update"):
            cursor.execute(f"DROP TRIGGER audit_no_{verb}")
        for statement in statements:
            cursor.execute(statement)
        for trigger in migration.SQLITE:
            cursor.execute(trigger)


def rewritten(number: int) -> None:
    """Alter a line and give it the hash of what it says now."""
    line = AuditLine.objects.get(number=number)
    line.name = "nobody"
    without_triggers(
        f"UPDATE webvirt_auditline SET name = 'nobody', hash = '{audit.hash_of(line)}' WHERE number = {number}"
    )


def inserted(number: int, hash_: str = "") -> str:
    columns = [field.name for field in AuditLine._meta.fields if field.name not in ("number", "hash")]
    names = ", ".join(columns)
    return (
        f"INSERT INTO webvirt_auditline (number, hash, {names}) SELECT {number}, '{hash_ or 'f' * 64}', {names}"
        " FROM webvirt_auditline WHERE number = 3"
    )


def well_inserted() -> None:
    """A line behind the end, with the right hashes."""
    end = AuditHead.objects.get()
    line = AuditLine.objects.get(number=3)
    line.number, line.previous = end.number + 1, end.hash
    line.hash = audit.hash_of(line)
    line.save(force_insert=True)


def test_every_line_follows_the_one_before(db: None) -> None:
    note_some(3)
    lines = list(AuditLine.objects.order_by("number"))
    assert [line.number for line in lines] == [1, 2, 3]
    for before, line in pairwise(lines):
        assert line.previous == before.hash
    text = audit.exported(lines[2])
    assert hashlib.sha256((text[: text.rindex(',"hash"')] + "}").encode()).hexdigest() == lines[2].hash
    end = AuditHead.objects.get()
    assert (end.number, end.hash) == (3, lines[2].hash)


def test_what_is_rolled_back_leaves_no_gap(db: None) -> None:
    note_some(1)
    with transaction.atomic():
        note_some(2)
        transaction.set_rollback(True)
    note_some(1)
    assert [line.number for line in AuditLine.objects.order_by("number")] == [1, 2]
    assert is_whole()


TAMPERINGS: dict[str, tuple[Callable[[], Any], str]] = {
    "altered": (
        lambda: without_triggers("UPDATE webvirt_auditline SET actor = 'eve' WHERE number = 5"),
        "line 5 was altered",
    ),
    "details altered": (
        lambda: without_triggers("UPDATE webvirt_auditline SET details = '{ }' WHERE number = 5"),
        "line 5 was altered",
    ),
    "another time": (
        lambda: without_triggers("UPDATE webvirt_auditline SET at = '2020-01-01 00:00:00' WHERE number = 5"),
        "line 5 was altered",
    ),
    "no time at all": (
        lambda: without_triggers("UPDATE webvirt_auditline SET at = 'rubbish' WHERE number = 5"),
        "line 5 was altered",
    ),
    "an impossible time": (
        lambda: without_triggers("UPDATE webvirt_auditline SET at = '2020-13-32 00:00:00' WHERE number = 5"),
        "line 5 was altered",
    ),
    "another hash": (
        lambda: without_triggers("UPDATE webvirt_auditline SET hash = previous WHERE number = 5"),
        "line 5 was altered",
    ),
    "written anew": (lambda: rewritten(5), "line 5 was written anew"),
    "the last one written anew": (lambda: rewritten(9), "line 9 was written anew"),
    "the first one deleted": (
        lambda: without_triggers("DELETE FROM webvirt_auditline WHERE number = 1"),
        "line 1 is missing",
    ),
    "deleted": (lambda: without_triggers("DELETE FROM webvirt_auditline WHERE number = 5"), "line 5 is missing"),
    "several deleted": (
        lambda: without_triggers("DELETE FROM webvirt_auditline WHERE number BETWEEN 4 AND 6"),
        "lines 4 to 6 are missing",
    ),
    "the end cut off": (
        lambda: without_triggers("DELETE FROM webvirt_auditline WHERE number > 7"),
        "lines 8 to 9 are missing, cut off",
    ),
    "all deleted": (lambda: without_triggers("DELETE FROM webvirt_auditline"), "lines 1 to 9 are missing"),
    "inserted before": (lambda: without_triggers(inserted(0)), "line 0 was inserted"),
    "inserted behind": (lambda: without_triggers(inserted(10)), "line 10 was inserted"),
    "inserted far behind": (lambda: without_triggers(inserted(1000)), "line 1000 was inserted"),
    "inserted well": (well_inserted, "line 10 was inserted"),
    "the end forgotten": (lambda: AuditHead.objects.all().delete(), "the end of the log is not kept"),
}


@pytest.mark.parametrize("name", TAMPERINGS)
def test_whoever_tampers_is_found_at_the_line(db: None, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auditlog, "CHUNK", 2)
    note_some(9)
    assert is_whole()
    tamper, sentence = TAMPERINGS[name]
    tamper()
    with pytest.raises(CommandError, match=sentence):
        call_command("audit", "verify", stdout=StringIO())


def test_a_line_instead_of_another_is_found(db: None) -> None:
    note_some(9)
    without_triggers("DELETE FROM webvirt_auditline WHERE number = 5", inserted(5))
    with pytest.raises(CommandError, match="line 5 was altered"):
        call_command("audit", "verify", stdout=StringIO())


def test_an_end_that_was_cut_off_with_all_traces_is_found_by_a_hash_noted_elsewhere(db: None) -> None:
    note_some(9)
    noted, earlier = last().hash, AuditLine.objects.get(number=4).hash
    cut = AuditLine.objects.get(number=7)
    without_triggers("DELETE FROM webvirt_auditline WHERE number > 7")
    AuditHead.objects.update(number=7, hash=cut.hash)
    out = StringIO()
    call_command("audit", "verify", "--head", earlier, stdout=out)
    assert "7 lines read" in out.getvalue()
    assert cut.hash in out.getvalue()
    with pytest.raises(CommandError, match=f"no line has the hash {noted}"):
        call_command("audit", "verify", "--head", noted, stdout=StringIO())
    with pytest.raises(CommandError, match="no hash"):
        call_command("audit", "verify", "--head", "rubbish", stdout=StringIO())


def test_the_log_goes_on_where_it_ends(db: None) -> None:
    note_some(2)
    AuditHead.objects.all().delete()
    note_some(1)
    assert is_whole()


def test_an_empty_log_is_whole(db: None) -> None:
    out = StringIO()
    call_command("audit", "verify", stdout=out)
    assert "0 lines read" in out.getvalue()


def test_lines_are_neither_altered_nor_deleted(db: None) -> None:
    note_some(2)
    for forbidden in (AuditLine.objects.all().delete, last().delete, lambda: AuditLine.objects.update(actor="eve")):
        with pytest.raises(AppendOnly):
            forbidden()
    for statement in ("DELETE FROM webvirt_auditline", "UPDATE webvirt_auditline SET actor = 'eve'"):
        with pytest.raises(DatabaseError, match="append-only"), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(statement)


WRITERS = """
import os
import django
django.setup()
from webvirt import bus
from webvirt.services import audit
bus._publish = lambda names: None

def write(name):
    for number in range(25):
        with audit.writing():
            audit.note("person.sign_in", audit.Thing("user", number, name))
    os._exit(0)

children = []
for n in range(8):
    children.append(os.fork())
    if children[-1] == 0:
        write(f"writer {n}")
assert all(os.waitpid(child, 0)[1] == 0 for child in children)
"""


def test_eight_processes_write_one_chain(transactional_db: None) -> None:
    subprocess.run([sys.executable, "-c", WRITERS], cwd=settings.BASE_DIR, check=True)
    reader = auditlog.Reader()
    auditlog.verify(reader)
    assert (reader.read, reader.number) == (200, 200)
    assert {line.name for line in AuditLine.objects.all()} == {f"writer {n}" for n in range(8)}


def test_administrators_alone_hear_of_new_lines(cast: Cast) -> None:
    assert audible(access_of(cast.administrator), ["audit"]) == {"audit"}
    assert audible(access_of(cast.owner), ["audit"]) == set()


# --- choosing


def numbers(**filters: str) -> list[int]:
    return [line.number for line in auditlog.page_of(auditlog.chosen(filters)).lines]


def test_lines_are_found(cast: Cast) -> None:
    make_domain(cast.host, "a\\b\nc", 9)
    audit.note("domain.start", cast.domain, actor=asker(cast), result=R.FAILED)
    audit.note("domain.stop", cast.other, actor=Actor(cast.owner, Origin.PAGE))
    audit.note("person.sign_in", audit.Thing("user", name="a\\b\nc"), actor=Actor(None, Origin.PAGE), result=R.DENIED)
    assert numbers() == [3, 2, 1]
    assert numbers(person="operator") == [1]
    assert numbers(object="db-1") == [2]
    assert numbers(object=cast.domain.uuid.upper()) == [1]
    assert numbers(object=f"domain:{cast.other.pk}") == [2]
    assert numbers(object="a\\b\nc") == [3]
    assert numbers(kind="domain.stop") == [2]
    assert numbers(result="denied") == [3]
    assert numbers(address="192.0.2.7") == [1]
    today = f"{timezone.now():%Y-%m-%d}"
    assert numbers(since=today, until=today) == [3, 2, 1]
    assert numbers(until="2020-01-01") == []
    assert numbers(since="2020-01-01T00:00:00+02:00", person="owner") == [2]
    with pytest.raises(operations.Invalid) as error:
        auditlog.chosen({"since": "yesterday", "until": "9999-12-31", "result": "odd"})
    assert set(error.value.fields) == {"since", "until", "result"}


def test_times_are_found_though_the_clock_was_set_back(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    for hour in (8, 10, 12, 11, 9, 13, 14):
        moment = datetime(2026, 3, 1, hour, tzinfo=UTC)
        monkeypatch.setattr("webvirt.services.audit.timezone.now", lambda moment=moment: moment)
        note_some(1)
    assert AuditHead.objects.get().back == timedelta(hours=3)
    assert numbers(since="2026-03-01T10:30", until="2026-03-01T12:30") == [4, 3]
    assert numbers(since="2026-03-01T11:30:00Z") == [7, 6, 3]
    assert numbers(until="2026-03-01T09:30:00Z") == [5, 1]
    assert numbers(since="2026-03-01", until="2026-03-01") == [7, 6, 5, 4, 3, 2, 1]
    assert numbers(since="2026-03-02") == numbers(until="2026-02-28") == []
    # Not even that is known any more.
    AuditHead.objects.all().delete()
    note_some(1)
    assert numbers(since="2026-03-01T11:30:00Z") == [8, 7, 6, 3]
    assert is_whole()


@pytest.mark.parametrize("text", ["0001-01-01", "9999-12-31", "0001-01-01T00:00:00+05:00", "2026-02-30", "12:00", "²"])
def test_what_is_no_time_is_refused(db: None, text: str) -> None:
    for name in ("since", "until"):
        with pytest.raises(operations.Invalid):
            auditlog.chosen({name: text})


def test_pages_by_number(db: None) -> None:
    note_some(7)
    everything = AuditLine.objects.all()

    def page(**place: int) -> tuple[list[int], int | None, int | None]:
        found = auditlog.page_of(everything, size=3, **place)
        return [line.number for line in found.lines], found.newer, found.older

    assert page() == ([7, 6, 5], None, 5)
    assert page(before=5) == ([4, 3, 2], 4, 2)
    assert page(before=2) == ([1], 1, None)
    assert page(after=4) == ([7, 6, 5], None, 5)
    assert page(after=1) == ([4, 3, 2], 4, 2)
    assert page(before=1) == ([], None, None)


def test_the_export_by_command_is_noted(cast: Cast) -> None:
    note_some(3)
    audit.note("domain.start", cast.domain, actor=asker(cast))
    out = StringIO()
    call_command("audit", "export", "--person", "operator", stdout=out)
    assert [json.loads(line)["number"] for line in out.getvalue().splitlines()] == [4]
    assert [row[:2] for row in told()[-2:]] == [("audit.export", "begun"), ("audit.export", "done")]
    assert details(last()) == {"person": "operator", "lines": 1}
    with pytest.raises(CommandError, match="since"):
        call_command("audit", "export", "--since", "yesterday", stdout=out)

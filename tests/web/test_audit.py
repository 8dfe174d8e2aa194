"""The page of the audit log, and what the door itself notes: who came in, who was kept out, who went."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest
from django.core.cache import cache
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from tests.people import PASSWORD, Cast
from tests.web.conftest import Enter
from webvirt.models import ApiToken, AuditLine, AuditResult, Origin, User
from webvirt.services import audit, auditlog, guessing, tokens
from webvirt.services.actors import Actor, current
from webvirt.web import accounts

HOSTILE = "eve\n<b>Admin</b> signed in"


@pytest.fixture(autouse=True)
def no_rate_limits() -> Iterator[None]:
    cache.clear()
    yield
    cache.clear()


def told() -> list[tuple[str, str, str, str, str]]:
    rows = AuditLine.objects.order_by("number")
    return list(rows.values_list("event", "result", "actor", "name", "address"))


def numbers(text: str) -> list[int]:
    return [int(number) for number in re.findall(r'class="main-link" href="/audit/(\d+)/"', text)]


def note_some(count: int) -> None:
    for number in range(count):
        audit.note("person.sign_in", audit.Thing("user", number, f"person {number}"))


# --- at the door


def test_coming_in_and_going(cast: Cast) -> None:
    client = Client(REMOTE_ADDR="192.0.2.5")
    client.post("/login/", {"login": "owner", "password": PASSWORD})
    client.post("/logout/")
    client.post("/logout/")
    assert told() == [
        ("person.sign_in", "done", "owner", "owner", "192.0.2.5"),
        ("person.sign_out", "done", "owner", "owner", "192.0.2.5"),
    ]
    assert {line.person for line in AuditLine.objects.all()} == {cast.owner.pk}


@pytest.mark.parametrize(("typed", "name"), [("owner", "owner"), ("nobody here", "nobody here"), (HOSTILE, None)])
def test_who_is_kept_out_acted_as_nobody(cast: Cast, typed: str, name: str | None) -> None:
    Client(REMOTE_ADDR="192.0.2.5").post("/login/", {"login": typed, "password": "c4nary c4nary"})
    assert told() == [("person.sign_in", "denied", "", name or audit.plain(typed, 255), "192.0.2.5")]
    line = AuditLine.objects.get()
    assert (line.person, line.object_id) == (None, cast.owner.pk if typed == "owner" else None)
    assert "\n" not in line.name
    assert "c4nary" not in audit.exported(line)


def test_a_name_of_any_length_is_bounded(cast: Cast) -> None:
    Client().post("/login/", {"login": "n" * 100, "password": "x"})
    assert AuditLine.objects.get().name == "n" * 100


def test_who_is_deactivated_is_kept_out(cast: Cast) -> None:
    User.objects.filter(pk=cast.owner.pk).update(is_active=False)
    Client().post("/login/", {"login": "owner", "password": PASSWORD})
    assert told()[0][:4] == ("person.sign_in", "denied", "", "owner")


@pytest.mark.parametrize(("name", "known"), [("owner", True), ("nobody here", False)])
def test_the_limit_on_guessing_is_told_once(
    cast: Cast, monkeypatch: pytest.MonkeyPatch, name: str, known: bool
) -> None:
    monkeypatch.setattr(accounts.AccountAdapter.__base__, "authenticate", lambda *_given, **_named: None)
    for number in range(3 * guessing.AHEAD):
        client = Client(REMOTE_ADDR=f"198.51.100.{number}")
        client.post("/login/", {"login": name, "password": "wrong"})
    lines = AuditLine.objects.filter(event="person.guess")
    first = f"198.51.100.{guessing.AHEAD}"
    assert [(line.result, line.actor, line.name, line.address) for line in lines] == [("denied", "", name, first)]
    assert lines[0].object_id == (cast.owner.pk if known else None)
    assert json.loads(lines[0].details) == {"guessed": "password or code"}


def use_token(raw: str, address: str = "203.0.113.7") -> int:
    client = Client(REMOTE_ADDR=address, headers={"authorization": f"Bearer {raw}"})
    return client.get("/api/v1/me").status_code


def test_a_token_that_is_not_good_is_told_once(cast: Cast) -> None:
    """Whose it was, where that is known; with nothing of it."""
    expired, deactivated = tokens.create_token(cast.owner, "backup", 1), tokens.create_token(cast.viewer, "cron", 1)
    ApiToken.objects.filter(name="backup").update(expires_at=timezone.now())
    User.objects.filter(pk=cast.viewer.pk).update(is_active=False)
    before = AuditLine.objects.count()
    for _ in range(3):
        assert [use_token(raw) for raw in (expired, deactivated, "wv_c4nary")] == [401] * 3
    lines = AuditLine.objects.filter(number__gt=before).order_by("number")
    assert [(line.event, line.result, line.actor, line.origin, line.address) for line in lines] == [
        ("token.refused", "denied", "", "api", "203.0.113.7")
    ] * 3
    assert [(line.name, json.loads(line.details)["reason"]) for line in lines] == [
        ("backup", "it has expired"),
        ("cron", "the account is deactivated"),
        ("", "there is no such token"),
    ]
    assert [json.loads(line.details).get("person") for line in lines] == ["owner", "viewer", None]
    assert "c4nary" not in "".join(map(audit.exported, lines))
    assert [use_token("wv_x") for _ in range(3)] == [401, 429, 429]
    assert AuditLine.objects.filter(event="person.guess").count() == 1
    assert AuditLine.objects.filter(event="token.refused").count() == 3


def test_wrong_tokens_from_many_addresses_do_not_fill_the_log(cast: Cast) -> None:
    for number in range(3 * guessing.AHEAD):
        assert use_token(f"wv_{number}", f"203.0.113.{number}") == 401
    assert AuditLine.objects.filter(event="token.refused").count() == guessing.AHEAD


def test_a_password_of_ones_own(cast: Cast, enter: Enter) -> None:
    given = {"oldpassword": PASSWORD, "password1": "quite another c4nary", "password2": "quite another c4nary"}
    enter("owner").post("/me/password/", given)
    assert told()[-1][:4] == ("person.password", "done", "owner", "owner")
    assert not AuditLine.objects.filter(details__contains="c4nary").exists()


def test_what_pages_do_is_done_by_who_asks(cast: Cast, enter: Enter) -> None:
    client = enter("administrator")
    client.post("/people/add/", {"name": "bob", "password": "long enough it is"}, REMOTE_ADDR="192.0.2.6")
    assert told()[-1] == ("person.create", "done", "administrator", "bob", "192.0.2.6")
    assert current() == Actor(None, Origin.SYSTEM)


# --- the page


def test_the_list_and_its_filters(cast: Cast, enter: Enter) -> None:
    client = enter("administrator")
    audit.note("domain.start", cast.domain, actor=Actor(cast.owner, Origin.API, "192.0.2.7", "backup"))
    start = AuditLine.objects.get(event="domain.start").number
    for filters in (
        "person=owner",
        "object=web-1",
        f"object=domain:{cast.domain.pk}",
        "kind=domain.start",
        "address=192.0.2.7",
        f"since={timezone.now():%Y-%m-%d}&person=owner",
    ):
        text = client.get(f"/audit/?{filters}").content.decode()
        assert numbers(text) == [start], filters
        assert f'href="/api/v1/audit/export?{filters.split("&")[0].replace(":", "%3A")}' in text or "since" in filters
    assert "Nothing matches" in client.get("/audit/?person=nobody").content.decode()
    assert "A date such as" in client.get("/audit/?since=yesterday").content.decode()


def test_pages_by_number(cast: Cast, enter: Enter) -> None:
    client = enter("administrator")
    note_some(119)
    first = client.get("/audit/?result=done").content.decode()
    assert numbers(first) == list(range(120, 70, -1))
    assert 'rel="next" href="?result=done&amp;before=71"' in first
    assert 'rel="prev"' not in first
    second = client.get("/audit/?result=done&before=71").content.decode()
    assert numbers(second) == list(range(70, 20, -1))
    assert 'rel="prev" href="?result=done&amp;after=70"' in second
    for odd in ("x", "-1", "9" * 30, "\u0663"):
        assert client.get(f"/audit/?before={odd}").status_code == 200


def test_it_asks_the_database_as_often_however_long_it_is(cast: Cast, enter: Enter) -> None:
    client = enter("administrator")
    counts = []
    for _ in range(2):
        note_some(60)
        with CaptureQueriesContext(connection) as queries:
            assert client.get("/audit/?person=webvirt&result=done&before=55").status_code == 200
        counts.append(len(queries))
    assert counts[0] == counts[1] <= 7


@pytest.mark.parametrize(
    ("name", "text", "index"),
    [
        ("person", "owner", "audit_by_actor"),
        ("object", "web-1", "audit_by_name"),
        ("object", "pool:7", "audit_by_object"),
        ("object", "00000000-0000-4000-8000-000000000001", "audit_by_uuid"),
        ("kind", "domain.start", "audit_by_event"),
        ("result", "denied", "audit_by_result"),
        ("address", "192.0.2.7", "audit_by_address"),
    ],
)
def test_every_filter_has_an_index_in_the_order_of_the_page(db: None, name: str, text: str, index: str) -> None:
    found = auditlog.chosen({name: text}).filter(number__lt=1000).order_by("-number")[:51]
    plan = found.explain()
    assert f"USING INDEX {index}" in plan
    assert "TEMP B-TREE" not in plan


def test_a_line_says_everything(cast: Cast, enter: Enter) -> None:
    client = enter("administrator")
    audit.note(
        "domain.start",
        cast.domain,
        actor=Actor(cast.owner, Origin.API, "192.0.2.7", "backup"),
        result=AuditResult.FAILED,
        operation=7,
        details={"error": "<b>no</b>\u202e disc"},
    )
    text = client.get("/audit/2/").content.decode()
    for part in ("Start", "failed", "owner", "backup", "192.0.2.7", cast.domain.uuid, "/operations/7/", "/vms/1/"):
        assert part.replace("/vms/1/", f"/vms/{cast.domain.pk}/") in text, part
    assert "&lt;b&gt;no&lt;/b&gt;" in text
    assert "\u202e" not in text
    assert client.get("/audit/99/").status_code == 404


def test_hostile_names_are_only_text(cast: Cast, enter: Enter) -> None:
    client = enter("administrator")
    audit.note("person.sign_in", audit.Thing("user", name=HOSTILE), actor=Actor(None, Origin.PAGE))
    assert "<b>Admin" not in client.get("/audit/").content.decode()
    assert "<b>Admin" not in client.get("/audit/2/").content.decode()
    assert numbers(client.get("/audit/", {"object": HOSTILE.replace("\n", " ")}).content.decode()) == []
    assert numbers(client.get("/audit/", {"object": HOSTILE}).content.decode()) == [2]


def test_ones_own_lines_are_on_the_profile(cast: Cast, enter: Enter) -> None:
    client = enter("owner")
    audit.note("domain.start", cast.domain, actor=Actor(cast.owner, Origin.PAGE), details={"error": "/secret/path"})
    audit.note("domain.start", cast.other, actor=Actor(cast.administrator, Origin.PAGE))
    text = client.get("/me/").content.decode()
    assert 'id="line-2"' in text
    assert "web-1" in text
    assert "db-1" not in text
    assert "/secret/path" not in text
    assert "/audit/" not in text

"""API tokens: shown once, kept as a digest, dead when they should be."""

from __future__ import annotations

from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from tests.people import Cast
from webvirt.models import ApiToken, Project
from webvirt.services.operations import Invalid
from webvirt.services.tokens import create_token, note_use, revoke, user_of_token


def test_a_token_is_its_persons(cast: Cast) -> None:
    raw = create_token(cast.viewer, "backup", 30)
    found = user_of_token(raw)
    assert found is not None
    user, token = found
    assert (user, token.name) == (cast.viewer, "backup")
    assert raw.startswith("wv_")
    assert len(raw) == 3 + 43


def test_the_database_does_not_know_it(cast: Cast) -> None:
    raw = create_token(cast.viewer, "backup", 30)
    kept = [str(value) for row in ApiToken.objects.values() for value in row.values()]
    assert not [value for value in kept if raw[3:] in value or raw in value]


def test_no_two_are_alike(cast: Cast) -> None:
    made = {create_token(cast.viewer, "t", 1) for _ in range(200)}
    assert len(made) == 200
    assert ApiToken.objects.values("digest").distinct().count() == 200


@pytest.mark.parametrize("raw", ["", "wv_", "wv_" + "x" * 43, "é", "x" * 100_000])
def test_what_is_no_token(cast: Cast, raw: str) -> None:
    create_token(cast.viewer, "t", 1)
    assert user_of_token(raw) is None


def test_it_dies_with_its_time_its_person_and_its_revocation(cast: Cast) -> None:
    raw = create_token(cast.viewer, "t", 1)
    rows = ApiToken.objects.filter(user=cast.viewer)
    rows.update(expires_at=timezone.now())
    assert user_of_token(raw) is None
    rows.update(expires_at=timezone.now() + timedelta(days=1))
    cast.viewer.is_active = False
    cast.viewer.save()
    assert user_of_token(raw) is None
    cast.viewer.is_active = True
    cast.viewer.save()
    assert user_of_token(raw) is not None
    assert not revoke(cast.owner, rows.get().pk)
    assert revoke(cast.viewer, rows.get().pk)
    assert user_of_token(raw) is None


def test_its_last_use_is_written_once_a_minute(cast: Cast, django_assert_num_queries: object) -> None:
    raw = create_token(cast.viewer, "t", 1)
    note_use(ApiToken.objects.get())
    first = ApiToken.objects.get().last_used_at
    assert first is not None
    with django_assert_num_queries(1):  # type: ignore[operator]
        found = user_of_token(raw)
        assert found
        note_use(found[1])
    ApiToken.objects.update(last_used_at=first - timedelta(minutes=2))
    note_use(ApiToken.objects.get())
    last = ApiToken.objects.get().last_used_at
    assert last is not None
    assert last >= first


@pytest.mark.parametrize(
    ("name", "days", "field"),
    [
        *(("", 1, "name"), (" ", 1, "name"), ("x" * 101, 1, "name"), ("t\0", 1, "name")),
        *(("t", 0, "days"), ("t", 9999, "days")),
    ],
)
def test_nonsense_is_named(cast: Cast, name: str, days: int, field: str) -> None:
    with pytest.raises(Invalid) as refused:
        create_token(cast.viewer, name, days)
    assert list(refused.value.fields) == [field]


def test_the_command_prints_it_once(cast: Cast) -> None:
    out, hint = StringIO(), StringIO()
    call_command("createtoken", "viewer", "--name", "cron", "--days", "7", stdout=out, stderr=hint)
    raw = out.getvalue().strip()
    found = user_of_token(raw)
    assert found is not None
    assert (found[0], found[1].name) == (cast.viewer, "cron")
    assert "curl" in hint.getvalue()


@pytest.mark.parametrize(
    ("options", "kinds", "project"),
    [
        ((), None, None),
        (("--may", "read"), [], None),
        # As a script's variable that is not set: never more than was meant.
        (("--may", ""), [], None),
        (("--may", "domain.start, domain.shutdown", "--project", "shop"), ["domain.shutdown", "domain.start"], "shop"),
    ],
)
def test_the_command_limits_it(
    cast: Cast, options: tuple[str, ...], kinds: list[str] | None, project: str | None
) -> None:
    Project.objects.create(name="shop")
    call_command("createtoken", "viewer", *options, stdout=StringIO(), stderr=StringIO())
    token = ApiToken.objects.get()
    assert (token.kinds, token.project and token.project.name) == (kinds, project)


@pytest.mark.parametrize(
    ("options", "word"),
    [(("--may", "domain.fly"), "domain.fly"), (("--project", "shop"), "shop"), (("--project", ""), "no project")],
)
def test_the_command_takes_no_limit_that_is_none(cast: Cast, options: tuple[str, ...], word: str) -> None:
    with pytest.raises(CommandError, match=word):
        call_command("createtoken", "viewer", *options)
    assert not ApiToken.objects.exists()


def test_the_command_says_what_is_wrong(cast: Cast) -> None:
    cast.viewer.is_active = False
    cast.viewer.save()
    for name, word in (("nobody", "nobody named"), ("viewer", "deactivated")):
        with pytest.raises(CommandError, match=word):
            call_command("createtoken", name)
    with pytest.raises(CommandError, match="days"):
        call_command("createtoken", "owner", "--days", "0")

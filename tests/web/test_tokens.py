"""Tokens and service accounts on the pages: limits that are chosen, and a program that never signs in."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import lxml.html
import pytest
from allauth.mfa.models import Authenticator
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone

from tests.people import PASSWORD, Cast
from tests.services.shop import make_shop
from tests.web.conftest import Enter
from webvirt.models import ApiToken, AuditLine, AuditResult, LoginSession, PasswordLink, User
from webvirt.services import people, tokens
from webvirt.web import signin


def parsed(answer: Any) -> Any:
    return lxml.html.fromstring(answer.content)


def text_of(answer: Any) -> str:
    return " ".join(parsed(answer).text_content().split())


def test_limits_are_chosen_and_shown_in_words(cast: Cast, enter: Enter) -> None:
    shop, client = make_shop(cast.owner), enter("owner")
    page = parsed(client.get("/me/"))
    assert page.xpath("//details[contains(@class, 'limits-of-token')][not(@open)]")
    assert [one.get("value") for one in page.xpath("//input[@name='may'][@checked]")] == ["everything"]
    chosen = {"may": "chosen", "kinds": ["domain.start", "domain.shutdown"], "in": "shop"}
    for form in (
        {"token": "backup", "days": "30"},
        {"token": "graphs", "days": "30", "may": "reading", "kinds": ["domain.start"]},
        {"token": "night", "days": "30"} | chosen,
    ):
        assert client.post("/me/tokens/", form).status_code == 200
    found = [(token.name, token.kinds, token.project) for token in ApiToken.objects.order_by("pk")]
    assert found == [
        ("backup", None, None),
        ("graphs", [], None),
        ("night", ["domain.shutdown", "domain.start"], shop),
    ]
    rows = parsed(client.get("/me/")).xpath("//table[contains(@class, 'tokens')]/tbody/tr/td[2]")
    words = [" ".join(row.text_content().split()) for row in rows]
    assert words == ["2 verbsShut down · Start in the project shop", "reading only", "everything"]


@pytest.mark.parametrize(
    ("form", "sentence"),
    [
        ({"may": "chosen"}, "Tick at least one verb"),
        ({"may": "chosen", "kinds": ["domain.fly"]}, "There is no such verb: domain.fly"),
        ({"may": "chosen", "kinds": ["domain.start"], "in": "beside"}, "There is none of this name"),
    ],
)
def test_what_is_wrong_stands_in_the_open_fold(cast: Cast, enter: Enter, form: dict[str, Any], sentence: str) -> None:
    make_shop(cast.owner)
    answer = enter("owner").post("/me/tokens/", {"token": "night", "days": "30"} | form)
    assert answer.status_code == 400
    page = parsed(answer)
    (fold,) = page.xpath("//details[contains(@class, 'limits-of-token')][@open]")
    assert sentence in fold.text_content()
    assert page.xpath("//input[@name='token']/@value") == ["night"]
    assert not ApiToken.objects.exists()


def test_an_unknown_limit_is_the_narrowest(cast: Cast, enter: Enter) -> None:
    enter("owner").post("/me/tokens/", {"token": "t", "days": "30", "may": "all"})
    assert ApiToken.objects.get().kinds == []


# --- service accounts


@pytest.fixture
def robot(cast: Cast) -> User:
    return people.create_service("robot")


def test_a_service_account_from_its_page(cast: Cast, enter: Enter) -> None:
    client = enter("administrator")
    assert client.post("/people/services/add/", {"name": "ro bot"}).status_code == 400
    added = client.post("/people/services/add/", {"name": "robot"})
    page = added.headers["Location"]
    robot = User.objects.get(username="robot")
    assert page == f"/people/{robot.pk}/"
    assert (robot.is_service, robot.has_usable_password()) == (True, False)
    made = client.post(f"{page}tokens/", {"token": "ci", "days": "7", "may": "reading"})
    assert "wv_" in text_of(made)
    shown = text_of(client.get(page))
    assert "wv_" not in shown
    assert "reading only" in shown
    assert "service account" in shown
    assert "password" not in shown.lower()
    token = robot.api_tokens.get()
    assert client.post(f"/people/{cast.owner.pk}/tokens/{token.pk}/revoke/").status_code == 404
    assert client.post(f"{page}tokens/{token.pk}/revoke/").status_code == 302
    assert not robot.api_tokens.kept().exists()
    # People make theirs themselves.
    client.post(f"/people/{cast.owner.pk}/tokens/", {"token": "t", "days": "7"})
    assert not cast.owner.api_tokens.exists()


def test_the_list_tells_them_apart(cast: Cast, enter: Enter) -> None:
    client = enter("administrator")
    assert "No service accounts yet" in text_of(client.get("/people/?kind=services"))
    robot = people.create_service("robot")
    tokens.create_token(robot, "ci", 1)
    tokens.create_token(robot, "old", 1)
    ApiToken.objects.filter(name="old").update(revoked_at=timezone.now())

    def names(query: str) -> list[str]:
        page = parsed(client.get(f"/people/{query}"))
        return list(page.xpath("//tbody//a[contains(@class, 'main-link')]/text()"))

    assert names("?kind=services") == ["robot"]
    assert "robot" not in names("?kind=people")
    assert {"robot", "owner"} < set(names(""))
    (row,) = parsed(client.get("/people/?kind=services")).xpath("//tbody/tr")
    assert row.xpath("td[3]")[0].text_content() == "1"


def test_nobody_signs_in_with_it(cast: Cast, robot: User, enter: Enter, monkeypatch: pytest.MonkeyPatch) -> None:
    """By no way that there is, nor would it help to have got a password, a link or a passkey into the database."""
    administrator, page = enter("administrator"), f"/people/{robot.pk}/"
    for path, form in ((f"{page}password/", {"password": PASSWORD}), (f"{page}link/", {})):
        answer = administrator.post(path, form, follow=True)
        assert "nobody signs in with it" in text_of(answer), path
    with pytest.raises(CommandError, match="service account"):
        call_command("signinlink", "robot")
    robot.refresh_from_db()
    assert not robot.has_usable_password()
    assert not PasswordLink.objects.exists()
    robot.set_password(PASSWORD)
    robot.save()
    refused = Client().post("/login/", {"login": "robot", "password": PASSWORD}, follow=True)
    assert "nobody signs in with it" in text_of(refused)
    PasswordLink.objects.create(
        user=robot,
        digest=tokens.digest_of("x"),
        created_at=timezone.now(),
        expires_at=timezone.now().replace(year=2999),
    )
    assert Client().get("/link/x/").status_code == 404
    passkey = Authenticator(user=robot, type=Authenticator.Type.WEBAUTHN, pk=1)
    checked = SimpleNamespace(is_valid=lambda: True, cleaned_data={"credential": passkey})
    monkeypatch.setattr(signin, "PasskeyLoginForm", lambda data: checked)
    monkeypatch.setattr(Authenticator, "record_usage", lambda row: None)
    assert "nobody signs in with it" in text_of(Client().post("/login/passkey/", follow=True))
    assert not LoginSession.objects.filter(user=robot).exists()
    denied = AuditLine.objects.filter(event="person.sign_in", result=AuditResult.DENIED, name="robot")
    assert denied.count() == 2

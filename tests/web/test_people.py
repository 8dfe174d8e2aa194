"""Accounts and grants by administrators; the own profile; the first administrator."""

from __future__ import annotations

from io import StringIO

import pytest
from django.core import signing
from django.core.management import call_command
from django.test import Client

from tests.people import PASSWORD, Cast
from tests.web.conftest import Enter
from webvirt.models import ApiToken, Grant, Role, User
from webvirt.services import grants, people
from webvirt.services.operations import NotNow

NEW = "eleven green apples"


def test_only_administrators_come_in(cast: Cast, enter: Enter) -> None:
    for who in ("owner", "operator", "viewer", "stranger"):
        assert enter(who).get("/people/").status_code == 403
        assert enter(who).post(f"/people/{cast.viewer.pk}/active/").status_code == 403
    assert "/people/" not in enter("owner").get("/").content.decode()


def test_a_new_person_signs_in_and_sees_what_they_were_given(cast: Cast, enter: Enter) -> None:
    administrator = enter("administrator")
    administrator.post("/people/add/", {"name": "grace", "password": NEW})
    grace = User.objects.get(username="grace")
    client = Client()
    assert client.post("/login/", {"login": "grace", "password": NEW}).status_code == 302
    assert client.get(f"/vms/{cast.domain.pk}/").status_code == 404
    administrator.post(f"/people/{grace.pk}/grants/", {"role": "viewer", "scope": "domain", "name": cast.domain.name})
    assert client.get(f"/vms/{cast.domain.pk}/").status_code == 200
    administrator.post(f"/people/{grace.pk}/grants/{grace.grants.get().pk}/withdraw/")
    assert client.get(f"/vms/{cast.domain.pk}/").status_code == 404


def test_bad_input_keeps_what_was_typed_and_makes_nobody(cast: Cast, enter: Enter) -> None:
    client = enter("administrator")
    for form in (
        {"name": "grace", "password": "tooshort"},
        {"name": "ow ner", "password": NEW},
        {"name": "owner", "password": NEW},
    ):
        answer = client.post("/people/add/", form)
        assert answer.status_code == 400
        assert f'value="{form["name"]}"' in answer.content.decode()
        assert form["password"] not in answer.content.decode()
    assert not User.objects.filter(username="grace").exists()


@pytest.mark.parametrize(
    "form",
    [
        {"role": "king"},
        {"role": "999"},
        {"role": "viewer", "scope": "planet", "name": "alpha"},
        {"role": "viewer", "scope": "host", "name": "beta"},
        {"role": "viewer", "scope": "domain", "name": ""},
        {"role": "viewer", "scope": "domain", "name": "no such machine"},
        {"role": "viewer", "scope": "domain", "name": "beta/web-1"},
        {"role": "administrator", "scope": "domain", "name": "web-1"},
    ],
)
def test_wrong_grants(cast: Cast, enter: Enter, form: dict[str, str]) -> None:
    answer = enter("administrator").post(f"/people/{cast.stranger.pk}/grants/", form)
    assert answer.status_code == 400
    assert "invalid-feedback" in answer.content.decode()
    assert not cast.stranger.grants.exists()


def test_a_grant_belongs_to_the_person_in_the_address(cast: Cast, enter: Enter) -> None:
    grant = cast.owner.grants.get()
    answer = enter("administrator").post(f"/people/{cast.viewer.pk}/grants/{grant.pk}/withdraw/")
    assert answer.status_code == 404
    assert Grant.objects.filter(pk=grant.pk).exists()


def test_a_deactivated_person_is_out_at_once(cast: Cast, enter: Enter) -> None:
    client = enter("owner")
    enter("administrator").post(f"/people/{cast.owner.pk}/active/")
    assert client.get("/vms/").status_code == 302
    answer = Client().post("/login/", {"login": "owner", "password": PASSWORD}, follow=True)
    assert "Virtual machines" not in answer.content.decode()
    enter("administrator").post(f"/people/{cast.owner.pk}/active/", {"active": "on"})
    assert Client().post("/login/", {"login": "owner", "password": PASSWORD}).headers["Location"] == "/"


def test_a_new_password_ends_all_sessions(cast: Cast, enter: Enter) -> None:
    client = enter("owner")
    assert client.get("/vms/").status_code == 200
    enter("administrator").post(f"/people/{cast.owner.pk}/password/", {"password": NEW})
    assert client.get("/vms/").status_code == 302


def test_the_last_administrator_stays(cast: Cast, enter: Enter) -> None:
    client = enter("administrator")
    client.post(f"/people/{cast.administrator.pk}/active/")
    client.post(f"/people/{cast.administrator.pk}/grants/{cast.administrator.grants.get().pk}/withdraw/")
    client.post(f"/people/{cast.administrator.pk}/grants/", {"role": "viewer"})
    cast.administrator.refresh_from_db()
    assert cast.administrator.is_active
    assert cast.administrator.grants.get().role == Role.ADMINISTRATOR
    grants.give(cast.owner, "administrator")
    people.set_active(cast.administrator, active=False)
    with pytest.raises(NotNow):
        people.set_active(cast.owner, active=False)


def test_tokens_are_shown_once_and_revoked(cast: Cast, enter: Enter) -> None:
    client = enter("owner")
    answer = client.post("/me/tokens/", {"token": "backup", "days": "30"})
    secret = answer.context["secret"] if answer.context else ""
    text = answer.content.decode()
    assert "wv_" in text
    assert secret in text
    assert "wv_" not in client.get("/me/").content.decode()
    token = ApiToken.objects.get()
    assert enter("operator").post(f"/me/tokens/{token.pk}/revoke/").status_code == 404
    assert client.post(f"/me/tokens/{token.pk}/revoke/").status_code == 302
    assert not ApiToken.objects.kept().exists()
    wrong = client.post("/me/tokens/", {"token": "", "days": "30"})
    assert wrong.status_code == 400


def test_changing_the_own_password(cast: Cast, enter: Enter) -> None:
    client, elsewhere = enter("owner"), enter("owner")
    wrong = client.post("/me/password/", {"oldpassword": "no", "password1": NEW, "password2": NEW})
    assert wrong.status_code == 200
    assert "invalid-feedback" in wrong.content.decode()
    form = {"oldpassword": PASSWORD, "password1": NEW, "password2": NEW}
    assert client.post("/me/password/", form).headers["Location"] == "/me/"
    assert client.get("/me/").status_code == 200
    assert elsewhere.get("/me/").status_code == 302


def link() -> str:
    out = StringIO()
    call_command("setuplink", stdout=out, stderr=StringIO())
    return out.getvalue().strip()


def test_the_first_administrator(db: None) -> None:
    client = Client()
    address = link().partition("8000")[2]
    assert client.get(address).status_code == 200
    form = {"name": "ada", "password": NEW, "again": NEW}
    for wrong in ({"again": "x"}, {"password": "short", "again": "short"}, {"name": ""}):
        answer = client.post(address, form | wrong)
        assert answer.status_code == 400, wrong
        assert "invalid-feedback" in answer.content.decode()
    assert client.post(address, form).headers["Location"] == "/"
    assert client.get("/people/").status_code == 200
    assert link() == ""
    assert Client().get(address).headers["Location"] == "/login/"
    Client().post(address, form | {"name": "mallory"})
    assert [user.username for user in User.objects.all()] == ["ada"]


def test_a_made_up_setup_link_is_nothing(db: None) -> None:
    for token in ("x", signing.dumps("x"), signing.dumps("x", salt="other")):
        assert Client().get(f"/setup/{token}/").status_code == 404

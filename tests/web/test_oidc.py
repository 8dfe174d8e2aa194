"""Signing in by OpenID Connect: the whole code flow with a provider on loopback, and what must not be believed."""

from __future__ import annotations

import html
import re
import sys
import time
import urllib.request
from collections.abc import Iterator
from functools import partial
from http.client import HTTPMessage
from pathlib import Path
from typing import IO, Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.conf import settings as django_settings
from django.contrib.auth.models import Group
from django.test import Client
from joserfc import jwt
from joserfc.jwk import RSAKey

from tests.directory import make_authority
from tests.people import PASSWORD, Cast
from tests.provider import Provider, running_provider, signed_with
from tests.web.conftest import Enter
from webvirt.models import AuditLine, AuditResult, Grant, Identity, Role, Source, User
from webvirt.services import directories, links, people
from webvirt.services.operations import Invalid, NotNow
from webvirt.web.provider import client_made


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provider]:
    with running_provider(tmp_path_factory.mktemp("provider")) as provider:
        yield provider


@pytest.fixture
def provider(running: Provider, settings: Any) -> Provider:
    running.reset()
    # What is known of a provider is kept for a while.
    client_made.cache_clear()
    for name, value in running.settings().items():
        setattr(settings, name, value)
    return running


class NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> None:
        """The test goes on by itself."""


def begin(client: Client, going_to: str = "") -> str:
    """Where the page leads that the button gives."""
    answer = client.post("/login/oidc/", {"next": going_to})
    assert answer.status_code == 200, answer.headers
    text = answer.content.decode()
    found = re.search(r'http-equiv="refresh" content="0; url=([^"]+)"', text)
    assert found
    assert f'href="{found[1]}"' in text
    return html.unescape(found[1])


def back_from(address: str) -> str:
    """Where the provider sends the browser back to, as the front hands it on."""
    opener = urllib.request.build_opener(NoRedirect)
    with pytest.raises(urllib.error.HTTPError) as sent:
        opener.open(address)
    location = sent.value.headers["Location"]
    sent.value.close()
    assert location.startswith(f"{django_settings.WEBVIRT_PUBLIC_URL}/login/oidc/done/?")
    return str(location.removeprefix(django_settings.WEBVIRT_PUBLIC_URL))


def sign_in(client: Client, going_to: str = "") -> Any:
    return client.get(back_from(begin(client, going_to)))


def is_in(client: Client) -> bool:
    return client.get("/me/").status_code == 200


def told(client: Client) -> str:
    """What the sign-in page says."""
    return re.sub(r"\s+", " ", html.unescape(client.get("/login/").content.decode()))


def named(group: str, *names: str) -> Group:
    found = Group.objects.create(name=group)
    directories.keep_names(found, names)
    return found


def lines(event: str) -> list[tuple[str, str, str, str]]:
    found = AuditLine.objects.filter(event=event).order_by("number")
    return [(line.result, line.actor, line.name, line.details) for line in found]


# --- coming in


def test_the_groups_of_the_claim_are_what_a_person_is_in_here(cast: Cast, provider: Provider) -> None:
    team = named("team", "staff", "/other")
    named("elsewhere", "Staff")
    by_hand = Group.objects.create(name="by hand")
    Grant.objects.create(group=team, role=Role.VIEWER, domain=cast.domain)
    provider.who["groups"] = ["staff", "unknown here"]
    client = Client()
    assert sign_in(client, f"/vms/{cast.domain.pk}/").headers["Location"] == f"/vms/{cast.domain.pk}/"
    assert client.get(f"/vms/{cast.domain.pk}/").status_code == 200
    ada = User.objects.get(username="ada")
    assert [group.name for group in ada.groups.all()] == ["team"]
    ada.groups.add(by_hand)

    provider.who["groups"] = []
    other = Client()
    sign_in(other)
    assert [group.name for group in ada.groups.all()] == ["by hand"]
    assert client.get(f"/vms/{cast.domain.pk}/").status_code == 404
    assert User.objects.filter(username="ada").count() == 1
    assert [line[:3] for line in lines("person.create")] == [("done", "OpenID Connect", "ada")]
    assert lines("group.put_in") == [("done", "OpenID Connect", "ada", '{"group":"team"}')]
    assert lines("group.take_out") == [("done", "OpenID Connect", "ada", '{"group":"team"}')]
    assert lines("person.sign_in") == [("done", "ada", "ada", '{"by":"OpenID Connect"}')] * 2


def test_without_a_group_nothing_is_to_be_seen(cast: Cast, provider: Provider) -> None:
    client = Client()
    sign_in(client)
    assert is_in(client)
    for path in (f"/vms/{cast.domain.pk}/", f"/hosts/{cast.host.pk}/"):
        assert client.get(path).status_code == 404
    assert client.get("/people/").status_code == 403


def test_the_user_info_is_asked_where_the_token_says_nothing_of_groups(cast: Cast, provider: Provider) -> None:
    named("team", "staff")
    provider.told["groups"] = None
    provider.info = {"groups": "staff"}
    sign_in(Client())
    assert User.objects.get(username="ada").groups.count() == 1
    provider.info = {"groups": "staff", "sub": "somebody else"}
    client = Client()
    sign_in(client)
    assert "does not hold" in told(client)


def test_what_is_asked_of_the_provider(cast: Cast, provider: Provider, settings: Any) -> None:
    settings.WEBVIRT_PUBLIC_URL = "https://example.org/webvirt"
    address = begin(Client())
    query = {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}
    assert query["redirect_uri"] == "https://example.org/webvirt/login/oidc/done/"
    assert query["scope"] == "openid profile email groups"
    assert (query["response_type"], query["code_challenge_method"]) == ("code", "S256")
    assert len(query["state"]) >= 20
    assert len(query["nonce"]) >= 20
    other = {name: values[0] for name, values in parse_qs(urlsplit(begin(Client())).query).items()}
    assert all(other[name] != query[name] for name in ("state", "nonce", "code_challenge"))
    provider.metadata["scopes_supported"] = ["openid"]
    client_made.cache_clear()
    assert "groups" not in begin(Client())


@pytest.mark.parametrize(
    "target", ["//evil.example/", "https://evil.example/", "/\\evil.example", "javascript:alert(1)"]
)
def test_it_leads_nowhere_else(cast: Cast, provider: Provider, target: str) -> None:
    assert sign_in(Client(), target).headers["Location"] == "/"


def test_nothing_begins_by_a_link_and_nothing_is_there_where_no_provider_is(cast: Cast, settings: Any) -> None:
    assert Client().post("/login/oidc/").status_code == 404
    assert Client().get("/login/oidc/done/").status_code == 404
    assert "Sign in with" not in told(Client())
    settings.WEBVIRT_OIDC_ISSUER = "http://127.0.0.1:1"
    settings.WEBVIRT_OIDC_NAME = "<Acme>"
    assert Client().get("/login/oidc/").status_code == 405
    assert Client().post("/login/oidc/done/").status_code == 405
    assert "Sign in with &lt;Acme&gt;" in Client().get("/login/").content.decode()


def test_another_site_cannot_send_the_form(cast: Cast, provider: Provider) -> None:
    assert Client(enforce_csrf_checks=True).post("/login/oidc/").status_code == 403


def test_who_is_signed_in_stays_who_they_are(cast: Cast, provider: Provider, enter: Enter) -> None:
    client = enter("viewer")
    assert client.post("/login/oidc/").headers["Location"] == "/"
    other = Client()
    address = back_from(begin(other))
    assert client.get(address).headers["Location"] == "/"
    assert "viewer" in client.get("/me/").content.decode()


# --- what must not be believed


def test_a_state_of_another_browser_or_of_nobody(cast: Cast, provider: Provider) -> None:
    mine, theirs = Client(), Client()
    address = back_from(begin(theirs))
    begin(mine)
    for path in (
        address,
        re.sub("state=[^&]+", "state=made-up", address),
        "/login/oidc/done/",
        "/login/oidc/done/?code=x",
    ):
        assert mine.get(path).headers["Location"] == "/login/"
        assert "begun in another browser" in told(mine)
        assert not is_in(mine)
    assert theirs.get(address).headers["Location"] == "/"
    # Once alone: whoever finds the address in a history has nothing.
    assert Client().get(address).headers["Location"] == "/login/"
    assert lines("person.sign_in") == [("done", "ada", "ada", '{"by":"OpenID Connect"}')]


def wrong_signature(provider: Provider) -> None:
    other = RSAKey.generate_key(2048, {"kid": "one"})
    provider.sign = lambda claims: jwt.encode({"alg": "RS256", "kid": "one"}, claims, other)


def unsigned(provider: Provider) -> None:
    provider.sign = partial(signed_with, b"")
    provider.metadata["id_token_signing_alg_values_supported"] = ["RS256", "none"]


def signed_with_what_everybody_has(provider: Provider) -> None:
    provider.sign = partial(signed_with, provider.key.as_pem(private=False))
    provider.metadata["id_token_signing_alg_values_supported"] = ["RS256", "HS256"]


TWISTED: dict[str, Any] = {
    "another nonce": {"nonce": "another"},
    "no nonce": {"nonce": None},
    "another audience": {"aud": "another"},
    "for another, by us": {"aud": "another", "azp": "webvirt"},
    "for several, by another": {"aud": ["webvirt", "another"], "azp": "another"},
    "no audience": {"aud": None},
    "another issuer": {"iss": "https://evil.example"},
    "expired": {"exp": int(time.time()) - 3600},
    "never expires": {"exp": None},
    "from the future": {"iat": int(time.time()) + 3600},
    "nobody": {"sub": None},
    "no text": {"sub": 5},
    "too long": {"sub": "x" * 256},
    "groups that are none": {"groups": {"admins": True}},
    "more groups than it says": {"groups": None, "_claim_names": {"groups": "src1"}},
    "wrong signature": wrong_signature,
    "unsigned": unsigned,
    "signed with the public key": signed_with_what_everybody_has,
}


@pytest.mark.parametrize("twist", TWISTED)
def test_a_token_that_is_not_right(cast: Cast, provider: Provider, twist: str) -> None:
    how = TWISTED[twist]
    provider.told = how if isinstance(how, dict) else {}
    if callable(how):
        how(provider)
    client = Client()
    assert sign_in(client).headers["Location"] == "/login/"
    assert "What Acme says of you does not hold" in told(client)
    assert not is_in(client)
    assert not Identity.objects.exists()
    (line,) = lines("person.sign_in")
    assert line[0] == AuditResult.DENIED


def test_a_provider_that_nobody_vouches_for_is_told_nothing(
    cast: Cast, settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # For whoever sets it, it goes before what the machine trusts.
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    monkeypatch.delenv("CURL_CA_BUNDLE", raising=False)
    make_authority(tmp_path)
    client = Client()
    with running_provider(tmp_path, (tmp_path / "cert.pem", tmp_path / "key.pem")) as provider:
        for name, value in provider.settings().items():
            setattr(settings, name, value)
        assert client.post("/login/oidc/").headers["Location"] == "/login/"
        assert "Acme cannot be asked" in told(client)
        assert provider.asked == []
        settings.SYSTEM_AUTHORITIES = str(tmp_path / "ca.pem")
        assert begin(client).startswith(provider.issuer)


def test_a_provider_that_calls_itself_otherwise(cast: Cast, provider: Provider, settings: Any) -> None:
    settings.WEBVIRT_OIDC_ISSUER = provider.issuer + "/"
    client = Client()
    assert client.post("/login/oidc/").headers["Location"] == "/login/"
    assert "Acme cannot be asked" in told(client)


def test_who_tries_often_has_to_wait(cast: Cast, provider: Provider) -> None:
    provider.told = {"nonce": "another"}
    for _ in range(10):
        sign_in(Client())
    provider.told = {}
    client = Client()
    sign_in(client)
    assert "Too many wrong tries" in told(client)
    assert not is_in(client)


# --- whose account it is


@pytest.mark.parametrize("name", ["owner", "OWNER", "ｏｗｎｅｒ", "Owner"])
def test_an_account_that_is_kept_here_is_never_theirs(cast: Cast, provider: Provider, name: str) -> None:
    provider.who["preferred_username"] = name
    client = Client()
    sign_in(client)
    assert "The name owner belongs to another account here" in told(client)
    assert not is_in(client)
    (line,) = lines("person.sign_in")
    assert line[:2] == (AuditResult.DENIED, "")
    assert "an account that is kept here has this name" in line[3]
    assert not Identity.objects.exists()


def test_the_subject_counts_and_not_the_name(cast: Cast, provider: Provider, settings: Any) -> None:
    sign_in(Client())
    ada = User.objects.get(username="ada")
    provider.who["preferred_username"] = "ada.lovelace"
    client = Client()
    sign_in(client)
    assert client.get("/api/v1/me").json()["id"] == ada.pk

    provider.who = {"sub": "another", "preferred_username": "Ada"}
    client = Client()
    sign_in(client)
    assert not is_in(client)
    assert "belongs to another account" in told(client)
    Identity.objects.update(issuer="https://before.example")
    provider.who = {"sub": "0-ada", "preferred_username": "ada"}
    client = Client()
    sign_in(client)
    assert not is_in(client)
    Identity.objects.update(issuer=provider.issuer, source=Source.LDAP)
    sign_in(client)
    assert not is_in(client)
    with pytest.raises(Invalid):
        people.create("ADA", PASSWORD)


@pytest.mark.parametrize(
    ("claims", "name"),
    [
        ({"email": "ada@example.org"}, "ada@example.org"),
        ({"preferred_username": "", "email": "ada@example.org"}, "ada@example.org"),
        ({}, "7f3a"),
        ({"preferred_username": "Ada Lovelace"}, None),
        ({"preferred_username": "x" * 151}, None),
    ],
)
def test_what_the_account_is_called(cast: Cast, provider: Provider, claims: dict[str, str], name: str | None) -> None:
    provider.who = {"sub": "7f3a"} | claims
    client = Client()
    sign_in(client)
    assert is_in(client) == (name is not None)
    assert [row.user.username for row in Identity.objects.all()] == ([name] if name else [])
    assert name or "No account can be named" in told(client)


def test_who_is_deactivated_stays_so(cast: Cast, provider: Provider) -> None:
    named("team", "staff")
    sign_in(Client())
    ada = User.objects.get(username="ada")
    people.set_active(ada, active=False)
    provider.who["groups"] = ["staff"]
    client = Client()
    sign_in(client)
    assert "This account is deactivated" in told(client)
    assert not is_in(client)
    assert not ada.groups.exists()


def test_the_last_administrator_stays_one(cast: Cast, provider: Provider) -> None:
    admins = named("admins", "root")
    Grant.objects.create(group=admins, role=Role.ADMINISTRATOR)
    provider.who["groups"] = ["root"]
    sign_in(Client())
    Grant.objects.filter(user=cast.administrator).delete()
    provider.who["groups"] = []
    client = Client()
    sign_in(client)
    page = html.unescape(client.get("/people/").content.decode())
    assert "You stay in it: you are the last administrator." in page
    assert lines("group.take_out")[0][0] == AuditResult.DENIED
    Grant.objects.create(user=cast.administrator, role=Role.ADMINISTRATOR)
    sign_in(Client())
    assert client.get("/people/").status_code == 403


def test_no_password_of_it_is_here(cast: Cast, provider: Provider, enter: Enter) -> None:
    client = Client()
    sign_in(client)
    ada = User.objects.get(username="ada")
    assert not ada.has_usable_password()
    with pytest.raises(NotNow, match="OpenID Connect"):
        links.make(ada)
    administrator = enter("administrator")
    for path in (f"/people/{ada.pk}/password/", f"/people/{ada.pk}/link/"):
        administrator.post(path, {"password": "eleven green apples"})
    ada.refresh_from_db()
    assert not ada.has_usable_password()
    page = administrator.get(f"/people/{ada.pk}/").content.decode()
    assert "none can be chosen by a link" in page
    assert provider.issuer in page
    assert 'name="password"' not in page
    for path in ("/me/password/", "/me/factors/", "/me/factors/add/"):
        assert client.get(path).status_code == 403
    assert "your password is kept there" in client.get("/me/").content.decode()
    assert "OpenID Connect" in administrator.get("/people/").content.decode()
    shown = {one["username"]: one["source"] for one in administrator.get("/api/v1/people").json()["items"]}
    assert (shown["ada"], shown["owner"]) == ("oidc", "local")


def test_a_second_factor_is_the_providers_part(cast: Cast, provider: Provider, settings: Any) -> None:
    settings.WEBVIRT_SECOND_FACTOR = "everybody"
    client = Client()
    assert sign_in(client).headers["Location"] == "/"
    assert is_in(client)
    assert "the provider there asks for a second factor" in client.get("/me/").content.decode()


# --- when it does not work


def local_sign_in_works() -> None:
    client = Client()
    client.post("/login/", {"login": "owner", "password": PASSWORD})
    assert is_in(client)


def away(provider: Provider, settings: Any) -> None:
    settings.WEBVIRT_OIDC_ISSUER = "http://127.0.0.1:1"


def broken(provider: Provider, settings: Any) -> None:
    provider.is_broken = True


def nonsense(provider: Provider, settings: Any) -> None:
    provider.metadata = {"issuer": None, "authorization_endpoint": 7}


@pytest.mark.parametrize("how", [away, broken, nonsense])
def test_a_provider_that_is_away_is_said_so(cast: Cast, provider: Provider, settings: Any, how: Any) -> None:
    how(provider, settings)
    client = Client()
    assert client.post("/login/oidc/").headers["Location"] == "/login/"
    assert "Acme cannot be asked at the moment. Accounts that are kept here work all the same." in told(client)
    local_sign_in_works()


def test_a_provider_that_hangs_is_given_up(cast: Cast, provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    client = Client()
    address = back_from(begin(client))
    monkeypatch.setattr("webvirt.web.provider.SECONDS", (1, 1))
    provider.hang()
    client_made.cache_clear()
    for ask in (partial(client.get, address), partial(client.post, "/login/oidc/")):
        assert ask().headers["Location"] == "/login/"
        assert "Acme cannot be asked" in told(client)
    assert not provider.released.is_set()
    local_sign_in_works()


def test_who_refuses_there_is_not_in_and_nothing_of_it_is_repeated(cast: Cast, provider: Provider) -> None:
    client = Client()
    state = parse_qs(urlsplit(begin(client)).query)["state"][0]
    client.get("/login/oidc/done/", {"error": "access_denied", "state": state})
    assert "it was refused or cancelled at Acme" in told(client)
    assert lines("person.sign_in")[0][0] == AuditResult.DENIED
    client.get("/login/oidc/done/", {"error": "<b>server_error", "error_description": "call 555-EVIL"})
    page = told(client)
    assert "Acme does not let you sign in" in page
    assert "server_error" not in page
    assert "EVIL" not in page
    assert len(lines("person.sign_in")) == 1


def test_without_its_library_accounts_that_are_kept_here_sign_in(
    cast: Cast, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] in ("authlib", "joserfc", "requests")]:
        monkeypatch.setitem(sys.modules, name, None)
    for name in ("authlib", "authlib.common.errors"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, "webvirt.web.provider", raising=False)
    client = Client()
    client.post("/login/oidc/")
    assert "Acme does not work here at the moment" in told(client)
    local_sign_in_works()


def test_no_secret_of_it_is_told(
    cast: Cast, provider: Provider, enter: Enter, caplog: pytest.LogCaptureFixture
) -> None:
    provider.told = {"nonce": "another"}
    sign_in(Client())
    secret = Path(provider.secret_file).read_text()
    told_of = (
        caplog.text + str(list(AuditLine.objects.values())) + enter("administrator").get("/audit/").content.decode()
    )
    assert "OpenID Connect" in told_of
    assert secret not in told_of

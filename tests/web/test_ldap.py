"""Signing in with a password of an LDAP directory: a real slapd on loopback, and all that may go wrong with it."""

from __future__ import annotations

import html
import re
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import ldap
import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.webauthn.forms import LoginWebAuthnForm
from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import Group
from django.test import Client
from ldap.cidict import cidict

from tests.directory import ASKER, ASKS_WITH, GROUPS, OPEN, PEOPLE, Slapd
from tests.people import PASSWORD, Cast
from tests.stack import PROJECT
from tests.web.conftest import Enter
from tests.web.test_signin import use_password
from webvirt.models import AuditLine, AuditResult, Grant, Identity, LoginSession, Role, Source, User
from webvirt.services import directories, guessing, ldapchild, ldapdirectory, people

SECRET = "nine yellow pears"
BOTH = ["allauth.account.auth_backends.AuthenticationBackend", "webvirt.web.directories.LdapBackend"]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slapd]:
    slapd = Slapd(tmp_path_factory.mktemp("slapd"))
    slapd.start()
    yield slapd
    slapd.stop()


@pytest.fixture
def slapd(running: Slapd, cast: Cast, settings: Any) -> Slapd:
    """With nobody in it but `ada`, and webvirt set to ask it."""
    running.empty()
    running.person("ada", SECRET)
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    use_password(cast, make_password(PASSWORD))
    settings.AUTHENTICATION_BACKENDS = BOTH
    for name, value in running.settings().items():
        setattr(settings, name, value)
    return running


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names that the directory was asked for."""
    names: list[str] = []
    original = ldapdirectory.person

    def person(name: str, password: str) -> Any:
        names.append(name)
        return original(name, password)

    monkeypatch.setattr(ldapdirectory, "person", person)
    return names


def sign_in(name: str, password: str = SECRET, **more: Any) -> tuple[Client, str]:
    """A browser, and what the page says."""
    client = Client()
    answer = client.post("/login/", {"login": name, "password": password}, **more)
    return client, re.sub(r"\s+", " ", html.unescape(answer.content.decode()))


def is_in(client: Client) -> bool:
    return client.get("/me/").status_code == 200


def named(group: str, *names: str) -> Group:
    found = Group.objects.create(name=group)
    directories.keep_names(found, names)
    return found


def groups_of(name: str = "ada") -> list[str]:
    return sorted(User.objects.get(username=name).groups.values_list("name", flat=True))


def lines(event: str) -> list[tuple[str, str, str, str]]:
    found = AuditLine.objects.filter(event=event).order_by("number")
    return [(line.result, line.actor, line.name, line.details) for line in found]


# --- coming in


def test_name_and_password_sign_in_and_make_an_account_that_may_do_nothing(slapd: Slapd, cast: Cast) -> None:
    client, _said = sign_in("ada")
    assert is_in(client)
    assert client.get(f"/vms/{cast.domain.pk}/").status_code == 404
    ada = User.objects.get(username="ada")
    assert not ada.has_usable_password()
    assert (ada.identity.source, ada.identity.subject[:5]) == (Source.LDAP, "uuid:")
    assert LoginSession.objects.filter(user=ada).count() == 1
    assert [line[:3] for line in lines("person.create")] == [("done", "LDAP", "ada")]
    assert lines("person.sign_in") == [("done", "ada", "ada", '{"by":"LDAP"}')]
    assert is_in(sign_in("ADA")[0])
    assert Identity.objects.count() == 1


@pytest.mark.parametrize("password", ["wrong", " ", "*", SECRET.upper(), PASSWORD])
def test_a_wrong_password(slapd: Slapd, password: str) -> None:
    client, said = sign_in("ada", password)
    assert not is_in(client)
    assert "not correct" in said
    assert [line[0] for line in lines("person.sign_in")] == ["denied"]
    assert not Identity.objects.exists()


def test_an_empty_password_is_never_sent(slapd: Slapd) -> None:
    """The server lets somebody in with it: nobody in particular."""
    link = ldap.initialize(slapd.plain)
    link.simple_bind_s(f"uid=ada,{PEOPLE}", "")
    assert link.whoami_s() == ""
    entry = ldapchild.Entry(f"uid=ada,{PEOPLE}", cidict({}))
    assert not ldapchild.is_right(link, entry, "")
    link.unbind_s()
    assert not is_in(sign_in("ada", "")[0])


def test_groups_by_dn_by_cn_and_as_unix_has_them(slapd: Slapd, cast: Cast) -> None:
    ada = f"uid=ada,{PEOPLE}"
    admins = slapd.group("Staff, all", ada)
    slapd.add(f"cn=unix,{GROUPS}", "posixGroup", gidNumber="7", memberUid=["ada", "bob"])
    slapd.add(f"cn=names,{GROUPS}", "groupOfUniqueNames", uniqueMember=ada)
    slapd.group("others")
    team = named("by dn", f"CN = Staff\\2C all , {GROUPS.upper()}")
    Grant.objects.create(group=team, role=Role.VIEWER, domain=cast.domain)
    named("by cn", "staff,  ALL")
    named("unix", "nothing", "unix")
    named("unique", f"cn=names,{GROUPS}")
    named("not", "others", f"cn=staff\\, all,{PEOPLE}", "staff")
    Group.objects.create(name="without names")
    client, _said = sign_in("ada")
    assert groups_of() == ["by cn", "by dn", "unique", "unix"]
    assert client.get(f"/vms/{cast.domain.pk}/").status_code == 200

    slapd.change(admins, member=ASKER)
    sign_in("ada")
    assert groups_of() == ["unique", "unix"]
    assert client.get(f"/vms/{cast.domain.pk}/").status_code == 404
    assert [line[2:] for line in lines("group.take_out")] == [
        ("ada", '{"group":"by dn"}'),
        ("ada", '{"group":"by cn"}'),
    ]


def test_a_group_that_is_called_like_the_dn_of_another(slapd: Slapd) -> None:
    """Whoever may make groups in some corner of the tree names theirs so."""
    admins = slapd.group("admins")
    slapd.add("cn=corner,ou=groups,dc=example,dc=org", "groupOfNames", member=f"uid=ada,{PEOPLE}", description="x")
    slapd.change(f"cn=corner,{GROUPS}", cn=["corner", admins])
    named("admins", admins)
    sign_in("ada")
    assert groups_of() == []
    named("corner", "corner")
    sign_in("ada")
    assert groups_of() == ["corner"]


def test_as_active_directory_has_it(slapd: Slapd) -> None:
    guid = UUID("12345678-1234-5678-1234-567812345678")
    bob = slapd.person("4711", SECRET, objectGUID=guid.bytes_le, sAMAccountName="Bob.Hope")
    slapd.group("staff", bob)
    named("staff", "Staff")
    client, _said = sign_in("bob.hope")
    assert is_in(client)
    assert groups_of("Bob.Hope") == ["staff"]
    entry = ldapchild.Entry("cn=x", cidict({"objectGUID": [guid.bytes_le]}))
    assert entry.subject == f"guid:{guid}"
    assert ldapchild.Entry("CN = Bob  Hope , dc=X", cidict({})).subject == "dn:cn=bob hope,dc=x"


def test_where_nobody_in_particular_may_ask(slapd: Slapd, settings: Any) -> None:
    slapd.person("eve", SECRET, base=OPEN)
    slapd.group("open", f"uid=eve,{OPEN}", base=OPEN)
    named("open", f"cn=open,{OPEN}")
    settings.WEBVIRT_LDAP_BIND_DN = settings.WEBVIRT_LDAP_BIND_PASSWORD_FILE = ""
    settings.WEBVIRT_LDAP_PEOPLE_BASE = settings.WEBVIRT_LDAP_GROUPS_BASE = OPEN
    assert is_in(sign_in("eve")[0])
    assert groups_of("eve") == ["open"]
    assert not is_in(sign_in("eve", "wrong")[0])


@pytest.mark.parametrize(
    "name", ["*", "ad*", "ada)(uid=*", "ada))(|(uid=*", "ada\\2a", "ada ", "a da", "a\N{SOFT HYPHEN}da", "\\00"]
)
def test_a_name_is_a_name(slapd: Slapd, name: str) -> None:
    client, _said = sign_in(name)
    # The form takes off the space around it.
    assert is_in(client) == (name == "ada ")
    found = ldapdirectory.answer_of(ldapdirectory.question(slapd.secure, name, SECRET))
    assert found.right == (name == "ada ")
    assert not found.trouble


def test_two_entries_of_a_name_are_nobody(slapd: Slapd) -> None:
    slapd.person("eve", SECRET, sAMAccountName="ada")
    slapd.person("eva", SECRET, sAMAccountName="ada")
    assert not is_in(sign_in("ada")[0])


# --- the way there


@pytest.mark.parametrize("how", ["secure", "STARTTLS", "plain"])
def test_encrypted_and_on_this_machine_plain(
    slapd: Slapd, settings: Any, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.WEBVIRT_LDAP_URL = (slapd.secure if how == "secure" else slapd.plain,)
    if how == "plain":
        settings.WEBVIRT_LDAP_CA_FILE = settings.SYSTEM_AUTHORITIES
    assert is_in(sign_in("ada")[0])
    question = ldapdirectory.question("ldap://ldap.example.org", "ada", SECRET)
    assert question.encrypted


@pytest.mark.parametrize("how", ["secure", "STARTTLS"])
def test_a_server_that_nobody_vouches_for_gets_nothing(slapd: Slapd, settings: Any, tmp_path: Path, how: str) -> None:
    settings.WEBVIRT_LDAP_URL = (slapd.secure if how == "secure" else slapd.plain,)
    settings.WEBVIRT_LDAP_CA_FILE = str(tmp_path / "other.pem")
    (tmp_path / "other.pem").write_text(Path("/etc/ssl/certs/ca-certificates.crt").read_text())
    client, said = sign_in("ada")
    assert not is_in(client)
    assert "The directory cannot be asked at the moment" in said


def stopped(slapd: Slapd) -> Callable[[], None]:
    slapd.stop()
    return slapd.start


def frozen(slapd: Slapd) -> Callable[[], None]:
    slapd.freeze()
    return slapd.thaw


@pytest.mark.parametrize("how", [stopped, frozen])
@pytest.mark.parametrize("way", ["secure", "plain"])
def test_a_server_that_is_away_or_hangs_is_passed_over(
    slapd: Slapd,
    running: Slapd,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    asked: list[str],
    how: Callable[[Slapd], Callable[[], None]],
    way: str,
) -> None:
    settings.WEBVIRT_LDAP_URL = (getattr(slapd, way),)
    monkeypatch.setattr(ldapdirectory, "SECONDS", 2)
    after = how(slapd)
    # If it is not given up, this ends the test, which then fails.
    thawed = threading.Event()

    def rescue_test() -> None:
        thawed.set()
        slapd.thaw()

    rescue = threading.Timer(60, rescue_test)
    rescue.start()
    try:
        client, said = sign_in("ada")
        assert not is_in(client)
        assert "The directory cannot be asked at the moment. Accounts that are kept here work all the same." in said
        assert lines("person.sign_in")[0][0] == AuditResult.DENIED
        for name in ("owner", "OWNER"):
            assert is_in(sign_in(name, PASSWORD)[0])
            assert not is_in(sign_in(name, "wrong")[0])
        assert asked == ["ada"]
    finally:
        rescue.cancel()
        after()
    assert not thawed.is_set()


def test_the_next_server_is_asked(slapd: Slapd, settings: Any) -> None:
    settings.WEBVIRT_LDAP_URL = ("ldaps://127.0.0.1:1", slapd.secure)
    assert is_in(sign_in("ada")[0])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("WEBVIRT_LDAP_BIND_DN", f"cn=nobody,{PEOPLE}"),
        ("WEBVIRT_LDAP_BIND_PASSWORD_FILE", "/nowhere"),
        ("WEBVIRT_LDAP_PEOPLE_BASE", "ou=nowhere,dc=example,dc=org"),
        ("WEBVIRT_LDAP_GROUPS_BASE", "ou=nowhere,dc=example,dc=org"),
        ("WEBVIRT_LDAP_PERSON_FILTER", "(uid={name}"),
    ],
)
def test_settings_that_do_not_fit_let_nobody_in(
    slapd: Slapd, settings: Any, caplog: pytest.LogCaptureFixture, name: str, value: str
) -> None:
    setattr(settings, name, value)
    client, said = sign_in("ada")
    assert not is_in(client)
    assert "The directory cannot be asked" in said
    assert slapd.secure in caplog.text
    for secret in (SECRET, ASKS_WITH):
        assert secret not in caplog.text
        assert secret not in str(list(AuditLine.objects.values()))


def test_without_its_library_accounts_that_are_kept_here_sign_in(
    slapd: Slapd, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    hidden = "import runpy, sys; sys.modules['ldap'] = None; runpy.run_module('webvirt.services.ldapchild')"
    monkeypatch.setattr(ldapdirectory, "CHILD", (sys.executable, "-c", hidden))
    client, said = sign_in("ada")
    assert not is_in(client)
    assert "The directory cannot be asked" in said
    assert "ModuleNotFoundError" in caplog.text
    assert is_in(sign_in("owner", PASSWORD)[0])


# --- whose account it is


@pytest.mark.parametrize("name", ["owner", "OWNER", "ｏｗｎｅｒ"])
def test_for_a_name_that_is_kept_here_the_directory_is_not_asked(slapd: Slapd, asked: list[str], name: str) -> None:
    slapd.person("owner", SECRET)
    assert not is_in(sign_in(name)[0])
    assert asked == []
    assert is_in(sign_in("owner", PASSWORD)[0])
    assert not Identity.objects.exists()


def test_an_account_that_is_kept_here_is_never_theirs_by_another_name_either(slapd: Slapd, settings: Any) -> None:
    slapd.person("owner", SECRET, mail="boss@example.org")
    settings.WEBVIRT_LDAP_PERSON_FILTER = "(|(uid={name})(mail={name}))"
    client, said = sign_in("boss@example.org")
    assert not is_in(client)
    assert "The name owner belongs to another account here" in said
    assert lines("person.sign_in")[0][:3] == ("denied", "", "owner")
    assert not Identity.objects.exists()
    assert "belongs to another" not in sign_in("boss@example.org", "wrong")[1]


def test_an_account_of_openid_connect_is_never_theirs(slapd: Slapd) -> None:
    other = people.create("Ada", None)
    Identity.objects.create(user=other, source=Source.OIDC, issuer="https://x.example", subject="1")
    client, said = sign_in("ada")
    assert not is_in(client)
    assert "The name Ada belongs to another account here" in said


def test_another_name_is_the_same_person_and_another_entry_is_not(slapd: Slapd) -> None:
    sign_in("ada")
    pk = User.objects.get(username="ada").pk
    link = slapd.as_root()
    link.rename_s(f"uid=ada,{PEOPLE}", "uid=lovelace")
    client, _said = sign_in("lovelace")
    assert client.get("/api/v1/me").json()["id"] == pk
    slapd.person("ada", SECRET)
    client, said = sign_in("ada")
    assert not is_in(client)
    assert "belongs to another account" in said
    link.unbind_s()


def test_who_is_deactivated_stays_so(slapd: Slapd) -> None:
    sign_in("ada")
    people.set_active(User.objects.get(username="ada"), active=False)
    client, _said = sign_in("ada")
    assert not is_in(client)
    assert "This account is deactivated" in html.unescape(client.get("/login/").content.decode())


# --- limits, and the second factor


def test_guesses_are_counted_for_its_names_as_well(slapd: Slapd, asked: list[str]) -> None:
    for number in range(30):
        sign_in("ada", f"wrong-{number}", REMOTE_ADDR=f"198.51.100.{number}")
    assert len(asked) == guessing.AHEAD
    client, said = sign_in("ada", REMOTE_ADDR="198.51.100.99")
    assert not is_in(client)
    assert "Too many wrong tries" in said


def test_several_names_of_one_entry_have_one_limit(slapd: Slapd, settings: Any) -> None:
    settings.WEBVIRT_LDAP_PERSON_FILTER = "(|(uid={name})(mail={name}))"
    slapd.change(f"uid=ada,{PEOPLE}", mail=[f"a{number}@example.org" for number in range(20)])
    for _ in range(guessing.AHEAD - 2):
        guessing.also_at_account("ada")
    for number in range(2):
        assert "not correct" in sign_in(f"a{number}@example.org", "wrong")[1]
    client, said = sign_in("a15@example.org", REMOTE_ADDR="198.51.100.99")
    assert not is_in(client)
    assert "Too many wrong tries" in said
    assert not is_in(sign_in("ada", REMOTE_ADDR="198.51.100.99")[0])


def test_a_second_factor_is_asked_for_here(slapd: Slapd, settings: Any) -> None:
    settings.WEBVIRT_SECOND_FACTOR = "everybody"
    client, _said = sign_in("ada")
    assert not is_in(client)
    page = client.get("/login/enrolment/").content.decode()
    assert re.search(r'<label class="tick" hidden>.*name="passwordless">', page)


def test_what_changes_how_one_signs_in_asks_the_directory_again(slapd: Slapd) -> None:
    client, _said = sign_in("ada")
    session = client.session
    for record in session["account_authentication_methods"]:
        record["at"] -= 3600
    session.save()
    assert client.get("/me/factors/").headers["Location"].startswith("/me/confirm/")
    assert 'name="password"' in client.get("/me/confirm/").content.decode()
    assert client.post("/me/confirm/", {"password": "wrong"}).status_code == 400
    assert client.post("/me/confirm/", {"password": SECRET, "next": "/me/factors/"}).status_code == 302
    assert client.get("/me/factors/").status_code == 200


def test_a_passkey_alone_does_not_get_round_the_directory(slapd: Slapd, monkeypatch: pytest.MonkeyPatch) -> None:
    sign_in("ada")
    row = Authenticator(user=User.objects.get(username="ada"), type=Authenticator.Type.WEBAUTHN, data={})
    monkeypatch.setattr(LoginWebAuthnForm, "clean_credential", lambda _form: row)
    client = Client()
    client.post("/login/passkey/", {"credential": '{"id": "x"}'})
    assert not is_in(client)
    assert "Your account is from LDAP: sign in there." in client.get("/login/").content.decode()


# --- the house


def test_a_child_alone_loads_the_library() -> None:
    users = [
        path.name
        for path in (PROJECT / "webvirt").rglob("*.py")
        if re.search(r"^(import|from) ldap\b", path.read_text(), re.MULTILINE)
    ]
    assert users == ["ldapchild.py"]


def test_the_administrators_page_says_where_it_is_from(slapd: Slapd, enter: Enter) -> None:
    sign_in("ada")
    ada = User.objects.get(username="ada")
    client = enter("administrator")
    page = client.get(f"/people/{ada.pk}/").content.decode()
    assert ada.identity.subject in page
    assert "Authenticator app" in page
    assert 'name="password"' not in page
    assert client.get("/api/v1/people?q=ada").json()["items"][0]["source"] == "ldap"

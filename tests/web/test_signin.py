"""Signing in: limits, second factors, links, sessions; and what of it an attacker could turn round."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal import auth as totp
from allauth.mfa.utils import decrypt
from django.conf import settings
from django.contrib.auth.hashers import Argon2PasswordHasher, make_password
from django.contrib.auth.signals import user_logged_in, user_login_failed
from django.core import mail, signing
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from tests.people import HASHED, PASSWORD, Cast
from tests.web.conftest import Enter
from webvirt.models import LoginSession, PasswordLink, User
from webvirt.services import announcements, factors, guessing, links, people, sessions
from webvirt.services.announcements import Login
from webvirt.services.tokens import create_token
from webvirt.web.browsers import device
from webvirt.web.knowndevices import COOKIE

NEW = "eleven green apples"
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"


@pytest.fixture(autouse=True)
def quick(request: pytest.FixtureRequest, settings: Any) -> None:
    """What is counted here is tries, not how long each takes."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    if "cast" in request.fixturenames:
        use_password(request.getfixturevalue("cast"), make_password(PASSWORD))


def use_password(cast: Cast, hashed: str) -> None:
    for user in (cast.administrator, cast.owner, cast.operator, cast.viewer, cast.stranger):
        user.password = hashed
        user.save(update_fields=["password"])


@pytest.fixture
def evaluated() -> Iterator[list[str]]:
    """The names whose passwords were looked at and found wrong."""
    names: list[str] = []

    def note(sender: object, credentials: dict[str, str], **more: object) -> None:
        names.append(credentials["username"])

    user_login_failed.connect(note)
    yield names
    user_login_failed.disconnect(note)


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Sets the clock of apps' codes to a step of 30 s."""

    def set_to(step: int) -> None:
        monkeypatch.setattr(totp.time, "time", lambda: step * 30 + 7.0)

    return set_to


def sign_in(client: Client, name: str, password: str = PASSWORD, **more: Any) -> Any:
    return client.post("/login/", {"login": name, "password": password}, **more)


def is_in(client: Client) -> bool:
    return client.get("/me/").status_code == 200


def code_of(secret: str, step: int) -> str:
    return str(totp.format_hotp_value(totp.hotp_value(secret, step)))


def code_at(user: User, step: int) -> str:
    secret = decrypt(Authenticator.objects.get(user=user, type=factors.APP).data["secret"])
    return code_of(secret, step)


def now_step() -> int:
    return int(timezone.now().timestamp()) // 30


def with_app(user: User, step: int | None = None) -> list[str]:
    """Give the person an app that was set up at that step (now), and recovery codes."""
    secret = totp.generate_totp_secret()
    step = now_step() if step is None else step
    assert factors.add_app(user, secret, code_of(secret, step))
    return factors.new_codes(user)


# --- guessing


@pytest.mark.parametrize("name", ["viewer", "nobody-is-called-so"])
def test_wrong_passwords_are_looked_at_so_often_and_no_more(cast: Cast, evaluated: list[str], name: str) -> None:
    texts = []
    for number in range(40):
        answer = sign_in(Client(), name, f"wrong-{number}", REMOTE_ADDR=f"198.51.100.{number}")
        texts.append(re.sub(r'value="[^"]*"', "", answer.content.decode()))
    assert len(evaluated) == guessing.AHEAD
    assert len(set(texts)) == 2
    assert "Too many wrong tries" in texts[-1]
    assert not is_in_from(name, "198.51.100.99")


def is_in_from(name: str, address: str) -> bool:
    """Whether the right password is of use to somebody there."""
    client = Client()
    sign_in(client, name, PASSWORD, REMOTE_ADDR=address)
    return is_in(client)


def test_who_has_signed_in_here_before_still_can(cast: Cast) -> None:
    client = Client()
    sign_in(client, "viewer")
    for name in (COOKIE, settings.SESSION_COOKIE_NAME):
        assert (client.cookies[name]["httponly"], client.cookies[name]["samesite"]) == (True, "Lax")
    client.post("/logout/")
    for number in range(30):
        sign_in(Client(), "viewer", "wrong", REMOTE_ADDR=f"198.51.100.{number}")
    assert not is_in_from("viewer", "198.51.100.99")
    sign_in(client, "viewer")
    assert is_in(client)
    # Of another person, and forged, the cookie is worth nothing.
    other = Client()
    other.cookies[COOKIE] = client.cookies[COOKIE].value
    for number in range(30):
        sign_in(Client(), "owner", "wrong", REMOTE_ADDR=f"198.51.101.{number}")
    sign_in(other, "owner")
    assert not is_in(other)
    client.post("/logout/")
    client.cookies[COOKIE] = client.cookies[COOKIE].value[:-2] + "xx"
    sign_in(client, "viewer")
    assert not is_in(client)


def test_names_that_nobody_has_cost_as_much_work(cast: Cast, monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    """What takes the time is the hash; one is made, whoever is asked for."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.Argon2PasswordHasher"]
    use_password(cast, HASHED)
    made: list[str] = []

    def counted(name: str) -> None:
        original = getattr(Argon2PasswordHasher, name)

        def call(self: Any, *given: Any) -> Any:
            made.append(name)
            return original(self, *given)

        monkeypatch.setattr(Argon2PasswordHasher, name, call)

    people.create("invited", None)
    counted("encode")
    counted("verify")
    for name in ("viewer", "nobody-is-called-so", "invited"):
        made.clear()
        sign_in(Client(), name, "wrong")
        assert len(made) == 1, name


def asked(client: Client, path: str, **form: str) -> list[str]:
    """The queries of a form that is sent, without what they ask for."""
    client.cookies.clear()
    with CaptureQueriesContext(connection) as queries:
        client.post(path, form)
    return [re.sub(r"'[^']*'|NULL|\b\d+\b|\"s\d+_x\d+\"", "?", query["sql"]) for query in queries]


def test_names_that_nobody_has_ask_the_database_for_the_same(cast: Cast) -> None:
    """Beside the hash, nothing takes any time that a name could be told by."""
    people.create("invited", None)
    User.objects.filter(username="stranger").update(is_active=False)
    found = {}
    for number, name in enumerate(("viewer", "nobody-is-called-so", "invited", "stranger")):
        client = Client(REMOTE_ADDR=f"198.51.100.{number}")
        asked(client, "/login/", login=name, password="wrong")
        found[name] = asked(client, "/login/", login=name, password="wrong")
    assert found == dict.fromkeys(found, found["viewer"])


def test_links_that_are_good_no_more_ask_the_database_as_unknown_ones_do(cast: Cast) -> None:
    expired, gone = links.make(cast.owner), links.make(cast.viewer)
    PasswordLink.objects.filter(user=cast.owner).update(expires_at=timezone.now())
    User.objects.filter(pk=cast.viewer.pk).update(is_active=False)
    found = {}
    for number, link in enumerate(("x" * len(expired), expired, gone)):
        client = Client(REMOTE_ADDR=f"198.51.100.{number}")
        asked(client, f"/link/{link}/", password=NEW, again=NEW)
        found[link] = asked(client, f"/link/{link}/", password=NEW, again=NEW)
    assert found == dict.fromkeys(found, found[expired])


def test_old_passwords_codes_links_and_tokens_are_limited_alike(cast: Cast, enter: Enter) -> None:
    client = enter("owner")
    form = {"password1": NEW, "password2": NEW}
    for number in range(guessing.AHEAD):
        client.post("/me/password/", form | {"oldpassword": f"wrong-{number}"})
    assert "Too many" in client.post("/me/password/", form | {"oldpassword": PASSWORD}).content.decode()
    assert "Too many" in client.post("/me/confirm/", {"password": PASSWORD}).content.decode()

    with_app(cast.viewer)
    client = Client(REMOTE_ADDR="198.51.100.7")
    sign_in(client, "viewer")
    for number in range(guessing.AHEAD):
        client.post("/login/code/", {"code": f"{number:06}"})
    answer = client.post("/login/code/", {"code": code_at(cast.viewer, now_step())})
    assert "Too many" in answer.content.decode()

    link = links.make(cast.operator)
    for number in range(guessing.AHEAD):
        assert client.get(f"/link/{number}/", REMOTE_ADDR="203.0.113.1").status_code == 404
    assert client.get(f"/link/{link}/", REMOTE_ADDR="203.0.113.1").status_code == 403
    assert client.get(f"/link/{link}/", REMOTE_ADDR="203.0.113.2").status_code == 200


def test_wrong_tokens_are_limited_and_one_that_was_good_before_stays_good(cast: Cast) -> None:
    def me(token: str) -> int:
        client = Client(REMOTE_ADDR="203.0.113.7", headers={"authorization": f"Bearer {token}"})
        return client.get("/api/v1/me").status_code

    used, new = create_token(cast.owner, "used", 1), create_token(cast.owner, "new", 1)
    assert me(used) == 200
    assert [me(f"wv_{number}") for number in range(guessing.AHEAD)] == [401] * guessing.AHEAD
    assert me("wv_x") == me(new) == 429
    assert me(used) == 200


# --- codes of an app


def test_a_code_is_good_one_step_to_either_side_and_once(cast: Cast, at: Callable[[int], None]) -> None:
    user, now = cast.viewer, 57_000_000
    at(now - 100)
    with_app(user, now - 100)
    at(now)
    for step, good in ((now - 2, False), (now + 2, False), (now - 1, True), (now, True), (now + 1, True)):
        assert (factors.check_code(user, code_at(user, step)) is not None) == good, step - now
    for step in (now - 1, now, now + 1):
        assert factors.check_code(user, code_at(user, step)) is None
    at(now + 1)
    assert factors.check_code(user, code_at(user, now + 1)) is None


def test_the_code_that_set_an_app_up_does_not_sign_in(cast: Cast, at: Callable[[int], None]) -> None:
    at(57_000_000)
    with_app(cast.viewer, 57_000_000)
    assert factors.check_code(cast.viewer, code_at(cast.viewer, 57_000_000)) is None


def test_a_recovery_code_is_good_once_and_they_are_counted(cast: Cast) -> None:
    codes = with_app(cast.viewer)
    assert factors.held_by(cast.viewer).codes_left == len(codes) == 10
    assert factors.check_code(cast.viewer, f"{codes[3][:4]} {codes[3][4:]}")
    assert factors.check_code(cast.viewer, codes[3]) is None
    assert factors.held_by(cast.viewer).codes_left == 9


def test_secrets_are_not_in_the_database_and_another_key_breaks_nothing(cast: Cast, settings: Any) -> None:
    step = now_step()
    codes = with_app(cast.viewer, step)
    kept = json.dumps(list(Authenticator.objects.values_list("data", flat=True)))
    secret = decrypt(factors.held_by(cast.viewer).app.data["secret"])  # type: ignore[union-attr]
    assert secret not in kept
    assert not any(code in kept for code in codes)
    code = code_at(cast.viewer, step + 1)
    settings.SECRET_KEY = "another " * 10
    assert factors.check_code(cast.viewer, code) is None


# --- the second factor on the way in


def test_nobody_is_in_before_the_second_factor(cast: Cast) -> None:
    codes = with_app(cast.viewer)
    client = Client()
    answer = sign_in(client, "viewer")
    assert answer.headers["Location"] == "/login/code/"
    assert not is_in(client)
    assert "viewer" not in client.get("/login/code/").content.decode()
    assert not LoginSession.objects.filter(user=cast.viewer).exists()
    assert client.post("/login/code/", {"code": "000000"}).status_code == 200
    assert not is_in(client)
    assert client.post("/login/code/", {"code": codes[0]}).headers["Location"] == "/"
    assert is_in(client)


@pytest.mark.parametrize(
    "credential",
    [
        "",
        "x",
        "[]",
        "{}",
        "7",
        '{"id": 7}',
        '{"id":"a","rawId":"a","type":"public-key","response":[]}',
        '{"response":{"userHandle":"MQ"}}',
    ],
)
def test_what_no_browser_sends_is_refused_and_no_fault(cast: Cast, enter: Enter, credential: str) -> None:
    with_app(cast.viewer)
    client = Client()
    client.post("/login/passkey/", headers={"accept": "application/json"})
    answer = client.post("/login/passkey/", {"credential": credential})
    assert answer.headers["Location"] == "/login/"
    sign_in(client, "viewer")
    client.get("/login/code/")
    assert client.post("/login/code/", {"credential": credential}).status_code == 200
    assert not is_in(client)
    owner = confirmed(enter("owner"))
    owner.post("/me/factors/add/", headers={"accept": "application/json"})
    assert owner.post("/me/factors/add/", {"credential": credential, "name": "x"}).status_code == 400
    assert not factors.held_by(cast.owner).any


def confirmed(client: Client) -> Client:
    assert client.post("/me/confirm/", {"password": PASSWORD}).status_code == 302
    return client


def test_who_must_have_one_gets_one_before_being_in(cast: Cast, settings: Any) -> None:
    settings.WEBVIRT_SECOND_FACTOR = "administrators"
    viewer = Client()
    assert sign_in(viewer, "viewer").headers["Location"] == "/"
    client = Client()
    assert sign_in(client, "administrator").headers["Location"] == "/login/enrolment/"
    assert client.get("/vms/").status_code == 302
    secret = secret_on(client.get("/login/enrolment/"))
    assert client.post("/login/enrolment/", {"code": "000000"}).status_code == 400
    assert not is_in(client)
    code = totp.format_hotp_value(totp.hotp_value(secret, now_step()))
    shown = client.post("/login/enrolment/", {"code": code})
    assert len(re.findall(r"<code>\d{4} \d{4}</code>", shown.content.decode())) == 10
    assert not is_in(client)
    assert not re.search(r"\d{4} \d{4}", client.get("/login/enrolment/").content.decode())
    assert client.post("/login/enrolment/").headers["Location"] == "/"
    assert is_in(client)
    row = factors.held_by(cast.administrator).app
    assert row
    client.post(f"/me/factors/{row.pk}/remove/")
    assert factors.held_by(cast.administrator).app


def secret_on(answer: Any) -> str:
    found = re.search(r'<code class="key">([A-Z2-7 ]+)</code>', answer.content.decode())
    assert found
    return found[1].replace(" ", "")


def test_the_first_administrator_gets_one_too_where_that_is_required(db: None, settings: Any) -> None:
    settings.WEBVIRT_SECOND_FACTOR = "administrators"
    address = f"/setup/{signing.dumps('x', salt=people.SETUP_SALT)}/"
    client = Client()
    answer = client.post(address, {"name": "ada", "password": NEW, "again": NEW})
    assert answer.headers["Location"] == "/login/enrolment/"
    assert not is_in(client)


def test_an_enrolment_half_done_is_no_way_round_a_factor_got_elsewhere(cast: Cast, settings: Any) -> None:
    settings.WEBVIRT_SECOND_FACTOR = "everybody"
    thief = Client()
    sign_in(thief, "viewer")
    secret = secret_on(thief.get("/login/enrolment/"))
    Authenticator.objects.create(user=cast.viewer, type=factors.PASSKEY, data={"name": "theirs", "credential": {}})
    for form in ({"code": code_of(secret, now_step())}, {}):
        thief.post("/login/enrolment/", form)
        assert not is_in(thief)
    assert not factors.held_by(cast.viewer).app


# --- the profile


def test_changing_how_one_signs_in_needs_the_password_again(cast: Cast, enter: Enter) -> None:
    client = enter("owner")
    for answer in (
        client.get("/me/factors/"),
        client.post("/me/factors/add/", {"code": "1"}),
        client.post("/me/factors/codes/"),
        client.post("/me/factors/1/remove/"),
    ):
        assert answer.headers["Location"].startswith("/me/confirm/?next=%2Fme%2Ffactors%2F")
    wrong = client.post("/me/confirm/", {"password": "no", "next": "/me/factors/"})
    assert wrong.status_code == 400
    right = client.post("/me/confirm/", {"password": PASSWORD, "next": "/me/factors/"})
    assert right.headers["Location"] == "/me/factors/"
    assert client.get("/me/factors/").status_code == 200


def test_an_app_comes_with_recovery_codes_shown_once_and_goes_with_them(cast: Cast, enter: Enter) -> None:
    client = confirmed(enter("owner"))
    page = client.get("/me/factors/add/")
    assert 'src="data:image/svg+xml;base64,' in page.content.decode()
    secret = secret_on(page)
    assert secret_on(client.get("/me/factors/add/")) == secret
    code = totp.format_hotp_value(totp.hotp_value(secret, now_step()))
    shown = client.post("/me/factors/add/", {"code": code}).content.decode()
    codes = re.findall(r"<code>(\d{4}) (\d{4})</code>", shown)
    assert len(codes) == 10
    assert 'download="webvirt-recovery-codes.txt"' in shown
    everywhere = "".join(client.get(path).content.decode() for path in ("/me/", "/me/factors/", "/me/factors/add/"))
    assert "".join(codes[0]) not in everywhere.replace(" ", "")
    assert secret not in everywhere.replace(" ", "")
    again = client.post("/me/factors/codes/").content.decode()
    assert re.findall(r"<code>(\d{4}) (\d{4})</code>", again) != codes
    row = factors.held_by(cast.owner).app
    assert row
    assert confirmed(enter("viewer")).post(f"/me/factors/{row.pk}/remove/").status_code == 404
    client.post(f"/me/factors/{row.pk}/remove/")
    assert not Authenticator.objects.filter(user=cast.owner).exists()
    assert client.post("/me/factors/codes/").status_code == 404


def test_an_administrator_takes_lost_factors_away(cast: Cast, enter: Enter) -> None:
    with_app(cast.owner)
    owner = enter("owner")
    enter("administrator").post(f"/people/{cast.owner.pk}/factors/forget/")
    assert not factors.held_by(cast.owner).any
    assert not is_in(owner)
    assert sign_in(owner, "owner").headers["Location"] == "/"


# --- sessions


def test_the_session_is_another_after_signing_in_and_dead_after_signing_out(cast: Cast) -> None:
    client = Client()
    client.post("/login/passkey/", headers={"accept": "application/json"})
    before = client.cookies[settings.SESSION_COOKIE_NAME].value
    sign_in(client, "viewer")
    during = client.cookies[settings.SESSION_COOKIE_NAME].value
    assert before != during
    assert not LoginSession.objects.filter(session_key=before).exists()
    client.post("/logout/")
    client.cookies[settings.SESSION_COOKIE_NAME] = during
    assert not is_in(client)


def test_sessions_are_listed_and_ended_by_the_person_and_the_administrator(cast: Cast, enter: Enter) -> None:
    first, second, third = Client(headers={"user-agent": FIREFOX}), Client(), Client()
    for client in (first, second, third):
        sign_in(client, "owner", REMOTE_ADDR="198.51.100.7")
    text = first.get("/me/").content.decode()
    assert "Firefox, Linux" in text
    assert "198.51.100.7" in text
    keys = [client.cookies[settings.SESSION_COOKIE_NAME].value for client in (first, second, third)]
    assert not any(key in text for key in keys)
    assert enter("viewer").post(f"/me/sessions/{sessions.handle_of(keys[1])}/end/").status_code == 404
    first.post(f"/me/sessions/{sessions.handle_of(keys[1])}/end/")
    assert [is_in(client) for client in (first, second, third)] == [True, False, True]
    first.post("/me/sessions/end/")
    assert [is_in(client) for client in (first, third)] == [True, False]
    administrator = enter("administrator")
    assert "Firefox, Linux" in administrator.get(f"/people/{cast.owner.pk}/").content.decode()
    administrator.post(f"/people/{cast.owner.pk}/sessions/{sessions.handle_of(keys[0])}/end/")
    assert not is_in(first)
    sign_in(first, "owner")
    administrator.post(f"/people/{cast.owner.pk}/sessions/end/")
    assert not is_in(first)
    assert is_in(administrator)


def test_sessions_by_the_api(cast: Cast, enter: Enter) -> None:
    browser = enter("owner")
    other, own = create_token(cast.viewer, "t", 1), create_token(cast.owner, "t", 1)
    program = Client(headers={"authorization": f"Bearer {own}"})
    listed = program.get("/api/v1/me/sessions").json()
    assert [each["id"] for each in listed] == [sessions.handle_of(browser.cookies[settings.SESSION_COOKIE_NAME].value)]
    path = f"/api/v1/me/sessions/{listed[0]['id']}"
    assert Client(headers={"authorization": f"Bearer {other}"}).delete(path).status_code == 404
    assert is_in(browser)
    assert program.delete(path).status_code == 204
    assert not is_in(browser)


def test_a_session_that_ends_is_announced_and_no_login_any_more(
    cast: Cast, enter: Enter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same way as signing out: what the hub and the console proxy ask is whether the row is there."""
    said: list[str] = []
    monkeypatch.setattr("webvirt.bus.announce", said.extend)
    client = enter("owner")
    key = client.cookies[settings.SESSION_COOKIE_NAME].value
    login = Login(key, cast.owner.pk, cast.owner.get_session_auth_hash())
    assert announcements.rights_of([login])
    enter("administrator").post(f"/people/{cast.owner.pk}/sessions/{sessions.handle_of(key)}/end/")
    assert [name for name in said if name != "audit"] == [f"user:{cast.owner.pk}"]
    assert not announcements.rights_of([login])


def test_a_session_ends_by_itself_but_not_while_its_person_is_there(cast: Cast, enter: Enter) -> None:
    client = enter("owner")
    row = LoginSession.objects.filter(user=cast.owner)
    idle, longest = timedelta(minutes=30), timedelta(hours=8)

    def was_used(ago: timedelta, began_ago: timedelta | None = None) -> None:
        now = timezone.now()
        data = client.session
        began = now - (began_ago or ago)
        data[sessions.BEGAN] = began.timestamp()
        data.save()
        row.update(last_used_at=now - ago, expire_date=sessions.ends_at(began, now - ago))

    was_used(idle - timedelta(minutes=1))
    client.get("/vms/", headers={"x-by-itself": "1"})
    client.get(f"/vms/{cast.domain.pk}/screen.png")
    assert row.get().expire_date < timezone.now() + timedelta(minutes=2)
    assert client.post("/me/here/").status_code == 204
    assert row.get().expire_date > timezone.now() + timedelta(minutes=29)
    was_used(timedelta(minutes=2), began_ago=longest - timedelta(minutes=5))
    client.get("/vms/")
    assert row.get().expire_date < timezone.now() + timedelta(minutes=6)
    was_used(timedelta(minutes=2), began_ago=longest)
    assert not is_in(client)
    client = enter("owner")
    was_used(idle)
    assert not is_in(client)
    sessions.sweep(timezone.now())
    assert not row.exists()


def test_the_own_new_password_ends_the_others_and_a_link(cast: Cast) -> None:
    client, other = Client(), Client()
    for each in (client, other):
        sign_in(each, "owner")
    links.make(cast.owner)
    client.post("/me/password/", {"oldpassword": PASSWORD, "password1": NEW, "password2": NEW})
    assert is_in(client)
    assert not is_in(other)
    assert LoginSession.objects.filter(user=cast.owner).count() == 1
    assert not PasswordLink.objects.exists()


def test_what_browsers_say_of_themselves_in_words() -> None:
    assert device(FIREFOX) == "Firefox, Linux"
    phone = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1 Version/18.0 Safari/604.1"
    assert device(phone) == "Safari, iOS"
    edge = "Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 Chrome/140.0 Safari/537.36 Edg/140.0"
    assert device(edge) == "Edge, Windows"
    assert device("curl/8.5") == "curl/8.5"
    assert device("") == "not told"


# --- links


def link_on(answer: Any) -> str:
    found = re.search(r'id="new-link">http://127.0.0.1:8000(/link/[\w-]+/)<', answer.content.decode())
    assert found
    return found[1]


def test_a_new_person_chooses_the_password_by_a_link(cast: Cast, enter: Enter) -> None:
    administrator = enter("administrator")
    administrator.post("/people/add/", {"name": "grace", "password": ""})
    grace = User.objects.get(username="grace")
    assert not grace.has_usable_password()
    page = f"/people/{grace.pk}/"
    replaced = link_on(administrator.post(f"{page}link/"))
    address = link_on(administrator.post(f"{page}link/"))
    assert address not in administrator.get(page).content.decode()
    assert address.split("/")[2] not in str(list(PasswordLink.objects.values()))
    client = Client()
    assert client.get(replaced).status_code == 404
    for _ in range(2):
        assert client.get(address).status_code == 200
    for wrong in ({"password": "short", "again": "short"}, {"password": NEW, "again": "other"}):
        assert client.post(address, wrong).status_code == 400
    assert client.post(address, {"password": NEW, "again": NEW}).headers["Location"] == "/"
    assert is_in(client)
    assert Client().post(address, {"password": PASSWORD, "again": PASSWORD}).status_code == 404
    grace.refresh_from_db()
    assert grace.check_password(NEW)


@pytest.mark.parametrize("end", ["expires", "withdrawn", "deactivated", "password set"])
def test_what_ends_a_link(cast: Cast, enter: Enter, end: str) -> None:
    administrator, page = enter("administrator"), f"/people/{cast.owner.pk}/"
    address = link_on(administrator.post(f"{page}link/"))
    if end == "expires":
        PasswordLink.objects.update(expires_at=timezone.now())
    elif end == "withdrawn":
        administrator.post(f"{page}link/withdraw/")
    elif end == "deactivated":
        administrator.post(f"{page}active/")
        assert administrator.post(f"{page}link/").status_code == 302
        administrator.post(f"{page}active/", {"active": "on"})
    else:
        administrator.post(f"{page}password/", {"password": NEW})
    assert Client().post(address, {"password": PASSWORD, "again": PASSWORD}).status_code == 404


def test_a_link_for_a_lost_password_asks_for_the_second_factor_and_ends_what_is_open(cast: Cast, enter: Enter) -> None:
    codes = with_app(cast.owner)
    elsewhere, client = enter("owner"), enter("viewer")
    address = link_on(enter("administrator").post(f"/people/{cast.owner.pk}/link/"))
    assert is_in(elsewhere)
    assert client.post(address, {"password": NEW, "again": NEW}).headers["Location"] == "/login/code/"
    assert not is_in(elsewhere)
    assert not is_in(client)
    client.post("/login/code/", {"code": codes[0]})
    assert "owner" in client.get("/me/").content.decode()


def test_a_link_is_mailed_only_where_there_is_a_server(cast: Cast, enter: Enter, settings: Any) -> None:
    administrator, page = enter("administrator"), f"/people/{cast.owner.pk}/"
    assert "Mail it to" not in administrator.get(page).content.decode()
    administrator.post(f"{page}link/", {"email": "o@example.org"})
    assert mail.outbox == []
    settings.WEBVIRT_SMTP = "smtp://mail.example.org"
    answer = administrator.post(f"{page}link/", {"email": "o@example.org"})
    assert link_on(answer) in mail.outbox[0].body
    assert mail.outbox[0].to == ["o@example.org"]
    assert administrator.post(f"{page}link/", {"email": "no\nmail"}).status_code == 400
    assert len(mail.outbox) == 1


# --- the shell


def shell_link(*arguments: str) -> str:
    out = StringIO()
    call_command("signinlink", *arguments, stdout=out)
    return out.getvalue().strip().removeprefix(settings.WEBVIRT_PUBLIC_URL)


def test_from_the_shell_one_always_gets_in(cast: Cast) -> None:
    with_app(cast.administrator)
    User.objects.filter(pk=cast.administrator.pk).update(is_active=False)
    for number in range(30):
        sign_in(Client(), "administrator", "wrong", REMOTE_ADDR=f"198.51.100.{number}")
    with pytest.raises(CommandError, match="deactivated"):
        shell_link("administrator")
    with pytest.raises(CommandError, match="nobody"):
        shell_link("nobody")
    client = Client()
    address = shell_link("administrator", "--activate", "--forget-factors")
    client.post(address, {"password": NEW, "again": NEW})
    assert client.get("/people/").status_code == 200


# --- what an attacker could turn round

ELSEWHERE = (
    "//evil.example/",
    "https:evil.example",
    "https://evil.example/",
    "/\\evil.example",
    "javascript:alert(1)",
    "///e",
)


@pytest.mark.parametrize("target", ELSEWHERE)
def test_no_page_of_signing_in_leads_elsewhere(cast: Cast, enter: Enter, target: str) -> None:
    codes = with_app(cast.viewer)
    client = Client()
    form = {"login": "viewer", "password": PASSWORD, "next": target}
    answers = [client.post("/login/", form), client.post("/login/code/", {"code": codes[0], "next": target})]
    owner = enter("owner")
    answers.append(owner.post("/me/confirm/", {"password": PASSWORD, "next": target}))
    answers.append(owner.get("/login/", {"next": target}))
    answers.append(Client().post("/login/passkey/", {"credential": "x", "next": target}))
    answers.append(owner.post("/logout/", {"next": target}))
    for answer in answers:
        assert answer.headers["Location"].startswith("/")
        assert "evil" not in answer.headers["Location"]
        assert "alert" not in answer.headers["Location"]
        assert not answer.headers["Location"].startswith(("//", "/\\"))


@pytest.mark.parametrize("referer", [None, "https://evil.example/", "javascript:alert(1)", "x" * 9000])
def test_where_somebody_came_from_leads_nowhere(cast: Cast, referer: str | None) -> None:
    headers = {"referer": referer} if referer else {}
    answer = sign_in(Client(), "viewer", headers=headers)
    assert answer.headers["Location"] == "/"


def test_a_fresh_installation_lets_nobody_in(db: None) -> None:
    """No account, so no password of any list is right."""
    assert not User.objects.exists()
    for name in ("admin", "root", "webvirt", "administrator", "user"):
        for password in ("admin", "password", "", name, "webvirt", "changeme", "123456"):
            client = Client()
            sign_in(client, name, password)
            assert not is_in(client)


def test_signing_in_is_told_to_who_listens(cast: Cast) -> None:
    """Whoever keeps a record of sign-ins hears of each, with the request it came by."""
    heard: list[tuple[str, Any]] = []

    def note(sender: object, request: Any, user: User, **more: object) -> None:
        heard.append((user.get_username(), request))

    user_logged_in.connect(note)
    try:
        client = Client()
        sign_in(client, "viewer")
        address = f"/link/{links.make(cast.owner)}/"
        Client().post(address, {"password": NEW, "again": NEW})
    finally:
        user_logged_in.disconnect(note)
    assert [name for name, _request in heard] == ["viewer", "owner"]
    assert all(request for _name, request in heard)

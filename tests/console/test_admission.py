"""Who gets in: tickets, logins, origins, rights and limits, at the real proxy in front of a real guest."""

from __future__ import annotations

import base64
import collections
import socket
import subprocess
import sys
import threading
import time

import pytest
import redis
from django.conf import settings

from tests.console.proxy import PROJECT, SOCKET, Process, environment, open_page, sign_in
from tests.console.wsclient import ORIGIN, Client, Closed, Rejected, Visitor
from tests.guests import Guest
from tests.home import HOME
from tests.people import Cast
from webvirt.models import ConsoleMode, ConsoleSession, EndReason, Status
from webvirt.services import consoles
from webvirt.services.consoles import Close, Refusal


def refused(visitor: Visitor) -> int:
    """The code with which the proxy sends a visitor away; not one byte of a display may come before."""
    started = time.monotonic()
    try:
        client = Client(SOCKET, visitor)
    except Rejected as rejected:
        return rejected.status
    try:
        payload = client.recv()
    except Closed as closed:
        assert time.monotonic() - started < 1.5
        return closed.code
    finally:
        client.close()
    raise AssertionError(f"let in: {payload!r}")


def test_a_ticket_and_its_login_open_the_guests_display(proxy: Process, blank_guest: Guest, people: Cast) -> None:
    page = open_page(people.operator, people.domain)
    client = page.connect()
    assert "Sec-WebSocket-Protocol: binary\r\n" in client.response + "\r\n"
    assert page.visitor.ticket not in client.response
    width, height = client.handshake()
    assert width > 0
    assert height > 0
    assert page.row.opened_at
    client.close()
    row = page.ends(EndReason.CLOSED)
    assert (row.user, row.mode, row.address) == (people.operator, "control", "192.0.2.7")
    assert row.bytes_to_browser > 0


def test_a_ticket_alone_opens_nothing(proxy: Process, people: Cast) -> None:
    page = open_page(people.operator, people.domain)
    assert refused(Visitor(ticket=page.visitor.ticket)) == Close.TICKET


def test_somebody_elses_login_does_not_fit_the_ticket(proxy: Process, people: Cast) -> None:
    page = open_page(people.operator, people.domain)
    for thief in (people.administrator, people.operator):
        assert refused(Visitor(ticket=page.visitor.ticket, session_key=sign_in(thief))) == Close.TICKET


def test_a_ticket_is_good_once(proxy: Process, blank_guest: Guest, people: Cast) -> None:
    page = open_page(people.operator, people.domain)
    client = page.connect()
    client.handshake()
    assert refused(page.visitor) == Close.TICKET
    client.close()


def test_of_a_hundred_with_one_ticket_one_gets_in(proxy: Process, blank_guest: Guest, people: Cast) -> None:
    page = open_page(people.operator, people.domain)
    outcomes: collections.Counter[object] = collections.Counter()
    start = threading.Barrier(100)

    def race() -> None:
        start.wait()
        try:
            client = page.connect()
            outcomes[client.recv()[:3]] += 1
        except Closed as closed:
            outcomes[closed.code] += 1

    racers = [threading.Thread(target=race) for _ in range(100)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()
    assert outcomes == {b"RFB": 1, Close.TICKET: 99}


def test_a_ticket_is_kept_hashed_and_for_thirty_seconds(redis_server: Process, people: Cast) -> None:
    store = redis.Redis(unix_socket_path=str(HOME / "run" / "redis.sock"))
    store.flushall()
    page = open_page(people.operator, people.domain)
    (name,) = store.keys("webvirt.ticket.*")
    assert page.visitor.ticket.encode() not in name
    assert 28 <= store.ttl(name) <= 30
    store.delete(name)
    with pytest.raises(Refusal):
        consoles.redeem(page.visitor.ticket, page.visitor.session_key)


def test_tickets_never_repeat(redis_server: Process, people: Cast) -> None:
    session = open_page(people.operator, people.domain).session
    tickets = [consoles.issue_ticket(session) for _ in range(2000)]
    assert len({ticket[:8] for ticket in tickets}) == len(tickets)
    assert all(consoles.TICKET.fullmatch(ticket) for ticket in tickets)


@pytest.mark.parametrize(
    "ticket", ["", "uuid", "1-uuid", base64.urlsafe_b64encode(b"web-1").decode(), "x" * 64, "%00", "a" * 43]
)
def test_what_is_no_ticket_is_refused_at_once(proxy: Process, people: Cast, ticket: str) -> None:
    uuid = people.domain.uuid
    visitor = Visitor(ticket=ticket.replace("uuid", uuid), session_key=sign_in(people.operator))
    assert refused(visitor) == Close.TICKET


def test_two_tickets_and_a_megabyte_of_ticket_are_refused(proxy: Process, people: Cast) -> None:
    page = open_page(people.operator, people.domain)
    key = page.visitor.session_key
    two = f"binary, ticket.{page.visitor.ticket}, ticket.{'a' * 43}"
    assert refused(Visitor(session_key=key, protocols=two)) == Close.TICKET
    assert refused(Visitor(session_key=key, protocols=f"ticket.{page.visitor.ticket}")) == 400
    assert refused(Visitor(session_key=key, protocols="")) == 400
    with pytest.raises((Rejected, ConnectionError)):
        Client(SOCKET, Visitor(session_key=key, protocols="binary, ticket." + "a" * 2**20))


@pytest.mark.parametrize(
    "origins",
    [
        (),
        ("null",),
        ("https://evil.example",),
        (ORIGIN.replace("http", "https"),),
        (f"{ORIGIN}.evil.example",),
        ("http://evil127.0.0.1:8120",),
        ("http://127.0.0.1:444",),
        ("http://127.0.0.1",),
        ("http://user@127.0.0.1:8120",),
        (ORIGIN.upper(),),
        (f"{ORIGIN}/",),
        ("http://[::1]:8120",),
        ("http://xn--0-0-1-.example:8120",),
        (ORIGIN, ORIGIN),
        (ORIGIN, "https://evil.example"),
        (f"{ORIGIN}, {ORIGIN}",),
    ],
)
def test_pages_of_other_origins_never_get_an_answer(proxy: Process, people: Cast, origins: tuple[str, ...]) -> None:
    page = open_page(people.operator, people.domain)
    visitor = Visitor(page.visitor.ticket, page.visitor.session_key, origins)
    assert refused(visitor) == 403


def test_the_name_in_the_request_makes_no_origin_ours(proxy: Process, people: Cast) -> None:
    page = open_page(people.operator, people.domain)
    evil = (("X-Forwarded-Host", "evil.example"), ("Host", "evil.example"))
    visitor = Visitor(page.visitor.ticket, page.visitor.session_key, ("https://evil.example",), headers=evil)
    assert refused(visitor) == 403


def test_a_plain_request_finds_nothing(proxy: Process) -> None:
    with socket.socket(socket.AF_UNIX) as plain:
        plain.connect(str(SOCKET))
        plain.sendall(b"GET /ws/console/bytes/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert plain.recv(100).startswith(b"HTTP/1.1 404")


def test_the_socket_is_for_us_and_our_group(proxy: Process) -> None:
    assert SOCKET.stat().st_mode & 0o777 == 0o660


def test_a_second_proxy_does_not_start(proxy: Process) -> None:
    words = [sys.executable, "manage.py", "consoleproxy"]
    done = subprocess.run(
        words, cwd=PROJECT, env=environment(), capture_output=True, text=True, timeout=20, check=False
    )
    assert done.returncode == 1
    assert "already" in done.stderr
    assert SOCKET.exists()


# --- rights and limits, before any ticket


def opened(people: Cast, who: str, mode: ConsoleMode) -> ConsoleSession | Close:
    user = people.who(who)
    try:
        return consoles.open_session(user, sign_in(user), people.domain.pk, mode, None)
    except Refusal as refusal:
        return refusal.code


@pytest.mark.parametrize(
    ("who", "view", "control"),
    [
        ("stranger", Close.UNKNOWN, Close.UNKNOWN),
        ("viewer", None, Close.WITHDRAWN),
        ("operator", None, None),
        ("owner", None, None),
        ("administrator", None, None),
    ],
)
def test_the_role_decides_what_is_opened(people: Cast, who: str, view: Close | None, control: Close | None) -> None:
    for mode, expected in ((ConsoleMode.VIEW, view), (ConsoleMode.CONTROL, control)):
        outcome = opened(people, who, mode)
        assert outcome == expected if expected else isinstance(outcome, ConsoleSession)


def test_a_machine_that_is_off_says_so(people: Cast) -> None:
    people.domain.status = Status.SHUTOFF
    people.domain.save()
    assert opened(people, "owner", ConsoleMode.CONTROL) == Close.NOT_NOW


def test_a_person_has_so_many_consoles_and_no_more(people: Cast) -> None:
    for _ in range(settings.WEBVIRT_CONSOLES_PER_USER):
        assert isinstance(opened(people, "owner", ConsoleMode.VIEW), ConsoleSession)
    assert opened(people, "owner", ConsoleMode.VIEW) == Close.TOO_MANY
    assert isinstance(opened(people, "viewer", ConsoleMode.VIEW), ConsoleSession)
    ConsoleSession.objects.filter(user=people.owner).update(ended_at="2026-01-01T00:00Z")
    assert isinstance(opened(people, "owner", ConsoleMode.VIEW), ConsoleSession)


def test_a_machine_has_so_many_viewers_and_no_more(people: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consoles, "VIEWERS_PER_DOMAIN", 2)
    for who in ("owner", "viewer"):
        assert isinstance(opened(people, who, ConsoleMode.VIEW), ConsoleSession)
    assert opened(people, "operator", ConsoleMode.VIEW) == Close.TOO_MANY


def test_opening_again_takes_the_place_of_the_old_one(people: Cast) -> None:
    key = sign_in(people.owner)
    first = consoles.open_session(people.owner, key, people.domain.pk, ConsoleMode.VIEW, None)
    consoles.open_session(people.owner, key, people.domain.pk, ConsoleMode.VIEW, None, replaces=first.pk)
    first.refresh_from_db()
    assert first.end_reason == EndReason.REPLACED
    # Nobody else's, and none of another login.
    second = consoles.open_session(people.owner, key, people.domain.pk, ConsoleMode.VIEW, None)
    other = sign_in(people.owner)
    consoles.open_session(people.owner, other, people.domain.pk, ConsoleMode.VIEW, None, replaces=second.pk)
    second.refresh_from_db()
    assert second.ended_at is None


def test_without_redis_the_refusal_says_so(no_redis: None, people: Cast) -> None:
    session = consoles.open_session(people.owner, sign_in(people.owner), people.domain.pk, ConsoleMode.VIEW, None)
    with pytest.raises(Refusal) as refusal:
        consoles.issue_ticket(session)
    assert refusal.value.code == Close.NO_REDIS
    session.refresh_from_db()
    assert session.end_reason == EndReason.FAILED


def test_only_the_same_login_resumes(people: Cast) -> None:
    key = sign_in(people.owner)
    session = consoles.open_session(people.owner, key, people.domain.pk, ConsoleMode.VIEW, None)
    assert consoles.resume(session.pk, people.owner, key) == session
    for user, login in ((people.owner, sign_in(people.owner)), (people.administrator, key)):
        with pytest.raises(Refusal):
            consoles.resume(session.pk, user, login)

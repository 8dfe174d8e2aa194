"""Consoles of a real guest: what viewers and operators can do, and what ends a console."""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import pytest
from django.db import OperationalError
from django.utils import timezone

from tests.console.proxy import Page, Process, open_page, processes_of, start_proxy
from tests.console.wsclient import SHIFT, Client, Closed, qemu_key_event, strokes, update_request
from tests.guests import Guest
from tests.home import HOME
from tests.people import Cast
from tests.until import until
from webvirt.consoleproxy.keeper import Charge, Keeper
from webvirt.hypervisor.types import Transport
from webvirt.models import AuditLine, ConsoleMode, EndReason, Grant, GuestLink, Host, LoginSession, Origin, Status
from webvirt.models import Process as Beating
from webvirt.services import consoles, consoleviews, control, grants, groups, guestlinks, oversight, projects
from webvirt.services.access import access_of
from webvirt.services.actors import Actor, acting
from webvirt.services.consoles import Admission, Close
from webvirt.services.sessions import SessionStore


@pytest.fixture
def linux(people: Cast, booted_guest: Guest) -> Guest:
    """The running Linux as the cast's machine."""
    people.domain.uuid = booted_guest.uuid
    people.domain.save()
    return booted_guest


@pytest.fixture
def serial(booted_guest: Guest) -> Callable[[], str]:
    assert booted_guest.serial_log
    log = booted_guest.serial_log
    return lambda: log.read_text(errors="replace")


def type_line(client: Client, line: str, *, extended: bool = True) -> None:
    """Press the keys of a line; a modified viewer would do the same."""
    for said in strokes(line + "\n", extended=extended):
        client.send(said)


def connected(people: Cast, who: str, mode: ConsoleMode = ConsoleMode.CONTROL) -> tuple[Page, Client]:
    page = open_page(people.who(who), people.domain, mode)
    client = page.connect()
    client.handshake()
    return page, client


def test_keys_reach_the_guest_and_its_picture_comes_back(
    proxy: Process, people: Cast, linux: Guest, serial: Callable[[], str]
) -> None:
    page = open_page(people.operator, people.domain)
    client = page.connect()
    width, height = client.handshake()
    client.send(update_request(width, height))
    assert len(client.read(4 + 12 + width * height)) > width * height
    word = f"typed{linux.uuid[:4]}"
    # The kernel's console of that name is the serial port.
    type_line(client, f"echo {word} >/dev/console")
    until(lambda: word in serial(), 15, what="the word on the serial port")
    client.close()


def test_a_viewer_sees_the_picture_and_types_nothing(
    proxy: Process, people: Cast, linux: Guest, serial: Callable[[], str]
) -> None:
    page = open_page(people.viewer, people.domain, ConsoleMode.VIEW)
    client = page.connect()
    width, height = client.handshake()
    # A viewer that tries: both kinds of key events, the pointer, the clipboard.
    type_line(client, "echo stolen >/dev/console")
    type_line(client, "echo stolen", extended=False)
    client.send(b"\x05\x01" + bytes(4))
    client.send(b"\x06\0\0\0\0\0\0\x04text")
    client.send(update_request(width, height))
    assert len(client.read(4 + 12 + width * height)) > width * height
    # What an operator types right after is there and alone: nothing of the viewer's waits in between.
    operator = connected(people, "operator")[1]
    type_line(operator, "echo mine >/dev/console")
    until(lambda: "mine" in serial(), 15, what="the operator's word")
    assert "stolen" not in serial()
    client.close()
    operator.close()
    row = page.ends(EndReason.CLOSED)
    assert row.bytes_to_guest == 12 + 1 + 1 + 10


def test_an_unknown_message_of_a_viewer_ends_its_console(proxy: Process, people: Cast, linux: Guest) -> None:
    page, client = connected(people, "viewer", ConsoleMode.VIEW)
    client.send(b"\x63what")
    assert client.closed(3).code == Close.MALFORMED
    page.ends(EndReason.MALFORMED)


def test_three_look_at_once_and_nobody_throws_out_another(proxy: Process, people: Cast, linux: Guest) -> None:
    clients = [connected(people, who)[1] for who in ("owner", "operator", "administrator")]
    for client in clients:
        client.send(update_request(16, 16))
        assert client.read(4 + 12 + 16)
    view = consoleviews.look(open_page(people.viewer, people.domain, ConsoleMode.VIEW).session)
    assert [other.name for other in view.others] == ["owner", "operator", "administrator"]
    for client in clients:
        client.close()


def test_control_is_handed_over_and_no_key_stays_held(
    proxy: Process, people: Cast, linux: Guest, serial: Callable[[], str]
) -> None:
    """Who is not the one that types reaches nothing, before as after; what was held down is let go."""
    holder, first = connected(people, "operator")
    asker, second = connected(people, "owner")
    type_line(second, "echo tooearly >/dev/console")
    type_line(first, "echo ofthefirst >/dev/console")
    until(lambda: "ofthefirst" in serial(), 15, what="the word of who came first")
    first.send(qemu_key_event(0xFFE1, SHIFT, down=True))
    first.send(b"\x05\x01" + bytes(4))
    control.ask(asker.session.pk)
    control.hand_over(holder.session.pk, asker.session.pk)
    until(lambda: asker.row.told_mode == ConsoleMode.CONTROL, 2, what="the proxy was told")
    type_line(first, "echo stolen >/dev/console")
    # With Shift down, all of it would be in capitals.
    type_line(second, "echo ofthesecond >/dev/console")
    until(lambda: "ofthesecond" in serial(), 15, what="the word of who was handed control")
    assert not any(word in serial() for word in ("tooearly", "stolen", "STOLEN"))
    first.close()
    second.close()


# --- what ends a console


def sign_out(people: Cast, page: Page) -> None:
    LoginSession.objects.filter(session_key=page.visitor.session_key).delete()


def expire(people: Cast, page: Page) -> None:
    LoginSession.objects.filter(session_key=page.visitor.session_key).update(expire_date="2020-01-01T00:00Z")


def change_password(people: Cast, page: Page) -> None:
    people.operator.set_password("another one, and long")
    people.operator.save()


def deactivate(people: Cast, page: Page) -> None:
    people.operator.is_active = False
    people.operator.save()


def withdraw(people: Cast, page: Page) -> None:
    Grant.objects.filter(user=people.operator).delete()


def lower(people: Cast, page: Page) -> None:
    Grant.objects.filter(user=people.operator).update(role="viewer")


def machine(**fields: object) -> Callable[[Cast, Page], None]:
    def change(people: Cast, page: Page) -> None:
        type(people.domain).objects.filter(pk=people.domain.pk).update(**fields)

    return change


def move(people: Cast, page: Page) -> None:
    other = Host.objects.create(name="elsewhere", transport=Transport.TEST, hostname="x")
    machine(host=other)(people, page)


def remove_host(people: Cast, page: Page) -> None:
    Host.objects.filter(pk=people.host.pk).update(removed_at="2026-01-01T00:00Z")


def run_out(people: Cast, page: Page) -> None:
    type(page.session).objects.filter(pk=page.session.pk).update(leased_until="2026-01-01T00:00Z")


def test_an_administrator_ends_any_console(proxy: Process, people: Cast, blank_guest: Guest) -> None:
    page, client = connected(people, "operator")
    assert not oversight.end(access_of(people.viewer), page.session.pk)
    with acting(Actor(people.administrator, Origin.PAGE, "192.0.2.8")):
        assert oversight.end(access_of(people.administrator), page.session.pk)
    closed = client.closed(2)
    assert (closed.code, closed.reason) == (Close.WITHDRAWN, "ended administrator")
    assert page.row.ended_by == people.administrator
    told = AuditLine.objects.filter(details__contains=f'"console":{page.session.pk}').order_by("number")
    assert [(line.event, line.actor, line.result) for line in told] == [
        ("domain.console", "operator", "asked"),
        ("domain.console", "operator", "begun"),
        ("console.end", "administrator", "done"),
        ("domain.console", "operator", "done"),
    ]


@pytest.mark.parametrize(
    ("column", "reason"), [("revoked_at", EndReason.LINK), ("expires_at", EndReason.LINK), ("", EndReason.RIGHT)]
)
def test_a_guest_leaves_with_the_link_or_the_right_of_who_made_it(
    proxy: Process, people: Cast, blank_guest: Guest, column: str, reason: EndReason
) -> None:
    link = guestlinks.make(access_of(people.owner), people.domain, "Vendor", ConsoleMode.CONTROL, 60)[0]
    login = SessionStore()
    guestlinks.hold(login, link)
    login.create()
    page = open_page(link, people.domain, session_key=login.session_key)
    client = page.connect()
    client.handshake()
    if column:
        GuestLink.objects.update(**{column: timezone.now()})
    else:
        Grant.objects.filter(user=people.owner).update(role="operator")
    closed = client.closed(2)
    assert (closed.code, closed.reason) == (Close.WITHDRAWN, reason)
    page.ends(reason)


@pytest.mark.parametrize(
    ("cause", "reason"),
    [
        (sign_out, EndReason.LOGOUT),
        (expire, EndReason.LOGOUT),
        (change_password, EndReason.PASSWORD),
        (deactivate, EndReason.DEACTIVATED),
        (withdraw, EndReason.RIGHT),
        (lower, EndReason.RIGHT),
        (machine(status=Status.SHUTOFF), EndReason.OFF),
        (machine(missing_since="2026-01-01T00:00Z"), EndReason.MISSING),
        (move, EndReason.MOVED),
        (remove_host, EndReason.MISSING),
        (run_out, EndReason.LEASE),
    ],
)
def test_a_console_ends_within_two_seconds_of_its_cause(
    proxy: Process, people: Cast, blank_guest: Guest, cause: Callable[[Cast, Page], None], reason: EndReason
) -> None:
    page, client = connected(people, "operator")
    cause(people, page)
    closed = client.closed(2)
    assert (closed.code, closed.reason) == (Close.WITHDRAWN, reason)
    page.ends(reason)


def test_a_console_held_by_a_group_on_a_project_ends_with_it(proxy: Process, people: Cast, blank_guest: Guest) -> None:
    project, team = projects.add("shop"), groups.add("night shift")
    type(people.domain).objects.filter(pk=people.domain.pk).update(project=project)
    grants.give(team, "operator", project)
    groups.put_in(team, people.operator)
    Grant.objects.filter(user=people.operator).delete()
    page, client = connected(people, "operator")
    groups.take_out(team, people.operator)
    closed = client.closed(2)
    assert (closed.code, closed.reason) == (Close.WITHDRAWN, EndReason.RIGHT)
    page.ends(EndReason.RIGHT)


def test_what_is_typed_after_the_end_never_arrives(
    proxy: Process, people: Cast, linux: Guest, serial: Callable[[], str]
) -> None:
    page, client = connected(people, "operator")
    withdraw(people, page)
    until(lambda: page.row.ended_at or gone(client), 3, what="the end")
    with suppress(OSError):
        type_line(client, "echo toolate >/dev/console")
    page.ends(EndReason.RIGHT)
    other = connected(people, "owner")[1]
    type_line(other, "echo intime >/dev/console")
    until(lambda: "intime" in serial(), 15, what="the owner's word")
    assert "toolate" not in serial()
    other.close()


def gone(client: Client) -> bool:
    """Whether the proxy has closed, without taking note of it as a browser would."""
    return bool(client.sock.recv(65536, 2)[-32:].count(b"right"))


def test_the_end_of_the_machine_ends_its_console_at_once(proxy: Process, people: Cast, blank_guest: Guest) -> None:
    page, client = connected(people, "operator")
    blank_guest.virsh("destroy")
    assert client.closed(2).code == Close.GUEST
    page.ends(EndReason.GUEST)


def test_a_machine_that_is_off_after_all_is_named_so(proxy: Process, people: Cast, blank_guest: Guest) -> None:
    page = open_page(people.operator, people.domain)
    blank_guest.virsh("destroy")
    closed = page.connect().closed(5)
    assert closed.code == Close.NOT_NOW
    assert closed.reason
    page.ends(EndReason.FAILED)


def test_a_ticket_of_one_machine_never_shows_the_next(proxy: Process, people: Cast, blank_guest: Guest) -> None:
    """The display's port goes to whoever starts next; the ticket does not."""
    page = open_page(people.operator, people.domain)
    blank_guest.virsh("destroy")
    usurper = Guest("wvc-usurper").define()
    try:
        usurper.virsh("start")
        assert page.connect().closed(5).code == Close.NOT_NOW
    finally:
        usurper.remove()


def test_a_host_that_does_not_answer_is_the_hop_that_is_named(proxy: Process, people: Cast) -> None:
    Host.objects.filter(pk=people.host.pk).update(transport=Transport.TCP, hostname="127.0.0.1", port=8129)
    page = open_page(people.operator, people.domain)
    closed = page.connect().closed(10)
    assert closed.code == Close.HOST
    page.ends(EndReason.FAILED)


# --- what ends no console


def still_there(client: Client) -> bool:
    client.send(update_request(16, 16))
    try:
        return bool(client.read(4 + 12 + 16))
    except Closed:
        return False


def test_redis_may_die(proxy: Process, people: Cast, blank_guest: Guest, redis_server: Process) -> None:
    _, client = connected(people, "operator")
    redis_server.stop(signal.SIGKILL)
    time.sleep(3)
    assert still_there(client)
    client.close()


def test_a_locked_database_is_not_a_no(proxy: Process, people: Cast, blank_guest: Guest) -> None:
    _, client = connected(people, "operator")
    with closing(sqlite3.connect(HOME / "webvirt.sqlite3", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        time.sleep(3)
        other.execute("ROLLBACK")
    assert still_there(client)
    client.close()


def test_a_state_that_cannot_be_learnt_keeps_the_console(proxy: Process, people: Cast, blank_guest: Guest) -> None:
    page, client = connected(people, "operator")
    machine(status=Status.UNKNOWN)(people, page)
    Host.objects.filter(pk=people.host.pk).update(state="down")
    time.sleep(2.5)
    assert still_there(client)
    client.close()


def test_a_lease_that_nobody_could_renew_has_not_run_out(people: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    line, console = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    keeper = Keeper(console, console)
    keeper.charges[0] = Charge(Admission(1, "view", "screen", "", "", 1, ""), line)
    monkeypatch.setattr(consoles, "withdrawn", raises(OperationalError("locked")))
    keeper._try_database(keeper._watch)
    monkeypatch.setattr(consoles, "withdrawn", lambda asked: {1: EndReason.LEASE})
    keeper._try_database(keeper._watch)
    assert keeper.charges[0].told is None
    monkeypatch.setattr(keeper, "_excused_until", 0)
    keeper._try_database(keeper._watch)
    assert keeper.charges[0].told == EndReason.LEASE


def raises(error: Exception) -> Callable[..., None]:
    def call(*arguments: object) -> None:
        raise error

    return call


# --- the proxy itself


def test_the_proxy_says_that_it_lives(proxy: Process, people: Cast) -> None:
    beat = until(lambda: Beating.objects.filter(kind="consoleproxy").first(), 5, what="a beat")
    assert beat
    assert beat.name.endswith(f":{proxy.pid}")


def test_a_stopped_proxy_sends_its_consoles_off_in_words(no_proxy: None, people: Cast, blank_guest: Guest) -> None:
    process = start_proxy()
    page, client = connected(people, "operator")
    started = time.monotonic()
    os.kill(process.pid, signal.SIGTERM)
    assert client.closed(3).code == 1012
    assert process.popen.wait(timeout=6) == 0
    assert time.monotonic() - started < 4
    page.ends(EndReason.PROXY)
    assert not Beating.objects.filter(kind="consoleproxy").exists()


def test_after_a_killed_proxy_the_next_one_tidies_up(no_proxy: None, people: Cast, blank_guest: Guest) -> None:
    process = start_proxy()
    page, client = connected(people, "operator")
    os.kill(process.pid, signal.SIGKILL)
    process.popen.wait()
    # Without the listener the keeper goes too, and with it every console.
    assert client.closed(5).code in (0, 1012)
    again = start_proxy()
    page.ends(EndReason.PROXY)
    assert again.stop() == 0


def test_without_its_keeper_the_proxy_does_not_go_on(no_proxy: None, people: Cast, blank_guest: Guest) -> None:
    process = start_proxy()
    (keeper,) = processes_of(process.pid)
    _, client = connected(people, "operator")
    os.kill(keeper, signal.SIGKILL)
    assert client.closed(3).code == 1012
    process.popen.wait(timeout=8)


def test_no_ticket_and_no_login_stands_in_the_log(proxy: Process, people: Cast, blank_guest: Guest) -> None:
    page, client = connected(people, "operator")
    client.close()
    page.ends(EndReason.CLOSED)
    log = Path(HOME / "proxy.log").read_text()
    assert page.visitor.ticket not in log
    assert page.visitor.session_key not in log

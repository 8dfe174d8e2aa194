"""Hosts: how we get in, whom we take them for, and what is never taken for an address."""

from __future__ import annotations

import json
from typing import Any
from typing import cast as cast_to

import pytest
import redis
from django.core.management import call_command
from django.db import connection
from django.test import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.api.conftest import Caller
from tests.fakes import FakeConnection
from tests.hypervisor.test_addresses import HOSTILE, KEY, OTHER_KEY, RSA
from tests.people import Cast, make_host
from tests.services.carrying import WorkerOnFake, worker_on
from webvirt.hypervisor.addresses import fingerprint
from webvirt.hypervisor.errors import HostRefused, HostUnreachable, IdentityChanged, IdentityUnknown
from webvirt.hypervisor.types import HostAddress, Transport
from webvirt.models import AuditLine, Host, HostState, Operation, OperationState, Origin
from webvirt.services import hosts, inventory, operations
from webvirt.services.catalogue import BY_KIND
from webvirt.services.catalogue.hosts import HostSpec
from webvirt.services.operations import Actor, Invalid, parse_parameters
from webvirt.services.runners import context
from webvirt.services.runners import hosts as runners
from webvirt.services.unsealing import way_to
from webvirt.services.watcher import watch
from webvirt.services.watcher.watch import HostWatch

PASSWORD = "c0rrect-h0rse"
PARTS = {"name": "far", "transport": "tls", "hostname": "far.example.org", "user": "ada", "password": PASSWORD}
FIELDS = ("name", "transport", "hostname", "port", "user", "password")


@pytest.fixture
def worker(cast: Cast, store: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> WorkerOnFake:
    """One who tries nothing: no host of these tests is there."""
    monkeypatch.setattr(runners, "check", lambda _context: {"steps": 0})
    return worker_on(FakeConnection(), cast.administrator, monkeypatch)


@pytest.fixture
def far(cast: Cast, worker: WorkerOnFake) -> Host:
    return worker.carry_out(hosts.add(worker.actor, PARTS)).host


def edit(worker: WorkerOnFake, host: Host, **changes: Any) -> Operation:
    parts = {key: value for key, value in PARTS.items() if key != "password"}
    return worker.do("host.edit", host, **(parts | changes))


# --- passwords


def test_a_password_is_read_by_the_worker_alone(
    cast: Cast, worker: WorkerOnFake, store: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    browser = Client()
    browser.force_login(cast.administrator)
    caller = Caller(cast.administrator)
    told = [
        caller.post("/hosts", PARTS).content.decode(),
        browser.post("/hosts/add/", PARTS | {"name": "far-2", "hostname": "f2"}, follow=True).content.decode(),
        # Refused: what was typed comes back, but not this.
        browser.post("/hosts/add/", PARTS | {"name": "/", "hostname": "-"}).content.decode(),
    ]
    host = Host.objects.get(name="far")
    kept = [store.get(key) for key in store.scan_iter()]
    told += [caller.get(path).content.decode() for path in ("/hosts", f"/hosts/{host.pk}", "/operations")]
    told += [browser.get(f"/hosts/{host.pk}/{tab}").content.decode() for tab in ("", "edit/", "log/")]
    connection.ensure_connection()
    told += ["\n".join(connection.connection.iterdump()), caplog.text, str(kept), repr(host.address), str(host)]
    assert [text for text in told if PASSWORD in text] == []
    assert len(kept) == 2, "for the operations, which have no need of it"
    assert way_to(host).password == PASSWORD
    assert json.loads(caller.get(f"/hosts/{host.pk}").content)["password_at"]


def test_a_password_stays_with_the_address_that_it_was_entered_for(far: Host, worker: WorkerOnFake) -> None:
    assert edit(worker, far, name="farther").state == OperationState.SUCCEEDED
    assert way_to(far).password == PASSWORD
    for changes in ({"hostname": "eve.example.org"}, {"user": "eve"}, {"port": 7}):
        with pytest.raises(Invalid) as refused:
            edit(worker, far, **changes)
        assert set(refused.value.fields) == {"password"}
    assert edit(worker, far, hostname="near.example.org", password="another").state == OperationState.SUCCEEDED
    assert way_to(far).password == "another"
    assert edit(worker, far, transport="ssh", user="root").state == OperationState.SUCCEEDED
    assert way_to(far).password == ""


def test_a_host_without_its_key_is_shown_as_that(
    far: Host, monkeypatch: pytest.MonkeyPatch, client: Client, cast: Cast
) -> None:
    Host.objects.filter(pk=far.pk).update(sealed_password="00000000.AAAA")
    with pytest.raises(HostRefused):
        HostWatch(far, lambda: None).run()
    far.refresh_from_db()
    assert far.state == HostState.LOCKED
    client.force_login(cast.administrator)
    page = client.get(f"/hosts/{far.pk}/").content.decode()
    assert "credentials unavailable" in page
    assert f"/hosts/{far.pk}/edit/" in page


def test_tcp_is_taken_only_where_it_is_meant(cast: Cast, worker: WorkerOnFake) -> None:
    parts = PARTS | {"transport": "tcp"}
    with pytest.raises(Invalid, match="say that this is meant"):
        hosts.add(worker.actor, parts)
    assert hosts.add(worker.actor, parts | {"unencrypted": True}).host.transport == Transport.TCP


# --- keys of hosts


@pytest.fixture
def near(cast: Cast) -> Host:
    return make_host("near", transport=Transport.SSH, hostname="near.example.org", user="root", state="unconfirmed")


def test_the_keys_that_were_compared_are_the_ones_from_now_on(near: Host, worker: WorkerOnFake) -> None:
    Host.objects.filter(pk=near.pk).update(offered=[KEY, RSA])
    both = [fingerprint(KEY), fingerprint(RSA)]
    operation = worker.do("host.trust", near, fingerprints=both, replaces=[])
    assert operation.state == OperationState.SUCCEEDED, operation.error
    near.refresh_from_db()
    assert (near.keys, near.offered) == ([KEY, RSA], [])
    assert near.address.keys == (KEY, RSA)
    assert operation.parameters["fingerprints"] == both


@pytest.mark.parametrize("given", [[OTHER_KEY], [KEY], [KEY, RSA, OTHER_KEY]], ids=["others", "fewer", "more"])
def test_other_keys_than_were_compared_are_not_taken(near: Host, worker: WorkerOnFake, given: list[str]) -> None:
    Host.objects.filter(pk=near.pk).update(offered=[KEY, RSA])
    operation = worker.do("host.trust", near, fingerprints=[fingerprint(key) for key in given])
    assert operation.state == OperationState.FAILED
    assert "other keys by now" in operation.error
    near.refresh_from_db()
    assert near.keys == []


def test_there_is_nothing_to_confirm_where_it_shows_nothing_new(near: Host, worker: WorkerOnFake) -> None:
    with pytest.raises(operations.NotNow, match="no key"):
        worker.ask("host.trust", near, fingerprints=[fingerprint(KEY)])


def test_at_another_address_is_somebody_else(near: Host, worker: WorkerOnFake) -> None:
    Host.objects.filter(pk=near.pk).update(keys=[KEY])
    parts = {"name": "near", "transport": "ssh", "hostname": near.hostname}
    worker.do("host.edit", near, **parts, user="ops")
    near.refresh_from_db()
    assert near.keys == [KEY]
    worker.do("host.edit", near, **(parts | {"hostname": "elsewhere"}))
    near.refresh_from_db()
    assert near.keys == []


@pytest.mark.parametrize(
    ("error", "state"),
    [(IdentityUnknown("?", (KEY,)), HostState.UNCONFIRMED), (IdentityChanged("!", (KEY,)), HostState.CHANGED)],
    ids=["unknown", "changed"],
)
def test_before_a_host_is_known_nothing_is_opened(
    near: Host, monkeypatch: pytest.MonkeyPatch, error: IdentityUnknown, state: HostState
) -> None:
    opened: list[HostAddress] = []

    def verify(_address: HostAddress) -> None:
        raise error

    Host.objects.filter(pk=near.pk).update(keys=[OTHER_KEY])
    near.refresh_from_db()
    monkeypatch.setattr(watch, "verify", verify)
    monkeypatch.setattr(watch, "connect", opened.append)
    with pytest.raises(IdentityUnknown):
        HostWatch(near, lambda: None).run()
    near.refresh_from_db()
    assert (near.state, near.offered, opened) == (state, [KEY], [])
    assert not near.is_up


@pytest.mark.parametrize("shows", [(OTHER_KEY,), ()], ids=["ssh", "tls"])
def test_another_identity_is_told_once_and_not_at_each_look(
    near: Host, monkeypatch: pytest.MonkeyPatch, shows: tuple[str, ...]
) -> None:
    def look(error: Exception) -> int:
        """How often it was told after another look."""

        def verify(_address: HostAddress) -> None:
            raise error

        monkeypatch.setattr(watch, "verify", verify)
        with pytest.raises(HostRefused if isinstance(error, HostRefused) else HostUnreachable):
            HostWatch(Host.objects.get(pk=near.pk), lambda: None).run()
        return AuditLine.objects.filter(event="host.identity").count()

    Host.objects.filter(pk=near.pk).update(keys=[KEY], state=HostState.UP)
    assert [look(IdentityChanged("another", shows)) for _ in range(4)] == [1] * 4
    line = AuditLine.objects.get(event="host.identity")
    assert (line.name, line.result, line.actor, line.object_id) == ("near", "denied", "webvirt", near.pk)
    assert json.loads(line.details) == {"reason": "another"}
    if shows:
        # Away in between, it is the same one; a third one is another.
        assert look(HostUnreachable("away")) == 1
        assert look(IdentityChanged("another", shows)) == 1
        assert look(IdentityChanged("another", (*shows, RSA))) == 1
        Host.objects.filter(pk=near.pk).update(offered=[])
        inventory.host_is(near.pk, HostState.UP)
        assert look(IdentityChanged("another", (KEY, RSA))) == 2
        assert look(IdentityChanged("another", shows)) == 3
    inventory.remember_offered(near.pk, ())
    inventory.host_is(near.pk, HostState.UP)
    assert look(IdentityChanged("again", shows)) == (4 if shows else 2)


def test_over_an_older_connection_nothing_goes_either(near: Host, worker: WorkerOnFake) -> None:
    near.state = HostState.CHANGED
    with pytest.raises(IdentityChanged):
        context.connection_with(near)
    near.state = HostState.UP
    assert context.connection_with(near) is worker.host  # type: ignore[comparison-overlap]


def test_the_page_names_both_keys_and_strangers_see_neither(near: Host, cast: Cast, client: Client) -> None:
    Host.objects.filter(pk=near.pk).update(keys=[KEY], offered=[OTHER_KEY], state=HostState.CHANGED, state_reason="!")
    client.force_login(cast.administrator)
    for path in ("", "trust/"):
        page = client.get(f"/hosts/{near.pk}/{path}").content.decode()
        assert fingerprint(KEY) in page
        assert fingerprint(OTHER_KEY) in page
    told = Caller(cast.administrator).get(f"/hosts/{near.pk}").json()
    assert (told["keys"], told["offered"]) == ([fingerprint(KEY)], [fingerprint(OTHER_KEY)])
    near.grants.create(user=cast.stranger, role="viewer")
    client.force_login(cast.stranger)
    assert "SHA256" not in client.get(f"/hosts/{near.pk}/").content.decode()
    told = Caller(cast.stranger).get(f"/hosts/{near.pk}").json()
    assert (told["keys"], told["offered"], told["password_at"]) == ([], [], None)


# --- hostile addresses


@pytest.fixture
def doors(cast: Cast, worker: WorkerOnFake) -> Any:
    """Each way by which an address comes in; all of them answer with what is wrong, or None."""
    browser = Client(headers={"Accept": "application/json"})
    browser.force_login(cast.administrator)
    caller = Caller(cast.administrator)
    spare = make_host("spare", transport=Transport.TLS, hostname="spare.example.org")

    def form(parts: dict[str, Any], path: str = "/hosts/add/") -> bool:
        answer = browser.post(path, {key: value for key, value in parts.items() if value is not None})
        assert answer.status_code in (202, 400, 422), answer.content[:300]
        return answer.status_code != 202 and bool(answer.json()["error"])

    def api(parts: dict[str, Any], path: str = "/hosts") -> bool:
        answer = caller.post(path, parts)
        assert answer.status_code in (202, 400, 422), answer.content[:300]
        return answer.status_code != 202 and bool(answer.json()["error"])

    def service(parts: dict[str, Any]) -> bool:
        try:
            hosts.add(Actor(None, Origin.SYSTEM), parts)
        except Invalid as error:
            return bool(str(error))
        return False

    return {
        "form": form,
        "api": api,
        "service": service,
        "edit-form": lambda parts: form(parts, f"/hosts/{spare.pk}/edit/"),
        "edit-api": lambda parts: api(parts, f"/hosts/{spare.pk}/edit"),
    }


@pytest.mark.parametrize("door", ["form", "api", "service", "edit-form", "edit-api"])
@pytest.mark.parametrize("field", ["hostname", "user", "port", "transport"])
def test_hostile_fields_are_refused_at_every_door(doors: Any, field: str, door: str) -> None:
    """All of them by the service, which each door ends at, some by the doors themselves."""
    before = Host.objects.count()
    # The space around what is typed into a form is nobody's intent; an empty field is not filled in.
    texts = [text for text in HOSTILE[:: 1 if door == "service" else 5] if "form" not in door or text.strip() == text]
    usual = {"name": "new", "transport": "ssh", "hostname": "h.example.org"}
    let_in = [text for text in texts if text and not doors[door](usual | {field: text})]
    assert let_in == (["h_x"] if field == "user" and "h_x" in texts else []), "it is a good name of an account"
    assert Host.objects.count() - before == Operation.objects.filter(kind="host.add").count() <= len(let_in)


def test_the_command_takes_no_address(cast: Cast) -> None:
    """It adds this machine alone: there is nothing of an address to give it."""
    with pytest.raises(TypeError):
        call_command("addlocalhost", hostname="h?socket=/x")


ANYTHING = st.one_of(st.text(max_size=80), st.integers(), st.booleans(), st.none(), st.lists(st.text(max_size=3)))


@pytest.mark.parametrize("field", FIELDS)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=150)
@given(value=ANYTHING)
def test_whatever_is_given_is_refused_or_is_what_it_says(field: str, value: Any) -> None:
    parts = {"name": "new", "transport": "tls", "hostname": "h.example.org", "user": "ada", "password": "x"}
    try:
        address = cast_to(HostSpec, parse_parameters(BY_KIND["host.add"], parts | {field: value})).address
    except Invalid as error:
        wrong = error.fields
        address = None
    if address is None:
        assert all(wrong.values())
        assert len(str(value)) < 12 or not any(str(value) in sentence for sentence in wrong.values())
        return
    assert address.transport in Transport
    assert not set(f"{address.hostname}{address.user}") & set("/?#@%&=\\ \n\r\t\0'\"$`;|<>")
    assert not f"{address.hostname}{address.user}".startswith("-")

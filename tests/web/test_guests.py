"""Guest links: made by who may, shown once, and good for one console and nothing else, until they are not."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from tests.api.conftest import Caller
from tests.people import Cast
from webvirt.models import AuditLine, ConsoleSession, Domain, Grant, GuestLink, LoginSession, Status, User
from webvirt.services import consoles, consoleviews, guestlinks, sessions
from webvirt.services.access import access_of
from webvirt.services.consoles import Close, Refusal

LINK = re.compile(r"/guest/([A-Za-z0-9_-]{43})/")
ASKED = {"name": "Vendor", "mode": "control", "minutes": "60"}


def make(cast: Cast, **asked: str) -> str:
    """The secret of a link that the owner made on the page, which shows it that once."""
    client = Client()
    client.force_login(cast.owner)
    page = f"/vms/{cast.domain.pk}/guests/"
    answer = client.post(page, ASKED | asked)
    (raw,) = set(LINK.findall(answer.content.decode()))
    assert raw not in client.get(page).content.decode()
    assert not GuestLink.objects.filter(digest=raw).exists()
    return str(raw)


def arrived(raw: str, address: str = "198.51.100.7") -> Client:
    """The browser of a guest who pressed the button."""
    client = Client(REMOTE_ADDR=address)
    assert client.get(f"/guest/{raw}/").status_code == 200
    answer = client.post(f"/guest/{raw}/")
    assert (answer.status_code, answer["Location"]) == (302, f"/guest/{GuestLink.objects.latest('pk').pk}/console/")
    return client


def opens(client: Client) -> int:
    return client.get(f"/guest/{GuestLink.objects.latest('pk').pk}/console/").status_code


def told(event: str) -> list[tuple[str, str, str]]:
    lines = AuditLine.objects.filter(event=event).order_by("number")
    return [(line.actor, line.address, line.result) for line in lines]


def test_a_guest_gets_the_console_and_nothing_else(cast: Cast) -> None:
    raw = make(cast)
    guest = arrived(raw)
    page = guest.get(f"/guest/{GuestLink.objects.get().pk}/console/").content.decode()
    assert "data-may-control" in page
    assert "web-1" in page
    for name in ("alpha", "/vms/", "db-1", raw):
        assert name not in page
    for path in ("/", "/vms/", f"/vms/{cast.domain.pk}/", f"/vms/{cast.domain.pk}/console/", "/consoles/"):
        assert guest.get(path)["Location"].startswith("/login/")
    assert guest.get(f"/api/v1/domains/{cast.domain.pk}").status_code == 401
    assert told("guest_link.make") == [("owner", "127.0.0.1", "done")]
    assert told("guest_link.use") == [("guest: Vendor", "198.51.100.7", "done")]
    assert '"made_by":"owner"' in AuditLine.objects.get(event="guest_link.use").details
    link = GuestLink.objects.get()
    assert (link.uses, link.last_address) == (1, "198.51.100.7")


def test_looking_at_a_link_uses_nothing_up(cast: Cast) -> None:
    raw = make(cast)
    looking = Client()
    assert "web-1" in looking.get(f"/guest/{raw}/").content.decode()
    assert opens(looking) == 404
    assert GuestLink.objects.get().uses == 0
    assert opens(arrived(raw)) == 200


def revoked(cast: Cast, link: GuestLink) -> None:
    assert guestlinks.revoke(access_of(cast.administrator), cast.domain, link.pk)


def run_out(cast: Cast, link: GuestLink) -> None:
    GuestLink.objects.update(expires_at=timezone.now())


def right_withdrawn(cast: Cast, link: GuestLink) -> None:
    Grant.objects.filter(user=cast.owner).update(role="operator")


def deactivated(cast: Cast, link: GuestLink) -> None:
    User.objects.filter(pk=cast.owner.pk).update(is_active=False)


def gone(cast: Cast, link: GuestLink) -> None:
    Domain.objects.filter(pk=cast.domain.pk).update(missing_since=timezone.now())


@pytest.mark.parametrize("cause", [revoked, run_out, right_withdrawn, deactivated, gone])
def test_what_ends_a_link(cast: Cast, cause: Any) -> None:
    raw = make(cast)
    guest = arrived(raw)
    assert opens(guest) == 200
    cause(cast, GuestLink.objects.get())
    assert opens(guest) == 404
    assert Client().get(f"/guest/{raw}/").status_code == 404
    assert Client().post(f"/guest/{raw}/").status_code == 404


def test_a_link_is_not_guessed(cast: Cast) -> None:
    client = Client(REMOTE_ADDR="198.51.100.9")
    statuses = [client.get(f"/guest/{'x' * 43}{number}/").status_code for number in range(15)]
    assert statuses[0] == 404
    assert statuses[-1] == 403
    raw = make(cast)
    assert Client().get(f"/guest/{raw}/").status_code == 200


@pytest.mark.parametrize(
    "asked", [{"name": " "}, {"name": "x" * 61}, {"mode": "all"}, {"minutes": "1"}, {"minutes": "-60"}, {"minutes": ""}]
)
def test_what_is_no_link(cast: Cast, client: Client, asked: dict[str, str]) -> None:
    client.force_login(cast.owner)
    assert client.post(f"/vms/{cast.domain.pk}/guests/", ASKED | asked).status_code == 400
    assert not GuestLink.objects.exists()


def test_a_guest_may_no_more_than_who_invites(cast: Cast) -> None:
    caller = Caller(cast.operator)
    assert caller.post(f"/domains/{cast.domain.pk}/guest-links", ASKED).status_code == 403
    assert told("guest_link.make") == [("operator", "127.0.0.1", "denied")]
    caller = Caller(cast.owner)
    answer = caller.post(f"/domains/{cast.domain.pk}/guest-links", ASKED | {"mode": "view"})
    assert answer.status_code == 201
    link, key = GuestLink.objects.get(), "k" * 32
    assert LINK.search(answer.json()["url"])
    Domain.objects.update(status=Status.RUNNING)
    with pytest.raises(Refusal) as refused:
        consoles.open_session(link, key, cast.domain.pk, "control", None)
    assert refused.value.code == Close.WITHDRAWN
    with pytest.raises(Refusal):
        consoles.open_session(link, key, cast.domain.pk, "view", None, record=True)
    with pytest.raises(Refusal):
        consoles.open_session(link, key, cast.other.pk, "view", None)
    session = consoles.open_session(link, key, cast.domain.pk, "view", "198.51.100.7")
    assert (session.person, session.may_type) == ("guest: Vendor", False)
    with pytest.raises(Refusal):
        consoles.resume(session.pk, cast.owner, key)
    assert consoles.resume(session.pk, link, key) == session
    (item,) = caller.get(f"/domains/{cast.domain.pk}/guest-links").json()
    assert (item["name"], item["made_by"], item["uses"]) == ("Vendor", "owner", 0)
    assert caller.call("DELETE", f"/domains/{cast.other.pk}/guest-links/{link.pk}").status_code == 404
    assert caller.call("DELETE", f"/domains/{cast.domain.pk}/guest-links/{link.pk}").status_code == 204
    assert caller.call("DELETE", f"/domains/{cast.domain.pk}/guest-links/{link.pk}").status_code == 404


def test_a_guest_is_not_told_who_the_people_are(cast: Cast) -> None:
    make(cast)
    Domain.objects.update(status=Status.RUNNING)
    own = consoles.open_session(cast.operator, "k" * 32, cast.domain.pk, "control", None)
    guest = consoles.open_session(GuestLink.objects.get(), "l" * 32, cast.domain.pk, "control", None)
    ConsoleSession.objects.update(opened_at=timezone.now())
    assert [other.name for other in consoleviews.look(guest).others] == [""]
    assert [other.name for other in consoleviews.look(own).others] == ["guest: Vendor"]
    # Whose machine it is need not ask; their guest has to.
    told_own = consoleviews.look(guest).own
    assert told_own
    assert not told_own.may_take


def test_a_guests_session_lasts_as_long_as_the_link(cast: Cast) -> None:
    arrived(make(cast, minutes=str(7 * 24 * 60)))
    row = LoginSession.objects.get(user=None)
    store = sessions.SessionStore(row.session_key)
    assert store[guestlinks.HELD]
    LoginSession.objects.filter(pk=row.pk).update(last_used_at=timezone.now() - timedelta(hours=1))
    store = sessions.SessionStore(row.session_key)
    assert store[guestlinks.HELD]
    sessions.note_use(store)
    row.refresh_from_db()
    assert row.expire_date > timezone.now() + timedelta(days=6)

"""Threats of THREAT_MODEL.md that no feature's own tests are about."""

from __future__ import annotations

import asyncio
import json
import pickle
from collections.abc import Callable, Iterator
from uuid import uuid4

import pytest
from channels.db import database_sync_to_async
from channels.testing import HttpCommunicator
from django.conf import settings
from kombu.exceptions import ContentDisallowed
from kombu.serialization import loads
from lxml import etree

from tests.guests import Guest
from tests.hypervisor.domain_specs import SPECS
from tests.people import Cast
from tests.realtime.conftest import session_cookie
from tests.web.conftest import Enter, enter
from webvirt.celery import app
from webvirt.hypervisor.connection import connect
from webvirt.hypervisor.types import DomainCopy, HostAddress, Transport
from webvirt.hypervisor.xml.domains import build_domain
from webvirt.lanes import LanedHandler
from webvirt.models import Grant, Operation, Origin, User
from webvirt.services import operations, runners
from webvirt.services.catalogue import BY_KIND
from webvirt.tasks import run_operation

__all__ = ["enter"]

MORE = {
    "is_superuser": "1",
    "is_staff": "1",
    "is_service": "1",
    "is_active": "0",
    "username": "root",
    "password": "x",
    "id": "1",
    "pk": "1",
    "user": "1",
    "role": "administrator",
    "grants": "administrator",
    "created_by": "1",
}


def test_a_form_makes_nobody_more_than_they_are(cast: Cast, enter: Enter) -> None:
    """What a form does not offer changes nothing, however it is called."""
    kept = ("language", "theme", "last_login")

    def people() -> list[dict[str, object]]:
        rows = User.objects.order_by("pk").values()
        return [{name: value for name, value in row.items() if name not in kept} for row in rows]

    before, grants = people(), list(Grant.objects.values())
    client = enter("owner")
    for path, form in (
        ("/me/preferences/", {"language": "en", "theme": "dark"}),
        ("/me/ssh-keys/", {"ssh_keys": ""}),
        ("/me/tokens/", {"token": "t", "days": "1"}),
    ):
        assert client.post(path, MORE | form).status_code < 500
    assert people() == before
    assert list(Grant.objects.values()) == grants


@pytest.mark.parametrize("name", SPECS)
def test_no_machine_of_ours_shows_its_screen_to_the_network(name: str) -> None:
    screens = etree.fromstring(build_domain(SPECS[name])).findall("devices/graphics")
    assert [dict(listen.attrib) for screen in screens for listen in screen] == [{"type": "socket"}] * len(screens)
    assert not [screen for screen in screens if {"listen", "port"} & set(screen.attrib)]


PASSWORD = "wvprox-8"


@pytest.fixture
def with_password() -> Iterator[Guest]:
    graphics = f"<graphics type='vnc' port='-1' autoport='yes' listen='127.0.0.1' passwd='{PASSWORD}'/>"
    guest = Guest(f"wvproxies-{uuid4().hex[:4]}", graphics=graphics).define()
    yield guest
    guest.remove()


def test_a_screens_password_survives_every_change(with_password: Guest) -> None:
    """libvirt leaves passwords out of what it tells unless asked; who writes that back opens the screen to all."""
    copy = DomainCopy(str(uuid4()), f"{with_password.name}-copy")

    def password(uuid: str) -> str | None:
        with_secrets = etree.fromstring(with_password.virsh("dumpxml", "--security-info", "--inactive"))
        return with_secrets.find("devices/graphics").get("passwd")  # type: ignore[union-attr]

    with connect(HostAddress(Transport.LOCAL)) as connection:
        calls = connection.domains
        changes: tuple[Callable[[], None], ...] = (
            lambda: calls.describe(with_password.uuid, title="t", description="d", tags=["a"]),
            lambda: calls.set_autostart(with_password.uuid, True),
            lambda: calls.set_autostart(with_password.uuid, False),
            lambda: calls.rename(with_password.uuid, f"{with_password.name}-2"),
            lambda: calls.define_copy(with_password.uuid, copy),
        )
        for change in changes:
            change()
            assert password(with_password.uuid) == PASSWORD
        try:
            made = Guest(copy.name, uuid=copy.uuid)
            copied = etree.fromstring(made.virsh("dumpxml", "--security-info", "--inactive"))
            assert copied.find("devices/graphics").get("passwd") == PASSWORD  # type: ignore[union-attr]
        finally:
            calls.undefine(copy.uuid)


# --- whoever writes to Redis


def test_a_worker_takes_json_and_one_task_alone() -> None:
    assert list(app.conf.accept_content) == ["json"]
    assert app.conf.task_serializer == "json"
    assert {name for name in app.tasks if not name.startswith("celery.")} == {run_operation.name}
    with pytest.raises(ContentDisallowed):
        loads(pickle.dumps([]), "application/x-python-serialize", "binary", accept=app.conf.accept_content)


def test_a_forged_number_does_nothing(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    """A number is all that a message can say: of nothing, of what has ended, of what one may not (any more)."""
    monkeypatch.setattr(operations, "send", lambda operation: None)
    actor = operations.Actor(cast.owner, Origin.PAGE)
    asked = operations.submit(actor, BY_KIND["domain.start"], cast.domain)
    assert operations.cancel(asked)
    denied = operations.submit(actor, BY_KIND["domain.start"], cast.domain)
    Grant.objects.filter(user=cast.owner).delete()
    for pk in (0, 999_999, asked.pk, denied.pk):
        runners.run(pk)
    assert dict(Operation.objects.values_list("pk", "state")) == {asked.pk: "cancelled", denied.pk: "denied"}


# --- many at once


async def test_everybody_gets_their_own_answer(transactional_db: None, cast: Cast) -> None:
    """A hundred and twenty requests of four people at the same time, on lanes that they share."""
    handler = LanedHandler()
    who = ["owner", "operator", "viewer", "stranger"]
    cookies = {name: await database_sync_to_async(session_cookie)(cast.who(name)) for name in who}

    async def ask(name: str) -> tuple[str, str]:
        headers = [(b"host", b"testserver"), (b"cookie", f"{settings.SESSION_COOKIE_NAME}={cookies[name]}".encode())]
        answer = await HttpCommunicator(handler, "GET", "/api/v1/me", b"", headers).get_response(30)
        assert answer["status"] == 200
        return name, str(json.loads(answer["body"])["username"])

    answers = await asyncio.gather(*(ask(name) for name in who * 30))
    assert [answer for answer in answers if answer[0] != answer[1]] == []

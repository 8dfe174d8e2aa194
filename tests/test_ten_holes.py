"""The ten ways into WebVirtCloud that were shown to be open there, tried here. None may lead anywhere: 0 of 10.

Each test is the attack in our own terms, by whoever could do it there, and says at its end that nothing has happened.
THREAT_MODEL.md names what else proves each.
"""

from __future__ import annotations

import json
import os
import runpy
from pathlib import Path
from typing import Any

import pytest
from channels.db import database_sync_to_async
from channels.testing import WebsocketCommunicator
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.test import Client

from tests.api.conftest import Caller
from tests.people import Cast
from tests.realtime.conftest import session_cookie
from tests.stack import PROJECT
from tests.test_permissions import PARAMETERS, furnish, ready_for, unsent
from webvirt.models import Host, Operation, Role, User
from webvirt.realtime import urls as sockets
from webvirt.services.catalogue import BY_KIND, VERBS, verbs_on

__all__ = ["unsent"]

TAKEOVER = "localhost/system?command=/tmp/evil.sh&x="
ELSEWHERE = ("/etc/shadow", "/dev/vda", "../../etc/shadow", "nbd://192.0.2.1/x", "/pools/images/web-1.qcow2")


def nothing_was_asked() -> bool:
    return not Operation.objects.exists()


def test_t01_hosts_and_how_to_reach_them_are_for_administrators(cast: Cast) -> None:
    """There, everybody read the hosts' passwords and made hosts. We keep no password, and tell nobody the address."""
    Host.objects.update(hostname="kvm7.internal", user="root")
    before = list(Host.objects.values())
    for who in ("viewer", "owner", "stranger"):
        caller = Caller(cast.who(who))
        assert json.loads(caller.call("GET", "/hosts").content)["total"] == 0
        assert caller.call("GET", f"/hosts/{cast.host.pk}").status_code == 404
        assert caller.call("POST", "/hosts", {"name": "x", "transport": "ssh", "hostname": "h"}).status_code == 403
        for verb in ("edit", "remove", "check"):
            assert caller.call("POST", f"/hosts/{cast.host.pk}/{verb}", {}).status_code == 404
    assert list(Host.objects.values()) == before
    assert not {field.name for field in Host._meta.get_fields()} & {"password", "login", "key", "secret"}


def test_t02_who_may_only_look_does_nothing(cast: Cast) -> None:
    """There, a grant to look powered machines off, set root's password and mounted discs."""
    for verb in verbs_on("domain"):
        if verb.session or verb.role == Role.VIEWER:
            continue
        ready_for(verb)
        form = PARAMETERS.get(verb.kind, ({}, {}))[0]
        assert Caller(cast.viewer).call("POST", f"/domains/{cast.domain.pk}/{verb.name}", form).status_code == 403
    assert nothing_was_asked()


def test_t03_what_is_somebody_elses_cannot_be_named(cast: Cast) -> None:
    """There, whoever had one machine deleted or attached the volumes of all."""
    owner = Caller(cast.owner)
    for verb in verbs_on("volume"):
        form = PARAMETERS.get(verb.kind, ({}, {}))[0]
        assert owner.call("POST", f"/volumes/{cast.volume.pk}/{verb.name}", form).status_code == 404
    ready_for(BY_KIND["domain.insert"])
    put_in = {"drive": "sda", "volume": cast.volume.pk}
    assert owner.call("POST", f"/domains/{cast.domain.pk}/insert", put_in).status_code in (404, 422)
    assert owner.call("POST", f"/domains/{cast.other.pk}/insert", put_in).status_code == 404
    assert nothing_was_asked()


@pytest.mark.parametrize("path", ELSEWHERE)
def test_t04_no_path_becomes_a_disk(cast: Cast, path: str) -> None:
    """There, a disk was any path that was typed. Here nobody types one, not even administrators: disks are ids."""
    administrator = Caller(cast.administrator)
    ready_for(BY_KIND["domain.insert"])
    for kind, at in (("insert", cast.domain.pk), ("edit", cast.domain.pk), ("clone", cast.domain.pk)):
        for name in ("volume", "path", "source", "vol_path", "disks"):
            form = PARAMETERS[f"domain.{kind}"][0] | {name: path}
            assert administrator.call("POST", f"/domains/{at}/{kind}", form).status_code == 422, (kind, name)
    machine = PARAMETERS["domain.create"][0]
    for more in (
        {"volume": path, "begins": "disc"},
        {"disks": [{"pool": 1, "size": 1, "path": path}]},
        {"kernel": path},
    ):
        assert administrator.call("POST", f"/hosts/{cast.host.pk}/create-domain", machine | more).status_code == 422
    assert nothing_was_asked()


LISTS = ("domains", "hosts", "pools", "networks", "images", "filters", "secrets", "operations", "uploads")


def test_t05_lists_hold_ones_own_alone(cast: Cast) -> None:
    """There, lists, charts and helpers told of all machines, with the address of their screens."""
    furnish(cast.other)
    theirs = (cast.other.name, cast.other.uuid, cast.volume.name, cast.network.name, cast.secret.name)
    for who in ("stranger", "viewer"):
        client = Client(headers={"Accept": "application/json"})
        client.force_login(cast.who(who))
        paths = [
            *(f"/api/v1/{name}" for name in LISTS),
            "/vms/",
            "/",
            "/operations/",
            "/palette/?q=db",
            "/networks/drawing/",
        ]
        for path in paths:
            told = client.get(path).content.decode()
            assert not [text for text in theirs if text in told], (who, path)


def test_t06_settings_are_not_on_the_web(cast: Cast) -> None:
    """There, everybody changed settings, one of which named where a file is written. Ours are in the environment."""
    client = Client()
    client.force_login(cast.administrator)
    for path in ("/settings/", "/appsettings/", "/admin/", "/admin/login/", "/me/settings/"):
        assert client.get(path).status_code == 404
        assert client.post(path, {"SASS_DIR": "/tmp"}).status_code == 404


@pytest.mark.parametrize("token", ["{host}-{uuid}", "{uuid}", "", "%00", "x" * 10_000])
async def test_t12_a_console_has_no_address_that_opens_it(transactional_db: None, cast: Cast, token: str) -> None:
    """There, `host-uuid` without a login opened any screen. Here the page's socket wants login, origin and right."""
    guessed = token.format(host=cast.host.pk, uuid=cast.domain.uuid)
    origin = settings.SOCKET_ORIGINS[0].encode()
    cookie = await database_sync_to_async(session_cookie)(cast.stranger)
    for headers, opens in (
        ([(b"origin", b"https://evil.example"), (b"cookie", f"token={guessed[:99]}".encode())], False),
        ([(b"cookie", f"{settings.SESSION_COOKIE_NAME}={cookie}".encode())], False),
        ([(b"origin", origin), (b"cookie", f"token={guessed[:99]}".encode())], True),
        ([(b"origin", origin), (b"cookie", f"{settings.SESSION_COOKIE_NAME}={cookie}".encode())], True),
    ):
        path = f"/ws/console/{cast.domain.pk}/?mode=control&token={guessed[:99]}"
        socket = WebsocketCommunicator(sockets.application, path, headers)
        connected, _ = await socket.connect(timeout=5)
        assert connected == opens
        while connected:
            said = await socket.receive_output(timeout=5)
            assert "ticket" not in json.loads(said.get("text", "{}"))
            connected = said["type"] != "websocket.close"


@pytest.mark.parametrize(
    "hostname", [TAKEOVER, "h?socket=/x", "h#x", "a@b", "-oProxyCommand=id", "h\nx", "test:///default"]
)
@pytest.mark.parametrize("part", ["hostname", "user"])
def test_t21_no_part_of_a_host_becomes_part_of_its_uri(cast: Cast, hostname: str, part: str) -> None:
    """There, a host's name ran a program on the manager. Here parts are checked, by form, API and verb alike."""
    fields = {"name": "x", "transport": "ssh", "hostname": "h", part: hostname}
    administrator = Caller(cast.administrator)
    assert administrator.call("POST", "/hosts", fields).status_code == 422
    assert administrator.call("POST", f"/hosts/{cast.host.pk}/edit", fields).status_code == 422
    page = Client(headers={"Accept": "application/json"})
    page.force_login(cast.administrator)
    assert page.post("/hosts/add/", fields).status_code == 400
    assert nothing_was_asked()
    assert not Path("/tmp/x").exists()


def test_t32_nobody_is_there_before_somebody_was_made(db: None) -> None:
    """There, admin/admin signed in. Here an installation begins without any person."""
    assert not User.objects.exists()
    for name, password in (("admin", "admin"), ("root", "root"), ("admin", ""), ("webvirt", "webvirt")):
        client = Client()
        assert client.post("/login/", {"login": name, "password": password}).status_code == 200
        assert "_auth_user_id" not in client.session
    assert not User.objects.exists()


@pytest.mark.parametrize("key", ["", "short", "x" * 49])
def test_t32_no_start_with_a_key_that_can_be_guessed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    monkeypatch.setenv("WEBVIRT_HOME", str(tmp_path))
    with pytest.raises(ImproperlyConfigured, match="No secret key"):
        runpy.run_path(str(PROJECT / "webvirt/settings.py"))
    (tmp_path / "secret_key").write_text(key)
    os.chmod(tmp_path / "secret_key", 0o600)
    with pytest.raises(ImproperlyConfigured, match="too short"):
        runpy.run_path(str(PROJECT / "webvirt/settings.py"))
    (tmp_path / "secret_key").write_text("x" * 60)
    os.chmod(tmp_path / "secret_key", 0o640)
    with pytest.raises(ImproperlyConfigured, match="can be read by others"):
        runpy.run_path(str(PROJECT / "webvirt/settings.py"))


def test_t32_django_itself_finds_nothing_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """`check --deploy` of an installation behind TLS; that all of it is TLS is for whoever ends it in front to say.

    Against frames we send the header ourselves (W002): tests/web/test_headers.py.
    """
    assert settings.DEBUG is False
    assert "*" not in runpy.run_path(str(PROJECT / "webvirt/settings.py"))["ALLOWED_HOSTS"]
    for name in ("SESSION_COOKIE_SECURE", "CSRF_COOKIE_SECURE"):
        monkeypatch.setattr(settings, name, True)
    monkeypatch.setattr(settings, "SECURE_HSTS_SECONDS", 31_536_000)
    monkeypatch.setattr(
        settings, "SILENCED_SYSTEM_CHECKS", ["security.W002", "security.W005", "security.W008", "security.W021"]
    )
    call_command("check", "--deploy", "--tag", "security", "--fail-level", "WARNING")


def test_t34_a_link_does_nothing(cast: Cast) -> None:
    """There, a link powered machines off. Here a verb is a POST with the token of our own page."""
    for verb in VERBS:
        if verb.session or not verb.on or verb.on != "domain":
            continue
        ready_for(verb)
        path = f"/vms/{cast.domain.pk}/{verb.name}/"
        client = Client(enforce_csrf_checks=True)
        client.force_login(cast.administrator)
        assert client.get(path).status_code in (200, 405)
        assert client.post(path, {}).status_code == 403
        assert client.post(path, "{}", content_type="text/plain").status_code == 403
        api: Any = client.post(f"/api/v1/domains/{cast.domain.pk}/{verb.name}", "{}", content_type="text/plain")
        assert api.status_code == 403
    assert nothing_was_asked()

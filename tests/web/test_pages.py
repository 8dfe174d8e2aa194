"""Every page: it works, keeps its place, and never lets on what somebody may not know of."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.core import serializers
from django.test import Client
from django.utils import timezone

from tests.people import Cast, make_domain, make_host
from tests.web.conftest import Enter
from webvirt.models import (
    Definition,
    Domain,
    Grant,
    Host,
    HostState,
    Operation,
    OperationState,
    Origin,
    Role,
    Screen,
    Status,
    User,
)
from webvirt.services.subjects import name_of

HOSTILE = "<img src=x onerror=alert(1)>"


def make_operation(domain: Domain, **fields: object) -> Operation:
    values: dict[str, object] = {
        "kind": "domain.start",
        "state": OperationState.FAILED,
        "queue": "fast",
        "actor": "ada",
        "origin": Origin.PAGE,
        "subject": name_of(domain),
        "host": domain.host,
        "domain": domain,
        "target": domain.name,
        "error": "Cannot access storage file '/srv/secret.qcow2'",
        "finished_at": timezone.now(),
    }
    return Operation.objects.create(**(values | fields))


def pages(cast: Cast) -> list[str]:
    operation = make_operation(cast.domain)
    machine, host = f"/vms/{cast.domain.pk}/", f"/hosts/{cast.host.pk}/"
    return [
        "/",
        "/vms/",
        machine,
        *(f"{machine}{tab}/" for tab in ("hardware", "history", "xml", "edit", "rename", "set_filter", "send_key")),
        "/hosts/",
        "/hosts/add/",
        host,
        *(f"{host}{tab}/" for tab in ("machines", "devices", "log", "edit")),
        *(
            f"{host}{tab}/"
            for tab in ("storage", "networks", "create-pool", "create-network", "create-filter", "create-secret")
        ),
        "/pools/",
        *(f"/pools/{cast.pool.pk}/{tab}" for tab in ("", "definition/", "log/", "create-volume/")),
        *(f"/volumes/{cast.volume.pk}/{tab}" for tab in ("", "resize/", "clone/")),
        "/images/",
        "/networks/",
        *(f"/networks/{cast.network.pk}/{tab}" for tab in ("", "definition/", "log/", "edit/", "keep_address/")),
        *(f"/filters/{cast.filter.pk}/{tab}" for tab in ("", "edit/")),
        *(f"/secrets/{cast.secret.pk}/{tab}" for tab in ("", "set_value/")),
        "/operations/",
        f"/operations/{operation.pk}/",
        "/people/",
        "/people/add/",
        f"/people/{cast.viewer.pk}/",
        "/me/",
        "/me/password/",
        "/me/confirm/",
    ]


def everything() -> str:
    models = (Host, Domain, Definition, Operation, User, Grant, Screen)
    return "".join(serializers.serialize("json", model.objects.order_by("pk")) for model in models)


def test_every_page_works_and_reading_changes_nothing(cast: Cast, enter: Enter) -> None:
    client = enter("administrator")
    addresses = pages(cast)
    before = everything()
    for address in addresses:
        answer = client.get(address)
        assert answer.status_code == 200, address
        text = answer.content.decode()
        assert "<h1" in text, address
        assert " style=" not in text, address
        assert not re.search(r"<script(?![^>]*\bsrc=)|\son\w+=", text), address
    assert everything() == before


def test_pages_work_with_nothing_there_at_all(db: None) -> None:
    user = User.objects.create(username="ada")
    Grant.objects.create(user=user, role=Role.ADMINISTRATOR)
    client = Client()
    client.force_login(user, backend="allauth.account.auth_backends.AuthenticationBackend")
    assert "Add the first host" in client.get("/").content.decode()
    assert "Add a host" in client.get("/vms/").content.decode()
    assert "Add the first host" in client.get("/hosts/").content.decode()
    assert "Nothing was asked for yet" in client.get("/operations/").content.decode()


def test_signed_out_people_are_asked_to_sign_in_and_come_back(cast: Cast) -> None:
    answer = Client().get("/vms/?q=web")
    assert answer.status_code == 302
    assert answer.headers["Location"] == "/login/?next=/vms/%3Fq%3Dweb"
    scripted = Client().get("/vms/", headers={"accept": "application/json"})
    assert scripted.status_code == 401


@pytest.mark.parametrize("target", ["//evil.example/", "https://evil.example/", "/\\evil.example"])
def test_signing_in_leads_nowhere_else(cast: Cast, target: str) -> None:
    form = {"login": "viewer", "password": "correct horse battery", "next": target}
    answer = Client().post("/login/", form)
    assert answer.status_code == 302
    assert answer.headers["Location"] == "/"


def test_closed_pages_of_the_sign_in_package(client: Client, db: None) -> None:
    for address in ("/signup/", "/accounts/signup/", "/password/reset/", "/accounts/email/"):
        assert client.get(address).status_code == 404, address


def test_what_one_may_not_know_of_looks_like_what_is_not_there(cast: Cast, enter: Enter) -> None:
    client = enter("viewer")
    hidden = client.get(f"/vms/{cast.other.pk}/")
    missing = client.get("/vms/999999/")
    assert hidden.status_code == missing.status_code == 404
    strip = re.compile(r'value="[^"]+"')
    assert strip.sub("", hidden.content.decode()) == strip.sub("", missing.content.decode())
    assert client.get(f"/hosts/{cast.host.pk}/").status_code == 404
    assert cast.other.name not in client.get("/vms/").content.decode()
    assert cast.other.name not in client.get("/palette/?q=db").content.decode()


def test_verbs_are_offered_by_right(cast: Cast, enter: Enter) -> None:
    address = f"/vms/{cast.domain.pk}/"
    names = {
        who: {offer["name"] for offer in enter(who).get(f"{address}menu/").json()["offers"]}
        for who in ("viewer", "operator", "owner")
    }
    assert "start" not in names["viewer"]
    assert {"start", "destroy"} <= names["operator"]
    assert "rename" not in names["operator"]
    assert {"rename", "edit", "autostart"} <= names["owner"]


def test_a_failure_is_told_as_far_as_one_may_read_it(cast: Cast, enter: Enter) -> None:
    operation = make_operation(cast.domain)
    address = f"/operations/{operation.pk}/"
    assert "/srv/secret.qcow2" in enter("administrator").get(address).content.decode()
    for who in ("operator", "viewer"):
        text = enter(who).get(address).content.decode()
        assert "failed" in text
        assert "/srv/secret.qcow2" not in text, who
    assert enter("stranger").get(address).status_code == 404


def test_names_from_guests_and_hosts_are_text(cast: Cast, enter: Enter) -> None:
    Domain.objects.filter(pk=cast.domain.pk).update(
        name=HOSTILE, title=HOSTILE, description=HOSTILE, tag_line=" <b> ", status_reason=HOSTILE, status=Status.PAUSED
    )
    Host.objects.filter(pk=cast.host.pk).update(
        name=HOSTILE,
        state=HostState.DOWN,
        state_reason=HOSTILE,
        checks=[{"key": HOSTILE, "verdict": "fail", "found": HOSTILE}],
    )
    client = enter("administrator")
    for address in ("/", "/vms/", "/hosts/", f"/vms/{cast.domain.pk}/", f"/hosts/{cast.host.pk}/", "/operations/"):
        assert HOSTILE not in client.get(address).content.decode(), address


def test_a_dead_hosts_machines_show_as_of_when(cast: Cast, enter: Enter) -> None:
    seen = timezone.now() - timedelta(hours=2)
    Host.objects.filter(pk=cast.host.pk).update(state=HostState.DOWN, seen_at=seen)
    text = enter("owner").get("/vms/").content.decode()
    assert 'class="stale"' in text
    assert seen.isoformat(timespec="seconds") in text


def test_uptime_that_is_not_known_is_a_lower_bound(cast: Cast, enter: Enter) -> None:
    Host.objects.filter(pk=cast.host.pk).update(state_since=timezone.now() - timedelta(hours=5))
    Domain.objects.filter(pk=cast.domain.pk).update(
        status=Status.RUNNING, status_since=None, first_seen_at=timezone.now() - timedelta(days=9)
    )
    assert "≥ 5 h 0 min" in enter("owner").get("/vms/").content.decode()


def test_the_screen_is_a_picture_for_who_may_watch(cast: Cast, enter: Enter) -> None:
    address = f"/vms/{cast.domain.pk}/screen.png"
    assert enter("viewer").get(address).status_code == 204
    Screen.objects.create(domain=cast.domain, png=b"\x89PNG", taken_at=timezone.now())
    answer = enter("viewer").get(address)
    assert (answer.content, answer.headers["Content-Type"]) == (b"\x89PNG", "image/png")
    assert enter("stranger").get(address).status_code == 404


def test_every_answer_carries_the_policies(cast: Cast, enter: Enter) -> None:
    for answer in (Client().get("/login/"), enter("owner").get("/vms/"), enter("owner").get("/nowhere/")):
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["X-Frame-Options"] == "DENY"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "no-store" in answer.headers["Cache-Control"]


def test_the_person_chooses_the_language_and_else_the_browser(cast: Cast, enter: Enter) -> None:
    client = enter("owner")
    chinese = {"accept-language": "zh-CN,zh;q=0.9"}
    assert 'lang="zh-hans"' in client.get("/vms/", headers=chinese).content.decode()
    client.post("/me/preferences/", {"language": "en", "theme": "dark"})
    text = client.get("/vms/", headers=chinese).content.decode()
    assert 'lang="en" data-bs-theme="dark"' in text


def test_an_error_of_ours_has_a_page_that_needs_nothing(
    cast: Cast, enter: Enter, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_args: object, **_values: object) -> None:
        raise RuntimeError("boom")

    client = enter("owner")
    client.raise_request_exception = False
    monkeypatch.setattr("webvirt.web.domains.filtered", broken)
    answer = client.get("/vms/")
    assert answer.status_code == 500
    assert "boom" not in answer.content.decode()
    assert "Something broke" in answer.content.decode()


def test_a_form_from_elsewhere_is_refused(cast: Cast) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(cast.owner, backend="allauth.account.auth_backends.AuthenticationBackend")
    answer = client.post(f"/vms/{cast.domain.pk}/start/")
    assert answer.status_code == 403
    assert "try again" in answer.content.decode()
    assert not Operation.objects.exists()


def test_an_operation_of_a_verb_no_longer_known_still_shows(cast: Cast, enter: Enter) -> None:
    operation = make_operation(cast.domain, kind="domain.teleport", error="")
    text = enter("administrator").get("/operations/").content.decode()
    assert "domain.teleport" in text
    assert enter("administrator").get(f"/operations/{operation.pk}/").status_code == 200


def test_the_overview_says_what_needs_attention(cast: Cast, enter: Enter) -> None:
    make_domain(make_host("omega", hostname="omega", transport="ssh", state=HostState.DOWN), "lost", 9)
    Domain.objects.filter(pk=cast.domain.pk).update(status=Status.PAUSED, status_reason="I/O error")
    make_operation(cast.other, error="no space left")
    text = enter("administrator").get("/").content.decode()
    attention = text[text.index('id="attention"') : text.index('id="hosts"')]
    for word in ("omega", cast.domain.name, "I/O error", cast.other.name, "no space left"):
        assert word in attention, word


def test_a_volume_that_is_not_whole_says_so(cast: Cast, enter: Enter) -> None:
    operation = make_operation(cast.domain, kind="volume.clone", state=OperationState.RUNNING, finished_at=None)
    cast.volume.making = operation
    cast.volume.save()
    client = enter("administrator")
    addresses = (f"/pools/{cast.pool.pk}/", f"/volumes/{cast.volume.pk}/")
    for address in addresses:
        assert "being made…" in client.get(address).content.decode(), address
    operation.state = OperationState.FAILED
    operation.save()
    for address in addresses:
        assert "half made, being removed" in client.get(address).content.decode(), address

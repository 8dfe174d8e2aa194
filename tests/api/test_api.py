"""The REST API: what it shows to whom, what it accepts, and how it refuses."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.test import Client
from django.utils import timezone

from tests.api.conftest import Caller, Callers
from tests.people import Cast, make_domain, make_host
from webvirt.models import (
    ConsoleSession,
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
)
from webvirt.services import operations
from webvirt.services.catalogue import BY_KIND, VERBS

MISSING = 999_999
PNG = b"\x89PNG picture"


@pytest.fixture(autouse=True)
def unsent(monkeypatch: pytest.MonkeyPatch) -> None:
    """No queue here: operations stay queued."""
    monkeypatch.setattr(operations, "send", lambda operation: None)


def document(response: Any) -> Any:
    return json.loads(response.content)


# --- who


def test_without_a_token_one_is_told_to_send_one(api: Callers) -> None:
    response = api.nobody.get("/domains")
    assert response.status_code == 401
    assert "Bearer" in document(response)["error"]
    assert response["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("token", ["", "wv_", "wv_unknown", "x" * 10_000, "\x00"])
def test_a_wrong_token_is_none(api: Callers, cast: Cast, token: str) -> None:
    caller = api.nobody
    # Not even beside a good session: who sends a token means the token.
    caller.client.force_login(cast.administrator)
    caller.headers["Authorization"] = f"Bearer {token}"
    assert caller.get("/me").status_code == 401


def test_a_session_reads_and_needs_the_csrf_token_to_write(cast: Cast) -> None:
    caller = Caller(None)
    caller.client.force_login(cast.operator)
    assert caller.get("/me").status_code == 200
    path = f"/domains/{cast.domain.pk}/start"
    assert caller.post(path).status_code == 403
    assert not Operation.objects.exists()
    caller.client.get("/login/")
    caller.client.cookies[settings.CSRF_COOKIE_NAME] = "a" * 32
    assert caller.post(path, X_CSRFToken="a" * 32).status_code == 202


def test_a_cookie_with_a_token_in_it_is_nothing(cast: Cast) -> None:
    token = Caller(cast.operator).headers["Authorization"]
    client = Client(headers={"Cookie": f"token={token}; Authorization={token}"})
    assert client.get("/api/v1/me").status_code == 401


def test_a_deactivated_persons_token_is_dead(api: Callers, cast: Cast) -> None:
    caller = api.operator
    assert caller.get("/me").status_code == 200
    cast.operator.is_active = False
    cast.operator.save()
    assert caller.get("/me").status_code == 401


def test_me(api: Callers, cast: Cast) -> None:
    found = document(api.operator.get("/me"))
    assert found["username"] == "operator"
    assert not found["is_administrator"]
    (grant,) = found["grants"]
    assert (grant["role"], grant["on"], grant["person"]) == ("operator", f"domain:{cast.domain.pk}", cast.operator.pk)
    assert found["token"]["name"] == "test"


# --- lists


def test_each_sees_their_own_machines(api: Callers, cast: Cast) -> None:
    def names(who: str) -> list[str]:
        return [row["name"] for row in document(getattr(api, who).get("/domains"))["items"]]

    assert names("administrator") == ["db-1", "web-1"]
    assert names("viewer") == ["web-1"]
    assert names("stranger") == []


def test_lists_are_searched_sorted_and_paged(api: Callers, cast: Cast) -> None:
    second = make_host("beta", hostname="b")
    for number in range(3, 8):
        make_domain(
            second, f"app-{number}", number, tag_line=" prod ", cpu_percent=float(number), status=Status.RUNNING
        )

    def rows(query: str) -> tuple[int, list[str]]:
        found = document(api.administrator.get(f"/domains?{query}"))
        return found["total"], [row["name"] for row in found["items"]]

    assert rows("q=tag:prod+-app-3&limit=2&offset=1") == (4, ["app-5", "app-6"])
    assert rows("state=on&sort=-cpu&limit=1") == (5, ["app-7"])
    assert rows("sort=-cpu&offset=5") == (7, ["web-1", "db-1"])
    assert rows(f"host={cast.host.pk}") == (2, ["db-1", "web-1"])
    assert rows("host=beta&limit=1") == (5, ["app-3"])


@pytest.mark.parametrize("query", ["limit=0", "limit=201", "offset=-1", "sort=password", "limit=x", "sort=host__uuid"])
def test_nonsense_in_the_address_is_named(api: Callers, query: str) -> None:
    response = api.administrator.get(f"/domains?{query}")
    assert response.status_code == 422
    assert query.partition("=")[0] in document(response)["fields"]


def test_reading_a_list_takes_a_constant_number_of_queries(
    api: Callers, cast: Cast, django_assert_max_num_queries: Any
) -> None:
    for number in range(3, 40):
        make_domain(cast.host, f"app-{number}", number)
    caller = api.administrator
    caller.get("/domains")
    with django_assert_max_num_queries(4):
        assert document(caller.get("/domains?limit=100"))["total"] == 39


# --- one machine


def give_hardware(domain: Domain) -> None:
    Definition.objects.create(
        domain=domain, inactive={"name": domain.name}, inactive_xml="<domain/>", read_at=timezone.now()
    )


def test_a_machine_with_its_hardware_and_verbs(api: Callers, cast: Cast) -> None:
    give_hardware(cast.domain)
    found = document(api.operator.get(f"/domains/{cast.domain.pk}"))
    assert found["role"] == "operator"
    assert found["hardware"]["inactive"] == {"name": "web-1"}
    verbs = {verb["verb"]: verb["why_not"] for verb in found["verbs"]}
    assert verbs["start"] == ""
    assert "shut off" in verbs["shutdown"]
    assert "rename" not in verbs


def test_its_xml(api: Callers, cast: Cast) -> None:
    path = f"/domains/{cast.domain.pk}/xml"
    assert api.viewer.get(path).status_code == 404
    give_hardware(cast.domain)
    response = api.viewer.get(path)
    assert (response.status_code, response.content) == (200, b"<domain/>")
    assert response["Content-Type"].startswith("application/xml")
    assert api.viewer.get(f"{path}?live=true").status_code == 404


def test_its_screen(api: Callers, cast: Cast) -> None:
    path = f"/domains/{cast.domain.pk}/screen.png"
    assert api.viewer.get(path).status_code == 404
    Screen.objects.create(domain=cast.domain, png=PNG, taken_at=timezone.now())
    response = api.viewer.get(path)
    assert (response.content, response["Content-Type"]) == (PNG, "image/png")
    assert "Last-Modified" in response


def test_its_console_sessions_tell_addresses_to_its_owner_alone(api: Callers, cast: Cast) -> None:
    ConsoleSession.objects.create(
        user=cast.viewer, domain=cast.domain, mode="view", address="192.0.2.9", leased_until=timezone.now()
    )
    path = f"/domains/{cast.domain.pk}/sessions"
    assert document(api.owner.get(path))["items"][0]["address"] == "192.0.2.9"
    assert document(api.operator.get(path))["items"][0]["address"] is None


@pytest.mark.parametrize("rest", ["", "/xml", "/screen.png", "/sessions"])
def test_what_is_not_yours_is_like_what_is_not_there(api: Callers, cast: Cast, rest: str) -> None:
    give_hardware(cast.other)
    Screen.objects.create(domain=cast.other, png=PNG, taken_at=timezone.now())
    foreign = api.owner.get(f"/domains/{cast.other.pk}{rest}")
    absent = api.owner.get(f"/domains/{MISSING}{rest}")
    assert foreign.status_code == absent.status_code == 404
    assert foreign.content == absent.content


def test_a_number_beyond_all_rows_is_not_found(api: Callers) -> None:
    assert api.administrator.get(f"/domains/{10**25}").status_code == 404


# --- hosts


def test_only_administrators_see_where_a_host_is(api: Callers, cast: Cast) -> None:
    Host.objects.filter(pk=cast.host.pk).update(
        hostname="kvm1.example.org", user="root", state=HostState.DOWN, state_reason="kvm1.example.org: no route"
    )
    Grant.objects.create(user=cast.stranger, role=Role.OWNER, host=cast.host)
    assert document(api.administrator.get("/hosts"))["items"][0]["address"]["hostname"] == "kvm1.example.org"
    for path in ("/hosts", f"/hosts/{cast.host.pk}"):
        assert b"kvm1" not in api.stranger.get(path).content
    assert document(api.owner.get("/hosts"))["total"] == 0


def test_adding_a_host(api: Callers) -> None:
    body = {"name": "beta", "transport": "ssh", "hostname": "kvm2.example.org", "user": "root"}
    response = api.administrator.post("/hosts", body)
    assert response.status_code == 202
    found = document(response)
    assert response["Location"] == f"/api/v1/operations/{found['id']}"
    assert found["kind"] == "host.add"
    assert Host.objects.get(name="beta").hostname == "kvm2.example.org"
    assert api.administrator.post("/hosts", body).status_code == 422
    assert api.owner.post("/hosts", body | {"name": "gamma"}).status_code == 403


@pytest.mark.parametrize(
    "hostname", ["h/system?command=/tmp/x&a=", "-oProxyCommand=id", "a@b", "h\n", "[::1", "h:22/", "qemu+ext://", "․"]
)
def test_a_host_is_never_an_address_to_run_things(api: Callers, hostname: str) -> None:
    response = api.administrator.post("/hosts", {"name": "beta", "transport": "ssh", "hostname": hostname})
    assert response.status_code == 422
    assert Host.objects.count() == 1


# --- verbs


def start(caller: Caller, cast: Cast, **headers: str) -> Any:
    return caller.post(f"/domains/{cast.domain.pk}/start", **headers)


def test_a_verb_is_accepted_with_its_operation(api: Callers, cast: Cast) -> None:
    response = start(api.operator, cast)
    assert response.status_code == 202
    found = document(response)
    assert response["Location"] == f"/api/v1/operations/{found['id']}"
    operation = Operation.objects.get()
    assert (operation.kind, operation.origin, operation.token_name) == ("domain.start", "api", "test")
    assert document(api.operator.get(f"/operations/{operation.pk}"))["actor"] == "operator"


def test_refusals_have_their_codes(api: Callers, cast: Cast) -> None:
    assert start(api.stranger, cast).status_code == 404
    assert start(api.viewer, cast).status_code == 403
    shutdown = api.operator.post(f"/domains/{cast.domain.pk}/shutdown")
    assert shutdown.status_code == 409
    assert "holder" not in document(shutdown)
    first = document(start(api.operator, cast))
    busy = start(api.owner, cast)
    assert busy.status_code == 409
    assert document(busy)["holder"]["id"] == first["id"]


def test_wrong_parameters_are_named(api: Callers, cast: Cast) -> None:
    path = f"/domains/{cast.domain.pk}/rename"
    for body, field in [({}, "name"), ({"name": "a/b"}, "name"), ({"name": "ok", "owner_id": 1}, "owner_id")]:
        response = api.owner.post(path, body)
        assert response.status_code == 422
        assert list(document(response)["fields"]) == [field]
    assert not Operation.objects.exists()


@pytest.mark.parametrize("body", ["{", "nonsense", "[]", '"text"', "\x00", "[" * 100_000])
def test_a_body_that_is_no_json_object(api: Callers, cast: Cast, body: str) -> None:
    response = api.owner.post(f"/domains/{cast.domain.pk}/rename", body)
    assert response.status_code == 400
    assert document(response)["error"]


@pytest.mark.parametrize("path", ["/hosts", "/me/tokens", "/domains/bulk", "/volumes/bulk"])
def test_a_body_that_is_too_big(api: Callers, path: str) -> None:
    response = api.administrator.post(path, {"name": "x" * 2_000_000})
    assert response.status_code in (400, 413)
    assert document(response)["error"]


@pytest.mark.parametrize("field", ["owner_id", "is_superuser", "host_id", "uuid", "id", "created_by"])
def test_no_verb_takes_a_field_it_does_not_know(api: Callers, cast: Cast, field: str) -> None:
    owner, administrator = api.owner, api.administrator
    for verb in VERBS:
        if verb.session or not verb.on:
            continue
        is_owners = verb.on == "domain" and verb.role != Role.ADMINISTRATOR and not verb.host_role
        caller = owner if is_owners else administrator
        response = caller.post(f"/{verb.on}s/{getattr(cast, verb.on).pk}/{verb.name}", {field: 1})
        assert response.status_code == 422, verb.kind
        assert field in document(response)["fields"], verb.kind
    assert not Operation.objects.exists()


def test_the_same_request_key_does_nothing_twice(api: Callers, cast: Cast) -> None:
    caller = api.operator
    first = document(start(caller, cast, Idempotency_Key="k1"))
    assert document(start(caller, cast, Idempotency_Key="k1"))["id"] == first["id"]
    assert Operation.objects.count() == 1
    assert start(caller, cast, Idempotency_Key="k2").status_code == 409
    other = caller.post(f"/domains/{cast.domain.pk}/destroy", Idempotency_Key="k1")
    assert "Idempotency-Key" in document(other)["fields"]
    # Another person's key is another key.
    assert start(api.owner, cast, Idempotency_Key="k1").status_code == 409
    assert start(caller, cast, Idempotency_Key="x" * 151).status_code == 400


def test_a_request_key_is_for_one_request(api: Callers, cast: Cast) -> None:
    caller, path = api.owner, f"/domains/{cast.domain.pk}/rename"
    assert caller.post(path, {"name": "a"}, Idempotency_Key="r").status_code == 202
    assert caller.post(path, {"name": "a"}, Idempotency_Key="r").status_code == 202
    other = caller.post(path, {"name": "b"}, Idempotency_Key="r")
    assert other.status_code == 422
    assert "Idempotency-Key" in document(other)["fields"]
    assert Operation.objects.count() == 1


def test_the_same_request_key_adds_one_host(api: Callers) -> None:
    caller = api.administrator
    body = {"name": "beta", "transport": "tls", "hostname": "b"}
    ids = {document(caller.post("/hosts", body, Idempotency_Key="h"))["id"] for _ in range(2)}
    assert len(ids) == 1


def test_many_at_once_have_an_answer_each(api: Callers, cast: Cast) -> None:
    running = make_domain(cast.host, "up-1", 3, status=Status.RUNNING)
    Grant.objects.create(user=cast.operator, role=Role.OPERATOR, domain=running)
    ids = [cast.domain.pk, running.pk, cast.other.pk, MISSING]
    found = document(api.operator.post("/domains/bulk", {"verb": "start", "ids": ids}))
    assert [(item["id"], item["status"]) for item in found["items"]] == list(
        zip(ids, (202, 409, 404, 404), strict=True)
    )
    viewer = document(api.viewer.post("/domains/bulk", {"verb": "start", "ids": ids[:1]}))
    assert viewer["items"][0]["status"] == 403


@pytest.mark.parametrize("verb", ["rename", "nonsense", "console"])
def test_not_every_verb_is_for_many(api: Callers, cast: Cast, verb: str) -> None:
    response = api.owner.post("/domains/bulk", {"verb": verb, "ids": [cast.domain.pk]})
    assert response.status_code == 422
    assert "start" in document(response)["fields"]["verb"]


# --- operations


def failed(cast: Cast, error: str) -> Operation:
    actor = operations.Actor(cast.operator, Origin.API)
    operation = operations.submit(actor, BY_KIND["domain.start"], cast.domain)
    assert operations.claim(operation.pk)
    operation.refresh_from_db()
    assert operations.finish(operation, OperationState.FAILED, error=error)
    return operation


LEAKING = (
    "unable to open /var/lib/libvirt/images/a.qcow2 at kvm1.example.org",
    "Failed to connect socket to '/run/libvirt/libvirt-sock'",
    "internal error: unable to connect to 10.1.2.3:16509",
    "nbd://10.1.2.3/secret and fe80::1:2 and kvm1.example.org:22",
)


@pytest.mark.parametrize("error", LEAKING)
def test_errors_tell_as_much_as_one_may_know(api: Callers, cast: Cast, error: str) -> None:
    Host.objects.filter(pk=cast.host.pk).update(hostname="kvm1.example.org")
    operation = failed(cast, error)

    def said(who: str) -> str:
        return str(document(getattr(api, who).get(f"/operations/{operation.pk}"))["error"])

    assert said("administrator") == error
    masked = said("operator")
    assert masked != error
    assert "…" in masked
    for secret in ("/var", "/run", "kvm1", "10.1", "secret", "fe80"):
        assert secret not in masked
    assert str(operation.pk) in said("viewer")
    assert error[:6] not in said("viewer")


def test_what_exactly_was_asked_is_for_who_may_ask_it(api: Callers, cast: Cast) -> None:
    Domain.objects.update(status=Status.RUNNING)
    Host.objects.filter(pk=cast.host.pk).update(transport="ssh", hostname="kvm1.example.org")
    keys = document(api.operator.post(f"/domains/{cast.domain.pk}/send_key", {"keys": [30, 48]}))
    assert keys["parameters"]["keys"] == [30, 48]
    assert keys["virsh"].startswith("virsh send-key")
    seen = document(api.viewer.get(f"/operations/{keys['id']}"))
    assert (seen["parameters"], seen["virsh"]) == ({}, "")
    assert "kvm1.example.org" in document(api.administrator.get(f"/operations/{keys['id']}"))["virsh"]


def test_cancelling(api: Callers, cast: Cast) -> None:
    pk = document(start(api.operator, cast))["id"]
    assert api.stranger.post(f"/operations/{pk}/cancel").status_code == 404
    assert api.viewer.post(f"/operations/{pk}/cancel").status_code == 403
    response = api.operator.post(f"/operations/{pk}/cancel")
    assert (response.status_code, document(response)["state"]) == (202, "cancelled")
    assert api.operator.post(f"/operations/{pk}/cancel").status_code == 409


def test_the_list_of_operations(api: Callers, cast: Cast) -> None:
    start(api.operator, cast)
    for query, total in [("state=active", 1), ("state=failed", 0), ("mine=true", 0), (f"domain={cast.domain.pk}", 1)]:
        assert document(api.owner.get(f"/operations?{query}"))["total"] == total, query
    assert document(api.stranger.get("/operations"))["total"] == 0


# --- tokens


def test_tokens_are_made_by_people_shown_once_and_revoked(cast: Cast) -> None:
    browser = Caller(None)
    browser.client.force_login(cast.viewer)
    browser.client.cookies[settings.CSRF_COOKIE_NAME] = "a" * 32
    made = browser.post("/me/tokens", {"name": "backup", "days": 7}, X_CSRFToken="a" * 32)
    assert made.status_code == 201
    token = document(made)
    program = Caller(None)
    program.headers["Authorization"] = f"Bearer {token['token']}"
    assert document(program.get("/me"))["token"]["name"] == "backup"
    assert token["token"] not in program.get("/me/tokens").content.decode()
    assert program.post("/me/tokens", {"name": "more"}).status_code == 403
    assert program.call("DELETE", f"/me/tokens/{token['id']}").status_code == 204
    assert program.get("/me").status_code == 401


def test_nobody_revokes_anothers_token(api: Callers, cast: Cast) -> None:
    viewer = api.viewer
    pk = cast.viewer.api_tokens.get().pk
    assert api.administrator.call("DELETE", f"/me/tokens/{pk}").status_code == 404
    assert viewer.get("/me").status_code == 200


def test_an_expired_token_is_dead(api: Callers, cast: Cast) -> None:
    caller = api.viewer
    cast.viewer.api_tokens.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert caller.get("/me").status_code == 401


# --- shape


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/nothing", 404),
        ("GET", "/domains/", 404),
        ("POST", "/domains", 405),
        ("PUT", "/hosts", 405),
        ("GET", "/domains/1/start", 405),
        ("DELETE", "/domains/1", 405),
        ("GET", "/domains/1/nonsense", 404),
        ("POST", "/hosts/1/add", 404),
    ],
)
def test_every_refusal_has_one_shape(api: Callers, method: str, path: str, status: int) -> None:
    response = api.administrator.call(method, path)
    assert response.status_code == status
    assert set(document(response)) == {"error"}


def test_a_fault_of_ours_says_nothing_of_it(api: Callers, cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: object) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr("webvirt.api.domains.domain_detail", broken)
    response = api.owner.get(f"/domains/{cast.domain.pk}")
    assert response.status_code == 500
    assert b"secret" not in response.content


def test_the_catalogue_lists_every_verb(api: Callers) -> None:
    found = document(api.stranger.get("/catalogue"))
    assert [verb["kind"] for verb in found] == [verb.kind for verb in VERBS]


def test_the_openapi_document_has_a_path_for_each_verb(api: Callers) -> None:
    assert api.nobody.get("/openapi.json").status_code == 401
    found = document(api.stranger.get("/openapi.json"))
    by_id = {
        operation["operationId"]: (path, operation)
        for path, methods in found["paths"].items()
        for operation in methods.values()
    }
    for verb in VERBS:
        if verb.session:
            assert verb.kind not in by_id
            continue
        path, operation = by_id[verb.kind]
        assert path.startswith(f"/api/v1/{verb.on or verb.noun}s")
        schema = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
        assert set(schema.get("properties", {})) == set(verb.spec.model_fields)
    assert "$defs" not in json.dumps(found)


def test_the_documentation_page_is_made_of_our_own_files(cast: Cast) -> None:
    client = Client()
    assert client.get("/api/v1/docs").headers["Location"] == "/login/?next=/api/v1/docs"
    client.force_login(cast.stranger)
    response = client.get("/api/v1/docs")
    page = response.content.decode()
    sources = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert any("swagger-ui-bundle" in source for source in sources)
    assert all(source.startswith(("/", "#")) and not source.startswith("//") for source in sources)
    assert not re.search(r"<script(?![^>]*src=)|<style| style=| on[a-z]+=", page)
    assert "script-src 'self';" in response.headers["Content-Security-Policy"]

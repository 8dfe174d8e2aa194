"""Who may do what by which way: every verb and every route, for everybody of the cast, against one table.

Expectations come from the catalogue's roles and from `ROUTES`, never from what the code happens to answer. A route
without a row fails.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from channels.db import database_sync_to_async
from channels.testing import WebsocketCommunicator
from django.conf import settings
from django.contrib.sessions.models import Session
from django.core import serializers
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver
from django.utils import timezone

from tests.api.conftest import Caller
from tests.people import Cast
from tests.realtime.conftest import RedisServer, redis_server, session_cookie
from webvirt import bus, models
from webvirt.hypervisor.addresses import fingerprint
from webvirt.models import (
    CloudImage,
    ConsoleSession,
    Definition,
    Domain,
    Flavour,
    Grant,
    Host,
    Network,
    NetworkStatus,
    Operation,
    Origin,
    Pool,
    PoolStatus,
    Role,
    Screen,
    Status,
    User,
    Volume,
)
from webvirt.realtime import urls as sockets
from webvirt.services import hidden, operations
from webvirt.services.catalogue import VERBS, Verb
from webvirt.services.subjects import NOUNS

__all__ = ["redis_server"]

PEOPLE = ("nobody", "stranger", "viewer", "operator", "owner", "administrator")
RANKS = {"viewer": 1, "operator": 2, "owner": 3, "administrator": 4}
"""What the cast may on their own machine; on the other one, and on the host, only the administrator may anything."""

NAT = {"addresses": [{"address": "192.168.7.1", "prefix": 24}]}
NAT_FORM = {"forward": "nat", "dns": "on", "ipv4_address": "192.168.7.1/24"}
DISC = 77
HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGvAMvhDDWWGSt5QaOzbECuFMiDqyVOF0qKNxTzpY3jD"
FINGERPRINT = fingerprint(HOST_KEY)
PARAMETERS: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    "domain.autostart": ({"enabled": True}, {"enabled": "on"}),
    "domain.create": (
        {"name": "new", "vcpus": 1, "memory_mib": 64},
        {"name": "new", "begins": "empty", "vcpus": "1", "memory": "64", "memory_unit": "MiB"},
    ),
    "domain.clone": ({"name": "copy"},) * 2,
    "domain.to_template": ({}, {"succeeds": ""}),
    "domain.insert": ({"drive": "sda", "volume": DISC}, {"drive": "sda", "volume": str(DISC)}),
    "domain.eject": ({"drive": "sda"},) * 2,
    "domain.import": (
        {"volume": DISC, "pool": 1, "name": "new", "memory_mib": 64},
        {"volume": str(DISC), "pool": "1", "name": "new", "memory": "64", "memory_unit": "MiB"},
    ),
    "domain.export_ova": ({"pool": 1, "name": "web.ova"}, {"pool": "1", "name": "web.ova"}),
    "domain.delete": ({"volumes": []}, {"listed": "1", "sure": "1"}),
    "domain.purge": ({"volumes": []}, {"listed": "1"}),
    "domain.rename": ({"name": "web-2"}, {"name": "web-2"}),
    "domain.edit": ({"title": "t"}, {"title": "t"}),
    "domain.set_filter": ({"mac": "52:54:00:00:00:01", "filter": "no-mail"},) * 2,
    "domain.send_key": ({"keys": [29]}, {"keys": "29"}),
    "host.edit": ({"name": "alpha", "transport": "test"}, {"name": "alpha", "transport": "test"}),
    "host.trust": ({"fingerprints": [FINGERPRINT]}, {"fingerprints": FINGERPRINT}),
    "pool.create": ({"name": "p", "type": "dir", "target_path": "/p"},) * 2,
    "pool.autostart": ({"enabled": True}, {"enabled": "on"}),
    "volume.create": ({"name": "v", "capacity": 2**30}, {"name": "v", "capacity": "1", "capacity_unit": "GiB"}),
    "volume.upload": ({"name": "u", "size": 7}, {"name": "u", "size": "7"}),
    "volume.fetch": ({"url": "https://example.org/a.iso"},) * 2,
    "volume.copy": ({"name": "copy", "pool": 1}, {"name": "copy", "pool": "1"}),
    "volume.resize": ({"capacity": 2**40}, {"capacity": "1", "capacity_unit": "TiB"}),
    "volume.clone": ({"name": "copy"},) * 2,
    "network.create": (NAT | {"name": "n"}, NAT_FORM | {"name": "n"}),
    "network.edit": (NAT | {"name": "default"}, NAT_FORM | {"name": "default"}),
    "network.autostart": ({"enabled": True}, {"enabled": "on"}),
    "network.keep_address": ({"mac": "52:54:00:00:00:01", "address": "192.168.122.9"},) * 2,
    "network.free_address": ({"mac": "52:54:00:00:00:01", "address": "192.168.122.9"},) * 2,
    "filter.create": ({"xml": "<filter name='new'/>"},) * 2,
    "filter.edit": ({"xml": "<filter name='no-mail'/>"},) * 2,
    "secret.create": ({"usage": "ceph", "usage_id": "backup", "value": "s3cret"},) * 2,
    "secret.set_value": ({"value": "s3cret"},) * 2,
}
"""Of each verb that takes any: as JSON, and as a form."""

ON_OBJECTS = [verb for verb in VERBS if not verb.session and verb.on]


def rank(who: str, noun: str, own: bool) -> int | None:
    """The role of somebody on the own or other object; None: may not know of it."""
    if who == "administrator":
        return RANKS[who]
    return RANKS.get(who) if own and noun == "domain" else None


def expected(who: str, verb: Verb, own: bool, accepted: int) -> int:
    if who == "nobody":
        return 401
    has = rank(who, verb.on, own)
    if has is None:
        return 404
    # On the host, only the administrator may anything.
    has_enough = has >= verb.role.rank and (verb.host_role is None or who == "administrator")
    return accepted if has_enough else 403


def target_of(cast: Cast, noun: str, own: bool) -> Any:
    return cast.other if noun == "domain" and not own else getattr(cast, noun)


def ready_for(verb: Verb) -> None:
    """All objects in a state in which the verb makes sense, and nothing that forbids it."""
    model = {"domain": Domain, "pool": Pool, "network": Network}.get(verb.on)
    if model is not None:
        otherwise = {Domain: Status.SHUTOFF, Pool: PoolStatus.RUNNING, Network: NetworkStatus.ACTIVE}[model]
        model._default_manager.update(status=min(verb.states) if verb.states else otherwise)
    if verb.kind in ("domain.insert", "domain.eject"):
        with_drive()
    if verb.kind == "domain.from_template":
        Domain.objects.update(is_template=True)
    if verb.kind == "domain.clone":
        for domain in Domain.objects.all():
            xml = f"<domain><name>{domain.name}</name></domain>"
            Definition.objects.update_or_create(
                domain=domain, defaults={"inactive_xml": xml, "read_at": timezone.now()}
            )
    if verb.kind == "host.trust":
        Host.objects.update(offered=[HOST_KEY])
    if verb.kind == "domain.import":
        Volume.objects.filter(pk=Volume.objects.values("pk")[:1]).update(id=DISC)
    if verb.kind == "pool.delete":
        Volume.objects.update(missing_since=timezone.now())


def with_drive() -> None:
    """Every machine has a drive with a disc in it, which is in the pool."""
    volume = Volume.objects.filter(pool__host=Domain.objects.values("host")[:1]).first()
    Volume.objects.filter(pk=volume.pk if volume else 0).update(id=DISC, format="iso")
    disks = [{"target": "sda", "device": "cdrom", "source": "/a.iso"}]
    for domain in Domain.objects.all():
        Definition.objects.update_or_create(
            domain=domain, defaults={"inactive": {"disks": disks}, "read_at": timezone.now()}
        )


def form_of(verb: Verb, target: Any) -> dict[str, str]:
    """What a page's form sends for it."""
    return PARAMETERS.get(verb.kind, ({}, {}))[1] | ({"confirm": target.name} if verb.by_name else {})


def as_page(cast: Cast, who: str, method: str, path: str, data: Any = None) -> Any:
    """A script of ours on a page: it asks for JSON, so that a refusal is a status and not a way to the login."""
    client = Client(headers={"Accept": "application/json"})
    if who != "nobody":
        client.force_login(cast.who(who))
    return getattr(client, method.lower())(path, data)


def by_token(cast: Cast, who: str, method: str, path: str, data: Any = None) -> Any:
    return Caller(None if who == "nobody" else cast.who(who)).call(method, path, data)


def by_session(cast: Cast, who: str, method: str, path: str, data: Any = None) -> Any:
    caller = Caller(None)
    if who != "nobody":
        caller.client.force_login(cast.who(who))
    caller.client.cookies[settings.CSRF_COOKIE_NAME] = "c" * 32
    return caller.call(method, path, data, X_CSRFToken="c" * 32)


@pytest.fixture(autouse=True)
def unsent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operations, "send", lambda operation: None)
    monkeypatch.setattr(hidden, "hide", lambda operation, spec: None)


# --- verbs


@pytest.mark.parametrize("own", [True, False], ids=["own", "foreign"])
@pytest.mark.parametrize("who", PEOPLE)
@pytest.mark.parametrize("verb", ON_OBJECTS, ids=lambda verb: verb.kind)
def test_a_verb_by_page_token_and_session(cast: Cast, verb: Verb, who: str, own: bool) -> None:
    ready_for(verb)
    target = target_of(cast, verb.on, own)
    body, _ = PARAMETERS.get(verb.kind, ({}, {}))
    ways = (
        (by_token, f"/{verb.on}s/{target.pk}/{verb.name}", body),
        (by_session, f"/{verb.on}s/{target.pk}/{verb.name}", body),
        (as_page, f"/{NOUNS[verb.on].path}/{target.pk}/{verb.name}/", form_of(verb, target)),
    )
    # Who owns a machine alone may know of no disc that could go into it.
    accepted = 422 if verb.kind == "domain.insert" and who != "administrator" else 202
    wanted = expected(who, verb, own, accepted)
    for way, path, data in ways:
        response = way(cast, who, "POST", path, data)
        there = 400 if wanted == 422 and way is as_page else wanted
        assert response.status_code == there, f"{way.__name__}: {response.content[:300]}"
        asked = list(Operation.objects.active())
        assert len(asked) == (wanted == 202)
        # The busy lock is for the next way.
        assert all(operations.cancel(operation) for operation in asked)


@pytest.mark.parametrize("role", [Role.VIEWER, Role.OPERATOR, Role.OWNER])
@pytest.mark.parametrize("verb", [verb for verb in ON_OBJECTS if verb.on != "domain"], ids=lambda verb: verb.kind)
def test_a_role_on_a_host_reaches_what_is_on_it(cast: Cast, verb: Verb, role: Role) -> None:
    ready_for(verb)
    Grant.objects.create(user=cast.stranger, host=cast.host, role=role)
    target = target_of(cast, verb.on, own=True)
    body, _ = PARAMETERS.get(verb.kind, ({}, {}))
    for way, path, data in (
        (by_token, f"/{verb.on}s/{target.pk}/{verb.name}", body),
        (as_page, f"/{NOUNS[verb.on].path}/{target.pk}/{verb.name}/", form_of(verb, target)),
    ):
        response = way(cast, "stranger", "POST", path, data)
        assert response.status_code == (202 if role.rank >= verb.role.rank else 403), response.content[:300]
        assert all(operations.cancel(operation) for operation in Operation.objects.active())


@pytest.mark.parametrize("who", PEOPLE)
def test_adding_a_host(cast: Cast, who: str) -> None:
    body = {"transport": "tls", "port": 16514}
    wanted = 401 if who == "nobody" else 202 if who == "administrator" else 403
    for number, (way, path) in enumerate(((by_token, "/hosts"), (by_session, "/hosts"), (as_page, "/hosts/add/"))):
        parts = body | {"name": f"new-{number}", "hostname": f"h{number}"}
        assert way(cast, who, "POST", path, parts).status_code == wanted


def test_every_verb_with_parameters_has_an_example() -> None:
    assert {verb.kind for verb in ON_OBJECTS if verb.spec.model_fields} == set(PARAMETERS)


@pytest.mark.parametrize("verb", ON_OBJECTS, ids=lambda verb: verb.kind)
def test_a_verb_is_only_ever_a_post(cast: Cast, verb: Verb) -> None:
    ready_for(verb)
    target = target_of(cast, verb.on, own=True)
    for method in ("GET", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE"):
        for way, path in (
            (by_session, f"/{verb.on}s/{target.pk}/{verb.name}"),
            (as_page, f"/{NOUNS[verb.on].path}/{target.pk}/{verb.name}/"),
        ):
            assert way(cast, "administrator", method, path).status_code in (200, 405), (method, path)
    assert not Operation.objects.exists()


@pytest.mark.parametrize("name", ["console", "view", "add", "nonsense", "create"])
def test_what_is_no_verb_of_it_has_no_address(cast: Cast, name: str) -> None:
    assert by_token(cast, "administrator", "POST", f"/domains/{cast.domain.pk}/{name}").status_code in (404, 405)
    assert by_token(cast, "administrator", "POST", f"/hosts/{cast.host.pk}/{name}").status_code in (404, 405)
    assert as_page(cast, "administrator", "POST", f"/hosts/{cast.host.pk}/{name}/").status_code in (404, 405)
    assert not Operation.objects.exists()


# --- routes


@dataclass(frozen=True)
class Row:
    """What a route answers. `needs` is a role on the object (`noun`), or one of the words below."""

    needs: str
    noun: str = ""
    methods: tuple[str, ...] = ("GET",)
    sample: dict[str, str] = field(default_factory=dict)
    """What stands for the variable parts that name no object."""
    form: dict[str, str] = field(default_factory=dict)
    """What has to be sent for the route to know what is wanted at all."""
    lenient: tuple[str, ...] = ()
    """Methods that the packages' own views answer, without doing anything."""


ANYBODY = "anybody"
SIGNED_IN = "signed in"
ADMINISTRATOR = "administrator"
GET_POST = ("GET", "POST")
POST = ("POST",)


def role_for(verb: Verb) -> str:
    """On the host, only the administrator may anything."""
    return Role.ADMINISTRATOR.value if verb.host_role else verb.role.value


ROUTES = {
    # pages
    "": Row(SIGNED_IN),
    "vms/": Row(SIGNED_IN),
    "vms/bin/": Row(SIGNED_IN),
    "vms/create/": Row(SIGNED_IN),
    "vms/flavours/": Row(SIGNED_IN),
    "vms/flavours/add/": Row(ADMINISTRATOR, methods=GET_POST),
    "vms/flavours/<int:pk>/": Row(ADMINISTRATOR, "flavour", methods=GET_POST),
    "vms/flavours/<int:pk>/remove/": Row(ADMINISTRATOR, "flavour", methods=POST),
    "vms/bulk/": Row(SIGNED_IN, methods=POST, form={"verb": "start"}),
    "pools/bulk/": Row(SIGNED_IN, methods=POST, form={"verb": "start"}),
    "volumes/bulk/": Row(SIGNED_IN, methods=POST, form={"verb": "delete"}),
    "networks/bulk/": Row(SIGNED_IN, methods=POST, form={"verb": "start"}),
    "vms/<int:pk>/": Row("viewer", "domain"),
    "vms/<int:pk>/hardware/": Row("viewer", "domain"),
    "vms/<int:pk>/console/": Row("viewer", "domain"),
    "vms/<int:pk>/console/window/": Row("viewer", "domain"),
    "vms/<int:pk>/history/": Row("viewer", "domain"),
    "vms/<int:pk>/xml/": Row("viewer", "domain"),
    "vms/<int:pk>/menu/": Row("viewer", "domain"),
    "vms/<int:pk>/screen.png": Row("viewer", "domain"),
    "vms/<int:pk>/<slug:name>/": Row("owner", "domain", methods=GET_POST, sample={"name": "rename"}),
    "hosts/": Row(SIGNED_IN),
    "hosts/add/": Row(ADMINISTRATOR, methods=GET_POST),
    "hosts/<int:pk>/": Row("viewer", "host"),
    "hosts/<int:pk>/machines/": Row("viewer", "host"),
    "hosts/<int:pk>/log/": Row("viewer", "host"),
    "hosts/<int:pk>/<slug:name>/": Row("administrator", "host", methods=GET_POST, sample={"name": "edit"}),
    "hosts/<int:pk>/storage/": Row("viewer", "host"),
    "hosts/<int:pk>/networks/": Row("viewer", "host"),
    "hosts/<int:pk>/devices/": Row("viewer", "host"),
    "pools/": Row(SIGNED_IN),
    "pools/<int:pk>/": Row("viewer", "pool"),
    "pools/<int:pk>/definition/": Row("viewer", "pool"),
    "pools/<int:pk>/log/": Row("viewer", "pool"),
    "pools/<int:pk>/<slug:name>/": Row("owner", "pool", methods=GET_POST, sample={"name": "create-volume"}),
    "volumes/<int:pk>/": Row("viewer", "volume"),
    "volumes/<int:pk>/<slug:name>/": Row("owner", "volume", methods=GET_POST, sample={"name": "resize"}),
    "networks/": Row(SIGNED_IN),
    "networks/drawing/": Row(SIGNED_IN),
    "networks/<int:pk>/": Row("viewer", "network"),
    "networks/<int:pk>/definition/": Row("viewer", "network"),
    "networks/<int:pk>/log/": Row("viewer", "network"),
    "networks/<int:pk>/<slug:name>/": Row("administrator", "network", methods=GET_POST, sample={"name": "edit"}),
    "filters/<int:pk>/": Row("viewer", "filter"),
    "filters/<int:pk>/<slug:name>/": Row("administrator", "filter", methods=GET_POST, sample={"name": "edit"}),
    "secrets/<int:pk>/": Row("viewer", "secret"),
    "secrets/<int:pk>/<slug:name>/": Row("administrator", "secret", methods=GET_POST, sample={"name": "set_value"}),
    "images/": Row(SIGNED_IN),
    "images/cloud/": Row(SIGNED_IN),
    "images/cloud/add/": Row(ADMINISTRATOR, methods=GET_POST),
    "images/cloud/<int:pk>/": Row(ADMINISTRATOR, "cloudimage", methods=GET_POST),
    "images/cloud/<int:pk>/get/": Row(SIGNED_IN, "cloudimage"),
    "images/cloud/<int:pk>/remove/": Row(ADMINISTRATOR, "cloudimage", methods=POST),
    "operations/": Row(SIGNED_IN),
    "operations/<int:pk>/": Row("viewer", "operation"),
    "operations/<int:pk>/file/": Row(SIGNED_IN),
    "operations/<int:pk>/cancel/": Row("operator", "operation", methods=POST),
    "people/": Row(ADMINISTRATOR),
    "people/add/": Row(ADMINISTRATOR, methods=GET_POST),
    "people/<int:pk>/": Row(ADMINISTRATOR, "user"),
    "people/<int:pk>/password/": Row(ADMINISTRATOR, "user", methods=POST),
    "people/<int:pk>/active/": Row(ADMINISTRATOR, "user", methods=POST),
    "people/<int:pk>/grants/": Row(ADMINISTRATOR, "user", methods=POST),
    "people/<int:pk>/grants/<int:grant_pk>/withdraw/": Row(ADMINISTRATOR, "user", methods=POST),
    "me/": Row(SIGNED_IN),
    "me/preferences/": Row(SIGNED_IN, methods=POST),
    "me/ssh-keys/": Row(SIGNED_IN, methods=POST),
    "me/tokens/": Row(SIGNED_IN, methods=POST),
    "me/tokens/<int:pk>/revoke/": Row(SIGNED_IN, "token", methods=POST),
    "me/password/": Row(SIGNED_IN, methods=GET_POST, lenient=("PUT", "PATCH", "DELETE")),
    "login/": Row(ANYBODY, methods=GET_POST, lenient=("PUT", "PATCH", "DELETE")),
    "logout/": Row(ANYBODY, methods=GET_POST),
    "setup/<str:token>/": Row(ANYBODY, methods=GET_POST, sample={"token": "x"}),
    "palette/": Row(SIGNED_IN),
    "jsi18n/<str:language>/<str:version>.js": Row(ANYBODY, sample={"language": "en", "version": "x"}),
    "healthz": Row(ANYBODY),
    # the API
    "api/v1/": Row(ANYBODY),
    "api/v1/docs": Row(SIGNED_IN),
    "api/v1/openapi.json": Row(SIGNED_IN),
    "api/v1/<path:rest>": Row(SIGNED_IN, sample={"rest": "nothing"}, methods=()),
    "api/v1/catalogue": Row(SIGNED_IN),
    "api/v1/domains": Row(SIGNED_IN),
    "api/v1/domains/bulk": Row(SIGNED_IN, methods=POST),
    "api/v1/pools/bulk": Row(SIGNED_IN, methods=POST),
    "api/v1/volumes/bulk": Row(SIGNED_IN, methods=POST),
    "api/v1/networks/bulk": Row(SIGNED_IN, methods=POST),
    "api/v1/domains/<int:pk>": Row("viewer", "domain"),
    "api/v1/domains/<int:pk>/xml": Row("viewer", "domain"),
    "api/v1/domains/<int:pk>/screen.png": Row("viewer", "domain"),
    "api/v1/domains/<int:pk>/sessions": Row("viewer", "domain"),
    "api/v1/hosts": Row(SIGNED_IN, methods=GET_POST),
    "api/v1/hosts/places": Row(SIGNED_IN),
    "api/v1/hosts/our_keys": Row(ADMINISTRATOR),
    "api/v1/hosts/<int:pk>": Row("viewer", "host"),
    "api/v1/hosts/<int:pk>/devices": Row("viewer", "host"),
    "api/v1/pools": Row(SIGNED_IN),
    "api/v1/pools/<int:pk>": Row("viewer", "pool"),
    "api/v1/pools/<int:pk>/volumes": Row("viewer", "pool"),
    "api/v1/volumes/<int:pk>": Row("viewer", "volume"),
    "api/v1/uploads": Row(SIGNED_IN),
    "api/v1/uploads/<int:pk>": Row(SIGNED_IN, methods=("GET", "PUT")),
    "api/v1/images": Row(SIGNED_IN),
    "api/v1/cloud-images": Row(SIGNED_IN, methods=GET_POST),
    "api/v1/cloud-images/<int:pk>": Row(SIGNED_IN, "cloudimage", methods=("GET", "PUT", "DELETE")),
    "api/v1/flavours": Row(SIGNED_IN, methods=GET_POST),
    "api/v1/flavours/<int:pk>": Row(SIGNED_IN, "flavour", methods=("GET", "PUT", "DELETE")),
    "api/v1/hosts/<int:pk>/create-domain/bulk": Row("owner", "host", methods=POST),
    "api/v1/domains/<int:pk>/clone/bulk": Row(ADMINISTRATOR, "domain", methods=POST),
    "api/v1/networks": Row(SIGNED_IN),
    "api/v1/networks/<int:pk>": Row("viewer", "network"),
    "api/v1/filters": Row(SIGNED_IN),
    "api/v1/filters/<int:pk>": Row("viewer", "filter"),
    "api/v1/secrets": Row(SIGNED_IN),
    "api/v1/secrets/<int:pk>": Row("viewer", "secret"),
    "api/v1/operations": Row(SIGNED_IN),
    "api/v1/operations/<int:pk>": Row("viewer", "operation"),
    "api/v1/operations/<int:pk>/file": Row(SIGNED_IN),
    "api/v1/operations/<int:pk>/cancel": Row("operator", "operation", methods=POST),
    "api/v1/me": Row(SIGNED_IN),
    "api/v1/me/tokens": Row(SIGNED_IN, methods=GET_POST),
    "api/v1/me/tokens/<int:pk>": Row(SIGNED_IN, "token", methods=("DELETE",)),
} | {f"api/v1/{verb.on}s/<int:pk>/{verb.name}": Row(role_for(verb), verb.on, methods=POST) for verb in ON_OBJECTS}

METHODS = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE")


def routes(patterns: list[Any], before: str = "") -> Iterator[str]:
    for pattern in patterns:
        route = before + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from routes(pattern.url_patterns, route)
        elif isinstance(pattern, URLPattern):
            yield route


def test_every_route_has_a_row_and_every_row_a_route() -> None:
    assert set(routes(get_resolver().url_patterns)) == set(ROUTES)


@dataclass(frozen=True)
class World:
    """The cast, and one of each object that a route can name: theirs, and another."""

    cast: Cast
    own: dict[str, int]
    other: dict[str, int]

    def path(self, route: str, row: Row, own: bool) -> str:
        pk = (self.own if own else self.other).get(row.noun, 0)
        path = route.replace("<int:pk>", str(pk)).replace("<int:grant_pk>", "999999")
        for name, value in row.sample.items():
            path = (
                path.replace(f"<str:{name}>", value).replace(f"<slug:{name}>", value).replace(f"<path:{name}>", value)
            )
        return f"/{path}"


CLOUD_IMAGE: dict[str, Any] = {"pk": 999_999, "name": "Tux 9", "url": "https://example.org/tux-9.qcow2"}

FLAVOUR: dict[str, Any] = {"pk": 999_999, "name": "huge", "vcpus": 64, "memory_mib": 65_536}


def furnish(domain: Domain) -> None:
    now = timezone.now()
    Definition.objects.create(domain=domain, inactive={"name": domain.name}, inactive_xml="<domain/>", read_at=now)
    Screen.objects.create(domain=domain, png=b"\x89PNG", taken_at=now)


@pytest.fixture
def world(cast: Cast) -> World:
    furnish(cast.domain)
    furnish(cast.other)
    start = next(verb for verb in VERBS if verb.kind == "domain.start")
    actor = operations.Actor(cast.administrator, Origin.PAGE)
    ids = [operations.submit(actor, start, domain).pk for domain in (cast.domain, cast.other)]
    common = {"host": cast.host.pk, "user": cast.stranger.pk, "token": 999_999}
    common |= {"pool": cast.pool.pk, "volume": cast.volume.pk, "network": cast.network.pk}
    common |= {
        "filter": cast.filter.pk,
        "secret": cast.secret.pk,
        "cloudimage": CLOUD_IMAGE["pk"],
        "flavour": FLAVOUR["pk"],
    }
    CloudImage.objects.create(**CLOUD_IMAGE)
    Flavour.objects.create(**FLAVOUR)
    own = common | {"domain": cast.domain.pk, "operation": ids[0]}
    other = common | {"domain": cast.other.pk, "operation": ids[1]}
    return World(cast, own, other)


def verdict(row: Row, who: str, own: bool) -> str:
    """`in`, `login`, `denied` or `unknown`."""
    if row.needs == ANYBODY:
        return "in"
    if who == "nobody":
        return "login"
    if row.needs == SIGNED_IN:
        return "in"
    if row.needs == ADMINISTRATOR and row.noun not in NOUNS:
        return "in" if who == "administrator" else "denied"
    has = rank(who, row.noun if row.noun in NOUNS else "domain", own)
    if has is None:
        return "unknown"
    return "in" if has >= Role(row.needs).rank else "denied"


def seen(response: Any, route: str) -> str:
    status = response.status_code
    if status == 401 or (status == 302 and "/login/" in response.get("Location", "") and route != "logout/"):
        return "login"
    if status == 403:
        return "denied"
    if status == 404:
        return "unknown"
    # `/healthz` says 503 here, since nothing else runs.
    assert status < 500 or (status, route) == (503, "healthz"), f"{route}: {status}"
    return "in"


OBJECTLESS = (
    "setup/<str:token>/",
    "jsi18n/<str:language>/<str:version>.js",
    "api/v1/",
    # Each only its own asker's: tests/api/test_uploads.py.
    "api/v1/uploads/<int:pk>",
    # The same: tests/web/test_downloads.py.
    "operations/<int:pk>/file/",
    "api/v1/operations/<int:pk>/file",
)
"""Open to all, and nothing there for a token or a version that is none."""


WRITTEN_BY_ADMINISTRATORS = (
    "api/v1/hosts",
    "api/v1/cloud-images",
    "api/v1/cloud-images/<int:pk>",
    "api/v1/flavours",
    "api/v1/flavours/<int:pk>",
)


@pytest.mark.parametrize("own", [True, False], ids=["own", "foreign"])
@pytest.mark.parametrize("who", PEOPLE)
def test_reading_any_route(world: World, who: str, own: bool) -> None:
    """For every route that can be read, the answer that its row says; in one go, since there are many."""
    wrong = []
    for route, row in ROUTES.items():
        if "GET" not in row.methods or route in OBJECTLESS:
            continue
        client = Client(raise_request_exception=False)
        if who != "nobody":
            client.force_login(world.cast.who(who))
        found = seen(client.get(world.path(route, row, own)), route)
        if found != verdict(row, who, own):
            wrong.append(f"{route}: {found}, not {verdict(row, who, own)}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("own", [True, False], ids=["own", "foreign"])
@pytest.mark.parametrize("who", PEOPLE)
def test_writing_to_any_route(world: World, who: str, own: bool) -> None:
    """The same for what can be sent to; with nothing in it, so that who may come in is told what is missing."""
    wrong = []
    for route, row in ROUTES.items():
        for method in set(row.methods) - {"GET"}:
            if route in OBJECTLESS or row.noun == "token" or route == "logout/":
                continue
            # Another route may just have taken it away.
            CloudImage.objects.get_or_create(**CLOUD_IMAGE)
            Flavour.objects.get_or_create(**FLAVOUR)
            client = Client(raise_request_exception=False)
            if who != "nobody":
                client.force_login(world.cast.who(who))
            response = (
                client.post(world.path(route, row, own), row.form)
                if row.form
                else client.generic(method, world.path(route, row, own), content_type="application/json")
            )
            found, wanted = seen(response, route), verdict(row, who, own)
            # One may look, and only the administrator write, at the same address.
            if route in WRITTEN_BY_ADMINISTRATORS and who != "nobody":
                wanted = "in" if who == "administrator" else "denied"
            if "grant_pk" in route and wanted == "in":
                wanted = "unknown"
            if found != wanted:
                wrong.append(f"{method} {route}: {found} ({response.status_code}), not {wanted}")
    assert not wrong, "\n".join(wrong)


def everything() -> str:
    """All that the database holds but for sign-ins and when they were used."""
    kept = [getattr(models, name) for name in models.__all__ if hasattr(getattr(models, name), "_meta")]
    kept = [model for model in kept if not issubclass(model, Session) and not model._meta.abstract]
    rows = [row for model in kept for row in model._default_manager.order_by("pk")]
    fields = [json.loads(serializers.serialize("json", [row]))[0] for row in rows]
    for row in fields:
        row["fields"].pop("last_login", None)
    return json.dumps(fields, sort_keys=True)


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_looking_changes_nothing(world: World, method: str) -> None:
    before = everything()
    for route, row in ROUTES.items():
        client = Client(raise_request_exception=False)
        client.force_login(world.cast.administrator)
        response = client.generic(method, world.path(route, row, own=True))
        seen(response, route)
        assert everything() == before, f"{method} {route}"


def test_a_route_answers_to_its_methods_alone(world: World) -> None:
    before = everything()
    wrong = []
    for route, row in ROUTES.items():
        for method in set(METHODS) - set(row.methods) - set(row.lenient) - {"HEAD", "OPTIONS"}:
            client = Client(raise_request_exception=False)
            client.force_login(world.cast.administrator)
            status = client.generic(
                method, world.path(route, row, own=True), content_type="application/json"
            ).status_code
            if status != 405 and not (status == 404 and route in ("api/v1/", "api/v1/<path:rest>")):
                wrong.append(f"{method} {route}: {status}")
    assert not wrong, "\n".join(wrong)
    assert everything() == before


def test_nothing_is_changed_without_the_csrf_token(world: World) -> None:
    """Another site's page can make a signed-in browser send a form, a text or JSON; it cannot know the token."""
    before = everything()
    wrong = []
    for route, row in ROUTES.items():
        for method in set(row.methods) - {"GET"}:
            for kind in ("application/x-www-form-urlencoded", "text/plain", "application/json"):
                client = Client(enforce_csrf_checks=True, raise_request_exception=False)
                client.force_login(world.cast.administrator)
                client.cookies[settings.CSRF_COOKIE_NAME] = "c" * 32
                for headers in ({}, {"X-CSRFToken": "d" * 32}):
                    path = world.path(route, row, own=True)
                    status = client.generic(method, path, "{}", content_type=kind, headers=headers).status_code
                    if status != 403:
                        wrong.append(f"{method} {route} ({kind}): {status}")
    assert not wrong, "\n".join(wrong)
    assert everything() == before


# --- sockets


@pytest.fixture
def with_redis(redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(settings, "WEBVIRT_REDIS", redis_server.address)
    bus.store.cache_clear()
    yield
    bus.store.cache_clear()


CONSOLE = {"nobody": 4401, "unknown": 4404, "denied": 4403}


def console_verdict(verb: Verb, who: str, own: bool) -> int | None:
    """The close code, or None where a ticket is given."""
    if who == "nobody":
        return CONSOLE["nobody"]
    has = rank(who, "domain", own)
    if has is None:
        return CONSOLE["unknown"]
    return None if has >= verb.role.rank else CONSOLE["denied"]


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb.session], ids=lambda verb: verb.kind)
async def test_a_console_by_its_socket(transactional_db: None, with_redis: None, cast: Cast, verb: Verb) -> None:
    mode = {"domain.view": "view", "domain.console": "control"}[verb.kind]
    await database_sync_to_async(Domain.objects.update)(status=Status.RUNNING)
    for who in PEOPLE:
        for own in (True, False):
            target = target_of(cast, "domain", own)
            code, ticket = await open_console(None if who == "nobody" else cast.who(who), target.pk, mode)
            wanted = console_verdict(verb, who, own)
            assert code == wanted, f"{who}, {'own' if own else 'foreign'}"
            assert ticket == (wanted is None)
    assert await database_sync_to_async(ConsoleSession.objects.count)() == sum(
        console_verdict(verb, who, own) is None for who in PEOPLE for own in (True, False)
    )


async def open_console(user: User | None, pk: int, mode: str) -> tuple[int | None, bool]:
    """The code with which it was closed, if it was, and whether there was a ticket."""
    headers = [(b"origin", settings.SOCKET_ORIGINS[0].encode())]
    if user is not None:
        cookie = await database_sync_to_async(session_cookie)(user)
        headers.append((b"cookie", f"{settings.SESSION_COOKIE_NAME}={cookie}".encode()))
    communicator = WebsocketCommunicator(sockets.application, f"/ws/console/{pk}/?mode={mode}", headers)
    connected, _ = await communicator.connect(timeout=5)
    assert connected
    while True:
        said = await communicator.receive_output(timeout=5)
        if said["type"] == "websocket.close":
            return said["code"], False
        if "ticket" in json.loads(said["text"]):
            await communicator.disconnect()
            return None, True


@pytest.mark.parametrize("path", ["/ws/", "/ws/tasks/", "/ws/console/", "/ws/console/x/", "/ws/events", "/"])
async def test_there_are_no_other_sockets(path: str) -> None:
    headers = [(b"origin", settings.SOCKET_ORIGINS[0].encode())]
    communicator = WebsocketCommunicator(sockets.application, path, headers)
    connected, _ = await communicator.connect(timeout=5)
    assert not connected

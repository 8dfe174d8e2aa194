"""Who may do what by which way: every verb and every route, for everybody of the cast, against one table.

Expectations come from the catalogue's roles and from `ROUTES`, never from what the code happens to answer. A route
without a row fails.
"""

from __future__ import annotations

import inspect
import itertools
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from channels.db import database_sync_to_async
from channels.testing import WebsocketCommunicator
from django.conf import settings
from django.contrib.auth.models import Group
from django.core import serializers
from django.db import transaction
from django.db.models import Model
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver
from django.utils import timezone

from tests.api.conftest import Caller
from tests.people import Cast, make_recording
from tests.realtime.conftest import RedisServer, redis_server, session_cookie
from webvirt import bus, models
from webvirt.celery import app
from webvirt.hypervisor.addresses import fingerprint
from webvirt.models import (
    CloudImage,
    ConsoleSession,
    CustomRole,
    Definition,
    Domain,
    Flavour,
    Grant,
    Guesses,
    Host,
    LoginSession,
    Network,
    NetworkStatus,
    Operation,
    Origin,
    Pool,
    PoolStatus,
    Project,
    Role,
    Screen,
    Status,
    User,
    Volume,
)
from webvirt.realtime import urls as sockets
from webvirt.services import consoles, hidden, operations, runners
from webvirt.services.catalogue import VERBS, Verb
from webvirt.services.subjects import NOUNS, host_of, name_of
from webvirt.tasks import run_operation

__all__ = ["redis_server"]

PEOPLE = ("nobody", "stranger", "viewer", "operator", "owner", "administrator")
RANKS = {"viewer": 1, "operator": 2, "owner": 3, "administrator": 4}
"""What the cast may on their own machine; on the other one, and on the host, only the administrator may anything."""

NAT = {"addresses": [{"address": "192.168.7.1", "prefix": 24}]}
NAT_FORM = {"forward": "nat", "dns": "on", "ipv4_address": "192.168.7.1/24"}
DISC = 77
HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGvAMvhDDWWGSt5QaOzbECuFMiDqyVOF0qKNxTzpY3jD"
FINGERPRINT = fingerprint(HOST_KEY)
PROJECT = 88
"""One that only the administrator may move things to."""
PARAMETERS: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    "domain.autostart": ({"enabled": True}, {"enabled": "on"}),
    "domain.record": ({"enabled": True}, {"enabled": "on"}),
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
    "domain.to_vnc": ({"video": "vga"},) * 2,
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
    "domain.set_project": ({"project": PROJECT}, {"project": str(PROJECT)}),
    "volume.set_project": ({"project": PROJECT}, {"project": str(PROJECT)}),
    "network.set_project": ({"project": PROJECT}, {"project": str(PROJECT)}),
    "secret.create": ({"usage": "ceph", "usage_id": "backup", "value": "s3cret"},) * 2,
    "secret.set_value": ({"value": "s3cret"},) * 2,
}
"""Of each verb that takes any: as JSON, and as a form."""

ON_OBJECTS = [verb for verb in VERBS if not verb.session and verb.on]


def rank(who: str, noun: str, own: bool) -> int | None:
    """The role of somebody on the own or other object; None: may not know of it."""
    if who == "administrator":
        return RANKS[who]
    return RANKS.get(who) if own and noun in ("domain", "project") else None


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
    if verb.kind in FURNISHED:
        FURNISHED[verb.kind]()
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
    if verb.kind.endswith(".set_project"):
        Project.objects.create(pk=PROJECT, name="elsewhere")
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


def with_spice() -> None:
    """Every machine has a SPICE display that can be reached from elsewhere."""
    graphics = {"graphics": [{"type": "spice"}]}
    xml = "<domain><devices><graphics type='spice' port='5900' listen='192.0.2.7'/></devices></domain>"
    parts = {"inactive": graphics, "live": graphics, "live_xml": xml, "read_at": timezone.now()}
    for domain in Domain.objects.all():
        Definition.objects.update_or_create(domain=domain, defaults=parts)


FURNISHED = {
    "domain.insert": with_drive,
    "domain.eject": with_drive,
    "domain.viewer_file": with_spice,
    "domain.to_vnc": with_spice,
}
"""What machines have to have for these."""


def form_of(verb: Verb, target: Any) -> dict[str, str]:
    """What a page's form sends for it."""
    return PARAMETERS.get(verb.kind, ({}, {}))[1] | ({"confirm": target.name} if verb.by_name else {})


JSON = {"Accept": "application/json"}


class Ways:
    """How the cast ask: each once signed in, and with a token of their own, for as many requests as there are."""

    def __init__(self, cast: Cast) -> None:
        self.cast = cast
        self.clients: dict[tuple[str, str], Client] = {}
        self.callers: dict[tuple[str, str], Caller] = {}

    def page(self, who: str, method: str, path: str, data: Any = None) -> Any:
        """A script of ours on a page: it asks for JSON, so that a refusal is a status and not a way to the login."""
        return getattr(self.client(who, **JSON), method.lower())(path, data)

    def client(self, who: str, **headers: str) -> Client:
        key = (who, str(headers))
        if key not in self.clients:
            self.clients[key] = Client(headers=headers, raise_request_exception=False)
            if who != "nobody":
                self.clients[key].force_login(self.cast.who(who))
        return self.clients[key]

    def token(self, who: str, method: str, path: str, data: Any = None) -> Any:
        return self.caller(who, "token").call(method, path, data)

    def session(self, who: str, method: str, path: str, data: Any = None) -> Any:
        return self.caller(who, "session").call(method, path, data, X_CSRFToken="c" * 32)

    def caller(self, who: str, kind: str) -> Caller:
        if (who, kind) not in self.callers:
            user = None if who == "nobody" else self.cast.who(who)
            caller = self.callers[who, kind] = Caller(user if kind == "token" else None)
            if kind == "session":
                caller.client.cookies[settings.CSRF_COOKIE_NAME] = "c" * 32
                if user:
                    caller.client.force_login(user)
        return self.callers[who, kind]


@pytest.fixture
def ways(cast: Cast) -> Ways:
    """Signed in and with their tokens made before anything is undone."""
    ways = Ways(cast)
    for who in PEOPLE:
        ways.client(who)
        ways.client(who, **JSON)
        ways.caller(who, "token")
        ways.caller(who, "session")
    return ways


@contextmanager
def undone() -> Iterator[None]:
    """What is done within is undone after it, so that the next need not make everything anew."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


@pytest.fixture(autouse=True)
def unsent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operations, "send", lambda operation: None)
    monkeypatch.setattr(hidden, "hide", lambda operation, spec: None)


# --- verbs


def api_path(verb: Verb, target: Any) -> str:
    return f"/{verb.on}s/{target.pk}/{verb.name}"


def page_path(verb: Verb, target: Any) -> str:
    return f"/{NOUNS[verb.on].path}/{target.pk}/{verb.name}/"


def on_noun(noun: str) -> list[Verb]:
    return [verb for verb in ON_OBJECTS if verb.on == noun]


def accepted_from(verb: Verb, who: str) -> int:
    """422 where somebody may do it, but not with the disc or the project of our example, which they do not know."""
    strange = verb.kind == "domain.insert" or verb.kind.endswith(".set_project")
    return 422 if strange and who != "administrator" else 202


@pytest.mark.parametrize("noun", NOUNS)
def test_verbs_by_page_and_token(ways: Ways, noun: str) -> None:
    """By session as well, for what everybody may see: that the API's way in is another is all that differs then."""
    cast, wrong = ways.cast, []
    for verb in on_noun(noun):
        with undone():
            ready_for(verb)
            body, _ = PARAMETERS.get(verb.kind, ({}, {}))
            for who, own in itertools.product(PEOPLE, (True, False) if noun == "domain" else (True,)):
                target, wanted = target_of(cast, noun, own), expected(who, verb, own, accepted_from(verb, who))
                asked = [
                    (ways.token, api_path(verb, target), body),
                    (ways.page, page_path(verb, target), form_of(verb, target)),
                ]
                asked += [(ways.session, api_path(verb, target), body)] if verb == on_noun(noun)[0] else []
                for way, path, data in asked:
                    status = way(who, "POST", path, data).status_code
                    there = 400 if wanted == 422 and way == ways.page else wanted
                    accepted = list(Operation.objects.active())
                    if status != there or len(accepted) != (wanted == 202):
                        wrong.append(f"{way.__name__} {path} by {who}: {status} ({len(accepted)}), not {there}")
                    # The busy lock is for the next way.
                    assert all(operations.cancel(operation) for operation in accepted)
    assert not wrong, "\n".join(wrong)


REACHED = {
    "project": ("domain", "volume", "network"),
    "host": tuple(NOUNS),
    "pool": ("pool", "volume"),
    "network": ("network",),
    "domain": ("domain",),
}
"""What a grant reaches, machine, volume and network of the cast being in the project."""


@pytest.fixture
def project(cast: Cast) -> Project:
    project = Project.objects.create(name="shop")
    Domain.objects.filter(pk=cast.domain.pk).update(project=project)
    Volume.objects.update(project=project)
    Network.objects.update(project=project)
    return project


def hold(cast: Cast, project: Project | None, scope: str, by_group: bool, **role: Any) -> None:
    """The stranger holds a role on this of the cast's, themselves or by a group."""
    place = project if scope == "project" else getattr(cast, scope)
    group = Group.objects.get_or_create(name="team")[0]
    cast.stranger.groups.add(group)
    Grant.objects.create(**({"group": group} if by_group else {"user": cast.stranger}), **{scope: place}, **role)


def wrong_verbs(ways: Ways, wanted: Callable[[Verb], int], who: str = "stranger") -> list[str]:
    """The verbs to which somebody's token gets another answer than is wanted, asking for each of them."""
    wrong = []
    for verb in ON_OBJECTS:
        with undone():
            ready_for(verb)
            path = api_path(verb, target_of(ways.cast, verb.on, own=True))
            status = ways.token(who, "POST", path, PARAMETERS.get(verb.kind, ({}, {}))[0]).status_code
            if status != wanted(verb) or Operation.objects.exists() != (status == 202):
                wrong.append(f"{verb.kind}: {status}, not {wanted(verb)}")
    return wrong


@pytest.mark.parametrize("by_group", [False, True], ids=["own", "group"])
@pytest.mark.parametrize("scope", REACHED)
def test_an_owner_of_any_place(ways: Ways, project: Project, scope: str, by_group: bool) -> None:
    hold(ways.cast, project, scope, by_group, role=Role.OWNER)

    def wanted(verb: Verb) -> int:
        if verb.on not in REACHED[scope]:
            return 404
        if verb.role == Role.ADMINISTRATOR or (verb.host_role and scope != "host"):
            return 403
        if verb.kind.endswith(".set_project") and scope != "project":
            # It would leave a project that is not theirs.
            return 403
        if verb.kind == "volume.copy":
            # From a project they know of no pool that it could go into.
            return 422 if scope == "project" else 202
        if verb.kind == "volume.clone" and scope == "project":
            # Nor may the project use the pool that it is in.
            return 403
        knows_disc = verb.kind == "domain.insert" and scope != "domain"
        return 202 if knows_disc else accepted_from(verb, "stranger")

    wrong = wrong_verbs(ways, wanted)
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("role", [Role.VIEWER, Role.OPERATOR])
def test_a_lesser_role_on_a_host(ways: Ways, project: Project, role: Role) -> None:
    hold(ways.cast, project, "host", by_group=True, role=role)

    def wanted(verb: Verb) -> int:
        enough = role.rank >= max(verb.role.rank, verb.host_role.rank if verb.host_role else 0)
        return 202 if enough else 403

    wrong = wrong_verbs(ways, wanted)
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("noun", NOUNS)
def test_a_custom_role_allows_its_verb_and_no_other(ways: Ways, noun: str) -> None:
    """Each verb alone is allowed by it, and by the role of all others it is not."""
    wrong = []
    kinds = {verb.kind for verb in VERBS}
    for verb in on_noun(noun):
        for chosen in ({verb.kind, "volume.create"}, kinds - {verb.kind}):
            with undone():
                ready_for(verb)
                role = CustomRole.objects.create(name="Some", kinds=sorted(chosen))
                hold(ways.cast, None, "host", by_group=True, custom_role=role)
                body = PARAMETERS.get(verb.kind, ({}, {}))[0]
                path = api_path(verb, target_of(ways.cast, noun, own=True))
                status = ways.token("stranger", "POST", path, body).status_code
                accepted = 202 if verb.kind == "domain.insert" else accepted_from(verb, "stranger")
                if status != (accepted if verb.kind in chosen else 403):
                    wrong.append(f"{verb.kind}, {'alone' if verb.kind in chosen else 'left out'}: {status}")
    assert not wrong, "\n".join(wrong)


LIMITED = "administrator's token"


def test_a_limited_token_does_its_verbs_and_no_other(ways: Ways) -> None:
    """Every second one; what is copied or cloned makes a volume, which it must be allowed as well."""
    kinds = {verb.kind for verb in ON_OBJECTS[::2]} | {"volume.create"}
    ways.callers[LIMITED, "token"] = Caller(ways.cast.administrator, kinds=kinds)
    wrong = wrong_verbs(ways, lambda verb: 202 if verb.kind in kinds else 403, LIMITED)
    assert not wrong, "\n".join(wrong)


def test_a_token_limited_to_a_project_does_all_in_it_and_nothing_outside(ways: Ways, project: Project) -> None:
    ways.callers[LIMITED, "token"] = Caller(ways.cast.administrator, project=project)

    def wanted(verb: Verb) -> int:
        if verb.on not in REACHED["project"]:
            return 404
        if verb.host_role or verb.kind == "volume.clone":
            # The project may not use the host, nor the pool.
            return 403
        return 422 if verb.kind.endswith(".set_project") or verb.kind == "volume.copy" else 202

    wrong = wrong_verbs(ways, wanted, LIMITED)
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("who", PEOPLE)
def test_adding_a_host(ways: Ways, who: str) -> None:
    body = {"transport": "tls", "port": 16514}
    wanted = 401 if who == "nobody" else 202 if who == "administrator" else 403
    for number, (way, path) in enumerate(
        ((ways.token, "/hosts"), (ways.session, "/hosts"), (ways.page, "/hosts/add/"))
    ):
        parts = body | {"name": f"new-{number}", "hostname": f"h{number}"}
        assert way(who, "POST", path, parts).status_code == wanted


def test_every_verb_with_parameters_has_an_example() -> None:
    assert {verb.kind for verb in ON_OBJECTS if verb.spec.model_fields} == set(PARAMETERS)


def test_a_verb_is_only_ever_a_post(ways: Ways) -> None:
    for verb, method in itertools.product(ON_OBJECTS, ("GET", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE")):
        target = target_of(ways.cast, verb.on, own=True)
        for way, path in ((ways.session, api_path(verb, target)), (ways.page, page_path(verb, target))):
            assert way("administrator", method, path).status_code in (200, 405), (method, path)
    assert not Operation.objects.exists()


@pytest.mark.parametrize("name", ["console", "view", "add", "nonsense", "create"])
def test_what_is_no_verb_of_it_has_no_address(ways: Ways, name: str) -> None:
    cast = ways.cast
    assert ways.token("administrator", "POST", f"/domains/{cast.domain.pk}/{name}").status_code in (404, 405)
    assert ways.token("administrator", "POST", f"/hosts/{cast.host.pk}/{name}").status_code in (404, 405)
    assert ways.page("administrator", "POST", f"/hosts/{cast.host.pk}/{name}/").status_code in (404, 405)
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
TO_WATCH = "to watch recordings"
"""The right of owners, without which nobody knows of any."""
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
    "recordings/": Row(SIGNED_IN),
    "recordings/<int:pk>/": Row(TO_WATCH, "recording"),
    "recordings/<int:pk>/bytes/": Row(TO_WATCH, "recording"),
    "recordings/<int:pk>/delete/": Row(TO_WATCH, "recording", methods=POST),
    "people/": Row(ADMINISTRATOR),
    "people/add/": Row(ADMINISTRATOR, methods=GET_POST),
    "people/services/add/": Row(ADMINISTRATOR, methods=GET_POST),
    "people/<int:pk>/": Row(ADMINISTRATOR, "user"),
    "people/<int:pk>/tokens/": Row(ADMINISTRATOR, "user", methods=POST),
    "people/<int:pk>/tokens/<int:token_pk>/revoke/": Row(ADMINISTRATOR, "user", methods=POST),
    "people/<int:pk>/password/": Row(ADMINISTRATOR, "user", methods=POST),
    "people/<int:pk>/active/": Row(ADMINISTRATOR, "user", methods=POST),
    "people/<int:pk>/grants/": Row(ADMINISTRATOR, "user", methods=POST),
    "people/<int:pk>/grants/<int:grant_pk>/withdraw/": Row(ADMINISTRATOR, "user", methods=POST),
    "people/groups/": Row(ADMINISTRATOR),
    "people/groups/add/": Row(ADMINISTRATOR, methods=GET_POST),
    "people/groups/<int:pk>/": Row(ADMINISTRATOR, "group"),
    "people/groups/<int:pk>/rename/": Row(ADMINISTRATOR, "group", methods=POST),
    "people/groups/<int:pk>/directory/": Row(ADMINISTRATOR, "group", methods=POST),
    "people/groups/<int:pk>/remove/": Row(ADMINISTRATOR, "group", methods=POST),
    "people/groups/<int:pk>/people/": Row(ADMINISTRATOR, "group", methods=POST),
    "people/groups/<int:pk>/people/remove/": Row(ADMINISTRATOR, "group", methods=POST),
    "people/groups/<int:pk>/grants/": Row(ADMINISTRATOR, "group", methods=POST),
    "people/groups/<int:pk>/grants/<int:grant_pk>/withdraw/": Row(ADMINISTRATOR, "group", methods=POST),
    "people/roles/": Row(ADMINISTRATOR),
    "people/roles/add/": Row(ADMINISTRATOR, methods=GET_POST),
    "people/roles/<int:pk>/": Row(ADMINISTRATOR, "role", methods=GET_POST),
    "people/roles/<int:pk>/remove/": Row(ADMINISTRATOR, "role", methods=POST),
    "people/who/": Row(ADMINISTRATOR),
    "people/who/give/": Row(ADMINISTRATOR, methods=POST, form={"on": "host:1"}),
    "projects/": Row(SIGNED_IN),
    "projects/add/": Row(ADMINISTRATOR, methods=GET_POST),
    "projects/<int:pk>/": Row("viewer", "project"),
    "projects/usage/": Row(SIGNED_IN),
    "projects/usage.csv": Row(SIGNED_IN),
    "projects/<int:pk>/usage.csv": Row("viewer", "project"),
    "projects/<int:pk>/members/": Row("owner", "project", methods=POST),
    "projects/<int:pk>/members/<int:grant_pk>/withdraw/": Row("owner", "project", methods=POST),
    "projects/<int:pk>/quota/": Row(ADMINISTRATOR, "its project", methods=GET_POST),
    "projects/<int:pk>/uses/": Row(ADMINISTRATOR, "its project", methods=GET_POST),
    "projects/<int:pk>/edit/": Row(ADMINISTRATOR, "its project", methods=GET_POST),
    "projects/<int:pk>/close/": Row(ADMINISTRATOR, "its project", methods=POST),
    "people/<int:pk>/link/": Row(ADMINISTRATOR, "user", methods=POST),
    "people/<int:pk>/link/withdraw/": Row(ADMINISTRATOR, "user", methods=POST),
    "people/<int:pk>/factors/forget/": Row(ADMINISTRATOR, "user", methods=POST),
    "people/<int:pk>/sessions/end/": Row(ADMINISTRATOR, "user", methods=POST),
    "people/<int:pk>/sessions/<slug:handle>/end/": Row(ADMINISTRATOR, "user", methods=POST, sample={"handle": "x"}),
    "audit/": Row(ADMINISTRATOR),
    "audit/<int:pk>/": Row(ADMINISTRATOR, "auditline"),
    "me/": Row(SIGNED_IN),
    "me/preferences/": Row(SIGNED_IN, methods=POST),
    "me/ssh-keys/": Row(SIGNED_IN, methods=POST),
    "me/tokens/": Row(SIGNED_IN, methods=POST),
    "me/tokens/<int:pk>/revoke/": Row(SIGNED_IN, "token", methods=POST),
    "me/password/": Row(SIGNED_IN, methods=GET_POST, lenient=("PUT", "PATCH", "DELETE")),
    "me/here/": Row(SIGNED_IN, methods=POST),
    "me/sessions/end/": Row(SIGNED_IN, methods=POST),
    "me/sessions/<slug:handle>/end/": Row(SIGNED_IN, "token", methods=POST, sample={"handle": "x"}),
    "me/confirm/": Row(SIGNED_IN, methods=GET_POST),
    "me/factors/": Row(SIGNED_IN),
    "me/factors/add/": Row(SIGNED_IN, methods=GET_POST),
    "me/factors/codes/": Row(SIGNED_IN, methods=POST),
    "me/factors/<int:pk>/remove/": Row(SIGNED_IN, "token", methods=POST),
    # Steps of a sign-in: who has not begun one is led to its beginning.
    "login/passkey/": Row(SIGNED_IN, methods=POST),
    "login/oidc/": Row(ANYBODY, methods=POST),
    "login/oidc/done/": Row(ANYBODY),
    "login/code/": Row(SIGNED_IN, methods=GET_POST, lenient=("PUT", "PATCH", "DELETE")),
    "login/enrolment/": Row(SIGNED_IN, methods=GET_POST, lenient=("PUT", "PATCH", "DELETE")),
    "link/<str:token>/": Row(ANYBODY, methods=GET_POST, sample={"token": "x"}),
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
    "api/v1/domains/<int:pk>/console": Row("viewer", "domain"),
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
    "api/v1/projects": Row(SIGNED_IN, methods=GET_POST),
    "api/v1/projects/<int:pk>": Row("viewer", "project", methods=("GET", "PUT", "DELETE")),
    "api/v1/projects/usage": Row(SIGNED_IN),
    "api/v1/projects/<int:pk>/usage": Row("viewer", "project"),
    "api/v1/projects/<int:pk>/members": Row("viewer", "project", methods=GET_POST),
    "api/v1/projects/<int:pk>/members/<int:grant_pk>": Row("owner", "project", methods=("DELETE",)),
    "api/v1/projects/<int:pk>/quota": Row("viewer", "project", methods=("GET", "PUT")),
    "api/v1/projects/<int:pk>/uses": Row("viewer", "project", methods=("GET", "PUT")),
    "api/v1/recordings": Row(SIGNED_IN),
    "api/v1/recordings/<int:pk>": Row(TO_WATCH, "recording", methods=("GET", "DELETE")),
    "api/v1/recordings/<int:pk>/bytes": Row(TO_WATCH, "recording"),
    "api/v1/people": Row(ADMINISTRATOR, methods=GET_POST),
    "api/v1/people/services": Row(ADMINISTRATOR, methods=POST),
    "api/v1/people/<int:pk>": Row(ADMINISTRATOR, "user", methods=("GET", "PATCH")),
    "api/v1/people/<int:pk>/link": Row(ADMINISTRATOR, "user", methods=("POST", "DELETE")),
    "api/v1/people/<int:pk>/factors": Row(ADMINISTRATOR, "user", methods=("DELETE",)),
    "api/v1/people/<int:pk>/sessions": Row(ADMINISTRATOR, "user", methods=("GET", "DELETE")),
    "api/v1/people/<int:pk>/sessions/<str:handle>": Row(
        ADMINISTRATOR, "user", methods=("DELETE",), sample={"handle": "x"}
    ),
    "api/v1/people/<int:pk>/tokens": Row(ADMINISTRATOR, "user", methods=GET_POST),
    "api/v1/people/<int:pk>/tokens/<int:token_pk>": Row(ADMINISTRATOR, "user", methods=("DELETE",)),
    "api/v1/groups": Row(ADMINISTRATOR, methods=GET_POST),
    "api/v1/groups/<int:pk>": Row(ADMINISTRATOR, "group", methods=("GET", "PUT", "DELETE")),
    "api/v1/roles": Row(ADMINISTRATOR, methods=GET_POST),
    "api/v1/roles/<int:pk>": Row(ADMINISTRATOR, "role", methods=("GET", "PUT", "DELETE")),
    "api/v1/grants": Row(ADMINISTRATOR, methods=GET_POST),
    "api/v1/grants/<int:pk>": Row(ADMINISTRATOR, "grant", methods=("DELETE",)),
    "api/v1/who/on/<str:name>": Row(ADMINISTRATOR, sample={"name": "host:1"}),
    "api/v1/who/of/<int:pk>": Row(ADMINISTRATOR, "user"),
    "api/v1/audit": Row(ADMINISTRATOR),
    "api/v1/audit/<int:pk>": Row(ADMINISTRATOR, "auditline"),
    "api/v1/audit/export": Row(ADMINISTRATOR),
    "api/v1/me": Row(SIGNED_IN),
    "api/v1/me/sessions": Row(SIGNED_IN),
    "api/v1/me/sessions/<str:handle>": Row(SIGNED_IN, "token", methods=("DELETE",), sample={"handle": "x"}),
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

    @property
    def apart(self) -> set[str]:
        """The nouns of which theirs and the other are two."""
        return {noun for noun, pk in self.own.items() if pk != self.other[noun]}

    def path(self, route: str, row: Row, own: bool) -> str:
        pk = (self.own if own else self.other).get(row.noun, 0)
        path = route.replace("<int:pk>", str(pk))
        path = path.replace("<int:grant_pk>", "999999").replace("<int:token_pk>", "999999")
        for name, value in row.sample.items():
            path = (
                path.replace(f"<str:{name}>", value).replace(f"<slug:{name}>", value).replace(f"<path:{name}>", value)
            )
        return f"/{path}"


GROUP: dict[str, Any] = {"pk": 999_999, "name": "team"}
ROLE: dict[str, Any] = {"pk": 999_999, "name": "Starter", "kinds": ["domain.start"]}
CLOUD_IMAGE: dict[str, Any] = {"pk": 999_999, "name": "Tux 9", "url": "https://example.org/tux-9.qcow2"}

FLAVOUR: dict[str, Any] = {"pk": 999_999, "name": "huge", "vcpus": 64, "memory_mib": 65_536}

THERE: tuple[tuple[type[Model], dict[str, Any]], ...] = (
    (CloudImage, CLOUD_IMAGE),
    (Flavour, FLAVOUR),
    (Group, GROUP),
    (CustomRole, ROLE),
    (Project, {"pk": PROJECT, "name": "elsewhere"}),
)
"""What routes name besides."""


def make_project(cast: Cast) -> Project:
    """One that the cast have the same roles on as on their machine."""
    project = Project.objects.create(name="theirs")
    for who in ("owner", "operator", "viewer"):
        Grant.objects.create(user=cast.who(who), role=who, project=project)
    return project


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
    common |= {"filter": cast.filter.pk, "secret": cast.secret.pk, "cloudimage": CLOUD_IMAGE["pk"], "auditline": 1}
    common["flavour"] = FLAVOUR["pk"]
    for model, parts in THERE:
        model._default_manager.create(**parts)
    common |= {"group": GROUP["pk"], "role": ROLE["pk"], "grant": 999_999, "its project": PROJECT}
    tapes = [make_recording(domain, cast.operator, ended=timezone.now()).pk for domain in (cast.domain, cast.other)]
    own = common | {"domain": cast.domain.pk, "operation": ids[0], "project": make_project(cast).pk}
    own |= {"recording": tapes[0]}
    other = common | {"domain": cast.other.pk, "operation": ids[1], "project": PROJECT, "recording": tapes[1]}
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
    if row.needs == TO_WATCH:
        return "in" if (rank(who, "domain", own) or 0) >= Role.OWNER.rank else "unknown"
    has = rank(who, row.noun if row.noun in (*NOUNS, "project") else "domain", own)
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
    "link/<str:token>/",
    "jsi18n/<str:language>/<str:version>.js",
    # Nothing is there without a provider: tests/web/test_oidc.py.
    "login/oidc/",
    "login/oidc/done/",
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
    "api/v1/projects",
    "api/v1/projects/<int:pk>",
    "api/v1/projects/<int:pk>/quota",
    "api/v1/projects/<int:pk>/uses",
)


WRITTEN_BY_OWNERS = ("api/v1/projects/<int:pk>/members",)
"""Whoever knows of the object may look."""


@pytest.mark.parametrize("who", PEOPLE)
def test_reading_any_route(world: World, ways: Ways, who: str) -> None:
    """For every route that can be read, the answer that its row says; in one go, since there are many."""
    wrong = []
    for own, (route, row) in itertools.product((True, False), ROUTES.items()):
        if "GET" not in row.methods or route in OBJECTLESS or not (own or row.noun in world.apart):
            continue
        found = seen(ways.client(who).get(world.path(route, row, own)), route)
        if found != verdict(row, who, own):
            wrong.append(f"{route}: {found}, not {verdict(row, who, own)}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("who", PEOPLE)
def test_writing_to_any_route(world: World, ways: Ways, who: str) -> None:
    """The same for what can be sent to; with nothing in it, so that who may come in is told what is missing."""
    wrong = []
    for own, (route, row) in itertools.product((True, False), ROUTES.items()):
        if route in OBJECTLESS or row.noun == "token" or route == "logout/" or not (own or row.noun in world.apart):
            continue
        for method in set(row.methods) - {"GET"}:
            path, client = world.path(route, row, own), ways.client(who)
            with undone():
                response = (
                    client.post(path, row.form)
                    if row.form
                    else client.generic(method, path, content_type="application/json")
                )
            found, wanted = seen(response, route), verdict(row, who, own)
            # One may look, and only the administrator write, at the same address.
            if route in WRITTEN_BY_ADMINISTRATORS and who != "nobody":
                wanted = "in" if who == "administrator" else "denied"
            if route in WRITTEN_BY_OWNERS:
                wanted = verdict(replace(row, needs="owner"), who, own)
            names_none = any(name in route for name in ("grant_pk", "token_pk", "handle")) or row.noun == "grant"
            if names_none and wanted == "in":
                wanted = "unknown"
            if found != wanted:
                wrong.append(f"{method} {route}: {found} ({response.status_code}), not {wanted}")
    assert not wrong, "\n".join(wrong)


OWN = ("api/v1/me/tokens", "api/v1/me/tokens/<int:pk>", "api/v1/me/sessions", "api/v1/me/sessions/<str:handle>")
"""How somebody comes in: nothing of it is for a limited token."""
SCREEN, HOPS = "api/v1/domains/<int:pk>/screen.png", "api/v1/domains/<int:pk>/console"
"""To see a guest's screen is a verb, and so is a console; so to watch recordings, of which nobody knows without."""


def test_a_token_that_only_reads_at_any_route(world: World, ways: Ways) -> None:
    """An administrator's: it reads all there is, nothing of what is administrators' alone, and changes nothing."""
    caller, wrong = Caller(world.cast.administrator, kinds=[]), []
    # From now on for a minute, its last use is not written anew.
    assert caller.get("/me").status_code == 200
    before = everything()
    for route, row in ROUTES.items():
        if not route.startswith("api/v1/") or route in OBJECTLESS or route == "api/v1/docs":
            continue
        for method in row.methods:
            path = world.path(route, row, own=True).removeprefix("/api/v1")
            found = seen(caller.call(method, path, None if method == "GET" else {}), route)
            may_read = method == "GET" and row.needs != ADMINISTRATOR and route not in (*OWN, SCREEN, HOPS)
            # Of several things each has an answer of its own.
            wanted = "in" if may_read or row == ROUTES["api/v1/domains/bulk"] else "denied"
            if row.needs == TO_WATCH:
                wanted = "unknown"
            if found != wanted:
                wrong.append(f"{method} {route}: {found}, not {wanted}")
    assert not wrong, "\n".join(wrong)
    assert everything() == before


def everything() -> str:
    """All that the database holds but for sign-ins, how often somebody guessed, and the audit log."""
    kept = [getattr(models, name) for name in models.__all__ if hasattr(getattr(models, name), "_meta")]
    told = (LoginSession, Guesses, models.AuditLine, models.AuditHead)
    kept = [model for model in kept if not issubclass(model, told) and not model._meta.abstract]
    rows = [row for model in kept for row in model._default_manager.order_by("pk")]
    fields = [json.loads(serializers.serialize("json", [row]))[0] for row in rows]
    for row in fields:
        row["fields"].pop("last_login", None)
    return json.dumps(fields, sort_keys=True)


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_looking_changes_nothing(world: World, ways: Ways, method: str) -> None:
    client = ways.client("administrator")
    before = everything()
    for route, row in ROUTES.items():
        seen(client.generic(method, world.path(route, row, own=True)), route)
    assert everything() == before


def test_a_route_answers_to_its_methods_alone(world: World, ways: Ways) -> None:
    client = ways.client("administrator")
    before = everything()
    wrong = []
    for route, row in ROUTES.items():
        for method in set(METHODS) - set(row.methods) - set(row.lenient) - {"HEAD", "OPTIONS"}:
            path = world.path(route, row, own=True)
            status = client.generic(method, path, content_type="application/json").status_code
            if status != 405 and not (status == 404 and route in ("api/v1/", "api/v1/<path:rest>")):
                wrong.append(f"{method} {route}: {status}")
    assert not wrong, "\n".join(wrong)
    assert everything() == before


def test_nothing_is_changed_without_the_csrf_token(world: World) -> None:
    """Another site's page can make a signed-in browser send a form, a text or JSON; it cannot know the token."""
    client = Client(enforce_csrf_checks=True, raise_request_exception=False)
    client.force_login(world.cast.administrator)
    client.cookies[settings.CSRF_COOKIE_NAME] = "c" * 32
    before = everything()
    wrong = []
    ways_in = (
        ("application/x-www-form-urlencoded", ""),
        ("text/plain", ""),
        ("application/json", ""),
        ("application/json", "d" * 32),
    )
    for route, row in ROUTES.items():
        for method, (kind, token) in itertools.product(set(row.methods) - {"GET"}, ways_in):
            headers = {"X-CSRFToken": token} if token else {}
            path = world.path(route, row, own=True)
            status = client.generic(method, path, "{}", content_type=kind, headers=headers).status_code
            if status != 403:
                wrong.append(f"{method} {route} ({kind}): {status}")
    assert not wrong, "\n".join(wrong)
    assert everything() == before


# --- the queue

TASKS = {"webvirt.run_operation": ("pk",)}
"""Every task that workers take, and what a message can say to it: which operation, and no more."""


def test_every_task_is_listed_and_takes_a_number_alone() -> None:
    ours = {name: task for name, task in app.tasks.items() if not name.startswith("celery.")}
    assert {name: tuple(inspect.signature(task.run).parameters) for name, task in ours.items()} == TASKS


@pytest.mark.parametrize("noun", NOUNS)
def test_the_worker_looks_at_rights_again(cast: Cast, noun: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever writes to the queue and to the table of operations, or asked under rights that are gone, gets no further
    than by the doors."""
    begun: list[int] = []
    wrong = []
    monkeypatch.setattr(runners, "carry_out", lambda operation, to: begun.append(operation.pk))
    monkeypatch.setattr(runners, "heartbeat", lambda operation: nullcontext())
    for verb in on_noun(noun):
        with undone():
            ready_for(verb)
            for who, own in itertools.product(PEOPLE[1:], (True, False) if noun == "domain" else (True,)):
                target = target_of(cast, noun, own)
                operation = forged(verb, target, cast.who(who))
                begun.clear()
                run_operation(operation.pk)
                # Who may do it, but not with a project of others, is told so at the door as of a wrong parameter.
                strange = verb.kind.endswith(".set_project") and who != "administrator"
                may = expected(who, verb, own, 202) == 202 and not strange
                state = Operation.objects.get(pk=operation.pk).state
                if state != ("running" if may else "denied") or begun != [operation.pk] * may:
                    wrong.append(f"{verb.kind} by {who}, {'own' if own else 'foreign'}: {state}")
    assert not wrong, "\n".join(wrong)


def forged(verb: Verb, target: Any, user: User) -> Operation:
    """The row of an operation that no door has looked at; it holds no lock."""
    return Operation.objects.create(
        kind=verb.kind,
        exclusive=False,
        user=user,
        actor=user.get_username(),
        origin=Origin.PAGE,
        subject=name_of(target),
        host=host_of(target),
        domain=target if isinstance(target, Domain) else None,
        target=target.name,
        parameters=PARAMETERS.get(verb.kind, ({}, {}))[0],
    )


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


@pytest.mark.parametrize("verb", consoles.VERBS.values(), ids=lambda verb: verb.kind)
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

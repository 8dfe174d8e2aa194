"""Whatever is typed for a new machine: nothing of it becomes a path, XML, or a word of its own in a command."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from lxml import etree

from tests.people import make_network, make_pool, make_volume
from tests.services.conftest import GIB, IMAGE, FakeHost
from tests.services.test_creation import ISO, KEY, host, wish
from webvirt.hypervisor.xml.domains import build_domain
from webvirt.models import Domain, Grant, Host, Operation, OperationState, Role, Volume
from webvirt.services import belongings, inventory, operations
from webvirt.services.access import access_of
from webvirt.services.catalogue import BY_KIND
from webvirt.services.catalogue.building import commands_of, plan_of
from webvirt.services.catalogue.creation import NOBODY
from webvirt.services.catalogue.wishes import CreateDomainSpec
from webvirt.services.operations import Denied, Invalid

__all__ = ["host"]

KIND = "domain.create"
NASTY = (
    "/etc/shadow",
    "../../etc/shadow",
    "new-1/../../x",
    "nbd://192.0.2.1:10809/disk",
    "nbd:unix:/run/x",
    'json:{"driver":"nbd"}',
    "fat:rw:/etc",
    "x</name><devices><disk/></devices>",
    "x'/><source file='/etc/shadow'/><x y='",
    "&lt;disk/&gt; &shadow;",
    "]]><!-- -->",
    "x; reboot #",
    "$(reboot)",
    "`reboot`",
    "a' b \" c",
    "--config",
    "-x",
    "x\nreboot",
    "x\0y",
    "a,b=c",
    "{1..9}",
    "%(name)s {name}",
    "~root",
    "*",
)
HARMLESS = {
    "os": "debian12",
    "title": "A machine",
    "arguments": "",
    "begins": "disc",
    "autostart": True,
    "start": True,
    "firmware": "auto",
    "machine": "auto",
    "type": "auto",
    "cpu": "auto",
    "bus": "auto",
}
COMMANDS = (
    """set -f; stat() { printf 1; }; told() { printf '%s\\0' "$@"; printf '\\n\\0'; }; virsh() { told virsh "$@"; }\n"""
    """cloud-localds() { told cloud-localds "$@"; }\n"""
)
"""A shell in which the commands say what they were told, and a line end."""


def texts(
    node: dict[str, Any], schema: dict[str, Any], at: tuple[str | int, ...] = ()
) -> Iterator[tuple[str | int, ...]]:
    """Where in a wish there is room for text, by the schema of its parameters."""
    if "$ref" in node:
        node = schema["$defs"][node["$ref"].rpartition("/")[2]]
    for choice in node.get("anyOf", ()):
        yield from texts(choice, schema, at)
    if node.get("type") == "string" or "enum" in node:
        yield at
    if node.get("type") == "array":
        yield from texts(node["items"], schema, (*at, 0))
    for name, field in node.get("properties", {}).items():
        yield from texts(field, schema, (*at, name))


SCHEMA = CreateDomainSpec.model_json_schema()
TEXTS = sorted(set(texts(SCHEMA, SCHEMA)), key=str)
LINES = st.one_of(st.sampled_from(NASTY), st.text(max_size=30))


def whole(alpha: FakeHost) -> dict[str, Any]:
    """A wish with something in every place."""
    setup = {"user": "ann", "ssh_keys": [KEY], "dns": ["192.0.2.1"], "packages": ["htop"], "address": "192.0.2.10/24"}
    card = wish(alpha)["cards"][0] | {"bridge": "", "filter": ""}
    plain = wish(alpha, volume=alpha.volume(ISO.name).pk, setup=setup, cards=[card], password="Correct-Horse-7")
    plain["disks"][0]["format"] = "qcow2"
    return plain | HARMLESS


def with_text(plain: dict[str, Any], at: tuple[str | int, ...], text: str) -> dict[str, Any]:
    """A wish with this text at this place; where that is of a bridge, the card is on it."""
    found: Any = deepcopy(plain)
    inner = found
    for part in at[:-1]:
        inner = inner[part]
    inner[at[-1]] = text
    if at[-1] == "bridge":
        del inner["network"]
    return dict(found)


def test_every_text_of_a_wish_is_tried() -> None:
    assert {("name",), ("arguments",), ("cards", 0, "filter"), ("setup", "packages", 0), ("setup", "user_data")} <= set(
        TEXTS
    )
    assert len(TEXTS) > 20


@pytest.mark.parametrize("at", TEXTS, ids=lambda at: ".".join(map(str, at)))
def test_no_text_becomes_a_path_or_breaks_out(alpha: FakeHost, host: Host, at: tuple[str | int, ...]) -> None:
    plain = whole(alpha)
    tags = tags_of(build_domain(plan_of(host, CreateDomainSpec.model_validate(plain), NOBODY).domain))
    verb, access = BY_KIND[KIND], access_of(alpha.cast.administrator)

    @settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(text=LINES)
    def tried(text: str) -> None:
        try:
            spec = operations.parsed(CreateDomainSpec, with_text(plain, at, text))
        except Invalid:
            return
        if operations.misfits(access, verb, host, spec):
            return
        accepted(host, spec, tags)

    for text in NASTY:
        tried = example(text=text)(tried)
    tried()


def accepted(host: Host, spec: CreateDomainSpec, tags: set[str]) -> None:
    """What must hold of a wish that nobody refuses."""
    plan = plan_of(host, spec, NOBODY)
    xml = build_domain(plan.domain)
    assert tags_of(xml) <= tags | {"bridge"}, xml
    name = spec.name
    disks = [f"/srv/images/{name}.qcow2", f"/srv/images/{name}-setup.iso"]
    files = {element.get("file") for element in etree.fromstring(xml).iter() if element.get("file") is not None}
    assert files <= {*disks, f"/srv/images/{name}.raw", ISO.path}
    assert "/" not in name
    assert not name.startswith((".", "-"))
    commands = told(commands_of(host, spec, plan))
    words = [words for words in commands if words[0] == "virsh"]
    assert [
        (one[3], name in [word.removesuffix(".xml") for word in one]) for one in words if one[3] != "vol-upload"
    ] == [
        ("vol-create-as", False),
        ("vol-create-as", False),
        ("define", True),
        *([("autostart", True)] if spec.autostart else []),
        *([("start", True)] if spec.start else []),
    ]
    assert len(commands) == len(words) + 1


def tags_of(xml: str) -> set[str]:
    return {str(element.tag) for element in etree.fromstring(xml).iter()}


def told(commands: str) -> list[list[str]]:
    """The words of each command, as a shell understands them."""
    done = subprocess.run(["bash", "-c", COMMANDS + commands], capture_output=True, timeout=20, check=True)
    assert not done.stderr, done.stderr
    return [[word.decode() for word in line.split(b"\0")[:-1]] for line in done.stdout.split(b"\n\0")[:-1]]


NUMBERS = (("volume",), ("drivers",), ("kernel",), ("disks", 0, "pool"), ("cards", 0, "network"))


@pytest.mark.parametrize("at", NUMBERS, ids=lambda at: ".".join(map(str, at)))
@pytest.mark.parametrize("text", ["/etc/shadow", "../x", "nbd://192.0.2.1/x", "1 OR 1=1", ""])
def test_what_is_named_is_named_by_its_number(
    alpha: FakeHost, host: Host, at: tuple[str | int, ...], text: str
) -> None:
    with pytest.raises(Invalid) as refused:
        alpha.ask(KIND, host, **with_text(whole(alpha), at, text))
    assert list(refused.value.fields) == [".".join(map(str, at))]


PLACES: tuple[tuple[str | int, ...], ...] = ((), ("disks", 0), ("cards", 0), ("setup",))


@pytest.mark.parametrize("at", PLACES, ids=lambda at: ".".join(map(str, at)) or "top")
@pytest.mark.parametrize("name", ["path", "source", "backing_path", "emulator", "xml", "uuid"])
def test_nobody_slips_in_what_the_verb_does_not_take(
    alpha: FakeHost, host: Host, at: tuple[str | int, ...], name: str
) -> None:
    before = (Operation.objects.count(), set(alpha.names()))
    with pytest.raises(Invalid) as refused:
        alpha.ask(KIND, host, **with_text(whole(alpha), (*at, name), "/etc/shadow"))
    assert list(refused.value.fields) == [".".join(map(str, (*at, name)))]
    assert (Operation.objects.count(), set(alpha.names())) == before


def test_a_volume_that_names_a_file_of_the_host_becomes_nobodys_disk(alpha: FakeHost, host: Host) -> None:
    """As a guest can make it that writes the beginning of a qcow2 on its raw disk."""
    evil = replace(
        IMAGE, name="evil.img", path="/srv/images/evil.img", backing_path="/etc/shadow", backing_format="raw"
    )
    storage = alpha.connection.storage.known[alpha.uuid]
    storage.volumes["evil.img"] = replace(storage.volumes[IMAGE.name], info=evil)
    alpha.stock.pools()
    row = alpha.volume("evil.img")
    done = alpha.do(KIND, host, **wish(alpha, begins="volume", volume=row.pk, disks=[]))
    assert (done.state, "/etc/shadow" in done.error) == (OperationState.FAILED, True)
    for linked in (False, True):
        more = {"begins": "image", "volume": row.pk, "linked": linked, "disks": [{"pool": alpha.pool.pk}]}
        done = alpha.do(KIND, host, **wish(alpha, name=f"linked-{linked}", **more))
        assert (done.state, "/etc/shadow" in done.error) == (OperationState.FAILED, True), done.error
    assert alpha.connection.domains.known == {}


# --- who may name what


@pytest.fixture
def beta(db: None) -> Host:
    """A host on which the owner of alpha has no role, with a volume and a network of its own."""
    return Host.objects.create(name="beta", transport="test", hostname="b", state="up")


def test_what_is_on_hosts_of_others_is_as_if_it_were_not_there(alpha: FakeHost, host: Host, beta: Host) -> None:
    Grant.objects.create(user=alpha.cast.owner, role=Role.OWNER, host=host)
    alpha.actor = replace(alpha.actor, user=alpha.cast.owner)
    pool = make_pool(beta, "far", 9)
    volume, network = make_volume(pool, "far.iso"), make_network(beta, "far", 9)

    def said_of(**more: Any) -> dict[str, str]:
        with pytest.raises(Invalid) as refused:
            alpha.ask(KIND, host, **wish(alpha, **more))
        return refused.value.fields

    for theirs, nobodys in ((volume.pk, 4711), (alpha.volume(ISO.name).pk + 4711, 4712)):
        assert said_of(begins="disc", volume=theirs) == said_of(begins="disc", volume=nobodys)
        assert said_of(drivers=theirs) == said_of(drivers=nobodys)
        assert said_of(begins="kernel", kernel=theirs) == said_of(begins="kernel", kernel=nobodys)
    assert said_of(disks=[{"pool": pool.pk, "size": GIB}]) == said_of(disks=[{"pool": 4711, "size": GIB}])
    assert said_of(cards=[{"network": network.pk}]) == said_of(cards=[{"network": 4711}])


@pytest.fixture
def machine(alpha: FakeHost, host: Host) -> Domain:
    """A machine with a disk and a disc, of which the cast have their roles."""
    iso = alpha.volume(ISO.name)
    done = alpha.do(KIND, host, **wish(alpha, begins="disc", volume=iso.pk, start=False))
    assert done.state == OperationState.SUCCEEDED, done.error
    domain = Domain.objects.select_related("host").get(name="new-1")
    for name in ("owner", "operator", "viewer"):
        Grant.objects.create(user=alpha.cast.who(name), role=name, domain=domain)
    return domain


MAY = {
    "domain.insert": "owner",
    "domain.eject": "operator",
    "domain.delete": "owner",
    "domain.undelete": "owner",
    "domain.purge": "owner",
}
RANKS = ("stranger", "viewer", "operator", "owner")


@pytest.mark.parametrize("who", RANKS)
@pytest.mark.parametrize("kind", MAY)
def test_of_a_machine_everybody_may_what_their_role_allows(
    alpha: FakeHost, machine: Domain, kind: str, who: str
) -> None:
    (drive,) = belongings.drives_of(machine)
    iso = alpha.volume(ISO.name)
    discs = {"drive": drive, "volume": iso.pk}
    given_to: dict[str, dict[str, Any]] = {"domain.insert": discs, "domain.eject": {"drive": drive}}
    if kind == "domain.undelete":
        assert alpha.do("domain.delete", machine).state == OperationState.SUCCEEDED
    before = dict(alpha.connection.domains.known)
    alpha.actor = replace(alpha.actor, user=alpha.cast.who(who))
    if RANKS.index(who) < RANKS.index(MAY[kind]):
        with pytest.raises(Denied):
            alpha.ask(kind, machine, **given_to.get(kind, {}))
        assert alpha.connection.domains.known == before
    elif kind == "domain.insert":
        # The library is the host's: to whoever owns one machine alone none of it is there.
        with pytest.raises(Invalid) as refused:
            alpha.ask(kind, machine, **given_to[kind])
        assert list(refused.value.fields) == ["volume"]
        with pytest.raises(Invalid) as of_nobody:
            alpha.ask(kind, machine, drive=drive, volume=4711)
        assert of_nobody.value.fields == refused.value.fields
    else:
        done = alpha.do(kind, machine, **given_to.get(kind, {}))
        assert done.state == OperationState.SUCCEEDED, done.error
    assert ISO.name in alpha.names()


@pytest.mark.parametrize("kind", ["domain.delete", "domain.purge"])
def test_the_librarys_disc_does_not_go_with_a_machine(alpha: FakeHost, machine: Domain, kind: str) -> None:
    """Not even where its own page would let one delete it: there is one way to do that."""
    iso = alpha.volume(ISO.name)
    for user in (alpha.cast.owner, alpha.cast.administrator):
        alpha.actor = replace(alpha.actor, user=user)
        with pytest.raises(Invalid, match="none of its disks"):
            alpha.ask(kind, machine, volumes=[iso.pk])


def test_whoever_owns_one_machine_learns_no_name_of_others(alpha: FakeHost, machine: Domain) -> None:
    disk = alpha.volume("new-1.qcow2")
    Volume.objects.create(pool=disk.pool, name="secret-project.qcow2", path="/x", backing_path=disk.path)
    texts = {}
    for who in ("owner", "administrator"):
        alpha.actor = replace(alpha.actor, user=alpha.cast.who(who))
        with pytest.raises(Invalid) as refused:
            alpha.ask("domain.purge", machine, volumes=[disk.pk])
        texts[who] = str(refused.value)
    assert "secret-project" not in texts["owner"]
    assert "secret-project" in texts["administrator"]
    Volume.objects.filter(name="secret-project.qcow2").delete()
    other = alpha.connection.define("secret-machine", files=(disk.path,))
    alpha.actor = replace(alpha.actor, user=alpha.cast.owner)
    done = alpha.do("domain.purge", machine)
    assert (done.state, "new-1.qcow2 is a disk of" in done.error) == (OperationState.FAILED, True)
    inventory.reconcile(alpha.cast.host, alpha.connection.domains.list())
    again = alpha.do("domain.purge", machine)
    assert "secret-machine" not in f"{done.error} {again.error}"
    assert other.uuid not in f"{done.error} {again.error}"

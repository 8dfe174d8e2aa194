"""Secrets: their XML holds no value, and a real libvirt gives none back."""

from __future__ import annotations

import queue
import subprocess
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import libvirt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from tests.fakes import FakeConnection
from tests.guests import LOCAL, virsh
from tests.hypervisor.subjects import PREFIX, SUBJECTS, TEST_HOST, Subject
from webvirt.hypervisor.connection import Connection, connect
from webvirt.hypervisor.errors import HypervisorError, InvalidSpec, NotFound, Unsupported
from webvirt.hypervisor.events import HostEvent
from webvirt.hypervisor.secrets import SecretCalls
from webvirt.hypervisor.types import ObjectEvent, SecretInfo, SecretSpec, SecretUsage
from webvirt.hypervisor.xml.secrets import build_secret, parse_secret

KEEPERS = [subject for subject in SUBJECTS if subject.name in ("fake", "qemu")]
STRANGER = str(uuid.uuid4())
VALUE = b"wvh-Sesame\x00\xff"
CEPH = SecretSpec(SecretUsage.CEPH, f"{PREFIX}client.libvirt", f"{PREFIX}of the office & <all>")
SPECS = (
    CEPH,
    SecretSpec(SecretUsage.ISCSI, f"{PREFIX}target"),
    SecretSpec(SecretUsage.VOLUME, f"/var/lib/{PREFIX}disk.qcow2"),
    SecretSpec(SecretUsage.TLS, f"{PREFIX}tls"),
    SecretSpec(SecretUsage.VTPM, f"{PREFIX}tpm"),
    SecretSpec(SecretUsage.NONE, "", f"{PREFIX}for nothing", ephemeral=True),
)

# --- XML


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.usage)
def test_what_is_made_reads_as_it_was_meant(spec: SecretSpec) -> None:
    read = parse_secret(build_secret(spec, STRANGER))
    assert read == SecretInfo(STRANGER, spec.usage, spec.usage_id, spec.description, spec.ephemeral, private=True)


def test_a_newer_usage_is_told_in_libvirts_word() -> None:
    read = parse_secret("<secret><uuid>u</uuid><usage type='quantum'><cat>alive</cat></usage></secret>")
    assert (read.usage, read.usage_id, read.private) == ("quantum", "alive", False)
    assert parse_secret("<secret/>").usage == SecretUsage.NONE


@pytest.mark.parametrize("text", ["", "<domain/>", '<!DOCTYPE s [<!ENTITY e "x">]><secret><uuid>&e;</uuid></secret>'])
def test_what_is_no_secret_is_refused(text: str) -> None:
    with pytest.raises(InvalidSpec):
        parse_secret(text)


WRONG = [
    (replace(CEPH, usage_id=""), "belongs to"),
    (replace(CEPH, usage=SecretUsage.NONE), "belongs to"),
    (replace(CEPH, usage=SecretUsage.VOLUME), "volume's path"),
    (replace(CEPH, description="two\nlines"), "one line"),
    (replace(CEPH, usage_id=" x"), "one line"),
    (replace(CEPH, usage_id="a\0b"), "U\\+0000"),
]


@pytest.mark.parametrize(("spec", "sentence"), WRONG, ids=lambda part: part if isinstance(part, str) else "")
def test_what_is_wrong_is_refused_with_what_to_do(spec: SecretSpec, sentence: str) -> None:
    with pytest.raises(InvalidSpec, match=sentence):
        build_secret(spec, STRANGER)


HOSTILE = st.one_of(st.text(), st.sampled_from(["</usage>", "&amp;", "]]>", '"', "\ud800", "\u202e", "x" * 300]))


@given(HOSTILE, HOSTILE)
def test_hostile_text_is_refused_or_stays_text(usage_id: str, description: str) -> None:
    spec = SecretSpec(SecretUsage.CEPH, usage_id, description)
    try:
        xml = build_secret(spec, STRANGER)
    except InvalidSpec:
        return
    read = parse_secret(xml)
    assert (read.usage_id, read.description) == (usage_id, description)
    tags = [each.tag for each in etree.fromstring(xml).iter()]
    assert tags == [
        tag for tag in ("secret", "uuid", "description", "usage", "name") if tag != "description" or description
    ]


# --- on hosts


@dataclass
class Keeper:
    subject: Subject
    connection: Connection | FakeConnection

    @property
    def secrets(self) -> SecretCalls:
        # The fake has the same methods without being one.
        return self.connection.secrets  # type: ignore[return-value]

    @property
    def ours(self) -> list[SecretInfo]:
        return [info for info in self.secrets.list() if PREFIX in info.usage_id + info.description]


@pytest.fixture(params=KEEPERS, ids=str)
def keeper(request: pytest.FixtureRequest) -> Iterator[Keeper]:
    with request.param.open() as connection:
        keeper = Keeper(request.param, connection)
        yield keeper
        for info in keeper.ours:
            keeper.secrets.undefine(info.uuid)


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.usage)
def test_a_secret_of_every_usage_is_kept_and_its_value_stays(keeper: Keeper, spec: SecretSpec) -> None:
    made = keeper.secrets.create(spec, VALUE)
    assert keeper.ours == [SecretInfo(made, spec.usage, spec.usage_id, spec.description, spec.ephemeral, True)]
    keeper.secrets.set_value(made, b"another")
    assert keeper.ours[0].uuid == made
    keeper.secrets.undefine(made)
    assert keeper.ours == []


def test_a_stranger_is_not_found(keeper: Keeper) -> None:
    calls: list[Callable[[], object]] = [
        lambda: keeper.secrets.set_value(STRANGER, VALUE),
        lambda: keeper.secrets.undefine(STRANGER),
    ]
    for call in calls:
        with pytest.raises(NotFound):
            call()


def test_what_is_wrong_leaves_nothing_behind(keeper: Keeper) -> None:
    with pytest.raises(InvalidSpec, match="needs a value"):
        keeper.secrets.create(CEPH, b"")
    with pytest.raises(InvalidSpec):
        keeper.secrets.create(replace(CEPH, usage_id="a\0b"), VALUE)
    assert keeper.ours == []


def test_a_second_secret_for_the_same_thing_is_refused_and_the_first_one_stays(keeper: Keeper) -> None:
    made = keeper.secrets.create(CEPH, VALUE)
    with pytest.raises(HypervisorError) as refused:
        keeper.secrets.create(replace(CEPH, description=f"{PREFIX}second"), b"wvh-Simsala")
    assert "Simsala" not in repr(refused.value)
    assert [info.uuid for info in keeper.ours] == [made]
    with pytest.raises(InvalidSpec):
        keeper.secrets.set_value(made, b"")


def test_nothing_of_ours_tells_a_value(keeper: Keeper) -> None:
    keeper.secrets.create(CEPH, VALUE)
    assert b"Sesame" not in repr(keeper.secrets.list()).encode()
    assert [name for name in dir(SecretCalls) if name[0] != "_"] == ["create", "list", "set_value", "undefine"]


def test_what_happens_is_heard(keeper: Keeper) -> None:
    heard: queue.SimpleQueue[HostEvent] = queue.SimpleQueue()
    keeper.connection.listen(heard.put, lambda _why: None)

    def hears(key: str, *words: str) -> None:
        for word in words:
            # Others have secrets as well.
            while (event := heard.get(timeout=5)) != ObjectEvent("secret", key, word):
                assert not isinstance(event, ObjectEvent) or event.key != key, event

    made = keeper.secrets.create(CEPH, VALUE)
    hears(made, "defined", "value changed")
    keeper.secrets.set_value(made, b"another")
    hears(made, "value changed")
    keeper.secrets.undefine(made)
    hears(made, "undefined")


# --- the real thing


@pytest.fixture
def secrets() -> Iterator[SecretCalls]:
    keeper = next(subject for subject in KEEPERS if subject.name == "qemu")
    with keeper.open() as connection:
        assert isinstance(connection, Connection)
        yield connection.secrets
        for info in connection.secrets.list():
            if PREFIX in info.usage_id:
                connection.secrets.undefine(info.uuid)


def test_a_real_libvirt_keeps_the_value_and_gives_it_to_nobody(secrets: SecretCalls) -> None:
    made = secrets.create(CEPH, VALUE)
    assert "Sesame" not in virsh("secret-dumpxml", made)
    asked = subprocess.run(
        ["virsh", "-c", LOCAL, "secret-get-value", made], capture_output=True, text=True, check=False
    )
    assert asked.returncode != 0
    assert "private" in asked.stderr
    raw = libvirt.open(LOCAL)
    with pytest.raises(libvirt.libvirtError, match="private"):
        raw.secretLookupByUUIDString(made).value(0)
    raw.close()


def test_a_definition_without_its_value_is_not_left_behind(
    secrets: SecretCalls, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(secret: libvirt.virSecret, value: bytes, flags: int) -> None:
        raise libvirt.libvirtError("no room")

    monkeypatch.setattr(libvirt.virSecret, "setValue", refuse)
    with pytest.raises(HypervisorError) as failed:
        secrets.create(CEPH, VALUE)
    assert "Sesame" not in repr(failed.value)
    assert not any(info.usage_id == CEPH.usage_id for info in secrets.list())


def test_the_test_driver_keeps_no_secrets() -> None:
    with connect(TEST_HOST) as connection, pytest.raises(Unsupported):
        connection.secrets.list()

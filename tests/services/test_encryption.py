"""Encrypted volumes: with whose secrets, what is refused before it is begun, and which secret may not be deleted."""

from __future__ import annotations

import pytest

from tests.people import make_host, make_secret, make_volume
from tests.services.conftest import GIB, FakeHost
from webvirt.hypervisor.types import SecretInfo, SecretUsage
from webvirt.models import Grant, Operation, OperationState, Origin, Role, Secret
from webvirt.services import operations, uses
from webvirt.services.catalogue import BY_KIND

S = OperationState
CREATE = BY_KIND["volume.create"]


def known_secret(alpha: FakeHost, number: int = 5, usage: SecretUsage = SecretUsage.NONE, usage_id: str = "") -> Secret:
    """A secret that the host and its row have alike."""
    row = make_secret(alpha.cast.host, usage_id or f"of-{number}", number, usage=usage.value, usage_id=usage_id)
    alpha.connection.secrets.known[row.uuid] = SecretInfo(row.uuid, usage, usage_id, private=True)
    alpha.connection.secrets.values[row.uuid] = b"a passphrase"
    return row


def encrypted(alpha: FakeHost, secret: Secret, name: str = "e.qcow2") -> None:
    operation = alpha.do("volume.create", alpha.pool, name=name, capacity=GIB, secret=secret.pk)
    assert operation.state == S.SUCCEEDED, operation.error


def test_one_is_made_and_keeps_the_secret_that_libvirt_forgets(alpha: FakeHost) -> None:
    secret = known_secret(alpha)
    encrypted(alpha, secret)
    volume = alpha.volume("e.qcow2")
    assert (volume.encrypted, volume.secret) == (True, secret.uuid)
    alpha.connection.storage.refresh(alpha.uuid)
    assert alpha.connection.storage.volume(alpha.uuid, "e.qcow2").secret == ""
    alpha.stock.pools()
    volume = alpha.volume("e.qcow2")
    assert (volume.encrypted, volume.secret) == (True, secret.uuid)
    assert uses.secret_of(volume) == secret
    assert uses.volumes_with(secret) == [volume]


def test_its_secret_is_not_deleted(alpha: FakeHost) -> None:
    secret = known_secret(alpha)
    operation = alpha.ask("secret.undefine", secret)
    encrypted(alpha, secret)
    done = alpha.carry_out(operation)
    assert (done.state, done.error) == (S.FAILED, "It cannot be done any more: e.qcow2 is encrypted with it.")
    with pytest.raises(operations.NotNow, match=r"e\.qcow2 is encrypted with it"):
        alpha.ask("secret.undefine", secret)
    assert alpha.do("volume.delete", alpha.volume("e.qcow2")).state == S.SUCCEEDED
    assert alpha.do("secret.undefine", secret).state == S.SUCCEEDED


def test_a_secret_by_its_path_belongs_to_its_volume_though_nobody_told(alpha: FakeHost) -> None:
    secret = known_secret(alpha, usage=SecretUsage.VOLUME, usage_id="/srv/images/old.img")
    volume = make_volume(alpha.pool, "old.img", path="/srv/images/old.img", encrypted=True)
    plain = make_volume(alpha.pool, "plain.img", path="/srv/images/plain.img", encrypted=False)
    assert uses.secret_in_use(secret) == "old.img is encrypted with it"
    assert (uses.secret_of(volume), uses.secret_of(plain)) == (secret, None)


def test_what_takes_the_place_of_an_encrypted_one_has_not_its_secret(alpha: FakeHost) -> None:
    secret = known_secret(alpha)
    encrypted(alpha, secret)
    kept = alpha.connection.storage.known[alpha.uuid].volumes
    del kept["e.qcow2"]
    alpha.stock.pools()
    encrypted(alpha, known_secret(alpha, 6), "f.qcow2")
    alpha.connection.storage.refresh(alpha.uuid)
    kept["e.qcow2"] = kept.pop("f.qcow2")
    alpha.stock.pools()
    assert (alpha.volume("e.qcow2").encrypted, alpha.volume("e.qcow2").secret) == (True, "")


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"format": "raw", "preallocation": "full"}, "takes its space as it is written"),
        ({"format": "raw", "preallocation": "metadata"}, "Only qcow2 has tables"),
        ({"name": "no/name"}, "is 1 to 120 letters"),
    ],
)
def test_what_does_not_go_together_is_refused_at_the_form(
    alpha: FakeHost, parameters: dict[str, str], words: str
) -> None:
    secret = known_secret(alpha)
    with pytest.raises(operations.Invalid, match=words):
        alpha.ask("volume.create", alpha.pool, **({"name": "e", "capacity": GIB, "secret": secret.pk} | parameters))
    assert not Operation.objects.exists()


def test_only_a_secret_of_the_same_host_that_is_for_volumes_will_do(alpha: FakeHost) -> None:
    ceph = known_secret(alpha, 7, SecretUsage.CEPH, "client.x")
    gone = known_secret(alpha, 8)
    elsewhere = make_secret(make_host("omega", hostname="o"), "x", 9, usage="none")
    Secret.objects.filter(pk=gone.pk).update(missing_since="2026-01-01T00:00:00Z")
    for secret, words in ((ceph, "something else"), (gone, "not on the pool's host"), (elsewhere, "not on the pool")):
        with pytest.raises(operations.Invalid) as refused:
            alpha.ask("volume.create", alpha.pool, name="e", capacity=GIB, secret=secret.pk)
        assert words in refused.value.fields["secret"]


def test_somebody_elses_secret_cannot_be_named(alpha: FakeHost) -> None:
    """Where it is on a host that one may not know of, the answer is that of one that is not there."""
    elsewhere = make_secret(make_host("omega", hostname="o"), "x", 9, usage="none")
    owner = alpha.cast.owner
    Grant.objects.create(user=owner, host=alpha.cast.host, role=Role.OWNER)
    answers = []
    for pk in (elsewhere.pk, 999_999):
        with pytest.raises(operations.Invalid) as refused:
            operations.submit(
                operations.Actor(owner, Origin.API), CREATE, alpha.pool, {"name": "e", "capacity": GIB, "secret": pk}
            )
        answers.append(refused.value.fields)
    assert answers[0] == answers[1] != {}


def test_a_secret_that_went_while_it_waited_makes_nothing(alpha: FakeHost) -> None:
    secret = known_secret(alpha)
    operation = alpha.ask("volume.create", alpha.pool, name="e.qcow2", capacity=GIB, secret=secret.pk)
    Secret.objects.filter(pk=secret.pk).update(missing_since="2026-01-01T00:00:00Z")
    done = alpha.carry_out(operation)
    assert done.state == S.FAILED
    assert done.error.startswith("The secret that it is to be encrypted with is not on this host")
    assert alpha.names() == ["web-1.qcow2"]


def test_on_what_is_encrypted_nothing_is_based(alpha: FakeHost) -> None:
    secret = known_secret(alpha)
    encrypted(alpha, secret)
    with pytest.raises(operations.Invalid) as refused:
        alpha.ask("volume.create", alpha.pool, name="on.qcow2", backing=alpha.volume("e.qcow2").pk)
    assert refused.value.fields == {"backing": "It is encrypted, so nothing can be based on it."}
    base = alpha.volume("web-1.qcow2")
    done = alpha.do("volume.create", alpha.pool, name="on.qcow2", backing=base.pk, secret=secret.pk)
    assert done.state == S.SUCCEEDED, done.error
    assert (alpha.volume("on.qcow2").backing_path, alpha.volume("on.qcow2").secret) == (base.path, secret.uuid)


def test_a_copy_is_encrypted_too(alpha: FakeHost) -> None:
    secret = known_secret(alpha)
    encrypted(alpha, secret)
    assert alpha.do("volume.clone", alpha.volume("e.qcow2"), name="c.img", format="raw").state == S.SUCCEEDED
    copy = alpha.volume("c.img")
    assert (copy.encrypted, copy.secret, copy.format) == (True, secret.uuid, "raw")


@pytest.mark.parametrize(
    ("kind", "parameters"), [("volume.clone", {"name": "c.qcow2"}), ("volume.resize", {"capacity": 2 * GIB})]
)
def test_what_has_to_open_it_is_refused_where_the_secret_is_forgotten(
    alpha: FakeHost, kind: str, parameters: dict[str, object]
) -> None:
    encrypted(alpha, known_secret(alpha))
    alpha.connection.storage.refresh(alpha.uuid)
    done = alpha.do(kind, alpha.volume("e.qcow2"), **parameters)
    assert (done.state, done.error) == (
        S.FAILED,
        "The host does not know any more with which secret this volume is encrypted.",
    )
    assert "/srv/images/e.qcow2" in done.remedy
    assert alpha.names() == ["e.qcow2", "web-1.qcow2"]
    known_secret(alpha, 6, SecretUsage.VOLUME, "/srv/images/e.qcow2")
    alpha.connection.storage.refresh(alpha.uuid)
    assert alpha.do(kind, alpha.volume("e.qcow2"), **parameters).state == S.SUCCEEDED


def test_the_command_is_one_that_would_do_it(alpha: FakeHost) -> None:
    secret = known_secret(alpha)
    made = alpha.ask("volume.create", alpha.pool, name="e.qcow2", capacity=GIB, secret=secret.pk)
    part = f"<encryption format='luks'><secret type='passphrase' uuid='{secret.uuid}'/></encryption>"
    assert made.virsh == f"# With {part} in e.qcow2.xml\nvirsh -c test:///default vol-create images e.qcow2.xml"
    volume = alpha.volume("web-1.qcow2")
    same = alpha.ask("volume.clone", volume, name="c.qcow2")
    assert same.virsh == "virsh -c test:///default vol-clone --pool images web-1.qcow2 c.qcow2"
    alpha.carry_out(same)
    other = alpha.ask("volume.clone", volume, name="c.img", format="raw")
    words = "vol-create-from images c.img.xml web-1.qcow2 --inputpool images"
    assert other.virsh == f"virsh -c test:///default {words}"


def test_what_libvirt_refuses_leaves_no_row(alpha: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    """The name was free a moment ago."""
    monkeypatch.setattr(alpha.connection.storage, "volumes", lambda uuid: [])
    done = alpha.do("volume.create", alpha.pool, name="web-1.qcow2", capacity=GIB)
    assert (done.state, "exists already" in done.error) == (S.FAILED, True)
    assert alpha.names() == []

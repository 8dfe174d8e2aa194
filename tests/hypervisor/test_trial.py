"""Trying a connection: against a real sshd, a real libvirtd, and everything that is not there."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hypervisor.subjects import THERE
from tests.lab.lab import SecondHost
from tests.lab.sshd import Sshd, running_sshd
from webvirt.hypervisor import credentials
from webvirt.hypervisor.addresses import line_for
from webvirt.hypervisor.connection import connect
from webvirt.hypervisor.errors import HostRefused, IdentityChanged, IdentityUnknown
from webvirt.hypervisor.identity import offered_keys, verify
from webvirt.hypervisor.trial import accepts_next_key, try_address
from webvirt.hypervisor.types import Check, HostAddress, Transport, Verdict


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WEBVIRT_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def sshd(tmp_path: Path) -> Iterator[Sshd]:
    with running_sshd(tmp_path / "sshd") as host:
        yield host


def steps(address: HostAddress, deadline: float = 20.0) -> dict[str, Check]:
    return {check.key: check for check in try_address(address, deadline=deadline)}


def failed(address: HostAddress, key: str) -> Check:
    """The step at which it ends, which must be this one, with what to do."""
    taken = steps(address)
    assert list(taken)[-1] == key, taken
    assert [check.verdict for check in taken.values()] == [*[Verdict.PASS] * (len(taken) - 1), Verdict.FAIL]
    assert taken[key].found
    assert taken[key].remedy
    return taken[key]


@pytest.mark.parametrize("address", [HostAddress(Transport.LOCAL), HostAddress(Transport.TEST), THERE], ids=str)
def test_a_host_that_is_well(address: HostAddress, second: SecondHost) -> None:
    taken = steps(address)
    assert {"address", "libvirt", "version", "rights", "storage"} <= set(taken)
    assert {check.verdict for check in taken.values()} <= {Verdict.PASS, Verdict.WARN}, taken


def test_wrong_parts() -> None:
    failed(HostAddress(Transport.TCP, "-oProxyCommand=id"), "address")


def test_a_name_nobody_knows() -> None:
    failed(HostAddress(Transport.TCP, "nowhere.invalid"), "name")


def test_a_port_where_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert "refused" in failed(HostAddress(Transport.TCP, "127.0.0.1", port), "port").found


def test_a_host_that_is_cut_off(second: SecondHost) -> None:
    second.cut()
    try:
        assert "no answer" in failed(THERE, "port").found
    finally:
        second.mend()


def test_a_libvirtd_that_is_frozen(second: SecondHost) -> None:
    second.freeze()
    try:
        assert steps(THERE, deadline=2)["libvirt"].verdict == Verdict.FAIL
    finally:
        second.thaw()


def test_tls_without_certificates(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = HostAddress(Transport.TLS, "127.0.0.1", server.getsockname()[1])
        check = failed(address, "tls")
    assert "clientkey.pem" in check.found
    assert str(home / "tls") in check.remedy


def test_ssh_from_a_stranger_to_a_friend(sshd: Sshd) -> None:
    """Every wall in turn, each taken by doing what the remedy says."""
    unknown = failed(sshd.address(), "identity")
    assert sshd.fingerprint in unknown.found
    with pytest.raises(IdentityUnknown):
        connect(sshd.address())
    known = sshd.address(offered_keys(sshd.address()))

    stranger = failed(known, "ssh")
    with pytest.raises(HostRefused):
        connect(known)
    sshd.type(stranger.remedy.removeprefix("There: "))

    taken = steps(known)
    assert list(taken)[:6] == ["address", "name", "port", "identity", "ssh", "libvirt"]
    assert sshd.fingerprint in taken["identity"].found
    assert {check.verdict for check in taken.values()} <= {Verdict.PASS, Verdict.WARN}, taken
    with connect(known) as connection:
        connection.host.ping()
        assert connection.host.info().hypervisor == "QEMU"


def test_a_host_whose_key_has_changed_gets_nothing(sshd: Sshd) -> None:
    known, old = sshd.befriend(), sshd.fingerprint
    verify(known)
    sshd.new_host_key()
    check = failed(known, "identity")
    assert old in check.found
    assert sshd.fingerprint in check.found
    with pytest.raises(IdentityChanged) as changed:
        verify(known)
    assert changed.value.offered == offered_keys(known)
    # ssh sees to it by itself as well, whoever did not look before.
    with pytest.raises(IdentityChanged):
        connect(known)
    assert sshd.signed_in == 0


def test_a_host_with_a_key_of_another_kind_is_somebody_else(sshd: Sshd) -> None:
    known = sshd.befriend()
    sshd.new_host_key("ecdsa")
    with pytest.raises(IdentityChanged):
        verify(known)
    with pytest.raises(IdentityChanged):
        connect(known)
    assert sshd.signed_in == 0


def test_a_host_that_is_away_is_nobody_else(sshd: Sshd) -> None:
    known = sshd.befriend()
    sshd.end()
    verify(known)


def test_our_key_is_changed_without_being_locked_out(sshd: Sshd) -> None:
    known = sshd.befriend()
    old = credentials.public_key().read_text()
    credentials.make_next_key()
    assert not accepts_next_key(known)
    connect(known).close()
    sshd.type(line_for(credentials.public_key(credentials.NEXT).read_text().strip()))
    assert accepts_next_key(known)
    credentials.take_next_key()
    assert credentials.public_key().read_text() != old
    assert not credentials.public_key(credentials.NEXT).exists()
    sshd.forget(old)
    connect(known).close()


def test_the_account_that_lets_us_in_gets_no_terminal_and_no_agent(sshd: Sshd) -> None:
    sshd.befriend()
    assert (sshd.folder / "home/.ssh/authorized_keys").read_text().startswith("restrict,port-forwarding ssh-ed25519 ")

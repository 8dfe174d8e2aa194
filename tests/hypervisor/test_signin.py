"""Signing in by certificate and password, at a real libvirtd that asks for them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.guarded import Authority, GuardedHost
from webvirt.hypervisor.connection import connect
from webvirt.hypervisor.errors import HostRefused, IdentityChanged
from webvirt.hypervisor.trial import try_address
from webvirt.hypervisor.types import Check, HostAddress, Transport, Verdict

NUMBER = 8
USER, PASSWORD = "ada", "c0rrect h0rse"
OURS = Authority("webvirt's tests")


@pytest.fixture(scope="module")
def guarded() -> Iterator[GuardedHost]:
    host = GuardedHost(NUMBER, OURS, USER, PASSWORD)
    host.up()
    yield host
    host.down()


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """With our certificate in place."""
    monkeypatch.setenv("WEBVIRT_HOME", str(tmp_path))
    OURS.write(tmp_path / "tls", "webvirt.example.org", "client")
    return tmp_path


def at(host: GuardedHost, transport: Transport, user: str = USER, password: str = PASSWORD) -> HostAddress:
    return HostAddress(transport, host.hostname, None, user, password=password)


def last(address: HostAddress) -> Check:
    return list(try_address(address))[-1]


@pytest.mark.parametrize("transport", [Transport.TLS, Transport.TCP])
def test_with_the_password_one_gets_in(guarded: GuardedHost, transport: Transport) -> None:
    with connect(at(guarded, transport)) as connection:
        assert connection.host.info().hypervisor == "QEMU"


@pytest.mark.parametrize("transport", [Transport.TLS, Transport.TCP])
@pytest.mark.parametrize("given", [("", ""), (USER, "wrong"), ("eve", PASSWORD)], ids=["none", "wrong", "another"])
def test_without_it_one_does_not(guarded: GuardedHost, transport: Transport, given: tuple[str, str]) -> None:
    address = at(guarded, transport, *given)
    with pytest.raises(HostRefused):
        connect(address)
    step = last(address)
    assert (step.key, step.verdict) == ("libvirt", Verdict.FAIL)
    assert "saslpasswd2" in step.remedy
    assert PASSWORD not in step.found + step.remedy


def test_a_host_is_known_by_the_authority_that_signed_for_its_name(guarded: GuardedHost, home: Path) -> None:
    address = at(guarded, Transport.TLS)
    steps = {check.key: check for check in try_address(address)}
    assert "SHA256:" in steps["tls"].found
    assert steps["libvirt"].verdict == Verdict.PASS
    for authority, server in (
        (OURS, "192.0.2.1"),
        (OURS, "elsewhere.example.org"),
        (Authority("eve"), guarded.hostname),
    ):
        guarded.certify(authority, server)
        with pytest.raises(IdentityChanged):
            connect(address)
        assert "certificates" in last(address).remedy
    guarded.certify(OURS, guarded.hostname)
    connect(address).close()
    # Whom we trust is a file of ours.
    Authority("eve").write(home / "tls", "webvirt.example.org", "client")
    with pytest.raises(IdentityChanged):
        connect(address)

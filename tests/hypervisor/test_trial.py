"""Trying a connection: against a real sshd, a real libvirtd, and everything that is not there."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.hypervisor.subjects import THERE
from tests.lab.lab import SecondHost
from tests.until import until
from webvirt.hypervisor import credentials
from webvirt.hypervisor.connection import connect
from webvirt.hypervisor.errors import HostRefused
from webvirt.hypervisor.trial import try_address
from webvirt.hypervisor.types import Check, HostAddress, Transport, Verdict

SSHD = """
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/authorized_keys
PidFile none
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin yes
StrictModes no
UsePAM no
"""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WEBVIRT_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@dataclass
class Sshd:
    """An sshd of our own on this machine, which leads to its libvirtd."""

    folder: Path
    port: int

    @property
    def address(self) -> HostAddress:
        return HostAddress(Transport.SSH, "127.0.0.1", self.port, "root")

    def new_host_key(self) -> None:
        for path in self.folder.glob("host_key*"):
            path.unlink()
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.folder / "host_key"], check=True)


@pytest.fixture
def sshd(tmp_path: Path) -> Iterator[Sshd]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    host = Sshd(tmp_path / "sshd", port)
    host.folder.mkdir()
    host.new_host_key()
    (host.folder / "sshd_config").write_text(SSHD.format(port=port, folder=host.folder))
    Path("/run/sshd").mkdir(exist_ok=True)
    program = shutil.which("sshd", path="/usr/sbin:/usr/bin") or "sshd"
    process = subprocess.Popen([program, "-D", "-e", "-f", host.folder / "sshd_config"], stderr=subprocess.DEVNULL)
    until(lambda: listens(port), what="sshd listens")
    yield host
    process.terminate()
    process.wait()


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


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
    unknown = failed(sshd.address, "ssh")
    assert fingerprint(sshd.folder / "host_key.pub") in unknown.found
    with pytest.raises(HostRefused):
        connect(sshd.address)
    subprocess.run(unknown.remedy.partition("then: ")[2], shell=True, check=True, capture_output=True)

    stranger = failed(sshd.address, "ssh")
    assert "ssh-copy-id" in stranger.remedy
    assert str(credentials.public_key()) in stranger.remedy
    with pytest.raises(HostRefused):
        connect(sshd.address)
    shutil.copy(credentials.public_key(), sshd.folder / "authorized_keys")

    taken = steps(sshd.address)
    assert list(taken)[:5] == ["address", "name", "port", "ssh", "libvirt"]
    assert {check.verdict for check in taken.values()} <= {Verdict.PASS, Verdict.WARN}, taken
    with connect(sshd.address) as connection:
        connection.host.ping()
        assert connection.host.info().hypervisor == "QEMU"


def test_a_host_whose_key_has_changed_gets_nothing(sshd: Sshd) -> None:
    unknown = failed(sshd.address, "ssh")
    subprocess.run(unknown.remedy.partition("then: ")[2], shell=True, check=True, capture_output=True)
    shutil.copy(credentials.public_key(), sshd.folder / "authorized_keys")
    old = fingerprint(sshd.folder / "host_key.pub")
    sshd.new_host_key()
    check = failed(sshd.address, "ssh")
    assert fingerprint(sshd.folder / "host_key.pub") in check.found
    assert old in check.found
    assert "ssh-keygen -R" in check.remedy
    with pytest.raises(HostRefused):
        connect(sshd.address)


def fingerprint(key: Path) -> str:
    return subprocess.run(["ssh-keygen", "-lf", key], capture_output=True, text=True, check=True).stdout.split()[1]

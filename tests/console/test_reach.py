"""The hops to a display: through nginx, on this machine, over SSH; and each hop's own words when it fails."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.console.proxy import PROJECT, Process, open_page, start_front
from tests.guests import LOOPBACK, SOCKET, Guest
from tests.home import HOME
from tests.people import Cast
from tests.stack import free_port, is_running
from tests.until import until
from webvirt.consoleproxy import hops
from webvirt.consoleproxy.dial import confirm, open_display
from webvirt.consoleproxy.hops import in_time, refusal_of
from webvirt.hypervisor.connection import connect
from webvirt.hypervisor.credentials import make_our_key, public_key
from webvirt.hypervisor.errors import HypervisorError
from webvirt.hypervisor.types import Display, HostAddress, Transport
from webvirt.services.consoles import Close, Refusal

HERE = HostAddress(Transport.LOCAL)


@pytest.fixture(scope="module", params=[SOCKET, LOOPBACK], ids=["socket", "port"])
def where(request: pytest.FixtureRequest) -> Iterator[Display]:
    """Where a real guest's display listens: on a unix socket, on a port of loopback."""
    guest = Guest("wvc-reach", graphics=request.param)
    try:
        guest.define()
        guest.virsh("start")
        xml = guest.virsh("dumpxml")
        path, port = re.search(r"socket='([^']+)'", xml), re.search(r"port='(\d+)' autoport", xml)
        if path:
            yield Display(guest.uuid, "vnc", socket=path[1])
        else:
            assert port
            yield Display(guest.uuid, "vnc", hostname="127.0.0.1", port=int(port[1]))
    finally:
        guest.remove()


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of the keys that the host reached by SSH lets in."""
    make_our_key()
    keys = tmp_path_factory.mktemp("keys") / "authorized"
    keys.write_text(public_key().read_text())
    return keys


@pytest.fixture(scope="module")
def sshd(keys: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostAddress]:
    """A host reached by SSH, which knows our key and is known to us."""
    folder = tmp_path_factory.mktemp("sshd")
    port = free_port()
    Path("/run/sshd").mkdir(exist_ok=True)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / "key"], check=True)
    key = " ".join((folder / "key.pub").read_text().split()[:2])
    options = {
        "HostKey": folder / "key",
        "AuthorizedKeysFile": keys,
        "PermitRootLogin": "prohibit-password",
        "StrictModes": "no",
        "UsePAM": "no",
        "PidFile": "none",
    }
    settings = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
    words = [
        "/usr/sbin/sshd",
        "-D",
        "-e",
        "-f",
        "/dev/null",
        "-p",
        str(port),
        "-o",
        "ListenAddress=127.0.0.1",
        *settings,
    ]
    process = Process(subprocess.Popen(words, stderr=(folder / "log").open("w")))
    until(lambda: socket.socket().connect_ex(("127.0.0.1", port)) == 0, what="sshd listens")
    yield HostAddress(Transport.SSH, "127.0.0.1", port, "root", (key,))
    process.stop()


def greeting(ends: list[socket.socket]) -> bytes:
    ends[0].settimeout(5)
    return ends[0].recv(12)


def refusal(address: HostAddress, display: Display) -> Refusal:
    with pytest.raises(Refusal) as refused:
        open_display(address, display)
    return refused.value


def ssh_processes(port: int | None) -> list[str]:
    """Those on the way to this port that run: their parent is this process, which does not wait for them."""
    mine = [child for task in Path("/proc/self/task").iterdir() for child in (task / "children").read_text().split()]
    return [pid for pid in mine if is_running(int(pid)) and str(port) in words_of(pid)]


def words_of(pid: str) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    except OSError:
        return []


def test_through_the_front(proxy: Process, people: Cast, blank_guest: Guest) -> None:
    port = free_port()
    front = start_front(port)
    try:
        page = open_page(people.operator, people.domain)
        client = page.connect(("127.0.0.1", port))
        assert client.handshake()[0] > 0
        client.close()
    finally:
        front.stop()
    log = (HOME / "front.log").read_text()
    assert page.visitor.ticket not in log
    assert page.visitor.session_key not in log


def test_on_this_machine(where: Display) -> None:
    assert greeting(open_display(HERE, where)) == b"RFB 003.008\n"


def test_over_ssh_and_nothing_is_left(where: Display, sshd: HostAddress) -> None:
    ends = open_display(sshd, where)
    assert greeting(ends) == b"RFB 003.008\n"
    assert ssh_processes(sshd.port)
    for end in ends:
        end.close()
    until(lambda: not ssh_processes(sshd.port), 5, what="ssh has ended")
    assert not list((HOME / "run").glob("display-*"))


def test_a_display_that_is_not_there_is_the_displays_fault(sshd: HostAddress, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        nothing = Display("", "vnc", hostname="127.0.0.1", port=taken.getsockname()[1])
        for address in (HERE, sshd):
            assert refusal(address, nothing).code == Close.DISPLAY
    assert refusal(HERE, Display("", "vnc", socket=str(tmp_path / "none"))).code == Close.DISPLAY


def test_a_host_whose_key_we_do_not_know_is_the_hosts_fault(where: Display, sshd: HostAddress) -> None:
    refused = refusal(replace(sshd, keys=()), where)
    assert refused.code == Close.SIGN_IN
    assert "verification failed" in str(refused)


@pytest.mark.parametrize("listen", ["127.0.0.1", "::1", "localhost", ""])
def test_another_hosts_loopback_is_out_of_reach_without_ssh(listen: str) -> None:
    address = HostAddress(Transport.TCP, "192.0.2.1")
    assert refusal(address, Display("", "vnc", hostname=listen, port=5900)).code == Close.OUT_OF_REACH
    assert refusal(address, Display("", "vnc", socket="/x")).code == Close.OUT_OF_REACH


def test_a_host_that_does_not_know_us_is_another_fault_than_one_that_is_away(where: Display, sshd: HostAddress) -> None:
    assert refusal(replace(sshd, user="nobody"), where).code == Close.SIGN_IN
    away = refusal(replace(sshd, port=free_port()), where)
    assert away.code == Close.HOST
    assert "Connection refused" in str(away)


def test_a_host_that_lets_us_in_and_forwards_nothing_is_told_so(where: Display, sshd: HostAddress, keys: Path) -> None:
    known = keys.read_text()
    keys.write_text(f"restrict {known}")
    try:
        refused = refusal(sshd, where)
    finally:
        keys.write_text(known)
    assert refused.code == Close.FORWARDING
    assert ("is there" if where.socket else "administratively prohibited") in str(refused)


def test_a_display_that_takes_the_connection_and_says_nothing_is_named(
    sshd: HostAddress, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hops, "GREETING_SECONDS", 1.5)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        display = Display("", "vnc", hostname="127.0.0.1", port=mute.getsockname()[1])
        for address in (HERE, sshd, HostAddress(Transport.TCP, "127.0.0.1")):
            display = replace(display, hostname="0.0.0.0" if address.transport == Transport.TCP else "127.0.0.1")
            assert refusal(address, display).code == Close.SILENT


def test_a_guest_that_hangs_is_not_taken_for_its_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hops, "ANSWER_SECONDS", 2)
    guest = Guest("wvdoc-hangs")
    try:
        guest.define().virsh("start")
        os.kill(guest.pid, signal.SIGSTOP)
        with connect(HERE) as connection, pytest.raises(Refusal) as refused:
            in_time(lambda: connection.domains.display(guest.uuid))
        os.kill(guest.pid, signal.SIGCONT)
        assert refused.value.code == Close.SILENT
    finally:
        guest.remove()


def test_each_kind_of_error_names_its_hop() -> None:
    codes: dict[type[HypervisorError], Close] = {HypervisorError: Close.HOST, **dict(hops.CODES)}
    assert {kind: refusal_of(kind("x")).code for kind in codes} == codes


def test_the_page_has_words_for_each_code() -> None:
    """Those of all consoles, or those of the screen and of the serial line; what it does not know it takes for lost."""
    scripts = {
        name: (PROJECT / "static/js" / name).read_text() for name in ("console_line.js", "console.js", "serial.js")
    }
    told = {
        name: {int(code) for code in re.findall(r"^ +(44\d\d): \[", text, re.MULTILINE)}
        for name, text in scripts.items()
    }
    ours = set(Close) - told["console_line.js"] - {Close.TICKET, Close.WITHDRAWN}
    assert told["console.js"] >= ours - {Close.TAKEN}
    assert told["serial.js"] >= {Close.MALFORMED, Close.GUEST, Close.DISPLAY, Close.NO_DISPLAY, Close.TAKEN}


def test_another_display_than_vnc_is_named() -> None:
    assert "spice" in str(refusal(HERE, Display("", "spice", hostname="127.0.0.1", port=5900)))


def test_a_display_that_moved_meanwhile_is_not_used() -> None:
    before = Display("u", "vnc", hostname="127.0.0.1", port=5900)
    confirm(before, before)
    with pytest.raises(Refusal):
        confirm(before, Display("u", "vnc", hostname="127.0.0.1", port=5901))
    reading, writing = os.pipe()
    os.close(writing)
    with pytest.raises(Refusal):
        confirm(before, Display("u", "vnc", fd=reading))
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(reading)

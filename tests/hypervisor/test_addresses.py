"""Host addresses: what is let through, what libvirt gets to see, and what never becomes a URI."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webvirt.hypervisor import credentials
from webvirt.hypervisor.addresses import check_address, fingerprint, line_for, shown
from webvirt.hypervisor.connection import uri_of
from webvirt.hypervisor.errors import InvalidSpec
from webvirt.hypervisor.identity import is_another
from webvirt.hypervisor.types import HostAddress, Transport

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGvAMvhDDWWGSt5QaOzbECuFMiDqyVOF0qKNxTzpY3jD"
OTHER_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIG3C2ZVm3n4oqk2cBwZJMdkZ7JE8dhJpF8D6bJhKqk9L"
RSA = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAQQDSeVh0kZw4N1K9w8Zz7n3c1QWmQ5s5k5z3h0y1"
PASSWORD = "c0rrect-h0rse"
REMOTE = (Transport.SSH, Transport.TLS, Transport.TCP)
HOSTILE = (
    "h/system?command=/tmp/x&a=",
    "localhost/system?command=/tmp/evil.sh&x=",
    "h?socket=/x",
    "h?no_verify=1",
    "h?proxy=netcat&netcat=/tmp/x",
    "h#x",
    "a@b",
    "-oProxyCommand=id",
    "--",
    "-",
    "h%2Fsystem%3Fcommand=/tmp/x",
    "h%",
    "h\n",
    "h\r\n",
    "\nh",
    " h",
    "h ",
    "h\t",
    "h\0",
    "h;id",
    "h|id",
    "$(id)",
    "`id`",
    "h\\x",
    "'h'",
    "[::1",
    "[::1]",
    "::1]",
    "fe80::1%eth0",
    "fe80::1%$(id)",
    "h:99999",
    "h:22",
    "h:22/",
    "test:///default",
    "test:///etc/hostname",
    "esx://h",
    "qemu+ext://h",
    "qemu:///system",
    "qemu+unix:///system?socket=/any/path",
    "\u2024",
    "h\u2024example",
    "ｈｏｓｔ",
    "hést",
    "٣.٣.٣.٣",
    "h_x",
    "h..x",
    ".h",
    "h.",
    "-h.example",
    "h-.example",
    "2130706433",
    "0177.0.0.1",
    "0x7f000001",
    "127.1",
    "1.2.3.4.5",
    "256.1.1.1",
    "a" * 64,
    "a." * 127 + "a",
    "a" * 65536,
    "",
)


@pytest.mark.parametrize("transport", REMOTE)
@pytest.mark.parametrize("hostname", HOSTILE, ids=lambda text: ascii(text)[:40])
def test_hostile_names_are_refused(transport: Transport, hostname: str) -> None:
    for check in (check_address, uri_of):
        with pytest.raises(InvalidSpec):
            check(HostAddress(transport, hostname))


@pytest.mark.parametrize(
    "user",
    [
        "-oProxyCommand=id",
        "-l",
        "a@b",
        "a:b",
        "root@h?command=/x",
        "Root",
        "ro ot",
        "root\n",
        "rööt",
        "a" * 33,
        "a/b",
        "%u",
    ],
    ids=ascii,
)
def test_hostile_users_are_refused(user: str) -> None:
    for check in (check_address, uri_of):
        with pytest.raises(InvalidSpec):
            check(HostAddress(Transport.SSH, "h", user=user))


@pytest.mark.parametrize("port", [0, -1, 65536, 99999])
def test_ports_out_of_range_are_refused(port: int) -> None:
    with pytest.raises(InvalidSpec):
        uri_of(HostAddress(Transport.TCP, "h", port))


@pytest.mark.parametrize("transport", [Transport.LOCAL, Transport.TEST])
@pytest.mark.parametrize("parts", [{"hostname": "h"}, {"port": 22}, {"user": "root"}], ids=str)
def test_a_local_connection_has_no_parts(transport: Transport, parts: dict[str, object]) -> None:
    with pytest.raises(InvalidSpec):
        uri_of(HostAddress(transport, **parts))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("address", "uri"),
    [
        (HostAddress(Transport.LOCAL), "qemu:///system"),
        (HostAddress(Transport.TCP, "vm1.example.org"), "qemu+tcp://vm1.example.org/system"),
        (HostAddress(Transport.TCP, "192.0.2.7", 16600), "qemu+tcp://192.0.2.7:16600/system"),
        (HostAddress(Transport.TCP, "2001:db8::7", 16600), "qemu+tcp://[2001:db8::7]:16600/system"),
        (HostAddress(Transport.TLS, "vm1"), "qemu+tls://vm1/system?pkipath=/srv/webvirt/tls"),
        (
            HostAddress(Transport.SSH, "vm1", 2222, "virt-ops"),
            "qemu+ssh://virt-ops@vm1:2222/system?no_tty=1&command=/srv/webvirt/ssh/to-14b25972e3d404b8/ssh",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_uris(address: HostAddress, uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEBVIRT_HOME", "/srv/webvirt")
    assert uri_of(address) == uri


def test_our_own_folder_is_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEBVIRT_HOME", "/srv/a&b c?")
    query = parse_qs(urlsplit(uri_of(HostAddress(Transport.SSH, "h"))).query)
    assert query == {"no_tty": ["1"], "command": ["/srv/a&b c?/ssh/to-14b25972e3d404b8/ssh"]}


@given(st.text(max_size=80), st.text(max_size=40), st.integers(-10, 70000))
def test_whatever_gets_through_is_only_what_it_says(hostname: str, user: str, port: int) -> None:
    address = HostAddress(Transport.SSH, hostname, port, user)
    try:
        uri = urlsplit(uri_of(address))
    except InvalidSpec:
        return
    assert (uri.scheme, uri.path, uri.fragment) == ("qemu+ssh", "/system", "")
    assert (uri.hostname, uri.port, uri.username or "") == (hostname.lower(), port, user)
    assert set(parse_qs(uri.query)) == {"no_tty", "command"}


def test_our_ssh_trusts_only_what_we_were_told_to(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("WEBVIRT_HOME", str(tmp_path))
    credentials.prepare_ssh((KEY,))
    key = credentials.public_key().read_text()
    credentials.prepare_ssh((KEY, OTHER_KEY))
    assert credentials.public_key().read_text() == key, "made once"
    folders = [credentials.ssh_program(keys).parent for keys in ((KEY,), (KEY, OTHER_KEY))]
    assert (folders[0] / "known_hosts").read_text() == f"* {KEY}\n"
    assert (folders[1] / "known_hosts").read_text() == f"* {KEY}\n* {OTHER_KEY}\n"
    for folder in folders:
        config = (folder / "config").read_text()
        assert "StrictHostKeyChecking yes" in config
        assert f'UserKnownHostsFile "{folder}/known_hosts"' in config
        modes = {path.name: path.stat().st_mode & 0o777 for path in (*folder.iterdir(), *folder.parent.iterdir())}
        assert modes["id_ed25519"] == modes["known_hosts"] == modes["config"] == 0o600
        assert folder.stat().st_mode & 0o777 == folder.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    "password",
    ["", "one\ntwo", "nul\0", "tab\t", "a" * 257, "\ud800"],
    ids=lambda text: ascii(text)[:20],
)
def test_odd_passwords_are_refused(password: str) -> None:
    address = HostAddress(Transport.TLS, "h", user="ada", password=password)
    if not password:
        check_address(address)
        return
    with pytest.raises(InvalidSpec):
        check_address(address)


@pytest.mark.parametrize("transport", [Transport.SSH, Transport.LOCAL, Transport.TEST])
def test_a_password_is_for_tls_and_tcp_alone(transport: Transport) -> None:
    parts = {"hostname": "h", "user": "root"} if transport == Transport.SSH else {}
    with pytest.raises(InvalidSpec):
        check_address(HostAddress(transport, **parts, password=PASSWORD))  # type: ignore[arg-type]


def test_a_password_is_in_no_uri_and_no_text_of_an_address() -> None:
    address = HostAddress(Transport.TLS, "h", user="ada", password=PASSWORD)
    assert PASSWORD not in uri_of(address)
    assert "ada" not in uri_of(address)
    assert PASSWORD not in repr(address)


# --- keys of hosts


def test_a_fingerprint_is_as_ssh_keygen_shows_it() -> None:
    told = subprocess.run(["ssh-keygen", "-lf", "-"], input=KEY, capture_output=True, text=True, check=True).stdout
    assert fingerprint(KEY) == told.split()[1]
    assert shown((KEY,)) == f"ED25519 {fingerprint(KEY)}"


@pytest.mark.parametrize(
    "key", ["", "ssh-ed25519", f"{KEY} x", f" {KEY}", f"{KEY}\n", "ssh-dss " + "A" * 60, "* " + KEY]
)
def test_what_is_no_key_has_no_fingerprint(key: str) -> None:
    with pytest.raises(InvalidSpec):
        fingerprint(key)


@pytest.mark.parametrize(
    ("known", "offered", "another"),
    [
        ([KEY], [KEY], False),
        ([KEY], [KEY, RSA], False),
        ([KEY, RSA], [KEY], False),
        ([KEY], [OTHER_KEY], True),
        ([KEY], [RSA], True),
        ([KEY, RSA], [OTHER_KEY, RSA], True),
    ],
    ids=["same", "one-more", "one-less", "another", "none-of-its-own", "one-of-two"],
)
def test_who_is_somebody_else(known: list[str], offered: list[str], another: bool) -> None:
    assert is_another(tuple(known), tuple(offered)) == another


def test_the_line_that_lets_us_in_is_quoted() -> None:
    words = shlex.split(line_for("ssh-ed25519 AAAA webvirt@o'brien; reboot"))
    assert words[6] == "restrict,port-forwarding ssh-ed25519 AAAA webvirt@o'brien; reboot"

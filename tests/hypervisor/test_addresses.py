"""Host addresses: what is let through, what libvirt gets to see, and what never becomes a URI."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webvirt.hypervisor import credentials
from webvirt.hypervisor.addresses import check_address
from webvirt.hypervisor.connection import uri_of
from webvirt.hypervisor.errors import InvalidSpec
from webvirt.hypervisor.types import HostAddress, Transport

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


def test_only_ssh_takes_a_user() -> None:
    for transport in (Transport.TLS, Transport.TCP):
        with pytest.raises(InvalidSpec):
            uri_of(HostAddress(transport, "h", user="root"))


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
            "qemu+ssh://virt-ops@vm1:2222/system?no_tty=1&command=/srv/webvirt/ssh/ssh",
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
    assert query == {"no_tty": ["1"], "command": ["/srv/a&b c?/ssh/ssh"]}


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
    credentials.prepare_ssh()
    key = credentials.public_key().read_text()
    credentials.prepare_ssh()
    assert credentials.public_key().read_text() == key, "made once"
    config = (credentials.ssh_folder() / "config").read_text()
    assert "StrictHostKeyChecking yes" in config
    assert f'UserKnownHostsFile "{credentials.known_hosts()}"' in config
    modes = {path.name: path.stat().st_mode & 0o777 for path in credentials.ssh_folder().iterdir()}
    assert modes["id_ed25519"] == modes["known_hosts"] == modes["config"] == 0o600
    assert credentials.ssh_folder().stat().st_mode & 0o777 == 0o700

"""A display with TLS of its own, as QEMU has it: reached where its certificate is the host's, refused where not."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.console.proxy import Process
from tests.console.wsclient import update_request
from tests.lab.guarded import Authority
from tests.stack import free_port
from tests.until import until
from webvirt.consoleproxy.dial import open_display
from webvirt.consoleproxy.tlschild import Way, carry
from webvirt.hypervisor.credentials import tls_folder
from webvirt.hypervisor.types import Display, HostAddress, Transport
from webvirt.services.consoles import Close, Refusal

HOST = HostAddress(Transport.TLS, "127.0.0.1")
VERSION = b"RFB 003.008\n"


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority("the authority")


@pytest.fixture(autouse=True)
def ours(authority: Authority) -> None:
    """What a person has put here for hosts by TLS."""
    authority.write(tls_folder(), "webvirt", "client")


@contextmanager
def qemu(*words: str, options: str = "") -> Iterator[Display]:
    """A QEMU without a machine, whose display listens on every address, as one would see it from elsewhere."""
    port = free_port()
    command = ["qemu-system-x86_64", "-M", "pc", "-S", "-nodefaults", "-device", "VGA", "-accel", "tcg", "-m", "32"]
    process = Process(subprocess.Popen([*command, *words, "-vnc", f"0.0.0.0:{port - 5900}{options}"]))
    try:
        until(lambda: socket.socket().connect_ex(("127.0.0.1", port)) == 0, what="QEMU's display listens")
        yield Display("", "vnc", hostname="0.0.0.0", port=port)
    finally:
        process.stop()


@contextmanager
def with_tls(authority: Authority, name: str, folder: Path, *more: str, options: str = "") -> Iterator[Display]:
    authority.write(folder, name, "server")
    for part in ("cert", "key"):
        (folder / f"server{part}.pem").replace(folder / f"server-{part}.pem")
    (folder / "cacert.pem").replace(folder / "ca-cert.pem")
    credentials = f"tls-creds-x509,id=tls0,endpoint=server,verify-peer=yes,dir={folder}"
    with qemu("-object", credentials, *more, options=f",tls-creds=tls0{options}") as display:
        yield display


def greeted(ends: list[socket.socket]) -> socket.socket:
    (end,) = ends
    end.settimeout(5)
    assert end.recv(12) == VERSION
    end.sendall(VERSION)
    return end


def read(end: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = end.recv(size - len(data))
        assert piece, f"it ended after {len(data)} of {size} bytes"
        data += piece
    return data


def is_alone() -> bool:
    """Whether no process that ends TLS is left."""
    lines = subprocess.run(["pgrep", "-f", "tlschild.py"], capture_output=True, text=True, check=False).stdout.split()
    return not [pid for pid in lines if "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2][:3]]


def test_the_console_sees_a_display_without_tls_and_its_picture(authority: Authority, tmp_path: Path) -> None:
    with with_tls(authority, "127.0.0.1", tmp_path) as display:
        end = greeted(open_display(HOST, display))
        assert read(end, 2) == b"\x01\x01"
        end.sendall(b"\x01")
        assert read(end, 4) == bytes(4)
        end.sendall(b"\x01")
        server = read(end, 24)
        read(end, int.from_bytes(server[20:24], "big"))
        width, height = int.from_bytes(server[:2], "big"), int.from_bytes(server[2:4], "big")
        end.sendall(update_request(width, height))
        assert len(read(end, 4 + 12 + width * height)) > width * height
        end.close()
        until(is_alone, 5, what="its process has ended")


def test_a_password_inside_the_tls_is_asked_for_as_without(authority: Authority, tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text("secret")
    more = ("-object", f"secret,id=word,file={secret}")
    with with_tls(authority, "127.0.0.1", tmp_path, *more, options=",password-secret=word") as display:
        end = greeted(open_display(HOST, display))
        assert read(end, 2) == b"\x01\x02"
        end.sendall(b"\x02")
        assert len(read(end, 16)) == 16
        end.close()


@pytest.mark.parametrize(
    ("signed_by", "name", "why"),
    [
        (lambda ours: Authority("another"), "127.0.0.1", "certificate"),
        (lambda ours: ours, "elsewhere.example", "IP address mismatch"),
    ],
    ids=["authority", "name"],
)
def test_another_authority_or_another_name_is_refused(
    authority: Authority, tmp_path: Path, signed_by: Callable[[Authority], Authority], name: str, why: str
) -> None:
    with with_tls(signed_by(authority), name, tmp_path) as display, pytest.raises(Refusal) as refused:
        open_display(HOST, display)
    assert refused.value.code == Close.CERTIFICATE
    assert "not good for 127.0.0.1" in str(refused.value)
    assert why in str(refused.value)
    until(is_alone, 5, what="its process has ended")


def test_tls_without_a_certificate_is_refused(tmp_path: Path) -> None:
    credentials = f"tls-creds-anon,id=tls0,endpoint=server,dir={tmp_path}"
    with (
        qemu("-object", credentials, options=",tls-creds=tls0") as display,
        pytest.raises(Refusal, match="no certificate") as refused,
    ):
        open_display(HOST, display)
    assert refused.value.code == Close.CERTIFICATE


def test_without_our_own_certificates_it_says_so(authority: Authority, tmp_path: Path) -> None:
    (tls_folder() / "cacert.pem").unlink()
    with (
        with_tls(authority, "127.0.0.1", tmp_path) as display,
        pytest.raises(Refusal, match="cannot be read") as refused,
    ):
        open_display(HOST, display)
    assert refused.value.code == Close.CERTIFICATE


def test_a_display_that_has_no_tls_is_reached_as_it_is() -> None:
    with qemu() as display:
        end = greeted(open_display(HOST, display))
        assert read(end, 2) == b"\x01\x01"
        end.close()


def test_no_more_is_read_than_is_taken() -> None:
    """One piece is held for a side that does not read, and the other side feels it."""
    source, ours = socket.socketpair()
    theirs, sink = socket.socketpair()
    for end in (source, ours, theirs, sink):
        end.setblocking(False)
    way = Way(ours, theirs)
    sent = 0
    for _ in range(1000):
        try:
            sent += source.send(bytes(65536))
        except BlockingIOError:
            if not way.moved():
                break
    assert len(way.held) <= 65536
    assert sent < 4 * 2**20
    assert way.wants(ours) == 0


def test_it_ends_with_either_side(authority: Authority, tmp_path: Path) -> None:
    authority.write(tmp_path, "here", "server")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "servercert.pem", tmp_path / "serverkey.pem")
    trust = ssl.create_default_context(cafile=str(tmp_path / "cacert.pem"))
    for leaver in ("browser", "display"):
        far, near = socket.socketpair()
        browser, console = socket.socketpair()
        served: list[ssl.SSLSocket] = []
        display = threading.Thread(target=lambda: served.append(context.wrap_socket(far, server_side=True)))  # noqa: B023
        display.start()
        guest = trust.wrap_socket(near, server_hostname="here")
        display.join(5)
        relay = threading.Thread(target=carry, args=(console, guest))
        relay.start()
        browser.sendall(b"key")
        assert served[0].recv(3) == b"key"
        (browser if leaver == "browser" else served[0]).close()
        relay.join(5)
        assert not relay.is_alive(), leaver

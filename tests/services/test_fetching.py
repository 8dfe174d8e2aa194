"""Fetching images from the web: whole, as said, and from nowhere but the web."""

from __future__ import annotations

import hashlib
import os
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from django.conf import settings

from tests.services.conftest import FakeHost
from webvirt.models import OperationState
from webvirt.services import fetching, inventory, operations
from webvirt.services.catalogue import BY_KIND
from webvirt.services.catalogue.volumes import FetchSpec

S = OperationState
MIB = 2**20
DATA = os.urandom(2 * MIB + 17) + bytes(MIB)
LOOPBACK = (ip_network("127.0.0.0/8"), ip_network("::1/128"))


@dataclass
class Server:
    """A web server on loopback. `answer` writes the next answers; each request is kept."""

    port: int
    listener: ThreadingHTTPServer
    requests: list[Any] = field(default_factory=list)
    answer: Callable[[BaseHTTPRequestHandler], None] = field(default_factory=lambda: give)

    def url(self, path: str = "/images/tiny.img?x=1") -> str:
        return f"http://127.0.0.1:{self.port}{path}"


def give(handler: BaseHTTPRequestHandler, *, data: bytes = DATA, most: int | None = None, **more: str) -> None:
    """Give the file, or the part that is asked for; `most` bytes of it, and then nothing more."""
    start = int(handler.headers.get("Range", "bytes=0-")[6:-1])
    headers = {"Content-Length": str(len(data) - start), "Accept-Ranges": "bytes", "ETag": '"one"'}
    handler.send_response(206 if start else 200)
    if start:
        headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
    for name, value in (headers | {key.replace("_", "-"): value for key, value in more.items()}).items():
        if value:
            handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(data[start:][:most])


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found.requests.append((self.path, dict(self.headers)))
            found.answer(self)

        def log_message(self, *_: object) -> None:
            """Nothing."""

    listener = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found = Server(listener.server_address[1], listener)
    threading.Thread(target=listener.serve_forever, args=[0.05], daemon=True).start()
    monkeypatch.setattr(fetching, "PAUSE_SECONDS", 0.0)
    yield found
    listener.shutdown()
    listener.server_close()


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> None:
    """The administrator lets images be fetched from this machine."""
    monkeypatch.setattr(settings, "WEBVIRT_FETCH_FROM", LOOPBACK)


@pytest.fixture
def inside(server: Server, opened: None) -> Server:
    return server


# --- what arrives


@pytest.mark.parametrize("kind", ["sha256", "sha512"])
def test_a_file_becomes_a_volume(alpha: FakeHost, inside: Server, kind: str) -> None:
    digest = hashlib.new(kind, DATA).hexdigest()
    done = alpha.do("volume.fetch", alpha.pool, url=inside.url(), checksum=digest)
    assert (done.state, done.result) == (S.SUCCEEDED, {"volume": "tiny.img", "bytes": len(DATA), kind: digest})
    kept = alpha.connection.storage.known[alpha.uuid].volumes["tiny.img"]
    assert bytes(kept.data) == DATA
    assert alpha.volume("tiny.img").making is None
    ((path, headers),) = inside.requests
    assert (path, headers["Host"]) == ("/images/tiny.img?x=1", f"127.0.0.1:{inside.port}")
    assert "curl -fL -o tiny.img" in done.virsh


@pytest.mark.parametrize("data", [DATA, b"PK\x03\x04" + bytes(600)], ids=["image", "archive"])
def test_what_was_fetched_is_looked_into_where_that_is_asked(alpha: FakeHost, inside: Server, data: bytes) -> None:
    inside.answer = lambda handler: give(handler, data=data)
    done = alpha.do("volume.fetch", alpha.pool, url=inside.url(), look_into=True)
    # It has come, whatever it holds.
    assert (done.state, done.result["bytes"]) == (S.SUCCEEDED, len(data))
    kept = alpha.volume("tiny.img")
    assert (kept.making, bool(kept.appliance)) == (None, data == DATA)


def test_another_checksum_keeps_nothing(alpha: FakeHost, inside: Server) -> None:
    done = alpha.do("volume.fetch", alpha.pool, url=inside.url(), checksum="0" * 64)
    assert (done.state, done.error[:40]) == (S.FAILED, "The file is not what it should be: its c")
    alpha.stock.pools()
    assert alpha.connection.storage.volumes(alpha.uuid) == ["web-1.qcow2"]


def test_a_connection_that_breaks_is_taken_up(alpha: FakeHost, inside: Server) -> None:
    answers = [1_000_000, 500_000, None]
    inside.answer = lambda handler: give(handler, most=answers.pop(0))
    assert alpha.do("volume.fetch", alpha.pool, url=inside.url()).state == S.SUCCEEDED
    assert bytes(alpha.connection.storage.known[alpha.uuid].volumes["tiny.img"].data) == DATA
    ranges = [headers.get("Range") for _path, headers in inside.requests]
    assert ranges[0] is None
    assert all(headers["If-Range"] == '"one"' for _path, headers in inside.requests[1:])
    assert len(ranges) == 3


@pytest.mark.parametrize(
    ("again", "words"),
    [
        ({"data": DATA[::-1], "ETag": '"two"'}, "has changed on the server"),
        ({"Accept_Ranges": ""}, "cannot go on in the middle"),
        ({"ETag": 'W/"weak"'}, "cannot go on in the middle"),
    ],
)
def test_no_two_halves_of_different_files(alpha: FakeHost, inside: Server, again: dict[str, Any], words: str) -> None:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        if len(inside.requests) > 1:
            # As a server does for whose file `If-Range` does not hold any more.
            del handler.headers["Range"]
            give(handler, **again)
        else:
            give(handler, most=MIB, **{key: value for key, value in again.items() if "data" not in again})

    inside.answer = answer
    done = alpha.do("volume.fetch", alpha.pool, url=inside.url())
    assert done.state == S.FAILED
    assert words in done.error


def test_a_connection_that_never_brings_more_ends(alpha: FakeHost, inside: Server) -> None:
    inside.answer = lambda handler: give(handler, most=0 if len(inside.requests) > 1 else MIB)
    done = alpha.do("volume.fetch", alpha.pool, url=inside.url())
    assert (done.state, done.error[:32]) == (S.FAILED, "The connection broke too often: ")


def answering(status: int, **headers: str) -> Callable[[BaseHTTPRequestHandler], None]:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()

    return answer


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (answering(404, Content_Length="0"), "The server answers 404."),
        (answering(200), "does not say how large"),
        (answering(200, Content_Length="0"), "does not say how large"),
        (answering(302, Location="/images/tiny.img"), "without end"),
        (answering(302, Location="file:///etc/passwd"), "must begin with https"),
        (answering(302, Location="gopher://127.0.0.1/"), "must begin with https"),
    ],
)
def test_what_is_no_file_says_why(
    alpha: FakeHost, inside: Server, answer: Callable[[BaseHTTPRequestHandler], None], words: str
) -> None:
    inside.answer = answer
    done = alpha.do("volume.fetch", alpha.pool, url=inside.url())
    assert done.state == S.FAILED
    assert words in done.error
    assert alpha.connection.storage.volumes(alpha.uuid) == ["web-1.qcow2"]


def test_a_redirect_is_followed(alpha: FakeHost, inside: Server) -> None:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        give(handler) if handler.path == "/b" else answering(302, Location="/b", Content_Length="0")(handler)

    inside.answer = answer
    assert alpha.do("volume.fetch", alpha.pool, url=inside.url("/a.img")).state == S.SUCCEEDED
    assert [path for path, _headers in inside.requests] == ["/a.img", "/b"]


def test_nobody_there(alpha: FakeHost, opened: None) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        done = alpha.do("volume.fetch", alpha.pool, url=f"http://127.0.0.1:{port}/a.img")
    assert (done.state, done.error[:27]) == (S.FAILED, "The server does not answer:")


# --- with a list of checksums


def with_list(server: Server, text: str, **more: Any) -> None:
    """The server has a list beside the file."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        give(handler, data=text.encode(), **more) if "SUMS" in handler.path else give(handler)

    server.answer = answer


@pytest.mark.parametrize("kind", ["sha256", "sha512"])
def test_the_checksum_is_looked_up_first(alpha: FakeHost, inside: Server, kind: str) -> None:
    digest = hashlib.new(kind, DATA).hexdigest()
    with_list(inside, f"{'0' * len(digest)}  other.img\n{digest}  tiny.img\n")
    done = alpha.do("volume.fetch", alpha.pool, url=inside.url(), checksum_url=inside.url("/images/SUMS"))
    assert (done.state, done.result) == (S.SUCCEEDED, {"volume": "tiny.img", "bytes": len(DATA), kind: digest})
    assert [path for path, _headers in inside.requests] == ["/images/SUMS", "/images/tiny.img?x=1"]
    assert f"curl -fL {inside.url('/images/SUMS')} | grep -F tiny.img" in done.virsh


def test_a_list_of_that_file_alone_may_call_it_otherwise(alpha: FakeHost, inside: Server) -> None:
    with_list(inside, f"{hashlib.sha256(DATA).hexdigest()}  tiny-build-7.img\n")
    url = inside.url("/images/tiny.img")
    assert alpha.do("volume.fetch", alpha.pool, url=url, checksum_url=f"{url}.SUMS").state == S.SUCCEEDED
    done = alpha.do("volume.fetch", alpha.pool, url=url, name="b.img", checksum_url=inside.url("/images/SUMS"))
    assert (done.state, done.error[:32]) == (S.FAILED, "The list of checksums does not t")
    assert "tiny.img" in done.error


def test_a_file_that_is_not_what_the_list_says_is_not_kept(alpha: FakeHost, inside: Server) -> None:
    with_list(inside, f"{'0' * 64}  tiny.img\n")
    done = alpha.do("volume.fetch", alpha.pool, url=inside.url(), checksum_url=inside.url("/SUMS"))
    assert (done.state, done.error[:40]) == (S.FAILED, "The file is not what it should be: its c")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "does not tell one of this file"),
        (f"{'0' * 64}  other.img", "does not tell one of this file"),
        (f"{'0' * 64}  tiny.img\n{'1' * 64}  tiny.img", "does not tell one of this file"),
        ("x" * (2**20 + 1), "far too long"),
    ],
)
def test_without_its_line_nothing_is_fetched(alpha: FakeHost, inside: Server, text: str, words: str) -> None:
    with_list(inside, text)
    done = alpha.do("volume.fetch", alpha.pool, url=inside.url(), checksum_url=inside.url("/SUMS"))
    assert done.state == S.FAILED
    assert words in done.error
    assert [path for path, _headers in inside.requests] == ["/SUMS"]
    assert alpha.connection.storage.volumes(alpha.uuid) == ["web-1.qcow2"]


def test_a_list_comes_through_the_same_gate(alpha: FakeHost, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    url, list_url = server.url(), server.url("/SUMS")
    done = alpha.do("volume.fetch", alpha.pool, url=url, checksum_url=list_url)
    assert (done.state, server.requests) == (S.FAILED, [])
    monkeypatch.setattr(settings, "WEBVIRT_FETCH_FROM", (ip_network("127.0.0.1/32"),))
    server.answer = answering(302, Location=f"http://127.0.0.2:{server.port}/SUMS", Content_Length="0")
    done = alpha.do("volume.fetch", alpha.pool, url=url, checksum_url=list_url)
    assert "127.0.0.2 is not on the public internet" in done.error
    assert len(server.requests) == 1


def test_a_list_needs_no_length_and_is_not_waited_for_long(inside: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    with_list(inside, "hello", Content_Length="")
    assert fetching.fetch_text(inside.url("/SUMS"), 5) == "hello"
    monkeypatch.setattr(fetching, "TEXT_SECONDS", -1.0)
    with pytest.raises(fetching.NotFetched, match="too slowly"):
        fetching.fetch_text(inside.url("/SUMS"), 5)
    inside.answer = answering(404, Content_Length="0")
    with pytest.raises(fetching.NotFetched, match="answers 404"):
        fetching.fetch_text(inside.url("/SUMS"), 5)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"checksum_url": "ftp://example.org/SUMS"}, "must begin with https"),
        ({"checksum_url": "https://example.org/SUMS", "checksum": "0" * 64}, "not both"),
    ],
)
def test_what_can_be_no_list_is_refused_at_the_form(alpha: FakeHost, more: dict[str, str], words: str) -> None:
    with pytest.raises(operations.Invalid, match=words):
        alpha.ask("volume.fetch", alpha.pool, url="https://example.org/a.img", **more)


# --- where it came from


def test_a_volume_knows_where_it_came_from_until_somebody_writes_to_it(alpha: FakeHost, inside: Server) -> None:
    alpha.do("volume.fetch", alpha.pool, url=inside.url())
    assert alpha.volume("tiny.img").source_url == inside.url()
    alpha.stock.pools()
    assert alpha.volume("tiny.img").source_url == inside.url()
    kept = alpha.connection.storage.known[alpha.uuid].volumes["tiny.img"]
    kept.info = replace(kept.info, modified_at=1_900_000_000)
    inventory.remember_volumes(alpha.pool, [kept.info])
    assert alpha.volume("tiny.img").source_url == ""


def test_another_volume_of_the_same_name_did_not_come_from_there(alpha: FakeHost, inside: Server) -> None:
    alpha.do("volume.fetch", alpha.pool, url=inside.url())
    alpha.do("volume.delete", alpha.volume("tiny.img"))
    alpha.do("volume.create", alpha.pool, name="tiny.img", capacity=MIB)
    assert alpha.volume("tiny.img").source_url == ""


# --- encrypted


def certificate(name: str, folder: Path) -> Path:
    """A certificate for a server of this name, which vouches for itself, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    called = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(called, called, key.public_key(), 1, now - timedelta(1), now + timedelta(1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / f"{name}.pem"
    plain = serialization.NoEncryption()
    secret = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM) + secret)
    return path


@pytest.mark.parametrize(
    ("named", "trusted", "words"),
    [
        ("localhost", True, ""),
        ("localhost", False, "certificate is not good"),
        ("elsewhere.example.org", True, "certificate is not good"),
    ],
)
def test_a_certificate_is_for_the_name_that_was_asked_for(
    alpha: FakeHost,
    inside: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    named: str,
    trusted: bool,
    words: str,
) -> None:
    """Though the connection goes to an address and not to a name."""
    path = certificate(named, tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(path)
    inside.listener.socket = context.wrap_socket(inside.listener.socket, server_side=True)
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(path))
    done = alpha.do("volume.fetch", alpha.pool, url=f"https://localhost:{inside.port}/tiny.img")
    assert words in done.error
    assert done.state == (S.FAILED if words else S.SUCCEEDED), done.error
    assert [headers["Host"] for _path, headers in inside.requests] == ([] if words else [f"localhost:{inside.port}"])


# --- what is not asked for at all


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "0177.0.0.1",
        "2130706433",
        "127.1",
        "0.0.0.0",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "169.254.169.254",
        "10.0.0.1",
        "192.168.1.1",
        "100.64.0.1",
        "[fd00::1]",
        "[fe80::1]",
        "224.0.0.1",
    ],
)
def test_our_own_network_hears_nothing(alpha: FakeHost, server: Server, host: str) -> None:
    done = alpha.do("volume.fetch", alpha.pool, url=f"http://{host}:{server.port}/a.img")
    assert done.state == S.FAILED
    assert "not on the public internet" in done.error or "no server of that name" in done.error
    assert server.requests == []


def test_a_name_that_says_something_else_a_moment_later(
    alpha: FakeHost, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is resolved once, and the connection goes to what was looked at."""
    asked: list[str] = []
    answers = [["127.0.0.1", "93.184.216.34"], ["127.0.0.1"]]

    def resolve(host: str, port: int, **_: object) -> list[Any]:
        if host != "flip.example.org":
            return real(host, port, type=socket.SOCK_STREAM)
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port)) for each in answers.pop(0)]

    real = socket.getaddrinfo
    went: list[str] = []

    def gone(_parts: object, address: object, **_how: object) -> Any:
        went.append(str(address))
        raise OSError("no way there")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(fetching, "pool_to", gone)
    with pytest.raises(OSError, match="no way there"):
        fetching.open_source(f"http://flip.example.org:{server.port}/a.img", checked=True)
    assert (asked, went) == (["flip.example.org"], ["93.184.216.34"])
    assert server.requests == []


def test_a_redirect_goes_through_the_same_gate(
    alpha: FakeHost, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "WEBVIRT_FETCH_FROM", (ip_network("127.0.0.1/32"),))
    server.answer = answering(302, Location=f"http://127.0.0.2:{server.port}/b", Content_Length="0")
    done = alpha.do("volume.fetch", alpha.pool, url=server.url())
    assert done.state == S.FAILED
    assert "127.0.0.2 is not on the public internet" in done.error
    assert len(server.requests) == 1


def test_from_encryption_to_none_only_with_a_checksum(monkeypatch: pytest.MonkeyPatch) -> None:
    class Redirect:
        status = 302

        def get_redirect_location(self) -> str:
            return "http://mirror.example.org/a.img"

        def close(self) -> None:
            """Nothing is open."""

    monkeypatch.setattr(fetching, "ask", lambda *_: Redirect())
    with pytest.raises(fetching.NotFetched, match="without encryption"):
        fetching.open_source("https://example.org/a.img", checked=False)
    with pytest.raises(fetching.NotFetched, match="without end"):
        fetching.open_source("https://example.org/a.img", checked=True)


@pytest.mark.parametrize(
    ("address", "is_open"),
    [
        ("93.184.216.34", True),
        ("2606:2800:220:1::1", True),
        ("::ffff:93.184.216.34", True),
        ("::ffff:10.0.0.1", False),
        ("2002:7f00:1::", False),
        ("64:ff9b::a00:1", False),
        ("64:ff9b:1::a00:1", False),
        ("255.255.255.255", False),
        ("198.18.0.1", False),
    ],
)
def test_which_addresses_are_open_to_us(address: str, is_open: bool) -> None:
    assert fetching.is_open_to_us(ip_address(address)) is is_open


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("file:///etc/passwd", "must begin with https"),
        ("ftp://example.org/a.img", "must begin with https"),
        ("https:///a.img", "must begin with https"),
        ("https://user:secret@example.org/a.img", "user or a password"),
        ("https://example.org:99999/a.img", "no address on the web"),
        ("https://[::1/a.img", "no address on the web"),
        ("https://example.org/a\nb", "must be one line"),
        ("https://example.org/", "is 1 to 120 letters"),
    ],
)
def test_what_cannot_be_an_address_is_refused_at_the_form(alpha: FakeHost, url: str, words: str) -> None:
    with pytest.raises(operations.Invalid, match=words):
        alpha.ask("volume.fetch", alpha.pool, url=url)


@pytest.mark.parametrize(
    ("path", "name", "title"),
    [
        ("/a.img", "a.img", ""),
        ("/tiny%20system.img", "tiny-system.img", "tiny system.img"),
        ("/a%2Fb.img", "a-b.img", "a/b.img"),
        ("/%E7%B3%BB%E7%BB%9F.iso", "image-3c027620.iso", "系统.iso"),
        ("/-rf", "rf", "-rf"),
        ("/..%2F..%2Fetc%0Apasswd", "etc-passwd", "../../etc passwd"),
        ("/" + "x" * 200 + ".qcow2", "x" * 114 + ".qcow2", "x" * 200 + ".qcow2"),
    ],
)
def test_a_name_that_is_safe_and_beside_it_the_one_that_people_know(
    alpha: FakeHost, path: str, name: str, title: str
) -> None:
    operation = alpha.ask("volume.fetch", alpha.pool, url=f"https://example.org{path}")
    spec = BY_KIND["volume.fetch"].spec.model_validate(operation.parameters)
    assert isinstance(spec, FetchSpec)
    assert (spec.name, spec.shown) == (name, title)
    # Who calls it by another name means that.
    assert spec.model_copy(update={"name": "other.img"}).shown == ""


def test_the_title_stands_beside_the_volume(alpha: FakeHost, inside: Server) -> None:
    alpha.do("volume.fetch", alpha.pool, url=inside.url("/tiny%20system.img"))
    assert alpha.volume("tiny-system.img").title == "tiny system.img"
    # Another volume of this name has nothing to do with it.
    alpha.do("volume.delete", alpha.volume("tiny-system.img"))
    alpha.do("volume.create", alpha.pool, name="tiny-system.img", capacity=MIB)
    assert alpha.volume("tiny-system.img").title == ""

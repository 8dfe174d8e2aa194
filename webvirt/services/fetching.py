"""Fetching a file from an address on the web, and from nowhere else: what a person types never reaches our own network.

A name is resolved once, each of its addresses is looked at, and the connection goes to that very address: what the name
says a moment later does not count. Redirects go through the same gate. `WEBVIRT_FETCH_FROM` opens it for networks.
"""

from __future__ import annotations

import ipaddress
import posixpath
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, quote, unquote, urljoin, urlsplit

import urllib3
from django.conf import settings
from django.utils.translation import gettext_noop
from urllib3.exceptions import ConnectTimeoutError, HTTPError, InsecureRequestWarning, NewConnectionError, SSLError

PORTS = {"http": 80, "https": 443}
MOST_REDIRECTS = 5
CONNECT_SECONDS = 10.0
SILENT_SECONDS = 30.0
TRIES = 6
"""So often a connection that broke is taken up again, each time without progress between."""
PAUSE_SECONDS = 2.0
READ = 256 * 1024
TEXT_SECONDS = 20.0
"""A text that takes longer is not waited for: what drips would hold up a worker."""
HEADERS = {"User-Agent": "webvirt", "Accept": "*/*", "Accept-Encoding": "identity"}

TRANSLATED = ipaddress.ip_network("64:ff9b::/96")
LOCALLY_TRANSLATED = ipaddress.ip_network("64:ff9b:1::/48")
"""Of a network's own translator: where that leads nobody outside can tell."""

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class NotFetched(Exception):
    """An address that is not fetched from; `str(error)` is a sentence, `remedy` what the person can do."""

    def __init__(self, sentence: str, remedy: str = "") -> None:
        super().__init__(sentence)
        self.remedy = remedy


class NotThere(NotFetched):
    """The server answers, and has no such file."""


@dataclass(frozen=True)
class Way:
    """How a server is asked.

    `anywhere` says that it may be in our own network: an administrator has named it. `verified` that its certificate
    must be good. `headers` are sent with every request.
    """

    anywhere: bool = False
    verified: bool = True
    headers: dict[str, str] = field(default_factory=dict, repr=False)


PUBLIC = Way()


class Broken(Exception):
    """The connection was lost on the way, or never came about: another try may do better."""


# --- the address


def check_url(url: str) -> str:
    """The address as it is asked for. Raises NotFetched for what no address on the web can be."""
    parts = parts_of(url)
    if parts.username is not None or parts.password is not None:
        raise NotFetched(gettext_noop("must not hold a user or a password: they would be kept with the operation"))
    return url


def parts_of(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise NotFetched(gettext_noop("is no address on the web")) from None
    if parts.scheme not in PORTS or not parts.hostname or port == 0:
        raise NotFetched(gettext_noop("must begin with https:// or http:// and a server's name"))
    return parts


def name_in(url: str) -> str:
    """The file's name in an address, as people read it; empty where it has none."""
    try:
        name = unquote(posixpath.basename(urlsplit(url).path))
    except ValueError:
        return ""
    return "".join(letter if letter.isprintable() else " " for letter in name).strip()[:255]


def is_open_to_us(address: Address) -> bool:
    """Whether an address is on the public internet, or in a network that the administrator opened."""
    if any(address in network for network in settings.WEBVIRT_FETCH_FROM if network.version == address.version):
        return True
    return all(is_public(each) for each in (address, *inside(address)))


def is_public(address: Address) -> bool:
    return address.is_global and not address.is_multicast and address not in LOCALLY_TRANSLATED


def inside(address: Address) -> list[Address]:
    """The IPv4 addresses that an IPv6 address stands for: a translator on the way would go there."""
    if isinstance(address, ipaddress.IPv4Address):
        return []
    found: list[Any] = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    if address in TRANSLATED:
        found.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    return [each for each in found if each is not None]


def addresses_of(parts: SplitResult, way: Way = PUBLIC) -> list[Address]:
    """Those of a server's addresses that we may go to. Raises NotFetched when there are none."""
    try:
        found = socket.getaddrinfo(parts.hostname, parts.port or PORTS[parts.scheme], type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise NotFetched(
            gettext_noop("There is no server of that name: %(host)s.") % {"host": parts.hostname}
        ) from None
    all_of_it = list(dict.fromkeys(ipaddress.ip_address(str(each[4][0]).partition("%")[0]) for each in found))
    usable = [address for address in all_of_it if way.anywhere or is_open_to_us(address)]
    if not usable:
        raise NotFetched(
            gettext_noop("%(host)s is not on the public internet, and nothing is fetched from other networks.")
            % {"host": parts.hostname},
            gettext_noop("An administrator of this installation can open a network: WEBVIRT_FETCH_FROM."),
        )
    return usable


# --- the file


@dataclass
class Source:
    """A file on the web that is open for reading. `size` is all of its bytes."""

    url: str
    size: int
    validator: str
    """By which the server knows that the file is still the same; empty where it does not tell."""
    response: urllib3.BaseHTTPResponse
    at: int = 0
    tries: int = field(default=TRIES, repr=False)
    way: Way = PUBLIC

    def read(self) -> Iterator[bytes]:
        """All of it, piece by piece, going on where the connection broke. Raises NotFetched."""
        while self.at < self.size:
            try:
                data = self.response.read(min(READ, self.size - self.at))
            except (HTTPError, OSError) as error:
                self.take_up(error)
                continue
            if not data:
                self.take_up(EOFError("the connection was closed"))
                continue
            self.at += len(data)
            self.tries = TRIES
            yield data

    def take_up(self, why: Exception) -> None:
        """Connect again and go on from here, if the server still has the same file."""
        self.response.close()
        if not self.validator:
            raise NotFetched(
                gettext_noop("The connection broke (%(why)s), and the server cannot go on in the middle.")
                % {"why": why}
            )
        while self.tries:
            self.tries -= 1
            time.sleep(PAUSE_SECONDS)
            try:
                response = ask(self.url, {"Range": f"bytes={self.at}-", "If-Range": self.validator}, self.way)
            except Broken:
                continue
            if response.status != 206 or begins_at(response) != self.at:
                response.close()
                raise NotFetched(
                    gettext_noop("The file has changed on the server while it was fetched."),
                    gettext_noop("Fetch it again."),
                )
            self.response = response
            return
        raise NotFetched(gettext_noop("The connection broke too often: %(why)s.") % {"why": why})

    def close(self) -> None:
        self.response.close()


def open_source(url: str, *, checked: bool) -> Source:
    """Open a file for reading, following redirects. Raises NotFetched.

    `checked` says that its checksum is known: else what was asked for by https is not taken from a redirect to http.
    """
    return source_of(*follow(url, checked=checked))


def open_by(url: str, way: Way) -> Source:
    """Open a file for reading on a server that we sign in to, and where we are not sent on. Raises NotFetched."""
    try:
        response = ask(url, {}, way)
    except Broken as error:
        raise NotFetched(gettext_noop("The server does not answer: %(why)s.") % {"why": error}) from None
    if response.status in (401, 403):
        response.close()
        raise NotFetched(gettext_noop("The user or the password is not right there, or may not read this."))
    source = source_of(url, response)
    source.way = way
    return source


def fetch_text(url: str, most: int) -> str:
    """A small text, such as a list of checksums: of at most so many bytes, and never without encryption where it was
    asked for. Raises NotFetched."""
    _url, response = follow(url, checked=False)
    ends, text = time.monotonic() + TEXT_SECONDS, bytearray()
    try:
        demand_file(response)
        while data := response.read1(READ):
            text += data
            if len(text) > most:
                raise NotFetched(gettext_noop("What should be a list of checksums is far too long for one."))
            if time.monotonic() > ends:
                raise NotFetched(gettext_noop("The server sends it too slowly."))
    except (HTTPError, OSError) as error:
        raise NotFetched(gettext_noop("The server does not answer: %(why)s.") % {"why": error}) from None
    finally:
        response.close()
    return text.decode(errors="replace")


def follow(url: str, *, checked: bool) -> tuple[str, urllib3.BaseHTTPResponse]:
    """Where an address leads in the end, and what is answered there; see `open_source`."""
    for _turn in range(MOST_REDIRECTS + 1):
        try:
            response = ask(url, {})
        except Broken as error:
            raise NotFetched(gettext_noop("The server does not answer: %(why)s.") % {"why": error}) from None
        there = response.get_redirect_location()
        if not there:
            return url, response
        response.close()
        before, url = url, check_url(urljoin(url, there))
        if before.startswith("https:") and not url.startswith("https:") and not checked:
            raise NotFetched(
                gettext_noop(
                    "The server sends us on to an address without encryption: anybody on the way could change the file."
                ),
                gettext_noop("Give its checksum, or another address."),
            )
    raise NotFetched(gettext_noop("The server sends us from one address to the next without end."))


def demand_file(response: urllib3.BaseHTTPResponse) -> None:
    """Raise NotThere, or NotFetched for another answer than a file."""
    if response.status != 200:
        response.close()
        kind = NotThere if response.status in (404, 410) else NotFetched
        raise kind(gettext_noop("The server answers %(n)s.") % {"n": response.status})


def source_of(url: str, response: urllib3.BaseHTTPResponse) -> Source:
    length = response.headers.get("Content-Length", "")
    demand_file(response)
    if not length.isascii() or not length.isdecimal() or int(length) == 0:
        response.close()
        raise NotFetched(
            gettext_noop("The server does not say how large the file is."),
            gettext_noop("Download it yourself, and upload it."),
        )
    etag = response.headers.get("ETag", "")
    validator = etag if etag and not etag.startswith("W/") else response.headers.get("Last-Modified", "")
    return Source(url, int(length), validator if "bytes" in response.headers.get("Accept-Ranges", "") else "", response)


def begins_at(response: urllib3.BaseHTTPResponse) -> int | None:
    """Where the part of a file begins that a server sends."""
    start = response.headers.get("Content-Range", "").removeprefix("bytes ").partition("-")[0]
    return int(start) if start.isascii() and start.isdecimal() else None


def ask(url: str, more: dict[str, str], way: Way = PUBLIC) -> urllib3.BaseHTTPResponse:
    """One request to the first of the server's addresses that answers. Raises Broken or NotFetched."""
    parts = parts_of(url)
    why = ""
    for address in addresses_of(parts, way):
        pool = pool_to(parts, address, verified=way.verified)
        path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._") + (f"?{parts.query}" if parts.query else "")
        host = parts.netloc.rpartition("@")[2]
        try:
            return pool.urlopen(
                "GET",
                path,
                headers=HEADERS | {"Host": host} | way.headers | more,
                redirect=False,
                retries=False,
                preload_content=False,
                decode_content=False,
            )
        except SSLError as error:
            raise NotFetched(gettext_noop("The server's certificate is not good: %(why)s.") % {"why": error}) from None
        except (NewConnectionError, ConnectTimeoutError) as error:
            # Another of its addresses may do.
            why = str(error).rpartition(": ")[2]
        except (HTTPError, OSError) as error:
            raise Broken(str(error)) from None
    raise Broken(why)


def pool_to(parts: SplitResult, address: Address, *, verified: bool = True) -> urllib3.HTTPConnectionPool:
    """A connection to that address, whose certificate must be for the server's name unless it is not looked at."""
    timeout = urllib3.Timeout(connect=CONNECT_SECONDS, read=SILENT_SECONDS)
    port = parts.port or PORTS[parts.scheme]
    if parts.scheme == "http":
        return urllib3.HTTPConnectionPool(str(address), port, timeout=timeout)
    name = parts.hostname
    if not verified:
        urllib3.disable_warnings(InsecureRequestWarning)
        return urllib3.HTTPSConnectionPool(str(address), port, timeout=timeout, cert_reqs="CERT_NONE")
    return urllib3.HTTPSConnectionPool(str(address), port, timeout=timeout, server_hostname=name, assert_hostname=name)

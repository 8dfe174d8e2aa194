"""The address that people type, taken apart once: hosts, origins, cookies and the front's rules all follow from it.

Knows nothing but itself, since the settings and the front's configuration are made from it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv6Address
from urllib.parse import urlsplit

DEFAULT_PORTS = {"http": 80, "https": 443}
HOST = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?")
PATH = re.compile(r"(/[A-Za-z0-9_-]+)*")
OURS = frozenset(
    (
        *("api", "audit", "bytes", "consoles", "filters", "guest", "healthz", "hosts", "images", "jsi18n", "link"),
        *("login", "logout", "me", "networks", "operations", "palette", "people", "pools", "projects", "recordings"),
        *("secrets", "setup", "static", "vms", "volumes", "ws"),
    )
)
"""What our own addresses begin with. A path of that name would be taken off where it is no path but a page."""


@dataclass(frozen=True)
class PublicUrl:
    """`https://example.org:8443/webvirt`: `host` as a browser writes it, `port` None where it is the scheme's own,
    `path` empty or without a slash at its end."""

    scheme: str
    host: str
    port: int | None
    path: str

    @property
    def origin(self) -> str:
        """As browsers say it of a page: without the path."""
        return f"{self.scheme}://{self.host}" + (f":{self.port}" if self.port else "")

    @property
    def is_https(self) -> bool:
        return self.scheme == "https"

    @property
    def jar(self) -> str:
        """What the names of our cookies begin with.

        Browsers keep one jar for all ports of a host, and send a cookie of the whole host to each path of it. The
        prefixes make them refuse what another host of the domain, or a page without TLS, tries to plant.
        """
        ours = f"webvirt-{self.port}" if self.port else "webvirt"
        if not self.is_https:
            return ours
        return f"__Secure-{ours}" if self.path else f"__Host-{ours}"

    def __str__(self) -> str:
        return self.origin + self.path


def read(text: str) -> PublicUrl:
    """The address, or ValueError with what has to be changed about it."""
    try:
        parts = urlsplit(text.strip())
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise ValueError(f"must be an address: {error}.") from None
    if parts.scheme not in DEFAULT_PORTS or not host or parts.username or parts.query or parts.fragment:
        raise ValueError("must look like https://vms.example.org, with a port or a path where there is one.")
    path = parts.path.rstrip("/")
    if not PATH.fullmatch(path):
        raise ValueError("has a path of other characters than letters, digits, - and _.")
    if path.split("/")[1:2] and path.split("/")[1] in OURS:
        raise ValueError(f"has a path that begins with /{path.split('/')[1]}, which is an address of webvirt's own.")
    return PublicUrl(parts.scheme, as_browsers_write(host), None if port == DEFAULT_PORTS[parts.scheme] else port, path)


def as_browsers_write(host: str) -> str:
    """A name in ASCII and small letters, an IPv6 address short and in brackets."""
    if ":" in host:
        try:
            return f"[{IPv6Address(host).compressed}]"
        except AddressValueError:
            raise ValueError("has no proper IPv6 address.") from None
    try:
        ascii_name = host.encode("idna").decode().lower()
    except UnicodeError:
        raise ValueError("has no proper host name.") from None
    if not HOST.fullmatch(ascii_name):
        raise ValueError("has no proper host name.")
    return ascii_name

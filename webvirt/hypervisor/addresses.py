"""Host addresses: typed parts, checked by full match, made into a connection URI and nothing else.

libvirt's URIs can run programs and read files (`command=`, `socket=`, `keyfile=`), so none is ever taken from a
person; see also `libvirt.org/uri.html`. This module needs no libvirt, so the doors may check an address before it
is kept.
"""

from __future__ import annotations

import ipaddress
import re

from webvirt.hypervisor.errors import InvalidSpec
from webvirt.hypervisor.types import HostAddress, Transport

LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
HOSTNAME = re.compile(rf"{LABEL}(?:\.{LABEL})*", re.ASCII)
USER = re.compile(r"[a-z_][a-z0-9_-]{0,31}", re.ASCII)
DEFAULT_PORTS = {Transport.SSH: 22, Transport.TLS: 16514, Transport.TCP: 16509}


def check_address(address: HostAddress) -> None:
    """Raise InvalidSpec, with a sentence for the person, unless every part is what it should be."""
    if address.transport in (Transport.LOCAL, Transport.TEST):
        if address.hostname or address.port or address.user:
            raise InvalidSpec("A local connection has no host name, port or user: leave them empty.")
        return
    if not is_hostname(address.hostname):
        raise InvalidSpec("The host name must be a DNS name or an IP address, such as vm1.example.org or 192.0.2.7.")
    if address.port is not None and not 1 <= address.port <= 65535:
        raise InvalidSpec("The port must be between 1 and 65535.")
    if address.user and address.transport != Transport.SSH:
        raise InvalidSpec("Only SSH takes a user.")
    if address.user and not USER.fullmatch(address.user):
        raise InvalidSpec("The user must be a plain account name: small letters, digits, '_' and '-'.")


def is_hostname(text: str) -> bool:
    """Whether it is a DNS name (RFC 1123) or an IP address, and nothing but that."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return len(text) <= 253 and bool(HOSTNAME.fullmatch(text)) and not is_number_like(text)
    return "%" not in text


def is_number_like(text: str) -> bool:
    """Spellings such as 2130706433 or 0177.0.0.1, which resolvers read as addresses and people do not."""
    return bool(re.fullmatch(r"[0-9.]+|0[xX].*", text))

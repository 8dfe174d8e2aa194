"""Host addresses: typed parts, checked by full match, made into a connection URI and nothing else.

libvirt's URIs can run programs and read files (`command=`, `socket=`, `keyfile=`), so none is ever taken from a
person; see also `libvirt.org/uri.html`. This module needs no libvirt, so the doors may check an address before it
is kept.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import ipaddress
import re
import shlex
from urllib.parse import quote

from webvirt.hypervisor.errors import InvalidSpec
from webvirt.hypervisor.types import HostAddress, SourceAddress, SourceKind, Transport

LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
HOSTNAME = re.compile(rf"{LABEL}(?:\.{LABEL})*", re.ASCII)
USER = re.compile(r"[a-z_][a-z0-9_-]{0,31}", re.ASCII)
PASSWORD = re.compile(r"[^\x00-\x1f\x7f\ud800-\udfff]{1,256}")
SIGN_IN = re.compile(r"[^\x00-\x20\x7f:\ud800-\udfff]{1,128}")
"""Who signs in to VMware: `root`, `administrator@vsphere.local` or `DOMAIN\\name`."""
STEP = re.compile(r"[^\x00-\x1f\x7f\ud800-\udfff\ufffe\uffff/?#%\\]{1,80}")
"""Of the way to an ESXi within a vCenter."""
HOST_KEY = re.compile(r"(ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(?:256|384|521)) ([A-Za-z0-9+/]{40,4000}={0,2})", re.ASCII)
KINDS_OF_KEYS = {"ssh-ed25519": "ed25519", "ssh-rsa": "rsa"}
"""As people call them; the others are ECDSA."""
DEFAULT_PORTS = {Transport.SSH: 22, Transport.TLS: 16514, Transport.TCP: 16509}


def check_address(address: HostAddress) -> None:
    """Raise InvalidSpec, with a sentence for the person, unless every part is what it should be."""
    if address.transport in (Transport.LOCAL, Transport.TEST):
        if address.hostname or address.port or address.user or address.password:
            raise InvalidSpec("A local connection has no host name, port, user or password: leave them empty.")
        return
    if not is_hostname(address.hostname):
        raise InvalidSpec("The host name must be a DNS name or an IP address, such as vm1.example.org or 192.0.2.7.")
    if address.port is not None and not 1 <= address.port <= 65535:
        raise InvalidSpec("The port must be between 1 and 65535.")
    if address.user and not USER.fullmatch(address.user):
        raise InvalidSpec("The user must be a plain account name: small letters, digits, '_' and '-'.")
    if address.password:
        check_password(address)


def check_password(address: HostAddress) -> None:
    if address.transport == Transport.SSH:
        raise InvalidSpec("SSH takes no password: it signs in with our key.")
    if not address.user:
        raise InvalidSpec("A password needs the user that it belongs to.")
    if not PASSWORD.fullmatch(address.password):
        raise InvalidSpec("The password must be one line of at most 256 characters.")


def check_source(source: SourceAddress) -> None:
    """The same for another hypervisor."""
    if not source.is_vmware:
        if source.password or source.path or source.unverified:
            raise InvalidSpec("By SSH we sign in with our key: leave out the password, the path and the certificate.")
        check_address(source.host)
        return
    check_address(HostAddress(Transport.TLS, source.hostname, source.port))
    if not SIGN_IN.fullmatch(source.user) or not PASSWORD.fullmatch(source.password):
        raise InvalidSpec("VMware asks for a user and a password, each of one line.")
    steps = source.path.split("/") if source.path else []
    if any(not STEP.fullmatch(step) or step in (".", "..") for step in steps):
        raise InvalidSpec("The path is names with '/' between them, such as Datacenter/Cluster/esx1.example.org.")
    if (source.kind == SourceKind.VPX) != (len(steps) > 1):
        raise InvalidSpec("A vCenter needs the path to one of its hosts, and an ESXi has none.")


def source_place(source: SourceAddress) -> str:
    """`HOST[:PORT]` as a URI has it."""
    name = f"[{source.hostname}]" if ":" in source.hostname else source.hostname
    return f"{name}:{source.port}" if source.port else name


def source_path(source: SourceAddress) -> str:
    """The part of its URI after the host: to what of it we talk."""
    if source.is_vmware:
        return "/".join(quote(step, safe="") for step in source.path.split("/"))
    # VirtualBox keeps its machines by account.
    return "session" if source.kind == SourceKind.VBOX else "system"


def shown_source(source: SourceAddress) -> str:
    """Its URI as a person would type it; only ever shown, never opened."""
    driver = source.kind if source.is_vmware else f"{source.kind}+ssh"
    user = f"{quote(source.user, safe='')}@" if source.user else ""
    query = "?no_verify=1" if source.unverified else ""
    return f"{driver}://{user}{source_place(source)}/{source_path(source)}{query}"


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


def kind_of(key: str) -> str:
    """What people call a host's key: ed25519, rsa or ecdsa."""
    return KINDS_OF_KEYS.get(key.partition(" ")[0], "ecdsa")


def fingerprint(key: str) -> str:
    """`SHA256:...` of a host's key, as `ssh-keygen -l` shows it. Raises InvalidSpec for what is no key."""
    found = HOST_KEY.fullmatch(key)
    try:
        if not found:
            raise InvalidSpec("That is no key of a host.")
        digest = hashlib.sha256(base64.b64decode(found[2], validate=True)).digest()
    except binascii.Error:
        raise InvalidSpec("That is no key of a host.") from None
    return f"SHA256:{base64.b64encode(digest).decode().rstrip('=')}"


def shown(keys: tuple[str, ...]) -> str:
    """`ED25519 SHA256:...` of each."""
    return ", ".join(f"{kind_of(key).upper()} {fingerprint(key)}" for key in keys) or "none"


def line_for(public_key: str) -> str:
    """What has an account accept our key, typed by that account itself; it opens no terminal and no agent."""
    line = shlex.quote(f"restrict,port-forwarding {public_key}")
    return f"mkdir -pm 700 ~/.ssh && echo {line} >> ~/.ssh/authorized_keys && chmod 600 ~/.ssh/authorized_keys"

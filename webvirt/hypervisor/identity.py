"""Whether a host is who it was: the keys that it shows to anybody, against those that a person confirmed.

ssh compares them as well, whenever it connects. This looks without signing in, so that a change is seen while older
connections stand, and before anything is sent.
"""

from __future__ import annotations

import subprocess

from webvirt.hypervisor.addresses import DEFAULT_PORTS, HOST_KEY, kind_of, shown
from webvirt.hypervisor.errors import IdentityChanged, IdentityUnknown
from webvirt.hypervisor.types import HostAddress, Transport

SCAN_SECONDS = 3


def verify(address: HostAddress) -> None:
    """Raise IdentityUnknown or IdentityChanged unless an SSH host is known and shows what it is known by.

    One that does not answer is neither: whoever connects sees that. Other transports see to it by themselves.
    """
    if address.transport != Transport.SSH:
        return
    if not address.keys:
        offered = offered_keys(address)
        raise IdentityUnknown(f"Nobody has confirmed the host's key yet; it shows {shown(offered)}.", offered)
    offered = offered_keys(address)
    if offered and is_another(address.keys, offered):
        raise IdentityChanged(
            f"The host's key has changed: it was {shown(address.keys)}, it shows {shown(offered)}.", offered
        )


def shows_known_key(address: HostAddress) -> bool:
    """Whether a host still shows a key of its own, by one connection; for looking often."""
    return bool(set(offered_keys(address, [kind_of(address.keys[0])])) & set(address.keys))


def is_another(known: tuple[str, ...], offered: tuple[str, ...]) -> bool:
    """Whether what is offered is not the host that is known: another key of a kind that it had, or none of its own."""
    types = {key.split()[0]: key for key in known}
    return not set(known) & set(offered) or any(types.get(key.split()[0], key) != key for key in offered)


def offered_keys(address: HostAddress, kinds: list[str] | None = None) -> tuple[str, ...]:
    """The host's public keys, as it shows them to anybody, of all kinds or of some; none if it does not answer."""
    port = address.port or DEFAULT_PORTS[address.transport]
    only = ["-t", ",".join(kinds)] if kinds else []
    command = ["ssh-keyscan", "-T", str(SCAN_SECONDS), *only, "-p", str(port), "--", address.hostname]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SCAN_SECONDS * 3, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ()
    found = {line.partition(" ")[2].strip() for line in done.stdout.splitlines()}
    return tuple(sorted(key for key in found if HOST_KEY.fullmatch(key)))

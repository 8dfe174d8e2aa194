"""What happens to the things of a host that are no domains."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ViewerEvent:
    """Somebody came to a domain's screen, or left it.

    `address` and `port` are where they come from, both empty for a socket without any; `local_address` is where they
    came to, and `auth` how the display asked who they are, in libvirt's word.
    """

    uuid: str
    is_there: bool
    address: str
    port: str
    local_address: str
    auth: str


@dataclass(frozen=True)
class ObjectEvent:
    """Something happened to a thing that is no domain. It names, it does not tell: the reader re-reads.

    `noun` is pool, network, secret, device, or interface for a device that is one of the network; `key` its uuid, a
    device's name; `what` is libvirt's word for the log.
    """

    noun: str
    key: str
    what: str

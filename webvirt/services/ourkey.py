"""The SSH key by which hosts let us in: made once, and changed without a host that is locked out."""

from __future__ import annotations

from webvirt.hypervisor import credentials
from webvirt.hypervisor.addresses import line_for
from webvirt.hypervisor.trial import accepts_next_key
from webvirt.hypervisor.types import Transport
from webvirt.models import Host


def make() -> None:
    """Make the key where there is none. Raises OSError."""
    credentials.make_our_key()


def begin_change() -> str:
    """Make the key to come, unless that was done; both are offered from now on. Returns the line that installs it."""
    credentials.make_next_key()
    return line_for(credentials.public_key(credentials.NEXT).read_text().strip())


def hosts_with_next_key() -> list[tuple[Host, bool]]:
    """Every host that is reached by SSH, and whether it lets us in by the key to come alone."""
    found = Host.objects.kept().filter(transport=Transport.SSH)
    return [(host, accepts_next_key(host.address)) for host in found]


def is_changing() -> bool:
    return credentials.public_key(credentials.NEXT).exists()


def end_change() -> None:
    """The key to come is the key; the one before is gone. Raises OSError."""
    credentials.take_next_key()

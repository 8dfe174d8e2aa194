"""What can go wrong at a hypervisor, in the few kinds that callers treat differently."""

from __future__ import annotations


class HypervisorError(Exception):
    """A call that failed; `str(error)` is libvirt's own sentence.

    `code` is libvirt's error number (`VIR_ERR_*`), or None where libvirt was never reached.
    """

    def __init__(self, message: str, *, code: int | None = None) -> None:
        super().__init__(message)
        self.code = code


class HostUnreachable(HypervisorError):
    """The host did not answer in time or the connection broke: whether the call was carried out is unknown."""


class HostRefused(HypervisorError):
    """The host answered, but does not let us in: authentication, host key, certificate or rights."""


class IdentityUnknown(HostRefused):
    """Nobody has confirmed yet that the keys which the host shows are its own; `offered` are those."""

    def __init__(self, message: str, offered: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.offered = offered


class IdentityChanged(IdentityUnknown):
    """The host shows another key than was confirmed, or a certificate that is not good: it was sent nothing."""


class CredentialsUnavailable(HostRefused):
    """We have a password for the host and cannot read it: its key is not here."""


class NotFound(HypervisorError):
    """There is no such domain, pool, volume or network on that host (any more)."""


class NotResponding(HypervisorError):
    """The guest's own process does not answer (libvirt could not get its lock or its monitor in time)."""


class WrongState(HypervisorError):
    """Refused because of the state the thing is in, such as starting what already runs."""


class InUse(WrongState):
    """Somebody else has what one alone can have."""


class Unsupported(HypervisorError):
    """This host's libvirt, hypervisor or guest cannot do that."""


class NoDisplay(Unsupported):
    """The machine has no display, or no serial line that leads to libvirt."""


class NotVnc(Unsupported):
    """The machine has displays, of which none speaks VNC."""


class InvalidSpec(HypervisorError):
    """What was asked for is not a valid definition or address."""

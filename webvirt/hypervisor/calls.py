"""The frame around every call to libvirt: its errors in our few kinds, at most four calls at once on a handle."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import libvirt

from webvirt.hypervisor import errors

T = TypeVar("T")

KINDS: dict[int, type[errors.HypervisorError]] = {
    libvirt.VIR_ERR_NO_DOMAIN: errors.NotFound,
    libvirt.VIR_ERR_NO_NETWORK: errors.NotFound,
    libvirt.VIR_ERR_NO_STORAGE_POOL: errors.NotFound,
    libvirt.VIR_ERR_NO_STORAGE_VOL: errors.NotFound,
    libvirt.VIR_ERR_NO_SECRET: errors.NotFound,
    libvirt.VIR_ERR_NO_NWFILTER: errors.NotFound,
    libvirt.VIR_ERR_NO_NODE_DEVICE: errors.NotFound,
    libvirt.VIR_ERR_NO_INTERFACE: errors.NotFound,
    libvirt.VIR_ERR_OPERATION_INVALID: errors.WrongState,
    libvirt.VIR_ERR_STORAGE_POOL_BUILT: errors.WrongState,
    libvirt.VIR_ERR_STORAGE_VOL_EXIST: errors.WrongState,
    libvirt.VIR_ERR_OPERATION_TIMEOUT: errors.NotResponding,
    libvirt.VIR_ERR_AGENT_UNRESPONSIVE: errors.NotResponding,
    libvirt.VIR_ERR_AGENT_UNSYNCED: errors.NotResponding,
    libvirt.VIR_ERR_NO_SUPPORT: errors.Unsupported,
    libvirt.VIR_ERR_OPERATION_UNSUPPORTED: errors.Unsupported,
    libvirt.VIR_ERR_CONFIG_UNSUPPORTED: errors.Unsupported,
    libvirt.VIR_ERR_ARGUMENT_UNSUPPORTED: errors.Unsupported,
    libvirt.VIR_ERR_XML_ERROR: errors.InvalidSpec,
    libvirt.VIR_ERR_XML_DETAIL: errors.InvalidSpec,
    libvirt.VIR_ERR_XML_INVALID_SCHEMA: errors.InvalidSpec,
    libvirt.VIR_ERR_INVALID_ARG: errors.InvalidSpec,
    libvirt.VIR_ERR_AUTH_FAILED: errors.HostRefused,
    libvirt.VIR_ERR_AUTH_UNAVAILABLE: errors.HostRefused,
    libvirt.VIR_ERR_AUTH_CANCELLED: errors.HostRefused,
    libvirt.VIR_ERR_ACCESS_DENIED: errors.HostRefused,
    libvirt.VIR_ERR_OPERATION_DENIED: errors.HostRefused,
    libvirt.VIR_ERR_NO_CONNECT: errors.HostUnreachable,
    libvirt.VIR_ERR_INVALID_CONN: errors.HostUnreachable,
}
CONNECTION_DOMAINS = (libvirt.VIR_FROM_RPC, libvirt.VIR_FROM_REMOTE)
CONNECTION_CODES = (libvirt.VIR_ERR_SYSTEM_ERROR, libvirt.VIR_ERR_INTERNAL_ERROR, libvirt.VIR_ERR_RPC)
REFUSALS = ("Permission denied", "Host key verification failed", "ertificate")
"""How a refusal reads where libvirt knows only that the connection did not come about."""
AT_ONCE = 4
"""libvirt answers five calls at once on a connection, and its pings need one of them."""
TURN_SECONDS = 40.0
"""A call that waits for a hung guest gives up after 30 s, so somebody else's turn ends before that."""
LOOK_SECONDS = 0.5
ABORT_AGAIN_SECONDS = 0.1


def broken(error: libvirt.libvirtError) -> bool:
    """Whether it is the connection that failed, not what was asked over it."""
    return error.get_error_domain() in CONNECTION_DOMAINS and error.get_error_code() in CONNECTION_CODES


def translated(error: libvirt.libvirtError) -> errors.HypervisorError:
    """libvirt's error as one of our kinds, with its own sentence."""
    code = error.get_error_code()
    text = error.get_error_message() or str(error)
    if broken(error):
        refused = any(sign in text for sign in REFUSALS)
        return (errors.HostRefused if refused else errors.HostUnreachable)(text, code=code)
    return KINDS.get(code, errors.HypervisorError)(text, code=code)


@contextmanager
def translating() -> Iterator[None]:
    """Translate what libvirt raises inside."""
    try:
        yield
    except libvirt.libvirtError as error:
        raise translated(error) from None


def told(things: Iterable[Any], parse: Callable[[str], T | None]) -> list[T]:
    """What each thing says of itself, parsed, by one call for each; what has gone since it was listed is left out."""
    found = []
    for thing in things:
        with suppress(errors.NotFound), translating():
            found.append(parse(thing.XMLDesc(0)))
    return [each for each in found if each is not None]


class Handle:
    """A libvirt connection with its frame. May be used from several threads."""

    def __init__(self, raw: Any) -> None:
        self._raw = raw
        self._slots = threading.BoundedSemaphore(AT_ONCE)

    @contextmanager
    def call(self) -> Iterator[Any]:
        """The raw connection for the calls inside, errors translated. Not to be nested in one thread."""
        if not self._slots.acquire(timeout=TURN_SECONDS):
            raise errors.NotResponding("The calls before this one have not returned.")
        try:
            if self._raw is None:
                raise errors.HostUnreachable("The connection was closed.")
            with translating():
                yield self._raw
        finally:
            self._slots.release()

    @contextmanager
    def domain(self, uuid: str) -> Iterator[Any]:
        """A domain, looked up afresh: objects of an older connection are dead, names change."""
        with self.call() as raw:
            yield raw.lookupByUUIDString(uuid)

    @contextmanager
    def pool(self, uuid: str) -> Iterator[Any]:
        """A storage pool, looked up afresh."""
        with self.call() as raw:
            yield raw.storagePoolLookupByUUIDString(uuid)

    @contextmanager
    def volume(self, uuid: str, name: str) -> Iterator[Any]:
        """A volume of a pool, looked up afresh."""
        with self.pool(uuid) as pool:
            yield pool.storageVolLookupByName(name)

    def release(self) -> Any:
        """Give the raw connection away, to be closed; None if that was done before. Later calls fail."""
        raw, self._raw = self._raw, None
        return raw


def watched(
    work: Callable[[], None], look: Callable[[], None], abort: Callable[[], None] = lambda: None
) -> tuple[errors.HypervisorError | None, BaseException | None]:
    """Do `work`, one long call, in a thread, and `look` about twice a second meanwhile.

    What `look` raises ends the looking; from then on `abort` is called until `work` is over, however long that takes.
    Returns what `work` raised and what `look` raised, for the caller to judge.
    """
    failures: list[errors.HypervisorError] = []

    def run() -> None:
        try:
            work()
        except errors.HypervisorError as error:
            failures.append(error)

    thread = threading.Thread(target=run, name="long-call", daemon=True)
    thread.start()
    stopped: BaseException | None = None
    thread.join(LOOK_SECONDS)
    while thread.is_alive():
        if stopped is None:
            try:
                look()
            except BaseException as error:
                stopped = error
        if stopped is not None:
            # Again until it heeds: a job that has not quite begun cannot be aborted.
            abort()
        thread.join(LOOK_SECONDS if stopped is None else ABORT_AGAIN_SECONDS)
    return (failures[0] if failures else None), stopped

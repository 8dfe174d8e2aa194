"""A handle to one host: opened within a deadline, pinged by libvirt itself, dead for good once it breaks.

`virConnectOpen` on a frozen daemon never returns and cannot be interrupted, so it runs in a thread that is left to
itself when the deadline passes; while one hangs, the next attempt at the same address fails at once.
"""

from __future__ import annotations

import errno
import os
import socket
import threading
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import libvirt

from webvirt.hypervisor import credentials, events
from webvirt.hypervisor.addresses import DEFAULT_PORTS, check_address, check_source, source_path, source_place
from webvirt.hypervisor.calls import Handle, translated
from webvirt.hypervisor.devices import DeviceCalls
from webvirt.hypervisor.domains import DomainCalls
from webvirt.hypervisor.errors import HostUnreachable, HypervisorError, IdentityChanged, IdentityUnknown
from webvirt.hypervisor.filters import FilterCalls
from webvirt.hypervisor.host import HostCalls
from webvirt.hypervisor.networks import NetworkCalls
from webvirt.hypervisor.secrets import SecretCalls
from webvirt.hypervisor.sources import SourceCalls, in_words
from webvirt.hypervisor.storage import StorageCalls
from webvirt.hypervisor.types import HostAddress, SourceAddress, Transport

KEEPALIVE = (2, 3)
"""Seconds between pings and how many may stay unanswered: a dead connection fails its calls within 7 to 13 s."""
PORT_SECONDS = 3.0
ANOTHER_CERTIFICATE = "verify peer's certificate"
CLOSE_SECONDS = 1.0
ASKED_FOR = (libvirt.VIR_CRED_AUTHNAME, libvirt.VIR_CRED_PASSPHRASE)
ANSWER = 4
"""Where libvirt's binding takes the answer to one of its questions."""
ANOTHER_KEY = (os.strerror(errno.EOVERFLOW), "Host key verification failed")
"""What libvirt says of a changed host key; the first instead of ssh's own words, which are longer than it hands on."""

_loop_pid = 0
_abandoned: dict[tuple[int, HostAddress], Opening] = {}
"""By process and address: the opening that did not come back in time."""
_guard = threading.Lock()


def uri_of(address: HostAddress) -> str:
    """libvirt's URI of an address. Raises InvalidSpec for parts that are not what they should be."""
    check_address(address)
    if address.transport == Transport.LOCAL:
        return "qemu:///system"
    if address.transport == Transport.TEST:
        # Through the daemon, so that all our processes see the same imagined host.
        return "test+unix:///default"
    name = f"[{address.hostname}]" if ":" in address.hostname else address.hostname
    # libvirt asks for the user of a password when it is time.
    user = f"{address.user}@" if address.user and address.transport == Transport.SSH else ""
    port = f":{address.port}" if address.port else ""
    return f"qemu+{address.transport.value}://{user}{name}{port}/system{uri_query(address)}"


def uri_query(address: HostAddress) -> str:
    """What of our own goes into the URI: never a prompt on our terminal, our ssh, our certificates."""
    if address.transport == Transport.SSH:
        return f"?no_tty=1&command={quote(str(credentials.ssh_program(address.keys)))}"
    if address.transport == Transport.TLS:
        return f"?pkipath={quote(str(credentials.tls_folder()))}"
    return ""


def source_uri(source: SourceAddress) -> str:
    """libvirt's URI of another hypervisor. Raises InvalidSpec for parts that are not what they should be."""
    check_source(source)
    place, path = source_place(source), source_path(source)
    if source.is_vmware:
        # It is asked for the user and the password when it is time; it answers no question for us.
        return f"{source.kind}://{place}/{path}?transport=https&auto_answer=0&no_verify={int(source.unverified)}"
    user = f"{source.user}@" if source.user else ""
    return f"{source.kind}+ssh://{user}{place}/{path}{uri_query(source.host)}"


def run_event_loop() -> None:
    """Start libvirt's event loop in a thread, once in a process; keepalive and events live on it.

    A fork inherits the loop's wake-up calls, shared with its parent, but not the thread: now and then it would hang.
    """
    global _loop_pid  # noqa: PLW0603
    with _guard:
        if _loop_pid == os.getpid():
            return
        assert not _loop_pid, "libvirt was opened before this process was forked: open it only after"
        # libvirt prints every error to standard error otherwise; we raise them.
        libvirt.registerErrorHandler(lambda _context, _error: None, None)
        libvirt.virEventRegisterDefaultImpl()
        threading.Thread(target=_spin, name="libvirt-events", daemon=True).start()
        _loop_pid = os.getpid()


def _spin() -> None:
    while True:
        libvirt.virEventRunDefaultImpl()


def connect(address: HostAddress, *, deadline: float = 10.0, keepalive: tuple[int, int] = KEEPALIVE) -> Connection:
    """Open a host within `deadline` seconds. Raises HostUnreachable, HostRefused or InvalidSpec; of an SSH host that
    nobody has confirmed IdentityUnknown, and of one with another key or certificate IdentityChanged, before we sign in.

    `keepalive` is the seconds between pings and how many may stay unanswered. Open after a fork, never before one.
    """
    return Connection(address, opened(address, uri_of(address), deadline, keepalive))


def connect_source(source: SourceAddress, *, deadline: float = 20.0) -> SourceConnection:
    """The same for another hypervisor, with a sentence where our libvirt, or the one there, has no driver for it."""
    # What talks HTTPS answers no pings.
    keepalive = None if source.is_vmware else KEEPALIVE
    with in_words(source):
        return SourceConnection(source.host, opened(source.host, source_uri(source), deadline, keepalive))


def opened(address: HostAddress, uri: str, deadline: float, keepalive: tuple[int, int] | None) -> Any:
    run_event_loop()
    key = (os.getpid(), address)
    with _guard:
        before = _abandoned.get(key)
        if before is not None and before.is_alive():
            raise HostUnreachable("An earlier attempt to connect still hangs: libvirt does not answer there.")
        _abandoned.pop(key, None)
    opening = Opening(address, uri, keepalive)
    opening.start()
    opening.join(deadline)
    with _guard:
        if opening.raw is None and opening.error is None:
            opening.abandoned = True
            _abandoned[key] = opening
            raise HostUnreachable(f"libvirt did not answer within {deadline:g} s.")
    if opening.error is not None:
        raise opening.error
    return opening.raw


class Opening(threading.Thread):
    """One attempt to open a host; ends in `raw` or `error`, unless it was `abandoned` before.

    Without a `keepalive` it is a driver that runs in our own process, and knows neither pings nor flags.
    """

    def __init__(self, address: HostAddress, uri: str, keepalive: tuple[int, int] | None) -> None:
        super().__init__(name=f"open-{address.hostname or address.transport}", daemon=True)
        self.address, self.uri, self.keepalive = address, uri, keepalive
        self.raw: Any = None
        self.error: HypervisorError | None = None
        self.abandoned = False

    def run(self) -> None:
        raw, error = None, None
        try:
            raw = self.open()
        except libvirt.libvirtError as failure:
            error = translated(failure)
        except HypervisorError as failure:
            error = failure
        except OSError as failure:
            error = HypervisorError(str(failure))
        with _guard:
            self.raw, self.error = raw, error
            too_late = self.abandoned
        if raw is not None and too_late:
            hang_up(raw)

    def open(self) -> Any:
        if self.address.transport == Transport.SSH:
            if not self.address.keys:
                raise IdentityUnknown("Nobody has confirmed the host's key yet.")
            # Its own deadline is in our ssh configuration; a connection without a word looks like an attack to sshd.
            credentials.prepare_ssh(self.address.keys)
        else:
            knock(self.address)
        # The test driver knows no flags.
        knows_flags = self.keepalive is not None and self.address.transport != Transport.TEST
        flags = libvirt.VIR_CONNECT_NO_ALIASES if knows_flags else 0
        try:
            raw = libvirt.openAuth(self.uri, [list(ASKED_FOR), self.answer, None], flags)
        except libvirt.libvirtError as error:
            if self.address.transport == Transport.SSH and any(words in str(error) for words in ANOTHER_KEY):
                raise IdentityChanged("ssh refuses the host: its key is not the one that was confirmed.") from None
            if self.address.transport == Transport.TLS and ANOTHER_CERTIFICATE in str(error):
                raise IdentityChanged(
                    "The host's certificate is not signed by the authority that is trusted, or names another host."
                ) from None
            raise
        if self.keepalive is not None:
            raw.setKeepAlive(*self.keepalive)
        return raw

    def answer(self, questions: list[list[Any]], _data: object) -> int:
        """Sign in where the host asks for a user and a password; without one, being asked is a refusal."""
        if not self.address.password:
            return -1
        for question in questions:
            question[ANSWER] = self.address.user if question[0] == ASKED_FOR[0] else self.address.password
        return 0


def knock(address: HostAddress) -> None:
    """See that something answers at a remote address; a black hole is found in 3 s instead of 135."""
    port = address.port or DEFAULT_PORTS.get(address.transport)
    if port is None:
        return
    try:
        socket.create_connection((address.hostname, port), timeout=PORT_SECONDS).close()
    except TimeoutError:
        raise HostUnreachable(f"{address.hostname} port {port}: no answer within {PORT_SECONDS:g} s.") from None
    except OSError as error:
        raise HostUnreachable(f"{address.hostname} port {port}: {error.strerror or error}") from None


def hang_up(raw: Any, callbacks: Iterable[events.Registered] = ()) -> None:
    """Close a raw connection for good; each callback holds on to it. A broken one is no error."""
    try:
        raw.unregisterCloseCallback()
        for callback in callbacks:
            callback.deregister(raw)
    except libvirt.libvirtError:
        # Broken, or nothing was registered: closing is all that is left.
        pass
    try:
        raw.close()
    except libvirt.libvirtError:
        return


class Connection:
    """An open host. Its calls may come from several threads; each may take as long as `KEEPALIVE` lets it."""

    def __init__(self, address: HostAddress, raw: Any) -> None:
        self.address = address
        self._handle = Handle(raw)
        self._callbacks: list[events.Registered] = []
        self.host = HostCalls(self._handle, address)
        self.domains = DomainCalls(self._handle, address)
        self.networks = NetworkCalls(self._handle, address)
        self.filters = FilterCalls(self._handle)
        self.devices = DeviceCalls(self._handle)
        self.secrets = SecretCalls(self._handle)
        self.storage = StorageCalls(self._handle)

    def listen(self, on_event: Callable[[events.HostEvent], None], on_close: Callable[[str], None]) -> None:
        """Have both called from libvirt's own thread; they may do nothing but enqueue."""
        self._callbacks += events.register(self._handle, on_event, on_close)

    def close(self) -> None:
        """Let go of the handle; one that is broken already is no error, one that hangs is left to itself."""
        raw = self._handle.release()
        if raw is None:
            return
        thread = threading.Thread(target=hang_up, args=[raw, self._callbacks], name="hang-up", daemon=True)
        thread.start()
        thread.join(CLOSE_SECONDS)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class SourceConnection(Connection):
    """Another hypervisor that is open: its machines, and its volumes where its libvirt hands them out."""

    def __init__(self, address: HostAddress, raw: Any) -> None:
        super().__init__(address, raw)
        self.machines = SourceCalls(self._handle)

"""What a runner gets: its operation, the parameters as typed, the host's handle, and how to report."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Protocol, cast

from django.utils.translation import gettext_noop
from redis.exceptions import RedisError

from webvirt.hypervisor.connection import Connection, connect
from webvirt.hypervisor.errors import HypervisorError, IdentityChanged
from webvirt.hypervisor.types import HostAddress
from webvirt.models import Domain, Filter, Host, HostState, Network, Operation, Pool, Secret, Volume
from webvirt.services import operations, quotas
from webvirt.services.access import Access
from webvirt.services.catalogue import BY_KIND, Spec
from webvirt.services.runners.taking import take
from webvirt.services.subjects import Subject, found
from webvirt.services.unsealing import way_to

Result = dict[str, Any] | None
REPORT_SECONDS = 0.5

_open: dict[tuple[int, HostAddress], Connection] = {}
_opening = threading.Lock()


def connection_to(address: HostAddress) -> Connection:
    """This process's handle to a host, kept between operations; a stale one is replaced.

    Keyed by process as well: a handle that came over a fork is dead on both sides if touched.
    """
    key = (os.getpid(), address)
    with _opening:
        kept = _open.get(key)
        if kept is not None:
            try:
                kept.host.ping()
            except HypervisorError:
                _open.pop(key).close()
            else:
                return kept
        _open[key] = connect(address)
        return _open[key]


def connection_with(host: Host) -> Connection:
    """The handle to a host. Raises IdentityChanged where an older one may stand, and nothing is to go over it."""
    if host.state == HostState.CHANGED:
        raise IdentityChanged(gettext_noop("The host shows another key than the one that was confirmed."))
    return connection_to(way_to(host))


class Still(Exception):
    """Raised by a runner that waits for somebody: it lets go of its worker until it is woken."""


class Failed(Exception):
    """A runner's own finding that it cannot be done: a sentence, and what the person can do."""

    def __init__(self, sentence: str, remedy: str = "") -> None:
        super().__init__(sentence)
        self.remedy = remedy


class Sink(Protocol):
    """Who waits for a file."""

    def begin(self, name: str, size: int) -> None:
        """Say what comes: `size` bytes under this name."""

    def write(self, data: bytes, meanwhile: Callable[[], None]) -> None:
        """Hand on the next of them, as fast as they are taken; `meanwhile` is called now and then if they are not.

        Raises Cancelled when nobody waits any more.
        """


@dataclass
class Context:
    """One operation being carried out; `to` is for what is fetched by somebody.

    `host` is where: that of its object, unless it is a part that is carried out `on` another.
    """

    operation: Operation
    to: Sink | None = None
    elsewhere: Host | None = None
    _reported_at: float = field(default=0.0, init=False)

    @cached_property
    def spec(self) -> Spec:
        """The parameters, with the hidden ones in their places: those can be taken once."""
        kind = BY_KIND[self.operation.kind].spec
        try:
            taken = take(self.operation, kind)
        except RedisError:
            taken = None
        if taken is None:
            raise Failed(
                gettext_noop("The value that was entered is not kept any longer."),
                gettext_noop("Enter it again: it is kept for a short time only."),
            )
        return kind.model_validate(self.operation.parameters | taken)

    @property
    def access(self) -> Access:
        """What whoever asked for it holds by now."""
        return operations.access_for(self.operation.user)

    @property
    def host(self) -> Host:
        return self.elsewhere or self.operation.host

    def on(self, host: Host) -> Context:
        """The same operation where a part of it is carried out on another host."""
        return replace(self, elsewhere=host)

    @property
    def connection(self) -> Connection:
        return self.connection_with(self.host)

    def connection_with(self, host: Host) -> Connection:
        """The handle to another host, for what goes from one to the other."""
        return connection_with(host)

    @property
    def sink(self) -> Sink:
        assert self.to is not None, f"{self.operation.kind} is fetched by nobody"
        return self.to

    @property
    def domain(self) -> Domain:
        assert self.operation.domain is not None, f"{self.operation.kind} is not about a domain"
        return self.operation.domain

    @cached_property
    def subject(self) -> Subject:
        """What it is done to, read again: it may have changed while the operation waited."""
        subject = found(self.operation.subject)
        if subject is None:
            raise Failed(gettext_noop("It is not there any more."))
        return subject

    @property
    def pool(self) -> Pool:
        return self.subject.pool if isinstance(self.subject, Volume) else cast(Pool, self.subject)

    @property
    def volume(self) -> Volume:
        return cast(Volume, self.subject)

    @property
    def network(self) -> Network:
        return cast(Network, self.subject)

    @property
    def filter(self) -> Filter:
        return cast(Filter, self.subject)

    @property
    def secret(self) -> Secret:
        return cast(Secret, self.subject)

    def reserve(self, amounts: quotas.Amounts) -> None:
        """See that its project has room for so much, which may be more than when it was asked for. Raises Failed."""
        try:
            quotas.reserve_more(self.operation, amounts)
        except quotas.Exceeded as error:
            remedy = gettext_noop("Delete what is not needed, or ask an administrator for a larger quota.")
            raise Failed(error.sentences[0], remedy) from None

    def progress(self, phase: str, done: int | None = None, total: int | None = None) -> None:
        """Report, at most twice a second; raises Cancelled when somebody asked to cancel."""
        now = time.monotonic()
        if now - self._reported_at >= REPORT_SECONDS:
            self._reported_at = now
            operations.report(self.operation, phase, done, total)

"""What a verb is: one row of the catalogue, and how its equivalent virsh command is written."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from django.db.models import QuerySet
from django.utils.functional import Promise

from webvirt.hypervisor.types import Transport
from webvirt.models import Role, Volume
from webvirt.services.catalogue.specs import NoParameters, Spec
from webvirt.services.quotas import Amounts
from webvirt.services.subjects import Subject, host_of


class Queue(StrEnum):
    """`SLOW` is for what takes minutes, so that it never holds up a Start.

    `BYTES` is for what waits to be fetched: nobody is sent it, and the process that carries the bytes runs it.
    """

    FAST = "fast"
    SLOW = "slow"
    BYTES = "bytes"


class Group(StrEnum):
    """Where a verb stands in the menu, in this order."""

    START = "start"
    STOP = "stop"
    CHANGE = "change"
    OTHER = "other"


Virsh = Callable[[Subject, Any], str]
Rows = Callable[[str], QuerySet[Any]]
"""What somebody may know of, by noun: `Access.rows`."""


@dataclass(frozen=True)
class Reach:
    """Something else that a verb touches: whoever asks must be allowed `kind` on it.

    `parameter` names it; empty where it is what the object is in, which one need not know of.
    """

    parameter: str
    noun: str
    pk: int
    kind: str


@dataclass(frozen=True)
class Verb:
    """One row: everything any floor needs to know of a verb.

    `states` are the object's states in which it makes sense (None: any but missing); `exclusive` takes the busy lock;
    `cancellable` says that its runner looks at the cancel mark while it runs; `danger` asks before doing it, `by_name`
    has the name typed as well; `bulk` offers it for many at once; `made_on` is the noun that a verb is done to which
    makes something new (a pool on a host); `session` marks what is allowed or not but is no operation (consoles).
    """

    kind: str
    label: Promise
    role: Role
    virsh: Virsh
    states: frozenset[str] | None = None
    spec: type[Spec] = NoParameters
    exclusive: bool = True
    cancellable: bool = False
    queue: Queue = Queue.FAST
    group: Group = Group.OTHER
    icon: str = ""
    danger: Promise | None = None
    session: bool = False
    bulk: bool = False
    needs_host: bool = True
    made_on: str | None = None
    by_name: bool = False
    resumable: bool = False
    """It may lie still while it waits for somebody, and another worker goes on where one died."""
    shared: bool = False
    """It reads its object for long: beside others of the kind, but beside no exclusive verb."""
    writes: bool = False
    """It has the machine run, or changes what is on its disks: never done to a template."""
    host_role: Role | None = None
    """What one has to be on the object's host besides, where it makes something new there."""
    everywhere: bool = False
    """It leads to where no grant on an object says anything of: only what is held on everything counts."""
    reaches: Callable[[Any, Any], tuple[Reach, ...]] | None = None
    """What else it touches, by its object and its parameters."""
    forbids: Callable[[Any], str] | None = None
    """Tells what forbids it on an object beyond its state, in a part of a sentence; empty when nothing does."""
    inside: bool = False
    """It makes something that can belong to a project: who may do it there may do it with what the project may use."""
    into: Callable[[Any, Any], int | None] | None = None
    """The id of the project whose quota it takes something of, by its object and its parameters."""
    takes: Callable[[Any, Any], Amounts] | None = None
    """How much of it that is."""
    misfits: Callable[[Rows, Any, Any], dict[str, str]] | None = None
    """Tells which parameters do not go with the object: of the fields that name others, looked up in what the asker may
    know of, and a sentence for each."""

    @property
    def noun(self) -> str:
        return self.kind.partition(".")[0]

    @property
    def on(self) -> str:
        """The noun of what it is done to; empty for what is done to nothing that is there."""
        return self.noun if self.made_on is None else self.made_on

    @property
    def name(self) -> str:
        """As it stands in URLs, below the object's: `start` of `domain.start`, `create-pool` of `pool.create`."""
        word = self.kind.partition(".")[2]
        return word if self.on == self.noun or not self.on else f"{word}-{self.noun}"


def project_of(target: Subject, spec: Any) -> int | None:
    """The project that the parameters name; 0 names none."""
    return spec.project or None


def project_or_its_own(target: Subject, spec: Any) -> int | None:
    """The same; what is like another belongs to that one's project where nobody says otherwise."""
    return getattr(target, "project_id", None) if spec.project is None else spec.project or None


def virsh(word: str) -> Virsh:
    """`virsh WORD NAME`."""

    def command(target: Subject, spec: Any) -> str:
        named = f"--pool {shlex.quote(target.pool.name)} " if isinstance(target, Volume) else ""
        return f"virsh -c {shlex.quote(shown_uri(target))} {word} {named}{shlex.quote(target.name)}"

    return command


def virsh_autostart(word: str) -> Virsh:
    """`virsh WORD [--disable] NAME`."""

    def command(target: Subject, spec: Any) -> str:
        return virsh(word if spec.enabled else f"{word} --disable")(target, spec)

    return command


def shown_uri(target: Subject) -> str:
    """The connection URI as a person would type it; only ever shown, never opened."""
    host = host_of(target)
    if host.transport == Transport.LOCAL:
        return "qemu:///system"
    if host.transport == Transport.TEST:
        return "test:///default"
    user = f"{host.user}@" if host.user else ""
    port = f":{host.port}" if host.port else ""
    return f"qemu+{host.transport}://{user}{host.hostname}{port}/system"


def nothing_on_the_host(target: Subject, spec: Any) -> str:
    return ""

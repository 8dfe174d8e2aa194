"""The one table of verbs. Buttons, API, rights, audit labels and the equivalent virsh command all come from it.

A new verb is one row here, one runner in `services/runners/`, and one test.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Self

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from webvirt.hypervisor.addresses import check_address
from webvirt.hypervisor.errors import InvalidSpec
from webvirt.hypervisor.types import METADATA_URI, HostAddress, Transport
from webvirt.models import Domain, Host, Role, Status

S = Status
TAG = re.compile(r"[\w.-]{1,40}")
KEYS_PER_CALL = 16


class Queue(StrEnum):
    """`SLOW` is for what takes minutes, so that it never holds up a Start."""

    FAST = "fast"
    SLOW = "slow"


class Group(StrEnum):
    """Where a verb stands in the menu, in this order."""

    START = "start"
    STOP = "stop"
    CHANGE = "change"
    OTHER = "other"


class Spec(BaseModel):
    """What a verb takes. Unknown fields are refused rather than ignored."""

    model_config = ConfigDict(extra="forbid")


def printable(text: str) -> str:
    """Refuse what XML cannot hold: control characters but tab and line ends, and lone surrogates."""
    if re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]", text):
        raise ValueError("holds characters that cannot be kept (control characters)")
    return text


def one_line(text: str) -> str:
    if re.search(r"[\r\n\t]", text):
        raise ValueError("must be one line")
    return printable(text)


def domain_name(name: str) -> str:
    """libvirt takes nearly anything; these names are also safe as file names, which libvirt makes of them."""
    if name.strip() != name or "/" in name or name.startswith((".", "-")):
        raise ValueError("must not start with '.' or '-', nor hold '/', nor begin or end with a space")
    return one_line(name)


def tag_list(tags: list[str]) -> list[str]:
    for tag in tags:
        if not TAG.fullmatch(tag):
            raise ValueError(f"a tag is 1 to 40 letters, digits, '.', '_' or '-', unlike {tag[:50]!r}")
    return sorted(set(tags))


class NoParameters(Spec):
    pass


class AutostartSpec(Spec):
    enabled: bool


class RenameSpec(Spec):
    name: Annotated[str, StringConstraints(min_length=1, max_length=100), AfterValidator(domain_name)]


class EditSpec(Spec):
    """Fields left out stay as they are."""

    title: Annotated[str, StringConstraints(max_length=200), AfterValidator(one_line)] | None = None
    description: Annotated[str, StringConstraints(max_length=10_000), AfterValidator(printable)] | None = None
    tags: Annotated[list[str], Field(max_length=50), AfterValidator(tag_list)] | None = None


class SendKeySpec(Spec):
    """Linux input key codes, pressed together (Ctrl-Alt-Del is 29, 56, 111)."""

    keys: Annotated[list[Annotated[int, Field(ge=1, le=767)]], Field(min_length=1, max_length=KEYS_PER_CALL)]
    hold_ms: Annotated[int, Field(ge=0, le=2000)] = 50


class HostSpec(Spec):
    """How to reach a host, in typed parts; `hypervisor.connection.uri_of` checks them against each other."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=64), AfterValidator(domain_name)]
    transport: Transport
    hostname: Annotated[str, StringConstraints(max_length=253)] = ""
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    user: Annotated[str, StringConstraints(max_length=32)] = ""

    @model_validator(mode="after")
    def reachable(self) -> Self:
        try:
            check_address(self.address)
        except InvalidSpec as error:
            raise ValueError(str(error)) from None
        return self

    @property
    def address(self) -> HostAddress:
        return HostAddress(self.transport, self.hostname, self.port, self.user)


Virsh = Callable[[Domain | Host, Any], str]


@dataclass(frozen=True)
class Verb:
    """One row: everything any floor needs to know of a verb.

    `states` are the machine's states in which it makes sense (None: any but missing); `exclusive` takes the busy lock;
    `cancellable` says that its runner looks at the cancel mark while it runs; `danger` asks before doing it;
    `session` marks what is allowed or not but is no operation (consoles).
    """

    kind: str
    label: Promise
    role: Role
    virsh: Virsh
    states: frozenset[Status] | None = None
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

    @property
    def noun(self) -> str:
        return self.kind.partition(".")[0]

    @property
    def name(self) -> str:
        """The verb alone, as it stands in URLs: `start` of `domain.start`."""
        return self.kind.partition(".")[2]


def virsh(word: str) -> Virsh:
    """`virsh WORD NAME`."""

    def command(target: Domain | Host, spec: Any) -> str:
        return f"virsh -c {shlex.quote(shown_uri(target))} {word} {shlex.quote(target.name)}"

    return command


def shown_uri(target: Domain | Host) -> str:
    """The connection URI as a person would type it; only ever shown, never opened."""
    host = target.host if isinstance(target, Domain) else target
    if host.transport == Transport.LOCAL:
        return "qemu:///system"
    if host.transport == Transport.TEST:
        return "test:///default"
    user = f"{host.user}@" if host.user else ""
    port = f":{host.port}" if host.port else ""
    return f"qemu+{host.transport}://{user}{host.hostname}{port}/system"


def virsh_autostart(target: Domain | Host, spec: AutostartSpec) -> str:
    return virsh("autostart" if spec.enabled else "autostart --disable")(target, spec)


def virsh_rename(target: Domain | Host, spec: RenameSpec) -> str:
    return f"{virsh('domrename')(target, spec)} {shlex.quote(spec.name)}"


def virsh_send_key(target: Domain | Host, spec: SendKeySpec) -> str:
    keys = " ".join(str(key) for key in spec.keys)
    return f"{virsh('send-key')(target, spec)} --codeset linux --holdtime {spec.hold_ms} {keys}"


def virsh_edit(target: Domain | Host, spec: EditSpec) -> str:
    base = virsh("desc")(target, spec)
    lines = []
    if spec.title is not None:
        lines.append(f"{base} --config --title {shlex.quote(spec.title)}")
    if spec.description is not None:
        lines.append(f"{base} --config {shlex.quote(spec.description)}")
    if spec.tags is not None:
        tags = shlex.quote("<tags>" + "".join(f"<tag>{tag}</tag>" for tag in spec.tags) + "</tags>")
        lines.append(f"{virsh('metadata')(target, spec)} {METADATA_URI} --config --key webvirt --set {tags}")
    return "\n".join(lines)


def virsh_connect(target: Domain | Host, spec: Any) -> str:
    return f"virsh -c {shlex.quote(shown_uri(target))} version"


def nothing_on_the_host(target: Domain | Host, spec: Any) -> str:
    return ""


VERBS = (
    Verb(
        "domain.start",
        pgettext_lazy("verb", "Start"),
        Role.OPERATOR,
        virsh("start"),
        states=frozenset({S.SHUTOFF, S.CRASHED}),
        group=Group.START,
        icon="player-play",
        bulk=True,
    ),
    Verb(
        "domain.resume",
        pgettext_lazy("verb", "Resume"),
        Role.OPERATOR,
        virsh("resume"),
        states=frozenset({S.PAUSED, S.PMSUSPENDED}),
        group=Group.START,
        icon="player-play",
        bulk=True,
    ),
    Verb(
        "domain.restore",
        pgettext_lazy("verb", "Restore"),
        Role.OPERATOR,
        virsh("start"),
        states=frozenset({S.SAVED}),
        group=Group.START,
        icon="player-play",
        bulk=True,
    ),
    Verb(
        "domain.shutdown",
        pgettext_lazy("verb", "Shut down"),
        Role.OPERATOR,
        virsh("shutdown"),
        states=frozenset({S.RUNNING, S.SHUTTING_DOWN}),
        group=Group.STOP,
        icon="power",
        bulk=True,
    ),
    Verb(
        "domain.reboot",
        pgettext_lazy("verb", "Reboot"),
        Role.OPERATOR,
        virsh("reboot"),
        states=frozenset({S.RUNNING}),
        group=Group.STOP,
        icon="refresh",
        bulk=True,
    ),
    Verb(
        "domain.suspend",
        pgettext_lazy("verb", "Pause"),
        Role.OPERATOR,
        virsh("suspend"),
        states=frozenset({S.RUNNING}),
        group=Group.STOP,
        icon="player-pause",
        bulk=True,
    ),
    Verb(
        "domain.save",
        pgettext_lazy("verb", "Save to disk"),
        Role.OPERATOR,
        virsh("managedsave"),
        states=frozenset({S.RUNNING, S.PAUSED}),
        group=Group.STOP,
        queue=Queue.SLOW,
        cancellable=True,
        icon="device-floppy",
        bulk=True,
    ),
    Verb(
        "domain.reset",
        pgettext_lazy("verb", "Reset"),
        Role.OPERATOR,
        virsh("reset"),
        states=frozenset({S.RUNNING, S.PAUSED}),
        group=Group.STOP,
        icon="rotate",
        danger=_("It restarts at once, as by its reset button: what the guest has not written to disk is lost."),
        bulk=True,
    ),
    Verb(
        "domain.destroy",
        pgettext_lazy("verb", "Force off"),
        Role.OPERATOR,
        virsh("destroy"),
        states=frozenset({S.RUNNING, S.PAUSED, S.SHUTTING_DOWN, S.PMSUSPENDED, S.CRASHED, S.UNKNOWN}),
        # The emergency stop waits for nobody: it is what ends an operation that hangs on a hung guest.
        exclusive=False,
        group=Group.STOP,
        icon="plug-off",
        danger=_("The power is cut: what the guest has not written to disk is lost."),
        bulk=True,
    ),
    Verb(
        "domain.discard",
        pgettext_lazy("verb", "Discard saved state"),
        Role.OPERATOR,
        virsh("managedsave-remove"),
        states=frozenset({S.SAVED}),
        group=Group.STOP,
        icon="trash",
        danger=_("The saved memory of this machine is deleted; it will start as after a power cut."),
    ),
    Verb(
        "domain.autostart",
        _("Start with the host"),
        Role.OWNER,
        virsh_autostart,
        spec=AutostartSpec,
        group=Group.CHANGE,
        icon="bolt",
    ),
    Verb(
        "domain.rename",
        pgettext_lazy("verb", "Rename"),
        Role.OWNER,
        virsh_rename,
        states=frozenset({S.SHUTOFF, S.CRASHED}),
        spec=RenameSpec,
        group=Group.CHANGE,
        icon="cursor-text",
    ),
    Verb(
        "domain.edit",
        _("Edit title, notes and tags"),
        Role.OWNER,
        virsh_edit,
        spec=EditSpec,
        group=Group.CHANGE,
        icon="edit",
    ),
    Verb(
        "domain.forget",
        _("Remove from the list"),
        Role.OWNER,
        nothing_on_the_host,
        states=frozenset({S.MISSING}),
        needs_host=False,
        icon="trash",
        danger=_("It is missing on its host. Its history stays, and it is back as soon as its host lists it again."),
        bulk=True,
    ),
    Verb(
        "domain.screenshot",
        _("Take a screenshot"),
        Role.VIEWER,
        virsh("screenshot"),
        states=frozenset({S.RUNNING, S.PAUSED}),
        exclusive=False,
        icon="camera",
    ),
    Verb(
        "domain.send_key",
        _("Send keys"),
        Role.OPERATOR,
        virsh_send_key,
        states=frozenset({S.RUNNING}),
        spec=SendKeySpec,
        exclusive=False,
        icon="keyboard",
    ),
    Verb(
        "domain.view",
        _("Watch the console"),
        Role.VIEWER,
        virsh("domdisplay"),
        states=frozenset({S.RUNNING, S.PAUSED, S.SHUTTING_DOWN}),
        exclusive=False,
        session=True,
        icon="eye",
    ),
    Verb(
        "domain.console",
        _("Use the console"),
        Role.OPERATOR,
        virsh("domdisplay"),
        states=frozenset({S.RUNNING, S.PAUSED, S.SHUTTING_DOWN}),
        exclusive=False,
        session=True,
        icon="device-desktop",
    ),
    Verb(
        "host.add",
        _("Add a host"),
        Role.ADMINISTRATOR,
        virsh_connect,
        spec=HostSpec,
        icon="plus",
        needs_host=False,
    ),
    Verb(
        "host.check",
        pgettext_lazy("verb", "Check"),
        Role.ADMINISTRATOR,
        virsh_connect,
        icon="stethoscope",
        needs_host=False,
    ),
    Verb(
        "host.edit",
        _("Edit the address"),
        Role.ADMINISTRATOR,
        virsh_connect,
        spec=HostSpec,
        icon="edit",
        needs_host=False,
    ),
    Verb(
        "host.remove",
        pgettext_lazy("verb", "Remove"),
        Role.ADMINISTRATOR,
        nothing_on_the_host,
        icon="trash",
        needs_host=False,
        danger=_("It disappears from these pages with its machines; on the host itself nothing changes."),
    ),
)

BY_KIND = {verb.kind: verb for verb in VERBS}


def verbs_of(noun: str) -> list[Verb]:
    """The verbs of a noun, in the order of the menu."""
    return [verb for verb in VERBS if verb.noun == noun]


def why_not(verb: Verb, domain: Domain) -> Promise | str:
    """Why this verb makes no sense now, for a person to read; empty when it does."""
    if domain.missing_since and Status.MISSING not in (verb.states or ()):
        return _("the machine is missing on its host")
    if verb.needs_host and domain.is_stale:
        return _("the host does not answer")
    if verb.kind == "domain.autostart" and not domain.persistent:
        return _("a transient machine cannot start with the host")
    if verb.states is None or domain.status in verb.states:
        return ""
    return _("not while it is %(state)s") % {"state": Status(domain.status).label}

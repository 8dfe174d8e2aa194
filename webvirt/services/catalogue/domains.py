"""The verbs of domains, and what they take."""

from __future__ import annotations

import re
import shlex
from typing import Annotated

from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy
from pydantic import AfterValidator, Field, StringConstraints

from webvirt.hypervisor.types import METADATA_URI
from webvirt.models import Domain, Role, Status
from webvirt.services.catalogue.specs import AutostartSpec, Spec, domain_name, one_line, printable
from webvirt.services.catalogue.verb import Group, Queue, Verb, nothing_on_the_host, virsh, virsh_autostart
from webvirt.services.subjects import Subject

S = Status
TAG = re.compile(r"[\w.-]{1,40}")
KEYS_PER_CALL = 16


def tag_list(tags: list[str]) -> list[str]:
    for tag in tags:
        if not TAG.fullmatch(tag):
            raise ValueError(f"a tag is 1 to 40 letters, digits, '.', '_' or '-', unlike {tag[:50]!r}")
    return sorted(set(tags))


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


class SetFilterSpec(Spec):
    """`mac` is that of the card; without `filter` it goes through none."""

    mac: Annotated[str, StringConstraints(to_lower=True, pattern=r"^([0-9a-f]{2}:){5}[0-9a-f]{2}$")]
    filter: Annotated[str, StringConstraints(max_length=255), AfterValidator(one_line)] = ""


def virsh_rename(target: Subject, spec: RenameSpec) -> str:
    return f"{virsh('domrename')(target, spec)} {shlex.quote(spec.name)}"


def virsh_send_key(target: Subject, spec: SendKeySpec) -> str:
    keys = " ".join(str(key) for key in spec.keys)
    return f"{virsh('send-key')(target, spec)} --codeset linux --holdtime {spec.hold_ms} {keys}"


def virsh_edit(target: Subject, spec: EditSpec) -> str:
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


def virsh_set_filter(target: Subject, spec: SetFilterSpec) -> str:
    """What changes is the card's `<filterref>`."""
    assert isinstance(target, Domain)
    flags = (
        "--live --config" if target.is_active and target.persistent else "--live" if target.is_active else "--config"
    )
    return f"{virsh('update-device')(target, spec)} card-{spec.mac}.xml {flags}"


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
        virsh_autostart("autostart"),
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
        "domain.set_filter",
        _("Set a card's network filter"),
        Role.ADMINISTRATOR,
        virsh_set_filter,
        spec=SetFilterSpec,
        group=Group.CHANGE,
        icon="filter",
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
)

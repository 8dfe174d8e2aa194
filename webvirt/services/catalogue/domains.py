"""The verbs of domains, and what they take."""

from __future__ import annotations

import re
import shlex
from typing import Annotated

from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy
from pydantic import AfterValidator, Field, StringConstraints

from webvirt.hypervisor.types import METADATA_URI
from webvirt.models import Domain, Role, Status, Volume
from webvirt.services import belongings, inputs, templates, uses
from webvirt.services.allowances import discs_for
from webvirt.services.catalogue.specs import AutostartSpec, Spec, domain_name, one_line, printable
from webvirt.services.catalogue.verb import Group, Queue, Rows, Verb, Virsh, nothing_on_the_host, virsh, virsh_autostart
from webvirt.services.inputs import Has
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


class DeleteSpec(Spec):
    """`volumes` are the ids of those that go with it: where left out, its own disks that nobody else uses."""

    volumes: Annotated[list[int], Field(max_length=200)] | None = None


class EjectSpec(Spec):
    """`drive` is its target (`sda`)."""

    drive: Annotated[str, StringConstraints(pattern=r"^[a-z]{2,4}[0-9]{0,3}$")]


class InsertSpec(EjectSpec):
    """`volume` is the id of the disc that goes into the drive, on the machine's host."""

    volume: int


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
    return f"{virsh('update-device')(target, spec)} card-{spec.mac}.xml {sides_of(target)}"


def delete_misfits(rows: Rows, domain: Domain, spec: DeleteSpec) -> dict[str, str]:
    """Of the volumes that are to go with a machine, those that are not its own alone."""
    if spec.volumes is None:
        return {}
    own = {one.volume.pk: one for one in belongings.of(domain) if one.volume}
    for pk in spec.volumes:
        if pk not in own or not (own[pk].is_own or own[pk].others):
            return {"volumes": str(_("One of these volumes is none of its disks."))}
        if own[pk].others:
            known = rows("volume").filter(pk=pk).exists()
            names = uses.used_by(own[pk].others) if known else _("another machine or image")
            values = {"name": own[pk].name, "names": names}
            return {"volumes": str(_("%(name)s stays: %(names)s needs it.") % values)}
    return {}


def virsh_purge(target: Subject, spec: DeleteSpec) -> str:
    assert isinstance(target, Domain)
    base = virsh("undefine --managed-save --snapshots-metadata --checkpoints-metadata --nvram --tpm")(target, spec)
    return "\n".join([*(virsh("vol-delete")(volume, spec) for volume in belongings.chosen(target, spec.volumes)), base])


def virsh_eject(target: Subject, spec: EjectSpec) -> str:
    return f"{virsh('change-media')(target, spec)} {spec.drive} --eject"


def virsh_insert(target: Subject, spec: InsertSpec) -> str:
    disc = Volume.objects.filter(pk=spec.volume).first()
    return f"{virsh('change-media')(target, spec)} {spec.drive} {shlex.quote(disc.path if disc else '')} --update"


def eject_misfits(rows: Rows, domain: Domain, spec: EjectSpec) -> dict[str, str]:
    drives = belongings.drives_of(domain)
    if spec.drive not in drives:
        return {"drive": str(_("It has no such drive."))}
    return {} if drives[spec.drive] else {"drive": str(_("There is no disc in it."))}


def insert_misfits(rows: Rows, domain: Domain, spec: InsertSpec) -> dict[str, str]:
    if spec.drive not in belongings.drives_of(domain):
        return {"drive": str(_("It has no such drive."))}
    disc = discs_for(rows, domain).filter(pk=spec.volume).first()
    if disc is None or not disc.is_whole:
        return {"volume": str(_("This volume is not on this host: copy it there first."))}
    return {} if disc.is_iso else {"volume": str(_("This is no CD or DVD."))}


def virsh_attach(file: str) -> Virsh:
    """What is plugged in is in the file."""

    def command(target: Subject, spec: Spec) -> str:
        assert isinstance(target, Domain)
        return f"{virsh('attach-device')(target, spec)} {file} {sides_of(target)}"

    return command


def sides_of(domain: Domain) -> str:
    """virsh's flags for a change at once and for good."""
    flags = {"--live": domain.is_active, "--config": domain.persistent or not domain.is_active}
    return " ".join(flag for flag, applies in flags.items() if applies)


def tablet_there(domain: Domain) -> str:
    return str(_("it has a tablet")) if inputs.tablet_of(getattr(domain, "definition", None)) != Has.NOT else ""


def clipboard_there(domain: Domain) -> str:
    return (
        str(_("it has a clipboard channel"))
        if inputs.clipboard_of(getattr(domain, "definition", None)) != Has.NOT
        else ""
    )


def no_drive(domain: Domain) -> str:
    return "" if belongings.drives_of(domain) else str(_("it has no CD drive"))


def no_disc(domain: Domain) -> str:
    return "" if any(belongings.drives_of(domain).values()) else str(_("there is no disc in its drives"))


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
        writes=True,
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
        writes=True,
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
        writes=True,
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
        writes=True,
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
        "domain.insert",
        _("Insert a disc"),
        Role.OWNER,
        virsh_insert,
        spec=InsertSpec,
        group=Group.CHANGE,
        icon="disc",
        forbids=no_drive,
        misfits=insert_misfits,
    ),
    Verb(
        "domain.eject",
        _("Eject a disc"),
        Role.OPERATOR,
        virsh_eject,
        spec=EjectSpec,
        group=Group.CHANGE,
        icon="disc-off",
        forbids=no_disc,
        misfits=eject_misfits,
    ),
    Verb(
        "domain.add_tablet",
        _("Add a tablet for its pointer"),
        Role.OWNER,
        virsh_attach("tablet.xml"),
        group=Group.CHANGE,
        icon="pointer",
        forbids=tablet_there,
    ),
    Verb(
        "domain.add_clipboard",
        _("Add a clipboard channel"),
        Role.OWNER,
        virsh_attach("clipboard.xml"),
        group=Group.CHANGE,
        icon="clipboard-plus",
        danger=_(
            "What is copied in the guest goes to those at its screen, and back. While it has the channel, QEMU before "
            "10.1 can neither save it to disk nor move it while it runs."
        ),
        forbids=clipboard_there,
    ),
    Verb(
        "domain.delete",
        pgettext_lazy("verb", "Delete"),
        Role.OWNER,
        nothing_on_the_host,
        states=frozenset({S.SHUTOFF, S.CRASHED, S.SAVED}),
        spec=DeleteSpec,
        icon="trash",
        danger=_("It goes to the recycle bin, and can be restored from there for a time."),
        bulk=True,
        forbids=templates.is_needed,
        misfits=delete_misfits,
    ),
    Verb(
        "domain.undelete",
        _("Restore from the bin"),
        Role.OWNER,
        nothing_on_the_host,
        states=frozenset({S.BINNED}),
        icon="arrow-back-up",
    ),
    Verb(
        "domain.purge",
        _("Delete for good"),
        Role.OWNER,
        virsh_purge,
        states=frozenset({S.SHUTOFF, S.CRASHED, S.SAVED, S.BINNED}),
        spec=DeleteSpec,
        queue=Queue.SLOW,
        icon="trash-x",
        danger=_("Its definition, its saved memory and the disks that go with it are lost."),
        by_name=True,
        resumable=True,
        forbids=templates.is_needed,
        misfits=delete_misfits,
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
)

"""The verbs of pools and volumes, and what they take."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from typing import Annotated, Any, Literal, Self

from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy
from pydantic import AfterValidator, Field, StringConstraints, model_validator

from webvirt.hypervisor.errors import InvalidSpec
from webvirt.hypervisor.pool_rules import NAME, check_pool, check_space
from webvirt.hypervisor.types import PoolSpec, PoolType, Preallocation
from webvirt.models import Pool, PoolStatus, Role, Secret, Volume
from webvirt.services import uses
from webvirt.services.catalogue.specs import AutostartSpec, Spec, domain_name, one_line
from webvirt.services.catalogue.verb import Group, Queue, Rows, Verb, shown_uri, virsh, virsh_autostart
from webvirt.services.subjects import Subject

P = PoolStatus
MOST_BYTES = 2**60
"""More than any pool holds: an exbibyte."""


def volume_name(name: str) -> str:
    """A name that is safe as a file's, whatever tool meets it."""
    if not NAME.fullmatch(name):
        raise ValueError("is 1 to 120 letters, digits, '.', '_' or '-', and begins with a letter or digit")
    return name


def checksum(text: str) -> str:
    if not re.fullmatch(r"([0-9a-fA-F]{64})?", text, re.ASCII):
        raise ValueError("is 64 hexadecimal digits")
    return text.lower()


Text = Annotated[str, StringConstraints(max_length=1000), AfterValidator(one_line)]
Bytes = Annotated[int, Field(ge=1, le=MOST_BYTES)]
VolumeName = Annotated[str, AfterValidator(volume_name)]
Format = Literal["qcow2", "raw"]


class CreatePoolSpec(Spec):
    """Which of the parts a type takes, `hypervisor.xml.storage.build_pool` says."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=60), AfterValidator(domain_name)]
    type: PoolType
    target_path: Text = ""
    source_host: Text = ""
    source_port: Annotated[int, Field(ge=1, le=65535)] | None = None
    source_path: Text = ""
    source_name: Text = ""
    source_devices: Annotated[list[Text], Field(max_length=50)] = []
    source_format: Text = ""
    auth_user: Text = ""
    auth_secret: Text = ""
    build: bool = False
    """Make what it stands on (the folder, the file system, the volume group) before it starts."""
    autostart: bool = True

    @model_validator(mode="after")
    def possible(self) -> Self:
        try:
            check_pool(self.pool)
        except InvalidSpec as error:
            raise ValueError(str(error)) from None
        return self

    @property
    def pool(self) -> PoolSpec:
        parts = self.model_dump(exclude={"build", "autostart"})
        return PoolSpec(**(parts | {"source_devices": tuple(self.source_devices)}))


class CreateVolumeSpec(Spec):
    """`capacity` in bytes; with `backing` (a volume's id) it may be left out, and the format is qcow2.

    `secret` is the id of the secret that it is encrypted with (LUKS), one of the same host.
    """

    name: VolumeName
    capacity: Bytes | None = None
    format: Format = "qcow2"
    preallocation: Preallocation = Preallocation.OFF
    backing: int | None = None
    secret: int | None = None

    @model_validator(mode="after")
    def possible(self) -> Self:
        try:
            check_space(self.format, self.preallocation, encrypted=self.secret is not None)
        except InvalidSpec as error:
            raise ValueError(str(error)) from None
        return self


class UploadSpec(Spec):
    """`size` in bytes; `sha256` in hexadecimal, of the whole file, where the sender knows it."""

    name: VolumeName
    size: Bytes
    sha256: Annotated[str, AfterValidator(checksum)] = ""


class ResizeSpec(Spec):
    """The new size in bytes."""

    capacity: Bytes


class CloneVolumeSpec(Spec):
    """`pool` is the id of the pool that the copy goes to: the same one when left out."""

    name: VolumeName
    format: Format = "qcow2"
    pool: int | None = None


Piece = Callable[[Subject, Any], str]


def virsh_lines(*pieces: Piece) -> Piece:
    """Several commands, one a line."""

    def command(target: Subject, spec: Any) -> str:
        return "\n".join(filter(None, (piece(target, spec) for piece in pieces)))

    return command


def virsh_create_pool(target: Subject, spec: CreatePoolSpec) -> str:
    options = {
        "--target": spec.target_path,
        "--source-host": spec.source_host,
        "--source-path": spec.source_path,
        "--source-name": spec.source_name,
        "--source-dev": ",".join(spec.source_devices),
        "--source-format": spec.source_format,
        "--auth-username": spec.auth_user,
        "--secret-uuid": spec.auth_secret,
    }
    base, name = f"virsh -c {shlex.quote(shown_uri(target))}", shlex.quote(spec.name)
    words = " ".join(f"{option} {shlex.quote(value)}" for option, value in options.items() if value)
    lines = [f"{base} pool-define-as {name} {spec.type} {words}".rstrip()]
    lines += [f"{base} pool-build {name}"] if spec.build else []
    lines += [f"{base} pool-start {name}"]
    lines += [f"{base} pool-autostart {name}"] if spec.autostart else []
    return "\n".join(lines)


def create_volume_misfits(rows: Rows, pool: Pool, spec: CreateVolumeSpec) -> dict[str, str]:
    """What a new volume is based on or encrypted with: on the pool's host, and good for it."""
    wrong = {}
    if spec.secret is not None:
        secret = rows("secret").filter(pk=spec.secret, host=pool.host_id, missing_since=None).first()
        if secret is None:
            wrong["secret"] = _("This secret is not on the pool's host.")
        elif secret.usage not in uses.FOR_VOLUMES:
            wrong["secret"] = _("This secret is for something else than volumes.")
    if spec.backing is not None:
        base = rows("volume").filter(pk=spec.backing, pool__host=pool.host_id).first()
        if base is None:
            wrong["backing"] = _("This volume is not on the pool's host.")
        elif not base.is_whole:
            wrong["backing"] = _("It is not whole (yet).")
        elif base.encrypted:
            wrong["backing"] = _("It is encrypted, so nothing can be based on it.")
    return {name: str(sentence) for name, sentence in wrong.items()}


def virsh_create_volume(target: Subject, spec: CreateVolumeSpec) -> str:
    connect = f"virsh -c {shlex.quote(shown_uri(target))}"
    secret = Secret.objects.filter(pk=spec.secret).first() if spec.secret else None
    if secret:
        # vol-create-as knows no encryption.
        flag = "" if spec.preallocation == Preallocation.OFF else " --prealloc-metadata"
        part = f"<encryption format='luks'><secret type='passphrase' uuid='{secret.uuid}'/></encryption>"
        return (
            f"# With {part} in {spec.name}.xml\n{connect} vol-create {shlex.quote(target.name)} {spec.name}.xml{flag}"
        )
    words = [shlex.quote(target.name), shlex.quote(spec.name), str(spec.capacity or 0), "--format", spec.format]
    if spec.preallocation == Preallocation.FULL:
        words += ["--allocation", str(spec.capacity)]
    base = Volume.objects.filter(pk=spec.backing).first() if spec.backing else None
    if base:
        words += ["--backing-vol", shlex.quote(base.path), "--backing-vol-format", base.format]
    return f"{connect} vol-create-as {' '.join(words)}"


def virsh_upload(target: Subject, spec: UploadSpec) -> str:
    base = f"virsh -c {shlex.quote(shown_uri(target))}"
    pool, name = shlex.quote(target.name), shlex.quote(spec.name)
    return (
        f"{base} vol-create-as {pool} {name} {spec.size} --allocation 0 --format raw\n"
        f"{base} vol-upload --pool {pool} {name} {name}\n{base} pool-refresh {pool}"
    )


def virsh_resize(target: Subject, spec: ResizeSpec) -> str:
    return f"{virsh('vol-resize')(target, spec)} {spec.capacity}"


def virsh_clone(target: Subject, spec: CloneVolumeSpec) -> str:
    """vol-clone stays in its pool and format; what it copies of the definition includes the encryption."""
    assert isinstance(target, Volume)
    pool = Pool.objects.filter(pk=spec.pool).first() if spec.pool else target.pool
    if pool in (None, target.pool) and spec.format == target.format:
        return f"{virsh('vol-clone')(target, spec)} {shlex.quote(spec.name)}"
    words = [pool.name if pool else target.pool.name, f"{spec.name}.xml", target.name, "--inputpool", target.pool.name]
    return f"virsh -c {shlex.quote(shown_uri(target))} vol-create-from {' '.join(map(shlex.quote, words))}"


ON_POOLS = (
    Verb(
        "pool.create",
        _("Create a pool"),
        Role.ADMINISTRATOR,
        virsh_create_pool,
        spec=CreatePoolSpec,
        exclusive=False,
        queue=Queue.SLOW,
        made_on="host",
        icon="database-plus",
    ),
    Verb(
        "pool.start",
        pgettext_lazy("verb", "Start"),
        Role.ADMINISTRATOR,
        virsh("pool-start"),
        states=frozenset({P.INACTIVE}),
        queue=Queue.SLOW,
        group=Group.START,
        icon="player-play",
        bulk=True,
    ),
    Verb(
        "pool.refresh",
        pgettext_lazy("verb", "Refresh"),
        Role.OPERATOR,
        virsh("pool-refresh"),
        states=frozenset({P.RUNNING, P.DEGRADED}),
        queue=Queue.SLOW,
        group=Group.START,
        icon="refresh",
        bulk=True,
    ),
    Verb(
        "pool.build",
        pgettext_lazy("verb", "Build"),
        Role.ADMINISTRATOR,
        virsh("pool-build"),
        states=frozenset({P.INACTIVE}),
        queue=Queue.SLOW,
        group=Group.START,
        icon="hammer",
        danger=_("Makes what the pool stands on. On a device this can write over what is there."),
    ),
    Verb(
        "pool.stop",
        pgettext_lazy("verb", "Stop"),
        Role.ADMINISTRATOR,
        virsh("pool-destroy"),
        states=frozenset({P.RUNNING, P.DEGRADED, P.INACCESSIBLE, P.BUILDING}),
        queue=Queue.SLOW,
        group=Group.STOP,
        icon="player-stop",
        danger=_("Its volumes cannot be seen or given to machines until it is started again. Nothing is deleted."),
        forbids=uses.pool_is_open,
        bulk=True,
    ),
    Verb(
        "pool.autostart",
        _("Start with the host"),
        Role.ADMINISTRATOR,
        virsh_autostart("pool-autostart"),
        spec=AutostartSpec,
        group=Group.CHANGE,
        icon="bolt",
    ),
    Verb(
        "volume.create",
        _("Create a volume"),
        Role.OWNER,
        virsh_create_volume,
        states=frozenset({P.RUNNING, P.DEGRADED}),
        spec=CreateVolumeSpec,
        exclusive=False,
        queue=Queue.SLOW,
        group=Group.CHANGE,
        made_on="pool",
        icon="plus",
        misfits=create_volume_misfits,
    ),
    Verb(
        "volume.upload",
        _("Upload an image"),
        Role.OWNER,
        virsh_upload,
        states=frozenset({P.RUNNING, P.DEGRADED}),
        spec=UploadSpec,
        exclusive=False,
        cancellable=True,
        queue=Queue.SLOW,
        group=Group.CHANGE,
        made_on="pool",
        icon="upload",
        resumable=True,
    ),
    Verb(
        "pool.undefine",
        _("Remove the pool"),
        Role.ADMINISTRATOR,
        virsh("pool-undefine"),
        states=frozenset({P.INACTIVE}),
        group=Group.OTHER,
        icon="unlink",
        danger=_("libvirt forgets the pool. What lies in it stays where it is."),
    ),
    Verb(
        "pool.delete",
        _("Delete the pool and its storage"),
        Role.ADMINISTRATOR,
        virsh_lines(virsh("pool-delete"), virsh("pool-undefine")),
        states=frozenset({P.INACTIVE}),
        queue=Queue.SLOW,
        group=Group.OTHER,
        icon="trash",
        danger=_("What the pool stands on is deleted: its empty folder, its volume group, its file system."),
        forbids=uses.pool_is_filled,
        by_name=True,
    ),
)

ON_VOLUMES = (
    Verb(
        "volume.clone",
        _("Clone or convert"),
        Role.OWNER,
        virsh_clone,
        spec=CloneVolumeSpec,
        cancellable=True,
        queue=Queue.SLOW,
        group=Group.CHANGE,
        icon="copy",
        forbids=uses.volume_is_open,
    ),
    Verb(
        "volume.resize",
        pgettext_lazy("verb", "Resize"),
        Role.OWNER,
        virsh_resize,
        spec=ResizeSpec,
        group=Group.CHANGE,
        icon="arrows-diagonal",
        forbids=uses.volume_is_half_made,
    ),
    Verb(
        "volume.wipe",
        pgettext_lazy("verb", "Wipe"),
        Role.OWNER,
        virsh("vol-wipe"),
        queue=Queue.SLOW,
        icon="eraser",
        danger=_("Every byte of it is written over: what it holds is lost, and it is no image any more."),
        forbids=uses.volume_in_use,
        by_name=True,
        bulk=True,
    ),
    Verb(
        "volume.delete",
        pgettext_lazy("verb", "Delete"),
        Role.OWNER,
        virsh("vol-delete"),
        queue=Queue.SLOW,
        icon="trash",
        danger=_("What it holds is lost."),
        forbids=uses.volume_in_use,
        by_name=True,
        bulk=True,
    ),
)

VERBS = (*ON_POOLS, *ON_VOLUMES)

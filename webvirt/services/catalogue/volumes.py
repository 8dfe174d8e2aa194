"""The verbs of volumes, those that bring them into a pool among them, and what they take."""

from __future__ import annotations

import hashlib
import re
import shlex
from typing import Annotated, Any, Literal, Self

from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy
from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationInfo,
    field_validator,
    model_validator,
)

from webvirt.hypervisor.errors import InvalidSpec
from webvirt.hypervisor.pool_rules import NAME, check_space
from webvirt.hypervisor.types import Preallocation
from webvirt.models import Pool, PoolStatus, Role, Secret, Volume
from webvirt.services import uses
from webvirt.services.catalogue.specs import InProject, NoParameters, Spec, one_line
from webvirt.services.catalogue.verb import (
    Group,
    Queue,
    Reach,
    Rows,
    Verb,
    project_of,
    project_or_its_own,
    shown_uri,
    virsh,
)
from webvirt.services.fetching import NotFetched, check_url, name_in
from webvirt.services.quotas import Amounts
from webvirt.services.subjects import Subject

P = PoolStatus
MOST_BYTES = 2**60
"""More than any pool holds: an exbibyte."""


def volume_name(name: str) -> str:
    """A name that is safe as a file's, whatever tool meets it."""
    if not NAME.fullmatch(name):
        raise ValueError("is 1 to 120 letters, digits, '.', '_' or '-', and begins with a letter or digit")
    return name


def safe_name(title: str) -> str:
    """A volume's name as close to a file's as can be; the same for the same. Empty for an empty one."""
    stem, dot, ending = title.rpartition(".")
    if not dot or not re.fullmatch(r"[A-Za-z0-9]{1,10}", ending, re.ASCII):
        stem, dot, ending = title, "", ""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", stem, flags=re.ASCII).strip("-._")
    if title and not plain:
        # Nothing of it is left that a file can be called.
        plain = f"image-{hashlib.sha256(title.encode()).hexdigest()[:8]}"
    return plain[: 120 - len(dot + ending)] + dot + ending if plain else ""


def checksum(text: str) -> str:
    if not re.fullmatch(r"([0-9a-fA-F]{64})?", text, re.ASCII):
        raise ValueError("is 64 hexadecimal digits")
    return text.lower()


def either_checksum(text: str) -> str:
    if not re.fullmatch(r"([0-9a-fA-F]{64}|[0-9a-fA-F]{128})?", text, re.ASCII):
        raise ValueError("is 64 hexadecimal digits (SHA-256) or 128 (SHA-512)")
    return text.lower()


def address(url: str) -> str:
    try:
        return check_url(one_line(url.strip()))
    except NotFetched as error:
        raise ValueError(str(error)) from None


def address_if_any(url: str) -> str:
    return address(url) if url.strip() else ""


def demand_one_checksum(checksum: str, url: str) -> None:
    if checksum and url:
        raise ValueError("give the checksum, or the address of a list that holds it, not both")


WebAddress = Annotated[str, StringConstraints(max_length=2000), AfterValidator(address_if_any)]
"""An address on the web, or nothing."""
Bytes = Annotated[int, Field(ge=1, le=MOST_BYTES)]
VolumeName = Annotated[str, AfterValidator(volume_name)]
Format = Literal["qcow2", "raw"]


class CreateVolumeSpec(InProject):
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


class ImageSpec(InProject):
    """An image from elsewhere. `title` is what people call its file, `name` what it is called in the pool.

    Without a `name` it has one made of the title, as close to it as can be.
    """

    title: Annotated[str, StringConstraints(max_length=255), AfterValidator(one_line)] = ""
    name: str = ""

    @field_validator("name")
    @classmethod
    def named(cls, name: str, info: ValidationInfo) -> str:
        return volume_name(name or safe_name(info.data.get("title", "")))

    @property
    def shown(self) -> str:
        """The title, where the name was made of it and is not the same."""
        return self.title if self.name == safe_name(self.title) != self.title else ""

    model_config = ConfigDict(validate_default=True)


class UploadSpec(ImageSpec):
    """`size` in bytes; `sha256` in hexadecimal, of the whole file, where the sender knows it."""

    size: Bytes
    sha256: Annotated[str, AfterValidator(checksum)] = ""


class FetchSpec(ImageSpec):
    """`checksum` is the file's SHA-256 or SHA-512 in hexadecimal. The title is the file's name in the address.

    Instead, `checksum_url` is the address of a list of checksums as makers of images keep it: the file's line is looked
    up there before it is fetched. With `look_into` it is looked at once it is there which machine it holds.
    """

    url: Annotated[str, StringConstraints(max_length=2000), AfterValidator(address)]
    checksum: Annotated[str, AfterValidator(either_checksum)] = ""
    checksum_url: WebAddress = ""
    look_into: bool = False

    @model_validator(mode="after")
    def one_checksum(self) -> Self:
        demand_one_checksum(self.checksum, self.checksum_url)
        return self

    @model_validator(mode="before")
    @classmethod
    def titled(cls, given: Any) -> Any:
        if isinstance(given, dict) and isinstance(url := given.get("url"), str) and not given.get("title"):
            return given | {"title": name_in(url)}
        return given


class CopySpec(InProject):
    """`pool` is the id of a pool of any host. Without a `project` the copy is in that of the volume."""

    pool: int
    name: VolumeName


class ResizeSpec(Spec):
    """The new size in bytes."""

    capacity: Bytes


class CloneVolumeSpec(InProject):
    """`pool` is the id of the pool that the copy goes to: the same one when left out, as with `project`."""

    name: VolumeName
    format: Format = "qcow2"
    pool: int | None = None


def virsh_checksum(target: Subject, spec: Any) -> str:
    # Unless it is quiet, virsh adds an empty line of its own.
    return f"{virsh('--quiet vol-download')(target, spec)} /dev/stdout | sha256sum"


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


def virsh_fetch(target: Subject, spec: FetchSpec) -> str:
    base = f"virsh -c {shlex.quote(shown_uri(target))}"
    pool, name = shlex.quote(target.name), shlex.quote(spec.name)
    compare = ""
    if spec.checksum_url:
        line = f"curl -fL {shlex.quote(spec.checksum_url)} | grep -F {shlex.quote(name_in(spec.url))}"
        compare = f"{line}\nsha256sum {name}\n"
    return (
        f"curl -fL -o {name} {shlex.quote(spec.url)}\n{compare}"
        f'{base} vol-create-as {pool} {name} "$(stat -c %s {name})" --allocation 0 --format raw\n'
        f"{base} vol-upload --sparse --pool {pool} {name} {name}\n{base} pool-refresh {pool}"
    )


def virsh_copy(target: Subject, spec: CopySpec) -> str:
    assert isinstance(target, Volume)
    pool = Pool.objects.filter(pk=spec.pool).select_related("host").first()
    return "\n".join(commands_to_carry(target, pool, spec.name))


def commands_to_carry(volume: Volume, pool: Pool | None, name: str) -> list[str]:
    """What takes a volume from one host to a pool of another under a name, a line for each step."""
    file = shlex.quote(name)
    lines = [f"{virsh('vol-download --sparse')(volume, NoParameters())} {file}"]
    if pool is not None:
        base, into = shlex.quote(shown_uri(pool)), shlex.quote(pool.name)
        lines += [
            f'virsh -c {base} vol-create-as {into} {file} "$(stat -c %s {file})" --allocation 0 --format raw',
            f"virsh -c {base} vol-upload --sparse --pool {into} {file} {file}",
            f"virsh -c {base} pool-refresh {into}",
        ]
    return lines


def virsh_download(target: Subject, spec: NoParameters) -> str:
    return f"{virsh('vol-download --sparse')(target, spec)} {shlex.quote(target.name)}"


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


def taken_by_new(pool: Pool, spec: CreateVolumeSpec) -> Amounts:
    """What it takes of a quota: by default it is as large as what it is based on."""
    base = Volume.objects.filter(pk=spec.backing).first() if spec.backing and spec.capacity is None else None
    return Amounts(disk=spec.capacity or (base.capacity if base else 0))


def taken_by_same(volume: Volume, spec: CopySpec | CloneVolumeSpec) -> Amounts:
    return Amounts(disk=volume.capacity)


def taken_by_growth(volume: Volume, spec: ResizeSpec) -> Amounts:
    return Amounts(disk=max(0, spec.capacity - volume.capacity))


def pool_of_clone(volume: Volume, spec: CloneVolumeSpec) -> tuple[Reach, ...]:
    return (Reach("pool" if spec.pool else "", "pool", spec.pool or volume.pool_id, "volume.create"),)


INTO_POOLS = (
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
        inside=True,
        into=project_of,
        takes=taken_by_new,
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
        inside=True,
        into=project_of,
        takes=lambda _pool, spec: Amounts(disk=spec.size),
    ),
    Verb(
        "volume.fetch",
        _("Fetch an image"),
        Role.ADMINISTRATOR,
        virsh_fetch,
        states=frozenset({P.RUNNING, P.DEGRADED}),
        spec=FetchSpec,
        exclusive=False,
        cancellable=True,
        queue=Queue.SLOW,
        group=Group.CHANGE,
        made_on="pool",
        icon="world-download",
        resumable=True,
        inside=True,
        into=project_of,
        # How much it is its server tells.
        takes=lambda _pool, _spec: Amounts(),
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
        reaches=pool_of_clone,
        inside=True,
        into=project_or_its_own,
        takes=taken_by_same,
        forbids=uses.volume_is_open,
    ),
    Verb(
        "volume.copy",
        _("Copy to another pool or host"),
        Role.OWNER,
        virsh_copy,
        spec=CopySpec,
        cancellable=True,
        queue=Queue.SLOW,
        group=Group.CHANGE,
        icon="transfer",
        resumable=True,
        reaches=lambda _volume, spec: (Reach("pool", "pool", spec.pool, "volume.create"),),
        inside=True,
        into=project_or_its_own,
        takes=taken_by_same,
        forbids=uses.volume_is_open,
    ),
    Verb(
        "volume.download",
        _("Download"),
        Role.OWNER,
        virsh_download,
        exclusive=False,
        cancellable=True,
        queue=Queue.BYTES,
        group=Group.CHANGE,
        icon="download",
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
        into=lambda volume, _spec: volume.project_id,
        takes=taken_by_growth,
        forbids=uses.volume_is_fixed,
    ),
    Verb(
        "volume.checksum",
        _("Compute the checksum"),
        Role.OPERATOR,
        virsh_checksum,
        exclusive=False,
        cancellable=True,
        queue=Queue.SLOW,
        group=Group.CHANGE,
        icon="hash",
        forbids=uses.volume_is_written,
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

VERBS = (*INTO_POOLS, *ON_VOLUMES)

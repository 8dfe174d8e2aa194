"""The verbs of pools, and what they take."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from typing import Annotated, Any, Self

from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy
from pydantic import AfterValidator, Field, StringConstraints, model_validator

from webvirt.hypervisor.errors import InvalidSpec
from webvirt.hypervisor.pool_rules import check_pool
from webvirt.hypervisor.types import PoolSpec, PoolType
from webvirt.models import Host, PoolStatus, Role
from webvirt.services import uses
from webvirt.services.catalogue.specs import AutostartSpec, Spec, domain_name, one_line
from webvirt.services.catalogue.verb import Group, Queue, Rows, Verb, shown_uri, virsh, virsh_autostart
from webvirt.services.subjects import Subject

P = PoolStatus

Text = Annotated[str, StringConstraints(max_length=1000), AfterValidator(one_line)]


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


def create_pool_misfits(rows: Rows, host: Host, spec: CreatePoolSpec) -> dict[str, str]:
    """What the host's libvirt cannot run."""
    known = {support["type"]: support for support in host.info.get("pools", ())}
    if not known:
        return {}
    support = known.get(spec.type, {"supported": False})
    if not support["supported"]:
        return {"type": str(_("This host's libvirt cannot run such pools."))}
    formats = support["source_formats"]
    if spec.source_format and formats and spec.source_format not in formats:
        return {"source_format": str(_("One of %(names)s.")) % {"names": ", ".join(formats)}}
    return {}


VERBS = (
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
        misfits=create_pool_misfits,
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

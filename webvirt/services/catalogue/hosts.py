"""The verbs of hosts, and what they take."""

from __future__ import annotations

import shlex
from typing import Annotated, Any, Self

from django.utils.translation import gettext, pgettext_lazy
from django.utils.translation import gettext_lazy as _
from pydantic import AfterValidator, Field, SecretStr, StringConstraints, model_validator

from webvirt.hypervisor.addresses import check_address, check_source, shown_source
from webvirt.hypervisor.errors import InvalidSpec
from webvirt.hypervisor.types import HostAddress, SourceAddress, SourceKind, Transport
from webvirt.models import Host, Role
from webvirt.services.catalogue.specs import Spec, domain_name
from webvirt.services.catalogue.verb import Queue, Rows, Verb, nothing_on_the_host, shown_uri
from webvirt.services.subjects import Subject

MOST_KEYS = 16
Fingerprint = Annotated[str, StringConstraints(pattern=r"^SHA256:[A-Za-z0-9+/]{43}$")]


class HostSpec(Spec):
    """How to reach a host, in typed parts; `hypervisor.connection.uri_of` checks them against each other.

    The password is for TLS and TCP; left empty, a host keeps the one that it has. TCP carries all of it for anybody to
    read, so `unencrypted` says that this is meant.
    """

    name: Annotated[str, StringConstraints(min_length=1, max_length=64), AfterValidator(domain_name)]
    transport: Transport
    hostname: Annotated[str, StringConstraints(max_length=253)] = ""
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    user: Annotated[str, StringConstraints(max_length=32)] = ""
    password: SecretStr = SecretStr("")
    unencrypted: bool = False

    @model_validator(mode="after")
    def reachable(self) -> Self:
        try:
            check_address(self.address)
        except InvalidSpec as error:
            raise ValueError(str(error)) from None
        if self.transport == Transport.TCP and not self.unencrypted:
            raise ValueError(NOT_MEANT)
        return self

    @property
    def address(self) -> HostAddress:
        password = self.password.get_secret_value()
        return HostAddress(self.transport, self.hostname, self.port, self.user, password=password)

    def leads_elsewhere(self, host: Host) -> bool:
        """Whether it is another place, or another account there, than the host's row has."""
        here = (host.transport, host.hostname, host.port, host.user)
        return here != (self.transport, self.hostname, self.port, self.user)


NOT_MEANT = "Over TCP anybody on the way can read and change everything: say that this is meant, or choose SSH or TLS."


class TrustSpec(Spec):
    """The fingerprints of the keys that a host was seen to show, as a person compared them; `replaces` those before."""

    fingerprints: Annotated[list[Fingerprint], Field(min_length=1, max_length=MOST_KEYS)]
    replaces: Annotated[list[Fingerprint], Field(max_length=MOST_KEYS)] = []


class ElsewhereSpec(Spec):
    """Another hypervisor to import machines from, in typed parts.

    VMware (`esx`, `vpx`) takes a user and a password, and for a vCenter the `path` to one of its hosts; with
    `unverified` its certificate is not looked at. The others are signed in to by SSH with our key, and known by the
    `fingerprints` of theirs: asked without any, the operation fails and the keys that it shows are told.
    """

    kind: SourceKind
    hostname: Annotated[str, StringConstraints(max_length=253)]
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    user: Annotated[str, StringConstraints(max_length=128)] = ""
    password: SecretStr = SecretStr("")
    path: Annotated[str, StringConstraints(max_length=400)] = ""
    unverified: bool = False
    fingerprints: Annotated[list[Fingerprint], Field(max_length=MOST_KEYS)] = []

    @model_validator(mode="after")
    def reachable(self) -> Self:
        try:
            check_source(self.address)
        except InvalidSpec as error:
            raise ValueError(str(error)) from None
        return self

    @property
    def address(self) -> SourceAddress:
        password = self.password.get_secret_value()
        return SourceAddress(self.kind, self.hostname, self.port, self.user, password, self.path, self.unverified)


def nothing_to_trust(host: Any) -> str:
    return "" if host.offered else gettext("it shows no key that is still to be confirmed")


def misfits(rows: Rows, target: Any, spec: Any) -> dict[str, str]:
    """A password is for one account on one host: it goes to no other, whoever changes the address."""
    if not (spec.user and target.sealed_password and spec.leads_elsewhere(target)):
        return {}
    if spec.transport == Transport.SSH or spec.password.get_secret_value():
        return {}
    return {"password": gettext("Enter the password again: the one that is kept is for the address as it was.")}


def virsh_connect(target: Subject, spec: Any) -> str:
    return f"virsh -c {shlex.quote(shown_uri(target))} version"


def virsh_look(target: Subject, spec: ElsewhereSpec) -> str:
    return f"virsh -c {shlex.quote(shown_source(spec.address))} list --all"


VERBS = (
    Verb(
        "host.add",
        _("Add a host"),
        Role.ADMINISTRATOR,
        virsh_connect,
        spec=HostSpec,
        made_on="",
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
        misfits=misfits,
        icon="edit",
        needs_host=False,
    ),
    Verb(
        "host.trust",
        _("Confirm its key"),
        Role.ADMINISTRATOR,
        nothing_on_the_host,
        spec=TrustSpec,
        forbids=nothing_to_trust,
        icon="shield-check",
        needs_host=False,
    ),
    Verb(
        "host.look_elsewhere",
        _("Look at another hypervisor"),
        Role.ADMINISTRATOR,
        virsh_look,
        spec=ElsewhereSpec,
        exclusive=False,
        cancellable=True,
        queue=Queue.SLOW,
        icon="package-import",
        everywhere=True,
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

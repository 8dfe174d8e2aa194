"""The verbs of hosts, and what they take."""

from __future__ import annotations

import shlex
from typing import Annotated, Any, Self

from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy
from pydantic import AfterValidator, Field, StringConstraints, model_validator

from webvirt.hypervisor.addresses import check_address
from webvirt.hypervisor.errors import InvalidSpec
from webvirt.hypervisor.types import HostAddress, Transport
from webvirt.models import Role
from webvirt.services.catalogue.specs import Spec, domain_name
from webvirt.services.catalogue.verb import Verb, nothing_on_the_host, shown_uri
from webvirt.services.subjects import Subject


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


def virsh_connect(target: Subject, spec: Any) -> str:
    return f"virsh -c {shlex.quote(shown_uri(target))} version"


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

"""The verbs of virtual networks, and what they take."""

from __future__ import annotations

import shlex
from typing import Annotated, Self

from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy
from pydantic import AfterValidator, Field, StringConstraints, model_validator

from webvirt.hypervisor.errors import InvalidSpec
from webvirt.hypervisor.network_rules import check_network
from webvirt.hypervisor.types import (
    Bandwidth,
    DhcpRange,
    DnsHost,
    Forward,
    NetworkAddress,
    NetworkSpec,
    StaticLease,
)
from webvirt.models import NetworkStatus, Role
from webvirt.services import uses
from webvirt.services.catalogue.specs import AutostartSpec, Spec, domain_name, one_line
from webvirt.services.catalogue.verb import Group, Verb, shown_uri, virsh, virsh_autostart
from webvirt.services.subjects import Subject

N = NetworkStatus

Text = Annotated[str, StringConstraints(max_length=255), AfterValidator(one_line)]
KIB_PER_SECOND = Annotated[int, Field(ge=0, le=10**9)]


class RangeSpec(Spec):
    start: Text
    end: Text


class LeaseSpec(Spec):
    """An address kept for one card."""

    mac: Text
    address: Text
    name: Text = ""
    duid: Text = ""

    @model_validator(mode="after")
    def possible(self) -> Self:
        if not self.address or not (self.mac or self.name or self.duid):
            raise ValueError("an address needs the card, the name or the DUID that it is kept for")
        return self

    @property
    def lease(self) -> StaticLease:
        return StaticLease(self.mac, self.address, self.name, self.duid)


class AddressSpec(Spec):
    """The host's own address on the network, and what it hands out there."""

    address: Text
    prefix: Annotated[int, Field(ge=1, le=128)]
    ranges: Annotated[list[RangeSpec], Field(max_length=20)] = []
    leases: Annotated[list[LeaseSpec], Field(max_length=1000)] = []

    @property
    def parts(self) -> NetworkAddress:
        return NetworkAddress(
            self.address,
            self.prefix,
            tuple(DhcpRange(one.start, one.end) for one in self.ranges),
            tuple(one.lease for one in self.leases),
        )


class DnsSpec(Spec):
    address: Text
    names: Annotated[list[Text], Field(min_length=1, max_length=20)]


class LimitSpec(Spec):
    """KiB a second, and KiB of burst; 0 sets none."""

    average: KIB_PER_SECOND = 0
    peak: KIB_PER_SECOND = 0
    burst: KIB_PER_SECOND = 0


class CreateNetworkSpec(Spec):
    """What a way of forwarding takes, `hypervisor.xml.networks.build_network` says."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=50), AfterValidator(domain_name)]
    forward: Forward = Forward.NAT
    bridge: Text = ""
    devices: Annotated[list[Text], Field(max_length=64)] = []
    domain: Text = ""
    mtu: Annotated[int, Field(ge=0, le=65535)] = 0
    vlans: Annotated[list[Annotated[int, Field(ge=1, le=4094)]], Field(max_length=100)] = []
    virtualport: Text = ""
    port_isolated: bool = False
    addresses: Annotated[list[AddressSpec], Field(max_length=16)] = []
    dns: bool = True
    dns_hosts: Annotated[list[DnsSpec], Field(max_length=200)] = []
    inbound: LimitSpec | None = None
    outbound: LimitSpec | None = None

    @model_validator(mode="after")
    def possible(self) -> Self:
        try:
            check_network(self.network)
        except InvalidSpec as error:
            raise ValueError(str(error)) from None
        return self

    @property
    def network(self) -> NetworkSpec:
        return NetworkSpec(
            name=self.name,
            forward=self.forward,
            bridge=self.bridge,
            devices=tuple(self.devices),
            domain=self.domain,
            mtu=self.mtu,
            vlans=tuple(self.vlans),
            virtualport=self.virtualport,
            port_isolated=self.port_isolated,
            addresses=tuple(one.parts for one in self.addresses),
            dns=self.dns,
            dns_hosts=tuple(DnsHost(one.address, tuple(one.names)) for one in self.dns_hosts),
            inbound=Bandwidth(**self.inbound.model_dump()) if self.inbound else None,
            outbound=Bandwidth(**self.outbound.model_dump()) if self.outbound else None,
        )


class EditNetworkSpec(CreateNetworkSpec):
    """`seen` is `version_of` the definition that the change was made from: another one's change is never lost."""

    seen: Text = ""


def virsh_create(target: Subject, spec: CreateNetworkSpec) -> str:
    base, name = f"virsh -c {shlex.quote(shown_uri(target))}", shlex.quote(spec.name)
    return f"{base} net-define network.xml\n{base} net-start {name}\n{base} net-autostart {name}"


def virsh_edit(target: Subject, spec: CreateNetworkSpec) -> str:
    return virsh("net-edit")(target, spec)


def virsh_lease(word: str, target: Subject, spec: LeaseSpec) -> str:
    name = f" name='{spec.name}'" if spec.name else ""
    host = shlex.quote(f"<host mac='{spec.mac}'{name} ip='{spec.address}'/>")
    return f"{virsh('net-update')(target, spec)} {word} ip-dhcp-host {host} --live --config"


def virsh_add_lease(target: Subject, spec: LeaseSpec) -> str:
    return virsh_lease("add-last", target, spec)


def virsh_remove_lease(target: Subject, spec: LeaseSpec) -> str:
    return virsh_lease("delete", target, spec)


VERBS = (
    Verb(
        "network.create",
        _("Create a network"),
        Role.ADMINISTRATOR,
        virsh_create,
        spec=CreateNetworkSpec,
        exclusive=False,
        made_on="host",
        icon="network",
    ),
    Verb(
        "network.start",
        pgettext_lazy("verb", "Start"),
        Role.ADMINISTRATOR,
        virsh("net-start"),
        states=frozenset({N.INACTIVE}),
        group=Group.START,
        icon="player-play",
        bulk=True,
    ),
    Verb(
        "network.stop",
        pgettext_lazy("verb", "Stop"),
        Role.ADMINISTRATOR,
        virsh("net-destroy"),
        states=frozenset({N.ACTIVE}),
        group=Group.STOP,
        icon="player-stop",
        danger=_("Machines on it lose their connection, and have it again only after they were started anew."),
        bulk=True,
    ),
    Verb(
        "network.autostart",
        _("Start with the host"),
        Role.ADMINISTRATOR,
        virsh_autostart("net-autostart"),
        spec=AutostartSpec,
        group=Group.CHANGE,
        icon="bolt",
    ),
    Verb(
        "network.edit",
        pgettext_lazy("verb", "Edit"),
        Role.ADMINISTRATOR,
        virsh_edit,
        spec=EditNetworkSpec,
        group=Group.CHANGE,
        icon="edit",
    ),
    Verb(
        "network.keep_address",
        _("Keep an address for a card"),
        Role.ADMINISTRATOR,
        virsh_add_lease,
        spec=LeaseSpec,
        group=Group.CHANGE,
        icon="pin",
    ),
    Verb(
        "network.free_address",
        _("Keep the address no longer"),
        Role.ADMINISTRATOR,
        virsh_remove_lease,
        spec=LeaseSpec,
        group=Group.CHANGE,
        icon="pinned-off",
    ),
    Verb(
        "network.undefine",
        pgettext_lazy("verb", "Delete"),
        Role.ADMINISTRATOR,
        virsh("net-undefine"),
        states=frozenset({N.INACTIVE}),
        icon="trash",
        danger=_("Its definition is deleted with its kept addresses."),
        forbids=uses.network_in_use,
        by_name=True,
    ),
)

"""Other hypervisors that machines are imported from: where they are, and the machines that they have."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from webvirt.hypervisor.types.domains import DomainState
from webvirt.hypervisor.types.hosts import HostAddress, Transport


class SourceKind(StrEnum):
    """What runs there, in the words of libvirt's URIs. ESX and VPX (vCenter) are asked by HTTPS, the others by SSH."""

    ESX = "esx"
    VPX = "vpx"
    XEN = "xen"
    VBOX = "vbox"
    QEMU = "qemu"


OF_VMWARE = (SourceKind.ESX, SourceKind.VPX)


@dataclass(frozen=True)
class SourceAddress:
    """Where another hypervisor is. `hypervisor.connection.source_uri` validates the parts and makes the URI.

    VMware is signed in to as `user` by a `password`, the others with our key, as hosts are. `path` leads to an ESXi
    within a vCenter: `DATACENTER/CLUSTER/HOST`. With `unverified` VMware's certificate is not looked at.
    """

    kind: SourceKind
    hostname: str
    port: int | None = None
    user: str = ""
    password: str = field(default="", repr=False)
    path: str = ""
    unverified: bool = False
    keys: tuple[str, ...] = ()
    """As in HostAddress."""

    @property
    def is_vmware(self) -> bool:
        return self.kind in OF_VMWARE

    @property
    def host(self) -> HostAddress:
        """As an address of a host: that its port is asked whether it answers, and that ssh knows it."""
        if self.is_vmware:
            return HostAddress(Transport.TLS, self.hostname, self.port or 443, self.user, password=self.password)
        return HostAddress(Transport.SSH, self.hostname, self.port, self.user, self.keys)


@dataclass(frozen=True)
class SourceMachine:
    """A machine of another hypervisor, with its definition as it gives it: anybody may have written that."""

    uuid: str
    name: str
    state: DomainState
    xml: str
    saved: bool = False
    """Whether its memory lies saved there, so that its disks are as of the middle of its work."""

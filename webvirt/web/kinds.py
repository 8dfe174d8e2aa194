"""Kinds of pools, networks and secrets in words, for lists and forms."""

from __future__ import annotations

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from webvirt.hypervisor.types import Forward, PoolType, SecretUsage

NEARLY_FULL = 85
"""Per cent of a pool from which on we warn."""

POOL_TYPES = {
    PoolType.DIR: gettext_lazy("Folder"),
    PoolType.FS: gettext_lazy("File system"),
    PoolType.NETFS: gettext_lazy("NFS share"),
    PoolType.LOGICAL: gettext_lazy("LVM volume group"),
    PoolType.DISK: gettext_lazy("Disk"),
    PoolType.ISCSI: gettext_lazy("iSCSI target"),
    PoolType.RBD: gettext_lazy("Ceph RBD"),
    PoolType.ZFS: gettext_lazy("ZFS pool"),
    PoolType.GLUSTER: gettext_lazy("Gluster volume"),
}

FORWARDS = {
    Forward.NAT: gettext_lazy("NAT"),
    Forward.ROUTE: gettext_lazy("Routed"),
    Forward.OPEN: gettext_lazy("Open"),
    Forward.ISOLATED: gettext_lazy("Isolated"),
    Forward.BRIDGE: gettext_lazy("Bridge"),
    Forward.PRIVATE: gettext_lazy("macvtap, private"),
    Forward.VEPA: gettext_lazy("macvtap, VEPA"),
    Forward.PASSTHROUGH: gettext_lazy("macvtap, passthrough"),
    Forward.HOSTDEV: gettext_lazy("SR-IOV devices"),
}

SECRET_USAGES = {
    SecretUsage.CEPH: gettext_lazy("Ceph"),
    SecretUsage.ISCSI: gettext_lazy("iSCSI"),
    SecretUsage.VOLUME: gettext_lazy("Encrypted volume"),
    SecretUsage.TLS: gettext_lazy("TLS"),
    SecretUsage.VTPM: gettext_lazy("Virtual TPM"),
    SecretUsage.NONE: gettext_lazy("Nothing in particular"),
}


INTERFACES = {
    "ethernet": gettext_lazy("Ethernet"),
    "bridge": gettext_lazy("Bridge"),
    "bond": gettext_lazy("Bond"),
    "vlan": gettext_lazy("VLAN"),
    "tap": gettext_lazy("a machine's own"),
    "other": gettext_lazy("other"),
}


def pool_type(kind: str) -> str:
    """A type in words; one that we cannot make keeps libvirt's name."""
    return str(POOL_TYPES[PoolType(kind)]) if kind in set(PoolType) else kind


def pool_types() -> list[tuple[str, str, str]]:
    """(value, label, what it is) of each type of pool that can be made."""
    texts = {
        PoolType.DIR: _("A folder on the host; each volume is a file in it."),
        PoolType.FS: _("A partition with a file system, which libvirt mounts."),
        PoolType.NETFS: _("A folder that a server exports, the same for several hosts."),
        PoolType.LOGICAL: _("Each volume is a logical volume."),
        PoolType.DISK: _("A whole disk; each volume is a partition."),
        PoolType.ISCSI: _("Each volume is a unit of the target. They are made on the target, not here."),
        PoolType.RBD: _("Each volume is an image in a Ceph pool."),
        PoolType.ZFS: _("Each volume is a ZFS volume."),
        PoolType.GLUSTER: _("Each volume is a file on a Gluster volume."),
    }
    return [(kind.value, str(label), texts[kind]) for kind, label in POOL_TYPES.items()]


def interface(kind: str) -> str:
    """A kind of the host's own interfaces in words."""
    return str(INTERFACES.get(kind, kind))


def forward(mode: str) -> str:
    """A way of forwarding in words."""
    return str(FORWARDS[Forward(mode)]) if mode in set(Forward) else mode


def forward_modes() -> list[tuple[str, str, str]]:
    """(value, label, what it means) of each way of forwarding."""
    texts = {
        Forward.NAT: _("Machines reach the world by the host's address; nobody reaches them from outside."),
        Forward.ROUTE: _("Machines have addresses of their own, which your router must know."),
        Forward.OPEN: _("As routed, and libvirt sets no firewall rules at all."),
        Forward.ISOLATED: _("Machines reach each other and the host, and nothing else."),
        Forward.BRIDGE: _("Machines are in the network of a bridge of the host, or of an interface by macvtap."),
        Forward.PRIVATE: _("By an interface of the host; machines on it do not reach each other."),
        Forward.VEPA: _("By an interface of the host and a switch that sends back what is for a neighbour."),
        Forward.PASSTHROUGH: _("Each machine has an interface of the host for itself."),
        Forward.HOSTDEV: _("Each machine gets a virtual function of a network card."),
    }
    return [(mode.value, str(label), texts[mode]) for mode, label in FORWARDS.items()]


def secret_usage(usage: str) -> str:
    """What a secret is for in words."""
    return str(SECRET_USAGES[SecretUsage(usage)]) if usage in set(SecretUsage) else usage


def secret_usages() -> list[tuple[str, str, str]]:
    """(value, label, what it is) of each use of a secret."""
    texts = {
        SecretUsage.CEPH: _("The key with which pools and disks sign in to a Ceph cluster."),
        SecretUsage.ISCSI: _("The password with which pools and disks sign in to an iSCSI target."),
        SecretUsage.VOLUME: _("The passphrase of a volume that is encrypted (LUKS)."),
        SecretUsage.TLS: _("The passphrase of a private key for TLS."),
        SecretUsage.VTPM: _("The passphrase with which a virtual TPM's state is encrypted."),
        SecretUsage.NONE: _("What names it by its UUID."),
    }
    return [(usage.value, str(label), texts[usage]) for usage, label in SECRET_USAGES.items()]

"""Storage: pools, their volumes, and what a host's libvirt can make of both. All sizes are bytes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

Extent = bytes | int
"""A part of a volume's content: its bytes, or how many follow that were never written and read as zeros (a hole)."""


class PoolState(StrEnum):
    """libvirt's pool states in one word each (`VIR_STORAGE_POOL_*`)."""

    INACTIVE = "inactive"
    BUILDING = "building"
    RUNNING = "running"
    DEGRADED = "degraded"
    INACCESSIBLE = "inaccessible"


class PoolType(StrEnum):
    """The kinds of pool that we can make; a host may have others, which are shown all the same."""

    DIR = "dir"
    FS = "fs"
    NETFS = "netfs"
    LOGICAL = "logical"
    DISK = "disk"
    ISCSI = "iscsi"
    RBD = "rbd"
    ZFS = "zfs"
    GLUSTER = "gluster"


class Preallocation(StrEnum):
    """How much of a new volume is written at once: nothing, its tables, or all of it."""

    OFF = "off"
    METADATA = "metadata"
    FULL = "full"


@dataclass(frozen=True)
class PoolSummary:
    """One line of a host's pools. Sizes are 0 while it does not run."""

    uuid: str
    name: str
    state: PoolState
    persistent: bool = True
    autostart: bool = False
    capacity: int = 0
    allocation: int = 0
    available: int = 0


@dataclass(frozen=True)
class PoolInfo:
    """A pool as defined. Which fields mean something depends on `type`; the others are empty."""

    uuid: str
    name: str
    type: str
    target_path: str = ""
    """Where volumes appear on the host; also the mount point."""
    source_hosts: tuple[str, ...] = ()
    """`name` or `name:port`."""
    source_path: str = ""
    """The exported directory (netfs, gluster)."""
    source_name: str = ""
    """The volume group, the Ceph or ZFS pool, the Gluster volume."""
    source_devices: tuple[str, ...] = ()
    source_format: str = ""
    auth_user: str = ""
    auth_secret: str = ""
    """The UUID or usage of the secret it signs in with."""


@dataclass(frozen=True)
class PoolReading:
    """Everything one look at a pool brings; the text is without secrets."""

    summary: PoolSummary
    info: PoolInfo
    xml: str


@dataclass(frozen=True)
class PoolSpec:
    """A pool to be made. `hypervisor.xml.storage.build_pool` says which fields a type needs and refuses the others."""

    name: str
    type: PoolType
    target_path: str = ""
    source_host: str = ""
    source_port: int | None = None
    source_path: str = ""
    source_name: str = ""
    source_devices: tuple[str, ...] = ()
    source_format: str = ""
    auth_user: str = ""
    auth_secret: str = ""
    """The UUID of a secret that is on the host."""
    more_hosts: tuple[str, ...] = ()
    """The other monitors of a Ceph cluster, `name` or `name:port`."""


@dataclass(frozen=True)
class PoolSupport:
    """What a host's libvirt says of one type of pool."""

    type: str
    supported: bool
    source_formats: tuple[str, ...] = ()
    volume_formats: tuple[str, ...] = ()


@dataclass(frozen=True)
class VolumeInfo:
    """A volume as libvirt tells it. Its identity is (pool, name).

    `kind` is libvirt's: file, block, dir, network, netdir or ploop. `modified_at` is seconds since the epoch, or None
    where the pool does not tell.
    """

    name: str
    key: str
    path: str
    kind: str = "file"
    format: str = ""
    capacity: int = 0
    allocation: int = 0
    physical: int = 0
    """How long all of it is, as a download brings it; 0 where the host does not tell."""
    backing_path: str = ""
    backing_format: str = ""
    encrypted: bool = False
    secret: str = ""
    """The UUID of the secret that it is encrypted with. Nothing in the volume tells it: libvirt knows it until it looks
    at the pool again, and from then on only of a secret that is for this volume, by its path."""
    modified_at: float | None = None


@dataclass(frozen=True)
class DiscLabel:
    """What a CD or DVD says of itself; empty where it says nothing. `size` is bytes, of its file system."""

    volume_id: str = ""
    system_id: str = ""
    publisher_id: str = ""
    application_id: str = ""
    size: int = 0


@dataclass(frozen=True)
class VolumeSpec:
    """A volume to be made. `capacity` may be 0 where a backing volume gives it."""

    name: str
    capacity: int
    format: str = "qcow2"
    preallocation: Preallocation = Preallocation.OFF
    backing_path: str = ""
    backing_format: str = ""
    secret: str = ""
    """The UUID of a LUKS passphrase on the host: the volume is encrypted with it."""

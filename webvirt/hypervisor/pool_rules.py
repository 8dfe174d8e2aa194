"""What a pool and a volume may be, before libvirt is asked. Needs neither libvirt nor XML."""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass
from uuid import UUID

from webvirt.hypervisor.addresses import is_hostname
from webvirt.hypervisor.errors import InvalidSpec
from webvirt.hypervisor.types import PoolSpec, PoolType, Preallocation, VolumeSpec

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,119}", re.ASCII)
"""Of a pool or a volume. libvirt takes `-rf` and names of two lines, which tools and people then stumble over."""
SOURCE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]{0,119}(/[A-Za-z0-9_][A-Za-z0-9._+-]{0,119})*", re.ASCII)
TARGET_NAME = re.compile(r"(iqn\.\d{4}-\d\d\.[a-z0-9.-]+(:[A-Za-z0-9._:-]+)?|(eui|naa)\.[0-9A-Fa-f]{16,32})", re.ASCII)
USER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@-]{0,119}", re.ASCII)
WORD = re.compile(r"[a-z0-9][a-z0-9+-]{0,31}", re.ASCII)
"""A format. Which ones there are is the host's to say (`parse_pool_support`)."""
THE_HOSTS_OWN = ("/etc", "/proc", "/sys", "/dev", "/boot", "/root")
"""Where no pool may be: its files would be listed as volumes, to be read, overwritten and deleted."""
MOST_BYTES = 2**63 - 1


def parts(text: str) -> frozenset[str]:
    return frozenset(text.split())


@dataclass(frozen=True)
class Kind:
    """What a type of pool is made of: the fields of PoolSpec that it needs and those that it may have besides."""

    needs: frozenset[str]
    takes: frozenset[str] = frozenset()
    formats: frozenset[str] = frozenset()
    devices: int = 1
    """How many there may be."""
    auth: str = ""
    """libvirt's word for how it signs in."""


FS_FORMATS = parts("auto ext2 ext3 ext4 ufs iso9660 udf gfs gfs2 vfat hfs+ xfs ocfs2 vmfs")
DISK_FORMATS = parts("dos dvh gpt mac bsd pc98 sun lvm2")
MANY = 64
KINDS = {
    PoolType.DIR: Kind(parts("target_path")),
    PoolType.FS: Kind(parts("source_devices source_format target_path"), formats=FS_FORMATS),
    PoolType.NETFS: Kind(
        parts("source_host source_path source_format target_path"), formats=parts("nfs glusterfs cifs")
    ),
    PoolType.LOGICAL: Kind(
        parts("source_name"),
        parts("source_devices source_format target_path"),
        formats=parts("lvm2"),
        devices=MANY,
    ),
    PoolType.DISK: Kind(parts("source_devices target_path"), parts("source_format"), formats=DISK_FORMATS),
    PoolType.ISCSI: Kind(
        parts("source_host source_devices target_path"), parts("source_port auth_user auth_secret"), auth="chap"
    ),
    PoolType.RBD: Kind(
        parts("source_host source_name"),
        parts("source_port more_hosts auth_user auth_secret"),
        auth="ceph",
    ),
    PoolType.ZFS: Kind(parts("source_name")),
    PoolType.GLUSTER: Kind(parts("source_host source_name source_path"), parts("source_port")),
}
PARTS = {
    "target_path": "target path",
    "source_host": "host",
    "source_port": "port",
    "more_hosts": "more hosts",
    "source_path": "exported path",
    "source_name": "source name",
    "source_devices": "devices",
    "source_format": "source format",
    "auth_user": "user",
    "auth_secret": "secret",
}
"""What the fields of PoolSpec are called in sentences."""


def check_pool(spec: PoolSpec) -> None:
    """Raise InvalidSpec, with a sentence for the person, unless every part is what it should be."""
    kind = KINDS[spec.type]
    check_name(spec.name)
    for field, part in PARTS.items():
        given = bool(getattr(spec, field))
        if not given and field in kind.needs:
            raise InvalidSpec(f"A pool of type {spec.type} needs this part: {part}.")
        if given and field not in kind.needs | kind.takes:
            raise InvalidSpec(f"A pool of type {spec.type} has no such part: {part}.")
    if spec.source_format and spec.source_format not in kind.formats:
        raise InvalidSpec(f"The source format must be one of these: {', '.join(sorted(kind.formats))}.")
    if spec.target_path:
        check_target(spec)
    if spec.source_path:
        check_exported(spec)
    if spec.source_name and not SOURCE_NAME.fullmatch(spec.source_name):
        raise InvalidSpec("The source name may hold letters, digits, '.', '_', '+' and '-', and '/' between two names.")
    for name, port in hosts_of(spec):
        check_host(name, port)
    check_devices(spec)
    check_auth(spec)


def check_name(name: str) -> None:
    if not NAME.fullmatch(name):
        raise InvalidSpec(
            "The name may hold 1 to 120 letters, digits, '.', '_' and '-', and begins with a letter or digit."
        )


def check_path(path: str) -> None:
    """A path in one spelling and without what cannot be seen."""
    if not path.isprintable() or path != path.strip() or path[:1] != "/" or path[:2] == "//":
        raise InvalidSpec("A path begins with one '/', is one line and does not end with a space.")
    if posixpath.normpath(path) != path:
        raise InvalidSpec("A path holds no '.', no '..', no '//' and no '/' at its end.")


def check_target(spec: PoolSpec) -> None:
    """A folder that is no part of the host's own system; /dev where the pool's volumes are devices."""
    path = spec.target_path
    check_path(path)
    if spec.type == PoolType.LOGICAL:
        if path != f"/dev/{spec.source_name}":
            raise InvalidSpec("The target path of a volume group is /dev/ and its name: leave it empty.")
        return
    if (spec.type == PoolType.DISK and path == "/dev") or (
        spec.type in (PoolType.DISK, PoolType.ISCSI) and below(path, "/dev/disk")
    ):
        return
    if path == "/" or any(below(path, own) for own in THE_HOSTS_OWN):
        raise InvalidSpec(f"This folder belongs to the host's own system: {path}")


def below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder}/")


def check_exported(spec: PoolSpec) -> None:
    """A folder on the other host; of CIFS the name of a share, perhaps with folders."""
    if spec.source_format != "cifs":
        check_path(spec.source_path)
    elif spec.source_path[:1] == "/":
        raise InvalidSpec("A CIFS share is told by its name, without '/' before it.")
    else:
        check_path(f"/{spec.source_path}")


def hosts_of(spec: PoolSpec) -> list[tuple[str, int | None]]:
    """Names and ports of all hosts. Raises InvalidSpec for a port that is no number."""
    hosts = [(spec.source_host, spec.source_port)] if spec.source_host else []
    return hosts + [host_parts(host) for host in spec.more_hosts]


def host_parts(host: str) -> tuple[str, int | None]:
    """The name and port of `name` or `name:port`. Raises InvalidSpec for a port that is no number."""
    name, colon, port = host.rpartition(":") if host.count(":") == 1 or host[:1] == "[" else (host, "", "")
    if colon and not re.fullmatch(r"\d{1,5}", port, re.ASCII):
        raise InvalidSpec("The port must be between 1 and 65535.")
    return name.removeprefix("[").removesuffix("]"), int(port) if colon else None


def check_host(name: str, port: int | None) -> None:
    if not is_hostname(name):
        raise InvalidSpec("The host name must be a DNS name or an IP address, such as vm1.example.org or 192.0.2.7.")
    if port is not None and not 1 <= port <= 65535:
        raise InvalidSpec("The port must be between 1 and 65535.")


def check_devices(spec: PoolSpec) -> None:
    if len(spec.source_devices) > KINDS[spec.type].devices:
        raise InvalidSpec(f"Too many devices for a pool of type {spec.type}.")
    for device in spec.source_devices:
        if spec.type == PoolType.ISCSI:
            if not TARGET_NAME.fullmatch(device):
                raise InvalidSpec("An iSCSI target has a name such as iqn.2004-04.org.example:disks.")
            continue
        check_path(device)
        if not device.startswith("/dev/"):
            raise InvalidSpec("A device is a path in /dev.")


def check_auth(spec: PoolSpec) -> None:
    if bool(spec.auth_user) != bool(spec.auth_secret):
        raise InvalidSpec("To sign in takes both a user and a secret.")
    if spec.auth_user and not USER.fullmatch(spec.auth_user):
        raise InvalidSpec("The user may hold letters, digits, '.', '_', ':', '@' and '-'.")
    if spec.auth_secret:
        check_secret(spec.auth_secret)


def check_secret(uuid: str) -> None:
    if not is_uuid(uuid):
        raise InvalidSpec("A secret is named by its UUID.")


def is_uuid(text: str) -> bool:
    """Whether it is a UUID in its usual spelling."""
    try:
        return str(UUID(text)) == text.lower()
    except ValueError:
        return False


def check_volume(spec: VolumeSpec) -> None:
    """Raise InvalidSpec, with a sentence for the person, unless every part is what it should be."""
    check_name(spec.name)
    if not 0 <= spec.capacity <= MOST_BYTES or not (spec.capacity or spec.backing_path):
        raise InvalidSpec("A volume needs a size in bytes.")
    if not WORD.fullmatch(spec.format):
        raise InvalidSpec("Tell the format of the volume, such as qcow2 or raw.")
    if bool(spec.backing_path) != bool(spec.backing_format):
        raise InvalidSpec("A backing volume is told by its path and its format.")
    if spec.backing_path:
        check_path(spec.backing_path)
        if not WORD.fullmatch(spec.backing_format):
            raise InvalidSpec("Tell the format of the backing volume, such as qcow2 or raw.")
    if spec.secret:
        check_secret(spec.secret)
    check_space(spec.format, spec.preallocation, encrypted=bool(spec.secret))


def check_space(volume_format: str, preallocation: Preallocation, *, encrypted: bool) -> None:
    """Raise InvalidSpec for space that libvirt does not allocate beforehand, be it that it says so or not."""
    if preallocation == Preallocation.METADATA and volume_format != "qcow2":
        raise InvalidSpec("Only qcow2 has tables that can be made beforehand.")
    if preallocation == Preallocation.FULL and volume_format == "raw" and encrypted:
        raise InvalidSpec("An encrypted raw volume takes its space as it is written: libvirt does not fill it before.")

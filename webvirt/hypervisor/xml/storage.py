"""Storage pools and volumes: libvirt's XML read into types, and made from what a person asks for."""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass
from uuid import UUID

from lxml import etree

from webvirt.hypervisor.addresses import is_hostname
from webvirt.hypervisor.errors import InvalidSpec
from webvirt.hypervisor.types import (
    PoolInfo,
    PoolSpec,
    PoolSupport,
    PoolType,
    Preallocation,
    VolumeInfo,
    VolumeSpec,
)
from webvirt.hypervisor.xml.parse import BYTES, Element, attribute, text, tree_of, words

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


FS_FORMATS = words("auto ext2 ext3 ext4 ufs iso9660 udf gfs gfs2 vfat hfs+ xfs ocfs2 vmfs")
DISK_FORMATS = words("dos dvh gpt mac bsd pc98 sun lvm2")
MANY = 64
KINDS = {
    PoolType.DIR: Kind(words("target_path")),
    PoolType.FS: Kind(words("source_devices source_format target_path"), formats=FS_FORMATS),
    PoolType.NETFS: Kind(
        words("source_host source_path source_format target_path"), formats=words("nfs glusterfs cifs")
    ),
    PoolType.LOGICAL: Kind(
        words("source_name"),
        words("source_devices source_format target_path"),
        formats=words("lvm2"),
        devices=MANY,
    ),
    PoolType.DISK: Kind(words("source_devices target_path"), words("source_format"), formats=DISK_FORMATS),
    PoolType.ISCSI: Kind(
        words("source_host source_devices target_path"), words("source_port auth_user auth_secret"), auth="chap"
    ),
    PoolType.RBD: Kind(
        words("source_host source_name"),
        words("source_port more_hosts auth_user auth_secret"),
        auth="ceph",
    ),
    PoolType.ZFS: Kind(words("source_name")),
    PoolType.GLUSTER: Kind(words("source_host source_name source_path"), words("source_port")),
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
WHOLE = (PoolType.LOGICAL, PoolType.DISK)
"""Where a volume always has all its space: libvirt makes a thin one of LVM a snapshot that fills up and breaks."""


# --- reading


def parse_pool(xml: str) -> PoolInfo:
    """A pool's definition, of whatever type. Raises InvalidSpec when it is none."""
    root = root_of(xml, "pool")
    return PoolInfo(
        uuid=text(root, "uuid"),
        name=text(root, "name"),
        type=root.get("type", ""),
        target_path=text(root, "target/path"),
        source_hosts=tuple(host_of(host) for host in root.iterfind("source/host")),
        source_path=attribute(root, "source/dir", "path"),
        source_name=text(root, "source/name"),
        source_devices=tuple(device.get("path", "") for device in root.iterfind("source/device")),
        source_format=attribute(root, "source/format", "type"),
        auth_user=attribute(root, "source/auth", "username"),
        auth_secret=attribute(root, "source/auth/secret", "uuid") or attribute(root, "source/auth/secret", "usage"),
    )


def parse_volume(xml: str) -> VolumeInfo:
    """A volume as libvirt tells it. Raises InvalidSpec when it is none."""
    root = root_of(xml, "volume")
    modified = text(root, "target/timestamps/mtime")
    return VolumeInfo(
        name=text(root, "name"),
        key=text(root, "key"),
        path=text(root, "target/path"),
        kind=root.get("type", "file"),
        format=attribute(root, "target/format", "type"),
        capacity=bytes_of(root, "capacity"),
        allocation=bytes_of(root, "allocation"),
        backing_path=text(root, "backingStore/path"),
        backing_format=attribute(root, "backingStore/format", "type"),
        encrypted=root.find("target/encryption") is not None,
        modified_at=float(modified) if re.fullmatch(r"\d+(\.\d+)?", modified, re.ASCII) else None,
    )


def parse_pool_support(xml: str) -> tuple[PoolSupport, ...]:
    """The answer of `virConnectGetStoragePoolCapabilities`: every type that libvirt knows, in its order."""
    root = root_of(xml, "storagepoolCapabilities")
    return tuple(
        PoolSupport(
            type=pool.get("type", ""),
            supported=pool.get("supported") == "yes",
            source_formats=values_of(pool, "poolOptions/enum[@name='sourceFormatType']/value"),
            volume_formats=values_of(pool, "volOptions/enum[@name='targetFormatType']/value"),
        )
        for pool in root.iterfind("pool")
    )


def root_of(xml: str, tag: str) -> Element:
    root = tree_of(xml)
    if root.tag != tag:
        raise InvalidSpec(f"Not a {tag}: the XML begins with <{root.tag}>.")
    return root


def host_of(host: Element) -> str:
    """`name` or `name:port`, an IPv6 address with a port in brackets."""
    name, port = host.get("name", ""), host.get("port", "")
    if not port or port == "0":
        return name
    return f"[{name}]:{port}" if ":" in name else f"{name}:{port}"


def bytes_of(root: Element, path: str) -> int:
    """A size in bytes, whatever its unit; 0 where there is none. Raises InvalidSpec for what is no size."""
    number, unit = text(root, path) or "0", attribute(root, path, "unit") or "bytes"
    if not re.fullmatch(r"\d+", number, re.ASCII) or unit not in BYTES:
        raise InvalidSpec(f"Not a size in {unit}: {number}")
    return int(number) * BYTES[unit]


def values_of(root: Element, path: str) -> tuple[str, ...]:
    return tuple(value.text for value in root.iterfind(path) if value.text)


# --- making


def build_pool(spec: PoolSpec) -> str:
    """The definition of a pool, checked: the fields that its type needs, and no others (`KINDS`).

    <pool type='netfs'><name>images</name>
      <source><host name='nas.example.org'/><dir path='/export/images'/><format type='nfs'/></source>
      <target><path>/srv/images</path></target></pool>

    With `<device path='/dev/sdb1'/>` for each device, `<name>` for a volume group or a pool of another system, and
    `<auth type='ceph' username='admin'><secret uuid='…'/></auth>` where it signs in. Raises InvalidSpec.
    """
    check_pool(spec)
    pool = etree.Element("pool", type=spec.type)
    etree.SubElement(pool, "name").text = spec.name
    source = etree.SubElement(pool, "source")
    for name, port in hosts_of(spec):
        host = etree.SubElement(source, "host", name=name)
        if port:
            host.set("port", str(port))
    if spec.source_path:
        etree.SubElement(source, "dir", path=spec.source_path)
    for device in spec.source_devices:
        etree.SubElement(source, "device", path=device)
    if spec.auth_user:
        auth = etree.SubElement(source, "auth", type=KINDS[spec.type].auth, username=spec.auth_user)
        etree.SubElement(auth, "secret", uuid=spec.auth_secret)
    if spec.source_name:
        etree.SubElement(source, "name").text = spec.source_name
    if spec.source_format:
        etree.SubElement(source, "format", type=spec.source_format)
    if spec.target_path:
        etree.SubElement(etree.SubElement(pool, "target"), "path").text = spec.target_path
    return etree.tostring(pool, encoding="unicode")


def build_volume(spec: VolumeSpec, pool_type: str = PoolType.DIR) -> str:
    """The definition of a volume for a pool of that type, checked.

    <volume><name>web.qcow2</name><capacity unit='bytes'>1024</capacity><allocation unit='bytes'>0</allocation>
      <target><format type='qcow2'/><compat>1.1</compat>
        <encryption format='luks'><secret type='passphrase' uuid='…'/></encryption></target>
      <backingStore><path>/srv/base.qcow2</path><format type='qcow2'/></backingStore></volume>

    The format is always told, of a backing volume too, so that nobody goes by what a guest wrote at its beginning.
    Without its own word libvirt makes qcow2 of the kind of 2007, which cannot be backed up step by step. Metadata is
    allocated by a flag of the call, see `StorageCalls.create_volume`. Raises InvalidSpec.
    """
    check_volume(spec)
    volume = etree.Element("volume")
    etree.SubElement(volume, "name").text = spec.name
    if spec.capacity:
        etree.SubElement(volume, "capacity", unit="bytes").text = str(spec.capacity)
    whole = pool_type in WHOLE or spec.preallocation == Preallocation.FULL
    etree.SubElement(volume, "allocation", unit="bytes").text = str(spec.capacity if whole else 0)
    target = etree.SubElement(volume, "target")
    etree.SubElement(target, "format", type=spec.format)
    if spec.format == "qcow2":
        etree.SubElement(target, "compat").text = "1.1"
    if spec.secret:
        encryption = etree.SubElement(target, "encryption", format="luks")
        etree.SubElement(encryption, "secret", type="passphrase", uuid=spec.secret)
    if spec.backing_path:
        backing = etree.SubElement(volume, "backingStore")
        etree.SubElement(backing, "path").text = spec.backing_path
        etree.SubElement(backing, "format", type=spec.backing_format)
    return etree.tostring(volume, encoding="unicode")


# --- checking


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
    for host in spec.more_hosts:
        name, colon, port = host.rpartition(":") if host.count(":") == 1 or host[:1] == "[" else (host, "", "")
        if colon and not re.fullmatch(r"\d{1,5}", port, re.ASCII):
            raise InvalidSpec("The port must be between 1 and 65535.")
        hosts.append((name.removeprefix("[").removesuffix("]"), int(port) if colon else None))
    return hosts


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
    try:
        spelled = str(UUID(uuid))
    except ValueError:
        spelled = ""
    if spelled != uuid.lower():
        raise InvalidSpec("A secret is named by its UUID.")


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

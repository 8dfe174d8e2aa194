"""Storage pools and volumes: libvirt's XML read into types, and made from what a person asks for."""

from __future__ import annotations

import re

from lxml import etree

from webvirt.hypervisor.errors import InvalidSpec
from webvirt.hypervisor.pool_rules import KINDS, check_pool, check_volume, hosts_of
from webvirt.hypervisor.types import (
    PoolInfo,
    PoolSpec,
    PoolSupport,
    PoolType,
    Preallocation,
    VolumeInfo,
    VolumeSpec,
)
from webvirt.hypervisor.xml.parse import BYTES, Element, attribute, text, tree_of

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
        physical=bytes_of(root, "physical"),
        backing_path=text(root, "backingStore/path"),
        backing_format=attribute(root, "backingStore/format", "type"),
        encrypted=root.find("target/encryption") is not None,
        secret=attribute(root, "target/encryption/secret", "uuid"),
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

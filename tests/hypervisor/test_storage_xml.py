"""Pools and volumes in libvirt's XML: goldens of every type, what is refused, and that no text becomes structure."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import libvirt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from tests.hypervisor.subjects import HERE, PREFIX
from webvirt.hypervisor.connection import uri_of
from webvirt.hypervisor.errors import InvalidSpec
from webvirt.hypervisor.pool_rules import KINDS, PARTS
from webvirt.hypervisor.types import PoolInfo, PoolSpec, PoolType, Preallocation, VolumeInfo, VolumeSpec
from webvirt.hypervisor.xml.storage import (
    build_pool,
    build_volume,
    parse_pool,
    parse_pool_support,
    parse_volume,
)

XML = Path(__file__).with_name("xml")
POOLS = sorted((XML / "pools").glob("*.xml"))
VOLUMES = sorted((XML / "volumes").glob("*.xml"))
SECRET = "2a5c2f5e-8d5f-4a43-9c0c-0f4b2e9d9c11"


def told(golden: Path) -> Any:
    return json.loads(golden.with_suffix(".json").read_text())


def is_built(golden: Path) -> bool:
    """Whether we make it ourselves; the others are as a host tells them."""
    return "spec" in told(golden)


def pool_spec(golden: Path) -> PoolSpec:
    spec: dict[str, Any] = told(golden)["spec"]
    lists: dict[str, Any] = {name: tuple(value) for name, value in spec.items() if isinstance(value, list)}
    return PoolSpec(**{**spec, **lists, "type": PoolType(spec["type"])})


def volume_spec(golden: Path) -> VolumeSpec:
    parts = told(golden)["spec"]
    return VolumeSpec(**{**parts, "preallocation": Preallocation(parts.get("preallocation", "off"))})


def as_json(info: PoolInfo | VolumeInfo) -> Any:
    return json.loads(json.dumps(asdict(info)))


def canonical(xml: str) -> str:
    return str(etree.canonicalize(xml, strip_text=True))


def stems(golden: Path) -> str:
    return golden.stem


BUILT_POOLS = [golden for golden in POOLS if is_built(golden)]
BUILT_VOLUMES = [golden for golden in VOLUMES if is_built(golden)]


# --- goldens


@pytest.mark.parametrize("golden", POOLS, ids=stems)
def test_a_pool_is_read(golden: Path) -> None:
    assert as_json(parse_pool(golden.read_text())) == told(golden)["info"]


@pytest.mark.parametrize("golden", VOLUMES, ids=stems)
def test_a_volume_is_read(golden: Path) -> None:
    assert as_json(parse_volume(golden.read_text())) == told(golden)["info"]


@pytest.mark.parametrize("golden", BUILT_POOLS, ids=stems)
def test_a_pool_is_made(golden: Path) -> None:
    assert canonical(build_pool(pool_spec(golden))) == canonical(golden.read_text())


@pytest.mark.parametrize("golden", BUILT_VOLUMES, ids=stems)
def test_a_volume_is_made(golden: Path) -> None:
    assert canonical(build_volume(volume_spec(golden), told(golden)["pool_type"])) == canonical(golden.read_text())


def test_every_type_has_a_golden() -> None:
    assert {pool_spec(golden).type for golden in BUILT_POOLS} == set(PoolType) == set(KINDS)


@pytest.mark.parametrize(
    ("kind", "goldens", "read"), [(PoolInfo, POOLS, parse_pool), (VolumeInfo, VOLUMES, parse_volume)]
)
def test_every_field_is_told_by_some_golden(
    kind: type, goldens: list[Path], read: Callable[[str], PoolInfo | VolumeInfo]
) -> None:
    """A field that no golden sets could be read wrong without anybody noticing."""
    infos = [read(golden.read_text()) for golden in goldens]
    names = {field.name: field.default for field in fields(kind)}
    seen = {name for info in infos for name, default in names.items() if getattr(info, name) not in (default, "")}
    assert seen == names.keys()


# --- what libvirt makes of them


@pytest.fixture(scope="module", params=["test:///default", uri_of(HERE)], ids=["test-driver", "qemu"])
def host(request: pytest.FixtureRequest) -> Iterator[Any]:
    connection = libvirt.open(request.param)
    yield connection
    connection.close()


def types_without_backend(host: Any) -> set[str]:
    """Those that the host's libvirt says it cannot run; the test driver imagines them all."""
    if host.getType() == "TEST":
        return set()
    return {each.type for each in parse_pool_support(host.getStoragePoolCapabilities(0)) if not each.supported}


@pytest.mark.parametrize("golden", BUILT_POOLS, ids=stems)
def test_libvirt_takes_the_pool_and_gives_it_back(golden: Path, host: Any) -> None:
    spec = replace(pool_spec(golden), name=f"{PREFIX}{golden.stem}")
    if spec.type in types_without_backend(host):
        with pytest.raises(libvirt.libvirtError, match="missing backend"):
            host.storagePoolDefineXML(build_pool(spec), 0)
        return
    pool = host.storagePoolDefineXML(build_pool(spec), 0)
    try:
        back = parse_pool(pool.XMLDesc(0))
    finally:
        pool.undefine()
    sent = parse_pool(build_pool(spec))
    # Where volume groups and ZFS pools appear is libvirt's to say.
    target = sent.target_path or {"zfs": f"/dev/zvol/{spec.source_name}"}.get(spec.type, "")
    assert back == replace(sent, uuid=back.uuid, target_path=target)


def test_the_seen_pools_are_libvirts() -> None:
    connection = libvirt.open("test:///default")
    for golden in set(POOLS) - set(BUILT_POOLS):
        pool = connection.storagePoolDefineXML(golden.read_text(), 0)
        try:
            assert parse_pool(pool.XMLDesc(0)) == parse_pool(golden.read_text())
        finally:
            pool.undefine()
    connection.close()


def test_what_a_host_can_run() -> None:
    host = libvirt.open(uri_of(HERE))
    support = {each.type: each for each in parse_pool_support(host.getStoragePoolCapabilities(0))}
    host.close()
    assert set(PoolType) <= support.keys()
    assert support["dir"].supported
    assert {"raw", "qcow2"} <= set(support["dir"].volume_formats)
    for each in PoolType:
        # Ours are all libvirt's.
        assert KINDS[each].formats <= set(support[each].source_formats)


def test_support_of_a_host_with_little() -> None:
    xml = """<storagepoolCapabilities><pool type='zfs' supported='no'/>
    <pool type='fs' supported='yes'><poolOptions><defaultFormat type='auto'/>
      <enum name='sourceFormatType'><value>auto</value><value>ext4</value></enum></poolOptions>
     <volOptions><defaultFormat type='raw'/><enum name='targetFormatType'><value>raw</value></enum></volOptions></pool>
    </storagepoolCapabilities>"""
    zfs, fs = parse_pool_support(xml)
    assert (zfs.type, zfs.supported, zfs.source_formats, zfs.volume_formats) == ("zfs", False, (), ())
    assert (fs.type, fs.supported, fs.source_formats, fs.volume_formats) == ("fs", True, ("auto", "ext4"), ("raw",))


# --- what is refused

OF = {golden.stem: pool_spec(golden) for golden in BUILT_POOLS}
VOLUME = VolumeSpec("v", 1024)
OVERLAY = VolumeSpec("v", 0, backing_path="/srv/base", backing_format="raw")
EXAMPLES: dict[str, Any] = {
    "target_path": "/srv/x",
    "source_host": "h",
    "source_port": 1,
    "more_hosts": ("h",),
    "source_path": "/x",
    "source_name": "x",
    "source_devices": ("/dev/sdx",),
    "source_format": "lvm2",
    "auth_user": "u",
    "auth_secret": SECRET,
}


@pytest.mark.parametrize("spec", OF.values(), ids=OF)
def test_a_type_needs_its_parts_and_takes_no_others(spec: PoolSpec) -> None:
    kind = KINDS[spec.type]
    for field, part in PARTS.items():
        empty: Any = type(EXAMPLES[field])()
        if field in kind.needs:
            with pytest.raises(InvalidSpec, match=f"needs this part: {part}"):
                build_pool(replace(spec, **with_text(field, empty)))
        elif field not in kind.takes:
            with pytest.raises(InvalidSpec, match=f"no such part: {part}"):
                build_pool(replace(spec, **{field: EXAMPLES[field]}))


@pytest.mark.parametrize(
    ("stem", "changes"),
    [
        ("dir", {"target_path": path})
        for path in (
            *("/", "/etc", "/etc/libvirt", "/proc/1/root", "/sys", "/dev", "/dev/shm/x", "/boot/efi", "/root"),
            *(
                "srv",
                "/srv/",
                "/srv//x",
                "//srv",
                "/srv/../etc",
                "/srv/./x",
                "/..",
                " /srv",
                "/srv ",
                "/srv\n",
                "/s\0v",
            ),
            *("/srv/\u202egnp", "/srv/\ud800", "/srv\u2028x", "~/x", "$HOME"),
        )
    ]
    + [
        ("disk", {"target_path": "/dev/vg0"}),
        ("iscsi", {"target_path": "/dev"}),
        ("logical", {"target_path": "/dev/vg1"}),
        ("logical", {"source_name": "..", "target_path": ""}),
        ("logical", {"source_name": "-rf", "target_path": ""}),
        ("zfs", {"source_name": "tank/../x"}),
        ("zfs", {"source_name": "/tank"}),
        ("netfs-nfs", {"source_path": "export"}),
        ("netfs-nfs", {"source_path": "/a/../b"}),
        ("netfs-nfs", {"source_format": "auto"}),
        ("netfs-cifs", {"source_path": "/images"}),
        ("netfs-cifs", {"source_path": "../images"}),
        ("netfs-nfs", {"source_host": "nas:/etc"}),
        ("netfs-nfs", {"source_host": "-o"}),
        ("netfs-nfs", {"source_host": "a b"}),
        ("rbd", {"source_port": 65536}),
        ("rbd", {"more_hosts": ("mon:0",)}),
        ("rbd", {"more_hosts": ("mon:x",)}),
        ("rbd", {"more_hosts": ("",)}),
        ("rbd", {"auth_user": ""}),
        ("rbd", {"auth_secret": ""}),
        ("rbd", {"auth_secret": "{2a5c2f5e-8d5f-4a43-9c0c-0f4b2e9d9c11}"}),
        ("rbd", {"auth_user": "a b"}),
        ("fs", {"source_devices": ("/dev/sda", "/dev/sdb")}),
        ("fs", {"source_devices": ("/etc/passwd",)}),
        ("fs", {"source_devices": ("/dev/../etc/passwd",)}),
        ("fs", {"source_format": "btrfs"}),
        ("iscsi", {"source_devices": ("/dev/sda",)}),
        ("iscsi", {"source_devices": ("iqn.2013-06.org.example:a b",)}),
        ("disk", {"source_format": "ext4"}),
    ],
)
def test_a_pool_that_is_refused(stem: str, changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidSpec):
        build_pool(replace(OF[stem], **changes))


@pytest.mark.parametrize(
    ("stem", "changes"),
    [
        ("dir", {"target_path": "/etcetera/x y/ü"}),
        ("dir", {"target_path": "/srv/..x/...."}),
        ("disk", {"target_path": "/dev/disk/by-path"}),
        ("iscsi", {"target_path": "/srv/san"}),
        ("logical", {"source_devices": (), "source_format": "", "target_path": ""}),
        ("iscsi", {"auth_user": "", "auth_secret": "", "source_port": None}),
        ("rbd", {"auth_user": "", "auth_secret": "", "more_hosts": ()}),
        ("gluster", {"source_path": "/"}),
    ],
)
def test_a_pool_that_is_taken(stem: str, changes: dict[str, Any]) -> None:
    assert parse_pool(build_pool(replace(OF[stem], **changes))).name == OF[stem].name


NAMES = ("../x", "..%2fx", "/etc/cron.d/x", "a\0.iso", "-rf", ".", "..", "a\nb", "x\n", "x.iso/", "", " ", "a b", "ü")
LOOKALIKES = ("\u2024\u2024/x", "x\u2215y", "x\u202egnp", "\uff0e\uff0e", "x\ud800", "1" * 121, "\u0663")


@pytest.mark.parametrize("name", [*NAMES, *LOOKALIKES])
def test_a_name_that_is_refused(name: str) -> None:
    for spec in (VOLUME, OVERLAY):
        with pytest.raises(InvalidSpec, match="The name may hold"):
            build_volume(replace(spec, name=name))
    with pytest.raises(InvalidSpec, match="The name may hold"):
        build_pool(replace(OF["dir"], name=name))


@pytest.mark.parametrize(
    "spec",
    [
        replace(VOLUME, capacity=0),
        replace(VOLUME, capacity=-1),
        replace(VOLUME, capacity=2**63),
        replace(VOLUME, format=""),
        replace(VOLUME, format="qcow2,backing_file=/etc/shadow"),
        replace(VOLUME, secret="usage"),
        replace(OVERLAY, backing_format=""),
        replace(OVERLAY, backing_format="raw\n"),
        replace(OVERLAY, backing_path=""),
        replace(OVERLAY, backing_path='json:{"driver":"raw"}'),
        replace(OVERLAY, backing_path="nbd://example.org"),
        replace(OVERLAY, backing_path="/srv/../etc/shadow"),
    ],
)
def test_a_volume_that_is_refused(spec: VolumeSpec) -> None:
    with pytest.raises(InvalidSpec):
        build_volume(spec)


@pytest.mark.parametrize(
    ("read", "text"),
    [
        (parse_pool, "<volume/>"),
        (parse_pool, "<!DOCTYPE pool><pool/>"),
        (parse_pool, '<!DOCTYPE p [<!ENTITY e SYSTEM "file:///etc/hostname">]><pool><name>&e;</name></pool>'),
        (parse_volume, "<pool/>"),
        (parse_volume, "<volume><capacity>many</capacity></volume>"),
        (parse_volume, "<volume><capacity unit='furlong'>1</capacity></volume>"),
        (parse_volume, "<volume><allocation>٣</allocation></volume>"),
        (parse_pool_support, "<capabilities/>"),
        (parse_pool_support, ""),
    ],
)
def test_what_is_something_else_is_refused(read: Callable[[str], object], text: str) -> None:
    with pytest.raises(InvalidSpec):
        read(text)


# --- no text becomes structure

HOSTILE = st.one_of(
    st.text(max_size=40),
    st.text(st.characters(categories=["Cc", "Cf", "Cs", "Zl", "Zs"]), max_size=5),
    st.text("ab/.-:%\\ <>&\"'[]", min_size=1, max_size=20),
    st.sampled_from(
        [
            "x</name><target><path>/etc/cron.d/x</path></target><name>y",
            "]]>",
            "<![CDATA[x]]>",
            "&lt;&#0;",
            "<!-- -->",
            "<?x?>",
            "a\0b",
            "x" * 300,
            "\U0001f600",
            "\u202efdp",
        ]
    ),
    st.text("abz09.-_", min_size=1, max_size=20),
)
PATHS = st.one_of(HOSTILE, HOSTILE.map(lambda text: f"/srv/{text}"), HOSTILE.map(lambda text: f"/dev/{text}"))
POOL_TEXTS = ("name", "target_path", "source_host", "source_path", "source_name", "source_format", "auth_user")


def shape(xml: str) -> list[tuple[str, Any]]:
    """The elements of a text and the names of their attributes."""
    return [(element.tag, element.keys()) for element in etree.fromstring(xml).iter()]


def with_text(field: str, text: Any) -> dict[str, Any]:
    return {field: text}


@given(st.sampled_from(sorted(OF)), st.sampled_from(POOL_TEXTS), PATHS)
def test_no_text_of_a_pool_becomes_structure(stem: str, field: str, text: str) -> None:
    spec = OF[stem]
    if not getattr(spec, field):
        return
    try:
        built = build_pool(replace(spec, **with_text(field, text)))
    except InvalidSpec:
        return
    assert shape(built) == shape(build_pool(spec)) or not text
    info = parse_pool(built)
    back = info.source_hosts[0] if field == "source_host" else getattr(info, field)
    assert back == text or (field == "source_host" and text in back)


@given(st.sampled_from(["fs", "logical", "iscsi"]), PATHS)
def test_no_device_becomes_structure(stem: str, text: str) -> None:
    spec = replace(OF[stem], source_devices=("/dev/x",)) if stem != "iscsi" else OF[stem]
    try:
        built = build_pool(replace(spec, source_devices=(text,)))
    except InvalidSpec:
        return
    assert shape(built) == shape(build_pool(spec))
    assert parse_pool(built).source_devices == (text,)


@given(st.sampled_from(["name", "format", "backing_path", "backing_format", "secret"]), PATHS)
def test_no_text_of_a_volume_becomes_structure(field: str, text: str) -> None:
    spec = replace(OVERLAY, format="raw", secret=SECRET)
    try:
        built = build_volume(replace(spec, **with_text(field, text)))
    except InvalidSpec:
        return
    if field == "secret" and not text:
        return
    assert shape(built) in (shape(build_volume(spec)), shape(build_volume(replace(spec, format="qcow2"))))
    assert field == "secret" or getattr(parse_volume(built), field) == text


@given(PATHS)
def test_libvirt_reads_the_path_that_was_meant(text: str) -> None:
    try:
        built = build_pool(replace(OF["dir"], target_path=text))
    except InvalidSpec:
        return
    imagined = libvirt.open("test:///default")
    pool = imagined.storagePoolDefineXML(built, 0)
    back = parse_pool(pool.XMLDesc(0)).target_path
    pool.undefine()
    imagined.close()
    assert back == text

"""Images that name files of their host: written by qemu-img, by guests, by uploads, and never copied or built on."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.hypervisor.stores import MIB, Store, here, ignore
from tests.hypervisor.subjects import PREFIX
from tests.lab.lab import LAB, run
from tests.until import until
from webvirt.hypervisor.errors import HypervisorError, InvalidSpec, NotFound, Unsupported, WrongState
from webvirt.hypervisor.images import HEAD, backing_of, check_image
from webvirt.hypervisor.types import VolumeInfo, VolumeSpec


@pytest.fixture
def canary() -> Iterator[Path]:
    """A file of the host that is no volume."""
    path = LAB / f"{PREFIX}canary"
    path.write_text(f"canary {secrets.token_hex()}" * 1000)
    yield path
    path.unlink()


def image(path: Path, *options: str, size: str = "1M") -> Path:
    run("qemu-img", "create", "-q", "-f", "qcow2", *options, str(path), size)
    return path


def head(path: Path) -> bytes:
    return path.read_bytes()[:HEAD]


# --- what the first bytes say


@pytest.mark.parametrize("version", ["0.10", "1.1"])
def test_the_backing_file_that_qemu_wrote(tmp_path: Path, version: str) -> None:
    base, folder = image(tmp_path / "base"), tmp_path / "a b"
    folder.mkdir()
    plain = image(folder / "plain", "-o", f"compat={version}")
    assert backing_of(head(plain), str(plain)) == ""
    for name in (str(base), "../base", "./../a b/../base"):
        over = image(folder / "over", "-o", f"compat={version}", "-b", name, "-F", "qcow2")
        assert backing_of(head(over), str(over)) == str(base)


def test_a_data_file_is_refused(tmp_path: Path) -> None:
    outside = image(tmp_path / "image", "-o", f"data_file={tmp_path / 'data'},data_file_raw=on")
    with pytest.raises(Unsupported, match="in another file"):
        backing_of(head(outside), str(outside))


@pytest.mark.parametrize("beginning", [b"", b"x", b"QFI\xfb", b"\0" * HEAD, b"QFI\xfb\0\0\0\x03" + b"\xff" * 100])
def test_what_is_no_qcow2(beginning: bytes) -> None:
    told = VolumeInfo("v", "k", "/srv/v", format="qcow2", backing_path="/srv/base")
    with pytest.raises((InvalidSpec, WrongState)):
        check_image(told, beginning)


@given(st.binary(max_size=200))
def test_no_beginning_is_a_surprise(rest: bytes) -> None:
    for beginning in (rest, b"QFI\xfb" + rest):
        for format_ in ("raw", "qcow2", "vmdk", "vdi"):
            try:
                check_image(VolumeInfo("v", "k", "/srv/v", format=format_), beginning)
            except HypervisorError:
                continue


@pytest.mark.parametrize("format_", ["qcow", "qed", "cow"])
def test_formats_that_are_left_alone(format_: str) -> None:
    with pytest.raises(Unsupported, match=format_):
        check_image(VolumeInfo("v", "k", "/srv/v", format=format_), b"")


@pytest.mark.parametrize("options", [(), ("-o", "subformat=streamOptimized")])
def test_a_vmdk_that_is_all_in_one_file_is_good(tmp_path: Path, options: tuple[str, ...]) -> None:
    written = tmp_path / "v"
    run("qemu-img", "create", "-q", "-f", "vmdk", *options, str(written), "1M")
    check_image(VolumeInfo("v", "k", "/srv/v", format="vmdk"), head(written))


def test_a_vmdk_over_another_or_in_other_files_is_left_alone(tmp_path: Path) -> None:
    told = VolumeInfo("v", "k", "/srv/v", format="vmdk")
    run("qemu-img", "create", "-q", "-f", "vmdk", str(tmp_path / "base"), "1M")
    words = ("-b", str(tmp_path / "base"), "-F", "vmdk")
    run("qemu-img", "create", "-q", "-f", "vmdk", *words, str(tmp_path / "over"))
    with pytest.raises(Unsupported, match="based on another"):
        check_image(told, head(tmp_path / "over"))
    good = head(tmp_path / "base")
    # QEMU reads the names of files from one that says it has no sectors.
    for bad in (b"", good[:12] + bytes(8) + good[20:], b"# Disk DescriptorFile", b"COWD" + good[4:]):
        with pytest.raises(Unsupported, match="another file"):
            check_image(told, bad)


def test_a_vhd_over_another_is_left_alone(tmp_path: Path) -> None:
    told = VolumeInfo("v", "k", "/srv/v", format="vpc")
    run("qemu-img", "create", "-q", "-f", "vpc", str(tmp_path / "v"), "1M")
    good = head(tmp_path / "v")
    check_image(told, good)
    with pytest.raises(Unsupported, match="based on another"):
        check_image(told, good[:63] + b"\x04" + good[64:])


def test_a_raw_volume_that_has_become_an_image(tmp_path: Path) -> None:
    told = VolumeInfo("v", "k", "/srv/v", format="raw")
    check_image(told, bytes(HEAD))
    for format_ in ("qcow2", "qed", "vmdk"):
        written = tmp_path / format_
        run("qemu-img", "create", "-q", "-f", format_, str(written), "1M")
        with pytest.raises(WrongState, match="refresh"):
            check_image(told, head(written))


# --- on a real host


def refused_everywhere(store: Store, name: str, kind: type[HypervisorError]) -> None:
    """No copy, no overlay, no growth."""
    path = str(store.folder / name)
    calls: list[Callable[[], None]] = [
        lambda: store.calls.clone_volume(store.uuid, store.uuid, name, VolumeSpec("copy", 0, "raw"), ignore),
        lambda: store.calls.create_volume(store.uuid, VolumeSpec("over", 0, backing_path=path, backing_format="qcow2")),
    ]
    for call in calls:
        with pytest.raises(kind):
            call()
    assert store.names() == [name]


@here
def test_an_image_that_brings_a_file_of_the_host_along(store: Store, canary: Path) -> None:
    image(store.folder / "evil", "-b", str(canary), "-F", "raw")
    store.calls.refresh(store.uuid)
    assert store.calls.volume(store.uuid, "evil").backing_path == str(canary)
    refused_everywhere(store, "evil", NotFound)


@here
def test_an_image_that_was_changed_since_libvirt_looked(store: Store, canary: Path) -> None:
    image(image(store.folder / store.make("evil")), "-b", str(canary), "-F", "raw")
    assert store.calls.volume(store.uuid, "evil").backing_path == "", "it has not looked"
    refused_everywhere(store, "evil", WrongState)


@here
def test_an_upload_that_brings_a_file_of_the_host_along(store: Store, canary: Path, tmp_path: Path) -> None:
    data = image(tmp_path / "evil", "-b", str(canary), "-F", "raw").read_bytes()
    store.make("evil")
    store.calls.upload(store.uuid, "evil", 0, [data])
    refused_everywhere(store, "evil", HypervisorError)
    until(lambda: store.calls.volume(store.uuid, "evil").backing_path == str(canary), what="libvirt looked by itself")
    refused_everywhere(store, "evil", NotFound)


@here
def test_a_guest_that_writes_an_image_into_its_raw_disk(store: Store, canary: Path) -> None:
    evil = store.folder / store.make("evil", format="raw")
    image(evil, "-b", str(canary), "-F", "raw")
    assert store.calls.volume(store.uuid, "evil").format == "raw"
    refused_everywhere(store, "evil", WrongState)
    store.calls.refresh(store.uuid)
    assert store.calls.volume(store.uuid, "evil").format == "qcow2", "libvirt goes by what the guest wrote"
    refused_everywhere(store, "evil", NotFound)


@here
def test_an_image_whose_data_are_elsewhere(store: Store, canary: Path) -> None:
    before = canary.read_bytes()
    data = store.folder / "data"
    evil = image(store.folder / "evil", "-o", f"data_file={data},data_file_raw=on")
    data.unlink()
    run("qemu-img", "amend", "-f", "qcow2", "-o", f"data_file={canary},data_file_raw=on", str(evil), check=False)
    store.calls.refresh(store.uuid)
    refused_everywhere(store, "evil", Unsupported)
    with pytest.raises(Unsupported):
        store.calls.resize_volume(store.uuid, "evil", 2 * MIB)
    assert canary.read_bytes() == before


@here
def test_images_that_build_on_themselves(store: Store) -> None:
    one, two = store.folder / store.make("one"), store.folder / store.make("two")
    for each, base in ((one, two), (two, one)):
        run("qemu-img", "rebase", "-u", "-f", "qcow2", "-b", str(base), "-F", "qcow2", str(each))
    store.calls.refresh(store.uuid)
    with pytest.raises(InvalidSpec, match="without end"):
        store.calls.clone_volume(store.uuid, store.uuid, "one", VolumeSpec("copy", 0), ignore)

"""Machines from files and into files on a real libvirt: every format byte for byte, and one that boots."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import libvirt
import pytest
from PIL import Image

from tests.appliances import manifest_of, small_envelope, tar_of
from tests.bootable import CODE, LIT
from tests.lab.lab import LAB
from tests.people import Cast, make_host
from tests.services.carrying import File, Worker
from tests.until import until
from webvirt.hypervisor.connection import connect
from webvirt.hypervisor.types import Transport
from webvirt.models import Domain, Host, Operation, OperationState, Pool, Volume
from webvirt.services import operations
from webvirt.services.watcher.stock import Stock

S = OperationState
NAME = "wvi-moving"
MIB = 2**20
SIZE = 12 * MIB
FORMATS = {
    "a.vmdk": ("vmdk",),
    "stream.vmdk": ("vmdk", "subformat=streamOptimized"),
    "a.vdi": ("vdi",),
    "a.vhd": ("vpc", "force_size=on"),
    "fixed.vhd": ("vpc", "subformat=fixed,force_size=on"),
    "a.vhdx": ("vhdx",),
    "a.qcow2": ("qcow2",),
    "a.img": ("raw",),
}


def clear(raw: libvirt.virConnect) -> None:
    for domain in raw.listAllDomains():
        if domain.name().startswith(NAME):
            if domain.isActive():
                domain.destroy()
            domain.undefine()
    for pool in raw.listAllStoragePools():
        if pool.name() == NAME:
            pool.destroy()


@pytest.fixture
def raw() -> Iterator[libvirt.virConnect]:
    raw = libvirt.open("qemu:///system")
    clear(raw)
    yield raw
    clear(raw)
    raw.close()


@pytest.fixture
def folder(raw: libvirt.virConnect) -> Iterator[Path]:
    """The folder of a running pool."""
    folder = LAB / NAME
    folder.mkdir(parents=True, exist_ok=True)
    for file in folder.iterdir():
        file.unlink()
    raw.storagePoolCreateXML(f"<pool type='dir'><name>{NAME}</name><target><path>{folder}</path></target></pool>")
    yield folder
    clear(raw)
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()


@pytest.fixture
def here(db: None) -> Host:
    host = make_host("here", transport=Transport.LOCAL)
    with connect(host.address) as connection:
        info = asdict(connection.host.info())
    # Never KVM: where these tests run, guests may hang under it.
    info["machines"] = [one for one in info["machines"] if one["type"] == "qemu"]
    Host.objects.filter(pk=host.pk).update(info=info)
    return Host.objects.get(pk=host.pk)


@pytest.fixture
def worker(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> Worker:
    monkeypatch.setattr(operations, "send", lambda operation: None)
    return Worker(cast.administrator)


Put = Callable[[str, bytes], Volume]


@pytest.fixture
def put(raw: libvirt.virConnect, folder: Path, here: Host) -> Iterator[Put]:
    stock = Stock(here)

    def put(name: str, data: bytes) -> Volume:
        (folder / name).write_bytes(data)
        raw.storagePoolLookupByName(NAME).refresh()
        stock.pools()
        return Volume.objects.select_related("pool__host").get(pool__name=NAME, name=name)

    yield put
    stock.connection.close()


def disk() -> bytes:
    """A disk that boots, with something at its middle and its end, and holes."""
    content = bytearray(SIZE)
    content[:512] = CODE.ljust(510, b"\0") + b"\x55\xaa"
    content[5 * MIB : 6 * MIB] = os.urandom(MIB)
    content[-512:] = os.urandom(512)
    return bytes(content)


def converted(tmp_path: Path, data: bytes, kind: str, options: str = "") -> bytes:
    source, target = tmp_path / "source.raw", tmp_path / "target"
    source.write_bytes(data)
    more = ["-o", options] if options else []
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", kind, *more, source, target], check=True)
    return target.read_bytes()


def same(folder: Path, name: str, tmp_path: Path) -> bool:
    """Whether a disk of the pool shows what the source holds."""
    words: list[str | Path] = [
        "qemu-img",
        "compare",
        "-U",
        "-f",
        "raw",
        "-F",
        "qcow2",
        tmp_path / "source.raw",
        folder / name,
    ]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    return bool(done.stdout.strip() == "Images are identical.")


def ask(worker: Worker, host: Host, volume: Volume, **more: object) -> Operation:
    pool = Pool.objects.get(host=host, name=NAME)
    wish: dict[str, object] = {"volume": volume.pk, "pool": pool.pk, "name": f"{NAME}-1", "memory_mib": 64}
    return worker.do("domain.import", host, **(wish | {"start": False} | more))


def lit_pixels(host: Host, uuid: str) -> int:
    with connect(host.address) as connection:
        picture = Image.open(io.BytesIO(connection.domains.screenshot(uuid).png)).convert("L")
    return sum(picture.histogram()[128:])


@pytest.mark.parametrize("name", FORMATS)
def test_an_image_of_any_format_becomes_a_disk_that_shows_the_same(
    worker: Worker, here: Host, put: Put, folder: Path, tmp_path: Path, name: str
) -> None:
    volume = put(name, converted(tmp_path, disk(), *FORMATS[name]))
    looked = worker.do("volume.look_into", volume)
    assert looked.state == S.SUCCEEDED, looked.error
    volume.refresh_from_db()
    assert [each["capacity"] for each in volume.appliance["disks"]] == [SIZE]
    done = ask(worker, here, volume)
    assert done.state == S.SUCCEEDED, done.error
    assert same(folder, f"{NAME}-1.qcow2", tmp_path)
    assert sorted(file.name for file in folder.iterdir()) == sorted([name, f"{NAME}-1.qcow2"])


def test_an_appliance_is_imported_and_boots(worker: Worker, here: Host, put: Put, folder: Path, tmp_path: Path) -> None:
    vmdk = converted(tmp_path, disk(), "vmdk", "subformat=streamOptimized")
    parts = {"small.ovf": small_envelope("small-disk1.vmdk", SIZE), "small-disk1.vmdk": vmdk}
    volume = put("small.ova", tar_of(parts | {"small.mf": manifest_of(parts)}))
    done = ask(worker, here, volume, memory_mib=None, start=True)
    assert done.state == S.SUCCEEDED, done.error
    domain = Domain.objects.get(host=here, name=f"{NAME}-1")
    until(lambda: lit_pixels(here, domain.uuid) > LIT, 20, what="the disk's own picture on the screen")
    assert same(folder, f"{NAME}-1.qcow2", tmp_path)
    assert sorted(file.name for file in folder.iterdir()) == ["small.ova", f"{NAME}-1.qcow2"]


def test_what_is_exported_comes_back_byte_for_byte(
    worker: Worker, here: Host, put: Put, folder: Path, tmp_path: Path, raw: libvirt.virConnect
) -> None:
    content = disk()
    assert ask(worker, here, put("a.img", content), bus="sata").state == S.SUCCEEDED
    domain = Domain.objects.get(host=here, name=f"{NAME}-1")
    operation = worker.ask("domain.export", domain)
    file = File()
    worker.carry_out(operation, file)
    assert operation.state == S.SUCCEEDED, operation.error
    assert (file.name, file.size) == (f"{NAME}-1.tar", len(bytes(file.data)))
    with tarfile.open(fileobj=io.BytesIO(bytes(file.data))) as tar:
        assert tar.getnames() == ["machine.ovf", "machine.xml", "disk1.qcow2"]
        kept = tar.extractfile("disk1.qcow2")
        assert kept is not None
        assert kept.read() == (folder / f"{NAME}-1.qcow2").read_bytes()
    exported = put("back.tar", bytes(file.data))
    done = ask(worker, here, exported, name=f"{NAME}-2", memory_mib=None)
    assert done.state == S.SUCCEEDED, done.error
    assert (folder / f"{NAME}-2.qcow2").read_bytes() == (folder / f"{NAME}-1.qcow2").read_bytes()
    first, second = (raw.lookupByName(f"{NAME}-{n}").XMLDesc() for n in (1, 2))
    uuids = [raw.lookupByName(f"{NAME}-{n}").UUIDString() for n in (1, 2)]
    assert uuids[0] != uuids[1]
    assert second.replace(uuids[1], uuids[0]).replace(f"{NAME}-2", f"{NAME}-1") == first


def test_an_appliance_is_made_that_qemu_reads_and_that_comes_back_and_boots(
    worker: Worker, here: Host, put: Put, folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "source.raw").write_bytes(disk())
    image = put("a.img", (tmp_path / "source.raw").read_bytes())
    assert ask(worker, here, image, bus="sata").state == S.SUCCEEDED
    pool = Pool.objects.get(host=here, name=NAME)
    domain = Domain.objects.get(host=here, name=f"{NAME}-1")
    done = worker.do("domain.export_ova", domain, pool=pool.pk, name="out.ova")
    assert done.state == S.SUCCEEDED, done.error
    assert sorted(file.name for file in folder.iterdir()) == sorted(["a.img", "out.ova", f"{NAME}-1.qcow2"])
    assert done.result == {"volume": "out.ova", "bytes": (folder / "out.ova").stat().st_size}
    vmdk = f"{NAME}-1-disk1.vmdk"
    with tarfile.open(folder / "out.ova") as tar:
        assert tar.getnames() == [f"{NAME}-1.ovf", f"{NAME}-1.mf", vmdk]
        tar.extractall(tmp_path, filter="data")
    for words in (["check", "-f", "vmdk", vmdk], ["compare", "-f", "raw", "-F", "vmdk", "source.raw", vmdk]):
        subprocess.run(["qemu-img", *words], cwd=tmp_path, check=True)
    appliance = Volume.objects.select_related("pool__host").get(pool=pool, name="out.ova")
    back = ask(worker, here, appliance, name=f"{NAME}-2", memory_mib=None, start=True)
    assert back.state == S.SUCCEEDED, back.error
    second = Domain.objects.get(host=here, name=f"{NAME}-2")
    until(lambda: lit_pixels(here, second.uuid) > LIT, 20, what="the disk's own picture on the screen")
    assert same(folder, f"{NAME}-2.qcow2", tmp_path)


def test_a_description_beside_its_disk_is_imported(
    worker: Worker, here: Host, put: Put, folder: Path, tmp_path: Path
) -> None:
    vmdk = converted(tmp_path, disk(), "vmdk", "subformat=streamOptimized")
    parts = {"small.ovf": small_envelope("small-disk1.vmdk", SIZE), "small-disk1.vmdk": vmdk}
    for name, data in (parts | {"small.mf": manifest_of(parts)}).items():
        put(name, data)
    volume = Volume.objects.select_related("pool__host").get(pool__name=NAME, name="small.ovf")
    done = ask(worker, here, volume, memory_mib=None)
    assert done.state == S.SUCCEEDED, done.error
    assert same(folder, f"{NAME}-1.qcow2", tmp_path)
    assert sorted(file.name for file in folder.iterdir()) == sorted([*parts, "small.mf", f"{NAME}-1.qcow2"])

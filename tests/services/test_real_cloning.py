"""Templates and clones on a real libvirt: layers over one disk run side by side, and what they need stays."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import libvirt
import pytest

from tests.lab.lab import LAB, PORT, SecondHost, run
from tests.people import Cast, make_host
from tests.services.carrying import Step, Worker, dying, is_lost
from webvirt.hypervisor.mirrors import MirrorCalls
from webvirt.hypervisor.types import Transport
from webvirt.models import Domain, Host, OperationState, Pool, Volume
from webvirt.services import inventory, operations
from webvirt.services.runners.context import connection_to
from webvirt.services.watcher.stock import Stock

PREFIX = "wvk-"
NUMBER = 4
S = OperationState
CLONES = [f"{PREFIX}web-{number}" for number in (1, 2, 3)]


def clear(raw: libvirt.virConnect) -> None:
    for domain in raw.listAllDomains():
        if domain.name().startswith(PREFIX):
            with suppress(libvirt.libvirtError):
                domain.destroy()
            domain.undefineFlags(libvirt.VIR_DOMAIN_UNDEFINE_NVRAM)
    for pool in raw.listAllStoragePools():
        if pool.name().startswith(PREFIX):
            pool.destroy()


@pytest.fixture
def raw() -> Iterator[libvirt.virConnect]:
    raw = libvirt.open("qemu:///system")
    clear(raw)
    yield raw
    clear(raw)
    raw.close()


@pytest.fixture
def pool(raw: libvirt.virConnect) -> Iterator[Path]:
    """The folder of a running pool with a small image in it."""
    folder = LAB / f"{PREFIX}pool"
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(folder / "tiny.qcow2"), "8M"], check=True)
    subprocess.run(["qemu-io", "-c", "write -P 7 0 64k", str(folder / "tiny.qcow2")], check=True, capture_output=True)
    xml = f"<pool type='dir'><name>{PREFIX}pool</name><target><path>{folder}</path></target></pool>"
    raw.storagePoolCreateXML(xml)
    yield folder
    # No guest has its disk taken from under it.
    clear(raw)
    shutil.rmtree(folder)


@pytest.fixture
def here(db: None, pool: Path) -> Host:
    host = make_host("here", transport=Transport.LOCAL)
    stock = Stock(host)
    stock.pools()
    stock.connection.close()
    return host


@pytest.fixture
def worker(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> Worker:
    monkeypatch.setattr(operations, "send", lambda operation: None)
    return Worker(cast.administrator)


@pytest.fixture
def machine(worker: Worker, here: Host) -> Domain:
    """A machine with a copy of the image as its disk, off."""
    row = Pool.objects.get(host=here, name=f"{PREFIX}pool")
    image = Volume.objects.get(pool=row, name="tiny.qcow2")
    plain = {"vcpus": 1, "memory_mib": 64, "type": "qemu", "start": False, "disks": [{"pool": row.pk}]}
    done = worker.do("domain.create", here, name=f"{PREFIX}gold", begins="image", volume=image.pk, **plain)
    assert done.state == S.SUCCEEDED, done.error
    return Domain.objects.get(host=here, name=f"{PREFIX}gold")


def again(domain: Domain) -> Domain:
    return Domain.objects.select_related("host").get(pk=domain.pk)


def test_layers_over_a_template_run_side_by_side(
    worker: Worker, machine: Domain, raw: libvirt.virConnect, pool: Path
) -> None:
    assert worker.do("domain.to_template", machine).state == S.SUCCEEDED
    with pytest.raises(operations.NotNow, match="those never run"):
        worker.ask("domain.start", machine)
    for name in CLONES:
        done = worker.do("domain.clone", machine, name=name, start=True)
        assert done.state == S.SUCCEEDED, done.error
    connection = connection_to(machine.host.address)
    base = pool / f"{PREFIX}gold.qcow2"
    before = base.read_bytes()
    for name in CLONES:
        domain = raw.lookupByName(name)
        assert domain.isActive()
        assert f"<source file='{base}'" in domain.XMLDesc().partition("<backingStore")[2]
        # The one disk that each may write to, as QEMU itself does.
        raw_disk = pool / f"{name}.qcow2"
        domain.destroy()
        subprocess.run(["qemu-io", "-c", "write -P 9 0 64k", str(raw_disk)], check=True, capture_output=True)
        domain.create()
    assert base.read_bytes() == before
    for kind in ("domain.delete", "domain.purge", "domain.from_template"):
        with pytest.raises(operations.NotNow, match=f"linked clones need it: {', '.join(CLONES)}"):
            worker.ask(kind, machine)
    for name in CLONES:
        domain = Domain.objects.get(name=name)
        raw.lookupByName(name).destroy()
        inventory.reconcile(machine.host, connection.domains.summaries([domain.uuid]), asked=[domain.uuid])
        assert worker.do("domain.purge", domain).state == S.SUCCEEDED
    assert worker.do("domain.purge", again(machine)).state == S.SUCCEEDED
    assert sorted(file.name for file in pool.iterdir()) == ["tiny.qcow2"]


def test_a_full_copy_holds_the_same_and_needs_nobody(
    worker: Worker, machine: Domain, raw: libvirt.virConnect, pool: Path
) -> None:
    done = worker.do("domain.clone", machine, name=CLONES[0], setup={"user": "ann"}, start=True)
    assert done.state == S.SUCCEEDED, done.error
    domain = raw.lookupByName(CLONES[0])
    assert domain.isActive()
    assert f"{CLONES[0]}-setup.iso" in domain.XMLDesc()
    domain.destroy()
    images = [str(pool / f"{name}.qcow2") for name in (f"{PREFIX}gold", CLONES[0])]
    compared = subprocess.run(["qemu-img", "compare", *images], check=True, capture_output=True, text=True)
    assert "identical" in compared.stdout
    assert worker.do("domain.purge", machine).state == S.SUCCEEDED
    domain.create()


@pytest.fixture
def running(worker: Worker, here: Host, raw: libvirt.virConnect) -> Domain:
    """A machine with two disks that runs."""
    row = Pool.objects.get(host=here, name=f"{PREFIX}pool")
    image = Volume.objects.get(pool=row, name="tiny.qcow2")
    disks = [{"pool": row.pk}, {"pool": row.pk, "size": 2**22, "format": "raw"}]
    plain = {"vcpus": 1, "memory_mib": 64, "type": "qemu", "disks": disks}
    done = worker.do("domain.create", here, name=f"{PREFIX}gold", begins="image", volume=image.pk, **plain)
    assert done.state == S.SUCCEEDED, done.error
    return again(Domain.objects.get(host=here, name=f"{PREFIX}gold"))


@pytest.mark.parametrize("still", [False, True], ids=["copying", "paused"])
def test_one_that_runs_is_cloned_and_a_worker_that_dies_leaves_it_as_it_was(
    worker: Worker,
    running: Domain,
    raw: libvirt.virConnect,
    pool: Path,
    monkeypatch: pytest.MonkeyPatch,
    still: bool,
) -> None:
    domain = raw.lookupByName(running.name)
    connection = connection_to(running.host.address)
    before, files = connection.domains.read(running.uuid), {file.name for file in pool.iterdir()}
    operation = worker.ask("domain.clone", running, name=CLONES[0])
    # The first is when the copies are whole, the other when they have begun.
    step: Step = (MirrorCalls, "go_on") if still else (MirrorCalls, "_are_whole")
    with monkeypatch.context() as patch:
        # As where there is nobody left to end it.
        patch.setattr(MirrorCalls, "end_copies", lambda *_given: None)
        if still:
            patch.setattr(libvirt.virDomain, "blockJobAbort", lambda *_given: 0)
        with dying(patch, step, after=False):
            worker.carry_out(operation)
    assert [bool(domain.blockJobInfo(target, 0)) for target in ("vda", "vdb")] == [True, True]
    assert (domain.state()[0] == libvirt.VIR_DOMAIN_PAUSED) == still
    is_lost(operation)
    stock = Stock(running.host)
    stock.let_go()
    stock.half_made()
    stock.pools()
    stock.connection.close()
    assert not any(domain.blockJobInfo(target, 0) for target in ("vda", "vdb"))
    assert connection.domains.read(running.uuid) == before
    assert {file.name for file in pool.iterdir()} == files
    done = worker.do("domain.clone", again(running), name=CLONES[0], start=True)
    assert done.state == S.SUCCEEDED, done.error
    assert raw.lookupByName(CLONES[0]).isActive()
    assert connection.domains.read(running.uuid) == before


# --- on another host


@pytest.fixture
def second() -> Iterator[SecondHost]:
    host = SecondHost(NUMBER)
    host.up()
    yield host
    host.down()


@pytest.fixture
def there(db: None, second: SecondHost) -> Iterator[Host]:
    """The second host as it tells of itself."""
    host = make_host("there", transport=Transport.TCP, hostname=second.hostname, port=PORT)
    stock = Stock(host)
    stock.pools()
    host.info = asdict(stock.connection.host.info())
    host.save()
    yield host
    stock.connection.close()
    # Its libvirtd is about to go, and nobody shall be left with a handle to it.
    connection_to(host.address).close()


def test_it_is_cloned_to_another_host_and_starts_there(
    worker: Worker, here: Host, there: Host, second: SecondHost, raw: libvirt.virConnect, pool: Path
) -> None:
    """With the variables of its firmware and its TPM made anew, and what lies on its disk, holes too."""
    row = Pool.objects.get(host=here, name=f"{PREFIX}pool")
    image = Volume.objects.get(pool=row, name="tiny.qcow2")
    here.info = asdict(connection_to(here.address).host.info())
    here.save()
    plain = {"vcpus": 1, "memory_mib": 64, "type": "qemu", "start": False, "firmware": "efi", "tpm": True}
    disks = [{"pool": row.pk}, {"pool": row.pk, "size": 2**26, "format": "raw"}]
    done = worker.do("domain.create", here, name=f"{PREFIX}gold", begins="image", volume=image.pk, disks=disks, **plain)
    assert done.state == S.SUCCEEDED, done.error
    files = {file.name for file in pool.iterdir()}
    machine = Domain.objects.get(host=here, name=f"{PREFIX}gold")
    before = connection_to(here.address).domains.read(machine.uuid)
    done = worker.do("domain.clone", machine, name=CLONES[0], host=there.pk, start=True)
    assert done.state == S.SUCCEEDED, done.error
    clone = Domain.objects.get(host=there, name=CLONES[0])
    reading = connection_to(there.address).domains.read(clone.uuid)
    assert (reading.summary.state, clone.status) == ("running", "running")
    assert reading.live is not None
    assert (reading.live.firmware, [one.kind for one in reading.live.devices].count("tpm")) == ("efi", 1)
    assert str(pool) not in reading.inactive_xml
    run("virsh", "-q", "-c", second.uri, "destroy", CLONES[0])
    images = second.home / "lib/images"
    # What a sparse file of its size takes up.
    assert (images / f"{CLONES[0]}-2.raw").stat().st_blocks * 512 < 2**20
    for ending in (".qcow2", "-2.raw"):
        run("qemu-img", "compare", str(pool / f"{PREFIX}gold{ending}"), str(images / f"{CLONES[0]}{ending}"))
    assert connection_to(here.address).domains.read(machine.uuid) == before
    assert {file.name for file in pool.iterdir()} == files
    assert run("virsh", "-q", "-c", second.uri, "list", "--all", "--name").split() == [CLONES[0]]

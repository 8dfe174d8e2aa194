"""What storage costs: an upload against libvirt's own, copies against qemu-img, and a pool full of volumes."""

from __future__ import annotations

import hashlib
import http.client
import json
import mmap
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tests.bench.house import House
from tests.bench.line import Line, median, say
from tests.guests import virsh
from tests.people import make_host, make_pool
from tests.stack import Stack
from tests.until import until
from webvirt.hypervisor.types import Transport
from webvirt.models import Host, Pool, Volume
from webvirt.services.tokens import create_token

FOLDER = Path("/var/tmp/wvp-storage")
GIB = 2**30
SIZE = 4 * GIB
PIECE = 8 * 2**20
POOL = "wvp-images"


@dataclass
class Program:
    """A program that speaks to the API over one lasting connection."""

    stack: Stack
    token: str

    def __post_init__(self) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", self.stack.port, timeout=120)

    def call(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        raw = body if isinstance(body, memoryview | type(None)) else json.dumps(body)
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        self.connection.request(method, f"/api/v1{path}", body=raw, headers=headers)
        answer = self.connection.getresponse()
        return answer.status, json.loads(answer.read())

    def do(self, path: str, **parameters: Any) -> float:
        """Ask for a verb and wait for its end; how long that took in seconds."""
        started = time.perf_counter()
        status, operation = self.call("POST", path, parameters)
        assert status == 202, operation
        self.ends(operation["id"])
        return time.perf_counter() - started

    def ends(self, pk: int) -> None:
        def ended() -> bool:
            state = self.call("GET", f"/operations/{pk}")[1]
            assert state["state"] not in ("failed", "cancelled"), state
            return bool(state["state"] == "succeeded")

        until(ended, 600, every=0.02, what=f"operation {pk}")


@contextmanager
def pool(house: House) -> Iterator[tuple[Program, Pool]]:
    """This machine's libvirt as a host, with a pool on its disk."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    virsh("pool-define-as", POOL, "dir", "--target", str(FOLDER))
    virsh("pool-start", POOL)
    row = Host.objects.create(name="here", transport=Transport.LOCAL)
    try:
        found = Pool.objects.filter(host=row, name=POOL, missing_since=None)
        until(found.exists, 30, what="the pool is known")
        yield Program(house.stack, create_token(house.administrator, "bench", 1)), found.get()
    finally:
        Host.objects.filter(pk=row.pk).update(removed_at=row.created_at)
        virsh("pool-destroy", POOL, check=False)
        virsh("pool-undefine", POOL, check=False)
        shutil.rmtree(FOLDER, ignore_errors=True)


def settle() -> None:
    """Write out what the kernel still holds, so that none of the runs pays for another."""
    subprocess.run(["sync"], check=True)


# --- uploads


def upload(house: House) -> list[Line]:
    """4 GiB from a program, through the front and a worker, to libvirt; and from `dd` through virsh's stream alone."""
    source = Path("/var/tmp/wvp-source.img")
    subprocess.run(["dd", "if=/dev/urandom", f"of={source}", "bs=8M", f"count={SIZE // PIECE}"], check=True, stderr=-3)
    try:
        with pool(house) as (program, row):
            # Looking at the memory of all processes takes time of theirs: not while it is measured.
            with watched_memory(house.stack) as memory:
                by_us(program, row, source, 0)
            grown = memory.most()
            alone, ours = [], []
            for number in range(1, 4):
                alone.append(by_dd(source, number))
                ours.append(by_us(program, row, source, number))
    finally:
        source.unlink(missing_ok=True)
    speed = min(alone) / min(ours)
    beside = f"ours {SIZE / min(ours) / 1e6:.0f} MB/s, dd bs=8M | virsh vol-upload {SIZE / min(alone) / 1e6:.0f} MB/s"
    name, kib = max(grown.items(), key=lambda pair: pair[1])
    return [
        Line("upload of 4 GiB against dd through libvirt's stream", speed, 0.8, "times", beside, at_least=True),
        Line("memory that any process took more meanwhile", kib / 1024, 64, "MiB", name),
    ]


def by_dd(source: Path, number: int) -> float:
    settle()
    name = f"alone-{number}.img"
    started = time.perf_counter()
    virsh("vol-create-as", POOL, name, str(SIZE), "--allocation", "0", "--format", "raw")
    upload = ["virsh", "-q", "-c", "qemu:///system", "vol-upload", "--pool", POOL, name, "/dev/stdin"]
    with subprocess.Popen(["dd", f"if={source}", "bs=8M"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as dd:
        subprocess.run(upload, stdin=dd.stdout, check=True)
    took = time.perf_counter() - started
    virsh("vol-delete", "--pool", POOL, name)
    return took


def by_us(program: Program, row: Pool, source: Path, number: int) -> float:
    settle()
    # The front lets go of a connection that was still for half a minute.
    program.connection.close()
    name = f"ours-{number}.img"
    started = time.perf_counter()
    status, operation = program.call("POST", f"/pools/{row.pk}/upload-volume", {"name": name, "size": SIZE})
    assert status == 202, operation
    with (
        source.open("rb") as file,
        mmap.mmap(file.fileno(), SIZE, prot=mmap.PROT_READ) as whole,
        memoryview(whole) as data,
        ThreadPoolExecutor(1) as ahead,
    ):
        at, prepared = 0, ahead.submit(prepare, data, 0)
        while at < SIZE:
            # As a browser does: the next piece is summed up while this one is on its way.
            piece, digest = prepared.result()
            prepared = ahead.submit(prepare, data, at + PIECE)
            with piece:
                at = send(program, f"/uploads/{operation['id']}?offset={at}&sha256={digest}", piece)
        prepared.result()[0].release()
    program.ends(operation["id"])
    took = time.perf_counter() - started
    volume = Volume.objects.get(pool=row, name=name)
    program.do(f"/volumes/{volume.pk}/delete")
    return took


def send(program: Program, path: str, piece: memoryview) -> int:
    """Send a piece as often as need be; returns where the next one begins."""
    while (answer := program.call("PUT", path, piece))[0] == 503:
        time.sleep(0.02)
    assert answer[0] == 200, answer
    return int(answer[1]["received"])


def prepare(data: memoryview, at: int) -> tuple[memoryview, str]:
    """A piece of the file and its checksum."""
    piece = data[at : at + PIECE]
    return piece, hashlib.sha256(piece).hexdigest()


@dataclass
class Memory:
    before: dict[int, int]
    peaks: dict[int, int]

    def most(self) -> dict[str, int]:
        """KiB more than before by process; of one that is new, all that it took."""
        return {
            f"{Path(f'/proc/{pid}/comm').read_text().strip() if Path(f'/proc/{pid}').exists() else pid}": peak
            - self.before.get(pid, 0)
            for pid, peak in self.peaks.items()
            if pid in self.before
        }


@contextmanager
def watched_memory(stack: Stack) -> Iterator[Memory]:
    """The most that each process of the stack takes while this lasts."""
    memory = Memory(stack.memory(), {})
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.25):
            for pid, kib in stack.memory().items():
                memory.peaks[pid] = max(kib, memory.peaks.get(pid, 0))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield memory
    finally:
        over.set()
        thread.join()


# --- copies


def copies(house: House) -> list[Line]:
    """A full clone and a conversion of 2 GiB of data, against qemu-img convert of the same."""
    with pool(house) as (program, row):
        source = FOLDER / "source.img"
        subprocess.run(["dd", "if=/dev/urandom", f"of={source}", "bs=8M", "count=256"], check=True, stderr=-3)
        program.do(f"/pools/{row.pk}/refresh")
        volume = Volume.objects.get(pool=row, name="source.img")
        lines = []
        for what, kind in (("full clone", "raw"), ("conversion to qcow2", "qcow2")):
            ours, alone = [], []
            for _ in range(3):
                alone.append(timed(partial(convert, source, kind)))
                ours.append(program_clones(program, row, volume, kind))
            beside = f"ours {min(ours):.2f} s, qemu-img {min(alone):.2f} s"
            lines.append(Line(f"{what} against qemu-img convert", min(ours) / min(alone), 1.1, "times", beside))
    return lines


def convert(source: Path, kind: str) -> None:
    target = FOLDER / "alone.img"
    options = ["-o", "compat=1.1"] if kind == "qcow2" else []
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", kind, *options, str(source), str(target)], check=True)
    # libvirt is content only when it is on the disk.
    subprocess.run(["sync", str(target)], check=True)


def program_clones(program: Program, row: Pool, volume: Volume, kind: str) -> float:
    settle()
    took = program.do(f"/volumes/{volume.pk}/clone", name="copy.img", format=kind)
    program.do(f"/volumes/{Volume.objects.get(pool=row, name='copy.img').pk}/delete")
    return took


def timed(work: Callable[[], None]) -> float:
    settle()
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


# --- a pool full of volumes


def volumes(house: House) -> list[Line]:
    """The page of a pool with 5,000 volumes against that of one with 100."""
    host = make_host("wvp-far", hostname="192.0.2.1", transport=Transport.TCP)
    house.redis.set(f"watch.host:{host.pk}", "bench")
    at = {}
    try:
        for number, count in enumerate((100, 5000)):
            full = make_pool(host, f"wvp-{count}", 100 + number)
            Volume.objects.bulk_create(
                Volume(pool=full, name=f"v-{at:05d}.qcow2", path=f"/p/{count}/{at:05d}", read_at=full.first_seen_at)
                for at in range(count)
            )
            visitor = house.visitor()
            for _ in range(10):
                visitor.page(f"/pools/{full.pk}/")
            times = [visitor.page(f"/pools/{full.pk}/").ms for _ in range(100)]
            at[count] = median(times)
            say(f"{count} volumes: median {at[count]:.1f} ms")
    finally:
        house.redis.delete(f"watch.host:{host.pk}")
        Volume.objects.filter(pool__host=host).delete()
        Pool.objects.filter(host=host).delete()
        host.delete()
    beside = f"{at[5000]:.1f} ms, {at[100]:.1f} ms"
    return [Line("page of a pool of 5,000 volumes against one of 100", at[5000] / at[100], 1.5, "times", beside)]


PARTS = (upload, copies, volumes)

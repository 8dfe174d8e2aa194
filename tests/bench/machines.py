"""What making machines costs: a layer over an image to a machine that runs, against virsh, and the page for it."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.bench.house import House
from tests.bench.line import Line, median, say
from tests.bench.storage import FOLDER, POOL, Program, pool, settle
from tests.guests import virsh
from tests.people import make_host, make_network, make_pool
from tests.until import until
from webvirt.hypervisor.types import Transport
from webvirt.models import Host, Network, Pool, Volume
from webvirt.services.systems import systems

IMAGE = "base.qcow2"
SIZE = "64M"
ROUNDS = 7
TEN = 10
POOLS = 20
VOLUMES = 1000


@dataclass
class Maker:
    """Makes machines over one image, by us and by virsh of the same definition."""

    program: Program
    pool: Pool
    image: Volume
    definition: str = ""
    asked: list[int] = field(default_factory=list)
    """Operations that may not be at their end yet."""

    def wish(self, name: str) -> dict[str, Any]:
        return {
            "name": name,
            "type": "qemu",
            "memory_mib": 64,
            "begins": "image",
            "volume": self.image.pk,
            "linked": True,
            "disks": [{"pool": self.pool.pk}],
        }

    def ask(self, name: str) -> int:
        status, operation = self.program.call("POST", f"/hosts/{self.pool.host_id}/create-domain", self.wish(name))
        assert status == 202, operation
        return int(operation["id"])

    def by_us(self, *names: str) -> None:
        """Until each is shown to run, as the host told it."""
        self.asked = [self.ask(name) for name in names]
        until(lambda: self.running() >= set(names), 120, every=0.02, what=f"{names} run")

    def running(self) -> set[str]:
        rows = self.program.call("GET", "/domains?q=wvp-")[1]["items"]
        return {row["name"] for row in rows if row["status"] == "running"}

    def by_virsh(self, *names: str) -> None:
        for name in names:
            layer, base = f"{name}.qcow2", ("--backing-vol", str(FOLDER / IMAGE), "--backing-vol-format", "qcow2")
            virsh("vol-create-as", POOL, layer, SIZE, "--format", "qcow2", *base)
            file = FOLDER.with_name(f"{name}.xml")
            file.write_text(self.definition.replace("NAME", name))
            virsh("define", str(file), "--validate")
            virsh("start", name)
            file.unlink()

    def learn(self) -> None:
        """What virsh is to define: what we define, under another name."""
        self.by_us("wvp-first")
        text = virsh("dumpxml", "--inactive", "wvp-first").replace("wvp-first", "NAME")
        self.definition = re.sub(r"<uuid>.*?</uuid>", "", text)
        self.forget("wvp-first")

    def forget(self, *names: str) -> None:
        for pk in self.asked:
            self.program.ends(pk)
        self.asked = []
        for name in names:
            virsh("destroy", name)
            virsh("undefine", name)
            virsh("vol-delete", "--pool", POOL, f"{name}.qcow2")

    def timed(self, work: Callable[..., None], *names: str) -> float:
        settle()
        # The front lets go of a connection that was still for half a minute.
        self.program.connection.close()
        started = time.perf_counter()
        work(*names)
        took = time.perf_counter() - started
        self.forget(*names)
        return took


def linked_clones(house: House) -> list[Line]:
    """A layer over an image to a machine that runs, alone and ten at once, against the same with virsh."""
    with pool(house) as (program, row):
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", FOLDER / IMAGE, SIZE], check=True)
        program.do(f"/pools/{row.pk}/refresh")
        until(lambda: "machines" in Host.objects.get(pk=row.host_id).info, 30, what="what the host can run")
        maker = Maker(program, row, Volume.objects.get(pool=row, name=IMAGE))
        maker.learn()
        one = in_turn(maker, ROUNDS, 1)
        ten = in_turn(maker, 3, TEN)
    lines = [("to a machine that runs", one), (f"{TEN} at once against {TEN} in a row", ten)]
    return [
        Line(
            f"layer over an image, {what}",
            min(ours) / min(alone),
            1.2,
            "times",
            f"ours {min(ours):.2f} s, virsh {min(alone):.2f} s; medians {median(ours):.2f} and {median(alone):.2f}",
        )
        for what, (ours, alone) in lines
    ]


def in_turn(maker: Maker, rounds: int, count: int) -> tuple[list[float], list[float]]:
    """Seconds of each round, by us and by virsh."""
    ours: list[float] = []
    alone: list[float] = []
    for number in range(rounds):
        for work, way, times in ((maker.by_virsh, "virsh", alone), (maker.by_us, "ours", ours)):
            times.append(maker.timed(work, *(f"wvp-{way}-{count}-{number}-{each}" for each in range(count))))
        say(f"{count}: ours {ours[-1]:.3f} s, virsh {alone[-1]:.3f} s")
    return ours, alone


def create_page(house: House) -> list[Line]:
    """The page on which a machine is made, with 1,000 volumes in 20 pools and all systems to choose from."""
    host = make_host("wvp-full", hostname="192.0.2.1", transport=Transport.TCP)
    house.redis.set(f"watch.host:{host.pk}", "bench")
    try:
        for number in range(POOLS):
            full = make_pool(host, f"wvp-{number}", 100 + number)
            kinds = ("iso", "qcow2")
            Volume.objects.bulk_create(
                Volume(
                    pool=full,
                    name=f"v-{number}-{at:04d}.{kinds[at % 2]}",
                    path=f"/p/{number}/{at:04d}",
                    format=kinds[at % 2],
                    kind="file",
                    capacity=2**30,
                    read_at=full.first_seen_at,
                )
                for at in range(VOLUMES // POOLS)
            )
            make_network(host, f"wvp-{number}", 100 + number)
        visitor, path = house.visitor(), f"/hosts/{host.pk}/create-domain/"
        for _ in range(5):
            answer = visitor.page(path)
        times = [visitor.page(path).ms for _ in range(40)]
    finally:
        house.redis.delete(f"watch.host:{host.pk}")
        Volume.objects.filter(pool__host=host).delete()
        Pool.objects.filter(host=host).delete()
        Network.objects.filter(host=host).delete()
        host.delete()
    beside = f"{VOLUMES} volumes, {POOLS} pools, {len(systems())} systems; min {min(times):.0f} ms"
    return [
        Line("page for a new machine, median", median(times), 150, "ms", beside),
        Line("page for a new machine, compressed", len(answer.body) / 1000, 100, "kB"),
    ]


PARTS = (linked_clones, create_page)

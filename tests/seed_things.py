"""Rows of pools, volumes, networks and the like on seeded hosts, as many and as odd as pages must survive."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

from django.utils import timezone

from webvirt.hypervisor.types import HostDevice, SecretInfo, SecretUsage
from webvirt.models import (
    CardUse,
    DeviceUse,
    DiskUse,
    Domain,
    Filter,
    Host,
    Network,
    NetworkStatus,
    Pool,
    PoolStatus,
    Volume,
)
from webvirt.services.inventory import reconcile_secrets, remember_devices

MIB, GIB = 2**20, 2**30
IMAGES = "/var/lib/libvirt/images"
LONG = "customer-42-a-name-that-somebody-made-by-a-template-2026-11-24-production-replica-07.qcow2"
BASE = "debian-12-generic-amd64.qcow2"
DISCS = (
    ("debian-12.5.0-amd64-netinst.iso", "debian12", "Debian 12", 629),
    ("ubuntu-24.04.1-live-server-amd64.iso", "ubuntu24.04", "Ubuntu 24.04", 2700),
    ("Fedora-Server-dvd-x86_64-40-1.14.iso", "fedora40", "Fedora Linux 40", 2600),
    ("SERVER_EVAL_x64FRE_en-us_with_all_the_languages_and_the_updates_of_2026-10.iso", "win2k22", "", 5000),
    ("virtio-win-0.1.262.iso", "", "", 690),
    ("rhel-9.4-x86_64-dvd.iso", "rhel9.4", "Red Hat Enterprise Linux 9.4", 10_600),
)
CLOUD = (
    ("AlmaLinux-9-GenericCloud-latest.x86_64.qcow2", "almalinux9", "AlmaLinux 9", 10),
    ("noble-server-cloudimg-amd64.img", "ubuntu24.04", "Ubuntu 24.04", 4),
    ("golden-web-2026-11.qcow2", "", "", 20),
)
"""Names, ids and names of systems, and how large: discs in MiB, disk images in GiB."""


def add_things(hosts: Sequence[Host], rows: Sequence[Domain], dice: random.Random) -> None:
    """Storage and networks for hosts, used by their machines."""
    for number, host in enumerate(hosts):
        mine = [row for row in rows if row.host_id == host.pk]
        images = new_pool(host, "images", number * 10 + 1, "dir", IMAGES, 2000, dice.uniform(0.4, 0.7))
        isos = new_pool(host, "isos", number * 10 + 2, "netfs", "/srv/isos", 500, 0.91)
        new_pool(host, "fast", number * 10 + 3, "logical", "/dev/vg0", 900, 0.3, status=PoolStatus.INACTIVE)
        fill(images, mine, dice)
        collect(isos, mine[:3], dice)
        connect(host, number, mine)
        screen(host, number, mine)
        if number == 0:
            fit_out(host, mine)
            entrust(host)


def new_pool(
    host: Host, name: str, number: int, kind: str, path: str, gib: int, used: float, status: str = PoolStatus.RUNNING
) -> Pool:
    capacity, taken = gib * GIB, int(gib * GIB * used)
    return Pool.objects.create(
        host=host,
        uuid=f"20000000-0000-4000-8000-{number:012d}",
        name=name,
        status=status,
        type=kind,
        autostart=status == PoolStatus.RUNNING,
        capacity=capacity,
        allocation=taken,
        available=capacity - taken,
        info={"type": kind, "target_path": path},
        xml=f"<pool type='{kind}'>\n  <name>{name}</name>\n  <target>\n    <path>{path}</path>\n  </target>\n</pool>\n",
    )


def fill(pool: Pool, machines: Sequence[Domain], dice: random.Random) -> None:
    """A disk for each machine, two of them on one base image, and one with a name that is too long."""
    now = timezone.now()
    names = [BASE, LONG, *(f"{machine.name}.qcow2" for machine in machines)]
    Volume.objects.bulk_create(
        Volume(
            pool=pool,
            name=name,
            path=f"{IMAGES}/{name}",
            format="qcow2",
            capacity=dice.choice((10, 20, 40, 200)) * GIB,
            allocation=dice.randint(1, 9 * GIB),
            backing_path=f"{IMAGES}/{BASE}" if number in (2, 3) else "",
            backing_format="qcow2" if number in (2, 3) else "",
            modified_at=now - timedelta(minutes=dice.randint(1, 90_000)),
            read_at=now,
            os="debian12" if name == BASE else "",
            os_name="Debian 12" if name == BASE else "",
            looked_at=now,
        )
        for number, name in enumerate(names)
    )
    DiskUse.objects.bulk_create(
        DiskUse(domain=machine, slot="vda", path=f"{IMAGES}/{machine.name}.qcow2", live=machine.is_active)
        for machine in machines
    )


def collect(pool: Pool, machines: Sequence[Domain], dice: random.Random) -> None:
    """Discs and images to make machines from; the first disc is in the drive of some."""
    now = timezone.now()
    rows = [
        Volume(
            pool=pool,
            name=name,
            path=f"/srv/isos/{name}",
            format="iso" if name.endswith(".iso") else "qcow2",
            capacity=size * (MIB if name.endswith(".iso") else GIB),
            allocation=dice.randint(1, size * MIB),
            os=os,
            os_name=os_name or ("Microsoft Windows Server 2022" if os else ""),
            looked_at=now,
            sha256=f"{dice.getrandbits(256):064x}" if at % 2 == 0 else "",
            sha256_at=now - timedelta(hours=at) if at % 2 == 0 else None,
            modified_at=now - timedelta(minutes=dice.randint(1, 90_000)),
            read_at=now,
        )
        for at, (name, os, os_name, size) in enumerate((*DISCS, *CLOUD))
    ]
    Volume.objects.bulk_create(rows)
    DiskUse.objects.bulk_create(
        DiskUse(domain=machine, slot="sda", device="cdrom", path=rows[0].path, live=machine.is_active)
        for machine in machines
    )


def connect(host: Host, number: int, machines: Sequence[Domain]) -> None:
    """A NAT network with leases, an isolated one that is off, and a bridge."""
    block = f"192.168.{122 + number}"
    address = {
        "address": f"{block}.1",
        "prefix": 24,
        "ranges": [{"start": f"{block}.2", "end": f"{block}.254"}],
        "leases": [{"mac": "52:54:00:00:00:01", "address": f"{block}.11", "name": "git"}],
    }
    info = {
        "name": "default",
        "forward": "nat",
        "domain": f"{host.name}.example.org",
        "dns": True,
        "addresses": [address],
        "dns_hosts": [{"address": f"{block}.11", "names": ["git", "git.example.org"]}],
    }
    macs = [f"52:54:00:00:{number:02x}:{at:02x}" for at in range(len(machines[:8]))]
    CardUse.objects.bulk_create(
        CardUse(domain=machine, mac=mac, type="network", source="default", model="virtio", live=machine.is_active)
        for machine, mac in zip(machines, macs, strict=False)
    )
    # Some are in the office as well, or only there.
    CardUse.objects.bulk_create(
        CardUse(
            domain=machine,
            mac=f"52:54:00:01:{number:02x}:{at:02x}",
            type="network",
            source="office",
            live=machine.is_active,
        )
        for at, machine in enumerate(machines[6:11])
    )
    leases = [
        {"mac": mac, "address": f"{block}.{20 + at}", "prefix": 24, "hostname": "", "expires_at": None}
        for at, mac in enumerate(macs[:5])
    ]
    kinds: tuple[tuple[str, str, str, str, dict[str, object]], ...] = (
        ("default", "nat", NetworkStatus.ACTIVE, "virbr0", {"info": info, "live": info, "leases": leases}),
        ("backend", "isolated", NetworkStatus.INACTIVE, "virbr1", {"info": {"name": "backend"}}),
        ("office", "bridge", NetworkStatus.ACTIVE, "br0", {"info": {"name": "office", "forward": "bridge"}}),
    )
    for at, (name, forward, status, bridge, more) in enumerate(kinds):
        Network.objects.create(
            host=host,
            uuid=f"30000000-0000-4000-8000-{number * 10 + at:012d}",
            name=name,
            status=status,
            forward=forward,
            bridge=bridge,
            autostart=status == NetworkStatus.ACTIVE,
            xml=f"<network>\n  <name>{name}</name>\n</network>\n",
            **more,
        )
    interfaces = [
        {"name": "enp3s0", "kind": "ethernet", "mac": "3c:ec:ef:12:34:56", "up": True, "parent": "br0", "why_not": ""},
        {"name": "br0", "kind": "bridge", "mac": "3c:ec:ef:12:34:56", "up": True, "parent": "", "why_not": ""},
    ]
    Host.objects.filter(pk=host.pk).update(interfaces=interfaces)


CLEAN_TRAFFIC = ("no-mac-spoofing", "no-ip-spoofing", "allow-incoming-ipv4", "no-arp-spoofing", "no-other-l2-traffic")
NO_MAIL = """\
<filter name='no-outgoing-mail' chain='root'>
  <uuid>{uuid}</uuid>
  <!-- Mail leaves by the relay alone. -->
  <rule action='accept' direction='out' priority='400'>
    <tcp dstipaddr='192.0.2.25' dstportstart='25'/>
  </rule>
  <rule action='drop' direction='out' priority='500'>
    <tcp dstportstart='25'/>
  </rule>
  <filterref filter='clean-traffic'/>
</filter>
"""


def screen(host: Host, number: int, machines: Sequence[Domain]) -> None:
    """libvirt's own filters and one of ours, which two machines go through."""
    kinds: tuple[tuple[str, str, int, list[str]], ...] = (
        ("clean-traffic", "root", 0, list(CLEAN_TRAFFIC)),
        *((name, "mac" if "mac" in name else "ipv4", 2, []) for name in CLEAN_TRAFFIC),
        ("no-outgoing-mail", "root", 2, ["clean-traffic"]),
    )
    for at, (name, chain, rules, references) in enumerate(kinds):
        uuid = f"40000000-0000-4000-8000-{number * 10 + at:012d}"
        lines = "".join(f"  <filterref filter='{other}'/>\n" for other in references)
        plain = f"<filter name='{name}' chain='{chain}'>\n  <uuid>{uuid}</uuid>\n{lines}</filter>\n"
        xml = NO_MAIL.format(uuid=uuid) if name == "no-outgoing-mail" else plain
        Filter.objects.create(host=host, uuid=uuid, name=name, chain=chain, rules=rules, references=references, xml=xml)
    CardUse.objects.filter(domain__in=machines[:2]).update(filter="no-outgoing-mail")


def pci(address: str, ids: str, description: str, group: int | None, driver: str = "") -> HostDevice:
    name = f"pci_{address}".replace(":", "_").replace(".", "_")
    return HostDevice(name, "pci", description, address, ids, driver=driver, iommu_group=group)


DEVICES = (
    pci("0000:00:00.0", "8086:3ec2", "Intel Corporation 8th Gen Core Processor Host Bridge/DRAM Registers", 0),
    pci("0000:00:01.0", "8086:1901", "Intel Corporation 6th-10th Gen Core Processor PCIe Controller", 1, "pcieport"),
    pci("0000:01:00.0", "10de:1eb8", "NVIDIA Corporation TU104GL [Tesla T4]", 1, "vfio-pci"),
    pci("0000:01:00.1", "10de:10f8", "NVIDIA Corporation TU104 HD Audio Controller", 1, "vfio-pci"),
    replace(
        pci("0000:00:02.0", "8086:3e92", "Intel Corporation UHD Graphics 630", 2, "i915"),
        mdev_types=("i915-GVTg_V5_4", "i915-GVTg_V5_8"),
    ),
    replace(
        pci("0000:03:00.0", "8086:1572", "Intel Corporation Ethernet Controller X710", 14, "i40e"), virtual_functions=8
    ),
    pci("0000:00:1f.0", "8086:a305", "Intel Corporation Z390 Chipset LPC/eSPI Controller", None),
    HostDevice("usb_1_4", "usb", "Aladdin Knowledge Systems HASP copy protection dongle", "001:004", "0529:0001"),
    HostDevice("usb_1_2", "usb", "Logitech, Inc. Unifying Receiver", "001:002", "046d:c52b", driver="usbhid"),
    HostDevice("mdev_c2177883", "mdev", "i915-GVTg_V5_4", "c2177883-f1bb-47f0-914d-32a22e3a8804", driver="vfio_mdev"),
    HostDevice("scsi_2_0_0_0", "scsi", "disk", "2:0:0:0", driver="sd"),
)


def fit_out(host: Host, machines: Sequence[Domain]) -> None:
    """Devices of each kind, and machines that are given some."""
    remember_devices(host.pk, DEVICES)
    DeviceUse.objects.bulk_create(
        [
            DeviceUse(domain=machines[0], kind="pci", address="0000:01:00.0"),
            DeviceUse(domain=machines[0], kind="pci", address="0000:01:00.1"),
            DeviceUse(domain=machines[1], kind="usb", ids="0529:0001"),
        ]
    )


def entrust(host: Host) -> None:
    """A secret that a pool signs in with, and one of an encrypted volume."""
    ceph = SecretInfo(str(UUID(int=1)), SecretUsage.CEPH, "client.libvirt", "of the office's Ceph", private=True)
    volume = SecretInfo(str(UUID(int=2)), SecretUsage.VOLUME, f"{IMAGES}/{LONG}", ephemeral=True)
    reconcile_secrets(host, [ceph, volume])
    fast = Pool.objects.get(host=host, name="fast")
    Pool.objects.filter(pk=fast.pk).update(info=fast.info | {"auth_user": "libvirt", "auth_secret": "client.libvirt"})

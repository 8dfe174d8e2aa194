"""Rows in bulk, for benches and for looking at pages: hosts, machines in every state, definitions, operations."""

from __future__ import annotations

import io
import random
from dataclasses import asdict
from datetime import timedelta

from django.utils import timezone
from PIL import Image, ImageDraw

from tests.seed_rights import add_rights
from tests.seed_things import add_things
from webvirt.hypervisor.addresses import shown
from webvirt.hypervisor.types import (
    Check,
    DiskInfo,
    DomainInfo,
    GraphicsInfo,
    HostInfo,
    InterfaceInfo,
    MachineSupport,
    PoolSupport,
    PoolType,
    Transport,
    Verdict,
)
from webvirt.models import (
    ACTIVE,
    AuditResult,
    Definition,
    Domain,
    Host,
    HostState,
    Operation,
    OperationState,
    Origin,
    Screen,
    Status,
    User,
)
from webvirt.services import audit
from webvirt.services.actors import Actor
from webvirt.services.subjects import name_of

GIB = 1024 * 1024
HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGvAMvhDDWWGSt5QaOzbECuFMiDqyVOF0qKNxTzpY3jD"
MACHINES = tuple(
    MachineSupport(
        type=way,
        arch="x86_64",
        machine=machine,
        emulator="/usr/bin/qemu-system-x86_64",
        vcpus_max=255,
        cpu_modes=(*(["host-passthrough"] if way == "kvm" else []), "maximum", "host-model"),
        efi=True,
        secure_boot=machine == "q35",
        tpm=True,
        disk_buses=(*(["ide"] if machine == "pc" else []), "scsi", "virtio", "usb", "sata"),
        video_models=("vga", "qxl", "virtio", "none"),
    )
    for way in ("kvm", "qemu")
    for machine in ("q35", "pc")
)
FORMATS = {
    PoolType.FS: ("auto", "ext4", "xfs"),
    PoolType.NETFS: ("auto", "nfs", "cifs"),
    PoolType.LOGICAL: ("lvm2",),
    PoolType.DISK: ("dos", "gpt"),
}
KINDS = ("web", "db", "mail", "build", "cache", "proxy", "queue", "backup")
PLACES = ("north", "east", "south", "west")
SYSTEMS = (
    *("http://debian.org/debian/12", "http://ubuntu.com/ubuntu/24.04", "http://fedoraproject.org/fedora/40", ""),
    *("http://microsoft.com/win/2k22", "http://almalinux.org/almalinux/9", "http://alpinelinux.org/alpinelinux/3.19"),
    *("http://rockylinux.org/rocky/9", "http://freebsd.org/freebsd/14.0", "http://opensuse.org/opensuse/15.6"),
    *("http://archlinux.org/archlinux/rolling", "http://centos.org/centos-stream/9", "http://redhat.com/rhel/9.4"),
)
STATES = [Status.RUNNING] * 12 + [Status.SHUTOFF] * 6 + [Status.PAUSED, Status.SAVED]
XML = """<domain type='qemu'>
  <name>{name}</name>
  <uuid>{uuid}</uuid>
  <memory unit='KiB'>{memory}</memory>
  <vcpu placement='static'>{vcpus}</vcpu>
  <!-- what the guest boots from -->
  <os><type arch='x86_64' machine='pc-q35-7.2'>hvm</type></os>
  <devices>
    <disk type='file' device='disk'>
      <driver name='qemu' type='qcow2'/>
      <source file='/var/lib/libvirt/images/{name}.qcow2'/>
      <target dev='vda' bus='virtio'/>
    </disk>
  </devices>
</domain>
"""


FAILURE = (
    "internal error: process exited while connecting to monitor: "
    "qemu-system-x86_64: cannot set up guest memory 'pc.ram': Cannot allocate memory"
)


def seed(hosts: int, domains: int, *, odd: bool = False) -> list[Host]:
    """`hosts` reachable hosts with `domains` machines over all of them, reproducibly.

    `odd` adds what pages must survive: a dead host, long names, trouble, operations in every state.
    """
    dice = random.Random(7)
    made = Host.objects.bulk_create(new_host(number, dice) for number in range(hosts))
    rows = Domain.objects.bulk_create(
        (new_domain(made[number % hosts], number, dice) for number in range(domains)), batch_size=500
    )
    Definition.objects.bulk_create((new_definition(row) for row in rows), batch_size=200)
    # Both are set by themselves at first.
    long_ago = timezone.now() - timedelta(days=12)
    Host.objects.update(state_since=long_ago)
    Domain.objects.update(first_seen_at=long_ago)
    if odd:
        add_odd(made, rows, dice)
    return made


def new_host(number: int, dice: random.Random) -> Host:
    now = timezone.now()
    name = PLACES[number] if number < len(PLACES) else f"host-{number:03d}"
    memory = dice.choice((64, 128, 256)) * GIB
    info = HostInfo(
        hostname=f"{name}.example.org",
        uuid=f"10000000-0000-4000-8000-{number:012d}",
        hypervisor="QEMU",
        hypervisor_version="7.2.22",
        libvirt_version="9.0.0",
        arch="x86_64",
        cpu_model="EPYC-Rome",
        cpus=dice.choice((16, 32, 64)),
        sockets=1,
        cores=16,
        threads=2,
        memory_kib=memory,
        domain_types=("kvm", "qemu"),
        machine_types=("pc-q35-7.2", "pc-i440fx-7.2"),
        emulators=("/usr/bin/qemu-system-x86_64",),
        pools=tuple(
            PoolSupport(kind.value, kind not in (PoolType.ZFS, PoolType.GLUSTER), FORMATS.get(kind, ()))
            for kind in PoolType
        ),
        machines=MACHINES,
    )
    checks = [
        Check("cpu-virtualization", Verdict.PASS, "AMD-V (svm)", "The CPU can run guests in hardware."),
        Check("kvm-device", Verdict.PASS, "/dev/kvm, and libvirt offers it"),
        Check(
            "iommu",
            Verdict.WARN,
            "none",
            "PCI devices cannot be handed to guests.",
            "Switch on VT-d or AMD-Vi in the firmware; for Intel add intel_iommu=on to the kernel's command line.",
        ),
        Check("cgroups", Verdict.PASS, "cpu, cpuset, io, memory", "Limits on CPU, memory and disks of guests hold."),
    ]
    trial = [
        Check(key, Verdict.PASS, found)
        for key, found in (
            ("name", "192.0.2.7"),
            ("port", "port 22 answers"),
            ("identity", f"the host shows the key that was confirmed: {shown((HOST_KEY,))}"),
            ("ssh", "signed in"),
            ("libvirt", "connected"),
        )
    ]
    return Host(
        name=name,
        transport=Transport.SSH if number else Transport.LOCAL,
        hostname=f"{name}.example.org" if number else "",
        user="root" if number else "",
        keys=[HOST_KEY] if number else [],
        state=HostState.UP,
        seen_at=now,
        uuid=info.uuid,
        info=asdict(info),
        checks=[asdict(check) for check in checks],
        trial=[asdict(check) for check in trial],
        cpu_percent=round(dice.uniform(4, 95), 1),
        memory_used_kib=int(memory * dice.uniform(0.2, 0.95)),
        usage_at=now,
    )


def new_domain(host: Host, number: int, dice: random.Random) -> Domain:
    now = timezone.now()
    status = dice.choice(STATES)
    memory = dice.choice((1, 2, 4, 8, 16)) * GIB
    row = Domain(
        host=host,
        uuid=f"00000000-0000-4000-8000-{number:012d}",
        name=f"{dice.choice(KINDS)}-{number:05d}",
        title=dice.choice(("", "", "", "Front of the shop", "Nightly builds")),
        tag_line=dice.choice(("", "", " prod ", " prod web ", " test ")),
        status=status,
        status_since=dice.choice((None, now - timedelta(minutes=dice.randint(1, 90_000)))),
        vcpus=dice.choice((1, 2, 4, 8)),
        memory_kib=memory,
        autostart=dice.random() < 0.3,
        # By the number, so that the dice fall as they always did.
        os=SYSTEMS[number % len(SYSTEMS)],
    )
    if status in ACTIVE:
        row.cpu_percent = round(dice.expovariate(1 / 14) % 100, 1)
        row.memory_used_kib = int(memory * dice.uniform(0.1, 0.98))
        row.disk_read_rate, row.disk_write_rate = dice.randint(0, 9_000_000), dice.randint(0, 60_000_000)
        row.net_rx_rate, row.net_tx_rate = dice.randint(0, 90_000_000), dice.randint(0, 9_000_000)
        row.usage_at = now
    return row


def new_definition(row: Domain) -> Definition:
    text = XML.format(name=row.name, uuid=row.uuid, memory=row.memory_kib, vcpus=row.vcpus)
    info = DomainInfo(
        uuid=row.uuid,
        name=row.name,
        domain_type="kvm",
        arch="x86_64",
        machine="pc-q35-7.2",
        firmware="efi",
        boot=("hd", "network"),
        vcpus=row.vcpus,
        vcpus_max=row.vcpus,
        cpu_mode="host-passthrough",
        memory_kib=row.memory_kib,
        memory_max_kib=row.memory_kib,
        disks=(
            DiskInfo(
                "vda", bus="virtio", format="qcow2", source=f"/var/lib/libvirt/images/{row.name}.qcow2", boot_order=1
            ),
            DiskInfo("sda", device="cdrom", bus="sata", format="raw"),
        ),
        interfaces=(InterfaceInfo("52:54:00:12:34:56", source="default", model="virtio"),),
        graphics=(GraphicsInfo("vnc", listen="127.0.0.1"),),
        video="virtio",
        has_tablet=True,
        has_agent=True,
    )
    active = row.status in ACTIVE
    address = {
        "mac": "52:54:00:12:34:56",
        "address": f"192.168.122.{row.pk % 250 + 2}",
        "prefix": 24,
        "source": "lease",
    }
    return Definition(
        domain=row,
        inactive=asdict(info),
        live=asdict(info) if active else None,
        inactive_xml=text,
        live_xml=text if active else "",
        addresses=[address] if active else [],
        read_at=timezone.now(),
    )


def add_odd(hosts: list[Host], rows: list[Domain], dice: random.Random) -> None:
    """Trouble of every kind, on the first rows and the last host."""
    now = timezone.now()
    if len(hosts) > 2:
        reason = "Cannot recv data: ssh: connect to host west.example.org port 22: No route to host"
        Host.objects.filter(pk=hosts[-1].pk).update(
            state=HostState.DOWN,
            state_since=now - timedelta(minutes=42),
            seen_at=now - timedelta(minutes=42),
            state_reason=reason,
        )
    crashed, stuck, silent, long, pending = rows[:5]
    Domain.objects.filter(pk=crashed.pk).update(
        name="mail-relay", status=Status.CRASHED, status_since=now - timedelta(hours=2)
    )
    Domain.objects.filter(pk=stuck.pk).update(status=Status.PAUSED, status_reason="I/O error", status_since=now)
    Domain.objects.filter(pk=silent.pk).update(status=Status.RUNNING, not_responding_since=now - timedelta(minutes=5))
    Domain.objects.filter(pk=long.pk).update(
        name="customer-42-a-name-that-somebody-made-by-a-template-2026-11-24-production-replica-of-the-replica-07",
        title="And a title that is long as well, since people write sentences into fields meant for three words",
        tag_line=" prod web customer-42 eu-central needs-patching ",
    )
    definition = Definition.objects.get(domain=pending)
    disk = definition.inactive["disks"][0] | {"source": "/var/lib/libvirt/images/app-server.qcow2"}
    live = definition.inactive | {
        "name": "app-server",
        "vcpus": 4,
        "vcpus_max": 4,
        "memory_kib": 4 * GIB,
        "memory_max_kib": 4 * GIB,
        "disks": [disk, *definition.inactive["disks"][1:]],
    }
    wanted = {"vcpus": 8, "vcpus_max": 8, "memory_kib": 16 * GIB, "memory_max_kib": 16 * GIB}
    Domain.objects.filter(pk=pending.pk).update(
        name="app-server",
        status=Status.RUNNING,
        title="Application",
        description="Ask Ada before touching it.\nBackups run at 02:00.",
        cpu_percent=37.5,
        memory_used_kib=3 * GIB,
        vcpus=4,
        memory_kib=4 * GIB,
        usage_at=now,
        status_since=now - timedelta(days=9),
        disk_read_rate=120_000,
        disk_write_rate=3_400_000,
        net_rx_rate=820_000,
        net_tx_rate=92_000_000,
        tag_line=" prod web ",
    )
    Definition.objects.filter(pk=definition.pk).update(
        live=live,
        live_xml=definition.inactive_xml,
        inactive=live | wanted,
        addresses=[
            {"mac": "52:54:00:12:34:56", "address": "192.168.122.41", "prefix": 24, "source": "lease"},
            {"mac": "52:54:00:12:34:56", "address": "fe80::5054:ff:fe12:3456", "prefix": 64, "source": "agent"},
        ],
    )
    Screen.objects.create(domain=pending, png=picture(), taken_at=now)
    add_operations(rows, dice)
    add_things(hosts, rows, dice)
    add_rights(rows)


def picture() -> bytes:
    """A text console, as a PNG."""
    image = Image.new("RGB", (720, 400), "black")
    lines = (
        "Debian GNU/Linux 12 app-server tty1",
        "",
        "app-server login: ada",
        "Password:",
        "ada@app-server:~$ uptime",
        " 14:02:11 up 9 days,  3:12,  1 user,  load average: 0.42",
    )
    for number, line in enumerate(lines):
        ImageDraw.Draw(image).text((10, 10 + 18 * number), line, fill=(190, 190, 190))
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def add_operations(rows: list[Domain], dice: random.Random) -> None:
    now = timezone.now()
    user = User.objects.order_by("pk").first()
    made = []
    for number, row in enumerate(rows[5:60]):
        asked = now - timedelta(minutes=3 * (60 - number))
        kind = dice.choice(("domain.start", "domain.shutdown", "domain.save", "domain.reboot", "domain.destroy"))
        state = OperationState.SUCCEEDED if number % 9 else OperationState.FAILED
        made.append(
            Operation(
                kind=kind,
                state=state,
                queue="fast",
                user=user,
                actor=user.username if user else "ada",
                origin=Origin.PAGE,
                address="192.0.2.31",
                subject=name_of(row),
                host_id=row.host_id,
                domain=row,
                target=row.name,
                created_at=asked,
                started_at=asked,
                finished_at=asked + timedelta(seconds=dice.uniform(0.2, 40)),
                virsh=f"virsh -c qemu:///system {kind.partition('.')[2]} {row.name}",
                error="" if number % 9 else FAILURE,
            )
        )
    for number, row in enumerate(rows[70:73]):
        made.append(
            Operation(
                kind="domain.save",
                state=OperationState.RUNNING if number else OperationState.QUEUED,
                queue="slow",
                user=user,
                actor="ada",
                origin=Origin.API,
                token_name="night",
                subject=name_of(row),
                host_id=row.host_id,
                domain=row,
                target=row.name,
                created_at=now,
                started_at=now,
                heartbeat_at=now + timedelta(days=1),
                phase="writing memory to disk" if number else "",
                done=number * 600 * 1024**2 if number else None,
                total=2 * 1024**3 if number else None,
                virsh=f"virsh -c qemu:///system managedsave {row.name}",
            )
        )
    created_at = Operation._meta.get_field("created_at")
    created_at.auto_now_add = False
    try:
        Operation.objects.bulk_create(made)
    finally:
        created_at.auto_now_add = True
    for operation in made[40:]:
        ended = {"succeeded": AuditResult.DONE, "failed": AuditResult.FAILED}.get(operation.state)
        for result in (AuditResult.ASKED, AuditResult.BEGUN, ended):
            if result:
                audit.note_operation(operation, result, error=operation.error if result == ended else "")
    audit.note(
        "person.sign_in",
        audit.Thing("user", name="root"),
        actor=Actor(None, Origin.PAGE, "203.0.113.9"),
        result=AuditResult.DENIED,
    )

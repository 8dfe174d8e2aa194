"""Machines of every kind that can be made. Their XML is in xml/domains, by name."""

from __future__ import annotations

from pathlib import Path

from webvirt.hypervisor.types import Bus, CardSpec, Clock, DiskSpec, DomainSpec, Firmware, Source

FOLDER = Path(__file__).with_name("xml") / "domains"
PREFIX = "wvx-"
SECRET = "2a5c2f5e-8d5f-4a43-9c0c-0f4b2e9d9c11"
QEMU = "/usr/bin/qemu-system-x86_64"
GIB = 1024 * 1024


def uuid_of(number: int) -> str:
    return f"3f0c5bb2-9f5d-4a3e-8a55-0b9a6f3c{number:04d}"


SPECS = {
    spec.name.removeprefix(PREFIX): spec
    for spec in (
        DomainSpec(uuid_of(1), f"{PREFIX}bare", "qemu", "x86_64", "q35", "", 1, GIB),
        DomainSpec(
            uuid_of(2),
            f"{PREFIX}linux",
            "kvm",
            "x86_64",
            "q35",
            QEMU,
            vcpus=2,
            memory_kib=2 * GIB,
            vcpus_max=8,
            memory_max_kib=16 * GIB,
            cpu="host-passthrough",
            title="The <web> & more",
            description="two\nlines",
            os_url="http://debian.org/debian/12",
            firmware=Firmware.EFI,
            disks=(
                DiskSpec(Source("/srv/images/web.qcow2"), boot=2, serial="web-1"),
                DiskSpec(Source("/srv/images/safe.img"), "raw", luks=SECRET),
                DiskSpec(Source("/dev/vg0/data", is_block=True), "raw", bus=Bus.SCSI),
                DiskSpec(Source("/srv/images/more.qcow2"), bus=Bus.SCSI),
                DiskSpec(
                    Source(
                        protocol="rbd",
                        name="images/web",
                        hosts=("mon1:6789", "[2001:db8::1]:6789", "mon3"),
                        user="libvirt",
                        secret=SECRET,
                    ),
                    "raw",
                    luks=SECRET,
                ),
                DiskSpec(Source(protocol="gluster", name="volume/images/web.qcow2", hosts=("gluster1",))),
                DiskSpec(Source("/srv/images/seed.iso"), "raw", "cdrom", Bus.SATA),
            ),
            cards=(
                CardSpec("office", mac="52:54:00:AA:00:07", filter="clean-traffic", boot=1),
                CardSpec(bridge="br0", model="e1000e"),
            ),
        ),
        DomainSpec(
            uuid_of(3),
            f"{PREFIX}windows",
            "kvm",
            "x86_64",
            "q35",
            QEMU,
            vcpus=4,
            memory_kib=4 * GIB,
            cpu="host-model",
            os_url="http://microsoft.com/win/11",
            firmware=Firmware.SECURE,
            tpm=True,
            clock=Clock.LOCALTIME,
            hyperv=True,
            disks=(
                DiskSpec(Source("/srv/images/desk.qcow2"), bus=Bus.SATA, boot=2),
                DiskSpec(Source("/srv/images/win.iso"), "raw", "cdrom", Bus.SATA, boot=1),
                DiskSpec(None, device="cdrom", bus=Bus.SATA),
            ),
            cards=(CardSpec("office", model="e1000e"),),
            video="vga",
            virtio_devices=False,
        ),
        DomainSpec(
            uuid_of(4),
            f"{PREFIX}old",
            "qemu",
            "x86_64",
            "pc",
            QEMU,
            vcpus=1,
            memory_kib=GIB,
            memory_max_kib=2 * GIB,
            cpu="Nehalem",
            hyperv=True,
            disks=(
                DiskSpec(Source("/srv/images/old.img"), "raw", bus=Bus.IDE, boot=1),
                DiskSpec(None, device="cdrom", bus=Bus.IDE),
                DiskSpec(Source("/srv/images/stick.img"), "raw", bus=Bus.USB),
            ),
            cards=(CardSpec("office", model="rtl8139"),),
            video="cirrus",
            virtio_devices=False,
        ),
        DomainSpec(
            uuid_of(6),
            f"{PREFIX}arm",
            "kvm",
            "aarch64",
            "virt",
            "/usr/bin/qemu-system-aarch64",
            vcpus=2,
            memory_kib=GIB,
            cpu="host-passthrough",
            firmware=Firmware.EFI,
            tpm=True,
            disks=(DiskSpec(Source("/srv/images/arm.qcow2"), boot=1),),
            cards=(CardSpec("office"),),
        ),
    )
}

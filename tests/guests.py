"""Real guests for tests: plain QEMU without KVM, a small Linux or nothing at all inside."""

from __future__ import annotations

import subprocess
import uuid
from dataclasses import dataclass, field
from pathlib import Path

from tests.until import until

LOCAL = "qemu:///system"

XML = """<domain type='qemu'><name>{name}</name><uuid>{uuid}</uuid><memory unit='MiB'>{memory}</memory><vcpu>1</vcpu>
<os><type arch='x86_64' machine='pc'>hvm</type>{boot}</os><features><acpi/></features>
<on_poweroff>destroy</on_poweroff><on_reboot>restart</on_reboot>
<devices>{disk}{graphics}<video><model type='vga'/></video>{serial}</devices></domain>"""
KERNEL = (
    "<kernel>{guest}/vmlinuz</kernel><initrd>{guest}/initrd.gz</initrd><cmdline>console=tty0 console=ttyS0</cmdline>"
)
DISC = (
    "<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='{disc}'/>"
    "<target dev='vda' bus='virtio'/><readonly/></disk>"
)
SOCKET = "<graphics type='vnc'><listen type='socket'/></graphics>"
LOGGED_LINE = "<serial type='pty'><log file='{log}' append='off'/></serial>"
"""A port to read and to type on, all of which is written to a file as well."""
LOOPBACK = "<graphics type='vnc' port='-1' autoport='yes' listen='127.0.0.1'/>"


def virsh(*words: str, uri: str = LOCAL, check: bool = True) -> str:
    """virsh's standard output; fails with its standard error."""
    command = ["virsh", "-q", "-c", uri, *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0 or not check, f"virsh {' '.join(words)}: {done.stderr}"
    return done.stdout.strip()


@dataclass
class Guest:
    """A defined domain. `guest` is the folder of a tiny guest, or None for a machine with nothing to boot."""

    name: str
    uri: str = LOCAL
    guest: Path | None = None
    graphics: str = SOCKET
    serial_log: Path | None = None
    line: str = ""
    """What its serial line is, where it is no plain port."""
    disc: Path | None = None
    memory: int = 64
    uuid: str = field(default_factory=lambda: str(uuid.uuid4()))

    def xml(self) -> str:
        serial = self.line or "<serial type='pty'/>"
        if self.serial_log and not self.line:
            serial = f"<serial type='file'><source path='{self.serial_log}'/></serial>"
        boot = KERNEL.format(guest=self.guest) if self.guest else ""
        return XML.format(
            name=self.name,
            uuid=self.uuid,
            memory=self.memory,
            boot=boot,
            disk=DISC.format(disc=self.disc) if self.disc else "",
            graphics=self.graphics,
            serial=serial,
        )

    def define(self) -> Guest:
        subprocess.run(
            ["virsh", "-q", "-c", self.uri, "define", "/dev/stdin"], input=self.xml(), text=True, check=True, timeout=60
        )
        return self

    def virsh(self, verb: str, *words: str, check: bool = True) -> str:
        return virsh(verb, self.uuid, *words, uri=self.uri, check=check)

    @property
    def state(self) -> str:
        return self.virsh("domstate")

    def remove(self) -> None:
        """End it and take it off the host, whatever state it is in and whatever is being done to it."""

        def is_gone() -> bool:
            self.virsh("destroy", check=False)
            self.virsh("undefine", "--managed-save", check=False)
            return self.uuid not in virsh("list", "--all", "--uuid", uri=self.uri, check=False)

        until(is_gone, 60, every=0.5, what=f"{self.name} gone")

    @property
    def pid(self) -> int:
        """The process of the running guest, on this machine."""
        return int(Path(f"/run/libvirt/qemu/{self.name}.pid").read_text())

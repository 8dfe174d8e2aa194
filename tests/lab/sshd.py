"""An sshd of our own on this machine, which leads to its libvirtd and whose host key can be swapped."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

from tests.lab.lab import SecondHost
from tests.until import until
from webvirt.hypervisor import credentials
from webvirt.hypervisor.identity import offered_keys
from webvirt.hypervisor.trial import install_line
from webvirt.hypervisor.types import HostAddress, Transport

CONFIG = """
Port {port}
ListenAddress {listen}
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/home/.ssh/authorized_keys
PidFile none
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin yes
StrictModes no
UsePAM no
LogLevel INFO
"""


@dataclass
class Sshd:
    """Files and process of one; `folder/home` stands for the home of the account that lets us in."""

    folder: Path
    port: int
    listen: str = "127.0.0.1"
    inside: tuple[str, ...] = ()
    """What runs a command where the host is."""
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)
    log: Path = field(default=Path("/dev/null"), init=False)
    """What it says since it started last: whom an earlier one still lets in is written to that one's."""

    def address(self, keys: tuple[str, ...] = ()) -> HostAddress:
        return HostAddress(Transport.SSH, self.listen, self.port, "root", keys)

    @property
    def fingerprint(self) -> str:
        """Of the host key, as it says itself."""
        told = subprocess.run(
            ["ssh-keygen", "-lf", self.folder / "host_key.pub"], capture_output=True, text=True, check=True
        )
        return told.stdout.split()[1]

    @property
    def signed_in(self) -> int:
        """How often somebody was let in since the host key is what it is."""
        return self.log.read_text().count("Accepted publickey")

    def new_host_key(self, kind: str = "ed25519") -> None:
        """Another key, shown from now on to whoever connects; older connections stand."""
        for path in self.folder.glob("host_key*"):
            path.unlink()
        make = ["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", str(self.folder / "host_key")]
        subprocess.run(make, check=True)
        if self.process:
            self.end()
            self.start()

    def start(self) -> None:
        Path("/run/sshd").mkdir(exist_ok=True)
        program = shutil.which("sshd", path="/usr/sbin:/usr/bin") or "sshd"
        self.log = self.folder / f"log-{uuid4().hex}"
        with self.log.open("wb") as log:
            command = [*self.inside, program, "-D", "-e", "-f", str(self.folder / "sshd_config")]
            self.process = subprocess.Popen(command, stderr=log)
        until(self.listens, what="sshd listens")

    def listens(self) -> bool:
        try:
            socket.create_connection((self.listen, self.port), timeout=1).close()
        except OSError:
            return False
        return True

    def end(self) -> None:
        assert self.process
        self.process.terminate()
        self.process.wait()

    def type(self, line: str) -> None:
        """What somebody types who is signed in to the account."""
        env = os.environ | {"HOME": str(self.folder / "home")}
        subprocess.run(["sh", "-c", line], env=env, check=True)

    def forget(self, public_key: str) -> None:
        """The account lets nobody in by this key any more."""
        path = self.folder / "home/.ssh/authorized_keys"
        path.write_text("".join(line for line in path.open() if public_key.strip() not in line))

    def befriend(self) -> HostAddress:
        """Where it is, once it lets us in and we know it."""
        credentials.make_our_key()
        self.type(install_line())
        return self.address(offered_keys(self.address()))


@contextmanager
def running_sshd(folder: Path, beside: SecondHost | None = None) -> Iterator[Sshd]:
    """One that leads to this machine's libvirtd, or to that of a second host."""
    if beside:
        host = Sshd(folder, 22, beside.hostname, ("nsenter", "--net", "--mount", "--uts", "--target", str(beside.pid)))
    else:
        with socket.create_server(("127.0.0.1", 0)) as server:
            host = Sshd(folder, server.getsockname()[1])
    (folder / "home").mkdir(parents=True)
    (folder / "sshd_config").write_text(CONFIG.format(port=host.port, listen=host.listen, folder=folder))
    host.new_host_key()
    host.start()
    try:
        yield host
    finally:
        host.end()

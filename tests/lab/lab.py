"""The lab: `tiny_guest()`, a Linux to boot, `cloud_image()`, one that is told what to be, and `SecondHost(n)`, another
libvirt host beside this one.

A second host is a libvirtd in a network and mount namespace of its own, reached over a pair of virtual cables, so that
it can be frozen, cut off and killed without harm to anything else. Needs root.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import TextIO

from tests.until import until

HERE = Path(__file__).parent
LAB = Path("/var/tmp/webvirt-lab")
"""Not below a folder of root's alone: QEMU runs as somebody else and must get through."""
PORT = 16509

QEMU_CONF = """\
# Saving a guest shall take long enough to be watched.
save_image_format = "gzip"
# Files that guests of two hosts share would have two owners to remember.
remember_owner = 0
# A guest's own /dev cannot be made where /dev/kvm is covered.
namespaces = []
"""
DAEMONS = """
set -e
PATH=$1/bin:$PATH
mount --make-rprivate /
for name in run lib etc cache log; do
    case $name in
    run) there=/run/libvirt ;;
    etc) there=/etc/libvirt ;;
    *) there=/var/$name/libvirt ;;
    esac
    mkdir -p "$there"
    mount --bind "$1/$name" "$there"
done
if [ -d "$1/sasl2" ]; then mount --bind "$1/sasl2" /etc/sasl2; fi
if [ -e /dev/kvm ]; then
    : >"$1/no-kvm"
    chmod 0 "$1/no-kvm"
    mount --bind "$1/no-kvm" /dev/kvm
fi
hostname "$2"
virtlogd --daemon --pid-file /run/libvirt/virtlogd.pid || true
exec libvirtd --daemon --listen --pid-file /run/libvirt/libvirtd.pid
"""
"""Run inside the namespaces. There is no KVM there, whatever the machine has, so that every run sees the same host.
The name differs too: libvirt refuses to move a guest to a host of the same name."""


SLOW_COPIER = """\
#!/bin/sh
if [ "$1" = convert ]; then
    shift
    exec {copier} convert -r 16M "$@"
fi
exec {copier} "$@"
"""
"""What libvirt converts images with, at 16 MiB a second: a copy is to last until somebody has looked at it."""


def run(*command: str, check: bool = True, seconds: float = 60) -> str:
    """A command's standard output; fails with its standard error."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
    assert done.returncode == 0 or not check, f"{' '.join(command)}: {done.stderr}"
    return done.stdout


def works(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, timeout=60, check=False).returncode == 0


def tiny_guest(daemon: str = "here") -> Path:
    """The folder with `vmlinuz` and `initrd.gz`, built when its recipe has changed.

    Each libvirtd has its own: two that give the same file to their guests fall out over whose it is.
    """
    return built("tiny-guest", f"guest-{daemon}", "initrd.gz")


def cloud_image() -> Path:
    """An image of the kind that distributions offer for clouds, with their own cloud-init.

    It is to be copied into a pool first: a libvirtd gives what its guests use to their account.
    """
    return built("cloud-guest", "cloud", "cloud.qcow2") / "cloud.qcow2"


def built(recipe_name: str, kind: str, last: str) -> Path:
    """The folder that a recipe of this place makes; `last` is the file that it makes last."""
    recipe = HERE / recipe_name
    folder = LAB / f"{kind}-{hashlib.sha256(recipe.read_bytes()).hexdigest()[:12]}"
    if not (folder / last).exists():
        LAB.mkdir(mode=0o755, exist_ok=True)
        making = folder.with_name(f"{folder.name}-{os.getpid()}")
        run(str(recipe), str(making), seconds=180)
        making.chmod(0o755)
        try:
            making.rename(folder)
        except OSError:
            # Another run was quicker.
            shutil.rmtree(making)
    return folder


class SecondHost:
    """Host number `n` (1 to 99) of the lab: `uri` for virsh, `hostname` and PORT for us.

    Where images go from one format to another it takes its time, if it `copies_slowly`.
    """

    def __init__(self, n: int, *, copies_slowly: bool = False) -> None:
        assert 1 <= n <= 99, "the lab has ninety-nine places"
        self.n = n
        self._copies_slowly = copies_slowly
        self.hostname = f"10.98.{n}.2"
        self.uri = f"qemu+tcp://{self.hostname}:{PORT}/system"
        self.home = LAB / f"host-{n}"
        self._namespace = f"wvhost{n}"
        self._near, self._far = f"wvhost{n}a", f"wvhost{n}b"
        self._lock: TextIO | None = None

    # --- life

    def up(self) -> SecondHost:
        """Start it, or just its daemons where only these are gone; returns when it answers."""
        ours_already = self._lock is not None
        self._reserve()
        if not ours_already and Path("/run/netns", self._namespace).exists():
            # Left behind by a run that was killed; whoever is alive holds the lock.
            self._clear()
        if not Path("/run/netns", self._namespace).exists():
            self._lay_cable()
        elif self._answers():
            return self
        self._write_configuration()
        inside = ["ip", "netns", "exec", self._namespace, "unshare", "--mount", "--uts"]
        run(*inside, "sh", "-c", DAEMONS, "daemons", str(self.home), self._namespace)
        until(self._answers, 20, what=f"{self.uri} answers")
        self._make_pool()
        return self

    def down(self) -> None:
        """End its guests and daemons and remove every trace."""
        self._reserve()
        self._clear()
        self._release()

    def _clear(self) -> None:
        self.mend()
        pids = [int(pid) for pid in run("ip", "netns", "pids", self._namespace, check=False).split()]
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        until(lambda: not any(Path("/proc", str(pid)).exists() for pid in pids), what="its processes are gone")
        run("ip", "link", "del", self._near, check=False)
        run("ip", "netns", "del", self._namespace, check=False)
        shutil.rmtree(self.home, ignore_errors=True)

    @property
    def pid(self) -> int:
        """Of its libvirtd."""
        return int((self.home / "run" / "libvirtd.pid").read_text())

    # --- faults

    def freeze(self) -> None:
        """Its libvirtd stands still: connections are accepted by the kernel and answered by nobody."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def recover(self) -> None:
        """Mend and thaw it, and wait until it answers.

        libvirtd 9.0 was seen to crash of being thawed, once in many runs: then its daemons are started anew.
        """
        self.mend()
        with suppress(ProcessLookupError):
            self.thaw()
        until(lambda: self._answers() or not self._lives(), 20, what="the second host answers again")
        if not self._lives():
            self.up()

    def _lives(self) -> bool:
        return Path("/proc", str(self.pid)).exists()

    def kill(self) -> None:
        """Its libvirtd dies at once; its guests run on. `up` brings it back."""
        pid = self.pid
        os.kill(pid, signal.SIGKILL)
        until(lambda: not Path("/proc", str(pid)).exists(), what="libvirtd is gone")

    def cut(self) -> None:
        """Every packet to and from it is dropped without a word."""
        for chain in ("INPUT", "OUTPUT"):
            run("iptables", "-w", "-I", chain, *self._rule(chain))

    def mend(self) -> None:
        for chain in ("INPUT", "OUTPUT"):
            while works("iptables", "-w", "-D", chain, *self._rule(chain)):
                continue

    def _rule(self, chain: str) -> list[str]:
        return ["-i" if chain == "INPUT" else "-o", self._near, "-j", "DROP"]

    # --- how it is made

    def _reserve(self) -> None:
        """Keep it to ourselves until `down` or our end: two runs of the tests would break each other's host."""
        if self._lock:
            return
        LAB.mkdir(mode=0o755, exist_ok=True)
        lock = (LAB / f"host-{self.n}.lock").open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            raise AssertionError(f"host {self.n} of the lab is in use: another run of the tests?") from None
        self._lock = lock

    def _lay_cable(self) -> None:
        run("ip", "netns", "add", self._namespace)
        run("ip", "link", "add", self._near, "type", "veth", "peer", "name", self._far, "netns", self._namespace)
        run("ip", "addr", "add", f"10.98.{self.n}.1/24", "dev", self._near)
        run("ip", "link", "set", self._near, "up")
        run("ip", "-n", self._namespace, "addr", "add", f"{self.hostname}/24", "dev", self._far)
        for device in ("lo", self._far):
            run("ip", "-n", self._namespace, "link", "set", device, "up")

    def _release(self) -> None:
        if self._lock:
            self._lock.close()
            self._lock = None

    def _write_configuration(self) -> None:
        for name in ("run", "etc", "lib/images", "cache", "log", "bin"):
            (self.home / name).mkdir(parents=True, exist_ok=True)
        if self._copies_slowly:
            script = self.home / "bin" / "qemu-img"
            script.write_text(SLOW_COPIER.format(copier=shutil.which("qemu-img")))
            script.chmod(0o755)
        lines = [f"{name} = {value}\n" for name, value in self._settings().items()]
        (self.home / "etc" / "libvirtd.conf").write_text("".join(lines))
        (self.home / "etc" / "qemu.conf").write_text(QEMU_CONF)

    def _settings(self) -> dict[str, str]:
        """Of its libvirtd."""
        return {
            "listen_tls": "0",
            "listen_tcp": "1",
            "listen_addr": f'"{self.hostname}"',
            "auth_tcp": '"none"',
            "host_uuid": f'"0f0f0f0f-0000-4000-8000-{self.n:012d}"',
        }

    def _answers(self) -> bool:
        return works("virsh", "-q", "-c", self.uri, "version")

    def _make_pool(self) -> None:
        virsh = ("virsh", "-q", "-c", self.uri)
        if "default" not in run(*virsh, "pool-list", "--all", "--name").split():
            run(*virsh, "pool-define-as", "default", "dir", "--target", "/var/lib/libvirt/images")
            run(*virsh, "pool-autostart", "default")
        run(*virsh, "pool-start", "default", check=False)

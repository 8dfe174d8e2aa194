"""Who we are to other hosts, kept under WEBVIRT_HOME: our SSH key, the host keys we trust, our TLS certificates.

The accounts' own `~/.ssh` and `/etc/pki` play no part, so that what we trust is in one place and is ours alone. libvirt
runs `ssh` for us and lets us say which; ours reads our configuration and nothing else.
"""

from __future__ import annotations

import fcntl
import os
import socket
import subprocess
from pathlib import Path

KEY = "id_ed25519"
CONNECT_SECONDS = 5
CONFIG = """\
Host *
    BatchMode yes
    ConnectTimeout {seconds}
    ServerAliveInterval 5
    ServerAliveCountMax 3
    StrictHostKeyChecking yes
    UpdateHostKeys no
    UserKnownHostsFile "{folder}/known_hosts"
    GlobalKnownHostsFile /dev/null
    IdentityFile "{folder}/{key}"
    IdentitiesOnly yes
"""
PROGRAM = """\
#!/bin/sh
# What libvirt runs in place of ssh: the same, with our configuration and no other.
exec ssh -F "$(dirname "$0")/config" "$@"
"""


def home() -> Path:
    """Where the installation keeps its state."""
    return Path(os.environ.get("WEBVIRT_HOME") or Path(__file__).parents[2] / "var").absolute()


def ssh_folder() -> Path:
    return home() / "ssh"


def known_hosts() -> Path:
    return ssh_folder() / "known_hosts"


def public_key() -> Path:
    return ssh_folder() / f"{KEY}.pub"


def ssh_program() -> Path:
    """The program to give to libvirt as `command`; made by `prepare_ssh`."""
    return ssh_folder() / "ssh"


def tls_folder() -> Path:
    """The folder of TLS_FILES; filled by a person."""
    return home() / "tls"


TLS_FILES = ("cacert.pem", "clientcert.pem", "clientkey.pem")


def prepare_ssh() -> None:
    """Make our SSH key and the files around it where they are missing. Raises OSError."""
    folder = ssh_folder()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / KEY).exists():
            make_key(folder)
        known_hosts().touch(mode=0o600)
        # ssh expands %-signs in paths.
        quoted = str(folder).replace("%", "%%")
        put(folder / "config", CONFIG.format(folder=quoted, key=KEY, seconds=CONNECT_SECONDS), 0o600)
        put(ssh_program(), PROGRAM, 0o700)


def make_key(folder: Path) -> None:
    comment = f"webvirt@{socket.gethostname()}"
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(folder / KEY)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"ssh-keygen made no key: {done.stderr.strip()}")


def put(path: Path, text: str, mode: int) -> None:
    """Write a file as a whole, unless it is so already: another process may be reading it."""
    if path.exists() and path.read_text() == text:
        return
    new = path.with_name(f".{path.name}.new")
    new.write_text(text)
    new.chmod(mode)
    new.replace(path)

"""Who we are to other hosts, and whom we take them for: our SSH key and our TLS certificates, kept under WEBVIRT_HOME.

The accounts' own `~/.ssh` and `/etc/pki` play no part, so that what we trust is in one place and is ours alone. libvirt
runs `ssh` for us and lets us say which; ours reads our configuration and nothing else. There is one for each set of
keys that a host is known by, and it knows that host alone.

With TLS, the authority is what is trusted: whoever shows a certificate of it that names the host is that host.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

KEY = "id_ed25519"
NEXT = "id_ed25519_next"
"""The key that is to take the place of the other, while both are good."""
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


def public_key(name: str = KEY) -> Path:
    return ssh_folder() / f"{name}.pub"


def folder_for(keys: tuple[str, ...], identities: tuple[str, ...]) -> Path:
    """Where the files of one set of hosts' keys and of ours are: by their content, so none is ever rewritten."""
    told = "\n".join((*keys, "", *identities))
    return ssh_folder() / f"to-{hashlib.sha256(told.encode()).hexdigest()[:16]}"


def ssh_program(keys: tuple[str, ...], identities: tuple[str, ...] = (NEXT, KEY)) -> Path:
    """The program to give to libvirt as `command`, which knows a host by these keys; made by `prepare_ssh`."""
    return folder_for(keys, identities) / "ssh"


def tls_folder() -> Path:
    """The folder of TLS_FILES; filled by a person."""
    return home() / "tls"


TLS_FILES = ("cacert.pem", "clientcert.pem", "clientkey.pem")
CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)


def authority() -> str:
    """`SHA256:...` of the certificate that TLS hosts are known by, as `openssl x509 -fingerprint -sha256` shows it.

    Raises OSError or ValueError.
    """
    found = CERTIFICATE.search((tls_folder() / TLS_FILES[0]).read_text(errors="replace"))
    if not found:
        return "none"
    return f"SHA256:{hashlib.sha256(ssl.PEM_cert_to_DER_cert(found[0])).hexdigest().upper()}"


@contextmanager
def locked() -> Iterator[Path]:
    """The folder of all this, for us alone meanwhile."""
    folder = ssh_folder()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder


def make_our_key() -> None:
    """Make our SSH key unless it is there. Raises OSError."""
    with locked() as folder:
        if not (folder / KEY).exists():
            make_key(folder / KEY)


def make_next_key() -> None:
    """Make the key that shall take the place of ours, unless it is there. Raises OSError."""
    with locked() as folder:
        if not (folder / NEXT).exists():
            make_key(folder / NEXT)


def take_next_key() -> None:
    """Let the next key be ours from now on; the one before is gone. Raises OSError."""
    with locked() as folder:
        (folder / NEXT).replace(folder / KEY)
        public_key(NEXT).replace(public_key())


def prepare_ssh(keys: tuple[str, ...], identities: tuple[str, ...] = (NEXT, KEY)) -> None:
    """Make our SSH key and the files for a host known by these keys where they are missing. Raises OSError."""
    make_our_key()
    with locked() as folder:
        place = folder_for(keys, identities)
        place.mkdir(mode=0o700, exist_ok=True)
        # The place is this host's alone, whatever it is called.
        put(place / "known_hosts", "".join(f"* {key}\n" for key in keys), 0o600)
        # ssh expands %-signs in paths.
        config = CONFIG.format(folder=str(place).replace("%", "%%"), seconds=CONNECT_SECONDS)
        ours = "".join(f'    IdentityFile "{str(folder / name).replace("%", "%%")}"\n' for name in identities)
        put(place / "config", config + ours, 0o600)
        put(place / "ssh", PROGRAM, 0o700)


def make_key(path: Path) -> None:
    comment = f"webvirt@{socket.gethostname()}"
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(path)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"ssh-keygen made no key: {done.stderr.strip()}")


def put(path: Path, text: str, mode: int) -> None:
    """Write a file as a whole, unless it is so already: another process may be reading it."""
    if path.exists() and path.read_text() == text:
        return
    new = path.with_name(f".{path.name}.new")
    new.touch(mode=mode)
    new.write_text(text)
    new.chmod(mode)
    new.replace(path)

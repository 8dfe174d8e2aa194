"""Reaches a display on another host through SSH, under the same strict rules by which libvirt gets there.

The forward lives exactly as long as the sockets returned here: ssh ends when they are closed.
"""

from __future__ import annotations

import secrets
import socket
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import IO

from webvirt.hypervisor.credentials import home, prepare_ssh, ssh_program
from webvirt.hypervisor.types import Display, HostAddress
from webvirt.services.consoles import Close, Refusal

OPEN_SECONDS = 10.0
REACHED = ("open failed", "administratively prohibited", "Connection refused", "No such file")
"""What ssh says when the host let us in and the display behind it did not answer."""


def forward(address: HostAddress, display: Display) -> list[socket.socket]:
    """The display's socket, and a second one to hold open where it takes one. Raises Refusal."""
    prepare_ssh(address.keys)
    with tempfile.TemporaryFile() as complaints:
        if display.socket:
            ends = forward_socket(address, display.socket, complaints)
        else:
            port = f"[{display.hostname}]:{display.port}"
            ends = [run(address, ["-W", port], [], complaints)]
        if not speaks(ends[0]):
            raise refusal(complaints)
        return ends


def forward_socket(address: HostAddress, remote: str, complaints: IO[bytes]) -> list[socket.socket]:
    """`-W` knows no unix sockets, so ssh listens on one of ours until `cat` on the other side sees its input end."""
    local = home() / "run" / f"display-{secrets.token_hex(8)}.sock"
    options = ["-o", "ExitOnForwardFailure=yes", "-o", "StreamLocalBindMask=0177", "-L", f"{local}:{remote}"]
    life = run(address, options, ["cat"], complaints)
    try:
        return [connected(local, life, complaints), life]
    finally:
        local.unlink(missing_ok=True)


def run(address: HostAddress, options: list[str], command: list[str], complaints: IO[bytes]) -> socket.socket:
    """Start ssh; the socket returned is its standard input and output."""
    ours, theirs = socket.socketpair()
    where = [*(["-p", str(address.port)] if address.port else []), *(["-l", address.user] if address.user else [])]
    words = [str(ssh_program(address.keys)), "-T", *where, *options, "--", address.hostname, *command]
    with theirs:
        end = theirs.fileno()
        # A session of its own: a signal to the proxy's group must not cut it.
        subprocess.Popen(words, stdin=end, stdout=end, stderr=complaints, start_new_session=True)
    return ours


def connected(local: Path, life: socket.socket, complaints: IO[bytes]) -> socket.socket:
    """A connection to the socket on which ssh listens, as soon as it does."""
    end = socket.socket(socket.AF_UNIX)
    until = time.monotonic() + OPEN_SECONDS
    while time.monotonic() < until and not is_over(life):
        with suppress(FileNotFoundError, ConnectionRefusedError):
            end.connect(str(local))
            return end
        time.sleep(0.02)
    end.close()
    raise refusal(complaints)


def is_over(life: socket.socket) -> bool:
    try:
        return not life.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    except OSError:
        return True


def speaks(end: socket.socket) -> bool:
    """Whether a display greets us; it is always the display that speaks first."""
    end.settimeout(OPEN_SECONDS)
    try:
        return bool(end.recv(1, socket.MSG_PEEK))
    except OSError:
        return False


def refusal(complaints: IO[bytes]) -> Refusal:
    """What ssh complained of, by the hop that it speaks of."""
    complaints.seek(0)
    lines = [line for line in complaints.read().decode(errors="replace").splitlines() if line.strip()]
    for line in lines:
        if any(words in line for words in REACHED):
            return Refusal(Close.DISPLAY, line.strip())
    return Refusal(Close.HOST, lines[-1].strip() if lines else f"nothing answered within {OPEN_SECONDS:.0f} s")

"""Reaches a display on another host through SSH, under the same strict rules by which libvirt gets there.

The forward lives exactly as long as the sockets returned here: ssh ends when they are closed.
"""

from __future__ import annotations

import secrets
import shlex
import socket
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import IO

from webvirt.consoleproxy.hops import demand_greeting
from webvirt.hypervisor.credentials import home, prepare_ssh, ssh_program
from webvirt.hypervisor.types import Display, HostAddress
from webvirt.services.consoles import Close, Refusal

OPEN_SECONDS = 10.0
SAID = (
    ("administratively prohibited", Close.FORWARDING),
    ("open failed", Close.DISPLAY),
    ("Permission denied", Close.SIGN_IN),
    ("verification failed", Close.SIGN_IN),
)
"""What ssh says, by the hop that it speaks of: of anything else it is the host. The first two are said where the host
let us in: it forwards nothing, or the display behind it did not answer."""


def forward(address: HostAddress, display: Display) -> list[socket.socket]:
    """The display's socket, and a second one to hold open where it takes one. Raises Refusal."""
    prepare_ssh(address.keys)
    with tempfile.TemporaryFile() as complaints:
        if display.socket:
            ends = forward_socket(address, display.socket, complaints)
        else:
            port = f"[{display.hostname}]:{display.port}"
            ends = [run(address, ["-W", port], [], complaints)]
        try:
            demand_greeting(ends[0])
        except Refusal as silence:
            for end in ends:
                end.close()
            refused = complaint(complaints) or silence
            if refused.code == Close.DISPLAY and display.socket and is_there(address, display.socket):
                raise Refusal(Close.FORWARDING, f"{display.socket} is there, and sshd does not lead to it") from None
            raise refused from None
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


def is_there(address: HostAddress, remote: str) -> bool:
    """Whether the host has that socket: of a forward that failed, sshd does not tell why."""
    with tempfile.TemporaryFile() as complaints:
        answer = run(address, [], [f"test -S {shlex.quote(remote)} && echo yes"], complaints)
    with answer:
        answer.settimeout(OPEN_SECONDS)
        with suppress(OSError):
            return answer.recv(16).startswith(b"yes")
    return False


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
    raise complaint(complaints) or Refusal(Close.HOST, f"ssh was not there within {OPEN_SECONDS:.0f} s")


def is_over(life: socket.socket) -> bool:
    try:
        return not life.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    except OSError:
        return True


def complaint(complaints: IO[bytes]) -> Refusal | None:
    """What ssh complained of, by the hop that it speaks of; None where it said nothing."""
    complaints.seek(0)
    said = [line.strip() for line in complaints.read().decode(errors="replace").splitlines()]
    # The next key of ours is there only while it takes the place of the other.
    lines = [line for line in said if line and not line.startswith("no such identity")]
    for words, code in SAID:
        for line in lines:
            if words in line:
                return Refusal(code, line)
    return Refusal(Close.HOST, lines[-1]) if lines else None

"""Reaches a display that has TLS of its own (VeNCrypt), known by the certificates by which libvirt knows its host.

A process of its own ends the TLS (`tlschild`); it lives exactly as long as the socket returned here.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import tempfile
from typing import IO

from webvirt.consoleproxy import tlschild
from webvirt.consoleproxy.hops import demand_greeting
from webvirt.hypervisor.credentials import tls_folder
from webvirt.services.consoles import Close, Refusal

OPEN_SECONDS = 3 * tlschild.SECONDS
"""The child gives up before that."""


def wants_tls(hostname: str, port: int) -> bool:
    """Whether a display offers VeNCrypt; where it does, nothing else will do. Raises OSError or Refusal."""
    with socket.create_connection((hostname, port), timeout=tlschild.SECONDS) as end:
        demand_greeting(end)
        return tlschild.VENCRYPT in tlschild.offered(end)


def through_tls(hostname: str, port: int, name: str) -> socket.socket:
    """A display behind its TLS, which must show a certificate for `name`; as one without. Raises Refusal."""
    ours, theirs = socket.socketpair()
    words = [sys.executable, "-I", "-S", tlschild.__file__, hostname, str(port), name, str(tls_folder())]
    with tempfile.TemporaryFile() as complaints:
        with theirs:
            end = theirs.fileno()
            # A session of its own: a signal to the proxy's group must not cut it.
            subprocess.Popen(words, stdin=end, stdout=end, stderr=complaints, start_new_session=True)
        ours.settimeout(OPEN_SECONDS)
        try:
            if ours.recv(1, socket.MSG_PEEK):
                return ours
        except OSError:
            pass
        ours.close()
        raise refusal(complaints)


def refusal(complaints: IO[bytes]) -> Refusal:
    complaints.seek(0)
    part, _space, words = complaints.read().decode(errors="replace").strip().partition(" ")
    if part == "tls":
        return Refusal(Close.CERTIFICATE, words)
    return Refusal(Close.DISPLAY, f"the display does not answer: {words}")

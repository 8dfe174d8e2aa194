"""Displays of QEMU with TLS of their own, and without, that listen on every address."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.console.proxy import Process
from tests.lab.guarded import Authority
from tests.stack import free_port
from tests.until import until
from webvirt.hypervisor.types import Display


@contextmanager
def qemu(*words: str, options: str = "") -> Iterator[Display]:
    """A QEMU without a machine, whose display listens on every address, as one would see it from elsewhere."""
    port = free_port()
    command = ["qemu-system-x86_64", "-M", "pc", "-S", "-nodefaults", "-device", "VGA", "-accel", "tcg", "-m", "32"]
    process = Process(subprocess.Popen([*command, *words, "-vnc", f"0.0.0.0:{port - 5900}{options}"]))
    try:
        until(lambda: socket.socket().connect_ex(("127.0.0.1", port)) == 0, what="QEMU's display listens")
        yield Display("", "vnc", hostname="0.0.0.0", port=port)
    finally:
        process.stop()


@contextmanager
def with_tls(
    authority: Authority, name: str, folder: Path, *more: str, options: str = "", verify: bool = True
) -> Iterator[Display]:
    """One that shows a certificate for `name`, and wants to see one of ours unless told not to."""
    authority.write(folder, name, "server")
    for part in ("cert", "key"):
        (folder / f"server{part}.pem").replace(folder / f"server-{part}.pem")
    (folder / "cacert.pem").replace(folder / "ca-cert.pem")
    credentials = f"tls-creds-x509,id=tls0,endpoint=server,verify-peer={'yes' if verify else 'no'},dir={folder}"
    with qemu("-object", credentials, *more, options=f",tls-creds=tls0{options}") as display:
        yield display

"""Opens the display of a guest: asks libvirt afresh where it is, and after connecting whether it is still there.

A display's port is the next machine's a moment after this one stops, so an address is never kept and never trusted.
"""

from __future__ import annotations

import ipaddress
import os
import socket

from webvirt.consoleproxy.hops import demand_greeting, in_time, refusal_of
from webvirt.consoleproxy.serial import reach
from webvirt.consoleproxy.ssh import forward
from webvirt.consoleproxy.tls import through_tls, wants_tls
from webvirt.hypervisor.connection import connect
from webvirt.hypervisor.errors import HypervisorError
from webvirt.hypervisor.types import Display, HostAddress, Transport
from webvirt.models import ConsoleDevice, Host
from webvirt.services.consoles import Admission, Close, Refusal
from webvirt.services.unsealing import way_to

CONNECT_SECONDS = 5.0


def dial(admission: Admission, life: socket.socket) -> list[socket.socket]:
    """The guest's display or serial line as a connected socket. Raises Refusal that names the hop that failed.

    `life` breaks when the console proxy is gone.
    """
    address = way_to(Host.objects.get(pk=admission.host))
    if admission.device == ConsoleDevice.SERIAL:
        return [reach(address, admission, life)]
    try:
        with connect(address) as connection:
            display = in_time(lambda: connection.domains.display(admission.domain_uuid))
            ends = open_display(address, display)
            if display.fd is None:
                confirm(display, connection.domains.display(admission.domain_uuid))
            return ends
    except HypervisorError as error:
        raise refusal_of(error) from None


def confirm(before: Display, after: Display) -> None:
    """Raise Refusal unless the same guest still has the display that we reached."""
    if after.fd is not None:
        os.close(after.fd)
    if before != after:
        raise Refusal(Close.DISPLAY, "the display moved while it was opened")


def open_display(address: HostAddress, display: Display) -> list[socket.socket]:
    """A connected socket to where the display is now, which has begun to speak."""
    if display.type != "vnc":
        raise Refusal(Close.NOT_VNC, f"the machine has a display of type {display.type}, not vnc")
    try:
        if address.transport == Transport.SSH:
            return forward(address, display)
        if display.fd is not None:
            end = socket.socket(fileno=display.fd)
        elif address.transport == Transport.LOCAL:
            end = open_local(display)
        else:
            end = open_remote(address, display)
    except OSError as error:
        raise Refusal(Close.DISPLAY, f"the display does not answer: {error}") from None
    demand_greeting(end)
    return [end]


def open_local(display: Display) -> socket.socket:
    """On this machine: a unix socket or a port."""
    if display.socket:
        end = socket.socket(socket.AF_UNIX)
        end.settimeout(CONNECT_SECONDS)
        end.connect(display.socket)
        return end
    return open_port(local_name(display.hostname), display.port or 0)


def open_remote(address: HostAddress, display: Display) -> socket.socket:
    """On another machine, where the display listens on an address that we can reach; through TLS where it has any."""
    if display.socket or is_loopback(display.hostname):
        raise Refusal(
            Close.OUT_OF_REACH,
            f"the display listens on {address.hostname} itself only",
        )
    unspecified = display.hostname in ("0.0.0.0", "::")
    hostname, port = address.hostname if unspecified else display.hostname, display.port or 0
    if wants_tls(hostname, port):
        # Wherever it listens, it is this host that is to answer.
        return through_tls(hostname, port, address.hostname)
    return open_port(hostname, port)


def open_port(hostname: str, port: int) -> socket.socket:
    end = socket.create_connection((hostname, port), timeout=CONNECT_SECONDS)
    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return end


def local_name(hostname: str) -> str:
    """Where to connect for a display that listens on every address."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(hostname, hostname)


def is_loopback(hostname: str) -> bool:
    try:
        return ipaddress.ip_address(hostname).is_loopback
    except ValueError:
        return hostname in ("", "localhost")

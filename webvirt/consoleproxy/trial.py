"""Opens a guest as for a console, to tell who asks which hop fails: nothing is carried, and there is no session.

Only the front's internal redirect leads here, after a page or the API has seen who asks.
"""

from __future__ import annotations

import json
import socket
from contextlib import suppress

from django.utils import translation
from redis.exceptions import RedisError

from webvirt.consoleproxy.hops import GREETING_SECONDS
from webvirt.consoleproxy.usher import Dial, Knock, ushered
from webvirt.models import ConsoleDevice
from webvirt.services import hops
from webvirt.services.consoles import Close, Refusal
from webvirt.services.hops import Look

GREETING = b"RFB 003."


def answer(line: socket.socket, ticket: str, reach: Dial, life: socket.socket) -> None:
    """Tell the visitor the hops as JSON; 404 for a ticket that leads to nothing (any more)."""
    try:
        look = hops.taken(ticket)
    except RedisError:
        look = None
    if look is None:
        send(line, "404 Not Found", b"")
        return
    # Processes are forked in between, and a connection to the database must not go with them.
    refusal = tried(look, reach, life)
    with translation.override(look.language):
        told = hops.told(look.device, hops.trouble_of(look, refusal) if refusal else None)
    send(line, "200 OK", json.dumps(told).encode())


def tried(look: Look, reach: Dial, life: socket.socket) -> Refusal | None:
    """What a console would be refused with, or None."""
    try:
        with ushered(lambda _knock: look.admission, reach, Knock("", ""), life) as usher:
            usher.admission()
            ends = usher.display()
            try:
                if look.device == ConsoleDevice.SCREEN:
                    demand_rfb(ends[0])
            finally:
                for end in ends:
                    end.close()
    except Refusal as refusal:
        return refusal
    return None


def demand_rfb(end: socket.socket) -> None:
    """Raise Refusal unless what answers is a VNC display."""
    end.settimeout(GREETING_SECONDS)
    try:
        said = end.recv(len(GREETING), socket.MSG_WAITALL)
    except OSError as error:
        raise Refusal(Close.DISPLAY, f"the display does not answer: {error}") from None
    if said != GREETING:
        raise Refusal(Close.MALFORMED, "what answers is no VNC display")


def send(line: socket.socket, status: str, body: bytes) -> None:
    head = [
        f"HTTP/1.1 {status}",
        f"Content-Length: {len(body)}",
        "Content-Type: application/json",
        "Cache-Control: no-store",
        "X-Content-Type-Options: nosniff",
        "Connection: close",
        "",
        "",
    ]
    # Who has gone away meanwhile needs no answer.
    with suppress(OSError):
        line.sendall("\r\n".join(head).encode() + body)

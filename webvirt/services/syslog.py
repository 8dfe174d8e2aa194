"""The audit log on its way to a syslog (RFC 5424), from the last line that was sent.

A line counts as sent once the other side has taken it, as far as its protocol lets one know, so none is lost while it
is away. Who dies in between sends the same lines again: each is there once, or twice, and its number tells.
"""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import SplitResult, urlsplit

from django.conf import settings
from django.db.models import Q
from django.utils import timezone

from webvirt.models import AuditForward, AuditLine, AuditResult
from webvirt.services.audit import exported
from webvirt.services.auditlog import chunk_after

log = logging.getLogger(__name__)

SECONDS = 5.0
"""How long the other side may keep us waiting at each step."""
PAUSE_SECONDS = 0.001
"""Between two datagrams to another machine, which drops what it has no room for."""
HELD = timedelta(seconds=30)
"""So long one clerk keeps others from sending; after a failure, so long nobody tries again."""
FACILITY = 13
"""The one for audits."""
WARNING, NOTICE = 4, 5
SEVERITIES = {AuditResult.DENIED: WARNING, AuditResult.FAILED: WARNING, AuditResult.UNKNOWN: WARNING}


def is_due(now: datetime) -> bool:
    """Whether there is something to send, and nobody at it."""
    if not settings.WEBVIRT_AUDIT_SYSLOG:
        return False
    turn, _made = AuditForward.objects.get_or_create(pk=1)
    if turn.held_until and turn.held_until > now:
        return False
    return AuditLine.objects.filter(number__gt=turn.sent).exists()


def forward_all() -> None:
    """Send all that there is."""
    while forward(timezone.now()):
        pass


def forward(now: datetime) -> int:
    """Send what was written since the last time, up to a chunk. Returns how many lines."""
    turn, _made = AuditForward.objects.get_or_create(pk=1)
    lines = chunk_after(AuditLine.objects.all(), turn.sent)
    if not lines or not hold(turn, now):
        return 0
    try:
        send(urlsplit(settings.WEBVIRT_AUDIT_SYSLOG), lines)
    except OSError as error:
        log.warning("the audit log waits from line %s: %s: %s", lines[0].number, settings.WEBVIRT_AUDIT_SYSLOG, error)
        return 0
    AuditForward.objects.filter(pk=turn.pk).update(sent=lines[-1].number, held_until=None)
    return len(lines)


def hold(turn: AuditForward, now: datetime) -> bool:
    """Take the turn to send what follows `turn.sent`; False when another has it, or had it meanwhile."""
    free = Q(held_until=None) | Q(held_until__lt=now)
    return bool(AuditForward.objects.filter(free, pk=turn.pk, sent=turn.sent).update(held_until=now + HELD))


def message(line: AuditLine) -> bytes:
    """A line as RFC 5424 has it; the text is the line as it is exported, ASCII on one line."""
    severity = SEVERITIES.get(AuditResult(line.result), NOTICE)
    at = line.at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    name = socket.gethostname()[:255] or "-"
    kind = "".join(c for c in line.event if "!" <= c <= "~")[:32] or "-"
    return f"<{8 * FACILITY + severity}>1 {at} {name} webvirt - {kind} - {exported(line)}".encode("ascii", "replace")


def send(where: SplitResult, lines: Iterable[AuditLine]) -> None:
    """Send lines and see that they were taken. Raises OSError."""
    messages = [message(line) for line in lines]
    if where.scheme == "tcp":
        send_stream(socket.create_connection((where.hostname or "", where.port or 0), SECONDS), messages)
    elif where.scheme == "udp":
        family, _kind, _proto, _name, address = socket.getaddrinfo(where.hostname, where.port, type=socket.SOCK_DGRAM)[
            0
        ]
        send_datagrams(socket.socket(family, socket.SOCK_DGRAM), address, messages, PAUSE_SECONDS)
    else:
        send_datagrams(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM), where.path, messages, 0.0)


def send_stream(connection: socket.socket, messages: list[bytes]) -> None:
    """Each with its length before it (RFC 6587). That all were taken shows when the other side closes after us."""
    with connection:
        connection.settimeout(SECONDS)
        connection.sendall(b"".join(b"%d %s" % (len(text), text) for text in messages))
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(4096):
            pass


def send_datagrams(connection: socket.socket, address: Any, messages: list[bytes], pause: float) -> None:
    """One each. A local socket takes all or tells; of another machine only its refusal shows, if anything does."""
    with connection:
        connection.settimeout(SECONDS)
        connection.connect(address)
        for text in messages:
            connection.send(text)
            time.sleep(pause)
        if refusal := connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            raise OSError(refusal, "refused")

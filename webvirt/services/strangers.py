"""Who is at a machine's screen without having come by us, as far as its host tells.

libvirt says of every connection to a display when it comes and goes, of ours too: those are told apart by their time
and by where they come from. Who was there before we listened is not known.
"""

from __future__ import annotations

import ipaddress
from datetime import timedelta

from django.db.models import Q, QuerySet
from django.utils import timezone

from webvirt import bus
from webvirt.hypervisor.types import Transport, ViewerEvent
from webvirt.models import (
    ACTIVE,
    AuditLine,
    ConsoleDevice,
    ConsoleSession,
    Domain,
    Host,
    HostState,
    Origin,
    ScreenConnection,
)
from webvirt.services import audit
from webvirt.services.actors import Actor

DIALLING = timedelta(seconds=60)
"""We have heard of a console's own connection so soon after it was let in."""
LEAVING = timedelta(seconds=5)
"""What a console leaves is written down at once, and that its connection went is told a little sooner or later."""
TOLD_EVERY = timedelta(hours=1)
"""Of who comes again and again from one address, the audit log is told so often."""


# --- from the host's events


def hear(host: Host, event: ViewerEvent) -> None:
    """Write down that somebody came to a screen, or left it."""
    domain = Domain.objects.filter(host=host, uuid=event.uuid, missing_since=None).first()
    if domain is None:
        return
    if event.is_there:
        come(host, domain, event)
    else:
        # Of those without an address, one is like another.
        same = ScreenConnection.objects.filter(domain=domain, address=event.address, port=event.port).first()
        if same is not None:
            same.delete()
    bus.announce(["consoles"])


def come(host: Host, domain: Domain, event: ViewerEvent) -> None:
    is_direct = host.transport in (Transport.TCP, Transport.TLS)
    with audit.writing():
        row = ScreenConnection.objects.create(
            domain=domain,
            address=event.address,
            port=event.port,
            auth=event.auth,
            may_be_ours=is_direct or is_of_the_host(event),
            since=timezone.now(),
        )
        if row in among(ScreenConnection.objects.filter(domain=domain)) and not was_told(row):
            told = {"address": row.address, "auth": row.auth}
            audit.note("console.foreign", domain, actor=Actor(None, Origin.SYSTEM), details=told)


def is_of_the_host(event: ViewerEvent) -> bool:
    """Whether it comes from the host itself, as what we forward there does: by a socket without an address, or by one
    of its own."""
    try:
        return ipaddress.ip_address(event.address).is_loopback or event.address == event.local_address
    except ValueError:
        return True


def was_told(row: ScreenConnection) -> bool:
    lines = AuditLine.objects.filter(noun="domain", object_id=row.domain_id, event="console.foreign")
    address = audit.compact({"address": row.address})[1:-1]
    return lines.filter(at__gt=row.since - TOLD_EVERY, details__contains=address).exists()


def begin(host: Host) -> None:
    """We listen from now on: of who was there before we do not hear when they leave."""
    leave(ScreenConnection.objects.filter(domain__host=host))


def stop(host: Host, uuid: str) -> None:
    """A machine that stops has no screen."""
    leave(ScreenConnection.objects.filter(domain__host=host, domain__uuid=uuid))


def leave(found: QuerySet[ScreenConnection]) -> None:
    gone, _rows = found.delete()
    if gone:
        bus.announce(["consoles"])


# --- to pages


def among(found: QuerySet[ScreenConnection]) -> list[ScreenConnection]:
    """Those of the connections to machines that run that are none of our consoles', oldest first.

    `found` has all connections of each of its machines.
    """
    seen = found.filter(domain__host__state=HostState.UP, domain__missing_since=None, domain__status__in=ACTIVE)
    left = list(seen.select_related("domain__host").order_by("since", "pk"))
    for session in ours(left):
        own = next((row for row in left if is_of(row, session)), None)
        if own is not None:
            left.remove(own)
    return left


def ours(rows: list[ScreenConnection]) -> QuerySet[ConsoleSession]:
    """Our own consoles at the screens of these, with those that just ended."""
    here = ConsoleSession.objects.filter(domain__in={row.domain_id for row in rows}, device=ConsoleDevice.SCREEN)
    there = Q(ended_at=None) | Q(ended_at__gt=timezone.now() - LEAVING)
    return here.filter(there, opened_at__isnull=False).order_by("opened_at")


def is_of(row: ScreenConnection, session: ConsoleSession) -> bool:
    """Whether it can be this console's connection."""
    assert session.opened_at
    is_near = session.opened_at <= row.since <= session.opened_at + DIALLING
    return row.may_be_ours and row.domain_id == session.domain_id and is_near

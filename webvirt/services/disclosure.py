"""How much of a host's own words a person gets to read.

libvirt's sentences hold paths, addresses and names of the host. Administrators read them whole; whoever operates the
machine reads them with these masked; others learn that it failed, and the number under which an administrator finds
the rest.
"""

from __future__ import annotations

import re
from typing import Any

from django.utils.translation import gettext as _

from webvirt.models import Host, Operation, Role, Volume
from webvirt.services import uses
from webvirt.services.access import Access, reaches
from webvirt.services.operations import may_answer_for
from webvirt.services.phrases import said
from webvirt.services.uses import Use

MASK = "…"
TELLING = (
    re.compile(r"[\w+.-]+://[^\s'\"]+"),
    re.compile(r"(?<![\w/.])/[^\s'\":;,)]+"),
    re.compile(r"\b\d{1,3}(?:\.\d{1,3}){3}\b(?::\d+)?"),
    re.compile(r"(?i)(?<![\w:])(?:[0-9a-f]{0,4}:){2,7}[0-9a-f]{0,4}(?![\w:])"),
)
"""Addresses of services, absolute paths, IPv4 and IPv6 addresses."""


def error_for(access: Access, operation: Operation) -> str:
    """Why an operation failed, as far as this person may read it; "" when it did not."""
    if not operation.error:
        return ""
    if access.is_administrator:
        return said(operation.error)
    held = access.held_on(access.object_of(operation))
    if held and (reaches(held.role, Role.OPERATOR) or operation.kind in held.kinds):
        # Masked first: what tells is found by its place among English words.
        return said(masked(operation.error, operation.host))
    return _("It failed. An administrator finds the reason under operation %(id)s.") % {"id": operation.pk}


def parameters_for(access: Access, operation: Operation) -> dict[str, Any]:
    """An operation's parameters; none for who could not have asked (they may be the keys somebody typed)."""
    return operation.parameters if may_answer_for(access, operation) else {}


def virsh_for(access: Access, operation: Operation) -> str:
    """The equivalent command, without the host's address for who may not know of the host."""
    if not may_answer_for(access, operation):
        return ""
    if access.knows_host(operation.host_id):
        return operation.virsh
    return re.sub(r"(?m)^virsh -c \S+ ", "virsh ", operation.virsh)


def masked(text: str, host: Host) -> str:
    """A sentence without what tells where the host is and how it is laid out."""
    for pattern in TELLING:
        text = pattern.sub(MASK, text)
    for name in {host.hostname, str(host.info.get("hostname", ""))} - {""}:
        text = re.sub(rf"(?<![\w.-]){re.escape(name)}(?![\w-])", MASK, text)
    return text


def uses_for(access: Access, volume: Volume) -> tuple[list[Use], int]:
    """What needs a volume, as far as this person may know of it, and how much else does."""
    users = uses.uses_of(volume)
    if access.knows_host(volume.pool.host_id):
        return users, 0
    known: dict[str, set[int]] = {}
    for noun in ("domain", "volume"):
        rows = access.rows(noun).filter(pk__in=[use.pk for use in users if use.noun == noun])
        known[noun] = set(rows.values_list("pk", flat=True))
    shown = [use for use in users if use.pk in known[use.noun]]
    return shown, len(users) - len(shown)


def chain_for(access: Access, volume: Volume) -> list[Volume | str]:
    """What a volume is based on, to the bottom; what this person may not know of is masked."""
    chain = uses.chain_of(volume)
    if access.knows_host(volume.pool.host_id):
        return chain
    known = set(access.volumes().filter(pk__in=[base.pk for base in chain if isinstance(base, Volume)]))
    return [base if isinstance(base, Volume) and base in known else MASK for base in chain]

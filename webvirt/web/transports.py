"""The ways to reach a host, in words for lists and forms."""

from __future__ import annotations

from django.utils.translation import gettext as _

from webvirt.hypervisor.types import Transport
from webvirt.models import TRANSPORT_LABELS


def labels() -> dict[str, str]:
    return {transport.value: str(label) for transport, label in TRANSPORT_LABELS.items()}


def choices() -> list[tuple[str, str, str]]:
    """(value, label, what it means) of each way to reach a host."""
    texts = {
        Transport.LOCAL: _("libvirt on this very machine."),
        Transport.SSH: _("The usual way: with our key, as a user who may use libvirt."),
        Transport.TLS: _("libvirt's own port with certificates on both sides, and a password where it asks for one."),
        Transport.TCP: _("Anybody on the network can listen in. Only inside a network you trust."),
        Transport.TEST: _("Machines that exist only in memory, to look around."),
    }
    return [(transport.value, str(label), texts[transport]) for transport, label in TRANSPORT_LABELS.items()]

"""A guest's SPICE display: let somebody in for a while, or have VNC in its place. Part of `DomainCalls`."""

from __future__ import annotations

import socket
import ssl
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import libvirt

from webvirt.hypervisor.calls import Handle
from webvirt.hypervisor.errors import NoDisplay, WrongState
from webvirt.hypervisor.xml.displays import SpiceDisplay, spice_of, with_password, with_vnc

CONNECT_SECONDS = 5.0
SECURE_INACTIVE = libvirt.VIR_DOMAIN_XML_INACTIVE | libvirt.VIR_DOMAIN_XML_SECURE
SHORT = {
    "commonName": "CN",
    "countryName": "C",
    "domainComponent": "DC",
    "emailAddress": "emailAddress",
    "localityName": "L",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "stateOrProvinceName": "ST",
}
"""How viewers name the parts of a certificate's subject."""


class DisplayCalls:
    """Every method raises a HypervisorError of the kind that fits; a uuid may be NotFound."""

    _handle: Handle

    def spice(self, uuid: str) -> SpiceDisplay:
        """Where the guest's SPICE display listens. Raises WrongState while it does not run, NoDisplay without one."""
        with self._handle.domain(uuid) as domain:
            if not domain.isActive():
                raise WrongState("The machine is not running.")
            found = spice_of(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_SECURE))
        if found is None:
            raise NoDisplay("The machine has no SPICE display.")
        return found

    def let_in(self, uuid: str, password: str, until: datetime) -> bool:
        """Have a running guest's SPICE display take this password, and no other, until then; whether it asks for any.

        Who is connected stays so. The password of the definition holds again at the next start.
        """
        with self._handle.domain(uuid) as domain:
            xml = domain.XMLDesc(libvirt.VIR_DOMAIN_XML_SECURE)
            device = with_password(xml, password, until)
            try:
                domain.updateDeviceFlags(device, libvirt.VIR_DOMAIN_AFFECT_LIVE)
            except libvirt.libvirtError:
                found = spice_of(xml)
                if found is not None and found.has_password:
                    raise
                # QEMU takes none where it was started without.
                return False
        return True

    def convert_to_vnc(self, uuid: str, video: str) -> str:
        """Have a VNC display in the place of SPICE from the next start on; returns the definition that was, without
        secrets. Raises NoDisplay where there is no SPICE display in it."""
        with self._handle.call() as raw:
            domain = raw.lookupByUUIDString(uuid)
            before = str(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))
            raw.defineXMLFlags(with_vnc(domain.XMLDesc(SECURE_INACTIVE), video), libvirt.VIR_DOMAIN_DEFINE_VALIDATE)
        return before


def subject_at(hostname: str, port: int, authority: Path) -> str:
    """The subject of the certificate that is shown there, as viewers write it; empty unless this authority signed it.

    remote-viewer takes it in place of the host's name, which the certificate may not have.
    """
    with suppress(OSError):
        context = ssl.create_default_context(cafile=str(authority))
        context.check_hostname = False
        with (
            socket.create_connection((hostname, port), timeout=CONNECT_SECONDS) as end,
            context.wrap_socket(end) as secured,
        ):
            subject: Any = (secured.getpeercert() or {}).get("subject", ())
            return ",".join(f"{SHORT.get(name, name)}={value}" for several in subject for name, value in several)
    return ""

"""What each step of a connection trial and each line of the capability check looks at, in words."""

from __future__ import annotations

from django.utils.translation import gettext_lazy as _

LABELS = {
    "address": _("Address"),
    "name": _("Host name"),
    "port": _("Port"),
    "identity": _("Identity"),
    "ssh": _("SSH"),
    "tls": _("TLS"),
    "socket": _("Local socket"),
    "libvirt": _("libvirt"),
    "version": _("Version"),
    "storage": _("Storage"),
    "rights": _("Rights"),
    "cpu": _("Hardware virtualization"),
    "cpu-virtualization": _("Hardware virtualization"),
    "kvm-module": _("KVM module"),
    "kvm-device": _("KVM device"),
    "iommu": _("IOMMU"),
    "cgroups": _("Control groups"),
    "nested": _("Nested virtualization"),
    "emulators": _("Emulators"),
    "machines": _("Machine types"),
    "domain-types": _("Domain types"),
    "firmware": _("Firmware"),
    "tpm": _("TPM"),
}


def check_label(key: str) -> str:
    """A check's name; one that is not in the table keeps its key."""
    return str(LABELS[key]) if key in LABELS else key.replace("_", " ").replace("-", " ").capitalize()

"""The forms of a host: its address, to add one and to change it, and the key that it is known by.

A password that was typed is never shown again, not even in a form that was refused.
"""

from __future__ import annotations

from django.http import QueryDict
from django.utils.translation import gettext as _

from webvirt.hypervisor.addresses import line_for
from webvirt.hypervisor.types import SourceKind, Transport
from webvirt.models import Host
from webvirt.services.access import Access
from webvirt.services.hosts import our_keys
from webvirt.services.subjects import Subject
from webvirt.web.forms.form import Form, Values, filled, text
from webvirt.web.hostkeys import shown_keys
from webvirt.web.transports import choices

SOURCES = {
    SourceKind.ESX: "VMware ESXi",
    SourceKind.VPX: "VMware vCenter",
    SourceKind.XEN: "Xen",
    SourceKind.QEMU: "KVM, QEMU",
    SourceKind.VBOX: "VirtualBox",
}
"""What machines are imported from, as people call it."""


def start(host: Host | None) -> Values:
    if host is None:
        return {"name": "", "transport": "ssh", "hostname": "", "port": "", "user": "", "unencrypted": ""}
    return {
        "name": host.name,
        "transport": host.transport,
        "hostname": host.hostname,
        "port": host.port or "",
        "user": host.user,
        "unencrypted": "on" if host.transport == Transport.TCP else "",
    }


def parameters(given: QueryDict) -> Values:
    found = {"name": text(given, "name"), "transport": text(given, "transport")}
    # The password as it is: a space may be part of it.
    password = {"password": given["password"]} if given.get("password") else {}
    return found | filled(given, "hostname", "port", "user", "unencrypted") | password


def ways(access: Access, target: Subject | None) -> Values:
    return {"choices": choices(), "lines": [line_for(key) for key in our_keys()]}


def start_trust(host: Host) -> Values:
    return {
        "fingerprints": [key.fingerprint for key in shown_keys(host.offered)],
        "replaces": [key.fingerprint for key in shown_keys(host.keys)],
    }


def trusted(given: QueryDict) -> Values:
    return {"fingerprints": given.getlist("fingerprints"), "replaces": given.getlist("replaces")}


def keys_of(access: Access, target: Subject | None) -> Values:
    assert isinstance(target, Host)
    return {"offered": shown_keys(target.offered), "known": shown_keys(target.keys)}


def start_look(host: Host) -> Values:
    return {"kind": "esx", "hostname": "", "port": "", "user": "", "path": "", "unverified": ""}


def place(given: QueryDict) -> Values:
    password = {"password": given["password"]} if given.get("password") else {}
    found = filled(given, "kind", "hostname", "port", "user", "path", "unverified") | password
    return found | ({"fingerprints": given.getlist("fingerprints")} if "fingerprints" in given else {})


def kinds(access: Access, target: Subject | None) -> Values:
    texts = {
        SourceKind.ESX: _("By HTTPS, with a user and a password of it."),
        SourceKind.VPX: _("By HTTPS, to one of the hosts that it manages."),
        SourceKind.XEN: _("By SSH with our key, where libvirt runs beside it."),
        SourceKind.QEMU: _("A host with libvirt that is not to be in the list here; by SSH with our key."),
        SourceKind.VBOX: _("By SSH with our key, where libvirt was built for it."),
    }
    choices = [(kind.value, label, texts[kind]) for kind, label in SOURCES.items()]
    return {"choices": choices, "lines": [line_for(key) for key in our_keys()]}


FORM = Form("hosts/form.html", start, parameters, ways)
FORMS = {
    "host.add": FORM,
    "host.edit": FORM,
    "host.look_elsewhere": Form(
        "hosts/elsewhere.html",
        start_look,
        place,
        kinds,
        linked=("kind", "hostname", "port", "user", "path"),
    ),
    "host.trust": Form("hosts/trust.html", start_trust, trusted, keys_of),
}

"""The form of a host's address, to add one and to change it."""

from __future__ import annotations

from django.http import QueryDict

from webvirt.models import Host
from webvirt.services.access import Access
from webvirt.services.subjects import Subject
from webvirt.web.forms.form import Form, Values, filled, text
from webvirt.web.transports import choices


def start(host: Host | None) -> Values:
    if host is None:
        return {"name": "", "transport": "ssh", "hostname": "", "port": "", "user": ""}
    return {
        "name": host.name,
        "transport": host.transport,
        "hostname": host.hostname,
        "port": host.port or "",
        "user": host.user,
    }


def parameters(given: QueryDict) -> Values:
    return {"name": text(given, "name"), "transport": text(given, "transport")} | filled(
        given, "hostname", "port", "user"
    )


def ways(access: Access, target: Subject | None) -> Values:
    return {"choices": choices()}


FORM = Form("hosts/form.html", start, parameters, ways)
FORMS = {"host.add": FORM, "host.edit": FORM}

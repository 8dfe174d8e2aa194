"""Forms of secrets' verbs. What was typed as a value is never shown again, not even in a form that was refused."""

from __future__ import annotations

from django.http import QueryDict

from webvirt.hypervisor.types import SecretUsage
from webvirt.models import Host, Secret
from webvirt.services.access import Access
from webvirt.services.subjects import Subject
from webvirt.web.forms.form import Form, Values, filled, text
from webvirt.web.kinds import secret_usages


def start_create(host: Host) -> Values:
    return {
        "usage": SecretUsage.CEPH.value,
        "usage_id": "",
        "description": "",
        "ephemeral": "",
        "base64": "on",
    }


def start_value(secret: Secret) -> Values:
    return {"base64": "on" if secret.usage == SecretUsage.CEPH else ""}


def value(given: QueryDict) -> Values:
    # As it is: a space may be part of it.
    return {"value": given.get("value", ""), "base64": "base64" in given}


def create(given: QueryDict) -> Values:
    found = {"usage": text(given, "usage"), "ephemeral": "ephemeral" in given} | value(given)
    if found["usage"] != SecretUsage.CEPH:
        # The box is ticked from the start, for Ceph's keys: nobody's password is to be taken for Base64.
        found["base64"] = False
    return found | filled(given, "usage_id", "description")


def kinds(access: Access, target: Subject | None) -> Values:
    return {"usages": secret_usages()}


FORMS = {
    "secret.create": Form("secrets/create.html", start_create, create, kinds),
    "secret.set_value": Form("secrets/value.html", start_value, value),
}

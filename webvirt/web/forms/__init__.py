"""The forms of the verbs that take something: what each starts with, and how its fields become parameters."""

from __future__ import annotations

from webvirt.web.forms import cloning, creation, domains, filters, hosts, moving, networks, projects, secrets, storage
from webvirt.web.forms.form import NO_FORM, Form

__all__ = ["FORMS", "NO_FORM", "Form"]

FORMS: dict[str, Form] = {
    **domains.FORMS,
    **creation.FORMS,
    **cloning.FORMS,
    **moving.FORMS,
    **hosts.FORMS,
    **storage.FORMS,
    **networks.FORMS,
    **filters.FORMS,
    **secrets.FORMS,
    **projects.FORMS,
}

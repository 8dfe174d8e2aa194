"""The verbs of network filters, and what they take."""

from __future__ import annotations

import shlex
from typing import Annotated

from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy
from pydantic import AfterValidator, StringConstraints

from webvirt.hypervisor.errors import InvalidSpec
from webvirt.hypervisor.xml.filters import checked_filter, parse_filter
from webvirt.models import Role
from webvirt.services import uses
from webvirt.services.catalogue.specs import Spec, one_line, printable
from webvirt.services.catalogue.verb import Group, Verb, shown_uri, virsh
from webvirt.services.subjects import Subject


def a_filter(xml: str) -> str:
    """Refuse what is no filter, or XML that is not taken from anybody."""
    try:
        parse_filter(xml)
    except InvalidSpec as error:
        raise ValueError(str(error)) from None
    return xml


def a_new_filter(xml: str) -> str:
    """Refuse likewise what has no name that a new one may have."""
    try:
        checked_filter(xml, None)
    except InvalidSpec as error:
        raise ValueError(str(error)) from None
    return xml


Xml = Annotated[str, StringConstraints(min_length=1, max_length=65_536), AfterValidator(printable)]


class CreateFilterSpec(Spec):
    """`xml` is libvirt's own form, `<filter name='...'>`."""

    xml: Annotated[Xml, AfterValidator(a_new_filter)]


class EditFilterSpec(Spec):
    """`seen` is `version_of` the definition that the change was made from: another one's change is never lost."""

    xml: Annotated[Xml, AfterValidator(a_filter)]
    seen: Annotated[str, StringConstraints(max_length=255), AfterValidator(one_line)] = ""


def virsh_create(target: Subject, spec: CreateFilterSpec) -> str:
    return f"virsh -c {shlex.quote(shown_uri(target))} nwfilter-define filter.xml"


VERBS = (
    Verb(
        "filter.create",
        _("Create a network filter"),
        Role.ADMINISTRATOR,
        virsh_create,
        spec=CreateFilterSpec,
        exclusive=False,
        made_on="host",
        icon="filter",
    ),
    Verb(
        "filter.edit",
        pgettext_lazy("verb", "Edit"),
        Role.ADMINISTRATOR,
        virsh("nwfilter-edit"),
        spec=EditFilterSpec,
        group=Group.CHANGE,
        icon="edit",
    ),
    Verb(
        "filter.undefine",
        pgettext_lazy("verb", "Delete"),
        Role.ADMINISTRATOR,
        virsh("nwfilter-undefine"),
        icon="trash",
        danger=_("Its definition is deleted with its rules."),
        forbids=uses.filter_in_use,
        by_name=True,
    ),
)

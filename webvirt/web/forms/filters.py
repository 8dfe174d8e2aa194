"""Forms of network filters' verbs."""

from __future__ import annotations

import difflib

from django.http import QueryDict
from django.utils.translation import gettext as _

from webvirt.hypervisor.types import version_of
from webvirt.models import Filter, Host
from webvirt.services.catalogue.filters import EditFilterSpec
from webvirt.web.forms.form import Form, Values, filled, text

LONGEST = 2000
"""Lines of both definitions together: the time that comparing takes grows with their square."""
EXAMPLE = """\
<filter name='no-outgoing-mail' chain='root'>
  <rule action='drop' direction='out' priority='500'>
    <tcp dstportstart='25'/>
  </rule>
</filter>
"""


def start_create(host: Host) -> Values:
    return {"xml": EXAMPLE}


def start_edit(found: Filter) -> Values:
    return {"xml": found.xml, "seen": version_of(found.xml)}


def parameters(given: QueryDict) -> Values:
    return {"xml": text(given, "xml")} | filled(given, "seen")


def difference(found: Filter, spec: EditFilterSpec) -> Values:
    """What would change in the definition: the lines of a diff, without its head."""
    before, after = found.xml.strip().splitlines(), spec.xml.splitlines()
    if len(before) + len(after) > LONGEST:
        return {"diff": ["@ " + _("Too long to be compared.")]}
    return {"diff": list(difflib.unified_diff(before, after, lineterm=""))[2:]}


FORMS = {
    "filter.create": Form("filters/form.html", start_create, parameters),
    "filter.edit": Form("filters/form.html", start_edit, parameters, plan=difference),
}

"""The form that moves a thing to a project."""

from __future__ import annotations

from django.http import QueryDict

from webvirt.models import Domain, Network, Project, Volume
from webvirt.services.access import Access
from webvirt.services.catalogue import BY_KIND
from webvirt.services.subjects import Subject, noun_of
from webvirt.web.forms.form import Form, Values, number, text

MOST = 1000


def start(thing: Domain | Volume | Network) -> Values:
    return {"project": str(thing.project_id or "")}


def parameters(given: QueryDict) -> Values:
    typed = text(given, "project")
    return {"project": number(typed)} if typed else {}


def choices(access: Access, target: Subject | None) -> Values:
    """The projects that this person may move it to, and whether out of all of them."""
    assert isinstance(target, Domain | Volume | Network)
    verb = BY_KIND[f"{noun_of(target)}.set_project"]
    projects: list[Project] = [one for one in access.projects()[:MOST] if access.may(verb, one)]
    here = Project.objects.filter(pk=target.project_id).first() if target.project_id else None
    return {
        "projects": projects,
        # Who may not choose it still sees where it is.
        "here": here if here and here not in projects and access.knows(here) else None,
        "may_leave_all": access.may(verb, target.host),
    }


FORMS = {
    f"{noun}.set_project": Form("projects/move.html", start, parameters, choices)
    for noun in ("domain", "volume", "network")
}

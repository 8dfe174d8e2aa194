"""In which project something is made: what every form of such a verb asks, and what it has to choose from then."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db.models import QuerySet

from webvirt.models import Domain, Project, Volume
from webvirt.services.access import Access
from webvirt.services.catalogue import BY_KIND, Verb
from webvirt.services.grounds import Inside
from webvirt.services.subjects import Subject

MOST = 1000


@dataclass(frozen=True)
class Within:
    """The projects to choose from and the chosen one. `ground` is set where that alone lets this person make it, so
    that what there is to choose from is what the project may use."""

    projects: list[Project]
    chosen: Project | None
    may_be_none: bool
    ground: Inside | None
    access: Access

    def rows(self, noun: str) -> QuerySet[Any]:
        return self.ground.rows(noun) if self.ground else self.access.rows(noun)


def within(access: Access, verb: Verb, target: Subject, typed: str) -> Within:
    """`typed` is the id of a project, `0` for none; empty, it is that of what the new thing is like."""
    is_free = access.may_freely(verb, target)
    if is_free:
        projects = [project for project in access.projects()[:MOST] if access.may_freely(verb, project)]
    else:
        projects = list(Project.objects.open().filter(pk__in=access.projects_for(verb, target)))
    # Who may do with a volume what they like need not be allowed to put another beside it.
    may_be_none = is_free and (
        not isinstance(target, Volume) or access.may_freely(BY_KIND["volume.create"], target.pool)
    )
    usual = str(target.project_id or "") if isinstance(target, Domain | Volume) else ""
    chosen = next((project for project in projects if str(project.pk) == (typed or usual)), None)
    if chosen is None and not may_be_none:
        chosen = next(iter(projects), None)
    ground = None if is_free or chosen is None else Inside(chosen)
    return Within(projects, chosen, may_be_none, ground, access)

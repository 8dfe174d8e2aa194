"""How much of their quotas projects use, as bars."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext as _

from webvirt.models import Project
from webvirt.services import quotas
from webvirt.services.catalogue import Spec, Verb
from webvirt.services.grounds import into
from webvirt.services.quotas import RESOURCES, Amounts
from webvirt.services.subjects import Subject
from webvirt.web.words import count, size, size_kib

WORDS = {"machines": count, "vcpus": count, "memory_kib": size_kib, "disk": size}


@dataclass(frozen=True)
class Line:
    """One resource of a project: how much is used, how much may be (None: no limit), and how much more is asked."""

    name: str
    used: int
    most: int | None
    asked: int = 0

    @property
    def label(self) -> str:
        return str(RESOURCES[self.name])

    @property
    def percent(self) -> float | None:
        """With what is asked; above 100 where it is too much. None without a limit."""
        if self.most is None:
            return None
        return 100 * (self.used + self.asked) / self.most if self.most else 100.0 * bool(self.used + self.asked)

    @property
    def is_over(self) -> bool:
        """Whether more is asked than there is left."""
        return self.most is not None and self.asked > 0 and self.used + self.asked > self.most

    @property
    def text(self) -> str:
        word = WORDS[self.name]
        used = word(self.used + self.asked)
        return used if self.most is None else _("%(used)s of %(most)s") % {"used": used, "most": word(self.most)}


def lines_of(project: Project, used: Amounts, asked: Amounts = quotas.NOTHING) -> list[Line]:
    return [
        Line(name, getattr(used, name), most, getattr(asked, name)) for name, most in quotas.limits_of(project).items()
    ]


def lines_for(projects: Iterable[Project]) -> dict[int, list[Line]]:
    """Of several projects, by their ids."""
    rows = list(projects)
    used = quotas.used_by([project.pk for project in rows])
    return {project.pk: lines_of(project, used[project.pk]) for project in rows}


def foreseen(verb: Verb, target: Subject, wanted: list[Spec]) -> dict[str, Any]:
    """What a plan shows of the quota of the project that all of this is made in, as it will be then."""
    pk = into(verb, target, wanted[0])
    project = Project.objects.open().filter(pk=pk).first() if pk else None
    if project is None or verb.takes is None:
        return {}
    asked = sum((verb.takes(target, spec) for spec in wanted), Amounts())
    lines = lines_of(project, quotas.used_in(project.pk), asked)
    lines = [line for line in lines if line.asked or line.most is not None]
    shown = [{"label": line.label, "percent": line.percent, "text": line.text, "over": line.is_over} for line in lines]
    return {"quota": {"project": project.name, "lines": shown}}

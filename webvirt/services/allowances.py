"""What a project may use: hosts, pools, networks, images, flavours. Who may make machines in it makes them of these,
and of nothing else, without holding anything there: to use is not to know.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

from django.db.models import Q, QuerySet

from webvirt.models import CloudImage, Domain, Project, Volume

COLUMNS = {
    "host": "allowed_hosts",
    "pool": "allowed_pools",
    "network": "allowed_networks",
    "volume": "allowed_images",
    "cloud_image": "allowed_cloud_images",
    "flavour": "allowed_flavours",
}
"""Of Project, by the noun of what is allowed."""
KEYS = {"cloud_image": "cloudimage_id"}


def ids_in(noun: str, projects: Iterable[int]) -> QuerySet[Any, Any]:
    """The ids of what any of these projects may use of a noun, as a subquery."""
    through = getattr(Project, COLUMNS[noun]).through
    found: QuerySet[Any, Any] = through.objects.filter(project__in=list(projects), project__closed_at=None)
    return found.values_list(KEYS.get(noun, f"{noun}_id"))


class Allowances:
    """What several projects may use, by ids: of each noun read when it is first asked for, in one query."""

    def __init__(self, projects: Iterable[int] = ()) -> None:
        self.projects = set(projects)
        self._read: dict[str, dict[int, set[int]]] = {}

    def ids(self, noun: str, project: int) -> set[int]:
        if noun not in self._read:
            found: dict[int, set[int]] = defaultdict(set)
            for pk, of_project in ids_in(noun, self.projects).values_list(KEYS.get(noun, f"{noun}_id"), "project"):
                found[of_project].add(pk)
            self._read[noun] = found
        return self._read[noun].get(project, set())


def images_for(projects: Iterable[int], *, own: bool = False) -> QuerySet[Volume]:
    """The images that these projects may use, those of the catalogue that are there among them; with `own` all their
    own volumes as well. Pools and hosts joined."""
    projects = list(projects)
    urls = CloudImage.objects.filter(enabled=True, pk__in=ids_in("cloud_image", projects)).values("url")
    usable = Q(pk__in=ids_in("volume", projects)) | Q(source_url__in=urls, project=None) & ~Q(source_url="")
    if own:
        usable |= Q(project__in=projects)
    there = Volume.objects.filter(missing_since=None, pool__missing_since=None, pool__host__removed_at=None)
    return there.filter(usable).select_related("pool__host")


def discs_for(rows: Callable[[str], QuerySet[Any]], domain: Domain) -> QuerySet[Volume]:
    """The volumes of its host that can be put into a machine's drives, pools joined: what somebody may know of, by
    their `rows`, and what its project may use."""
    usable = Q(pk__in=rows("volume").order_by().values("pk"))
    if domain.project_id:
        usable |= Q(pk__in=images_for([domain.project_id]).order_by().values("pk"))
    return Volume.objects.filter(usable, pool__host=domain.host_id).select_related("pool")

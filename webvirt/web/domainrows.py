"""The rows of lists of machines: plain values, read in one query."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from webvirt.models import Status
from webvirt.services.access import Access, Held
from webvirt.services.catalogue import BY_KIND
from webvirt.web.offers import LIKELY


class Row(NamedTuple):
    """One line of the list: plain values, in the order of COLUMNS."""

    pk: int
    name: str
    title: str
    tag_line: str
    status: str
    status_reason: str
    status_since: datetime | None
    first_seen_at: datetime
    vcpus: int
    memory_kib: int
    cpu_percent: float | None
    memory_used_kib: int | None
    not_responding_since: datetime | None
    host_id: int
    project_id: int | None
    is_template: bool
    os: str
    template_line: str
    template_version: int

    @property
    def is_running(self) -> bool:
        return self.status == Status.RUNNING

    @property
    def memory_percent(self) -> float | None:
        if self.memory_used_kib is None or not self.memory_kib:
            return None
        return min(100.0, 100 * self.memory_used_kib / self.memory_kib)

    @property
    def likely(self) -> str:
        """The kind of the verb to offer beside it; a running machine's is its console, and a template has none."""
        if self.is_template:
            return ""
        return LIKELY.get(Status(self.status), "domain.console" if self.status == Status.RUNNING else "")

    @property
    def likely_path(self) -> str:
        return f"/{BY_KIND[self.likely].name}/"


COLUMNS = (
    "pk",
    "name",
    "title",
    "tag_line",
    "status",
    "status_reason",
    "status_since",
    "first_seen_at",
    "vcpus",
    "memory_kib",
    "cpu_percent",
    "memory_used_kib",
    "not_responding_since",
    "host_id",
    "project_id",
    "is_template",
    "os",
    "template_line",
    "template_version",
)


def held_on_row(access: Access, row: Row) -> Held | None:
    return access.held_at((("domain", row.pk), ("project", row.project_id), ("host", row.host_id)))

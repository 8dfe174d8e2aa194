"""Templates: machines that are never started, so that others can be layers over their disks. What that forbids.

That they are never started is one line of `catalogue.why_not`; the mark is in our row alone, and unknown to the host.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from django.db.models import Exists, Max, OuterRef, Q, QuerySet
from django.utils.translation import gettext as _

from webvirt.models import DiskUse, Domain, DomainQuerySet, Host, Volume
from webvirt.services import belongings, uses


def is_needed(domain: Domain) -> str:
    """Why a template must stay one; empty for what is none."""
    names = clones_over(domain) if domain.is_template else []
    return _("linked clones need it: %(names)s") % {"names": uses.used_by(names)} if names else ""


def cannot_become(domain: Domain) -> str:
    """Why a machine cannot become a template."""
    if domain.is_template:
        return _("it is a template already")
    return "" if domain.persistent else _("a transient machine is gone when it is off")


def has_shared_disk(domain: Domain) -> str:
    """Why it cannot, where another machine writes to what would have to stay as it is."""
    disks = [one for one in belongings.of(domain) if one.device in uses.DISKS and one.volume]
    others = [name for one in disks if one.volume for name in machines_on(one.volume, but=domain)]
    return _("%(names)s has one of its disks too") % {"names": uses.used_by(sorted(set(others)))} if others else ""


def cannot_be_again(domain: Domain) -> str:
    """Why it cannot become a machine like any other."""
    return is_needed(domain) if domain.is_template else _("it is no template")


def cannot_be_succeeded(template: Domain, host: Host) -> str:
    """Why it cannot have a next version on this host, as a sentence."""
    if not template.is_template:
        return _("This is no template.")
    if template.host_id != host.pk:
        return _("That template is on another host: its versions are together on one.")
    namesakes = Domain.objects.filter(host=host, template_line=template.name)
    if not template.template_line and namesakes.exists():
        return _("There are versions of another template of this name: rename this one first.")
    return ""


def versions_of(known: DomainQuerySet, template: Domain) -> QuerySet[Domain]:
    """The versions of a template among those that one may know of, the newest first; none where it stands alone."""
    if not (template.is_template and template.template_line):
        return known.none()
    line = known.filter(host=template.host_id, is_template=True, template_line=template.template_line)
    return line.filter(missing_since=None).order_by("-template_version")


def next_of(template: Domain) -> tuple[str, int]:
    """What its next version would be: the name of the line, and the number."""
    line = Domain.objects.filter(host=template.host_id, template_line=template.template_line or None)
    last = line.aggregate(last=Max("template_version"))["last"] or 1
    return template.template_line or template.name, last + 1


def newest(found: DomainQuerySet) -> DomainQuerySet:
    """Without the templates of which there is a newer version."""
    line = Domain.objects.filter(is_template=True, forgotten_at=None, host=OuterRef("host"))
    newer = line.filter(template_line=OuterRef("template_line"), template_version__gt=OuterRef("template_version"))
    return found.exclude(~Q(template_line="") & Exists(newer))


def older_than(known: DomainQuerySet, pks: Sequence[int]) -> dict[int, list[Domain]]:
    """Of each of these templates the older versions among those that one may know of, the newest first; two queries."""
    older: dict[int, list[Domain]] = {}
    lines = Domain.objects.filter(pk__in=pks).exclude(template_line="")
    newest = {(row.host_id, row.template_line): row for row in lines}
    if newest:
        rows = known.filter(is_template=True, template_line__in={line for _host, line in newest})
        for row in rows.order_by("-template_version"):
            above = newest.get((row.host_id, row.template_line))
            if above and row.template_version < above.template_version:
                older.setdefault(above.pk, []).append(row)
    return older


def clones_of(found: Sequence[Domain]) -> dict[int, int]:
    """How many clones are layers over the disks of each template; a few queries for each host."""
    clones: dict[int, set[object]] = {template.pk: set() for template in found}
    for host in {template.host_id for template in found}:
        for template, clone in layers_over([one for one in found if one.host_id == host]):
            clones[template].add(clone)
    return {pk: len(each) for pk, each in clones.items()}


def layers_over(found: Sequence[Domain]) -> Iterator[tuple[int, object]]:
    """The templates of one host by id, each with the id of a machine that is a layer over it, or with the layer."""
    disks = list(DiskUse.objects.filter(domain__in=found, device__in=uses.DISKS))
    volumes = belongings.volumes_of(found[0], disks)
    owners = {volume.pk: use.domain_id for use in disks if (volume := volumes.get((use.path, use.pool, use.volume)))}
    same = uses.same_volumes([volume for volume in volumes.values() if volume.pk in owners])
    bases = {(row.pool.host_id, row.path): owners[pk] for pk, row in same}
    above = Volume.objects.filter(backing_path__in={path for _host, path in bases}, missing_since=None)
    layers = list(above.values_list("pool__host", "path", "backing_path"))
    machines = DiskUse.objects.filter(path__in={path for _host, path, _base in layers}, domain__missing_since=None)
    named = {(host, path): pk for host, path, pk in machines.values_list("domain__host", "path", "domain_id")}
    for host, path, base in layers:
        if (host, base) in bases:
            # An image that no machine has counts as well: it needs its base all the same.
            yield bases[host, base], named.get((host, path), path)


def clones_over(domain: Domain) -> list[str]:
    """The names of what is a layer over its disks: machines, and images that no machine has.

    A row remembers what was found when it was first asked, since several of its verbs ask: read it again to know anew.
    """
    if not hasattr(domain, "_clones_over"):
        volumes = [volume for one in belongings.of(domain) if one.volume for volume in uses.same_volume(one.volume)]
        layers = [layer for volume in volumes for layer in uses.based_on(volume)]
        names = {name for layer in layers for name in machines_on(layer) or [layer.name]}
        domain._clones_over = sorted(names)  # type: ignore[attr-defined]
    found: list[str] = domain._clones_over  # type: ignore[attr-defined]
    return found


def machines_on(volume: Volume, *, but: Domain | None = None) -> list[str]:
    """The names of the machines that have a volume."""
    return [use.name for use in uses.uses_of(volume) if use.noun == "domain" and (but is None or use.pk != but.pk)]

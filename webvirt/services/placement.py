"""Which host a new machine goes best on, and why; and which pools one may fill."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from django.utils.translation import gettext as _

from webvirt.models import Host, HostState, Network, NetworkStatus, Pool, PoolStatus
from webvirt.services.access import Access
from webvirt.services.catalogue import BY_KIND
from webvirt.services.catalogue.building import MAKEABLE


@dataclass(frozen=True)
class Place:
    """A host as a place for a machine. `lacks` says in words why it does not fit; empty where it does."""

    host: Host
    free_kib: int | None
    """Memory that nobody uses; None where the host has not told yet."""
    lacks: str = ""

    @property
    def reason(self) -> str:
        """Why here, or why not, in a line."""
        if self.lacks:
            return self.lacks
        if self.free_kib is None:
            return _("its use is not known yet")
        free = _("%(gib)s GiB of memory free") % {"gib": f"{self.free_kib / 1024**2:.1f}"}
        if self.host.cpu_percent is None:
            return free
        busy = _("processors %(percent)s%% busy") % {"percent": round(self.host.cpu_percent)}
        return f"{free}, {busy}"


def places_for(hosts: Iterable[Host], memory_kib: int = 0, vcpus: int = 1) -> list[Place]:
    """The hosts for a machine of so much memory and so many processors, the best first, those that do not fit last."""
    found = list(hosts)
    pools = Pool.objects.filter(host__in=found, status=PoolStatus.RUNNING, type__in=MAKEABLE, missing_since=None)
    networks = Network.objects.filter(host__in=found, status=NetworkStatus.ACTIVE, missing_since=None)
    with_pool, with_network = (set(rows.values_list("host_id", flat=True)) for rows in (pools, networks))

    def place(host: Host) -> Place:
        bridges = any(one.get("type") == "bridge" for one in host.interfaces)
        free = free_of(host)
        if host.state != HostState.UP:
            return Place(host, free, _("the host does not answer"))
        if free is not None and free < memory_kib:
            return Place(host, free, _("not so much memory is free"))
        if vcpus > int(host.info.get("cpus", 0) or vcpus):
            return Place(host, free, _("it has fewer processors"))
        if host.pk not in with_pool:
            return Place(host, free, _("no pool for disks is running there"))
        if host.pk not in with_network and not bridges:
            return Place(host, free, _("no network is running there"))
        return Place(host, free)

    # What is free counts in steps, so that a few MiB do not send a machine to a busy host.
    return sorted(
        map(place, found),
        key=lambda one: (bool(one.lacks), (one.host.cpu_percent or 0) // 25, -(one.free_kib or 0), one.host.name),
    )


def may_make_on(access: Access) -> list[Host]:
    """The hosts that a person may make machines on, those that a project of theirs may use among them."""
    verb = BY_KIND["domain.create"]
    return [host for host in access.targets(verb) if access.may(verb, host)]


def pools_to_fill(access: Access, kind: str) -> list[Pool]:
    """The running pools that a person may bring something into by this verb, of all hosts that answer."""
    verb, running = BY_KIND[kind], {"status": PoolStatus.RUNNING, "host__state": HostState.UP}
    found = access.targets(verb).filter(**running).order_by("host__name", "name")
    return [pool for pool in found if access.may(verb, pool)]


def free_of(host: Host) -> int | None:
    """Memory that nobody uses on a host, in KiB."""
    total = int(host.info.get("memory_kib", 0))
    return None if host.memory_used_kib is None or not total else max(0, total - host.memory_used_kib)

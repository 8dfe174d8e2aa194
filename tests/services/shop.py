"""A project with what it may use, and what of it is really on a host in memory."""

from __future__ import annotations

from tests.services.conftest import FakeHost
from webvirt.hypervisor.xml.parse import parse_domain
from webvirt.models import Domain, Grant, Host, Network, Pool, Project, Role, User, Volume
from webvirt.services.quotas import Amounts


def make_shop(member: User | None = None, name: str = "shop", **most: int) -> Project:
    """A project that may use all there is by now; `member` is its owner. `most` are its quotas (`most_machines=2`)."""
    project = Project.objects.create(name=name, **most)
    project.allowed_hosts.set(Host.objects.all())
    project.allowed_pools.set(Pool.objects.all())
    project.allowed_networks.set(Network.objects.all())
    if member is not None:
        Grant.objects.create(user=member, role=Role.OWNER, project=project)
    return project


def really_there(alpha: FakeHost, project: Project) -> Amounts:
    """What a host has of a project's things, but for the discs that machines begin with."""
    found, seeds = Amounts(), set(Domain.objects.filter(seed__isnull=False).values_list("seed", flat=True))
    for row in Domain.objects.filter(project=project, uuid__in=list(alpha.connection.domains.known)):
        info = parse_domain(alpha.connection.domains.known[row.uuid].xml())
        found += Amounts(machines=1, vcpus=info.vcpus, memory_kib=info.memory_kib)
    for volume in Volume.objects.filter(project=project, pool__uuid=alpha.uuid).exclude(pk__in=seeds):
        there = alpha.connection.storage.known[alpha.uuid].volumes.get(volume.name)
        found += Amounts(disk=there.info.capacity if there else 0)
    return found

"""The cast: the same five people in every test of rights, with a domain they share and one they do not."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.contrib.auth.hashers import make_password
from django.utils import timezone

from webvirt.hypervisor.types import Transport
from webvirt.models import (
    ConsoleMode,
    ConsoleSession,
    Domain,
    Filter,
    Grant,
    Host,
    HostState,
    Network,
    NetworkStatus,
    Pool,
    PoolStatus,
    Recording,
    RecordingEnd,
    Role,
    Secret,
    Status,
    User,
    Volume,
)

PASSWORD = "correct horse battery"
HASHED = make_password(PASSWORD)


@dataclass(frozen=True)
class Cast:
    """`owner`, `operator` and `viewer` have that role on `domain` alone; all else is the administrator's only."""

    administrator: User
    owner: User
    operator: User
    viewer: User
    stranger: User
    host: Host
    domain: Domain
    other: Domain
    pool: Pool
    volume: Volume
    network: Network
    filter: Filter
    secret: Secret

    def who(self, name: str) -> User:
        user = getattr(self, name)
        assert isinstance(user, User)
        return user


def make_user(name: str) -> User:
    return User.objects.create(username=name, password=HASHED)


def make_host(name: str = "alpha", **fields: object) -> Host:
    values: dict[str, object] = {"transport": Transport.TEST, "state": HostState.UP}
    return Host.objects.create(name=name, **(values | fields))


def make_domain(host: Host, name: str = "web-1", number: int = 1, **fields: object) -> Domain:
    values: dict[str, object] = {"status": Status.SHUTOFF, "vcpus": 1, "memory_kib": 65536}
    uuid = f"00000000-0000-4000-8000-{number:012d}"
    return Domain.objects.create(host=host, name=name, uuid=uuid, **(values | fields))


def make_pool(host: Host, name: str = "images", number: int = 1, **fields: object) -> Pool:
    values: dict[str, object] = {
        "status": PoolStatus.RUNNING,
        "type": "dir",
        "capacity": 100 * 2**30,
        "allocation": 40 * 2**30,
        "available": 60 * 2**30,
        "info": {"type": "dir", "target_path": f"/pools/{name}"},
    }
    uuid = f"20000000-0000-4000-8000-{number:012d}"
    return Pool.objects.create(host=host, name=name, uuid=uuid, **(values | fields))


def make_volume(pool: Pool, name: str = "web-1.qcow2", **fields: object) -> Volume:
    values: dict[str, object] = {
        "path": f"/pools/{pool.name}/{name}",
        "format": "qcow2",
        "capacity": 20 * 2**30,
        "allocation": 3 * 2**30,
        "read_at": timezone.now(),
    }
    return Volume.objects.create(pool=pool, name=name, **(values | fields))


def make_network(host: Host, name: str = "default", number: int = 1, **fields: object) -> Network:
    info = {
        "name": name,
        "forward": "nat",
        "addresses": [
            {
                "address": "192.168.122.1",
                "prefix": 24,
                "ranges": [{"start": "192.168.122.2", "end": "192.168.122.254"}],
                "leases": [],
            }
        ],
    }
    values: dict[str, object] = {"status": NetworkStatus.ACTIVE, "forward": "nat", "bridge": "virbr0", "info": info}
    uuid = f"30000000-0000-4000-8000-{number:012d}"
    return Network.objects.create(host=host, name=name, uuid=uuid, **(values | fields))


def make_filter(host: Host, name: str = "no-mail", number: int = 1, **fields: object) -> Filter:
    uuid = f"40000000-0000-4000-8000-{number:012d}"
    xml = f"<filter name='{name}' chain='root'>\n  <uuid>{uuid}</uuid>\n</filter>\n"
    values: dict[str, object] = {"chain": "root", "xml": xml}
    return Filter.objects.create(host=host, name=name, uuid=uuid, **(values | fields))


def make_secret(host: Host, name: str = "client.libvirt", number: int = 1, **fields: object) -> Secret:
    uuid = f"50000000-0000-4000-8000-{number:012d}"
    values: dict[str, object] = {"usage": "ceph", "usage_id": name, "private": True}
    return Secret.objects.create(host=host, name=name, uuid=uuid, **(values | fields))


def make_console(domain: Domain, user: User, **fields: object) -> ConsoleSession:
    """The row of a console of theirs that is open; there is no proxy behind it."""
    now = timezone.now()
    values: dict[str, object] = {"mode": ConsoleMode.CONTROL, "may_type": True, "address": "192.0.2.7"}
    values |= {"opened_at": now, "leased_until": now + timedelta(minutes=1)}
    return ConsoleSession.objects.create(user=user, domain=domain, **(values | fields))


def make_recording(domain: Domain, user: User, ended: datetime | None = None, **fields: object) -> Recording:
    """The row of a console of theirs that was recorded, or is; the file is whose test it is."""
    session = ConsoleSession.objects.create(
        user=user,
        domain=domain,
        mode=ConsoleMode.CONTROL,
        leased_until=ended or timezone.now() + timedelta(minutes=1),
        opened_at=timezone.now(),
        ended_at=ended,
        is_recorded=True,
    )
    values: dict[str, object] = {"device": session.device, "ended_at": ended}
    if ended:
        values |= {"end_reason": RecordingEnd.CLOSED, "size": 4711, "milliseconds": 90_000}
    return Recording.objects.create(
        session=session, domain=domain, name=domain.name, person=user.get_username(), **(values | fields)
    )


def make_cast() -> Cast:
    host = make_host()
    domain = make_domain(host)
    people = {name: make_user(name) for name in ("administrator", "owner", "operator", "viewer", "stranger")}
    Grant.objects.create(user=people["administrator"], role=Role.ADMINISTRATOR)
    for name in ("owner", "operator", "viewer"):
        Grant.objects.create(user=people[name], role=name, domain=domain)
    pool = make_pool(host)
    return Cast(
        **people,
        host=host,
        domain=domain,
        other=make_domain(host, "db-1", 2),
        pool=pool,
        volume=make_volume(pool),
        network=make_network(host),
        filter=make_filter(host),
        secret=make_secret(host),
    )

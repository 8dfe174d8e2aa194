"""The installation that is measured: the whole stack, people signed in, rows and real machines to look at."""

from __future__ import annotations

import http.client
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial

import libvirt
import redis
from django.conf import settings
from django.db import transaction
from django.test import Client
from django.utils import timezone

from tests.guests import Guest
from tests.lab.lab import PORT, SecondHost
from tests.seed import seed
from tests.stack import Stack
from tests.until import until
from webvirt.hypervisor.types import Transport
from webvirt.models import Definition, Domain, Grant, Host, HostState, Role, User

PREFIX = "wvp-"
LIST = "/vms/"


@dataclass(frozen=True)
class Answer:
    """An answer of the installation; `ms` from asking to its last byte, `body` as it came over the wire."""

    status: int
    ms: float
    body: bytes
    encoding: str


class Visitor:
    """A browser as far as the wire is concerned: one lasting connection, a cookie, compressed answers."""

    def __init__(self, port: int, cookie: str) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=150)
        self.headers = {"Cookie": f"{settings.SESSION_COOKIE_NAME}={cookie}", "Accept-Encoding": "gzip"}

    def get(self, path: str, **headers: str) -> Answer:
        started = time.perf_counter()
        self.connection.request("GET", path, headers=self.headers | headers)
        response = self.connection.getresponse()
        body = response.read()
        ms = 1000 * (time.perf_counter() - started)
        return Answer(response.status, ms, body, response.headers.get("Content-Encoding", ""))

    def page(self, path: str) -> Answer:
        """A page, which must be there."""
        answer = self.get(path)
        assert answer.status == 200, f"{path}: {answer.status} {answer.body[:300]!r}"
        return answer


class House:
    """A running stack and what lies in its database."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.redis = redis.Redis.from_url(settings.WEBVIRT_REDIS)

    @cached_property
    def administrator(self) -> User:
        user = User.objects.create_user("bench")
        Grant.objects.create(user=user, role=Role.ADMINISTRATOR)
        return user

    def cookie(self, user: User | None = None) -> str:
        """A new session of the administrator, or of somebody else."""
        client = Client()
        client.force_login(user or self.administrator)
        return client.cookies[settings.SESSION_COOKIE_NAME].value

    def visitor(self, user: User | None = None) -> Visitor:
        return Visitor(self.stack.port, self.cookie(user))

    @contextmanager
    def seeded(self, hosts: int, domains: int) -> Iterator[list[Host]]:
        """So many rows, whose hosts the watcher leaves alone since it takes them for another watcher's."""
        with transaction.atomic():
            made = seed(hosts, domains)
            leases = {f"watch.host:{host.pk}": "bench" for host in made}
            self.redis.mset(leases)
        try:
            yield made
        finally:
            remove(made)
            self.redis.delete(*leases)

    @contextmanager
    def hosts(self, *rows: Host) -> Iterator[None]:
        """Real hosts, watched, from when all of them are up and read."""
        for row in rows:
            row.save()
        try:
            for row in rows:
                until(partial(is_up, row.pk), 60, what=f"{row.name} up")
            here = Domain.objects.filter(host__in=rows, missing_since=None)
            until(lambda: here.exists() and not here.filter(definition=None).exists(), 300, what="all machines read")
            yield
        finally:
            Host.objects.filter(pk__in=[row.pk for row in rows]).update(removed_at=timezone.now())


def remove(hosts: list[Host]) -> None:
    """Take seeded hosts and their machines out of the database, which nobody but a bench may."""
    pks = [host.pk for host in hosts]
    Definition.objects.filter(domain__host__in=pks).delete()
    Domain.objects.filter(host__in=pks).delete()
    Host.objects.filter(pk__in=pks).delete()


def remote(second: SecondHost, port: int | None = PORT) -> Host:
    """A second host's row; the two ways of writing its port make two rows of it."""
    return Host(name=f"far-{second.n}-{port}", transport=Transport.TCP, hostname=second.hostname, port=port)


@contextmanager
def second_host(n: int, machines: int) -> Iterator[SecondHost]:
    """A second host with so many defined machines."""
    second = SecondHost(n).up()
    try:
        conn = libvirt.open(second.uri)
        for number in range(conn.numOfDefinedDomains(), machines):
            conn.defineXML(Guest(f"{PREFIX}{n}-{number:04d}").xml())
        conn.close()
        yield second
    finally:
        second.down()


@contextmanager
def guests(second: SecondHost, *names: str) -> Iterator[list[Guest]]:
    """Running machines with nothing to boot: once their firmware has found that out, they are idle."""
    made = [Guest(f"{PREFIX}{name}", uri=second.uri).define() for name in names]
    try:
        for guest in made:
            guest.virsh("start")
        yield made
    finally:
        for guest in made:
            guest.remove()


@contextmanager
def lab(house: House, *names: str) -> Iterator[tuple[SecondHost, list[Guest]]]:
    """A second host, watched, with running machines of these names."""
    with second_host(9, 0) as second, guests(second, *names) as made, house.hosts(remote(second)):
        yield second, made


def is_up(pk: int) -> bool:
    return Host.objects.filter(pk=pk, state=HostState.UP).exists()

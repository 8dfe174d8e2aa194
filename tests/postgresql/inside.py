"""What is asked of an installation on PostgreSQL, in processes that have it for their settings."""

from __future__ import annotations

import asyncio
import gc
import io
import json
import os
import re
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from types import SimpleNamespace

import pytest
from asgiref.typing import ASGI3Application
from channels.testing import HttpCommunicator
from django.contrib.auth.models import Group
from django.core.management import call_command
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.test import Client
from django.utils import timezone

from tests.browser.seeded import ADMINISTRATOR, PAGES
from tests.people import make_cast, make_domain, make_user
from tests.seed import seed
from tests.seed_recordings import add_recordings
from tests.services.crowds import all_at_once, machines_given
from tests.services.shop import make_shop
from tests.until import until
from webvirt import bus, tasks
from webvirt.api import cloudimages, domains, filters, flavours, hosts, networks, projects, secrets, storage
from webvirt.api.urls import api
from webvirt.lanes import LanedHandler
from webvirt.management.commands import watch
from webvirt.models import (
    AuditResult,
    CustomRole,
    Domain,
    Grant,
    Host,
    HostState,
    Operation,
    OperationState,
    Origin,
    Pool,
    Process,
    Project,
    Role,
    User,
)
from webvirt.services import access, audit, checks, operations, runners
from webvirt.services.access import access_of
from webvirt.services.bulk import submit_all
from webvirt.services.catalogue import BY_KIND
from webvirt.services.people import create_first_administrator
from webvirt.services.projects import set_quota
from webvirt.services.quotas import Amounts, used_in

SECONDS = 60
"""What each may take, so that what waits for ever is told of."""
START = BY_KIND["domain.start"]


def answer() -> None:
    """For each name of a function on standard input, run it in a child: a line of JSON says what went wrong, if empty
    nothing. A child that says "restart" goes on when a line says that the server has been."""
    channel, sys.stdout = sys.stdout, sys.stderr
    # Redis is not what this is about.
    operations.send, bus._publish = lambda operation: None, lambda names: None
    # What is loaded by now the children share, and their collectors leave it alone.
    gc.freeze()
    while name := sys.stdin.readline().strip():
        if os.fork() == 0:
            signal.alarm(SECONDS)
            wrong = ""
            try:
                globals()[name]()
            except BaseException:
                wrong = traceback.format_exc()
            print(json.dumps(wrong), file=channel, flush=True)
            os._exit(0)
        _pid, status = os.wait()
        if status:
            print(json.dumps(f"It did not end within {SECONDS} s."), file=channel, flush=True)


def restart_server() -> None:
    os.write(1, b'"restart"\n')
    sys.stdin.readline()


# --- first of all


def migrate_and_seed() -> None:
    """From nothing, then all that pages can show, and the cast."""
    call_command("migrate", verbosity=0)
    create_first_administrator(*ADMINISTRATOR)
    seed(4, 120, odd=True)
    add_recordings(somebody(ADMINISTRATOR[0]), list(Domain.objects.order_by("pk")[3:9]))
    make_cast()


def somebody(name: str) -> User:
    return User.objects.get(username=name)


def actor(name: str) -> operations.Actor:
    return operations.Actor(somebody(name), Origin.API)


def a_machine(name: str) -> Domain:
    """A new one on the host of the cast."""
    return make_domain(Host.objects.get(name="alpha"), name, 1000 + Domain.objects.count())


# --- what is asked


def is_what_the_models_say() -> None:
    assert connection.vendor == "postgresql"
    call_command("makemigrations", "--check", "--dry-run", verbosity=0)
    tags = [word for tag in ("database", "models", "security") for word in ("--tag", tag)]
    call_command("check", "--deploy", "--database", "default", *tags)
    assert list(checks.database()) == []


def keeps_what_has_happened() -> None:
    ended = Operation.objects.filter(state=OperationState.SUCCEEDED).values("pk")[:1].get()["pk"]
    for statement in (
        "DELETE FROM webvirt_operation",
        f"DELETE FROM webvirt_operation WHERE id = {ended}",
        f"UPDATE webvirt_operation SET error = 'eve' WHERE id = {ended}",
        "DELETE FROM webvirt_auditline",
        "UPDATE webvirt_auditline SET actor = 'eve' WHERE number = 1",
        "TRUNCATE webvirt_auditline",
    ):
        with pytest.raises(DatabaseError, match="append-only"), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(statement)


def lets_one_of_twenty_have_a_machine() -> None:
    machine = a_machine("wanted")

    def asks(number: int) -> int:
        try:
            operations.submit(actor("administrator"), START, machine)
        except operations.Busy:
            return 0
        return 1

    assert sum(all_at_once(20, asks)) == 1
    assert Operation.objects.active().filter(domain=machine).count() == 1


def keeps_to_quotas() -> None:
    member = somebody("stranger")
    project = make_shop(member, "two", most_machines=2)
    assert machines_given(member, Host.objects.get(name="alpha"), project) == 2
    assert used_in(project.pk) == Amounts(machines=2, vcpus=2, memory_kib=2 * 65536)


def has_one_worker_claim_an_operation() -> None:
    asked = [operations.submit(actor("administrator"), START, a_machine(f"claimed-{number}")) for number in range(10)]
    claims = all_at_once(5, lambda number: sum(operations.claim(operation.pk) is not None for operation in asked))
    assert sum(claims) == 10


def has_all_writers_take_turns() -> None:
    """Whatever they lock besides: none waits for another that waits for it, which the server would end."""
    shops = [make_shop(None, f"busy-{number}", most_machines=1000) for number in range(2)]
    machines = [a_machine(f"turn-{number}") for number in range(8)]
    pool = Pool.objects.get(host__name="alpha")

    def makes(number: int, turn: int) -> None:
        """In both projects, and not all in the same order."""
        asked = [{"name": f"{number}-{turn}-{shop.pk}", "capacity": 2**20, "project": shop.pk} for shop in shops]
        wanted = asked[:: (1, -1)[number % 2]]
        for operation in submit_all(actor("administrator"), BY_KIND["volume.create"], pool, wanted):
            operations.cancel(operation)

    def starts(number: int, turn: int) -> None:
        claimed = operations.claim(operations.submit(actor("administrator"), START, machines[number]).pk)
        assert claimed
        assert operations.finish(claimed, OperationState.SUCCEEDED)

    def sets_quota(number: int, turn: int) -> None:
        set_quota(Project.objects.get(pk=shops[turn % 2].pk), {"machines": 1000 + number})

    def notes(number: int, turn: int) -> None:
        audit.note("person.sign_in", audit.Thing("user", number, f"writer {number}"), result=AuditResult.DENIED)

    def writes(number: int) -> int:
        for turn in range(4):
            (makes, starts, makes, sets_quota, notes)[(number // 2 + turn) % 5](number, turn)
        return 1

    assert all_at_once(8, writes) == [1] * 8
    out = io.StringIO()
    call_command("audit", "verify", stdout=out)
    assert "all are as they were written" in out.getvalue()


def gives_one_role_in_a_place() -> None:
    """Though of what a grant is on, and of who holds it, all but one are NULL, which no two are equal of."""
    person, group = make_user("twice"), Group.objects.create(name="twice")
    pool = Pool.objects.all()[0]
    for parts in ({"user": person}, {"group": group}, {"user": person, "pool": pool}, {"group": group, "pool": pool}):
        Grant.objects.create(role=Role.VIEWER, **parts)
        with pytest.raises(IntegrityError, match="one_grant_per_holder_and_scope"), transaction.atomic():
            Grant.objects.create(role=Role.OWNER, **parts)


def knows_what_groups_hold() -> None:
    person, group = make_user("member"), Group.objects.create(name="members")
    person.groups.add(group)
    host, project = Host.objects.order_by("pk")[0], Project.objects.get(name="shop")
    role = CustomRole.objects.create(name="Starters", kinds=["domain.start"])
    Grant.objects.create(user=person, role=Role.VIEWER, host=host)
    Grant.objects.create(group=group, custom_role=role, host=host)
    Grant.objects.create(group=group, role=Role.OWNER, project=project)
    held = access_of(person)
    assert held.on["host"] == {host.pk: access.Held(Role.VIEWER, frozenset({"domain.start"}))}
    assert held.on["project"][project.pk].role == Role.OWNER
    wanted = set(Domain.objects.kept().filter(host=host)) | set(Domain.objects.kept().filter(project=project))
    assert set(held.domains()) == wanted
    assert len(wanted) > 30
    some = {noun: held.rows(noun).count() for noun in ("pool", "volume", "network", "filter", "secret", "project")}
    operations_known = set(held.operations())
    # The same by subqueries, as for somebody with thousands of grants.
    access.FEW = 0
    assert set(held.domains()) == wanted
    assert {noun: held.rows(noun).count() for noun in some} == some
    assert set(held.operations()) == operations_known != set()


# --- pages


def visitor() -> Client:
    client = Client(HTTP_HOST="localhost", raise_request_exception=False)
    client.force_login(somebody(ADMINISTRATOR[0]))
    return client


def renders_every_page() -> None:
    """With every order and filter that a page leads to."""
    client, wrong = visitor(), []
    for page in PAGES:
        answered = client.get(page, follow=True)
        if answered.status_code != 200:
            wrong.append(f"{page}: {answered.status_code}")
        links = set(re.findall(r'href="(\?[^"]+)"', answered.content.decode())) if "?" not in page else set()
        for link in sorted(links):
            status = client.get(page + link.replace("&amp;", "&")).status_code
            if status != 200:
                wrong.append(f"{page}{link}: {status}")
    assert not wrong, "\n".join(wrong)


ORDERS = {
    "domains": domains.ORDERS,
    "hosts": hosts.ORDERS,
    "pools": storage.POOL_ORDERS,
    "pools/1/volumes": storage.VOLUME_ORDERS,
    "images": storage.IMAGE_ORDERS,
    "networks": networks.ORDERS,
    "filters": filters.ORDERS,
    "secrets": secrets.ORDERS,
    "flavours": flavours.ORDERS,
    "cloud-images": cloudimages.ORDERS,
    "projects": projects.ORDERS,
}


def answers_every_list_of_the_api() -> None:
    client, wrong = visitor(), []
    described = api.get_openapi_schema()["paths"]
    paths = [path for path, methods in described.items() if "get" in methods and "{" not in path]
    for name, orders in ORDERS.items():
        paths += [f"/api/v1/{name}?sort=-{order}&q=e" for order in orders]
    for path in paths:
        status = client.get(path).status_code
        if status != 200:
            wrong.append(f"{path}: {status}")
    assert not wrong, "\n".join(wrong)


# --- the server goes away


def status_of(application: ASGI3Application, path: str, client: Client) -> int:
    """What the web process answers, on a thread that keeps its connection."""
    cookies = "; ".join(f"{name}={morsel.value}" for name, morsel in client.cookies.items())
    headers = [(b"host", b"localhost"), (b"cookie", cookies.encode())]

    async def get() -> int:
        answered = await HttpCommunicator(application, "GET", path, headers=headers).get_response(10)
        return int(answered["status"])

    return asyncio.run(get())


def answers_again_after_the_server_was_away() -> None:
    client, application = visitor(), LanedHandler()
    assert status_of(application, "/vms/", client) == 200
    restart_server()
    assert status_of(application, "/vms/", client) == 200


def tells_that_workers_live_after_the_server_was_away() -> None:
    """The threads that do so live for as long as their process, or operation: nobody closes what they keep."""
    tasks.BEAT_SECONDS, operations.HEARTBEAT_SECONDS = 0.1, 1
    claimed = operations.claim(operations.submit(actor("administrator"), START, a_machine("long")).pk)
    assert claimed

    def beat_since(then: datetime) -> bool:
        mine = Operation.objects.filter(pk=claimed.pk, heartbeat_at__gt=then)
        return mine.exists() and Process.objects.filter(kind="worker-slow", beat_at__gt=then).exists()

    queues = SimpleNamespace(consume_from={"slow": None})
    controller = SimpleNamespace(app=SimpleNamespace(amqp=SimpleNamespace(queues=queues)))
    with runners.heartbeat(claimed):
        tasks.keep_beating(SimpleNamespace(controller=controller, hostname="slow@here"))
        until(partial(beat_since, timezone.now()), 20, what="both beat")
        connection.close()
        restart_server()
        until(partial(beat_since, timezone.now()), 20, what="both beat again")


@contextmanager
def one_host(name: str) -> Iterator[Host]:
    """No other one is watched."""
    others = Host.objects.kept().exclude(name=name)
    pks = list(others.values_list("pk", flat=True))
    others.update(removed_at=timezone.now())
    yield Host.objects.get(name=name)
    Host.objects.filter(pk__in=pks).update(removed_at=None)


class Watch(watch.Watch):
    """Ends when its host was seen, the server was away, and the host was seen again."""

    restarted = False
    turns = 0

    def listen(self, seconds: float) -> None:
        super().listen(0.2)
        self.turns += 1
        assert self.turns < 300
        host, ours = Host.objects.filter(name="alpha"), Process.objects.filter(kind="watch")
        if not (host.filter(state=HostState.UP, domains__name="test") and ours):
            return
        self.ending = self.restarted
        if not self.restarted:
            # Both are to be written anew.
            host.update(state=HostState.DOWN)
            ours.delete()
            restart_server()
            self.restarted = True


def watches_on_after_the_server_was_away() -> None:
    """Each host's process has connections of its own, not its parent's."""
    with one_host("alpha"):
        Watch().run()


CHECKS: tuple[Callable[[], None], ...] = (
    is_what_the_models_say,
    keeps_what_has_happened,
    lets_one_of_twenty_have_a_machine,
    keeps_to_quotas,
    has_one_worker_claim_an_operation,
    has_all_writers_take_turns,
    gives_one_role_in_a_place,
    knows_what_groups_hold,
    renders_every_page,
    answers_every_list_of_the_api,
    answers_again_after_the_server_was_away,
    tells_that_workers_live_after_the_server_was_away,
    watches_on_after_the_server_was_away,
)

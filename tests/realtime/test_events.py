"""The events socket: who hears what, when, and what happens while Redis is away."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from typing import Any

import pytest
from channels.db import database_sync_to_async
from channels.testing import WebsocketCommunicator
from django.contrib.auth.models import Group

from tests.realtime.conftest import ORIGIN, Pages, RedisServer, session_cookie
from webvirt.models import Domain, Grant, LoginSession, Project, Role, User
from webvirt.realtime import hub as hub_module
from webvirt.realtime.events import MOST_NAMES, EventsConsumer
from webvirt.realtime.origin import ExactOrigin
from webvirt.services import groups, operations
from webvirt.services.catalogue import BY_KIND


async def test_what_one_shows_and_may_see_is_heard(pages: Pages) -> None:
    cast = pages.cast
    own, foreign = f"domain:{cast.domain.pk}", f"domain:{cast.other.pk}"
    page = await pages.of("viewer", own, foreign, "domains")
    pages.server.announce(foreign)
    assert await page.silent()
    pages.server.announce(own, foreign, "domains", "hosts")
    assert await page.next() == {"changed": [own, "domains"]}


def every_name(pages: Pages, operation: int) -> list[str]:
    cast = pages.cast
    # Few enough for one message, however high the ids of a long test run have become.
    real = (cast.domain.pk, cast.other.pk, cast.host.pk, operation)
    numbers = sorted({*range(1, 61), *(pk + step for pk in real for step in (-1, 0, 1))})
    nouns = ("domain", "screen", "host", "use", "operation", "user")
    nonsense = [
        "domain:*",
        "domain:",
        "*",
        "domain:1 ",
        "domain:0x1",
        "domain:１",
        "",
        "tasks",
        f"operation:{operation}",
    ]
    return [*(f"{noun}:{number}" for noun in nouns for number in numbers), *nonsense, "domains", "hosts", "operations"]


async def test_a_stranger_hears_of_nothing_but_lists(pages: Pages) -> None:
    cast = pages.cast
    actor = operations.Actor(cast.operator, "page")  # type: ignore[arg-type]
    submit = database_sync_to_async(operations.submit)
    operation = await submit(actor, BY_KIND["domain.start"], cast.domain)
    names = every_name(pages, operation.pk)
    page = await pages.of("stranger", *names)
    pages.server.announce(*names)
    assert await page.next() == {"changed": ["domains", "hosts", "operations"]}
    viewer = await pages.of("viewer", *names)
    pages.server.announce(*names)
    heard = set((await viewer.next())["changed"])
    own, host = cast.domain.pk, cast.host.pk
    assert heard == {f"domain:{own}", f"screen:{own}", f"use:{host}", f"operation:{operation.pk}"} | {
        "domains", "hosts", "operations"
    }  # fmt: skip


async def test_a_burst_comes_together_and_the_first_at_once(pages: Pages) -> None:
    name = f"domain:{pages.cast.domain.pk}"
    page = await pages.of("viewer", name)
    started = time.monotonic()
    pages.server.announce(name)
    await page.next()
    assert time.monotonic() - started < 0.1
    started = time.monotonic()
    burst = asyncio.create_task(asyncio.to_thread(pages.server.burst, name, 0.8))
    messages = 0
    while not await page.silent(0.3):
        await page.next()
        messages += 1
    assert await burst > 50
    # However the burst falls, its messages are at least a tenth of a second apart.
    assert 2 <= messages <= (time.monotonic() - started) / 0.1 + 1


async def test_a_slow_page_costs_a_set_of_names(pages: Pages) -> None:
    names = [f"domain:{pages.cast.domain.pk}", "domains"]
    page = await pages.of("viewer", *names)
    for _ in range(2000):
        pages.server.announce(*names)
    await asyncio.sleep(0)
    waiting = page.communicator.output_queue.qsize()
    assert waiting <= 3
    (listener,) = pages.hub.listeners
    assert isinstance(listener, EventsConsumer)
    assert len(listener.news) <= 2


async def test_names_that_are_asked_anew_replace_the_old(pages: Pages) -> None:
    own = f"domain:{pages.cast.domain.pk}"
    page = await pages.of("viewer", own)
    await page.watch("domains")
    await asyncio.sleep(0.2)
    pages.server.announce(own)
    assert await page.silent()


async def test_what_came_between_the_page_and_its_socket_is_not_lost(pages: Pages) -> None:
    own, foreign = f"domain:{pages.cast.domain.pk}", f"domain:{pages.cast.other.pk}"
    first = await pages.of("viewer", own)
    pages.server.announce(own, foreign)
    await first.next()
    # Each page asked for what it shows before that, but opened its socket after.
    second = await pages.of("operator")
    await second.watch(own, foreign, age=1000 * pages_age(pages))
    assert await second.next() == {"changed": [own]}
    # Older than what the hub can know of: everything anew.
    third = await pages.of("owner")
    await third.watch(own, age=3_600_000)
    assert await third.next() == {"resync": True}
    # Younger than the announcement: nothing was missed.
    fourth = await pages.of("owner")
    await fourth.watch(own, age=0)
    assert await fourth.silent()


def pages_age(pages: Pages) -> float:
    """Seconds since just after the hub began to listen."""
    since = pages.hub._complete_since
    assert since is not None
    return time.monotonic() - since - 0.001


@pytest.mark.parametrize(
    "message",
    [" ", "{", "[]", '"x"', "{}", '{"watch": "domains"}', '{"watch": [1]}', '{"watch": [], "age": "x"}',
     '{"watch": [], "age": -1}', '{"watch": [], "age": NaN}', "[" * 50_000,
     json.dumps({"watch": ["domains"] * (MOST_NAMES + 1)}), json.dumps({"watch": ["x" * 100_000]})],
)  # fmt: skip
async def test_nonsense_closes_the_socket(pages: Pages, message: str) -> None:
    page = await pages.of("viewer", "domains")
    await page.communicator.send_to(text_data=message)
    assert await page.closed() == 4400


async def test_bytes_close_the_socket(pages: Pages) -> None:
    page = await pages.of("viewer", "domains")
    await page.communicator.send_to(bytes_data=b'{"watch": []}')
    assert await page.closed() == 4400


# --- who may come in, and who must go


async def test_who_is_not_signed_in_is_told_so(pages: Pages) -> None:
    for cookie in ("", "nonsense"):
        page = pages.socket(cookie)
        assert await page.open()
        assert await page.closed() == 4401


HOSTILE = (
    "null",
    "",
    "https://evil.example",
    "https://127.0.0.1:8000",
    "http://127.0.0.1:8000.evil.example",
    "http://evil127.0.0.1:8000",
    "http://127.0.0.1:8001",
    "http://127.0.0.1",
    "http://user@127.0.0.1:8000",
    "HTTP://127.0.0.1:8000",
    "http://127.0.0.1:8000/",
    "http://127.0.0.1:8000 http://evil.example",
    "http://[::ffff:127.0.0.1]:8000",
    "http://xn--127-0-0-1.example:8000",
    "file://",
)


@pytest.mark.parametrize("origin", HOSTILE)
async def test_other_sites_pages_are_refused(pages: Pages, origin: str) -> None:
    cookie = await database_sync_to_async(session_cookie)(pages.cast.viewer)
    assert not await pages.socket(cookie, origin).open()


@pytest.mark.parametrize("origins", [[], [ORIGIN, ORIGIN], [ORIGIN, "https://evil.example"]])
async def test_the_origin_is_said_exactly_once(origins: list[str]) -> None:
    async def inside(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("let through")

    headers = [(b"origin", origin.encode()) for origin in origins]
    communicator = WebsocketCommunicator(ExactOrigin(inside, [ORIGIN]), "/ws/events/", headers)
    connected, _ = await communicator.connect()
    assert not connected


def deactivate(user: User) -> None:
    User.objects.filter(pk=user.pk).update(is_active=False)


def sign_out(user: User) -> None:
    LoginSession.objects.all().delete()


def change_password(user: User) -> None:
    user.set_password("another one entirely")
    user.save()


@pytest.mark.parametrize("end", [deactivate, sign_out, change_password])
@pytest.mark.parametrize("announced", [True, False])
async def test_a_sign_in_that_ends_closes_its_sockets(
    pages: Pages, end: Any, announced: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not announced:
        monkeypatch.setattr(hub_module, "CHECK_SECONDS", 0.5)
    page = await pages.of("viewer", "domains")
    await database_sync_to_async(end)(pages.cast.viewer)
    if announced:
        pages.server.announce(f"user:{pages.cast.viewer.pk}")
    assert await page.closed(3) == 4401


async def test_rights_that_change_are_heard_at_once(pages: Pages) -> None:
    cast = pages.cast
    own, foreign = f"domain:{cast.domain.pk}", f"domain:{cast.other.pk}"
    page = await pages.of("viewer", own, foreign)

    def move() -> None:
        Grant.objects.filter(user=cast.viewer).delete()
        Grant.objects.create(user=cast.viewer, role=Role.VIEWER, domain=cast.other)

    await database_sync_to_async(move)()
    pages.server.announce(f"user:{cast.viewer.pk}")
    assert await page.next() == {"resync": True}
    pages.server.announce(own)
    assert await page.silent()
    pages.server.announce(foreign)
    assert await page.next() == {"changed": [foreign]}


async def test_what_a_group_holds_on_a_project_is_heard_until_one_leaves_it(pages: Pages) -> None:
    cast = pages.cast
    own, project = f"domain:{cast.domain.pk}", await database_sync_to_async(Project.objects.create)(name="shop")

    def join() -> Group:
        Domain.objects.filter(pk=cast.domain.pk).update(project=project)
        team = Group.objects.create(name="team")
        Grant.objects.create(group=team, role=Role.VIEWER, project=project)
        cast.stranger.groups.add(team)
        return team

    team = await database_sync_to_async(join)()
    page = await pages.of("stranger", own, f"project:{project.pk}")
    pages.server.announce(own, f"project:{project.pk}")
    assert await page.next() == {"changed": [own, f"project:{project.pk}"]}
    await database_sync_to_async(groups.take_out)(team, cast.stranger)
    pages.server.announce(f"user:{cast.stranger.pk}")
    assert await page.next() == {"resync": True}
    pages.server.announce(own, f"project:{project.pk}")
    assert await page.silent()


async def test_another_persons_news_is_not_ours(pages: Pages) -> None:
    page = await pages.of("viewer", "domains")
    await database_sync_to_async(deactivate)(pages.cast.owner)
    pages.server.announce(f"user:{pages.cast.owner.pk}")
    assert await page.silent()


# --- Redis away


async def comes_back(pages: Pages, page: Any) -> None:
    name = f"domain:{pages.cast.domain.pk}"
    assert await page.next(15) == {"degraded": False, "resync": True}
    pages.server.announce(name)
    assert await page.next() == {"changed": [name]}


async def test_redis_killed_and_back(pages: Pages) -> None:
    page = await pages.of("viewer", f"domain:{pages.cast.domain.pk}")
    pages.server.end()
    assert await page.next(5) == {"degraded": True}
    late = await opened_while_away(pages)
    pages.server.start()
    await comes_back(pages, page)
    assert await late.next() == {"degraded": False, "resync": True}


async def opened_while_away(pages: Pages) -> Any:
    cookie = await database_sync_to_async(session_cookie)(pages.cast.viewer)
    page = pages.socket(cookie)
    assert await page.open()
    assert await page.next() == {"degraded": True}
    await page.watch("domains")
    return page


async def test_redis_frozen_and_back(pages: Pages) -> None:
    page = await pages.of("viewer", f"domain:{pages.cast.domain.pk}")
    pages.server.signal(signal.SIGSTOP)
    try:
        assert await page.next(10) == {"degraded": True}
    finally:
        pages.server.signal(signal.SIGCONT)
    await comes_back(pages, page)


async def test_no_redis_from_the_start(pages: Pages) -> None:
    pages.server.end()
    cookie = await database_sync_to_async(session_cookie)(pages.cast.viewer)
    page = pages.socket(cookie)
    assert await page.open()
    assert await page.next() == {"degraded": True}


async def test_noise_on_the_channel_is_passed_over(pages: Pages, redis_server: RedisServer) -> None:
    page = await pages.of("viewer", "domains")
    for noise in ("", "{", "null", "[1, null]", '{"domains": 1}', "\x00"):
        hub_module.names_in(noise.encode())
        redis_server.announce(noise)
    assert hub_module.names_in(b"[1, null]") == frozenset()
    redis_server.announce("domains")
    assert await page.next() == {"changed": ["domains"]}


# --- screens


async def test_screens_that_are_shown_are_wanted(pages: Pages, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_module, "CHECK_SECONDS", 0.3)
    cast = pages.cast
    page = await pages.of("viewer", f"screen:{cast.domain.pk}", f"screen:{cast.other.pk}")
    first = pages.server.wanted_screens()
    assert set(first) == {str(cast.domain.pk)}
    assert 15 < first[str(cast.domain.pk)] - time.time() <= 20
    deadline = time.monotonic() + 5
    while pages.server.wanted_screens() == first:
        assert time.monotonic() < deadline, "not refreshed"
        await asyncio.sleep(0.05)
    await page.communicator.disconnect()


# --- nobody hears another's


async def test_two_hundred_sockets_hear_their_own(pages: Pages) -> None:
    cast = pages.cast
    own, foreign = f"domain:{cast.domain.pk}", f"domain:{cast.other.pk}"
    cookies = {who: await database_sync_to_async(session_cookie)(cast.who(who)) for who in ("viewer", "administrator")}
    sockets = [(who, pages.socket(cookies[who])) for who in ("viewer", "administrator") * 100]
    for _, page in sockets:
        assert await page.open()
        await page.watch(own, foreign)
    await pages.listening()
    for _, page in sockets:
        while not await page.silent(0.01):
            await page.next()
    for _ in range(5):
        pages.server.announce(own, foreign)
        for who, page in sockets:
            expected = [own] if who == "viewer" else sorted([own, foreign])
            assert await page.next() == {"changed": expected}

"""Many consoles at once, through the death of what they do not need, and of what they do."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest

from tests.console.crowd import Held, crowd, together
from tests.stack import Stack
from tests.until import until

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def held(stack: Stack) -> Iterator[list[Held]]:
    stack.manage("addlocalhost")
    with crowd(stack, "wvf-crowd-") as opened:
        yield opened


def test_web_workers_and_redis_may_die_under_all_of_them(stack: Stack, held: list[Held]) -> None:
    for name, pid in [(name, stack.kill(name)) for name in ("web-1", "web-2", "worker-fast", "worker-slow", "redis")]:
        until(partial(is_another, stack, name, pid), 30, what=f"{name} runs again")
    stack.wait_until_well(60)
    assert all(together(Held.resumes, held))
    assert all(together(Held.shows, held))
    assert [each.times for each in held] == [1] * len(held), "some were interrupted"


def is_another(stack: Stack, name: str, pid: int) -> bool:
    return stack.process(name) != pid


def test_all_come_back_to_a_proxy_that_was_restarted(stack: Stack, held: list[Held]) -> None:
    before = [each.times for each in held]
    stack.restart("consoleproxy")
    until(lambda: all(each.times > times for each, times in zip(held, before, strict=True)), 60, what="all are back")
    assert all(together(Held.shows, held))
    stack.wait_until_well(60)
